//! Snapshots: what is read is what was written, and whatever is broken is named and set aside.

use super::*;
use std::fs;
use std::path::{Path, PathBuf};

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> = all.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    all.sort();
    all
}

fn snapshots(dir: &Path) -> Vec<PathBuf> {
    files(dir, "index")
}

fn one_snapshot() -> IndexConfig {
    IndexConfig { keep_snapshots: 1, ..config(16, 200) }
}

/// An index with a graph, dead rows and a tail, and its one snapshot in `dir`.
fn filled(dir: &Path) -> Index {
    let (index, _) = Index::open(dir, one_snapshot()).unwrap();
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

/// The files of an index, for a second one beside it.
fn copied(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

#[test]
fn a_snapshot_brings_everything_back() {
    let first = tempfile::tempdir().unwrap();
    let index = filled(first.path());
    let dir = copied(first.path());
    let (again, opened) = Index::open(dir.path(), one_snapshot()).unwrap();
    assert_eq!(opened.seq, 2004);
    assert_eq!(opened.snapshot, Some(snapshots(dir.path())[0].clone()));
    assert!(opened.lost.is_empty());
    assert!(again.stats().graph_rows > 0);
    for query in clustered(9, 40, 16) {
        assert_eq!(top(&again, &query, 30), top(&index, &query, 30));
    }
    // Replay of what is in already changes nothing, also of what was deleted since.
    again.apply(1, "p0", Some(product("p0", &[("a", clustered(2, 1, 16).remove(0))]))).unwrap();
    assert!(again.product("p0", true).is_none());
    assert_eq!(again.stats().products, 235);
}

/// `whole`, cut or with a bit turned.
fn broken(whole: &[u8], round: usize, rng: &mut Pcg64) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    match round % 2 {
        0 => bytes.truncate(rng.random_range(0..whole.len())),
        _ => bytes[rng.random_range(0..whole.len())] ^= 1 << rng.random_range(0..8u32),
    }
    bytes
}

#[test]
fn a_torn_or_flipped_snapshot_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()));
    let path = snapshots(dir.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    let mut rng = Pcg64::seed_from_u64(1);
    for round in 0..60 {
        let bytes = broken(&whole, round, &mut rng);
        fs::write(&path, &bytes).unwrap();
        let reports = inspect(dir.path()).unwrap();
        assert!(reports.iter().any(|report| report.path == path && report.problem.is_some()));
        let (index, opened) = Index::open(dir.path(), one_snapshot()).unwrap();
        assert_eq!((opened.seq, opened.snapshot, opened.set_aside.len()), (0, None, 1));
        assert_eq!(index.stats().products, 0);
        let aside = &opened.set_aside[0].0;
        assert_eq!(fs::read(aside).unwrap(), bytes);
        fs::remove_file(aside).unwrap();
    }
}

#[test]
fn of_a_torn_or_flipped_segment_the_products_are_named_and_can_be_brought_again() {
    let dir = tempfile::tempdir().unwrap();
    let whole_index = filled(dir.path());
    let (path, snapshot) = (files(dir.path(), "segment").remove(0), snapshots(dir.path()).remove(0));
    let (whole, kept) = (fs::read(&path).unwrap(), fs::read(&snapshot).unwrap());
    let (vectors, queries) = (clustered(2, 250, 16), clustered(9, 20, 16));
    let expected: Vec<Vec<Hit>> = queries.iter().map(|query| exact(&whole_index, query)).collect();
    drop(whole_index);
    let mut rng = Pcg64::seed_from_u64(3);
    for round in 0..60 {
        let bytes = broken(&whole, round, &mut rng);
        fs::remove_file(&path).unwrap();
        if round > 0 {
            fs::write(&path, &bytes).unwrap();
            let reports = inspect(dir.path()).unwrap();
            assert!(reports.iter().any(|report| report.path == path && report.problem.is_some()));
        }
        let (index, opened) = Index::open(dir.path(), one_snapshot()).unwrap();
        assert_eq!((opened.seq, opened.set_aside.len()), (2004, 1));
        // What is whole answers; of the rest every product is named.
        let mut all: Vec<String> = exact(&index, &queries[0]).iter().map(|hit| hit.product_id.to_string()).collect();
        assert!(all.len() >= 5 && opened.lost.len() > 100);
        all.extend(opened.lost.clone());
        all.sort_by_key(|id| id[1..].parse::<usize>().unwrap());
        let known = (20..250).map(|i| format!("p{i}")).chain((2000..2005).map(|seq| format!("q{seq}")));
        assert_eq!(all, known.collect::<Vec<_>>());
        // What is known now would be the truth after the next start: none of it is kept before all is back.
        let before = snapshots(dir.path());
        index.apply(2005, "later", None).unwrap();
        index.snapshot().unwrap();
        assert_eq!(snapshots(dir.path()), before);
        for id in &opened.lost {
            let i: usize = id[1..].parse().unwrap();
            let mut product = product(id, &[("a", vectors[i].clone())]);
            product.facets.price = Some(i as f64);
            index.apply(opened.seq, id, Some(product)).unwrap();
        }
        assert_eq!(index.seq(), 2005);
        index.snapshot().unwrap();
        assert_ne!(snapshots(dir.path()), before);
        let healed: Vec<Vec<Hit>> = queries.iter().map(|query| exact(&index, query)).collect();
        assert_eq!(healed, expected);
        // One that was gone before stays gone.
        index.apply(1, "p0", Some(product("p0", &[("a", vectors[0].clone())]))).unwrap();
        assert!(index.product("p0", true).is_none());
        drop(index);
        for file in fs::read_dir(dir.path()).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        fs::write(&path, &whole).unwrap();
        fs::write(&snapshot, &kept).unwrap();
    }
}

