//! Photo files: there before the commit, gone with the last reference, swept after a crash.

use super::*;

#[test]
fn a_photo_stays_until_its_last_reference_goes() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    upsert(&catalog, "a");
    upsert(&catalog, "b");
    let sha256 = put(&catalog, "a", "1", b"shared").unwrap().value.analysis.sha256;
    put(&catalog, "a", "2", b"shared").unwrap();
    put(&catalog, "b", "1", b"shared").unwrap();
    assert_eq!(photo_files(dir.path()), [sha256.as_str()]);
    catalog.write(|tx| tx.delete_image("a", "1")).unwrap();
    catalog.write(|tx| tx.delete_product("b")).unwrap();
    assert_eq!(catalog.photo_bytes(&sha256).unwrap().unwrap(), b"shared");
    let other = put(&catalog, "a", "2", b"other").unwrap().value.analysis.sha256;
    assert_eq!(catalog.photo_bytes(&sha256).unwrap(), None);
    assert_eq!(photo_files(dir.path()), [other.as_str()]);
    catalog.write(|tx| tx.delete_product("a")).unwrap();
    assert_eq!(photo_files(dir.path()), Vec::<String>::new());
}

#[test]
fn a_staged_photo_that_is_not_used_goes() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    let error = put(&catalog, "unknown", "1", b"x").unwrap_err();
    assert!(matches!(error, CatalogError::UnknownProduct { .. }));
    assert_eq!(photo_files(dir.path()), Vec::<String>::new());
}

#[test]
fn a_crash_between_photo_and_commit_leaves_an_orphan_that_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    let crashed = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    upsert(&catalog, "a");
    let kept = put(&catalog, "a", "1", b"kept").unwrap().value.analysis.sha256;
    let _staged = catalog.stage_photo(b"never used").unwrap();
    let photo = catalog.stage_photo(b"orphan").unwrap();
    let vector = embedding(3);
    let seen = analysis(b"orphan", "v1", "dress", 0.9);
    let new = new_image("2", photo, seen, &vector);
    catalog
        .write(|tx| {
            let image = tx.put_image("a", new)?;
            copy_dir(dir.path(), crashed.path());
            Ok::<_, CatalogError>(image)
        })
        .unwrap();
    assert_eq!(photo_files(crashed.path()).len(), 3, "kept, orphan and a temporary file");

    let reopened = Catalog::open(crashed.path()).unwrap();
    assert_eq!(photo_files(crashed.path()).len(), 2, "kept and orphan");
    assert_eq!(reopened.sweep_photos(|| true).unwrap(), 1);
    assert_eq!(photo_files(crashed.path()), [kept.as_str()]);
    assert_eq!(reopened.product("a").unwrap().unwrap().images.len(), 1);
    assert_eq!(reopened.last_seq().unwrap(), 2);
    assert_eq!(photo_files(dir.path()).len(), 3, "the one that went on has both, and one staged");
}

#[test]
fn files_of_others_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(Catalog::open(dir.path()).unwrap());
    let readme = dir.path().join(PHOTOS).join("README");
    fs::write(&readme, "mine").unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    assert_eq!(catalog.sweep_photos(|| true).unwrap(), 0);
    assert!(readme.exists());
    for hostile in ["", "../catalog.sqlite3", "README", "..", "ab"] {
        assert_eq!(catalog.photo_bytes(hostile).unwrap(), None, "{hostile}");
    }
}

#[test]
fn an_image_whose_record_would_not_be_readable_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    upsert(&catalog, "a");
    let mut bad = analysis(b"x", "v1", "dress", f32::NAN);
    let error = put_seen(&catalog, "a", "1", b"x", bad.clone()).unwrap_err();
    assert!(matches!(error, CatalogError::Invalid { field: "analysis", .. }), "{error}");
    bad = analysis(b"another photo", "v1", "dress", 0.5);
    let error = put_seen(&catalog, "a", "1", b"x", bad).unwrap_err();
    assert!(matches!(error, CatalogError::Invalid { field: "analysis.sha256", .. }), "{error}");
    assert!(put(&catalog, "a", "\u{1}", b"x").is_err());
    assert_eq!(catalog.last_seq().unwrap(), 1);
}
