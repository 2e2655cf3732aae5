//! Recall through graphs, at every selectivity, with filters that do and do not go with the vectors.

use super::*;
use crate::filter::Filter;
use serde_json::json;
use std::collections::HashSet;

/// recall@10 of `index` over `queries`, against its own exact scan.
fn recall(index: &Index, queries: &[Vec<f32>], filter: Option<&Filter>) -> f64 {
    let (mut found, mut wanted) = (0, 0);
    for query in queries {
        let request = SearchRequest { k: 10, filter, ..SearchRequest::default() };
        let exact = index.search(query, &SearchRequest { exact: true, ..request }).unwrap();
        let hits = index.search(query, &request).unwrap();
        assert_eq!(hits.len(), exact.len());
        if let Some(filter) = filter {
            assert!(hits.iter().all(|hit| filter.matches(&hit.facets)));
        }
        let truth: HashSet<&str> = ids(&exact).into_iter().collect();
        found += ids(&hits).iter().filter(|id| truth.contains(*id)).count();
        wanted += truth.len();
    }
    found as f64 / wanted as f64
}

#[test]
fn recall_holds_at_every_selectivity() {
    let vectors = clustered(7, 6000, 64);
    let queries = clustered(7, 6040, 64).split_off(6000);
    let index = Index::in_memory(config(64, 1000));
    let near_first: Vec<f32> = vectors.iter().map(|v| crate::index::kernel::dot(v, &vectors[0])).collect();
    let mut by_nearness: Vec<usize> = (0..vectors.len()).collect();
    by_nearness.sort_by(|a, b| near_first[*b].total_cmp(&near_first[*a]));
    let mut rank = vec![0; vectors.len()];
    by_nearness.iter().enumerate().for_each(|(r, i)| rank[*i] = r);
    for (i, vector) in vectors.iter().enumerate() {
        let mut product = product(&format!("p{i}"), &[("a", vector.clone())]);
        // Uncorrelated with the vectors: a price spread by a multiplier without a common factor.
        product.facets.price = Some((i * 7919 % vectors.len()) as f64);
        // Correlated: everything allowed lies together, and far from most queries.
        product.facets.attributes.insert("zone".to_owned(), vec![(rank[i] * 1000 / vectors.len()).to_string()]);
        index.apply(i as u64 + 1, &product.product_id.clone(), Some(product)).unwrap();
    }
    index.settle();
    let stats = index.stats();
    assert!(stats.graph_rows > 4000, "{stats:?}");
    assert!(recall(&index, &queries, None) >= 0.95);
    for per_mille in [1000, 500, 100, 10, 1] {
        let below = 6000.0 * f64::from(per_mille) / 1000.0;
        let uncorrelated = Filter::parse(&json!({"price": {"lt": below}})).unwrap();
        let zones: Vec<String> = (0..per_mille.min(100)).map(|zone: i32| zone.to_string()).collect();
        let correlated = Filter::parse(&json!({"attributes.zone": zones})).unwrap();
        for filter in [&uncorrelated, &correlated] {
            let recall = recall(&index, &queries, Some(filter));
            assert!(recall >= 0.95, "recall {recall} at {per_mille} per mille, {filter:?}");
        }
    }
}

#[test]
fn every_row_finds_itself_through_the_graph() {
    let vectors = clustered(3, 3000, 32);
    let index = Index::in_memory(config(32, 500));
    fill(&index, &vectors);
    index.settle();
    assert!(index.stats().graph_rows > 0);
    for (i, vector) in vectors.iter().enumerate() {
        let hit = &top(&index, vector, 1)[0];
        assert!(*hit.product_id == *format!("p{i}") || hit.score > 0.99999, "{i}: {hit:?}");
    }
}

