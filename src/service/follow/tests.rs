//! What the index brings back from the store when its files are damaged.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::catalog::MetadataPatch;
use crate::catalog::tests::{analysis, put_seen};
use crate::index::SearchRequest;
use crate::model::{EngineConfig, Model};
use std::fs;

/// Products, each of one image whose vector is an axis of its own.
const PRODUCTS: u8 = 250;

fn follower(data: &Path, analyzer: &Analyzer) -> (Catalog, Arc<Follower>) {
    // So few that there is a graph.
    let config = IndexConfig { exact_rows: 100, ..IndexConfig::default() };
    let catalog = Catalog::open(data).unwrap();
    let follower = Follower::open(&data.join("index"), config, None, analyzer.clone(), &catalog).unwrap();
    follower.live().index.settle();
    (catalog, follower)
}

fn put(catalog: &Catalog, product: u8, version: &str) {
    catalog.write(|tx| tx.upsert_product(&product.to_string(), &MetadataPatch::default())).unwrap();
    put_seen(catalog, &product.to_string(), "a", &[product], analysis(&[product], version, "dress", 0.9)).unwrap();
}

#[test]
fn products_of_a_damaged_segment_come_back_from_the_store() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/default");
    if !folder.join("manifest.json").exists() {
        eprintln!("SKIPPED: no model bundle at {}", folder.display());
        return;
    }
    let analyzer = Analyzer::new(Model::load(&folder, &EngineConfig::tract()).unwrap());
    let version = analyzer.model().version();
    let data = tempfile::tempdir().unwrap();
    let (catalog, first) = follower(data.path(), &analyzer);
    catalog.write(|tx| tx.set_current_model(version)).unwrap();
    (0..PRODUCTS).for_each(|product| put(&catalog, product, version));
    first.live().index.settle();
    first.snapshot().unwrap();
    assert!(first.live().index.stats().segments > 0);
    // After the snapshot, so only the log knows: one product goes and one shows another photo.
    catalog.write(|tx| tx.delete_product("7")).unwrap();
    put_seen(&catalog, "8", "a", &[251], analysis(&[251], version, "dress", 0.9)).unwrap();
    drop((catalog, first));

    let entries = fs::read_dir(data.path().join("index")).unwrap().map(|entry| entry.unwrap().path());
    for segment in entries.filter(|path| path.extension().is_some_and(|extension| extension == "segment")) {
        let mut bytes = fs::read(&segment).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&segment, bytes).unwrap();
    }
    let (catalog, again) = follower(data.path(), &analyzer);
    let live = again.live();
    assert_eq!(live.index.counts(), (catalog.last_seq().unwrap(), 249, 249));
    for product in (0..PRODUCTS).filter(|product| *product != 7) {
        let mut query = vec![0.0; EMBEDDING_DIM];
        query[usize::from(if product == 8 { 251 } else { product })] = 1.0;
        let hits = live.index.search(&query, &SearchRequest { k: 1, ..SearchRequest::default() }).unwrap();
        assert_eq!((&*hits[0].product_id, hits[0].score), (product.to_string().as_str(), 1.0));
    }
    // The log no longer reaches back to the snapshot, and one more product is gone: it is missed by comparison.
    again.snapshot().unwrap();
    catalog.write(|tx| tx.delete_product("9")).unwrap();
    put_seen(&catalog, "10", "a", &[252], analysis(&[252], version, "dress", 0.9)).unwrap();
    catalog.write(|tx| tx.delete_product("11")).unwrap();
    drop((live, again));
    let later = time::OffsetDateTime::now_utc() + time::Duration::days(1);
    while catalog.write(|tx| tx.drop_changes(later, 100)).unwrap().value {}
    drop(catalog);
    let (catalog, again) = follower(data.path(), &analyzer);
    let live = again.live();
    assert_eq!(live.index.counts(), (catalog.last_seq().unwrap(), 247, 247));
    let mut query = vec![0.0; EMBEDDING_DIM];
    query[252] = 1.0;
    let hits = live.index.search(&query, &SearchRequest { k: 1, ..SearchRequest::default() }).unwrap();
    assert_eq!((&*hits[0].product_id, hits[0].score), ("10", 1.0));
    // Whole again: it may be kept, and the next start finds nothing damaged.
    again.snapshot().unwrap();
    drop((live, catalog, again));
    let (opened, found) = read_index(&data.path().join("index"), &IndexConfig::default(), version).unwrap();
    assert_eq!((opened.counts().1, found.lost, found.set_aside.len()), (247, Vec::new(), 0));
}
