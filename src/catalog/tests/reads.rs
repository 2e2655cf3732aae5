//! Queries, paging beside writers, and what a product is, all sources taken together.

use super::*;
use std::collections::BTreeMap;

#[test]
fn corrections_win_over_merchant_and_merchant_over_model() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    upsert(&catalog, "a");
    let value = |catalog: &Catalog| {
        let product = catalog.product("a").unwrap().unwrap();
        let said = effective_attributes(&product).into_iter().map(|a| (a.value, a.source, a.candidates.len()));
        (said.collect::<Vec<_>>(), facets(&product).attributes.get("category").cloned().unwrap_or_default())
    };
    put_seen(&catalog, "a", "1", b"1", analysis(b"1", "v1", "", 0.99)).unwrap();
    assert_eq!(value(&catalog), (vec![(None, Source::Model, 1)], vec![]));
    put_seen(&catalog, "a", "2", b"2", analysis(b"2", "v1", "skirt", 0.6)).unwrap();
    put_seen(&catalog, "a", "3", b"3", analysis(b"3", "v1", "dress", 0.8)).unwrap();
    let model = (vec![(Some("dress".into()), Source::Model, 0)], vec!["dress".to_owned(), "skirt".into()]);
    assert_eq!(value(&catalog), model);

    let own = BTreeMap::from([("category".to_owned(), "gown".to_owned())]);
    let patch = MetadataPatch { attributes: Some(Some(own)), ..MetadataPatch::default() };
    catalog.write(|tx| tx.upsert_product("a", &patch)).unwrap();
    assert_eq!(value(&catalog).0, [(Some("gown".into()), Source::Merchant, 0)]);

    let correct = |to: Option<&str>| {
        let corrections = [("category".to_owned(), to.map(Into::into))].into();
        catalog.write(|tx| tx.correct_attributes("a", &corrections)).unwrap()
    };
    let made = correct(Some("kilt"));
    assert_eq!(value(&catalog), (vec![(Some("kilt".into()), Source::Correction, 0)], vec!["kilt".into()]));
    assert_eq!(correct(Some("kilt")).changes, [], "said before");
    correct(None);
    assert_eq!(value(&catalog), (vec![], vec![]));

    let kept = catalog.corrections_after(0, 10).unwrap();
    assert_eq!(kept.iter().map(|c| c.value.as_deref()).collect::<Vec<_>>(), [Some("kilt"), None]);
    assert_eq!(kept[0].seq, made.seq);
    let said: Vec<_> = kept[0].observed.iter().map(|o| (o.value.as_deref(), o.confidence)).collect();
    assert_eq!(said, [(None, 0.99), (Some("skirt"), 0.6), (Some("dress"), 0.8)]);
}

#[test]
fn a_replaced_image_keeps_its_place_and_a_stale_analysis_is_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    upsert(&catalog, "a");
    put(&catalog, "a", "1", b"1").unwrap();
    put(&catalog, "a", "2", b"2").unwrap();
    put(&catalog, "a", "1", b"new").unwrap();
    let stale = analysis(b"1", "v2", "skirt", 0.7);
    assert_eq!(catalog.write(|tx| tx.add_analysis("a", "1", None, &stale, &embedding(9))).unwrap().value, None);
    let fresh = analysis(b"new", "v2", "skirt", 0.7);
    let done = catalog.write(|tx| tx.add_analysis("a", "1", None, &fresh, &embedding(9))).unwrap();
    assert_eq!(done.changes[0].kind, ChangeKind::AnalysisReplaced);
    let record = catalog.index_records("v2", 0, 1).unwrap().remove(0);
    let ids: Vec<_> = record.product.images.iter().map(|i| i.image_id.as_str()).collect();
    assert_eq!(ids, ["1", "2"]);
    assert_eq!(record.product.images[0].analysis, fresh);
    assert_eq!(record.embeddings, [embedding(9), embedding(b'2')]);
    let old = catalog.images_not_of_model("v2", None, 10).unwrap();
    assert_eq!(old.iter().map(|i| i.image_id.as_str()).collect::<Vec<_>>(), ["2"]);
    assert_eq!(catalog.images_not_of_model("v2", old.last(), 10).unwrap(), []);
    assert_eq!(catalog.counts().unwrap().images_by_model, [("v1".into(), 2), ("v2".into(), 1)].into());
}

