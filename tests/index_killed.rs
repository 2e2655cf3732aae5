//! An index whose process is killed (SIGKILL on Unix) in the middle of changes, merges and snapshots: what it opens with is
//! the state after some change of the log, whole, and the replay of the rest brings it up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use vitrine::filter::Facets;
use vitrine::index::{Index, IndexConfig, IndexedImage, IndexedProduct, SearchRequest, inspect};

const DIR: &str = "VITRINE_TEST_KILLED_DIR";
const ROUNDS: usize = 100;
const PRODUCTS: u32 = 500;

/// So low that segments are built and merged all the time.
fn config() -> IndexConfig {
    IndexConfig { dimension: 16, model_version: "test".to_owned(), exact_rows: 60, ..IndexConfig::default() }
}

/// Change `seq` of the log.
fn change(seq: u64) -> (String, Option<IndexedProduct>) {
    let mut rng = Pcg64::seed_from_u64(seq);
    let product_id = format!("p{}", rng.random_range(0..PRODUCTS));
    if rng.random_range(0..5) == 0 {
        return (product_id, None);
    }
    let raw: Vec<f32> = (0..16).map(|_| rng.random::<f32>() - 0.5).collect();
    let length = raw.iter().map(|value| value * value).sum::<f32>().sqrt();
    let image = IndexedImage { image_id: seq.to_string(), embedding: raw.iter().map(|value| value / length).collect() };
    let facets = Facets { price: Some(seq as f64), ..Facets::default() };
    (product_id.clone(), Some(IndexedProduct { product_id, facets, images: vec![image] }))
}

/// The process that is killed: follows the log from where the index stands, and says how far it is. A test of its own since
/// a test binary runs nothing else; without the folder it has nothing to do.
#[test]
fn follower() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let (index, opened) = Index::open(Path::new(&dir), config()).unwrap();
    for seq in opened.seq + 1..opened.seq + 100_000 {
        let (id, state) = change(seq);
        index.apply(seq, &id, state).unwrap();
        if seq % 41 == 0 {
            index.snapshot().unwrap();
        }
        println!("at {seq}");
    }
}

/// Kills a follower when it has said that it is `steps` changes further.
fn follow_and_kill(dir: &Path, steps: usize) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["follower", "--exact", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = lines.map_while(Result::ok).filter(|line| line.starts_with("at ")).take(steps).count();
    assert_eq!(told, steps, "the follower ended on its own");
    child.kill().unwrap();
    child.wait().unwrap();
}

fn check(index: &Index, expected: &BTreeMap<String, u64>) {
    let mut query = vec![0.0; 16];
    query[0] = 1.0;
    let all = SearchRequest { k: PRODUCTS as usize, exact: true, ..SearchRequest::default() };
    let hits = index.search(&query, &all).unwrap();
    let found: BTreeMap<String, u64> =
        hits.iter().map(|hit| (hit.product_id.to_string(), hit.image_id.parse().unwrap())).collect();
    assert_eq!(&found, expected);
    assert!(hits.iter().all(|hit| hit.facets.price == Some(expected[&*hit.product_id] as f64)));
    // And through the graphs, each by its own vector.
    for id in expected.keys().take(50) {
        let own = index.product(id, true).unwrap().images.remove(0);
        let hits = index.search(&own.embedding, &SearchRequest { k: 1, ..SearchRequest::default() }).unwrap();
        assert_eq!(&*hits[0].product_id, id);
    }
}

#[test]
fn a_killed_index_is_whole_and_catches_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Pcg64::seed_from_u64(1);
    let (mut expected, mut upto) = (BTreeMap::new(), 0);
    for _ in 0..ROUNDS {
        follow_and_kill(dir.path(), rng.random_range(1..300));
        let (index, opened) = Index::open(dir.path(), config()).unwrap();
        assert_eq!((opened.set_aside.len(), opened.lost.len()), (0, 0));
        assert!(opened.seq >= upto, "a snapshot that was written is gone");
        let mut bring = |to: u64, index: Option<&Index>| {
            for seq in upto + 1..=to {
                let (id, state) = change(seq);
                if let Some(index) = index {
                    index.apply(seq, &id, state.clone()).unwrap();
                }
                match state {
                    Some(_) => expected.insert(id, seq),
                    None => expected.remove(&id),
                };
            }
            upto = to;
            expected.clone()
        };
        check(&index, &bring(opened.seq, None));
        check(&index, &bring(opened.seq + 30, Some(&index)));
        index.snapshot().unwrap();
    }
    let damaged = inspect(dir.path()).unwrap().into_iter().filter(|file| file.problem.is_some());
    assert_eq!(damaged.count(), 0);
}
