//! Clients: as many as there are connections, each with its next request at once; or arrivals at a steady rate, whether or
//! not those before were answered, so that a slow server does not slow its own measuring.

use crate::cli::CliError;
use bytes::Bytes;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Requests under way at most: a server that answers nothing is not sent more.
const MAX_OPEN: usize = 4_096;
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// What became of one request.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// HTTP status; 0 when none came.
    pub(super) status: u16,
    pub(super) ms: f64,
    /// `Retry-After`, in seconds.
    pub(super) retry_after_s: Option<u64>,
    /// Stages in milliseconds, from `Server-Timing`.
    pub(super) stages: Vec<(String, f64)>,
}

impl Answer {
    pub(super) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Talks to the server over connections that stay.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

impl Client {
    pub(super) fn new(base: &str, key: Option<&str>) -> Result<Self, CliError> {
        // Another part of the process may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(PATIENCE).tcp_nodelay(true).no_proxy().build();
        let http = http.map_err(|e| CliError::Server(e.to_string()))?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), key: key.map(str::to_owned) })
    }

    /// Sends one request and reads its answer whole.
    pub(super) async fn call(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Answer {
        let since = Instant::now();
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some((kind, bytes)) = body {
            request = request.header("content-type", kind).body(bytes);
        }
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let answered = async {
            let response = request.send().await?;
            let status = response.status().as_u16();
            let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
            let (retry, timing) = (header("retry-after"), header("server-timing"));
            response.bytes().await?;
            Ok::<_, reqwest::Error>((status, retry, timing))
        };
        let (status, retry, timing) = answered.await.unwrap_or_default();
        Answer {
            status,
            ms: since.elapsed().as_secs_f64() * 1e3,
            retry_after_s: retry.and_then(|seconds| seconds.parse().ok()),
            stages: timing.as_deref().map(stages).unwrap_or_default(),
        }
    }
}

/// `total;dur=12.3, infer;dur=10.1`.
fn stages(timing: &str) -> Vec<(String, f64)> {
    let stage = |part: &str| {
        let (name, rest) = part.trim().split_once(';')?;
        let took = rest.split(';').find_map(|p| p.trim().strip_prefix("dur="))?;
        Some((name.to_owned(), took.parse().ok()?))
    };
    timing.split(',').filter_map(stage).collect()
}

/// The request numbered so.
pub(super) type Request = Arc<dyn Fn(u64) -> (reqwest::Method, String, Option<(&'static str, Bytes)>) + Send + Sync>;

/// Sends requests over `connections` until `window` is over; those under way then are waited for, and count. Gives the
/// answers, and the seconds until the last.
pub(super) async fn closed(
    client: &Client,
    connections: usize,
    window: Duration,
    request: &Request,
) -> (Vec<Answer>, f64) {
    let (next, started) = (AtomicU64::new(0), Instant::now());
    let number = move || (started.elapsed() < window).then(|| next.fetch_add(1, Ordering::Relaxed));
    let answers = each(client, connections, number, request).await;
    (answers, started.elapsed().as_secs_f64())
}

/// Sends the first `count` requests over `connections`.
pub(super) async fn first(client: &Client, connections: usize, count: u64, request: &Request) -> Vec<Answer> {
    let next = AtomicU64::new(0);
    let number = move || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < count);
    each(client, connections, number, request).await
}

/// Sends the requests that `number` names until it names none, each connection its next once it has an answer.
async fn each(
    client: &Client,
    connections: usize,
    number: impl Fn() -> Option<u64> + Send + Sync + 'static,
    request: &Request,
) -> Vec<Answer> {
    let number = Arc::new(number);
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let (client, request, number) = (client.clone(), Arc::clone(request), Arc::clone(&number));
        clients.spawn(async move {
            let mut answers = Vec::new();
            while let Some(n) = number() {
                let (method, path, body) = request(n);
                answers.push(client.call(method, &path, body).await);
            }
            answers
        });
    }
    clients.join_all().await.concat()
}

/// What came of requests at a steady rate.
pub(super) struct Opened {
    pub(super) answers: Vec<Answer>,
    /// How many were not sent, since too many were open.
    pub(super) unsent: usize,
    /// Those that were not answered when the last was sent.
    under_way: JoinSet<Answer>,
}

impl Opened {
    /// Waits for the last answer.
    pub(super) async fn all(mut self) -> Vec<Answer> {
        while let Some(answer) = self.under_way.join_next().await {
            self.answers.extend(answer);
        }
        self.answers
    }
}

/// Sends `per_s` requests a second for `window`, in even steps; returns once the last is sent.
pub(super) async fn open(client: &Client, per_s: f64, window: Duration, request: &Request) -> Opened {
    let started = tokio::time::Instant::now();
    let (mut under_way, mut answers, mut unsent) = (JoinSet::new(), Vec::new(), 0);
    for n in 0..(per_s * window.as_secs_f64()) as u64 {
        let due = started + Duration::from_secs_f64(n as f64 / per_s);
        until(due, &mut under_way, &mut answers).await;
        if under_way.len() >= MAX_OPEN {
            unsent += 1;
            continue;
        }
        let (client, request) = (client.clone(), Arc::clone(request));
        under_way.spawn(async move {
            let (method, path, body) = request(n);
            client.call(method, &path, body).await
        });
    }
    Opened { answers, unsent, under_way }
}

/// Collects what is answered until `due`.
async fn until(due: tokio::time::Instant, under_way: &mut JoinSet<Answer>, answers: &mut Vec<Answer>) {
    let mut sleep = pin!(tokio::time::sleep_until(due));
    loop {
        tokio::select! {
            biased;
            () = &mut sleep => return,
            Some(answer) = under_way.join_next() => answers.extend(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_read_from_their_header() {
        let read = stages("total;dur=12.5, infer;desc=\"x\";dur=10, broken, other;dur=no");
        assert_eq!(read, [("total".to_owned(), 12.5), ("infer".to_owned(), 10.0)]);
    }
}
