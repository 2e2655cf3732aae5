//! Time from the start of `vitrine serve` until `/health/ready` answers 200, the model's self-test included:
//! `cargo bench --bench restart -- --dir FOLDER [--rows 100000] [--vectors FILE] [--times 5] [--cold]`.
//!
//! The first run fills FOLDER with so many products of one image each (a photo of its own, a vector of FILE or a drawn one) and
//! lets the service index them. Two files are synced for each, as with any upload: `eatmydata` in front makes that quick. `--cold` drops what
//! Linux holds of files before each start (root only).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::Draw;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use vitrine::analyzer::Analysis;
use vitrine::catalog::{Catalog, CatalogError, MetadataPatch, NewImage};

const VITRINE: &str = env!("CARGO_BIN_EXE_vitrine");
/// Where the models folder is.
const HOME: &str = env!("CARGO_MANIFEST_DIR");
/// Products in a transaction.
const BATCH: usize = 1000;

fn analysis(sha256: &str, model_version: &str) -> Analysis {
    let color = json!({
        "hex": "#c81e28", "lab": [43.07, 64.12, 39.9], "name": "red", "retail_name": "red", "shade": "vivid red",
        "share": 0.97, "source": "both",
    });
    let attribute =
        |name: &str, value: &str| json!({"name": name, "value": value, "confidence": 0.9, "source": "model"});
    let seen = json!({
        "sha256": sha256, "width": 640, "height": 480, "model_version": model_version,
        "attributes": [attribute("category", "dress"), attribute("pattern", "plain"), attribute("gender", "women")],
        "colors": {
            "dominant": [color], "background": [], "background_kind": "plain", "product_share": 0.41, "skin_share": 0.0,
            "multicolor": false, "confidence": 0.9, "flags": [],
        },
    });
    serde_json::from_value(seen).unwrap()
}

fn fill(dir: &Path, rows: usize, mut vectors: impl Iterator<Item = Vec<f32>>) {
    let manifest = std::fs::read(Path::new(HOME).join("models/default/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let version = manifest["version"].as_str().unwrap();
    let (catalog, begun) = (Catalog::open(dir).unwrap(), Instant::now());
    let drawn: Vec<usize> = (0..rows).collect();
    for batch in drawn.chunks(BATCH) {
        let photos = batch.iter().map(|i| {
            let bytes = i.to_le_bytes();
            let seen = analysis(&hex::encode(Sha256::digest(bytes)), version);
            (i, catalog.stage_photo(&bytes).unwrap(), seen, vectors.next().unwrap())
        });
        let photos: Vec<_> = photos.collect();
        let written = catalog.write(|tx| {
            for (i, photo, analysis, embedding) in photos {
                let product_id = i.to_string();
                let price = Some(Some((i * 7919 % rows) as f64));
                tx.upsert_product(&product_id, &MetadataPatch { price, ..MetadataPatch::default() })?;
                let new = NewImage {
                    image_id: "a",
                    photo,
                    content_type: "image/png",
                    area: None,
                    analysis,
                    embedding: &embedding,
                    also: None,
                };
                tx.put_image(&product_id, new)?;
            }
            Ok::<_, CatalogError>(())
        });
        written.unwrap();
    }
    println!("{rows} products stored in {:.0} s", begun.elapsed().as_secs_f64());
    drop(catalog);
    let begun = Instant::now();
    let mut rebuild = Command::new(VITRINE);
    rebuild.args(["index", "rebuild", "--data-dir"]).arg(dir).current_dir(HOME).stdout(Stdio::null());
    assert!(rebuild.status().unwrap().success());
    println!("indexed in {:.0} s", begun.elapsed().as_secs_f64());
}

fn serve(dir: &Path, port: u16) -> Child {
    Command::new(VITRINE)
        .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--data-dir"])
        .arg(dir)
        .current_dir(HOME)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Status and body of a GET; `None` while nobody answers.
fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let number = |name: &str, other: usize| after(name).map_or(other, |text| text.parse().unwrap());
    let dir = &std::path::absolute(after("--dir").expect("--dir FOLDER")).unwrap();
    if !dir.join("index").exists() {
        let rows = number("--rows", 100_000);
        match after("--vectors") {
            Some(file) => fill(dir, rows, common::read_f32(Path::new(file)).into_iter()),
            None => fill(dir, rows, Draw::new(2).map(|(_, vector)| vector)),
        }
    }
    for _ in 0..number("--times", 5) {
        if arguments.iter().any(|a| a == "--cold") {
            assert!(Command::new("sync").status().unwrap().success());
            std::fs::write("/proc/sys/vm/drop_caches", "3").expect("dropping caches takes root");
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let begun = Instant::now();
        let mut child = serve(dir, port);
        let ready = loop {
            if get(port, "/health/ready").is_some_and(|(status, _)| status == 200) {
                break begun.elapsed().as_secs_f64();
            }
            assert!(child.try_wait().unwrap().is_none(), "the service ended");
            std::thread::sleep(Duration::from_millis(2));
        };
        let probe = Instant::now();
        let (_, status) = get(port, "/health/ready").unwrap();
        let probe = probe.elapsed().as_secs_f64() * 1e3;
        let search = Instant::now();
        let (found, _) = get(port, "/v1/products/0/similar?limit=10").unwrap();
        let search = search.elapsed().as_secs_f64() * 1e3;
        println!(
            "ready in {ready:.2} s; probe {probe:.1} ms, first search {search:.1} ms ({found}), {:.0} MB resident: {status}",
            common::memory(&child.id().to_string(), "VmRSS:")
        );
        Command::new("kill").arg(child.id().to_string()).status().unwrap();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).lines().for_each(drop);
        }
        assert!(child.wait().unwrap().success());
    }
}
