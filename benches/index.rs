//! The index on drawn vectors: `cargo bench --bench index -- [OPTIONS]`.
//!
//! | option | |
//! | --- | --- |
//! | `--rows 50000`, `--queries 1000` | how many; ten neighbours a query, one thread searches |
//! | `--connections 16`, `--ef-construction 128` | how the graph is made |
//! | `--dir FOLDER` | keeps the index there: a second run opens it instead of building |
//! | `--reach 1.3` | how far a search goes by distance, see `IndexConfig::reach` |
//! | `--on-disk` | leaves vectors in their files |
//! | `--vectors FILE` | vectors from a file of f32 instead of drawn ones; the last of them are the queries |
//! | `--out FOLDER` | writes vectors, queries and truth, on which `python -m scripts.index_peers FOLDER` measures others, and this curve as `ours.json` |
//! | `--reference FOLDER` | nothing of the above: measures hnsw_rs on what `--out` wrote there, and writes `hnsw_rs.json` |
//! | `--filters` | recall and time under filters, by how much passes |
//! | `--churn` | ten rounds in which a fifth of the rows is deleted and added again |
//! | `--busy` | how long changes take while segments are built |
//!
//! Truth is the index's own exact scan.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{CLUSTERS, DIMENSION, Draw};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::json;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use vitrine::filter::{Facets, Filter};
use vitrine::index::{Index, IndexConfig, IndexedImage, IndexedProduct, SearchRequest};

const K: usize = 10;

/// Product `i` of `rows`: its price does not go with its vector, its zone does.
fn product(i: usize, rows: usize, (cluster, embedding): (usize, Vec<f32>)) -> IndexedProduct {
    let image = IndexedImage { image_id: String::from("a"), embedding };
    let facets = Facets {
        price: Some((i as u64 * 7919 % rows as u64) as f64),
        attributes: [("zone".to_owned(), vec![cluster.to_string()])].into(),
        ..Facets::default()
    };
    IndexedProduct { product_id: i.to_string(), facets, images: vec![image] }
}

fn ids(index: &Index, query: &[f32], request: &SearchRequest<'_>) -> Vec<u32> {
    let hits = index.search(query, request).unwrap();
    hits.iter().map(|hit| hit.product_id.parse().unwrap()).collect()
}

fn truth(index: &Index, queries: &[Vec<f32>], filter: Option<&Filter>) -> Vec<HashSet<u32>> {
    let request = SearchRequest { k: K, filter, exact: true, ..SearchRequest::default() };
    queries.iter().map(|query| ids(index, query, &request).into_iter().collect()).collect()
}

/// Recall, searches a second, and the times in microseconds that half and all but a hundredth of the searches keep to.
fn measure(index: &Index, queries: &[Vec<f32>], truth: &[HashSet<u32>], request: &SearchRequest<'_>) -> [f64; 4] {
    let mut times = Vec::with_capacity(queries.len());
    let (mut found, mut wanted, begun) = (0, 0, Instant::now());
    for (query, truth) in queries.iter().zip(truth) {
        let one = Instant::now();
        let hits = index.search(query, request).unwrap();
        times.push(one.elapsed().as_secs_f64() * 1e6);
        found += hits.iter().filter(|hit| truth.contains(&hit.product_id.parse().unwrap())).count();
        wanted += truth.len();
    }
    let rate = queries.len() as f64 / begun.elapsed().as_secs_f64();
    let [half, most] = shares(&mut times);
    [found as f64 / wanted.max(1) as f64, rate, half, most]
}

/// What half and all but a hundredth keep to.
fn shares(times: &mut [f64]) -> [f64; 2] {
    times.sort_by(f64::total_cmp);
    [0.5, 0.99].map(|share| times[((times.len() - 1) as f64 * share) as usize])
}

fn write_f32(out: &mut impl Write, vector: &[f32]) {
    vector.iter().for_each(|value| out.write_all(&value.to_le_bytes()).unwrap());
}

