//! Clients: as many as there are connections, each with its next request at once; or arrivals at a steady rate, whether or
//! not those before were answered, so that a slow server does not slow its own measuring.

use crate::cli::CliError;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Requests under way at most: a server that answers nothing is not sent more.
const MAX_OPEN: usize = 4_096;
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// What became of one request.
#[derive(Clone, Debug, Default)]
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

/// Talks to the server over connections that stay, as many as there are requests under way. Server and client share the
/// cores, so the client is as light as can be: hyper's connections themselves. `reqwest`, with what it does beside, took
/// more of a core for a search than the server (10,000 searches a second, of 22,700 with `wrk`).
#[derive(Clone)]
pub(super) struct Client {
    /// `host:port` of the server.
    authority: Arc<str>,
    /// What its paths begin with.
    prefix: Arc<str>,
    authorization: Option<HeaderValue>,
    idle: Arc<Mutex<Vec<SendRequest<Full<Bytes>>>>>,
}

impl Client {
    /// # Errors
    /// When `base` is not an `http://` address, or the key cannot be in a header.
    pub(super) fn new(base: &str, key: Option<&str>) -> Result<Self, CliError> {
        let fault = |detail: &str| CliError::Option { option: "--url", detail: format!("{base}: {detail}") };
        let uri: Uri = base.parse().map_err(|_| fault("not an address"))?;
        if uri.scheme_str() != Some("http") {
            return Err(fault("expected http://; TLS would be measured with the proxy in front"));
        }
        let host = uri.host().ok_or_else(|| fault("without a host"))?;
        let bearer = |key| HeaderValue::try_from(format!("Bearer {key}"));
        let bad_key = |_| CliError::Option { option: "--key", detail: "expected visible ASCII characters".into() };
        Ok(Self {
            authority: format!("{host}:{}", uri.port_u16().unwrap_or(80)).into(),
            prefix: uri.path().trim_end_matches('/').into(),
            authorization: key.map(bearer).transpose().map_err(bad_key)?,
            idle: Arc::default(),
        })
    }

    /// Sends one request and reads its answer whole.
    pub(super) async fn call(&self, method: Method, path: &str, body: Option<(&'static str, Bytes)>) -> Answer {
        let since = Instant::now();
        let answered = tokio::time::timeout(PATIENCE, self.answer(method, path, body)).await;
        let mut answer = answered.ok().and_then(Result::ok).unwrap_or_default();
        answer.ms = since.elapsed().as_secs_f64() * 1e3;
        answer
    }

    async fn answer(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Answer, Box<dyn Error + Send + Sync>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.prefix));
        request = request.header(header::HOST, &*self.authority);
        if let Some(key) = &self.authorization {
            request = request.header(header::AUTHORIZATION, key);
        }
        let mut bytes = Bytes::new();
        if let Some((kind, body)) = body {
            request = request.header(header::CONTENT_TYPE, kind);
            bytes = body;
        }
        let mut connection = self.connection().await?;
        let response = connection.send_request(request.body(Full::new(bytes))?).await?;
        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let answer = Answer {
            status: response.status().as_u16(),
            ms: 0.0,
            retry_after_s: text("retry-after").and_then(|seconds| seconds.parse().ok()),
            stages: text("server-timing").map(stages).unwrap_or_default(),
        };
        response.into_body().collect().await?;
        self.lock().push(connection);
        Ok(answer)
    }

    /// One that is free and still open, or a new one.
    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>, Box<dyn Error + Send + Sync>> {
        loop {
            let Some(mut free) = self.lock().pop() else { break };
            // It is ready once the answer before it was read; an error says that the server has closed it.
            if free.ready().await.is_ok() {
                return Ok(free);
            }
        }
        let stream = TcpStream::connect(&*self.authority).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // How it ends is seen by whoever sends over it.
        tokio::spawn(async { drop(connection.await) });
        Ok(sender)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<SendRequest<Full<Bytes>>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
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
pub(super) type Requests = Arc<dyn Fn(u64) -> (Method, String, Option<(&'static str, Bytes)>) + Send + Sync>;

/// Sends requests over `connections` until `window` is over; those under way then are waited for, and count. Gives the
/// answers, and the seconds until the last.
pub(super) async fn closed(
    client: &Client,
    connections: usize,
    window: Duration,
    request: &Requests,
) -> (Vec<Answer>, f64) {
    let (next, started) = (AtomicU64::new(0), Instant::now());
    let number = move || (started.elapsed() < window).then(|| next.fetch_add(1, Ordering::Relaxed));
    let answers = each(client, connections, number, request).await;
    (answers, started.elapsed().as_secs_f64())
}

/// Sends the first `count` requests over `connections`.
pub(super) async fn first(client: &Client, connections: usize, count: u64, request: &Requests) -> Vec<Answer> {
    let next = AtomicU64::new(0);
    let number = move || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < count);
    each(client, connections, number, request).await
}

/// Sends the requests that `number` names until it names none, each connection its next once it has an answer.
async fn each(
    client: &Client,
    connections: usize,
    number: impl Fn() -> Option<u64> + Send + Sync + 'static,
    request: &Requests,
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
pub(super) async fn open(client: &Client, per_s: f64, window: Duration, request: &Requests) -> Opened {
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
