//! Request bodies, read whole within a size, a time and a share of memory. Size is refused from the header when the
//! client told it, so that nobody uploads 20 MiB to be told no.

use super::problem::{Kind, Problem};
use super::state::App;
use axum::Json;
use axum::body::{Body, HttpBody};
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;

/// How long and how much of a refused body is read and thrown away: a client that is still sending when the
/// connection closes sees a reset and never the 413.
const DISCARD: (Duration, usize) = (Duration::from_secs(5), 64 << 20);

/// A body and its share of the memory for bodies: given back with the last clone of the bytes, wherever that is, so
/// that a photo which waits in a queue after its client has gone still counts.
struct Held {
    bytes: Bytes,
    _memory: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a body of at most `limit` bytes; its memory counts as used until the last clone of it goes.
///
/// # Errors
/// 413 over the limit, 408 when it takes too long, 503 when too many bodies are held, 400 when the client breaks off.
pub(super) async fn read(app: &App, body: Body, limit: usize) -> Result<Bytes, Problem> {
    let told = body.size_hint();
    if told.lower() > limit as u64 {
        let received = told.lower();
        discard(body).await;
        return Err(too_large(limit).received(format!("{received} bytes")));
    }
    let most = told.upper().map_or(limit, |upper| usize::try_from(upper).map_or(limit, |upper| upper.min(limit)));
    let kib = u32::try_from(most.div_ceil(1024)).unwrap_or(u32::MAX);
    let memory = app.memory.clone().try_acquire_many_owned(kib).map_err(|_| {
        Problem::new(Kind::Overloaded, "too many bodies are being read")
            .limit(app.limits.buffered_bytes as u64)
            .retry_after(1)
    })?;
    let timeout = app.limits.body_timeout;
    let mut body = body;
    let started = Instant::now();
    let collected = tokio::time::timeout(timeout, collect(&mut body, limit, told.lower())).await.map_err(|_| {
        Problem::new(Kind::BodyTimeout, format!("the body did not arrive within {} s", timeout.as_secs()))
            .limit(timeout.as_secs())
    })?;
    app.metrics.stage("receive", started.elapsed());
    match collected {
        Ok(Some(bytes)) => Ok(Bytes::from_owner(Held { bytes, _memory: memory })),
        Ok(None) => {
            discard(body).await;
            Err(too_large(limit))
        }
        Err(error) => Err(Problem::new(Kind::InvalidBody, format!("the body broke off: {error}"))),
    }
}

/// All of the body, `None` when it has more than `limit` bytes. `told` is the least its header promises.
async fn collect(body: &mut Body, limit: usize, told: u64) -> Result<Option<Bytes>, axum::Error> {
    let mut bytes = BytesMut::with_capacity(usize::try_from(told).map_or(0, |told| told.min(limit)));
    while let Some(frame) = body.frame().await {
        // Trailers say nothing to us.
        let Ok(data) = frame?.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Ok(None);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Some(bytes.freeze()))
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Kind::BodyTooLarge, format!("the body has more than {limit} bytes"))
        .expected(format!("at most {limit} bytes"))
        .limit(limit as u64)
}

pub(super) async fn discard(mut body: Body) {
    let (timeout, most) = DISCARD;
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > most {
                return;
            }
        }
    };
    // Whether it ends in time or not, the answer is the same.
    let _ = tokio::time::timeout(timeout, reading).await;
}

/// Bytes of a body that a worker of the runtime may hash or parse itself: some tens of microseconds.
const INLINE: usize = 64 << 10;

/// Runs `work` on `bytes` bytes, on a thread that may block when they are many: 28 MB of JSON take tens of
/// milliseconds, in which a worker would answer hundreds of others. As many wait as bodies fit in the memory for them.
///
/// # Errors
/// Those of `work`; 500 when it panics.
pub(super) async fn off_worker<T, F>(bytes: usize, work: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Problem> + Send + 'static,
{
    if bytes <= INLINE {
        return work();
    }
    blocking(work).await
}

/// Runs `work` on a thread that may block, on the disk say.
///
/// # Errors
/// Those of `work`; 500 when it panics.
pub(super) async fn blocking<T, F>(work: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Problem> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Problem::internal(error)))
}

/// The media type without its parameters, lower case; empty when there is none.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// True for `application/json` and its relatives.
pub(super) fn is_json(media_type: &str) -> bool {
    media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// 415: what the route reads, and what came.
pub(super) fn unsupported(expected: &str, received: &str) -> Problem {
    let received = if received.is_empty() { "none" } else { received };
    Problem::new(Kind::UnsupportedMediaType, format!("content type: expected {expected}, received {received}"))
        .expected(expected)
        .received(received)
}

/// JSON to a value; unknown fields and wrong types are named by their path.
///
/// # Errors
/// 400, as [`Kind::MalformedJson`], [`Kind::InvalidBody`] or [`Kind::EmptyBody`].
pub(super) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.is_empty() {
        return Err(Problem::new(Kind::EmptyBody, "the body is empty").expected("a JSON object").received("0 bytes"));
    }
    match Json::from_bytes(bytes) {
        Ok(Json(value)) => Ok(value),
        Err(JsonRejection::JsonDataError(error)) => {
            Err(Problem::new(Kind::InvalidBody, cause(&error)).received(cause(&error)))
        }
        Err(error) => Err(Problem::new(Kind::MalformedJson, cause(&error)).expected("a JSON object")),
    }
}

/// What serde says, without the wrapping.
fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}
