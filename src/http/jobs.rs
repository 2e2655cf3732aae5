//! `/v1/jobs`: bulk import of manifests, how far it is, and what failed.

use super::body;
use super::extract::{Params, bounded};
use super::idempotency;
use super::problem::{Kind, Problem};
use super::state::App;
use crate::catalog::FailedRow;
use crate::jobs::{Format, Job, JobSource, MAX_URI_BYTES, is_fetched};
use crate::service::{FailedRowPage, JobPage, Reply, Service, ServiceError, Spool};
use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::BodyExt;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

const CSV: &str = "text/csv";
const NDJSON: &str = "application/x-ndjson";
const PARQUET: &str = "application/vnd.apache.parquet";
/// Jobs, or rows, a page, unless told.
const DEFAULT_LIMIT: usize = 100;
/// Most of them.
const MAX_LIMIT: usize = 1_000;
/// How often those who watch a job are told.
const TOLD_EVERY: Duration = Duration::from_secs(1);

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageParams {
    /// Items a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    #[param(min_length = 1, max_length = 4096)]
    cursor: Option<String>,
}

impl PageParams {
    fn limit(&self) -> Result<usize, Problem> {
        Ok(bounded("limit", self.limit.as_deref(), 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT))
    }
}

/// Where a manifest lies.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"uri": "https://shop.example/feed/products.csv"}))]
pub(super) struct JobJson {
    /// `http`, `https`, `file`, `s3`, `gs`, `az` or `abfs`; paths in it are relative to it.
    #[schema(min_length = 1, max_length = 4096, format = "uri")]
    uri: String,
    /// How it is written; by its name, unless told.
    #[serde(default)]
    format: Option<Format>,
}

/// A manifest, sent or named.
pub(super) enum Manifest {
    Sent(Spool, Format, Parts, Vec<u8>),
    Named(JobJson, Parts, Bytes),
}

impl FromRequest<App> for Manifest {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let media_type = body::media_type(&parts.headers);
        let format = match media_type.as_str() {
            CSV => Format::Csv,
            NDJSON | "application/ndjson" | "application/jsonl" => Format::Ndjson,
            PARQUET | "application/x-parquet" => Format::Parquet,
            other if body::is_json(other) => {
                let received = body::read(app, body, app.limits.json_bytes).await?;
                return Ok(Self::Named(body::json(&received)?, parts, received));
            }
            other => {
                return Err(body::unsupported(
                    "text/csv, application/x-ndjson, application/vnd.apache.parquet or application/json",
                    other,
                ));
            }
        };
        let spool = body::blocking({
            let service = Arc::clone(&app.service);
            move || Ok(service.spool()?)
        })
        .await?;
        let (spool, hash) = receive(app, body, spool).await?;
        Ok(Self::Sent(spool, format, parts, hash))
    }
}

