//! Reopening, crashes, damage, and answers to repeated requests.

use super::*;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

#[test]
fn everything_is_there_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    upsert(&catalog, "連衣裙 🧥/1");
    put(&catalog, "連衣裙 🧥/1", "é", b"photo").unwrap();
    let corrections = [("category".to_owned(), Some("skirt".to_owned())), ("pattern".to_owned(), None)].into();
    catalog.write(|tx| tx.correct_attributes("連衣裙 🧥/1", &corrections)).unwrap();
    catalog.write(|tx| tx.set_live_model("v1")).unwrap();
    let before = catalog.product("連衣裙 🧥/1").unwrap().unwrap();
    let changes = catalog.changes_after(0, 100).unwrap();
    drop(catalog);

    let catalog = Catalog::open(dir.path()).unwrap();
    assert_eq!(catalog.product("連衣裙 🧥/1").unwrap().unwrap(), before);
    assert_eq!(catalog.changes_after(0, 100).unwrap(), changes);
    assert_eq!(catalog.live_model().unwrap().as_deref(), Some("v1"));
    assert_eq!(catalog.photo_bytes(&before.images[0].analysis.sha256).unwrap().unwrap(), b"photo");
    assert_eq!(catalog.embedding("連衣裙 🧥/1", "é").unwrap().unwrap(), embedding(b'p'));
    assert_eq!(before.corrections, corrections);
}

#[test]
fn sequence_numbers_are_never_given_twice() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    let first = upsert(&catalog, "a").seq;
    drop(catalog);
    let conn = rusqlite::Connection::open(dir.path().join(DATABASE)).unwrap();
    conn.execute("DELETE FROM changes", []).unwrap();
    drop(conn);
    let catalog = Catalog::open(dir.path()).unwrap();
    assert_eq!(catalog.last_seq().unwrap(), first);
    assert!(upsert(&catalog, "b").seq > first);
}

#[test]
fn a_second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Catalog::open(dir.path()).unwrap();
    assert!(matches!(Catalog::open(dir.path()), Err(CatalogError::Locked { .. })));
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(Catalog::open(dir.path()).unwrap());
    let conn = rusqlite::Connection::open(dir.path().join(DATABASE)).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    let Err(error) = Catalog::open(dir.path()) else { panic!("opened") };
    assert!(matches!(error, CatalogError::NewerSchema { found: 99, supported: 7 }), "{error}");
}

#[test]
fn a_store_of_the_first_schema_keeps_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let conn = rusqlite::Connection::open(dir.path().join(DATABASE)).unwrap();
    conn.execute_batch(include_str!("../migrations/0001_catalog.sql")).unwrap();
    let seen = analysis(b"1", "v1", "skirt", 0.7);
    conn.execute("INSERT INTO products (product_id, created_at, updated_at, seq) VALUES ('a', 't', 't', 1)", [])
        .unwrap();
    conn.execute(
        "INSERT INTO images (product_id, image_id, sha256, content_type, size_bytes, model_version, created_at, analysis,
                             embedding) VALUES ('a', '1', ?1, 'image/png', 1, 'v1', 't', ?2, ?3)",
        rusqlite::params![
            seen.sha256,
            serde_json::to_string(&seen).unwrap(),
            super::codec::embedding_to_blob(&embedding(7)).unwrap()
        ],
    )
    .unwrap();
    conn.execute("INSERT INTO model_activations (seq, version, at) VALUES (1, 'v1', 't')", []).unwrap();
    conn.pragma_update(None, "user_version", 1).unwrap();
    drop(conn);
    let catalog = Catalog::open(dir.path()).unwrap();
    assert_eq!(catalog.product("a").unwrap().unwrap().images[0].analysis, seen);
    assert_eq!(catalog.embedding("a", "1").unwrap(), Some(embedding(7)));
    assert_eq!(catalog.counts().unwrap().images_by_model, [("v1".into(), 1)].into());
    assert_eq!(catalog.current_model().unwrap().as_deref(), Some("v1"));
    let id = catalog.id().unwrap();
    assert!(uuid::Uuid::try_parse(&id).is_ok_and(|id| id.get_version_num() == 4), "{id}");
    drop(catalog);
    let catalog = Catalog::open(dir.path()).unwrap();
    assert_eq!(catalog.id().unwrap(), id);
    catalog.renew_id().unwrap();
    assert_ne!(catalog.id().unwrap(), id);
}

