//! `/v1/products`: the merchant's metadata in, records with images and effective attributes out; corrections too.

use super::conditional::json_or_304;
use super::extract::{Once, Params, ProductId, Write, bounded};
use super::idempotency::answer;
use super::problem::Problem;
use super::similar::filter_text;
use super::state::App;
use crate::catalog::MetadataPatch;
use crate::service::{ProductPage, ProductView};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use std::collections::BTreeMap;
use utoipa::IntoParams;

/// Products a page, unless told.
const DEFAULT_LIMIT: usize = 100;
/// Most products a page: a record with its images is some kilobytes.
const MAX_LIMIT: usize = 1_000;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Products a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    #[param(min_length = 1, max_length = 4096)]
    cursor: Option<String>,
    /// Only products that pass this filter.
    #[param(value_type = Option<Object>)]
    filter: Option<String>,
}

/// Create or change a product
///
/// Every field is optional: one that is absent is kept, one that is `null` is cleared.
#[utoipa::path(
    put, path = "/v1/products/{product_id}", tag = "products", operation_id = "put_product",
    request_body(content = MetadataPatch, content_type = "application/json"),
    responses(
        (status = 200, body = ProductView, description = "Changed"),
        (status = 201, body = ProductView, description = "Created"),
        (status = 409), (status = 507)
    ),
    security(("key" = ["ingest"])),
)]
pub(super) async fn put_product(
    State(app): State<App>,
    ProductId(id): ProductId,
    write: Write<MetadataPatch>,
) -> Result<Response, Problem> {
    Ok(answer(app.service.put_product(&id, write.value, write.once).await?))
}

/// A product with its images
#[utoipa::path(
    get, path = "/v1/products/{product_id}", tag = "products", operation_id = "get_product",
    responses((status = 200, body = ProductView, description = "The record"), (status = 304), (status = 404)),
    security(("key" = ["search", "ingest"])),
)]
pub(super) async fn get_product(
    State(app): State<App>,
    ProductId(id): ProductId,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    json_or_304(&headers, &app.service.product(&id).await?)
}

/// Delete a product
///
/// With its images. The next search does not find it.
#[utoipa::path(
    delete, path = "/v1/products/{product_id}", tag = "products", operation_id = "delete_product",
    responses((status = 204, description = "Deleted"), (status = 404), (status = 409), (status = 507)),
    security(("key" = ["ingest"])),
)]
pub(super) async fn delete_product(
    State(app): State<App>,
    ProductId(id): ProductId,
    Once(once): Once,
) -> Result<Response, Problem> {
    Ok(answer(app.service.delete_product(&id, once).await?))
}

/// The catalog, page by page
///
/// In the order of the ids.
#[utoipa::path(
    get, path = "/v1/products", tag = "products", operation_id = "list_products",
    params(ListParams),
    responses((status = 200, body = ProductPage, description = "A page"), (status = 304)),
    security(("key" = ["search", "ingest"])),
)]
pub(super) async fn list_products(
    State(app): State<App>,
    Params(params): Params<ListParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let limit = bounded("limit", params.limit.as_deref(), 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
    let filter = params.filter.as_deref().map(filter_text).transpose()?;
    json_or_304(&headers, &app.service.products(filter, params.cursor.as_deref(), limit).await?)
}

/// Correct attributes
///
/// `{name: value}` wins over merchant and model and is kept as training data; `{name: null}` says that the attribute
/// does not apply.
#[utoipa::path(
    patch, path = "/v1/products/{product_id}/attributes", tag = "products", operation_id = "correct_attributes",
    request_body(
        content = BTreeMap<String, Option<String>>, content_type = "application/json",
        example = json!({"pattern": "striped", "neckline": null})
    ),
    responses(
        (status = 200, body = ProductView, description = "Corrected"),
        (status = 404), (status = 409), (status = 422), (status = 507)
    ),
    security(("key" = ["ingest"])),
)]
pub(super) async fn correct_attributes(
    State(app): State<App>,
    ProductId(id): ProductId,
    write: Write<BTreeMap<String, Option<String>>>,
) -> Result<Response, Problem> {
    Ok(answer(app.service.correct(&id, write.value, write.once).await?))
}
