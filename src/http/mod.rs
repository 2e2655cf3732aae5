//! HTTP: routes, keys, limits, problems, OpenAPI. Handlers extract, call [`crate::service`], wrap.
//! The way of a request, from the outside in:
//!
//! ```text
//! server ─► observe ─► catch panic ─► gate ─► extract, body, photo_form ─► handler ─► service
//! limits    id, log,   500            key,    ids, bounds, sizes, forms
//! of a      metrics,                  scope,
//! peer      problems                  timeout
//! ```
//!
//! | file | alone knows |
//! | --- | --- |
//! | `server` | connections: how many, how slow, how they end |
//! | `starting` | what is answered before the service is open |
//! | `observe` | request ids, access log, headers of every response |
//! | `problem`, `faults` | RFC 9457, and which error of which room is whose fault |
//! | `gate`, `auth`, `operations` | keys and scopes; what the OpenAPI document promises is what is checked |
//! | `compress` | which bodies are worth gzip |
//! | `body`, `photo_form`, `extract`, `idempotency`, `conditional` | the forms requests come in |
//! | `openapi`, `docs` | the document and the page that shows it |
//! | `analyze`, `images`, `products`, `similar`, `feed`, `jobs`, `models`, `health` | one group of routes each |

mod analyze;
mod auth;
mod body;
mod compress;
mod conditional;
mod docs;
mod extract;
mod faults;
mod feed;
mod gate;
mod health;
mod idempotency;
mod images;
mod jobs;
mod models;
mod observe;
mod openapi;
mod operations;
mod photo_form;
mod problem;
mod products;
mod server;
mod similar;
mod starting;
mod state;
#[cfg(test)]
mod tests;
mod webhooks;

pub use auth::{KeyError, KeyRing, OpenListener, Scope, refuse_open_listener};
pub use openapi::document;
pub use server::run;
pub use state::{AppConfig, HttpLimits};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use problem::Problem;
use state::App;
use std::any::Any;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Every operation, with its part of the OpenAPI document.
fn operations() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(analyze::analyze))
        .routes(routes!(products::list_products))
        .routes(routes!(products::put_product, products::get_product, products::delete_product))
        .routes(routes!(products::correct_attributes))
        .routes(routes!(images::post_image))
        .routes(routes!(images::put_image, images::get_image, images::delete_image))
        .routes(routes!(similar::similar_to_product))
        .routes(routes!(similar::similar))
        .routes(routes!(feed::feed))
        .routes(routes!(feed::snapshot))
        .routes(routes!(feed::features))
        .routes(routes!(jobs::create_job, jobs::list_jobs))
        .routes(routes!(jobs::get_job))
        .routes(routes!(jobs::errors))
        .routes(routes!(jobs::events))
        .routes(routes!(jobs::cancel))
        .routes(routes!(jobs::pause))
        .routes(routes!(jobs::resume))
        .routes(routes!(jobs::retry))
        .routes(routes!(webhooks::create_webhook, webhooks::list_webhooks))
        .routes(routes!(webhooks::get_webhook, webhooks::change_webhook, webhooks::delete_webhook))
        .routes(routes!(webhooks::rotate_secret))
        .routes(routes!(webhooks::deliveries))
        .routes(routes!(webhooks::resend))
        .routes(routes!(models::list_models))
        .routes(routes!(models::activate_model))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .routes(routes!(docs::openapi_json))
        .routes(routes!(docs::page))
        .routes(routes!(docs::script))
        .routes(routes!(docs::style))
        .routes(routes!(docs::problem))
}

/// Everything that answers requests, ready to be served by [`run`] or called in a test.
pub fn router(config: AppConfig) -> Router {
    with_routes(config, operations().into())
}

/// The layers around `routes`; apart, so that tests can put routes of their own inside.
fn with_routes(config: AppConfig, routes: Router<App>) -> Router {
    let app = App::new(config, &openapi::document(true));
    routes
        .layer(DefaultBodyLimit::disable())
        .layer(compress::layer())
        .layer(map_response(compress::weaken))
        .layer(from_fn_with_state(app.clone(), gate::gate))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(app.clone(), observe::observe))
        .with_state(app)
}

/// A handler panicked: ours, and the connection lives on.
#[allow(clippy::needless_pass_by_value)]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    Problem::internal(format!("a handler panicked: {message}")).into_response()
}
