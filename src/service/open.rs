//! Opening and closing: store, model and index, in the order that leaves nothing half done.

use super::bundles::Bundles;
use super::jobs::{Jobs, JobsConfig};
use super::read::Pace;
use super::uploads::Uploads;
use super::webhooks::{Webhooks, WebhooksConfig};
use super::{Core, ModelInfo, Service, ServiceError, Status, follow};
use crate::analyzer::Analyzer;
use crate::catalog::Catalog;
use crate::index::{IndexConfig, IndexError, IndexStats};
use crate::metrics::Metrics;
use crate::model::{EngineConfig, EngineKind, Model};
use crate::photo::{FetchConfig, Fetcher, Limits};
use crate::scheduler::{LaneConfig, LaneCounts, Scheduler, SchedulerConfig};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// What a service needs to open.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// Folder of the store, the photos and the index snapshots.
    pub data_dir: PathBuf,
    /// Folder of the model bundles.
    pub models_dir: PathBuf,
    /// Folder name of the bundle to start with, until another was activated.
    pub model: String,
    /// What runs bundles.
    pub engine: EngineConfig,
    /// Limits of photos.
    pub limits: Limits,
    /// Limits of URL fetches.
    pub fetch: FetchConfig,
    /// Threads and queues for looking at photos.
    pub photos: SchedulerConfig,
    /// Threads and queues for reads and searches; apart, so that a search never waits behind an inference.
    pub reads: SchedulerConfig,
    /// How many writes may wait for the one writer, and how long.
    pub writes: LaneConfig,
    /// Vectors of the index stay in their files: less than half of the memory, somewhat slower searches.
    pub vectors_on_disk: bool,
    /// See [`IndexConfig::build_memory`].
    pub index_build_memory: usize,
    /// See [`IndexConfig::ef_search`].
    pub search_candidates: usize,
    /// Days for which changes are kept in the log; 0: for ever.
    pub log_days: u32,
    /// How bulk jobs are run.
    pub jobs: JobsConfig,
    /// How changes are sent to webhooks.
    pub webhooks: WebhooksConfig,
    /// Removes the index first and fills it from the store.
    pub rebuild_index: bool,
}

impl Service {
    /// Opens store, model and index; blocks, for seconds on a large store. Called once, off the runtime.
    ///
    /// # Errors
    /// When the data directory is in use or written by a newer version, or the model fails its self-test.
    pub fn open(config: ServiceConfig) -> Result<Self, ServiceError> {
        let catalog = Arc::new(Catalog::open(&config.data_dir)?);
        let dir = config.data_dir.join("index");
        if config.rebuild_index && dir.exists() {
            std::fs::remove_dir_all(&dir).map_err(|source| IndexError::Io { path: dir.clone(), source })?;
        }
        let settings = IndexConfig {
            vectors_on_disk: config.vectors_on_disk,
            build_memory: config.index_build_memory,
            ef_search: config.search_candidates,
            ..IndexConfig::default()
        };
        let version = catalog.current_model()?;
        let bundles = Bundles { dir: config.models_dir, engine: config.engine };
        // Side by side: either takes a second where the catalog is large.
        let (model, index) = std::thread::scope(|scope| {
            let reading = version.map(|version| {
                let (dir, settings) = (&dir, &settings);
                scope.spawn(move || follow::read_index(dir, settings, &version))
            });
            let model = start_model(&bundles, &config.model, &catalog);
            // A panic is met again, and told, where the index is opened without this.
            (model, reading.and_then(|reading| reading.join().ok()))
        });
        let (model, index) = (model?, index.transpose()?);
        let EngineKind { name: engine, precision, reason } = model.engine();
        tracing::info!(version = model.version(), engine, %precision, reason, "model loaded");
        let follower = follow::Follower::open(&dir, settings, index, Analyzer::new(model), &catalog)?;
        let (second, loaded) = (Mutex::new(None), Mutex::new(None));
        let (limits, uploads) = (config.limits, Uploads::new(config.photos.threads, config.writes.queue));
        let core = Arc::new(Core { catalog, follower, limits, second, loaded, uploads, pace: Pace::default() });
        // Places of its own: a job that waits for slow hosts keeps no shopper's photo out.
        let jobs_fetcher =
            Fetcher::new(FetchConfig { concurrency: config.jobs.fetches.max(1), ..config.fetch.clone() })?;
        let limits_bytes = core.limits.body_bytes;
        let jobs = Jobs::new(config.jobs, jobs_fetcher, limits_bytes, &config.data_dir, &core.catalog)?;
        let threads = |name, config| Scheduler::new(name, config).map_err(ServiceError::Threads);
        // One writer: the store has one transaction at a time, and a second thread would only wait for it.
        let writes = SchedulerConfig { threads: 1, interactive: config.writes, bulk: config.writes, nice: 0 };
        Ok(Self {
            background: Mutex::new(None),
            photos: Arc::new(threads("photo", config.photos)?),
            reads: threads("read", config.reads)?,
            writes: Arc::new(threads("write", writes)?),
            core,
            jobs: Arc::new(jobs),
            webhooks: Arc::new(Webhooks::new(config.webhooks, &config.fetch)?),
            log_kept: (config.log_days > 0).then(|| time::Duration::days(config.log_days.into())),
            fetcher: Fetcher::new(config.fetch)?,
            metrics: Metrics::default(),
            bundles,
        })
    }