/// Fills the index with `rows` vectors; gives the rate at which they were built.
fn fill(index: &Index, rows: usize, vectors: impl Iterator<Item = (usize, Vec<f32>)>, out: Option<&Path>) -> f64 {
    let open = |name: &str| out.map(|folder| BufWriter::new(File::create(folder.join(name)).unwrap()));
    let (mut file, mut zones) = (open("vectors.f32"), open("zones.u32"));
    let begun = Instant::now();
    for (i, drawn) in vectors.take(rows).enumerate() {
        if let (Some(file), Some(zones)) = (&mut file, &mut zones) {
            write_f32(file, &drawn.1);
            zones.write_all(&(drawn.0 as u32).to_le_bytes()).unwrap();
        }
        index.apply(i as u64 + 1, &i.to_string(), Some(product(i, rows, drawn))).unwrap();
    }
    let applied = begun.elapsed().as_secs_f64();
    index.settle();
    let all = begun.elapsed().as_secs_f64();
    println!("drawn and applied in {applied:.0} s, built when {all:.0} s had passed");
    rows as f64 / all
}

fn curve(index: &Index, queries: &[Vec<f32>], built: Option<f64>, out: Option<&Path>) {
    let begun = Instant::now();
    let truth = truth(index, queries, None);
    println!("exact: {:.0} searches/s", queries.len() as f64 / begun.elapsed().as_secs_f64());
    println!("   ef  recall@{K}  searches/s   p50 us   p99 us");
    let mut points = Vec::new();
    for ef in [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512] {
        let request = SearchRequest { k: K, ef: Some(ef), group_only: true, ..SearchRequest::default() };
        let [recall, rate, half, most] = measure(index, queries, &truth, &request);
        println!("{ef:5}  {recall:9.4}  {rate:10.0}  {half:7.0}  {most:7.0}");
        points.push(json!([recall, rate]));
    }
    if let Some(folder) = out {
        let mut file = BufWriter::new(File::create(folder.join("queries.f32")).unwrap());
        queries.iter().for_each(|query| write_f32(&mut file, query));
        let mut file = BufWriter::new(File::create(folder.join("truth.u32")).unwrap());
        for truth in &truth {
            truth.iter().for_each(|id| file.write_all(&id.to_le_bytes()).unwrap());
        }
        let bytes = index.stats().bytes / index.stats().images.max(1);
        let curve = json!({"vitrine": {"curve": points, "bytes": bytes, "built": built}});
        std::fs::write(folder.join("ours.json"), curve.to_string()).unwrap();
    }
}

/// hnsw_rs on the vectors, queries and truth in a folder.
fn reference(folder: &Path) {
    use hnsw_rs::prelude::{DistDot, Hnsw};
    let (vectors, queries) =
        (common::read_f32(&folder.join("vectors.f32")), common::read_f32(&folder.join("queries.f32")));
    let truth = std::fs::read(folder.join("truth.u32")).unwrap();
    let truth: Vec<u32> = truth.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
    let before = common::memory("self", "RssAnon:");
    let begun = Instant::now();
    let index: Hnsw<'_, f32, DistDot> = Hnsw::new(16, vectors.len(), 16, 128, DistDot);
    let all: Vec<(&[f32], usize)> = vectors.iter().enumerate().map(|(i, v)| (v.as_slice(), i)).collect();
    index.parallel_insert_slice(&all);
    let built = vectors.len() as f64 / begun.elapsed().as_secs_f64();
    let bytes = (common::memory("self", "RssAnon:") - before) * 1048576.0 / vectors.len() as f64;
    println!("hnsw_rs: {built:.0}/s built, {bytes:.0} bytes a vector");
    let mut points = Vec::new();
    for ef in [10, 16, 24, 32, 64, 96, 128, 192, 256, 384, 512] {
        let begun = Instant::now();
        let found: Vec<_> = queries.iter().map(|query| index.search(query, K, ef)).collect();
        let rate = queries.len() as f64 / begun.elapsed().as_secs_f64();
        let hits = found
            .iter()
            .zip(truth.chunks(K))
            .flat_map(|(found, truth)| found.iter().filter(|near| truth.contains(&(near.d_id as u32))));
        let recall = hits.count() as f64 / truth.len() as f64;
        println!("{ef:5}  {recall:9.4}  {rate:10.0}");
        points.push(json!([recall, rate]));
    }
    let curve = json!({"hnsw_rs": {"curve": points, "bytes": bytes, "built": built}});
    std::fs::write(folder.join("hnsw_rs.json"), curve.to_string()).unwrap();
}

