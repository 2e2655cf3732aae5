//! Figures behind the constants; run with `cargo test --release --lib index::tests::measure -- --ignored --nocapture`.

use super::*;
use std::time::Instant;

/// Seconds a search takes, over `queries`.
fn seconds(index: &Index, queries: &[Vec<f32>], request: SearchRequest<'_>) -> f64 {
    let started = Instant::now();
    for query in queries {
        std::hint::black_box(index.search(query, &request).unwrap());
    }
    started.elapsed().as_secs_f64() / queries.len() as f64
}

#[test]
#[ignore = "takes a minute, and its figures mean something in release only"]
fn searches_a_second_recall_and_build_rate() {
    let all = clustered(21, 50_200, 256);
    let (vectors, queries) = all.split_at(50_000);
    let request = SearchRequest { k: 10, ..SearchRequest::default() };
    for rows in [1_000, 10_000, 20_000, 50_000] {
        let index = Index::in_memory(config(256, usize::MAX));
        fill(&index, &vectors[..rows]);
        let exact = seconds(&index, queries, request);
        println!("{rows} rows: exact {:.3} ms", exact * 1e3);
        if rows < 20_000 {
            continue;
        }
        drop(index);
        let started = Instant::now();
        let index = Index::in_memory(config(256, rows));
        fill(&index, &vectors[..rows]);
        index.settle();
        let built = started.elapsed().as_secs_f64();
        let walk = seconds(&index, queries, request);
        let mut found = 0;
        for query in queries {
            let exact = index.search(query, &SearchRequest { exact: true, ..request }).unwrap();
            let hits = index.search(query, &request).unwrap();
            found += ids(&exact).iter().filter(|id| ids(&hits).contains(id)).count();
        }
        let recall = found as f64 / (10 * queries.len()) as f64;
        let stats = index.stats();
        println!(
            "{rows} rows: graph {:.3} ms, recall {recall:.4}, built at {:.0}/s, {stats:?}",
            walk * 1e3,
            rows as f64 / built
        );
    }
}
