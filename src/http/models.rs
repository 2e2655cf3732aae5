//! `GET /v1/models`: the bundles there are, which one answers, and how far each has seen the catalog.

use super::problem::Problem;
use super::state::App;
use crate::service::ModelInfo;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

/// Every model bundle.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelList {
    items: Vec<ModelInfo>,
}

/// Model bundles
#[utoipa::path(
    get, path = "/v1/models", tag = "models", operation_id = "list_models",
    responses((status = 200, body = ModelList, description = "Every bundle")),
    security(("key" = ["search", "ingest"])),
)]
pub(super) async fn list_models(State(app): State<App>) -> Result<Json<ModelList>, Problem> {
    Ok(Json(ModelList { items: app.service.models().await? }))
}
