//! What a server answers that is still opening its store, model and index: that it lives, and when to come again. What comes
//! over its connections once all is open goes on to that.

use super::body::discard;
use super::health;
use super::observe::{render, request_id, set_headers};
use super::problem::{Kind, Problem};
use crate::service::Status;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tower_service::Service;

/// Seconds after which to come again: most stores open in one.
const COME_AGAIN_S: u64 = 1;

/// The few routes of a server that starts, for as long as `open` is empty.
pub(super) fn router(open: Arc<OnceLock<Router>>) -> Router {
    let routes = Router::new().route("/health/live", get(health::live)).route("/health/ready", get(ready));
    routes.fallback(refuse).layer(from_fn_with_state(open, dress))
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

async fn refuse(body: Body) -> Problem {
    // A client that is still sending when the connection closes would see a reset.
    discard(body).await;
    Problem::new(Kind::Starting, "the service is opening its catalog, model and index").retry_after(COME_AGAIN_S)
}

/// What [`super::observe`] does, as far as there is anything to observe.
async fn dress(State(open): State<Arc<OnceLock<Router>>>, request: Request, next: Next) -> Response {
    if let Some(open) = open.get() {
        // A router is always ready, and its error is that it cannot fail.
        return match open.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
    }
    let (started, id) = (Instant::now(), request_id(request.headers()));
    let mut response = next.run(request).await;
    render(&mut response, &id);
    set_headers(response.headers_mut(), &id, started.elapsed(), &[]);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
