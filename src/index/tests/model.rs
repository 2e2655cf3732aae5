//! Any sequence of changes agrees with a brute-force model: no ghost, no stale hit, nothing lost.

use super::*;
use crate::filter::Filter;
use crate::index::rows::halved;
use crate::index::{IndexError, kernel};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

const DIMENSION: usize = 8;

#[derive(Clone, Debug)]
enum Change {
    /// Product, price, seeds of its images' vectors.
    Put(u8, u8, Vec<u8>),
    Delete(u8),
    /// A change applied again, so many changes after its time.
    Repeat(u8),
    Settle,
    Snapshot,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (0u8..30, 0u8..4, prop::collection::vec(0u8..40, 0..4)).prop_map(|(p, price, i)| Change::Put(p, price, i)),
        3 => (0u8..30).prop_map(Change::Delete),
        2 => (1u8..20).prop_map(Change::Repeat),
        1 => Just(Change::Settle),
        1 => Just(Change::Snapshot),
    ]
}

fn vector(seed: u8) -> Vec<f32> {
    let mut rng = Pcg64::seed_from_u64(u64::from(seed));
    unit((0..DIMENSION).map(|_| gauss(&mut rng)).collect())
}

fn put(id: &str, price: u8, seeds: &[u8]) -> IndexedProduct {
    let names: Vec<String> = (0..seeds.len()).map(|i| format!("i{i}")).collect();
    let images: Vec<(&str, Vec<f32>)> =
        names.iter().zip(seeds).map(|(name, seed)| (name.as_str(), vector(*seed))).collect();
    let mut product = product(id, &images);
    product.facets.price = Some(f64::from(price));
    product
}

/// What a search must give: product id and score, by the definition.
fn expected(model: &BTreeMap<String, IndexedProduct>, query: &[f32], k: usize, filter: &Filter) -> Vec<(String, f32)> {
    let best = |product: &IndexedProduct| {
        let scores = product.images.iter().map(|image| kernel::similarity(query, &halved(&image.embedding)));
        scores.max_by(f32::total_cmp)
    };
    let mut all: Vec<(String, f32)> = model
        .values()
        .filter(|product| filter.matches(&product.facets))
        .filter_map(|product| Some((product.product_id.clone(), best(product)?)))
        .collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all.truncate(k);
    all
}

