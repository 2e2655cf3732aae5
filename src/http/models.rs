//! Model bundles: which there are, which one answers, how far each has seen the catalog, and the change to another.

use super::problem::Problem;
use super::state::App;
use crate::service::ModelInfo;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
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

/// Lets a model version become live
///
/// The bundle is loaded and self-tested beside the live one; then the catalog is looked at again in the background, and
/// model and index switch together. Until then, and if anything fails, the live one answers. `GET /v1/models` tells how
/// far it is; asking again changes nothing; asking for the live version ends an activation under way. The way back to an
/// earlier version is the same call, and short: what that version had seen is kept.
#[utoipa::path(
    post, path = "/v1/models/{version}/activate", tag = "models", operation_id = "activate_model",
    params(("version" = String, Path, min_length = 1, max_length = 128, description = "Version of the bundle")),
    responses(
        (status = 200, body = ModelInfo, description = "It is live"),
        (status = 202, body = ModelInfo, description = "It looks at the catalog to become live"),
    ),
    security(("key" = ["admin"])),
)]
pub(super) async fn activate_model(
    State(app): State<App>,
    Path(version): Path<String>,
) -> Result<(StatusCode, Json<ModelInfo>), Problem> {
    let model = app.service.activate(&version).await?;
    Ok((if model.live { StatusCode::OK } else { StatusCode::ACCEPTED }, Json(model)))
}
