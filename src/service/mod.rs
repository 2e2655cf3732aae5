//! Write path and read path, joining the rooms: what is acknowledged is durable and visible to the next search.
//! HTTP handlers and commands call nothing below this.

mod activate;
mod bundles;
mod error;
mod features;
mod feed;
mod follow;
mod jobs;
mod open;
mod publish;
mod read;
mod types;
mod uploads;
mod webhooks;
mod write;

pub use error::ServiceError;
pub use features::FeaturesPage;
pub use feed::{FeedPage, FeedQuery, SnapshotPage};
pub use jobs::{FailedRowPage, JobPage, JobsConfig, Spool};
pub use open::ServiceConfig;
pub use types::{
    ModelInfo, PhotoBytes, PhotoInput, PhotoSource, ProductPage, ProductView, Reply, SimilarTo, Status, StoredAnalysis,
};
pub use webhooks::{
    DeliveryPage, DeliveryState, Resent, Webhook, WebhookDelivery, WebhookList, WebhookPatch, WebhooksConfig,
};

use crate::analyzer::{Analyzed, Analyzer};
use crate::catalog::Catalog;
use crate::metrics::Metrics;
use crate::model::{Model, Prediction};
use crate::photo::{Area, Fetcher, Limits, Photo};
use crate::scheduler::{Lane, Scheduler, SchedulerError, Ticket};
use bundles::Bundles;
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The service behind HTTP and the commands: every method may be called from any task.
pub struct Service {
    // Dropped in this order: work that was accepted ends before what it works on goes.
    background: Mutex<Option<activate::Background>>,
    photos: Arc<Scheduler>,
    reads: Scheduler,
    writes: Arc<Scheduler>,
    core: Arc<Core>,
    fetcher: Fetcher,
    jobs: Arc<jobs::Jobs>,
    webhooks: Arc<webhooks::Webhooks>,
    /// How long changes are kept in the log; for ever where it is not said.
    log_kept: Option<time::Duration>,
    metrics: Metrics,
    bundles: Bundles,
}

/// What the work on the schedulers' threads needs.
struct Core {
    catalog: Arc<Catalog>,
    follower: Arc<follow::Follower>,
    limits: Limits,
    /// Looks at uploads beside the live model, while it is about to become live.
    second: Mutex<Option<Analyzer>>,
    /// Loaded and tested when its activation was ordered, until the background takes it.
    loaded: Mutex<Option<Model>>,
    uploads: uploads::Uploads,
    /// Of searches that may be brief.
    pace: read::Pace,
}

/// One piece of work on its thread: how long its stages took, recorded by the request's task; and whether it is wanted.
struct Run<'a> {
    ticket: &'a Ticket<'a>,
    stages: Vec<(&'static str, Duration)>,
}

impl<'a> Run<'a> {
    fn new(ticket: &'a Ticket<'a>) -> Self {
        Self { ticket, stages: vec![("wait", ticket.waited)] }
    }

    fn time<T>(&mut self, stage: &'static str, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        self.stages.push((stage, started.elapsed()));
        result
    }

    /// Asked between stages of a photo, each of which takes milliseconds.
    fn still_wanted(&self) -> Result<(), ServiceError> {
        if self.ticket.is_gone() { Err(ServiceError::Abandoned) } else { Ok(()) }
    }
}

impl Service {
    /// Looks at a photo and stores nothing.
    ///
    /// # Errors
    /// When the photo cannot be fetched or decoded, the box lies outside, or the interactive lane is full.
    pub async fn analyze(&self, input: PhotoInput) -> Result<Analyzed, ServiceError> {
        let (bytes, crop) = self.resolve(input).await?;
        self.on_photos(Lane::Interactive, move |core, run| {
            let live = core.live();
            let photo = core.decode(&live.analyzer, &bytes, crop, run)?;
            look(&live.analyzer, &photo, run)
        })
        .await
    }

