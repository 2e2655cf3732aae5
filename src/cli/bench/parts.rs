//! The measurements, in an order in which none disturbs the next.

use super::Part;
use super::figures::{Figures, Idle, Latency, Overload, Similar, Storefront, median};
use super::load::{Answer, Client, Requests, closed, first, open};
use super::target::Target;
use crate::cli::{CliError, joint};
use bytes::Bytes;
use hyper::Method;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Products that uploads go to in turn: some images each, as products have.
const PRODUCTS: u64 = 2_000;
/// Of these, those that have an image before anything is measured, and that searches ask for.
const SEARCHED: u64 = 500;
/// Uploads under way for each thread that looks: one is looked at, the others are received, wait or are written.
const UPLOADS_PER_THREAD: usize = 4;
/// Uploads one at a time.
const IDLE_UPLOADS: u64 = 100;
/// Searches a second of a storefront.
const STOREFRONT_PER_S: f64 = 50.0;
/// How much more than can be done is asked for.
const OVERLOAD: f64 = 5.0;
/// Photos one at a time, to know how fast the server is at rest.
const AT_REST: u64 = 20;
/// Longest wait for the server to be as fast as at rest.
const RECOVERY: Duration = Duration::from_secs(60);

const PHOTO: &str = "application/octet-stream";
const JSON: &str = "application/json";

/// What measurements need.
pub(super) struct Bench<'a> {
    pub(super) client: Client,
    pub(super) target: &'a Target,
    pub(super) photos: &'a [Bytes],
    /// How long each rate is measured.
    pub(super) window: Duration,
    /// Products to search like; none: those that are uploaded to.
    pub(super) ids: Option<Vec<String>>,
    pub(super) rounds: u64,
    pub(super) overload: Duration,
    pub(super) threads: usize,
}