#[test]
fn a_job_under_way_goes_on_after_its_rows_could_have_boxes() {
    let dir = tempfile::tempdir().unwrap();
    let conn = rusqlite::Connection::open(dir.path().join(DATABASE)).unwrap();
    super::schema::MIGRATIONS[..6].iter().for_each(|migration| conn.execute_batch(migration).unwrap());
    conn.execute_batch(
        "INSERT INTO jobs (job_id, state, source, is_read, total, done, failed, created_at)
             VALUES ('j', 'running', '{}', 1, 5, 1, 1, 't');
         INSERT INTO job_rows (job_key, row, line, product_id, image_id, uri, state) VALUES
             (1, 1, 2, 'a', NULL, 'https://a.example/1.jpg', 1), (1, 2, 3, 'a', NULL, 'https://a.example/2.jpg', 0),
             (1, 3, 4, 'a', 'x', 'https://a.example/1.jpg', 0), (1, 4, 5, 'a', 'x', 'https://a.example/1.jpg', 3),
             (1, 5, 6, NULL, NULL, NULL, 4);
         PRAGMA user_version = 6",
    )
    .unwrap();
    drop(conn);
    let catalog = Catalog::open(dir.path()).unwrap();
    let waiting = |after| catalog.waiting_rows(1, after, 10).unwrap();
    assert_eq!(waiting(0).iter().map(|row| (row.row, row.area)).collect::<Vec<_>>(), [(2, None), (3, None)]);
    let add = |row, uri: &str, area: Option<&str>| {
        let area = area.map(|area| area.parse().unwrap());
        let (product_id, uri, metadata) = ("a".to_owned(), Some(uri.to_owned()), Metadata::default());
        let content = Ok(RowContent { product_id, image_id: None, uri, area, metadata });
        catalog.write(|tx| tx.add_rows(1, &[NewRow { row, line: row, content }])).unwrap();
    };
    // The whole photo is there already; parts of it are not, each once.
    add(6, "https://a.example/1.jpg", None);
    add(7, "https://a.example/1.jpg", Some("0,0,30,40"));
    add(8, "https://a.example/1.jpg", Some("0.0,0.0,0.5,1.0"));
    add(9, "https://a.example/1.jpg", Some("0,0,30,40"));
    assert_eq!(waiting(3).iter().map(|row| row.row).collect::<Vec<_>>(), [7, 8]);
    let counts = catalog.job("j").unwrap().counts;
    assert_eq!((counts.done, counts.duplicate, counts.failed), (1, 2, 1));
}

#[test]
fn what_is_not_a_catalog_is_refused() {
    for bytes in [&b"not a database at all, but long enough to have a header of its own"[..], &[0xff; 8192]] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(DATABASE), bytes).unwrap();
        assert!(matches!(Catalog::open(dir.path()), Err(CatalogError::Corrupt { .. })));
    }
    let dir = tempfile::tempdir().unwrap();
    let conn = rusqlite::Connection::open(dir.path().join(DATABASE)).unwrap();
    conn.execute("CREATE TABLE other (x)", []).unwrap();
    drop(conn);
    assert!(matches!(Catalog::open(dir.path()), Err(CatalogError::Corrupt { .. })));
}

#[test]
fn damaged_pages_are_reported_not_served() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    for n in 0..50 {
        upsert(&catalog, &format!("p{n}"));
    }
    drop(catalog);
    let path = dir.path().join(DATABASE);
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let outcome = Catalog::open(dir.path()).and_then(|catalog| catalog.products(None, 100));
    assert!(matches!(outcome, Err(CatalogError::Corrupt { .. })), "{outcome:?}");
}

#[test]
fn an_empty_database_is_fresh_unless_photos_say_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(DATABASE), b"").unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    upsert(&catalog, "a");
    put(&catalog, "a", "1", b"x").unwrap();
    drop(catalog);
    fs::write(dir.path().join(DATABASE), b"").unwrap();
    for _ in 0..2 {
        assert!(matches!(Catalog::open(dir.path()), Err(CatalogError::Corrupt { .. })));
        assert_eq!(photo_files(dir.path()).len(), 1, "the photo must survive a lost database");
    }
}

