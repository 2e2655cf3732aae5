//! What a server answers that is still opening its store, model and index: that it lives, and when to come again. Its
//! connections end with their first answer, so that the next finds what has opened meanwhile.

use super::health;
use super::observe::{render, request_id, set_headers};
use super::problem::{Kind, Problem};
use crate::service::Status;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use std::time::Instant;

/// Seconds after which to come again: most stores open in one.
const COME_AGAIN_S: u64 = 1;

/// The few routes of a server that starts.
pub(super) fn router() -> Router {
    let routes = Router::new().route("/health/live", get(health::live)).route("/health/ready", get(ready));
    routes.fallback(refuse).layer(from_fn(dress))
}

async fn ready() -> Response {
    let status = Status {
        ready: false,
        reason: Some("starting".to_owned()),
        model_version: String::new(),
        seq: 0,
        products: 0,
        images: 0,
    };
    (StatusCode::SERVICE_UNAVAILABLE, Json(status)).into_response()
}

async fn refuse() -> Problem {
    Problem::new(Kind::Starting, "the service is opening its catalog, model and index").retry_after(COME_AGAIN_S)
}

/// What [`super::observe`] does, as far as there is anything to observe.
async fn dress(request: Request, next: Next) -> Response {
    let (started, id) = (Instant::now(), request_id(request.headers()));
    let mut response = next.run(request).await;
    render(&mut response, &id);
    set_headers(response.headers_mut(), &id, started.elapsed(), &[]);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
