//! Kills a real server with SIGKILL under concurrent writes and checks that what it acknowledged is there afterwards.
//!
//! `VITRINE_KILLS` sets how often (default 2); the model bundle and the pictures are the repository's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

const WRITERS: u64 = 4;
const PRODUCTS_EACH: u64 = 6;

/// What a writer knows of one of its products.
#[derive(Clone, Debug, PartialEq)]
enum Known {
    /// Acknowledged: there, with images by id and the SHA-256 of each.
    There(BTreeMap<String, String>),
    /// Acknowledged: gone, or never made.
    Gone,
}

/// What was acknowledged of one product, and what may or may not have happened since.
#[derive(Clone, Debug)]
struct Record {
    acknowledged: Known,
    /// State after the request that was cut off, if one was.
    in_flight: Option<Known>,
}

struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(data_dir: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_vitrine"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .arg("--models-dir")
            .arg(root().join("models"))
            .arg("--file-roots")
            .arg(root().join("testdata/photos"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| line.split_whitespace().find(|w| w.starts_with("http://")).map(str::to_owned))
            .expect("the server says where it listens");
        // Somebody must read on, or the server blocks on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url: url.trim_end_matches('/').to_owned() }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn photos() -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(root().join("testdata/photos")).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "jpg"));
    paths.sort();
    paths.into_iter().take(12).map(|p| fs::read(p).unwrap()).collect()
}

/// Writes until the server is gone; `acknowledged` gets a permit for every answer.
async fn write(
    url: String,
    writer: u64,
    round: u64,
    photos: Arc<Vec<Vec<u8>>>,
    mut known: BTreeMap<String, Record>,
    acknowledged: Arc<Semaphore>,
) -> BTreeMap<String, Record> {
    let mut rng = Pcg64Mcg::seed_from_u64(1000 * round + writer);
    let client = Client::new();
    loop {
        let product = format!("w{writer}-p{}", rng.random_range(0..PRODUCTS_EACH));
        let path = format!("{url}/v1/products/{product}");
        let record = known.entry(product).or_insert(Record { acknowledged: Known::Gone, in_flight: None });
        let now = record.acknowledged.clone();
        let (request, then) = match (&now, rng.random_range(0..10)) {
            (Known::Gone, _) => {
                (client.put(&path).json(&json!({"title": "a title", "price": 9.5})), Known::There(BTreeMap::new()))
            }
            (Known::There(_), 0) => (client.delete(&path), Known::Gone),
            (Known::There(images), 1) if !images.is_empty() => {
                let mut images = images.clone();
                let (image, _) = images.pop_first().unwrap();
                (client.delete(format!("{path}/images/{image}")), Known::There(images))
            }
            (Known::There(images), _) => {
                let photo = &photos[rng.random_range(0..photos.len())];
                let image = format!("i{}", rng.random_range(0..3));
                let mut images = images.clone();
                images.insert(image.clone(), sha256(photo));
                (client.put(format!("{path}/images/{image}")).body(photo.clone()), Known::There(images))
            }
        };
        record.in_flight = Some(then.clone());
        let Ok(response) = request.header("content-type", content_type(&then, &now)).send().await else { return known };
        let status = response.status();
        // The head of an answer may have come before the kill: it counts.
        if status.is_success() {
            *record = Record { acknowledged: then, in_flight: None };
            acknowledged.add_permits(1);
        } else {
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{:?}", response.text().await);
            record.in_flight = None;
        }
    }
}

fn content_type(then: &Known, now: &Known) -> &'static str {
    if matches!((then, now), (Known::There(_), Known::Gone)) { "application/json" } else { "application/octet-stream" }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(bytes))
}

/// Reads a product back; checks that each image is whole: its record, its bytes, its hash.
async fn read(client: &Client, url: &str, product: &str) -> Known {
    let path = format!("{url}/v1/products/{product}");
    let response = client.get(&path).send().await.unwrap();
    if response.status() == StatusCode::NOT_FOUND {
        return Known::Gone;
    }
    let record: Value = response.error_for_status().unwrap().json().await.unwrap();
    let mut images = BTreeMap::new();
    for image in record["images"].as_array().unwrap() {
        let (id, sha) = (image["image_id"].as_str().unwrap(), image["sha256"].as_str().unwrap());
        assert!(!image["attributes"].as_array().unwrap().is_empty(), "{product}/{id} has no analysis");
        let bytes = client
            .get(format!("{path}/images/{id}"))
            .send()
            .await
            .unwrap()
            .error_for_status()
            .unwrap()
            .bytes()
            .await
            .unwrap();
        assert_eq!(sha256(&bytes), sha, "{product}/{id}: other bytes than were analyzed");
        images.insert(id.to_owned(), sha.to_owned());
    }
    Known::There(images)
}