fn filters(index: &Index, rows: usize, queries: &[Vec<f32>]) {
    println!("passing  by price: recall, p50 us, p99 us   by zone: recall, p50 us, p99 us");
    let queries = &queries[..queries.len().min(200)];
    for share in [1.0, 0.5, 0.1, 0.01, 0.001, 0.0001] {
        let price = json!({"price": {"lt": rows as f64 * share}});
        let zones = ((CLUSTERS as f64 * share).round() as usize).max(1);
        // Where one cluster is more than wanted, the price takes a part of it.
        let rest = rows as f64 * (share * CLUSTERS as f64 / zones as f64).min(1.0);
        let zone = match zones {
            CLUSTERS => json!({"not": {"attributes.zone": "none"}}),
            _ => {
                json!({"attributes.zone": (0..zones).map(|z| z.to_string()).collect::<Vec<_>>(), "price": {"lt": rest}})
            }
        };
        let [by_price, by_zone] = [price, zone].map(|filter| {
            let filter = Filter::parse(&filter).unwrap();
            let truth = truth(index, queries, Some(&filter));
            let request = SearchRequest { k: K, filter: Some(&filter), group_only: true, ..SearchRequest::default() };
            measure(index, queries, &truth, &request)
        });
        let [a, _, b, c] = by_price;
        let [d, _, e, f] = by_zone;
        println!("{:7.2}%  {a:16.4}, {b:6.0}, {c:6.0}   {d:15.4}, {e:6.0}, {f:6.0}", 100.0 * share);
    }
}

fn churn(index: &Index, rows: usize, queries: &[Vec<f32>]) {
    let request = SearchRequest { k: K, group_only: true, ..SearchRequest::default() };
    let state = |round: usize| {
        let stats = index.stats();
        let [recall, rate, ..] = measure(index, queries, &truth(index, queries, None), &request);
        println!(
            "round {round}: recall {recall:.4}, {rate:.0} searches/s, {} segments, {} dead, {} bytes a row",
            stats.segments,
            stats.dead_rows,
            stats.bytes / stats.images.max(1)
        );
    };
    state(0);
    let all: Vec<(usize, Vec<f32>)> = Draw::new(2).take(rows).collect();
    let mut rng = Pcg64::seed_from_u64(7);
    let mut seq = rows as u64;
    for round in 1..=10 {
        let gone: Vec<usize> = (0..rows).filter(|_| rng.random_range(0..5) == 0).collect();
        for i in &gone {
            seq += 1;
            index.apply(seq, &i.to_string(), None).unwrap();
        }
        let ghosts: HashSet<u32> = gone.iter().map(|i| *i as u32).collect();
        let found = queries.iter().flat_map(|query| ids(index, query, &request));
        assert!(found.filter(|id| ghosts.contains(id)).count() == 0, "a ghost");
        for i in &gone {
            seq += 1;
            index.apply(seq, &i.to_string(), Some(product(*i, rows, all[*i].clone()))).unwrap();
        }
        index.settle();
        state(round);
    }
    let fresh = Index::in_memory(index.config().clone());
    fill(&fresh, rows, all.into_iter(), None);
    let [recall, rate, ..] = measure(&fresh, queries, &truth(&fresh, queries, None), &request);
    println!("built anew: recall {recall:.4}, {rate:.0} searches/s, {} bytes a row", fresh.stats().bytes / rows);
}