#[test]
fn a_part_of_a_photo_is_kept_and_is_another_image_than_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    upsert(&catalog, "a");
    put(&catalog, "a", "whole", b"1").unwrap();
    let part: Option<Area> = Some("0.1,0.0,0.9,1.0".parse().unwrap());
    let photo = catalog.stage_photo(b"1").unwrap();
    let (seen, vector) = (analysis(b"1", "v1", "skirt", 0.9), embedding(3));
    let new = NewImage { area: part, ..new_image("part", photo, seen.clone(), &vector) };
    catalog.write(|tx| tx.put_image("a", new)).unwrap();
    let kept = |id: &str| catalog.image("a", id).unwrap().unwrap().area;
    assert_eq!((kept("whole"), kept("part")), (None, part));
    let areas: Vec<_> = catalog.images_not_of_model("v2", None, 10).unwrap().iter().map(|image| image.area).collect();
    assert_eq!(areas, [None, part]);
    let seen_on = |area| catalog.seen("v1", &seen.sha256, area).unwrap().map(|(analysis, ..)| analysis);
    assert_eq!((seen_on(part), seen_on(None)), (Some(seen.clone()), Some(analysis(b"1", "v1", "dress", 0.9))));
    assert_eq!(seen_on(Some("0,0,9,9".parse().unwrap())), None);
    let again = analysis(b"1", "v2", "skirt", 0.7);
    let add = |area| catalog.write(|tx| tx.add_analysis("a", "part", area, &again, &embedding(9))).unwrap().value;
    assert_eq!(add(None), None, "it shows another part by now");
    assert!(add(part).is_some());
}

#[test]
fn what_a_version_sees_is_shown_when_it_is_current_and_kept_for_the_way_back() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    upsert(&catalog, "a");
    put(&catalog, "a", "1", b"1").unwrap();
    catalog.write(|tx| tx.set_live_model("v1")).unwrap();
    let before = catalog.last_seq().unwrap();
    let other = analysis(b"1", "v2", "skirt", 0.7);
    catalog.write(|tx| tx.set_pending_activation(Some("v2"))).unwrap();
    let added = catalog.write(|tx| tx.add_analysis("a", "1", None, &other, &embedding(9))).unwrap();
    // Nobody is shown it yet: no change.
    assert_eq!((added.changes, catalog.last_seq().unwrap()), (vec![], before));
    assert_eq!(catalog.embedding("a", "1").unwrap(), Some(embedding(b'1')));
    assert_eq!(catalog.index_record("v2", "a").unwrap().unwrap().embeddings, [embedding(9)]);

    let switched = catalog.write(|tx| tx.set_live_model("v2")).unwrap();
    assert_eq!(switched.changes[0].kind, ChangeKind::ModelActivated);
    assert_eq!(catalog.product("a").unwrap().unwrap().images[0].analysis, other);
    assert_eq!(catalog.pending_activation().unwrap(), None);
    assert_eq!(catalog.images_not_of_model("v1", None, 10).unwrap(), []);
    // An upload that the old version has looked at comes too late.
    assert!(matches!(put(&catalog, "a", "2", b"2"), Err(CatalogError::OtherModel { .. })));

    assert_eq!(catalog.write(|tx| tx.drop_analyses(&["v2".into()], 10)).unwrap().value, 1);
    assert_eq!(catalog.images_not_of_model("v1", None, 10).unwrap().len(), 1);
}

#[test]
fn a_failed_activation_keeps_its_reason_until_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    catalog.write(|tx| tx.set_pending_activation(Some("v2"))).unwrap();
    catalog.write(|tx| tx.fail_activation("v2", "the disk is full")).unwrap();
    let pending = catalog.pending_activation().unwrap().unwrap();
    assert_eq!((pending.version.as_str(), pending.failure.as_deref()), ("v2", Some("the disk is full")));
    catalog.write(|tx| tx.set_pending_activation(Some("v2"))).unwrap();
    assert_eq!(catalog.pending_activation().unwrap().unwrap().failure, None);
}

#[test]
fn an_upsert_that_changes_nothing_is_no_change() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    let first = upsert(&catalog, "a");
    let again = upsert(&catalog, "a");
    assert_eq!((again.changes, again.seq, again.value), (vec![], first.seq, first.value));
    assert!(catalog.write(|tx| tx.set_live_model("v1")).unwrap().value);
    assert!(!catalog.write(|tx| tx.set_live_model("v1")).unwrap().value);
}

#[test]
fn a_bulk_write_skips_a_bad_row_and_keeps_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    let done = catalog
        .write(|tx| {
            let outcomes = ["a", "", "b"].map(|id| tx.upsert_product(id, &title("t")).is_ok());
            Ok::<_, CatalogError>(outcomes)
        })
        .unwrap();
    assert_eq!(done.value, [true, false, true]);
    assert_eq!(done.changes.len(), 2);
    assert_eq!(catalog.products(None, 10).unwrap().len(), 2);
}

#[test]
fn a_product_has_a_bounded_number_of_images() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    upsert(&catalog, "a");
    let conn = rusqlite::Connection::open(dir.path().join(DATABASE)).unwrap();
    put(&catalog, "a", "0", b"x").unwrap();
    for n in 1..MAX_IMAGES {
        conn.execute(
            "INSERT INTO images (product_id, image_id, sha256, content_type, size_bytes, created_at)
             SELECT product_id, ?1, sha256, content_type, size_bytes, created_at FROM images WHERE image_id = '0'",
            [n.to_string()],
        )
        .unwrap();
        conn.execute(
            "INSERT INTO analyses (image_key, model_version, analysis, embedding)
             SELECT (SELECT max(image_key) FROM images), model_version, analysis, embedding FROM analyses LIMIT 1",
            [],
        )
        .unwrap();
    }
    assert!(matches!(put(&catalog, "a", "more", b"x"), Err(CatalogError::TooManyImages { .. })));
    put(&catalog, "a", "1", b"a replacement fits").unwrap();
}