/// Writes a body to the disk as it comes, each piece in its time; and its hash.
async fn receive(app: &App, mut body: Body, mut spool: Spool) -> Result<(Spool, Vec<u8>), Problem> {
    let limit = app.limits.body_timeout;
    let (mut hash, mut is_empty) = (Sha256::new(), true);
    loop {
        let frame = tokio::time::timeout(limit, body.frame()).await.map_err(|_| {
            Problem::new(Kind::BodyTimeout, format!("no more of the body came within {} s", limit.as_secs()))
                .limit(limit.as_secs())
        })?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| Problem::new(Kind::InvalidBody, format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        is_empty &= data.is_empty();
        let write = move || {
            let written = spool.write(&data);
            hash.update(&data);
            Ok((spool, hash, written))
        };
        let written;
        (spool, hash, written) = body::blocking(write).await?;
        if let Err(error) = written {
            body::discard(body).await;
            return Err(error.into());
        }
    }
    if is_empty {
        return Err(Problem::new(Kind::EmptyBody, "the body is empty").expected("a manifest").received("0 bytes"));
    }
    Ok((spool, hash.finalize().to_vec()))
}

/// Import a manifest
///
/// Rows of products and where their photos lie: CSV with at least `product_id` and `image_uri`, lines of JSON or
/// Parquet with the same fields, or a file for Google's Product Search; without `image_uri`, what it says of products that are there. Sent, or named by `uri`. Jobs run one after the other, behind shoppers.
#[utoipa::path(
    post, path = "/v1/jobs", tag = "jobs", operation_id = "create_job",
    request_body(description = "A manifest, or where it lies", content(
        (String = "text/csv"), (String = "application/x-ndjson"),
        (Vec<u8> = "application/vnd.apache.parquet"), (JobJson = "application/json")
    )),
    responses(
        (status = 202, body = Job, description = "Queued",
         headers(("Location" = String, description = "The job"))),
        (status = 409), (status = 507)
    ),
    security(("key" = ["ingest"])),
)]
pub(super) async fn create_job(State(app): State<App>, manifest: Manifest) -> Result<Response, Problem> {
    let reply = match manifest {
        Manifest::Sent(spool, format, parts, hash) => {
            let once = idempotency::of(&parts, &hash)?;
            app.service.create_sent_job(spool, JobSource::Body { format }, once).await?
        }
        Manifest::Named(JobJson { uri, format }, parts, received) => {
            if uri.len() > MAX_URI_BYTES {
                return Err(Problem::invalid("uri", format!("at most {MAX_URI_BYTES} bytes"), uri.len()));
            }
            let scheme = url::Url::parse(&uri).map(|url| url.scheme().to_owned()).unwrap_or_default();
            if !is_fetched(&scheme) {
                return Err(Problem::invalid("uri", "an http, https, file, s3, gs, az or abfs URL", uri));
            }
            let format = format.unwrap_or_else(|| Format::of_path(&uri));
            app.service.create_job(JobSource::Uri { uri, format }, idempotency::of(&parts, &received)?).await?
        }
    };
    accepted(reply)
}

fn accepted(reply: Reply) -> Result<Response, Problem> {
    #[derive(Deserialize)]
    struct Made {
        id: String,
    }
    let Made { id } = serde_json::from_slice(&reply.body).map_err(Problem::internal)?;
    let location = HeaderValue::try_from(format!("/v1/jobs/{id}")).map_err(Problem::internal)?;
    let mut response = idempotency::answer(reply);
    *response.status_mut() = StatusCode::ACCEPTED;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// Jobs
///
/// The newest first; ended ones for 30 days.
#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs", operation_id = "list_jobs",
    params(PageParams),
    responses((status = 200, body = JobPage, description = "A page")),
    security(("key" = ["ingest"])),
)]
pub(super) async fn list_jobs(
    State(app): State<App>,
    Params(params): Params<PageParams>,
) -> Result<Json<JobPage>, Problem> {
    Ok(Json(app.service.jobs(params.cursor.as_deref(), params.limit()?).await?))
}

/// A job
#[utoipa::path(
    get, path = "/v1/jobs/{job_id}", tag = "jobs", operation_id = "get_job",
    responses((status = 200, body = Job, description = "How far it is"), (status = 404)),
    security(("key" = ["ingest"])),
)]
pub(super) async fn get_job(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Job>, Problem> {
    Ok(Json(app.service.job(&id).await?))
}

/// Rows of a job that failed
///
/// In the order of the manifest. With `Accept: text/csv` all of them from the cursor on, as a table.
#[utoipa::path(
    get, path = "/v1/jobs/{job_id}/errors", tag = "jobs", operation_id = "job_errors",
    params(PageParams),
    responses(
        (status = 200, description = "A page, or the table", content(
            (FailedRowPage = "application/json"), (String = "text/csv")
        )),
        (status = 404)
    ),
    security(("key" = ["ingest"])),
)]
pub(super) async fn errors(
    State(app): State<App>,
    Path(id): Path<String>,
    Params(params): Params<PageParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let limit = params.limit()?;
    let wants_csv = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if !wants_csv.is_some_and(|accept| accept.split(',').any(|one| one.trim().starts_with(CSV))) {
        return Ok(Json(app.service.failed_rows(&id, params.cursor.as_deref(), limit).await?).into_response());
    }
    // The first page is asked for before the answer begins: what is wrong is still told.
    let first = app.service.failed_rows(&id, params.cursor.as_deref(), MAX_LIMIT).await?;
    let table = table(Arc::clone(&app.service), id, first);
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], Body::from_stream(table)).into_response())
}

