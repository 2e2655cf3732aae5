//! `/v1/feed`: the change log and snapshots of the catalog, as lines of JSON.

use super::extract::{Params, bounded};
use super::problem::Problem;
use super::state::App;
use crate::catalog::{ChangeKind, MAX_CHANGES};
use crate::feed::{Event, MEDIA_TYPE, PARQUET, source};
use crate::service::FeedQuery;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::time::Duration;
use utoipa::IntoParams;

/// Records at once, unless told.
const DEFAULT_LIMIT: usize = 1_000;
/// Longest wait for a record, in seconds.
const MAX_WAIT_S: u64 = 60;
/// What is left of the time a request may take when a wait ends.
const REST: Duration = Duration::from_secs(5);
/// Products of a snapshot at once, unless told.
const DEFAULT_PRODUCTS: usize = 100;
/// Most products of a snapshot at once.
const MAX_PRODUCTS: usize = 1_000;

/// The `after` to go on with.
const NEXT_AFTER: HeaderName = HeaderName::from_static("feed-next-after");
/// The catalog that records are of.
const SOURCE: HeaderName = HeaderName::from_static("feed-source");
/// How many rows a file has.
const ROWS: HeaderName = HeaderName::from_static("feed-rows");
/// Where the next page of a snapshot starts.
const NEXT_CURSOR: HeaderName = HeaderName::from_static("feed-next-cursor");

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct FeedParams {
    /// `Feed-Next-After` of the answer before.
    #[param(value_type = Option<u64>, minimum = 0, default = 0)]
    after: Option<String>,
    /// Most records; fewer come where they are large.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10_000, default = 1_000)]
    limit: Option<String>,
    /// Seconds to wait where there is nothing yet; less where a request may not take as long.
    #[param(value_type = Option<u32>, minimum = 0, maximum = 60, default = 0)]
    wait_s: Option<String>,
    /// Kinds of changes wanted, separated by commas: `product_upserted`, `product_deleted`, `image_upserted`, `image_deleted`,
    /// `analysis_replaced`, `attributes_corrected`, `model_activated`, `job_ended`. All, unless told.
    #[param(example = "image_upserted,image_deleted")]
    kind: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SnapshotParams {
    /// Most products a page; fewer come where they are large.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1_000, default = 100)]
    limit: Option<String>,
    /// `Feed-Next-Cursor` of the page before.
    #[param(min_length = 1, max_length = 4096)]
    cursor: Option<String>,
}

/// What changed
///
/// One CloudEvent 1.0 a line, in the order of the commits, each exactly once. Go on with the `Feed-Next-After` of the answer;
/// when it is the `after` that was sent, there is nothing more yet. Another `Feed-Source` is another catalog: begin anew. After
/// a `model_activated` every analysis is another one: read a snapshot over the copy, then go on from where this was.
#[utoipa::path(
    get, path = "/v1/feed", tag = "feed", operation_id = "feed",
    params(FeedParams),
    responses(
        (status = 200, body = Event, content_type = "application/x-ndjson", description = "Records, one a line",
         headers(("Feed-Next-After" = u64, description = "The `after` to go on with"),
                 ("Feed-Source" = String, description = "The catalog, as the `source` of its records"))),
        (status = 410)
    ),
    security(("key" = ["search", "ingest"])),
)]
pub(super) async fn feed(State(app): State<App>, Params(params): Params<FeedParams>) -> Result<Response, Problem> {
    let wait = Duration::from_secs(bounded("wait_s", params.wait_s.as_deref(), 0..=MAX_WAIT_S)?.unwrap_or(0));
    let query = FeedQuery {
        after: bounded("after", params.after.as_deref(), 0..=i64::MAX as u64)?.unwrap_or(0),
        limit: bounded("limit", params.limit.as_deref(), 1..=MAX_CHANGES)?.unwrap_or(DEFAULT_LIMIT),
        wait: wait.min(app.limits.request_timeout.saturating_sub(REST)),
        kinds: params.kind.as_deref().map(kinds).transpose()?.unwrap_or_default(),
    };
    let page = app.service.feed(query).await?;
    Ok((headers(page.next_after, &page.catalog_id)?, page.lines).into_response())
}