fn check(index: &Index, model: &BTreeMap<String, IndexedProduct>, query: &[f32]) {
    let filters = [Filter::everything(), Filter::parse(&json!({"price": [1, 2]})).unwrap()];
    for filter in &filters {
        for k in [1, 5, 100] {
            let request = SearchRequest { k, filter: Some(filter), ..SearchRequest::default() };
            let hits = index.search(query, &request).unwrap();
            let hits: Vec<(String, f32)> = hits.iter().map(|hit| (hit.product_id.to_string(), hit.score)).collect();
            assert_eq!(hits, expected(model, query, k, filter));
        }
    }
    for (id, product) in model {
        assert_eq!(index.product(id, false).as_ref(), Some(product));
    }
    let stats = index.stats();
    assert_eq!(stats.products, model.len());
    assert_eq!(stats.images, model.values().map(|product| product.images.len()).sum::<usize>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_brute_force(changes in prop::collection::vec(change(), 1..60), query in 0u8..40, tight in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        // So low that graphs are built, merged and compacted all the time; and there are many where memory is tight.
        let build_memory = if tight { 0 } else { 1 << 30 };
        let config = IndexConfig { ef_search: 200, reach: f32::INFINITY, build_memory, ..config(DIMENSION, 8) };
        let (mut index, _) = Index::open(dir.path(), config.clone()).unwrap();
        let mut model = BTreeMap::new();
        let mut log: Vec<(String, Option<IndexedProduct>)> = Vec::new();
        for change in changes {
            match change {
                Change::Put(id, price, seeds) => {
                    let id = format!("p{id}");
                    log.push((id.clone(), Some(put(&id, price, &seeds))));
                }
                Change::Delete(id) => log.push((format!("p{id}"), None)),
                Change::Repeat(back) => {
                    let at = log.len().saturating_sub(usize::from(back));
                    if let Some((id, state)) = log.get(at) {
                        index.apply(at as u64 + 1, id, state.clone()).unwrap();
                    }
                    check(&index, &model, &vector(query));
                    continue;
                }
                Change::Settle => { index.settle(); continue; }
                Change::Snapshot => {
                    index.snapshot().unwrap();
                    drop(index);
                    let (again, opened) = Index::open(dir.path(), config.clone()).unwrap();
                    prop_assert_eq!(opened.seq, log.len() as u64);
                    prop_assert!(opened.set_aside.is_empty());
                    index = again;
                    check(&index, &model, &vector(query));
                    continue;
                }
            }
            let (id, state) = log.last().unwrap();
            index.apply(log.len() as u64, id, state.clone()).unwrap();
            match state {
                Some(state) => model.insert(id.clone(), state.clone()),
                None => model.remove(id),
            };
            check(&index, &model, &vector(query));
        }
        index.settle();
        check(&index, &model, &vector(query));
    }
}

#[test]
fn an_older_change_that_comes_late_does_not_bring_a_product_back() {
    let index = Index::in_memory(config(DIMENSION, 100));
    index.apply(7, "p", None).unwrap();
    index.apply(6, "p", Some(put("p", 0, &[1]))).unwrap();
    assert!(index.product("p", true).is_none());
    // Another product's older change is not lost for it.
    index.apply(5, "q", Some(put("q", 0, &[1]))).unwrap();
    assert_eq!(ids(&top(&index, &vector(1), 5)), ["q"]);
    assert_eq!(index.seq(), 7);
    index.mark(9);
    assert_eq!(index.seq(), 9);
}

#[test]
fn a_metadata_change_touches_no_vector() {
    let index = Index::in_memory(config(DIMENSION, 100));
    index.apply(1, "p", Some(put("p", 1, &[1, 2]))).unwrap();
    let before = index.stats();
    index.apply(2, "p", Some(put("p", 3, &[1, 2]))).unwrap();
    let after = index.stats();
    assert_eq!(index.product("p", false).unwrap().facets.price, Some(3.0));
    assert_eq!((before.dead_rows, before.scanned_rows), (after.dead_rows, after.scanned_rows));
    index.apply(3, "p", Some(put("p", 3, &[1]))).unwrap();
    assert_eq!(index.stats().dead_rows, 1);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let index = Index::in_memory(config(DIMENSION, 100));
    let refused = |product: IndexedProduct| index.apply(1, "p", Some(product)).unwrap_err();
    assert!(matches!(
        refused(product("p", &[("a", vec![1.0; 3])])),
        IndexError::Dimension { expected: 8, received: 3 }
    ));
    assert!(matches!(refused(product("p", &[("a", vec![f32::NAN; 8])])), IndexError::NotFinite { .. }));
    assert!(matches!(refused(product("p", &[("a", vec![1.0; 8])])), IndexError::NotUnit { .. }));
    assert!(matches!(refused(put("q", 0, &[1])), IndexError::OtherProduct { .. }));
    let twice = product("p", &[("a", vector(1)), ("a", vector(2))]);
    assert!(matches!(refused(twice), IndexError::DuplicateImage { .. }));
    assert_eq!((index.seq(), index.stats().products), (0, 0));
    assert!(index.search(&[0.0; 8], &SearchRequest::default()).is_err());
}

#[test]
fn memory_of_the_dead_comes_back() {
    let index = Index::in_memory(config(DIMENSION, 400));
    for round in 0..20u64 {
        for i in 0..200u64 {
            let seed = ((i * 7 + round) % 251) as u8;
            index.apply(round * 200 + i + 1, &format!("p{i}"), Some(put(&format!("p{i}"), 0, &[seed]))).unwrap();
        }
    }
    index.settle();
    let stats = index.stats();
    assert_eq!(stats.images, 200);
    assert!(stats.scanned_rows + stats.graph_rows <= 200 + 200, "{stats:?}");
}

/// Searches that run beside changes and builds see whole products only: those that stay are always found, those
/// that are gone never, and each with the price its vector was put with.
#[test]
fn searches_beside_changes_and_builds_see_no_ghost() {
    let vectors = clustered(11, 1200, 16);
    let index = Index::in_memory(config(16, 300));
    fill(&index, &vectors[..600]);
    for i in 0..100u64 {
        index.apply(1000 + i, &format!("p{i}"), None).unwrap();
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..3usize {
            let (index, vectors, done) = (&index, &vectors, &done);
            scope.spawn(move || {
                let mut i = reader;
                while !done.load(Ordering::Relaxed) {
                    i = (i + 17) % 500;
                    let hits = top(index, &vectors[100 + i], 5);
                    assert_eq!(*hits[0].product_id, *format!("p{}", 100 + i));
                    for hit in &hits {
                        let number: usize = hit.product_id[1..].parse().unwrap();
                        assert!(number >= 100, "a ghost: {hit:?}");
                        let truth = kernel::similarity(&vectors[100 + i], &halved(&vectors[number]));
                        assert_eq!(hit.score, truth, "a stale vector: {hit:?}");
                    }
                }
            });
        }
        for (seq, i) in (2000u64..).zip(600..1200) {
            let mut product = product(&format!("p{i}"), &[("a", vectors[i].clone())]);
            product.facets.price = Some(i as f64);
            index.apply(seq, &format!("p{i}"), Some(product)).unwrap();
            if i % 3 == 0 {
                index.apply(seq + 10_000, &format!("p{i}"), None).unwrap();
            }
        }
        index.settle();
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(index.stats().products, 500 + 400);
}