#[test]
fn a_failed_transaction_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    upsert(&catalog, "a");
    let photo = catalog.stage_photo(b"x").unwrap();
    let seen = analysis(b"x", "v1", "dress", 0.9);
    let vector = embedding(1);
    let new = new_image("1", photo, seen, &vector);
    let outcome = catalog.write(|tx| {
        tx.put_image("a", new)?;
        tx.delete_product("unknown")
    });
    assert!(matches!(outcome, Err(CatalogError::UnknownProduct { .. })));
    assert_eq!(catalog.product("a").unwrap().unwrap().images, []);
    assert_eq!(catalog.last_seq().unwrap(), 1);
    assert_eq!(photo_files(dir.path()), Vec::<String>::new());
}

#[test]
fn a_panic_in_a_write_rolls_back_and_the_next_write_works() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        catalog.write(|tx| -> Result<(), CatalogError> {
            tx.upsert_product("a", &title("t"))?;
            panic!("in the middle")
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(catalog.product("a").unwrap(), None);
    assert_eq!(upsert(&catalog, "b").seq, 1);
}

#[test]
fn the_observer_sees_every_change_once_in_order_with_its_state() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    upsert(&catalog, "before");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let observer: Observer = Box::new(move |change, state| {
        let record = state.index_record("v1", change.product_id.as_deref().unwrap()).unwrap().unwrap();
        assert!(record.product.seq >= change.seq, "committed before it is told");
        log.lock().unwrap().push(change.seq);
    });
    catalog.observe(0, observer).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let catalog = &catalog;
            scope.spawn(move || (0..5).for_each(|n| drop(upsert(catalog, &format!("{thread}-{n}")))));
        }
    });
    assert_eq!(*seen.lock().unwrap(), (1..=21).collect::<Vec<u64>>());
}

static NOW: AtomicI64 = AtomicI64::new(1_700_000_000);

fn test_clock() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW.load(Ordering::SeqCst)).unwrap()
}

#[test]
fn a_repeated_request_gets_the_first_answer_until_it_expires() {
    let dir = tempfile::tempdir().unwrap();
    let options = CatalogOptions { clock: test_clock, ..CatalogOptions::default() };
    let catalog = Catalog::open_with(dir.path(), options).unwrap();
    let key = |caller: &str, body: &[u8]| IdempotencyKey::new(caller, "k", "PUT", "/v1/products/a", body).unwrap();
    let run = |key: &IdempotencyKey, text: &str| {
        catalog.write_once(Some(key), |tx| {
            tx.upsert_product("a", &title(text))?;
            Ok::<_, CatalogError>(StoredResponse { status: 200, body: text.into() })
        })
    };
    let Once::First(first) = run(&key("me", b"1"), "one").unwrap() else { panic!("not the first") };
    assert_eq!(run(&key("me", b"1"), "two").unwrap(), Once::Replayed(first.clone()));
    assert_eq!(catalog.replay(&key("me", b"1")).unwrap(), Some(first));
    assert_eq!(catalog.last_seq().unwrap(), 1);
    assert!(matches!(run(&key("me", b"2"), "x"), Err(CatalogError::IdempotencyConflict { .. })));
    assert!(matches!(run(&key("you", b"2"), "three").unwrap(), Once::First(_)));
    NOW.fetch_add(IDEMPOTENCY_TTL_S, Ordering::SeqCst);
    assert_eq!(catalog.replay(&key("me", b"2")).unwrap(), None);
    assert!(matches!(run(&key("me", b"2"), "four").unwrap(), Once::First(_)));
    drop(catalog);
    let conn = rusqlite::Connection::open(dir.path().join(DATABASE)).unwrap();
    let kept: i64 = conn.query_row("SELECT count(*) FROM idempotency", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 1, "expired answers are pruned");
}

#[test]
fn a_failed_request_keeps_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    let key = IdempotencyKey::new("", "k", "DELETE", "/v1/products/a", b"").unwrap();
    let outcome = catalog.write_once(Some(&key), |tx| {
        tx.delete_product("a")?;
        Ok::<_, CatalogError>(StoredResponse { status: 204, body: Vec::new() })
    });
    assert!(matches!(outcome, Err(CatalogError::UnknownProduct { .. })));
    assert_eq!(catalog.replay(&key).unwrap(), None);
}
