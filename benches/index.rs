//! Recall against searches a second, memory and build rate of the index: `cargo bench --bench index -- [--rows 50000]
//! [--queries 1000] [--connections 16] [--ef-construction 128] [--out FOLDER]`. One thread searches, ten neighbours a query;
//! truth is the index's own exact scan. `--out` writes vectors and queries (f32, row-major) and the truth (u32), on which
//! `python -m scripts.index_peers FOLDER` measures hnswlib and usearch.
//!
//! Vectors are of unit length and 256 values, in clusters, of an intrinsic dimension of about 32: embeddings of photos are
//! of that kind.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use std::path::PathBuf;
use std::time::Instant;
use vitrine::filter::Facets;
use vitrine::index::{Index, IndexConfig, IndexedImage, IndexedProduct, SearchRequest};

const DIMENSION: usize = 256;
const INTRINSIC: usize = 32;
const CLUSTERS: usize = 200;
const K: usize = 10;

fn gauss(rng: &mut Pcg64) -> f32 {
    // Box and Muller; the lower end keeps the logarithm finite.
    let (u, v): (f32, f32) = (rng.random_range(1e-7..1.0), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * v).cos()
}

/// `count` vectors: a cluster's center, a step along each of the axes that all share, and a little noise.
fn vectors(count: usize) -> Vec<Vec<f32>> {
    let mut rng = Pcg64::seed_from_u64(1);
    let mut draw = |rows: usize| -> Vec<Vec<f32>> {
        (0..rows).map(|_| (0..DIMENSION).map(|_| gauss(&mut rng)).collect()).collect()
    };
    let (centers, axes) = (draw(CLUSTERS), draw(INTRINSIC));
    let mut rng = Pcg64::seed_from_u64(2);
    (0..count)
        .map(|_| {
            let mut v = centers[rng.random_range(0..CLUSTERS)].clone();
            for axis in &axes {
                let along = 0.35 * gauss(&mut rng);
                v.iter_mut().zip(axis).for_each(|(v, a)| *v += along * a);
            }
            v.iter_mut().for_each(|v| *v += 0.05 * gauss(&mut rng));
            let length = v.iter().map(|v| v * v).sum::<f32>().sqrt();
            v.iter().map(|v| v / length).collect()
        })
        .collect()
}

/// Resident memory in MB, as Linux counts it.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn ids(index: &Index, query: &[f32], request: &SearchRequest<'_>) -> Vec<u32> {
    let hits = index.search(query, request).unwrap();
    hits.iter().map(|hit| hit.product_id.parse().unwrap()).collect()
}

fn bytes<T: Copy, const N: usize>(values: impl Iterator<Item = T>, to: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.flat_map(to).collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let number = |name: &str, other: usize| after(name).map_or(other, |text| text.parse().unwrap());
    let (rows, queries) = (number("--rows", 50_000), number("--queries", 1000));
    let all = vectors(rows + queries);
    let (rows, queries) = all.split_at(rows);
    let before = resident();
    let plain = IndexConfig::default();
    let config = IndexConfig {
        dimension: DIMENSION,
        exact_rows: rows.len(),
        connections: number("--connections", plain.connections),
        ef_construction: number("--ef-construction", plain.ef_construction),
        ..plain
    };
    let index = Index::in_memory(config);
    let begun = Instant::now();
    for (i, embedding) in rows.iter().enumerate() {
        let image = IndexedImage { image_id: String::from("a"), embedding: embedding.clone() };
        let product = IndexedProduct { product_id: i.to_string(), facets: Facets::default(), images: vec![image] };
        index.apply(i as u64 + 1, &i.to_string(), Some(product)).unwrap();
    }
    let applied = begun.elapsed().as_secs_f64();
    index.settle();
    let built = begun.elapsed().as_secs_f64() - applied;
    let stats = index.stats();
    println!(
        "{} rows: {:.0}/s applied, {:.0}/s built; {:.0} bytes a row for vectors and graph, {:.0} resident with products",
        rows.len(),
        rows.len() as f64 / applied,
        rows.len() as f64 / built,
        stats.bytes as f64 / rows.len() as f64,
        (resident() - before) * 1048576.0 / rows.len() as f64,
    );
    let exact = SearchRequest { k: K, exact: true, ..SearchRequest::default() };
    let begun = Instant::now();
    let truth: Vec<Vec<u32>> = queries.iter().map(|query| ids(&index, query, &exact)).collect();
    println!("exact: {:.0} searches/s", queries.len() as f64 / begun.elapsed().as_secs_f64());
    if let Some(folder) = after("--out").map(PathBuf::from) {
        std::fs::create_dir_all(&folder).unwrap();
        let floats = |of: &[Vec<f32>]| bytes(of.iter().flatten().copied(), f32::to_le_bytes);
        std::fs::write(folder.join("vectors.f32"), floats(rows)).unwrap();
        std::fs::write(folder.join("queries.f32"), floats(queries)).unwrap();
        std::fs::write(folder.join("truth.u32"), bytes(truth.iter().flatten().copied(), u32::to_le_bytes)).unwrap();
    }
    println!("   ef  recall@{K}  searches/s   p50 us   p99 us");
    for ef in [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512] {
        let request = SearchRequest { k: K, ef: Some(ef), ..SearchRequest::default() };
        let mut times = Vec::new();
        let (mut found, begun) = (0, Instant::now());
        for (query, truth) in queries.iter().zip(&truth) {
            let one = Instant::now();
            let hits = index.search(query, &request).unwrap();
            times.push(one.elapsed().as_secs_f64() * 1e6);
            found += hits.iter().filter(|hit| truth.contains(&hit.product_id.parse().unwrap())).count();
        }
        let took = begun.elapsed().as_secs_f64();
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        println!(
            "{ef:5}  {:9.4}  {:10.0}  {:7.0}  {:7.0}",
            found as f64 / (K * queries.len()) as f64,
            queries.len() as f64 / took,
            at(0.5),
            at(0.99)
        );
    }
}
