//! `/v1/feed`: the change log and snapshots of the catalog, as lines of JSON.

use super::extract::{Params, bounded};
use super::problem::Problem;
use super::state::App;
use crate::catalog::{ChangeKind, MAX_CHANGES};
use crate::feed::{Event, MEDIA_TYPE};
use crate::service::FeedQuery;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::time::Duration;
use utoipa::IntoParams;

/// Records at once, unless told.
const DEFAULT_LIMIT: usize = 1_000;
/// Longest wait for a record, in seconds: well below the time a request may take.
const MAX_WAIT_S: u64 = 60;
/// Products of a snapshot at once, unless told, and at most.
const PRODUCTS: (usize, usize) = (100, 1_000);

/// The `after` to go on with.
const NEXT_AFTER: HeaderName = HeaderName::from_static("feed-next-after");
/// Where the next page of a snapshot starts.
const NEXT_CURSOR: HeaderName = HeaderName::from_static("feed-next-cursor");

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct FeedParams {
    /// Sequence number of the last change the consumer has: the `Feed-Next-After` of the answer before.
    #[param(value_type = Option<u64>, minimum = 0, default = 0)]
    after: Option<String>,
    /// Most records. An answer has fewer where they would be more than some megabytes.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10_000, default = 1_000)]
    limit: Option<String>,
    /// Seconds to wait where there is nothing yet.
    #[param(value_type = Option<u32>, minimum = 0, maximum = 60, default = 0)]
    wait_s: Option<String>,
    /// Kinds of changes wanted, separated by commas: `product_upserted`, `product_deleted`, `image_upserted`, `image_deleted`,
    /// `analysis_replaced`, `attributes_corrected`, `model_activated`. All, unless told.
    #[param(example = "image_upserted,image_deleted")]
    kind: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SnapshotParams {
    /// Products a page; it has fewer where they would be more than some megabytes.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1_000, default = 100)]
    limit: Option<String>,
    /// `Feed-Next-Cursor` of the page before.
    #[param(min_length = 1, max_length = 4096)]
    cursor: Option<String>,
}

/// What changed
///
/// One CloudEvent 1.0 a line, in the order of the commits, each exactly once. Go on with the `Feed-Next-After` of the answer;
/// store it with what was made of the records. An empty answer says that there is nothing yet. After a `model_activated`
/// every analysis is another one: take a snapshot.
#[utoipa::path(
    get, path = "/v1/feed", tag = "feed", operation_id = "feed",
    params(FeedParams),
    responses(
        (status = 200, body = Event, content_type = "application/x-ndjson", description = "Records, one a line",
         headers(("Feed-Next-After" = u64, description = "The `after` to go on with"))),
        (status = 410)
    ),
    security(("key" = ["search", "ingest"])),
)]
pub(super) async fn feed(State(app): State<App>, Params(params): Params<FeedParams>) -> Result<Response, Problem> {
    let query = FeedQuery {
        after: bounded("after", params.after.as_deref(), 0..=i64::MAX as u64)?.unwrap_or(0),
        limit: bounded("limit", params.limit.as_deref(), 1..=MAX_CHANGES)?.unwrap_or(DEFAULT_LIMIT),
        wait: Duration::from_secs(bounded("wait_s", params.wait_s.as_deref(), 0..=MAX_WAIT_S)?.unwrap_or(0)),
        kinds: params.kind.as_deref().map(kinds).transpose()?.unwrap_or_default(),
    };
    let page = app.service.feed(query).await?;
    Ok((headers(page.next_after), page.lines).into_response())
}

/// Every product as it is
///
/// For a new consumer: one CloudEvent of type `vitrine.product_snapshot.v1` a product, in the order of the ids, page by page
/// while there is a `Feed-Next-Cursor`. Then go on with the feed after `Feed-Next-After`: what changed while the snapshot was
/// read comes again there.
#[utoipa::path(
    get, path = "/v1/feed/snapshot", tag = "feed", operation_id = "feed_snapshot",
    params(SnapshotParams),
    responses(
        (status = 200, body = Event, content_type = "application/x-ndjson", description = "Records, one a line",
         headers(("Feed-Next-After" = u64, description = "Where the feed goes on after the snapshot"),
                 ("Feed-Next-Cursor" = String, description = "Where the next page starts; absent on the last"))),
    ),
    security(("key" = ["search", "ingest"])),
)]
pub(super) async fn snapshot(
    State(app): State<App>,
    Params(params): Params<SnapshotParams>,
) -> Result<Response, Problem> {
    let limit = bounded("limit", params.limit.as_deref(), 1..=PRODUCTS.1)?.unwrap_or(PRODUCTS.0);
    let page = app.service.feed_snapshot(params.cursor.as_deref(), limit).await?;
    let mut response = (headers(page.next_after), page.lines).into_response();
    if let Some(cursor) = page.next_cursor.and_then(|cursor| HeaderValue::try_from(cursor).ok()) {
        response.headers_mut().insert(NEXT_CURSOR, cursor);
    }
    Ok(response)
}

fn headers(next_after: u64) -> [(HeaderName, HeaderValue); 3] {
    [
        (header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (NEXT_AFTER, HeaderValue::from(next_after)),
    ]
}

fn kinds(text: &str) -> Result<Vec<ChangeKind>, Problem> {
    let kind = |name: &str| {
        name.trim()
            .parse()
            .map_err(|_| Problem::invalid("kind", format!("of {}", ChangeKind::names().join(", ")), name))
    };
    text.split(',').map(kind).collect()
}