/// After a restart: every record as acknowledged (or as the cut-off request would have made it), and every search
/// finds exactly the products that have images.
async fn check(url: &str, known: &mut BTreeMap<String, Record>) -> usize {
    let client = Client::new();
    let mut with_images = BTreeSet::new();
    for (product, record) in known.iter_mut() {
        let found = read(&client, url, product).await;
        assert!(
            found == record.acknowledged || Some(&found) == record.in_flight.as_ref(),
            "{product}: {found:?} after {record:?}"
        );
        if matches!(&found, Known::There(images) if !images.is_empty()) {
            with_images.insert(product.clone());
        }
        *record = Record { acknowledged: found, in_flight: None };
    }
    for product in &with_images {
        let answer = client.get(format!("{url}/v1/products/{product}/similar?limit=200")).send().await.unwrap();
        let page: Value = answer.error_for_status().unwrap().json().await.unwrap();
        let items: Vec<String> =
            page["items"].as_array().unwrap().iter().map(|i| i["product_id"].as_str().unwrap().to_owned()).collect();
        let mut found: BTreeSet<String> = items.iter().cloned().collect();
        assert_eq!(found.len(), items.len(), "a product stands twice in a page");
        found.insert(product.clone());
        assert_eq!(found, with_images, "search and store differ");
    }
    known.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_sigkill() {
    let kills: u64 = std::env::var("VITRINE_KILLS").map_or(2, |k| k.parse().unwrap());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let photos = Arc::new(photos());
    assert!(!photos.is_empty(), "testdata/photos is empty");
    let mut known: BTreeMap<String, Record> = BTreeMap::new();
    let mut total = 0;
    for round in 0..kills {
        let server = Server::start(dir.path());
        check(&server.url, &mut known).await;
        let acknowledged = Arc::new(Semaphore::new(0));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let prefix = format!("w{writer}-");
                let own = known
                    .iter()
                    .filter(|(id, _)| id.starts_with(&prefix))
                    .map(|(k, v)| (k.clone(), v.clone()))
                    .collect();
                let (url, photos, acknowledged) = (server.url.clone(), Arc::clone(&photos), Arc::clone(&acknowledged));
                tokio::spawn(write(url, writer, round, photos, own, acknowledged))
            })
            .collect();
        // The kill falls after a seeded number of answers, in the middle of whatever comes next.
        let enough = Pcg64Mcg::seed_from_u64(round).random_range(8..24);
        let permits = tokio::time::timeout(Duration::from_secs(300), acknowledged.acquire_many(enough));
        permits.await.expect("writers make progress").unwrap().forget();
        server.kill();
        for writer in writers {
            known.extend(writer.await.unwrap());
        }
        total += enough as usize + acknowledged.available_permits();
    }
    let server = Server::start(dir.path());
    let products = check(&server.url, &mut known).await;
    server.kill();
    println!("{kills} kills, {total} acknowledged writes, {products} products checked");
}

/// How far a job is; the server answers once it is open.
async fn job(client: &Client, url: &str, id: &str) -> Value {
    client.get(format!("{url}/v1/jobs/{id}")).send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_survives_sigkill_and_does_nothing_twice() {
    const ROWS: u64 = 60;
    let kills: u64 = std::env::var("VITRINE_KILLS").map_or(2, |k| k.parse().unwrap());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let photos: Vec<PathBuf> = {
        let entries = fs::read_dir(root().join("testdata/photos")).unwrap().map(|entry| entry.unwrap().path());
        let mut photos: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "jpg")).collect();
        photos.sort();
        photos
    };
    let row = |n: u64| {
        let photo = match n % 10 {
            7 => "file:///none.jpg".to_owned(),
            // Photos of several products; and products of several photos.
            _ => url::Url::from_file_path(&photos[n as usize % photos.len()]).unwrap().to_string(),
        };
        format!("p{},i{n},{photo}\n", n / 3)
    };
    let manifest: String =
        std::iter::once("product_id,image_id,image_uri\n".to_owned()).chain((0..ROWS).map(row)).collect();
    let client = Client::new();
    let server = Server::start(dir.path());
    let sent = client.post(format!("{}/v1/jobs", server.url)).header("content-type", "text/csv").body(manifest);
    let made: Value = sent.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
    let id = made["id"].as_str().unwrap();
    let mut server = Some(server);
    let mut before = 0;
    for kill in 0..kills {
        let running = server.take().unwrap_or_else(|| Server::start(dir.path()));
        // After a seeded time, or once some more rows have ended: whatever it is in the middle of.
        let rows = Pcg64Mcg::seed_from_u64(kill).random_range(0..=ROWS / kills);
        let until = Instant::now() + Duration::from_millis(Pcg64Mcg::seed_from_u64(kill).random_range(0..3_000));
        loop {
            let now = job(&client, &running.url, id).await;
            let ended = ROWS - now["waiting"].as_u64().unwrap().min(ROWS);
            if now["total"] == ROWS && (ended >= before + rows || Instant::now() > until) {
                before = ended;
                break;
            }
        }
        running.kill();
    }
    let server = Server::start(dir.path());
    let deadline = Instant::now() + Duration::from_secs(300);
    let done = loop {
        let now = job(&client, &server.url, id).await;
        if now["state"] == "done" {
            break now;
        }
        assert!(Instant::now() < deadline, "{now}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(
        (&done["total"], &done["done"], &done["failed"], &done["unchanged"]),
        (&json!(60), &json!(54), &json!(6), &json!(0))
    );
    let errors = client.get(format!("{}/v1/jobs/{id}/errors", server.url)).send().await.unwrap();
    let errors: Value = errors.json().await.unwrap();
    assert_eq!(errors["items"].as_array().unwrap().len(), 6);
    // The log has each row's image once, in numbers without a gap.
    let feed = client.get(format!("{}/v1/feed", server.url)).send().await.unwrap().text().await.unwrap();
    let records: Vec<Value> = feed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<u64> = records.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    let images: Vec<&str> = records.iter().filter_map(|record| record["data"]["image_id"].as_str()).collect();
    assert_eq!((images.len(), images.iter().collect::<BTreeSet<_>>().len()), (54, 54));
    let mut known = BTreeMap::new();
    for product in (0..ROWS / 3).map(|n| format!("p{n}")) {
        let found = read(&client, &server.url, &product).await;
        known.insert(product, Record { acknowledged: found, in_flight: None });
    }
    check(&server.url, &mut known).await;
    server.kill();
}
