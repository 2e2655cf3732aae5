//! `/v1/webhooks`: endpoints that changes are sent to, their secrets, and what they have not taken.

use super::extract::{Params, Write, bounded, some};
use super::idempotency::answer;
use super::problem::Problem;
use super::state::App;
use crate::catalog::{ChangeKind, NewWebhook, WebhookState};
use crate::service::{DeliveryPage, DeliveryState, Resent, Webhook, WebhookList, WebhookPatch};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

/// Deliveries a page, unless told, and at most.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;
/// Seconds for which an old secret signs beside the new one, unless told, and at most.
const DEFAULT_OVERLAP_S: u64 = 86_400;
const MAX_OVERLAP_S: u64 = 30 * 86_400;

/// What is to be changed of an endpoint.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"state": "paused"}))]
pub(super) struct WebhookChangeJson {
    /// Where changes are sent from now on.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 2048, format = "uri")]
    url: Option<String>,
    /// Kinds of changes; all where there are none.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = Vec<ChangeKind>, required = false)]
    kinds: Option<Vec<ChangeKind>>,
    /// What its owner calls it; nothing, where it is empty.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = String, required = false, max_length = 200)]
    description: Option<String>,
    /// `active` or `paused`.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = WebhookState, required = false)]
    state: Option<WebhookState>,
}

/// Another secret.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"overlap_s": 3600}))]
pub(super) struct SecretJson {
    /// `whsec_` and 24 to 64 bytes in base64; a new one, unless told.
    #[serde(default)]
    secret: Option<String>,
    /// Seconds for which the old secret signs too.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 2592000, default = 86400)]
    overlap_s: Option<u64>,
}

/// Which delivery is to be sent again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"seq": 1042}))]
pub(super) struct ResendJson {
    /// The change; all that were given up, unless told.
    #[serde(default)]
    seq: Option<u64>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DeliveryParams {
    /// Only those that are `waiting`, or `dead`.
    #[param(value_type = Option<DeliveryState>)]
    state: Option<String>,
    /// Items a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    #[param(min_length = 1, max_length = 4096)]
    cursor: Option<String>,
}

/// Send changes to a URL
///
/// Each change is sent as the CloudEvent that the feed has, signed as Standard Webhooks has it, in order for each product, at
/// least once: `webhook-id` stays the same. What is not answered with 2xx is sent again, ever more rarely, for a day.
#[utoipa::path(
    post, path = "/v1/webhooks", tag = "webhooks", operation_id = "create_webhook",
    request_body(content = NewWebhook, content_type = "application/json"),
    responses((status = 201, body = Webhook, description = "Made; its secret is told only here"), (status = 409)),
    security(("key" = ["admin"])),
)]
pub(super) async fn create_webhook(State(app): State<App>, write: Write<NewWebhook>) -> Result<Response, Problem> {
    Ok(answer(app.service.create_webhook(write.value, write.once).await?))
}

/// Webhooks
#[utoipa::path(
    get, path = "/v1/webhooks", tag = "webhooks", operation_id = "list_webhooks",
    responses((status = 200, body = WebhookList, description = "All")),
    security(("key" = ["admin"])),
)]
pub(super) async fn list_webhooks(State(app): State<App>) -> Result<Json<WebhookList>, Problem> {
    Ok(Json(app.service.webhooks().await?))
}

