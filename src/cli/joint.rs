//! Where the commands meet the other rooms: settings become their types, their errors become causes and messages.
//! A change of a room's interface is answered here and nowhere else in `cli`.

use super::CliError;
use crate::analyzer::Analyzer;
use crate::config::{IndexVectors, ModelConfig, ServiceSettings};
use crate::filter::Filter;
use crate::http::{self, AppConfig, HttpLimits, KeyRing};
use crate::model::{EngineConfig, Model};
use crate::photo::{Limits, Photo};
use crate::scheduler::{LaneConfig, SchedulerConfig};
use crate::service::{Service, ServiceConfig};
use crate::similar::{SimilarItem, SimilarParams};
use bytes::Bytes;
use std::fs::File;
use std::future::Future;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Photos of a job in flight a thread: one that is looked at, one that is hashed, written or waits for it.
pub(super) const IN_FLIGHT_PER_THREAD: usize = 2;

/// Opens the service; `in_flight` photos of this process, if there are any, fit its queues and may wait as they like.
pub(super) fn open_service(settings: &ServiceSettings, in_flight: usize) -> Result<Service, CliError> {
    open(settings, service_config(settings, in_flight))
}

/// Opens the service with an index that is filled anew.
pub(super) fn open_with_new_index(settings: &ServiceSettings) -> Result<Service, CliError> {
    open(settings, ServiceConfig { rebuild_index: true, ..service_config(settings, 0) })
}

fn open(settings: &ServiceSettings, config: ServiceConfig) -> Result<Service, CliError> {
    Service::open(config).map_err(|e| CliError::opening(e, settings.data.data_dir.clone()))
}

fn service_config(settings: &ServiceSettings, in_flight: usize) -> ServiceConfig {
    let work = &settings.work;
    let lane = |queue: usize, wait_ms: u64| LaneConfig {
        queue: queue.max(in_flight),
        max_wait: (in_flight == 0).then(|| Duration::from_millis(wait_ms)),
    };
    let reads = lane(work.read_queue, work.interactive_wait_ms);
    ServiceConfig {
        data_dir: settings.data.data_dir.clone(),
        models_dir: settings.model.models_dir.clone(),
        model: settings.model.model.clone(),
        engine: settings.model.engine_config(work.threads()),
        limits: settings.photo.limits(),
        fetch: settings.fetch_config(),
        photos: SchedulerConfig {
            threads: work.threads(),
            interactive: lane(work.interactive_queue, work.interactive_wait_ms),
            bulk: lane(work.bulk_queue, work.bulk_wait_ms),
            nice: work.photo_nice,
        },
        reads: SchedulerConfig { threads: work.read_threads(), interactive: reads, bulk: reads, nice: 0 },
        writes: lane(work.write_queue, work.bulk_wait_ms),
        vectors_on_disk: settings.data.index_vectors == IndexVectors::Disk,
        index_build_memory: settings.data.index_build_bytes,
        search_candidates: settings.data.search_candidates.into(),
        jobs: settings.jobs.jobs_config(IN_FLIGHT_PER_THREAD * work.threads()),
        webhooks: settings.webhooks.webhooks_config(),
        log_days: settings.data.feed_retention_days,
        rebuild_index: false,
    }
}

/// Loads and self-tests the configured bundle, for `threads` photos side by side.
pub(super) fn load_model(config: &ModelConfig, threads: usize) -> Result<Model, CliError> {
    load_model_at(&config.bundle_dir(), &config.engine_config(threads))
}

/// Loads and self-tests the bundle in `dir`.
pub(super) fn load_model_at(dir: &Path, engine: &EngineConfig) -> Result<Model, CliError> {
    Model::load(dir, engine).map_err(|source| CliError::Model { dir: dir.to_owned(), source })
}

/// Bytes of the file at `path`, never more than `limit` and one; or a cause and what exactly.
pub(super) fn read_bytes(path: &Path, limit: usize) -> Result<Bytes, (&'static str, String)> {
    let fault = |e: std::io::Error| ("cannot read the file", e.to_string());
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(fault)?;
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(fault)?;
    if bytes.len() > limit {
        return Err(("file too long", format!("the photo has more than {limit} bytes, the limit")));
    }
    Ok(bytes.into())
}

/// The photo at `path` as `analyzer` looks at it, or why not.
pub(super) fn read_photo(path: &Path, analyzer: &Analyzer, limits: &Limits) -> Result<Photo, String> {
    let bytes = read_bytes(path, limits.body_bytes).map_err(|(_, detail)| detail)?;
    analyzer.decode(&bytes, None, limits).map_err(|e| e.to_string())
}

/// Reads `--filter`; what is wrong with it is said before the model takes its seconds to load.
pub(super) fn filter(json: &str) -> Result<serde_json::Value, CliError> {
    let filter = Filter::parse_str(json).map_err(|e| CliError::Option { option: "--filter", detail: e.to_string() })?;
    Ok(filter.to_json())
}

/// The keys in `file`, if there is one.
pub(super) fn keys(file: Option<&Path>) -> Result<Option<KeyRing>, CliError> {
    file.map(KeyRing::load).transpose().map_err(|e| CliError::Server(e.to_string()))
}

/// Whether `listen` may be opened with these keys; the rule is the server's, the words are for the command line.
pub(super) fn refuse_open_listener(listen: SocketAddr, keys: Option<&KeyRing>) -> Result<(), CliError> {
    http::refuse_open_listener(listen, keys).map_err(|_| CliError::OpenToAll { listen })
}

/// Answers on `listener` until `shutdown` ends, then finishes what was accepted within the drain timeout. What needs the
/// service is answered once `opening` has opened it.
pub(super) async fn serve(
    listener: TcpListener,
    opening: impl Future<Output = Result<Arc<Service>, CliError>>,
    keys: Option<KeyRing>,
    limits: HttpLimits,
    shutdown: impl Future<Output = ()>,
) -> Result<(), CliError> {
    /// A failure of the server itself, apart from one to open.
    struct Failure(CliError);
    impl From<std::io::Error> for Failure {
        fn from(error: std::io::Error) -> Self {
            Self(CliError::Server(format!("server: {error}")))
        }
    }
    let keys = keys.map(Arc::new);
    let opening = async { Ok(AppConfig { service: opening.await.map_err(Failure)?, keys, limits }) };
    http::run(listener, limits, opening, shutdown).await.map_err(|Failure(error)| error)
}

/// Parameters of a similarity query.
pub(super) fn similar_params(limit: u16, filter: Option<serde_json::Value>) -> SimilarParams {
    SimilarParams { limit: Some(limit.into()), filter, ..SimilarParams::default() }
}

/// Product, score and best image of a hit.
pub(super) fn similar_item(item: &SimilarItem) -> (&str, f32, &str) {
    (&item.product_id, item.score, &item.image_id)
}

/// An id as one segment of a path: it keeps only what needs no escape.
pub(super) fn segment(id: &str) -> String {
    url::form_urlencoded::byte_serialize(id.as_bytes()).collect::<String>().replace('+', "%20")
}

/// The word the API has for an enum of one word: `blue`, `low_contrast`, `plain`.
pub(super) fn word<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