fn exact(index: &Index, query: &[f32]) -> Vec<Hit> {
    index.search(query, &SearchRequest { k: 300, exact: true, ..SearchRequest::default() }).unwrap()
}

#[test]
fn bytes_with_right_checksums_and_wrong_content_are_refused_too() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()));
    let (segment, snapshot) = (files(dir.path(), "segment").remove(0), snapshots(dir.path()).remove(0));
    let (whole, kept) = (fs::read(&segment).unwrap(), fs::read(&snapshot).unwrap());
    let mut rng = Pcg64::seed_from_u64(2);
    for round in 0..400 {
        fs::write(&segment, &whole).unwrap();
        fs::write(&snapshot, &kept).unwrap();
        if round % 2 == 0 {
            let mut body = kept[..kept.len() - 4].to_vec();
            let at = rng.random_range(0..body.len());
            body[at] = rng.random();
            body.extend(crc32fast::hash(&body).to_le_bytes());
            fs::write(&snapshot, &body).unwrap();
        } else {
            // The footer says where sections are: it is what a forged file would lie with.
            let length = u32::from_le_bytes(*whole[whole.len() - 16..].first_chunk().unwrap()) as usize;
            let footer = whole.len() - 16 - length..whole.len() - 16;
            let mut bytes = whole.clone();
            bytes[rng.random_range(footer.clone())] = rng.random_range(b'0'..=b'9');
            let checksum = crc32fast::hash(&bytes[footer]).to_le_bytes();
            let at = bytes.len() - 12;
            bytes[at..at + 4].copy_from_slice(&checksum);
            fs::write(&segment, &bytes).unwrap();
            assert!(inspect(dir.path()).is_ok());
        }
        // Whatever was hit: no panic, no endless memory, and a search that comes back.
        let (index, _) = Index::open(dir.path(), one_snapshot()).unwrap();
        let _ = index.search(&clustered(9, 1, 16)[0], &SearchRequest { k: 5, ..SearchRequest::default() });
    }
}

#[test]
fn vectors_on_disk_give_the_same_answers() {
    let first = tempfile::tempdir().unwrap();
    let index = filled(first.path());
    let dir = copied(first.path());
    let on_disk = IndexConfig { vectors_on_disk: true, ..one_snapshot() };
    let (again, _) = Index::open(dir.path(), on_disk).unwrap();
    assert!(again.stats().bytes < index.stats().bytes);
    for query in clustered(9, 40, 16) {
        assert_eq!(top(&again, &query, 30), top(&index, &query, 30));
        assert_eq!(exact(&again, &query), exact(&index, &query));
    }
    assert_eq!(again.product("p100", false), index.product("p100", false));
}

#[test]
fn segments_that_no_snapshot_names_are_removed_with_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let keep_one = IndexConfig { keep_snapshots: 1, ..config(16, 100) };
    let (index, _) = Index::open(dir.path(), keep_one.clone()).unwrap();
    let vectors = clustered(2, 400, 16);
    for (n, chunk) in vectors.chunks(100).enumerate() {
        for (i, vector) in chunk.iter().enumerate() {
            let (seq, id) = ((n * 100 + i + 1) as u64, format!("p{}", n * 100 + i));
            index.apply(seq, &id, Some(product(&id, &[("a", vector.clone())]))).unwrap();
        }
        index.settle();
        index.snapshot().unwrap();
        assert_eq!(files(dir.path(), "segment").len(), index.stats().segments);
    }
    drop(index);
    let (again, opened) = Index::open(dir.path(), keep_one).unwrap();
    assert_eq!((opened.set_aside.len(), again.stats().products), (0, 400));
    assert!(inspect(dir.path()).unwrap().iter().all(|report| report.problem.is_none()));
}

#[test]
fn an_index_that_misses_a_change_writes_no_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let index = filled(dir.path());
    index.apply(3000, "new", Some(product("new", &[]))).unwrap();
    index.distrust();
    index.snapshot().unwrap();
    drop(index);
    assert_eq!(Index::open(dir.path(), one_snapshot()).unwrap().1.seq, 2004);
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
    drop(index);
    let kept = snapshots(dir.path());
    assert_eq!(kept.len(), 2);
    fs::write(&kept[1], b"VITRINDX").unwrap();
    fs::write(kept[1].with_extension("index.new"), b"half").unwrap();
    let (again, opened) = Index::open(dir.path(), one_snapshot()).unwrap();
    assert_eq!((opened.seq, opened.set_aside.len()), (3, 1));
    assert_eq!(again.stats().products, 3);
    assert!(snapshots(dir.path()).iter().all(|path| !path.to_string_lossy().ends_with(".new")));
}

#[test]
fn snapshots_of_another_model_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()));
    let other = IndexConfig { model_version: "other".to_owned(), ..one_snapshot() };
    let (index, opened) = Index::open(dir.path(), other).unwrap();
    assert_eq!((opened.seq, opened.set_aside.len(), index.stats().products), (0, 0, 0));
    index.apply(1, "p", Some(product("p", &[("a", clustered(1, 1, 16).remove(0))]))).unwrap();
    index.snapshot().unwrap();
    assert_eq!(snapshots(dir.path()).len(), 2);
}