/// Every product as it is
///
/// For a new consumer: one CloudEvent a product, page by page while there is a `Feed-Next-Cursor`. Then go on with the feed
/// after `Feed-Next-After`: what changed while the snapshot was read comes again there.
#[utoipa::path(
    get, path = "/v1/feed/snapshot", tag = "feed", operation_id = "feed_snapshot",
    params(SnapshotParams),
    responses(
        (status = 200, body = Event, content_type = "application/x-ndjson", description = "Records, one a line",
         headers(("Feed-Next-After" = u64, description = "Where the feed goes on after the snapshot"),
                 ("Feed-Source" = String, description = "The catalog, as the `source` of its records"),
                 ("Feed-Next-Cursor" = String, description = "Where the next page starts; absent on the last"))),
    ),
    security(("key" = ["search", "ingest"])),
)]
pub(super) async fn snapshot(
    State(app): State<App>,
    Params(params): Params<SnapshotParams>,
) -> Result<Response, Problem> {
    let limit = bounded("limit", params.limit.as_deref(), 1..=MAX_PRODUCTS)?.unwrap_or(DEFAULT_PRODUCTS);
    let page = app.service.feed_snapshot(params.cursor.as_deref(), limit).await?;
    let mut response = (headers(page.next_after, &page.catalog_id)?, page.lines).into_response();
    if let Some(cursor) = page.next_cursor.and_then(|cursor| HeaderValue::try_from(cursor).ok()) {
        response.headers_mut().insert(NEXT_CURSOR, cursor);
    }
    Ok(response)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct FeaturesParams {
    /// Products a file, about.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1_000, default = 1_000)]
    limit: Option<String>,
    /// `Feed-Next-Cursor` of the file before.
    #[param(min_length = 1, max_length = 4096)]
    cursor: Option<String>,
}

/// Products for a recommender
///
/// A file of Parquet with what changed since the cursor, a row a product, deleted ones included; without a cursor all there
/// is, from the first file on. `Feed-Rows: 0`: nothing more for now; the cursor stays good for later. After a switch to another
/// model every product comes again.
#[utoipa::path(
    get, path = "/v1/export/features", tag = "feed", operation_id = "export_features",
    params(FeaturesParams),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/vnd.apache.parquet", description = "Products",
         headers(("Feed-Rows" = u64, description = "Rows of the file"),
                 ("Feed-Source" = String, description = "The catalog"),
                 ("Feed-Next-Cursor" = String, description = "Where the next file starts"))),
        (status = 410)
    ),
    security(("key" = ["search", "ingest"])),
)]
pub(super) async fn features(
    State(app): State<App>,
    Params(params): Params<FeaturesParams>,
) -> Result<Response, Problem> {
    let limit = bounded("limit", params.limit.as_deref(), 1..=MAX_PRODUCTS)?.unwrap_or(MAX_PRODUCTS);
    let page = app.service.features(params.cursor.as_deref(), limit).await?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(PARQUET)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (ROWS, HeaderValue::from(page.rows)),
        (SOURCE, named(&page.catalog_id)?),
        (NEXT_CURSOR, HeaderValue::try_from(page.next_cursor).map_err(Problem::internal)?),
    ];
    Ok((headers, page.file).into_response())
}

fn named(catalog_id: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::try_from(source(catalog_id)).map_err(Problem::internal)
}

fn headers(next_after: u64, catalog_id: &str) -> Result<[(HeaderName, HeaderValue); 4], Problem> {
    Ok([
        (header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (NEXT_AFTER, HeaderValue::from(next_after)),
        (SOURCE, named(catalog_id)?),
    ])
}

fn kinds(text: &str) -> Result<Vec<ChangeKind>, Problem> {
    let kind = |name: &str| {
        name.trim()
            .parse()
            .map_err(|_| Problem::invalid("kind", format!("of {}", ChangeKind::names().join(", ")), name))
    };
    text.split(',').map(kind).collect()
}