impl Bench<'_> {
    /// Measures `parts`.
    pub(super) async fn run(&self, parts: &[Part], figures: &mut Figures) -> Result<(), CliError> {
        let wants = |part| parts.contains(&part);
        if parts.iter().all(|part| *part == Part::Engine) {
            return Ok(());
        }
        self.resident("idle", figures);
        let images = AtomicU64::new(0);
        if self.ids.is_none() || parts.iter().any(|part| ![Part::Engine, Part::Similar].contains(part)) {
            self.prepare(&images).await?;
        }
        if wants(Part::Idle) {
            eprintln!("idle");
            figures.idle = Some(self.idle(&images, figures).await);
        }
        if wants(Part::Upload) {
            for round in 1..=self.rounds {
                eprintln!("upload, round {round} of {}", self.rounds);
                let (answers, seconds) = self.upload(&images).await;
                let per_s = good("upload", &answers, figures) as f64 / seconds;
                figures.upload_per_s.push(per_s);
            }
            self.resident("after uploads", figures);
        }
        if wants(Part::Similar) {
            for connections in [1, 32] {
                eprintln!("similar, {connections} connections");
                let similar = self.similar(connections, figures).await;
                figures.similar.push(similar);
            }
        }
        if wants(Part::Storefront) {
            eprintln!("storefront");
            figures.storefront = Some(self.storefront(&images, figures).await);
        }
        if wants(Part::Overload) {
            eprintln!("overload");
            figures.overload = Some(self.overload(figures).await);
            self.resident("after overload", figures);
        }
        Ok(())
    }

    fn resident(&self, when: &'static str, figures: &mut Figures) {
        figures.resident_bytes.extend(self.target.resident().map(|bytes| (when, bytes)));
    }

    /// Products, and an image of some, so that searches find something.
    async fn prepare(&self, images: &AtomicU64) -> Result<(), CliError> {
        let body = Bytes::from_static(br#"{"title": "bench"}"#);
        let product: Requests =
            Arc::new(move |n| (Method::PUT, format!("/v1/products/bench-{n}"), Some((JSON, body.clone()))));
        self.send_all(&product, PRODUCTS, "a product").await?;
        let uploads = self.uploads_from(images.fetch_add(SEARCHED, Ordering::Relaxed));
        self.send_all(&uploads, SEARCHED, "a photo").await
    }

    /// Sends the first `count` requests, over as many connections as uploads have; all must be good.
    async fn send_all(&self, request: &Requests, count: u64, what: &str) -> Result<(), CliError> {
        let answers = first(&self.client, UPLOADS_PER_THREAD * self.threads, count, request).await;
        match answers.iter().find(|answer| !answer.is_good()) {
            Some(Answer { status, .. }) => Err(CliError::Server(format!("{what} was not taken: status {status}"))),
            None => Ok(()),
        }
    }

    /// Upload `n` after the first `before`.
    fn uploads_from(&self, before: u64) -> Requests {
        let photo = self.photo();
        Arc::new(move |n| {
            let n = before + n;
            (Method::PUT, format!("/v1/products/bench-{}/images/{n}", n % PRODUCTS), Some((PHOTO, photo(n))))
        })
    }

    /// The photos, over and over.
    fn photo(&self) -> impl Fn(u64) -> Bytes + Send + Sync + 'static {
        let photos = self.photos.to_vec();
        move |n| photos.get(n as usize % photos.len().max(1)).cloned().unwrap_or_default()
    }

    async fn upload(&self, images: &AtomicU64) -> (Vec<Answer>, f64) {
        let request = self.uploads_from(images.load(Ordering::Relaxed));
        let (answers, seconds) = closed(&self.client, UPLOADS_PER_THREAD * self.threads, self.window, &request).await;
        images.fetch_add(answers.len() as u64, Ordering::Relaxed);
        (answers, seconds)
    }

    async fn idle(&self, images: &AtomicU64, figures: &mut Figures) -> Idle {
        let request = self.uploads_from(images.fetch_add(IDLE_UPLOADS, Ordering::Relaxed));
        let answers = first(&self.client, 1, IDLE_UPLOADS, &request).await;
        good("idle", &answers, figures);
        let mut times: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        let mut rest = Vec::new();
        for answer in answers.iter().filter(|a| a.is_good()) {
            for (stage, ms) in &answer.stages {
                times.entry(stage.clone()).or_default().push(*ms);
            }
            let infer = answer.stages.iter().filter(|(stage, _)| stage == "infer").map(|(_, ms)| ms).sum::<f64>();
            rest.push(answer.ms - infer);
        }
        Idle {
            latency: Latency::of(times_of(&answers)),
            stages: times.into_iter().map(|(stage, times)| (stage, Latency::of(times))).collect(),
            not_inference_ms: median(&rest),
        }
    }

    fn search(&self) -> Requests {
        let ids = self.ids.clone().unwrap_or_else(|| (0..SEARCHED).map(|n| format!("bench-{n}")).collect());
        let path = |id: &String| format!("/v1/products/{}/similar?limit=20", joint::segment(id));
        let paths: Vec<String> = ids.iter().map(path).collect();
        // In steps of a prime: no order of the store is followed.
        Arc::new(move |n| (Method::GET, paths.get(n as usize * 7919 % paths.len()).cloned().unwrap_or_default(), None))
    }

    async fn similar(&self, connections: usize, figures: &mut Figures) -> Similar {
        let (mut per_s, mut times) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let (answers, seconds) = closed(&self.client, connections, self.window, &self.search()).await;
            per_s.push(good("similar", &answers, figures) as f64 / seconds);
            times.extend(times_of(&answers));
        }
        Similar { connections, per_s, latency: Latency::of(times) }
    }

    async fn storefront(&self, images: &AtomicU64, figures: &mut Figures) -> Storefront {
        let request = self.search();
        let idle = open(&self.client, STOREFRONT_PER_S, self.window, &request).await.all().await;
        let (alone, alone_s) = self.upload(images).await;
        let (mut beside, mut beside_s, mut busy) = (Vec::new(), 0.0, Vec::new());
        for _ in 0..self.rounds {
            let uploads = self.upload(images);
            let searches = open(&self.client, STOREFRONT_PER_S, self.window, &request);
            let ((uploaded, seconds), searched) = tokio::join!(uploads, async { searches.await.all().await });
            beside.extend(uploaded);
            beside_s += seconds;
            busy.extend(searched);
        }
        good("storefront", &idle, figures);
        good("storefront", &busy, figures);
        Storefront {
            searches_per_s: STOREFRONT_PER_S,
            idle: Latency::of(times_of(&idle)),
            busy: Latency::of(times_of(&busy)),
            uploads_alone_per_s: good("storefront", &alone, figures) as f64 / alone_s,
            uploads_beside_per_s: good("storefront", &beside, figures) as f64 / beside_s,
        }
    }

    async fn overload(&self, figures: &mut Figures) -> Overload {
        let photo = self.photo();
        let request: Requests = Arc::new(move |n| (Method::POST, "/v1/analyze".into(), Some((PHOTO, photo(n)))));
        let (rest, seconds) = closed(&self.client, 2 * self.threads, self.window, &request).await;
        let capacity = good("overload", &rest, figures) as f64 / seconds;
        let one_by_one = first(&self.client, 1, AT_REST, &request).await;
        let at_rest = median(&one_by_one.iter().map(|a| a.ms).collect::<Vec<_>>());
        let offered = OVERLOAD * capacity;
        let sent = open(&self.client, offered, self.overload, &request).await;
        let unsent = sent.unsent;
        let (recovered_s, answers) = tokio::join!(self.recovery(&request, at_rest, Instant::now()), sent.all());
        let (mut accepted, mut refused, mut after) = (Vec::new(), Vec::new(), Vec::new());
        for answer in answers {
            match answer.status {
                200..300 => accepted.push(answer.ms),
                429 | 503 => {
                    refused.push(answer.ms);
                    after.extend(answer.retry_after_s);
                }
                status => count("overload", status, figures),
            }
        }
        if unsent > 0 {
            figures.unexpected.insert("overload unsent".into(), unsent);
        }
        after.sort_unstable();
        let at = |n: usize| after.get(n).copied().unwrap_or(0);
        Overload {
            capacity_per_s: capacity,
            offered_per_s: offered,
            accepted: accepted.len(),
            refused: refused.len(),
            accepted_latency: Latency::of(accepted),
            refused_latency: Latency::of(refused),
            retry_after_s: [at(0), at(after.len() / 2), at(after.len().saturating_sub(1))],
            recovered_s,
        }
    }

    /// Seconds since `ended` until one photo is answered in at most half as much again as at rest.
    async fn recovery(&self, request: &Requests, at_rest: f64, ended: Instant) -> Option<f64> {
        for n in 0.. {
            if ended.elapsed() > RECOVERY {
                break;
            }
            let (method, path, body) = request(n);
            let answer = self.client.call(method, &path, body).await;
            if answer.is_good() && answer.ms <= 1.5 * at_rest {
                return Some(ended.elapsed().as_secs_f64());
            }
        }
        None
    }
}

/// Times of the good ones: a refusal is quick, and no service.
fn times_of(answers: &[Answer]) -> impl Iterator<Item = f64> {
    answers.iter().filter(|a| a.is_good()).map(|a| a.ms)
}

/// How many are good; the others are counted by status.
fn good(part: &str, answers: &[Answer], figures: &mut Figures) -> usize {
    answers.iter().filter(|a| !a.is_good()).for_each(|a| count(part, a.status, figures));
    answers.iter().filter(|a| a.is_good()).count()
}

fn count(part: &str, status: u16, figures: &mut Figures) {
    *figures.unexpected.entry(format!("{part} {status}")).or_default() += 1;
}