fn busy(index: &Index, rows: usize) {
    let mut times = Vec::new();
    let mut seq = index.seq();
    let mut i = rows;
    // New rows until four builds have come and gone.
    let (mut builds, mut was) = (0, false);
    for drawn in Draw::new(5) {
        seq += 1;
        let product = product(i, rows, drawn);
        let begun = Instant::now();
        index.apply(seq, &i.to_string(), Some(product)).unwrap();
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        i += 1;
        // As a fast import would bring them: builds keep up and are met in all their stages.
        std::thread::sleep(Duration::from_micros(200));
        let building = index.stats().building;
        builds += usize::from(was && !building);
        was = building;
        if builds == 4 || i > 2 * rows + 200_000 {
            break;
        }
    }
    let count = times.len();
    let [half, most] = shares(&mut times);
    let longest = times[count - 1];
    println!("{count} changes beside {builds} builds: p50 {half:.3} ms, p99 {most:.3} ms, longest {longest:.1} ms");
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let number = |name: &str, other: usize| after(name).map_or(other, |text| text.parse().unwrap());
    let is_set = |name: &str| arguments.iter().any(|a| a == name);
    if let Some(folder) = after("--reference") {
        return reference(Path::new(folder));
    }
    let rows = number("--rows", 50_000);
    let out = after("--out").map(PathBuf::from);
    if let Some(folder) = &out {
        std::fs::create_dir_all(folder).unwrap();
    }
    let count = number("--queries", 1000);
    let mut read = after("--vectors").map(|path| common::read_f32(Path::new(path)));
    let queries: Vec<Vec<f32>> = match &mut read {
        Some(read) => read.split_off(read.len().saturating_sub(count)),
        None => Draw::new(3).map(|(_, v)| v).take(count).collect(),
    };
    let rows = read.as_ref().map_or(rows, |read| rows.min(read.len()));
    let before = common::memory("self", "VmRSS:");
    let plain = IndexConfig::default();
    let config = IndexConfig {
        dimension: DIMENSION,
        connections: number("--connections", plain.connections),
        ef_construction: number("--ef-construction", plain.ef_construction),
        vectors_on_disk: is_set("--on-disk"),
        reach: after("--reach").map_or(plain.reach, |text| text.parse().unwrap()),
        ..plain
    };
    let begun = Instant::now();
    let index = match after("--dir") {
        Some(dir) => Index::open(Path::new(dir), config).unwrap().0,
        None => Index::in_memory(config),
    };
    let mut built = None;
    if index.seq() == 0 {
        built = Some(match read {
            Some(read) => fill(&index, rows, read.into_iter().map(|vector| (0, vector)), out.as_deref()),
            None => fill(&index, rows, Draw::new(2), out.as_deref()),
        });
        let begun = Instant::now();
        index.snapshot().unwrap();
        println!("snapshot in {:.1} s", begun.elapsed().as_secs_f64());
    } else {
        println!("opened in {:.2} s", begun.elapsed().as_secs_f64());
    }
    let stats = index.stats();
    let a_row = |bytes: usize| bytes as f64 / stats.images.max(1) as f64;
    println!(
        "{} rows in {} segments, {} scanned: {:.0} bytes a row, {:.0} a product",
        stats.images,
        stats.segments,
        stats.scanned_rows,
        a_row(stats.bytes),
        a_row(stats.product_bytes)
    );
    if !is_set("--no-curve") {
        curve(&index, &queries, built, out.as_deref());
    }
    if is_set("--filters") {
        filters(&index, rows, &queries);
    }
    if is_set("--churn") {
        churn(&index, rows, &queries);
    }
    if is_set("--busy") {
        busy(&index, rows);
    }
    println!(
        "resident {:.0} MB more than before, {:.0} of it not of files; at most {:.0} MB",
        common::memory("self", "VmRSS:") - before,
        common::memory("self", "RssAnon:") - before,
        common::memory("self", "VmHWM:")
    );
}