    /// Runs `work` where photos are looked at: one at a time and core.
    async fn on_photos<T, F>(&self, lane: Lane, work: F) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        F: FnOnce(&Core, &mut Run<'_>) -> Result<T, ServiceError> + Send + 'static,
    {
        self.run(&self.photos, lane, false, work).await
    }

    /// Runs `work` where the store is read and the index searched: never behind an inference.
    async fn on_reads<T, F>(&self, work: F) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        F: FnOnce(&Core, &mut Run<'_>) -> Result<T, ServiceError> + Send + 'static,
    {
        self.run(&self.reads, Lane::Interactive, false, work).await
    }

    /// Runs `work` on a thread of `scheduler`; what is brief may run on this one ([`Scheduler::run_brief`]).
    async fn run<T, F>(&self, scheduler: &Scheduler, lane: Lane, is_brief: bool, work: F) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        F: FnOnce(&Core, &mut Run<'_>) -> Result<T, ServiceError> + Send + 'static,
    {
        let core = Arc::clone(&self.core);
        let job = move |ticket: &Ticket<'_>| {
            let mut run = Run::new(ticket);
            (work(&core, &mut run), run.stages)
        };
        let (result, stages) =
            if is_brief { scheduler.run_brief(lane, job).await? } else { scheduler.run(lane, job).await? };
        for (stage, took) in stages {
            self.metrics.stage(stage, took);
        }
        result
    }

    /// Asks again where a queue is full: what runs in the background has time.
    pub(super) async fn patiently<T, Fut>(&self, work: impl Fn() -> Fut) -> Result<T, ServiceError>
    where
        Fut: Future<Output = Result<T, ServiceError>>,
    {
        loop {
            match work().await {
                Err(ServiceError::Scheduler(
                    SchedulerError::Full { retry_after_s, .. } | SchedulerError::Late { retry_after_s, .. },
                )) if !self.is_ending() => tokio::time::sleep(Duration::from_secs(retry_after_s)).await,
                done => return done,
            }
        }
    }

    /// The bytes of an input, fetched if need be, and its box.
    async fn resolve(&self, input: PhotoInput) -> Result<(Bytes, Option<Area>), ServiceError> {
        let bytes = match input.source {
            PhotoSource::Bytes(bytes) => bytes,
            PhotoSource::Url(url) => self.fetcher.fetch(&url).await?,
        };
        Ok((bytes, input.crop))
    }

    /// Where stage durations go.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What the service looks with now.
    pub fn analyzer(&self) -> Analyzer {
        self.core.live().analyzer.clone()
    }
}

impl Core {
    /// The model and index that answer now. Taken once a request: what it starts with, it finishes with.
    fn live(&self) -> Arc<follow::Live> {
        self.follower.live()
    }

    /// The photo in `bytes`, or its part in `area`, for `analyzer`.
    fn decode(
        &self,
        analyzer: &Analyzer,
        bytes: &[u8],
        area: Option<Area>,
        run: &mut Run<'_>,
    ) -> Result<Photo, ServiceError> {
        Ok(run.time("decode", || analyzer.decode(bytes, area, &self.limits))?)
    }
}

/// The guard, also after a panic under it: what these locks guard is replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the model says.
fn predict(analyzer: &Analyzer, photo: &Photo, run: &mut Run<'_>) -> Result<Prediction, ServiceError> {
    run.still_wanted()?;
    let input = run.time("resize", || analyzer.model().input(photo));
    Ok(run.time("infer", || analyzer.model().predict_tensor(&input))?)
}

/// All stages.
fn look(analyzer: &Analyzer, photo: &Photo, run: &mut Run<'_>) -> Result<Analyzed, ServiceError> {
    let prediction = predict(analyzer, photo, run)?;
    run.still_wanted()?;
    let masks = run.time("mask", || analyzer.segment(photo, &prediction));
    let colors = run.time("color", || analyzer.colors(photo, &masks, &prediction));
    Ok(analyzer.assemble(photo, prediction, masks, colors))
}