/// A webhook
#[utoipa::path(
    get, path = "/v1/webhooks/{webhook_id}", tag = "webhooks", operation_id = "get_webhook",
    responses((status = 200, body = Webhook, description = "How far it is"), (status = 404)),
    security(("key" = ["admin"])),
)]
pub(super) async fn get_webhook(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Webhook>, Problem> {
    Ok(Json(app.service.webhook(&id).await?))
}

/// Change, pause or resume a webhook
#[utoipa::path(
    patch, path = "/v1/webhooks/{webhook_id}", tag = "webhooks", operation_id = "change_webhook",
    request_body(content = WebhookChangeJson, content_type = "application/json"),
    responses((status = 200, body = Webhook, description = "Changed"), (status = 404)),
    security(("key" = ["admin"])),
)]
pub(super) async fn change_webhook(
    State(app): State<App>,
    Path(id): Path<String>,
    write: Write<WebhookChangeJson>,
) -> Result<Json<Webhook>, Problem> {
    let WebhookChangeJson { url, kinds, description, state } = write.value;
    let is_active = match state {
        None => None,
        Some(WebhookState::Active) => Some(true),
        Some(WebhookState::Paused) => Some(false),
        Some(WebhookState::Disabled) => return Err(Problem::invalid("state", "active or paused", "disabled")),
    };
    let patch = WebhookPatch { url, kinds, description, is_active };
    Ok(Json(app.service.change_webhook(&id, patch).await?))
}

/// Delete a webhook
#[utoipa::path(
    delete, path = "/v1/webhooks/{webhook_id}", tag = "webhooks", operation_id = "delete_webhook",
    responses((status = 204, description = "Deleted, with its deliveries"), (status = 404)),
    security(("key" = ["admin"])),
)]
pub(super) async fn delete_webhook(State(app): State<App>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    app.service.delete_webhook(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a webhook another secret
///
/// Both sign for a while, so that receivers can change over.
#[utoipa::path(
    post, path = "/v1/webhooks/{webhook_id}/secret", tag = "webhooks", operation_id = "rotate_webhook_secret",
    request_body(content = SecretJson, content_type = "application/json"),
    responses((status = 200, body = Webhook, description = "With the new secret"), (status = 404)),
    security(("key" = ["admin"])),
)]
pub(super) async fn rotate_secret(
    State(app): State<App>,
    Path(id): Path<String>,
    write: Write<SecretJson>,
) -> Result<Response, Problem> {
    let SecretJson { secret, overlap_s } = write.value;
    let overlap_s = overlap_s.unwrap_or(DEFAULT_OVERLAP_S);
    if overlap_s > MAX_OVERLAP_S {
        return Err(Problem::invalid("overlap_s", format!("at most {MAX_OVERLAP_S}"), overlap_s));
    }
    let overlap = Duration::from_secs(overlap_s);
    Ok(answer(app.service.rotate_webhook_secret(&id, secret, overlap, write.once).await?))
}

/// Changes that a webhook has not taken
///
/// In their order: those that are sent again, and those that were given up.
#[utoipa::path(
    get, path = "/v1/webhooks/{webhook_id}/deliveries", tag = "webhooks", operation_id = "webhook_deliveries",
    params(DeliveryParams),
    responses((status = 200, body = DeliveryPage, description = "A page"), (status = 404)),
    security(("key" = ["admin"])),
)]
pub(super) async fn deliveries(
    State(app): State<App>,
    Path(id): Path<String>,
    Params(params): Params<DeliveryParams>,
) -> Result<Json<DeliveryPage>, Problem> {
    let limit = bounded("limit", params.limit.as_deref(), 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
    let state = match params.state.as_deref() {
        None => None,
        Some("waiting") => Some(DeliveryState::Waiting),
        Some("dead") => Some(DeliveryState::Dead),
        Some(other) => return Err(Problem::invalid("state", "waiting or dead", other)),
    };
    Ok(Json(app.service.deliveries(&id, state, params.cursor.as_deref(), limit).await?))
}

/// Send changes again that were given up
#[utoipa::path(
    post, path = "/v1/webhooks/{webhook_id}/resend", tag = "webhooks", operation_id = "resend_deliveries",
    request_body(content = ResendJson, content_type = "application/json"),
    responses((status = 200, body = Resent, description = "They are sent in their turn"), (status = 404)),
    security(("key" = ["admin"])),
)]
pub(super) async fn resend(
    State(app): State<App>,
    Path(id): Path<String>,
    write: Write<ResendJson>,
) -> Result<Json<Resent>, Problem> {
    Ok(Json(app.service.resend(&id, write.value.seq).await?))
}