    /// Writes a snapshot of the index, so that the next start replays little. Blocks; called when the last request is
    /// through. Without it nothing is lost.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn close(&self) -> Result<(), ServiceError> {
        self.stop_background();
        Ok(self.core.follower.snapshot()?)
    }

    /// Waits until no segment of the index is being built or due, for tools. Blocks.
    pub fn settle_index(&self) {
        self.core.live().index.settle();
    }

    /// Sizes of the index.
    pub fn index_stats(&self) -> IndexStats {
        self.core.live().index.stats()
    }

    /// How the service is.
    ///
    /// # Errors
    /// When the store cannot be read: it is not ready then.
    pub async fn status(&self) -> Result<Status, ServiceError> {
        self.on_reads(|core, _| {
            // One read, to know that the store answers; it would count millions of rows one by one, so the index counts.
            core.catalog.last_seq()?;
            let ready = core.follower.is_whole();
            let live = core.live();
            let (seq, products, images) = live.index.counts();
            Ok(Status {
                ready,
                reason: (!ready).then(|| "the index has missed a change; a restart replays it".to_owned()),
                model_version: live.version().to_owned(),
                seq,
                products: products as u64,
                images: images as u64,
            })
        })
        .await
    }

    /// All bundles below the models directory.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn models(&self) -> Result<Vec<ModelInfo>, ServiceError> {
        let bundles = self.bundles.clone();
        self.on_reads(move |core, _| {
            let counts = core.catalog.counts()?;
            let pending = core.catalog.pending_activation()?;
            let live = core.live();
            let live = live.analyzer.model();
            let info = |name: &str, version: &str| {
                let is_live = version == live.version();
                let seen = counts.images_by_model.get(version).copied().unwrap_or(0);
                let engine = is_live.then(|| live.engine());
                let pending = pending.as_ref().filter(|p| p.version == version);
                let progress =
                    if counts.images == 0 { f32::from(u8::from(is_live)) } else { seen as f32 / counts.images as f32 };
                ModelInfo {
                    version: version.to_owned(),
                    name: name.to_owned(),
                    live: is_live,
                    activating: pending.is_some_and(|p| p.failure.is_none()),
                    failure: pending.and_then(|p| p.failure.clone()),
                    engine: engine.as_ref().map(|e| e.name.to_owned()),
                    precision: engine.as_ref().map(|e| e.precision.to_string()),
                    engine_reason: engine.map(|e| e.reason),
                    progress,
                }
            };
            let mut models: Vec<ModelInfo> = bundles.scan().iter().map(|m| info(&m.name, &m.version)).collect();
            // The live one answers even when its folder was replaced meanwhile.
            if !models.iter().any(|m| m.live) {
                models.insert(0, info(&live.manifest().name, live.version()));
            }
            Ok(models)
        })
        .await
    }

    /// What became of pieces of work, by the queue they waited in.
    pub fn queues(&self) -> [(&'static str, LaneCounts); 5] {
        let ((interactive, bulk), (writes, writes_bulk)) = (self.photos.counts(), self.writes.counts());
        [
            ("photos_interactive", interactive),
            ("photos_bulk", bulk),
            ("reads", self.reads.counts().0),
            ("writes", writes),
            ("writes_background", writes_bulk),
        ]
    }
}

/// The model to start with: the activated or configured one. Where the catalog was last shown by another version whose
/// bundle is still there, that one goes on answering, and the wanted one is activated behind it.
fn start_model(bundles: &Bundles, configured: &str, catalog: &Catalog) -> Result<Model, ServiceError> {
    let wanted = Model::load(&model_dir(bundles, configured, catalog.live_model()?.as_deref()), &bundles.engine)?;
    let shown = catalog.current_model()?.filter(|version| version != wanted.version());
    if let Some(shown) = shown
        && catalog.counts()?.images_by_model.contains_key(&shown)
        && let Some(dir) = bundles.find(&shown)
    {
        match Model::load(&dir, &bundles.engine) {
            Ok(model) => {
                let version = wanted.version();
                tracing::info!(version, shown, "the catalog was seen by another version; it answers meanwhile");
                catalog.write(|tx| tx.set_pending_activation(Some(version)))?;
                return Ok(model);
            }
            Err(error) => tracing::warn!(%error, shown, "the version that the catalog was seen by cannot be loaded"),
        }
    }
    if catalog.current_model()?.as_deref() != Some(wanted.version()) {
        let version = wanted.version();
        catalog.write(|tx| tx.set_current_model(version))?;
    }
    Ok(wanted)
}

/// The bundle of the version activated last, if it is still there; else the configured one.
fn model_dir(bundles: &Bundles, configured: &str, live: Option<&str>) -> PathBuf {
    let activated = live.and_then(|version| bundles.find(version));
    if let (Some(version), None) = (live, &activated) {
        tracing::warn!(version, "the activated model is not in the models directory; using the configured one");
    }
    activated.unwrap_or_else(|| bundles.dir.join(configured))
}