/// Searches for the vector of a product, as the index has it: they begin at its row, and find as much.
#[test]
fn searches_that_begin_at_the_product_find_as_much() {
    let vectors = clustered(23, 6000, 64);
    let index = Index::in_memory(config(64, 1000));
    fill(&index, &vectors);
    // Another photo: the row in the graph is not the product's any more.
    let other = vectors[5000].clone();
    index.apply(10_000, "p7", Some(product("p7", &[("a", other.clone())]))).unwrap();
    // Copies of one photo, more than a row has edges.
    for i in 0..200 {
        let id = format!("copy{i}");
        index.apply(10_001 + i, &id, Some(product(&id, &[("a", vectors[9].clone())]))).unwrap();
    }
    index.settle();
    assert!(index.stats().graph_rows > 4000);
    let mut found = 0;
    let cheap = Filter::parse(&json!({"price": {"lt": 30}})).unwrap();
    let ids: Vec<String> =
        (0..300).map(|i| format!("p{}", i * 20 % 6000)).chain(["p7".into(), "copy5".into()]).collect();
    for id in &ids {
        let vector = &index.product(id, true).unwrap().images[0].embedding;
        let request =
            SearchRequest { k: 10, of_product: Some(id), exclude_products: &[id], ..SearchRequest::default() };
        let exact = index.search(vector, &SearchRequest { exact: true, ..request }).unwrap();
        let hits = index.search(vector, &request).unwrap();
        assert_eq!(hits.len(), 10, "{id}");
        // Copies are as near as one another, whichever are found.
        let least = exact[9].score - 1e-6;
        found += hits.iter().filter(|hit| hit.score >= least).count();
        let cheap = SearchRequest { filter: Some(&cheap), ..request };
        let exact = index.search(vector, &SearchRequest { exact: true, ..cheap }).unwrap();
        let hits = index.search(vector, &cheap).unwrap();
        assert_eq!(hits.len(), exact.len(), "{id}");
        assert!(hits.iter().all(|hit| cheap.filter.is_some_and(|filter| filter.matches(&hit.facets))), "{id}");
    }
    assert!(found as f64 >= 0.97 * 10.0 * ids.len() as f64, "{found} of {}", 10 * ids.len());
}

#[test]
fn same_changes_give_the_same_graph_and_answers() {
    let vectors = clustered(5, 1500, 32);
    let answers = || {
        let index = Index::in_memory(config(32, 1400));
        fill(&index, &vectors);
        index.settle();
        assert!(index.stats().graph_rows > 0);
        vectors[..50].iter().map(|vector| top(&index, vector, 20)).collect::<Vec<_>>()
    };
    assert_eq!(answers(), answers());
}

#[test]
fn below_the_threshold_there_is_no_graph() {
    let index = Index::in_memory(config(16, 400));
    fill(&index, &clustered(1, 399, 16));
    index.settle();
    assert_eq!(index.stats().graph_rows, 0);
}

#[test]
fn equal_scores_come_in_order_of_product_id() {
    let index = Index::in_memory(config(4, 100));
    let vector = unit(vec![1.0, 2.0, 3.0, 4.0]);
    // The same photo on many products: more ties than a search holds at a time.
    for i in 0..1500u64 {
        let id = format!("p{:04}", (i * 7) % 1500);
        index.apply(i + 1, &id, Some(product(&id, &[("b", vector.clone()), ("a", vector.clone())]))).unwrap();
    }
    // A graph finds few of them, and building it again would find no more.
    index.settle();
    for k in [1, 10, 700] {
        let hits = index.search(&vector, &SearchRequest { k, exact: true, ..SearchRequest::default() }).unwrap();
        let expected: Vec<String> = (0..k).map(|i| format!("p{i:04}")).collect();
        assert_eq!(ids(&hits), expected);
        assert!(hits.iter().all(|hit| &*hit.image_id == "b"), "the catalog's first image");
    }
}

#[test]
fn many_images_of_one_product_do_not_end_a_walk_before_others_are_found() {
    let vectors = clustered(11, 6000, 32);
    let index = Index::in_memory(config(32, 1000));
    let mut rng = Pcg64::seed_from_u64(3);
    for (i, vector) in vectors.iter().enumerate() {
        // Every thousandth product has 150 views that hardly differ.
        let views = if i % 1000 == 0 { 150 } else { 1 };
        let view = |_| vector.iter().map(|value| value + 0.002 * gauss(&mut rng)).collect();
        let views: Vec<Vec<f32>> = (0..views).map(view).map(unit).collect();
        let names: Vec<String> = (0..views.len()).map(|n| n.to_string()).collect();
        let images: Vec<(&str, Vec<f32>)> = names.iter().map(String::as_str).zip(views).collect();
        let id = format!("p{i}");
        index.apply(i as u64 + 1, &id, Some(product(&id, &images))).unwrap();
    }
    index.settle();
    assert!(index.stats().graph_rows > 4000);
    let (mut found, mut wanted) = (0, 0);
    for k in [1, 2, 20] {
        for query in (0..6).map(|n| &vectors[n * 1000]).chain(&vectors[1..20]) {
            let exact = index.search(query, &SearchRequest { k, exact: true, ..SearchRequest::default() }).unwrap();
            let hits = top(&index, query, k);
            assert_eq!((hits.len(), exact.len()), (k, k));
            found += ids(&hits).iter().filter(|id| ids(&exact).contains(*id)).count();
            wanted += k;
        }
    }
    assert!(found as f64 >= 0.97 * wanted as f64, "{found} of {wanted}");
}
