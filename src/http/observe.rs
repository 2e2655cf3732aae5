//! The outermost layer: request id, access log, metrics, `Server-Timing`, security headers, bodies of problems.
//! Whatever happens inside, what leaves here has a request id, and every error is a problem.

use super::auth::Caller;
use super::problem::{Kind, PROBLEM_JSON, Problem};
use super::state::App;
use crate::metrics::with_stages;
use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use std::fmt::Write;
use std::time::{Duration, Instant};
use tracing::Instrument;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// Longest request id taken over from a client.
const REQUEST_ID_CHARS: usize = 128;

/// Sent with every response that does not set them itself. An API needs no scripts, frames or caches.
const DEFAULT_HEADERS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Middleware: see the module.
pub(super) async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let in_flight = app.metrics.enter();
    let id = request_id(request.headers());
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", request_id = id.as_str());
    let (mut response, stages) = with_stages(next.run(request).instrument(span)).await;
    render(&mut response, &id);
    let took = started.elapsed();
    set_headers(response.headers_mut(), &id, took, &stages);
    let status = response.status().as_u16();
    app.metrics.request(method, &route, status, took);
    let caller = response.extensions().get::<Caller>().map_or("", |caller| caller.key_id.as_str());
    let bytes = response.body().size_hint().exact();
    let latency_ms = took.as_secs_f64() * 1e3;
    tracing::info!(target: "vitrine::access", method, route, status, latency_ms, bytes, request_id = id, key_id = caller);
    drop(in_flight);
    response
}

/// The client's id when it is 1 to [`REQUEST_ID_CHARS`] visible ASCII characters, else a new one.
pub(super) fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    given
        .filter(|id| (1..=REQUEST_ID_CHARS).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()))
        .map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}

/// One of a few names: clients may invent methods, and every label costs memory for good.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// Writes the body of a problem; an error that came from elsewhere (axum's own 404, 405, ...) becomes one.
pub(super) fn render(response: &mut Response, id: &str) {
    let status = response.status();
    let problem = response.extensions_mut().remove::<Problem>().or_else(|| foreign(status, response.headers()));
    let Some(problem) = problem else { return };
    let body = serde_json::to_vec(&problem.body(id)).unwrap_or_default();
    *response.body_mut() = Body::from(body);
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
}

fn foreign(status: StatusCode, headers: &HeaderMap) -> Option<Problem> {
    let answered = headers.get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json");
    if answered || !(status.is_client_error() || status.is_server_error()) {
        return None;
    }
    Some(match status {
        StatusCode::NOT_FOUND => Problem::new(Kind::UnknownRoute, "no such route; /openapi.json has those there are"),
        StatusCode::METHOD_NOT_ALLOWED => {
            let allowed = headers.get(header::ALLOW).and_then(|a| a.to_str().ok()).unwrap_or_default();
            Problem::new(Kind::MethodNotAllowed, format!("this route takes {allowed}")).expected(allowed)
        }
        status => Problem::internal(format!("a response {status} without a problem")),
    })
}

pub(super) fn set_headers(headers: &mut HeaderMap, id: &str, took: Duration, stages: &[(&'static str, Duration)]) {
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    let mut timing = format!("total;dur={:.1}", took.as_secs_f64() * 1e3);
    for (stage, took) in stages {
        // Writing to a string does not fail.
        let _ = write!(timing, ", {stage};dur={:.1}", took.as_secs_f64() * 1e3);
    }
    if let Ok(timing) = HeaderValue::from_str(&timing) {
        headers.insert(SERVER_TIMING, timing);
    }
    for (name, value) in DEFAULT_HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ids_of_clients_are_taken_over_when_harmless() {
        let id = |value: &str| request_id(&HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_str(value).unwrap())]));
        assert_eq!(id("shop-7/42"), "shop-7/42");
        for bad in ["", "two words", "ü", &"x".repeat(129)] {
            assert!(uuid::Uuid::parse_str(&id(bad)).is_ok(), "{bad:?}");
        }
    }
}