#[test]
fn paging_sees_what_stays_once_while_others_write() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    let stay: Vec<String> = (0..40).map(|n| format!("s{n:02}")).collect();
    stay.iter().for_each(|id| drop(upsert(&catalog, id)));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..40 {
                let id = format!("s{n:02}x");
                upsert(&catalog, &id);
                catalog.write(|tx| tx.delete_product(&id)).unwrap();
            }
        });
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let mut seen = Vec::new();
                    let mut after = None;
                    loop {
                        let page = catalog.products(after.as_deref(), 7).unwrap();
                        let Some(last) = page.last() else { break };
                        after = Some(last.product_id.clone());
                        seen.extend(page.into_iter().map(|p| p.product_id).filter(|id| id.len() == 3));
                    }
                    assert_eq!(seen, stay);
                }
            });
        }
    });
}

#[test]
fn index_records_page_by_change_and_bring_back_what_changed() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    ["c", "a", "b"].iter().for_each(|id| drop(upsert(&catalog, id)));
    let first = catalog.index_records("v1", 0, 2).unwrap();
    let ids = |records: &[IndexRecord]| records.iter().map(|r| r.product.product_id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&first), ["c", "a"]);
    put(&catalog, "c", "1", b"x").unwrap();
    let rest = catalog.index_records("v1", first[1].product.seq, 10).unwrap();
    assert_eq!(ids(&rest), ["b", "c"]);
    assert_eq!(rest[1].embeddings, [embedding(b'x')]);
}

#[test]
fn a_slice_of_the_log_leaves_nothing_out_whatever_its_limits() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    for n in 0..30 {
        upsert(&catalog, &format!("p{n}"));
        if n % 4 == 0 {
            catalog.write(|tx| tx.delete_product(&format!("p{n}"))).unwrap();
        }
    }
    let all = catalog.changes_after(0, MAX_CHANGES).unwrap();
    for (kinds, changes, bytes, look) in [
        (vec![], 0, usize::MAX, 100),
        (vec![], 3, usize::MAX, 100),
        (vec![], 100, 1, 100),
        (vec![], 100, 3_000, 7),
        (vec![ChangeKind::ProductDeleted], 100, usize::MAX, 1),
        (vec![ChangeKind::ProductDeleted], 1, usize::MAX, 3),
        (vec![ChangeKind::ProductDeleted, ChangeKind::ProductUpserted], 2, 900, 0),
        (vec![ChangeKind::ModelActivated], 100, usize::MAX, 5),
    ] {
        let limits = SliceLimits { changes, bytes, look };
        let (mut found, mut after) = (Vec::new(), 0);
        loop {
            let slice = catalog.changes_slice(after, &kinds, limits).unwrap();
            assert!(slice.changes.len() <= changes.max(1) && slice.through <= slice.last, "{limits:?}");
            if slice.through == after {
                assert_eq!(after, slice.last);
                break;
            }
            after = slice.through;
            found.extend(slice.changes);
        }
        let wanted = all.iter().filter(|change| kinds.is_empty() || kinds.contains(&change.kind));
        assert_eq!(found, wanted.cloned().collect::<Vec<_>>(), "{kinds:?} {limits:?}");
    }
}

#[test]
fn the_log_is_cut_from_its_beginning_only() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    assert_eq!(catalog.first_seq().unwrap(), 1);
    (0..10).for_each(|n| drop(upsert(&catalog, &format!("p{n}"))));
    let at = |seq: u64, time: &str| {
        let conn = rusqlite::Connection::open(dir.path().join("catalog.sqlite3")).unwrap();
        conn.execute("UPDATE changes SET at = ?2 WHERE seq = ?1", rusqlite::params![seq as i64, time]).unwrap();
    };
    // The fifth and the seventh are old, the first four older: a clock that was set back makes no hole.
    (1..=5).chain([7]).for_each(|seq| at(seq, "2026-01-01T00:00:00.000Z"));
    let time = time::macros::datetime!(2026-06-01 00:00 UTC);
    assert!(catalog.write(|tx| tx.drop_changes(time, 3)).unwrap().value);
    assert!(!catalog.write(|tx| tx.drop_changes(time, 3)).unwrap().value);
    assert!(!catalog.write(|tx| tx.drop_changes(time, 3)).unwrap().value);
    assert_eq!(catalog.first_seq().unwrap(), 6);
    let slice = catalog.changes_slice(5, &[], SliceLimits::default()).unwrap();
    assert_eq!((slice.first, slice.changes.len(), slice.last), (6, 5, 10));
    // Numbers go on where all are gone.
    let later = time::macros::datetime!(2100-01-01 00:00 UTC);
    while catalog.write(|tx| tx.drop_changes(later, 3)).unwrap().value {}
    assert_eq!((catalog.first_seq().unwrap(), catalog.last_seq().unwrap()), (11, 10));
    upsert(&catalog, "next");
    assert_eq!((catalog.first_seq().unwrap(), catalog.last_seq().unwrap()), (11, 11));
}
