//! Snapshots: what is read is what was written, and whatever is broken is named and set aside.

use super::*;
use std::fs;
use std::path::{Path, PathBuf};

fn snapshots(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

/// An index with a graph, dead rows and a tail, and its one snapshot in `dir`.
fn filled(dir: &Path) -> Index {
    let (index, _) = Index::open(dir, config(16, 200)).unwrap();
    fill(&index, &clustered(2, 250, 16));
    index.settle();
    for i in 0..20 {
        index.apply(1000 + i, &format!("p{i}"), None).unwrap();
    }
    let more = clustered(4, 5, 16);
    for (seq, vector) in (2000..).zip(more) {
        let mut product = product(&format!("q{seq}"), &[("a", vector)]);
        product.facets.tags = vec!["ü \"x\"".to_owned()];
        index.apply(seq, &format!("q{seq}"), Some(product)).unwrap();
    }
    index.snapshot().unwrap();
    index
}

#[test]
fn a_snapshot_brings_everything_back() {
    let dir = tempfile::tempdir().unwrap();
    let index = filled(dir.path());
    let (again, opened) = Index::open(dir.path(), config(16, 200)).unwrap();
    assert_eq!(opened.seq, 2004);
    assert_eq!(opened.snapshot, Some(snapshots(dir.path())[0].clone()));
    assert!(again.stats().graph_rows > 0);
    for query in clustered(9, 40, 16) {
        assert_eq!(top(&again, &query, 30), top(&index, &query, 30));
    }
    // Replay of what is in already changes nothing, also of what was deleted since.
    again.apply(1, "p0", Some(product("p0", &[("a", clustered(2, 1, 16).remove(0))]))).unwrap();
    assert!(again.facets("p0").is_none());
    assert_eq!(again.stats().products, 235);
}

#[test]
fn a_torn_or_flipped_snapshot_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()));
    let path = snapshots(dir.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    let mut rng = Pcg64::seed_from_u64(1);
    for round in 0..60 {
        let mut bytes = whole.clone();
        match round % 2 {
            0 => bytes.truncate(rng.random_range(0..whole.len())),
            _ => bytes[rng.random_range(0..whole.len())] ^= 1 << rng.random_range(0..8u32),
        }
        fs::write(&path, &bytes).unwrap();
        let (index, opened) = Index::open(dir.path(), config(16, 200)).unwrap();
        assert_eq!((opened.seq, opened.snapshot, opened.set_aside.len()), (0, None, 1));
        assert_eq!(index.stats().products, 0);
        let aside = &opened.set_aside[0].0;
        assert_eq!(fs::read(aside).unwrap(), bytes);
        fs::remove_file(aside).unwrap();
    }
}

#[test]
fn bytes_with_a_right_checksum_and_wrong_content_are_refused_too() {
    use sha2::{Digest, Sha256};
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()));
    let path = snapshots(dir.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    let mut rng = Pcg64::seed_from_u64(2);
    for _ in 0..200 {
        let mut body = whole[..whole.len() - 32].to_vec();
        let at = rng.random_range(0..body.len());
        body[at] = rng.random();
        let checksum = Sha256::digest(&body);
        body.extend_from_slice(&checksum);
        fs::write(&path, &body).unwrap();
        // Whatever was hit: no panic, no endless memory, and a search that comes back.
        let (index, _) = Index::open(dir.path(), config(16, 200)).unwrap();
        let _ = index.search(&clustered(9, 1, 16)[0], &SearchRequest { k: 5, ..SearchRequest::default() });
    }
}

#[test]
fn the_snapshot_before_steps_in() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = Index::open(dir.path(), config(16, 200)).unwrap();
    let vectors = clustered(2, 4, 16);
    for (i, vector) in vectors.iter().enumerate() {
        index.apply(i as u64 + 1, &format!("p{i}"), Some(product(&format!("p{i}"), &[("a", vector.clone())]))).unwrap();
        index.snapshot().unwrap();
    }
    let kept = snapshots(dir.path());
    assert_eq!(kept.len(), 2);
    fs::write(&kept[1], b"VITRINDX").unwrap();
    fs::write(kept[1].with_extension("index.new"), b"half").unwrap();
    let (again, opened) = Index::open(dir.path(), config(16, 200)).unwrap();
    assert_eq!((opened.seq, opened.set_aside.len()), (3, 1));
    assert_eq!(again.stats().products, 3);
    assert!(snapshots(dir.path()).iter().all(|path| !path.to_string_lossy().ends_with(".new")));
}

#[test]
fn snapshots_of_another_model_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()));
    let other = IndexConfig { model_version: "other".to_owned(), ..config(16, 200) };
    let (index, opened) = Index::open(dir.path(), other).unwrap();
    assert_eq!((opened.seq, opened.set_aside.len(), index.stats().products), (0, 0, 0));
    index.apply(1, "p", Some(product("p", &[("a", clustered(1, 1, 16).remove(0))]))).unwrap();
    index.snapshot().unwrap();
    assert_eq!(snapshots(dir.path()).len(), 2);
}