/// All pages from `first` on as CSV.
fn table(
    service: Arc<Service>,
    id: String,
    first: FailedRowPage,
) -> impl Stream<Item = Result<Vec<u8>, std::io::Error>> {
    let head = csv_of(&[FailedRow::COLUMNS.map(str::to_owned)]);
    let pages = stream::unfold(Some(Ok(first)), move |page| {
        let (service, id) = (Arc::clone(&service), id.clone());
        async move {
            let page = match page? {
                Ok(page) => page,
                Err(error) => return Some((Err(error), None)),
            };
            let next = match &page.next_cursor {
                None => None,
                Some(cursor) => {
                    Some(service.failed_rows(&id, Some(cursor), MAX_LIMIT).await.map_err(std::io::Error::other))
                }
            };
            let rows: Vec<_> = page.items.into_iter().map(FailedRow::into_cells).collect();
            Some((csv_of(&rows), next))
        }
    });
    stream::once(std::future::ready(head)).chain(pages)
}

fn csv_of<const N: usize>(rows: &[[String; N]]) -> Result<Vec<u8>, std::io::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row)?;
    }
    writer.into_inner().map_err(|error| std::io::Error::other(error.to_string()))
}

/// Watch a job
///
/// Server-sent events: the job as `progress` whenever it has changed, at most once a second, then under the name of the
/// state in which it ended.
#[utoipa::path(
    get, path = "/v1/jobs/{job_id}/events", tag = "jobs", operation_id = "job_events",
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "Events"),
        (status = 404)
    ),
    security(("key" = ["ingest"])),
)]
pub(super) async fn events(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let job = app.service.job(&id).await?;
    let service = Arc::clone(&app.service);
    let told = stream::unfold(Some((None::<Job>, job)), move |state| {
        let service = Arc::clone(&service);
        async move {
            let (told, mut job) = state?;
            while told.as_ref() == Some(&job) {
                tokio::time::sleep(TOLD_EVERY).await;
                // A job that is gone, a store that fails and a service that ends have no more to tell.
                if service.is_ending() {
                    return None;
                }
                job = match service.job(&job.id).await {
                    Ok(now) => now,
                    // Busy: there is a next time.
                    Err(ServiceError::Scheduler(_)) => continue,
                    Err(_) => return None,
                };
            }
            let name = if job.state.is_ended() { job.state.as_str() } else { "progress" };
            let event = Event::default().event(name).json_data(&job).unwrap_or_default();
            let next = (!job.state.is_ended()).then(|| (Some(job.clone()), job));
            Some((Ok(event), next))
        }
    });
    Ok(Sse::new(told).keep_alive(KeepAlive::default()))
}

/// End a job
///
/// Rows that are under way end; what was done stays.
#[utoipa::path(
    post, path = "/v1/jobs/{job_id}/cancel", tag = "jobs", operation_id = "cancel_job",
    responses((status = 200, body = Job, description = "The job"), (status = 404), (status = 409)),
    security(("key" = ["ingest"])),
)]
pub(super) async fn cancel(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Job>, Problem> {
    Ok(Json(app.service.cancel_job(&id).await?))
}

/// Let a job wait
///
/// Rows that are under way end.
#[utoipa::path(
    post, path = "/v1/jobs/{job_id}/pause", tag = "jobs", operation_id = "pause_job",
    responses((status = 200, body = Job, description = "The job"), (status = 404), (status = 409)),
    security(("key" = ["ingest"])),
)]
pub(super) async fn pause(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Job>, Problem> {
    Ok(Json(app.service.pause_job(&id).await?))
}

/// Let a job go on
#[utoipa::path(
    post, path = "/v1/jobs/{job_id}/resume", tag = "jobs", operation_id = "resume_job",
    responses((status = 200, body = Job, description = "The job"), (status = 404), (status = 409)),
    security(("key" = ["ingest"])),
)]
pub(super) async fn resume(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Job>, Problem> {
    Ok(Json(app.service.resume_job(&id).await?))
}

/// Try failed rows again
///
/// Of a job that is done, those whose photo has a place to be fetched from; of one that failed, its manifest.
#[utoipa::path(
    post, path = "/v1/jobs/{job_id}/retry", tag = "jobs", operation_id = "retry_job",
    responses((status = 200, body = Job, description = "The job"), (status = 404), (status = 409)),
    security(("key" = ["ingest"])),
)]
pub(super) async fn retry(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Job>, Problem> {
    Ok(Json(app.service.retry_job(&id).await?))
}
