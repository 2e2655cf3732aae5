//! Probes and metrics. Liveness never looks at the service: a process that answers is alive, and restarting it
//! because a disk is full helps nobody.

use super::problem::Problem;
use super::state::App;
use crate::metrics::OPENMETRICS;
use crate::service::Status;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// The process answers.
#[derive(Serialize, ToSchema)]
pub(super) struct Live {
    /// Always true.
    live: bool,
    /// Version of the program.
    version: &'static str,
}

/// Is the process alive?
#[utoipa::path(
    get, path = "/health/live", tag = "operations", operation_id = "live",
    responses((status = 200, body = Live, description = "It is")),
)]
pub(super) async fn live() -> Json<Live> {
    Json(Live { live: true, version: env!("CARGO_PKG_VERSION") })
}

/// Can it answer everything?
#[utoipa::path(
    get, path = "/health/ready", tag = "operations", operation_id = "ready",
    responses(
        (status = 200, body = Status, description = "It can"),
        (status = 503, body = Status, description = "It cannot; `reason` says why")
    ),
)]
pub(super) async fn ready(State(app): State<App>) -> Result<Response, Problem> {
    let status = app.service.status().await?;
    let code = if status.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((code, Json(status)).into_response())
}

/// Prometheus metrics
///
/// Needs the scope `admin` where keys are used: names of routes and rates are nobody else's business.
#[utoipa::path(
    get, path = "/metrics", tag = "operations", operation_id = "metrics",
    responses((status = 200, description = "OpenMetrics text", content(
        ("application/openmetrics-text")
    ))),
    security(("key" = ["admin"])),
)]
pub(super) async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    // A full queue is what one wants to see here: the figures of the store may be those of the last scrape then.
    match app.service.status().await {
        Ok(status) => {
            app.metrics.store(status.products, status.images, status.seq);
            match app.service.webhooks().await {
                Ok(list) => app.metrics.webhook_changes(list.items.into_iter().map(|webhook| {
                    (webhook.id, [status.seq.saturating_sub(webhook.cursor), webhook.waiting, webhook.dead])
                })),
                Err(error) => tracing::warn!(%error, "no figures of webhooks"),
            }
        }
        Err(error) => tracing::warn!(%error, "no figures of the store"),
    }
    for (queue, counts) in app.service.queues() {
        app.metrics.queue(queue, &counts);
    }
    let text = app.metrics.encode().map_err(Problem::internal)?;
    Ok(([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response())
}
