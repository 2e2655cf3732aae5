//! Bulk jobs: made, told of, paused and ended here; `run` brings their rows, one job at a time, in the order in which they were
//! made. What a job is and how far it has come lies in the store: a process that dies leaves a job to the next.

mod run;

use super::read::{encode_cursor, number_in};
use super::{Core, Reply, Service, ServiceError, lock};
use crate::catalog::{Catalog, CatalogError, FailedCause, FailedRow, IdempotencyKey, JobRecord, JobState, Tx};
use crate::jobs::{Access, Job, JobSource, SourceConfig, Sources};
use crate::photo::Fetcher;
use crate::scheduler::{Lane, SchedulerError};
use run::Rate;
use serde::Serialize;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, watch};
use utoipa::ToSchema;

/// The manifests' folder below the data directory.
const FOLDER: &str = "jobs";
/// What a cursor of jobs begins with, and one of rows.
const JOBS: &str = "jobs/";
const ROWS: &str = "rows/";
/// Failed rows of a cause that are told in full.
const EXAMPLES: usize = 3;
/// Jobs that wait, run or are paused.
const MAX_OPEN: u64 = 1_000;
/// Days for which an ended job is kept.
const KEPT_DAYS: i64 = 30;

/// How jobs are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobsConfig {
    /// What may be read, beside what may be fetched.
    pub access: Access,
    /// How photos are asked for.
    pub sources: SourceConfig,
    /// Photos that are fetched at a time, ahead of those that are looked at.
    pub fetches: usize,
    /// Photos that are looked at and stored at a time.
    pub in_flight: usize,
    /// Bytes of photos that are fetched and not stored yet.
    pub buffered_bytes: usize,
    /// Bytes of a manifest.
    pub manifest_bytes: u64,
}

/// A page of jobs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct JobPage {
    /// The newest first.
    pub items: Vec<Job>,
    /// Cursor of the next page; `null` on the last.
    pub next_cursor: Option<String>,
}

/// A page of rows that failed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FailedRowPage {
    /// In the order of the manifest.
    pub items: Vec<FailedRow>,
    /// Cursor of the next page; `null` on the last.
    pub next_cursor: Option<String>,
}

/// What runs jobs, and what it does.
pub(super) struct Jobs {
    config: JobsConfig,
    sources: Sources,
    dir: PathBuf,
    running: Mutex<Option<Running>>,
    /// Somebody made a job, or resumed one.
    wake: Notify,
    /// No row is begun any more.
    ending: AtomicBool,
}

/// Whether a job is to begin nothing any more, for those who look and for those who wait.
#[derive(Default)]
struct Stop(watch::Sender<bool>);

impl Stop {
    fn set(&self) {
        self.0.send_replace(true);
    }

    fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    async fn wait(&self) {
        // The sender is here.
        let _ = self.0.subscribe().wait_for(|is_set| *is_set).await;
    }
}

/// The job that runs.
struct Running {
    key: u64,
    stop: Arc<Stop>,
    rate: Arc<Mutex<Rate>>,
}

impl Jobs {
    pub(super) fn new(
        config: JobsConfig,
        fetcher: Fetcher,
        photo_bytes: usize,
        data_dir: &Path,
        catalog: &Catalog,
    ) -> Result<Self, ServiceError> {
        let dir = data_dir.join(FOLDER);
        fs::create_dir_all(&dir).map_err(CatalogError::io("create", &dir))?;
        // Before anybody can send one.
        remove_lost(&dir, catalog);
        let access = config.access.clone();
        Ok(Self {
            sources: Sources::new(fetcher, access, photo_bytes, config.buffered_bytes, config.sources),
            config,
            dir,
            running: Mutex::default(),
            wake: Notify::new(),
            ending: AtomicBool::new(false),
        })
    }

    /// Where the manifest of a job lies that was sent.
    fn manifest(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}.manifest"))
    }

    /// Begins no row any more.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(running) = &*lock(&self.running) {
            running.stop.set();
        }
        self.wake.notify_one();
    }

    fn remove_manifest(&self, id: &str) {
        // A job that was not sent has none.
        let _ = fs::remove_file(self.manifest(id));
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Begins no row of this job any more.
    fn stop(&self, key: u64) {
        if let Some(running) = lock(&self.running).as_ref().filter(|running| running.key == key) {
            running.stop.set();
        }
    }

    fn rows_per_s(&self, key: u64) -> Option<f64> {
        let running = lock(&self.running);
        let running = running.as_ref().filter(|running| running.key == key)?;
        lock(&running.rate).per_s()
    }
}

/// A manifest on its way to the disk; gone unless a job was made of it.
pub struct Spool {
    id: String,
    path: PathBuf,
    file: File,
    left: u64,
    limit: u64,
    kept: bool,
}

impl Spool {
    /// Takes in more of the manifest; blocks on the disk.
    ///
    /// # Errors
    /// When it is too long, or the disk fails.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ServiceError> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or(ServiceError::ManifestTooLong { limit: self.limit })?;
        Ok(self.file.write_all(bytes).map_err(CatalogError::io("write", &self.path))?)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if !self.kept {
            // The next start removes what is left.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Service {
    /// Room for a manifest that is being sent; blocks on the disk.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn spool(&self) -> Result<Spool, ServiceError> {
        let id = uuid::Uuid::new_v4().to_string();
        let path = self.jobs.manifest(&id);
        let file = File::create_new(&path).map_err(CatalogError::io("create", &path))?;
        let limit = self.jobs.config.manifest_bytes;
        Ok(Spool { id, path, file, left: limit, limit, kept: false })
    }

    /// Queues a job of a manifest that was sent. Body: a [`Job`].
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn create_sent_job(
        &self,
        spool: Spool,
        source: JobSource,
        once: Option<IdempotencyKey>,
    ) -> Result<Reply, ServiceError> {
        let dir = self.jobs.dir.clone();
        // Its name too: a job is not to outlive its manifest.
        let sync = move || match spool.file.sync_all().and_then(|()| File::open(dir)?.sync_all()) {
            Ok(()) => Ok(spool),
            Err(error) => Err(CatalogError::io("sync", &spool.path)(error)),
        };
        let spool = tokio::task::spawn_blocking(sync).await.map_err(|_| SchedulerError::Panicked)??;
        self.queue_job(spool.id.clone(), source, Some(spool), once).await
    }

    /// Queues a job. Body: a [`Job`].
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn create_job(&self, source: JobSource, once: Option<IdempotencyKey>) -> Result<Reply, ServiceError> {
        self.queue_job(uuid::Uuid::new_v4().to_string(), source, None, once).await
    }

    async fn queue_job(
        &self,
        id: String,
        source: JobSource,
        spool: Option<Spool>,
        once: Option<IdempotencyKey>,
    ) -> Result<Reply, ServiceError> {
        let json = serde_json::to_string(&source).map_err(ServiceError::Encode)?;
        let jobs = Arc::clone(&self.jobs);
        let queue = move |tx: &mut Tx<'_>| {
            if tx.count_open_jobs()? >= MAX_OPEN {
                return Err(ServiceError::TooManyJobs { limit: MAX_OPEN });
            }
            super::write::answer(true, &Job::new(tx.create_job(&id, &json)?, source, None))
        };
        let then = move |reply: &Reply| {
            if let Some(mut spool) = spool {
                spool.kept = !reply.replayed;
            }
            jobs.wake.notify_one();
        };
        self.write_then(once, queue, then).await
    }

    /// Makes a job of a command, which runs it itself ([`Service::run_job_alone`]); gives its id.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn create_local_job(&self, source: JobSource) -> Result<String, ServiceError> {
        let id = uuid::Uuid::new_v4().to_string();
        let json = serde_json::to_string(&source).map_err(ServiceError::Encode)?;
        self.clean_up().await?;
        let job = self.on_writes(move |tx| Ok(tx.create_job(&id, &json)?));
        Ok(job.await?.id)
    }

    /// Ends a job of a command, where it has not: it was stopped.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn end_local_job(&self, id: &str) -> Result<Job, ServiceError> {
        let id = id.to_owned();
        let end = move |tx: &mut Tx<'_>| {
            let job = tx.expect_job(&id)?;
            if !job.state.is_ended() {
                tx.set_job_state(job.key, JobState::Cancelled, None)?;
            }
            Ok(tx.expect_job(&id)?)
        };
        let record = self.on_writes(end).await?;
        self.told(record)
    }

    /// Failed rows of a job by cause, the first few of each in full.
    ///
    /// # Errors
    /// When it is unknown.
    pub async fn failed_causes(&self, id: &str) -> Result<Vec<FailedCause>, ServiceError> {
        let id = id.to_owned();
        self.on_reads(move |core, _| Ok(core.catalog.failed_causes(core.catalog.job(&id)?.key, EXAMPLES)?)).await
    }

    /// A job.
    ///
    /// # Errors
    /// When it is unknown.
    pub async fn job(&self, id: &str) -> Result<Job, ServiceError> {
        let id = id.to_owned();
        let record = self.on_reads(move |core, _| Ok(core.catalog.job(&id)?)).await?;
        self.told(record)
    }

    /// Jobs, the newest first.
    ///
    /// # Errors
    /// When the cursor is not one of this listing.
    pub async fn jobs(&self, cursor: Option<&str>, limit: usize) -> Result<JobPage, ServiceError> {
        let before = cursor.map(|cursor| number_in(cursor, JOBS)).transpose()?.unwrap_or(u64::MAX);
        let records = self.on_reads(move |core, _| Ok(core.catalog.jobs(before, limit)?)).await?;
        let last = records.last().filter(|_| records.len() == limit).map(|record| record.key);
        let items = records.into_iter().map(|record| self.told(record)).collect::<Result<_, _>>()?;
        Ok(JobPage { items, next_cursor: last.map(|key| encode_cursor(&format!("{JOBS}{key}"))) })
    }

    /// Rows of a job that failed, in the order of its manifest.
    ///
    /// # Errors
    /// When the job is unknown, or the cursor not one of this listing.
    pub async fn failed_rows(
        &self,
        id: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<FailedRowPage, ServiceError> {
        let after = cursor.map(|cursor| number_in(cursor, ROWS)).transpose()?.unwrap_or(0);
        let id = id.to_owned();
        let items = self
            .on_reads(move |core, _| Ok(core.catalog.failed_rows(core.catalog.job(&id)?.key, after, limit)?))
            .await?;
        let last = items.last().filter(|_| items.len() == limit).map(|row| row.row);
        Ok(FailedRowPage { items, next_cursor: last.map(|row| encode_cursor(&format!("{ROWS}{row}"))) })
    }

    /// Lets a job wait; rows that are under way end.
    ///
    /// # Errors
    /// When it is unknown, or has ended.
    pub async fn pause_job(&self, id: &str) -> Result<Job, ServiceError> {
        self.change_job(id, JobState::Paused, |state| matches!(state, JobState::Queued | JobState::Running)).await
    }

    /// Lets a job that waits go on.
    ///
    /// # Errors
    /// When it is unknown, or has ended.
    pub async fn resume_job(&self, id: &str) -> Result<Job, ServiceError> {
        self.change_job(id, JobState::Queued, |state| state == JobState::Paused).await
    }

    /// Ends a job; rows that are under way end, and what was done stays.
    ///
    /// # Errors
    /// When it is unknown, or has ended otherwise.
    pub async fn cancel_job(&self, id: &str) -> Result<Job, ServiceError> {
        self.change_job(id, JobState::Cancelled, |state| !state.is_ended()).await
    }

    /// Tries the rows of an ended job again that failed, where there is something to fetch.
    ///
    /// # Errors
    /// When it is unknown, or has not ended.
    pub async fn retry_job(&self, id: &str) -> Result<Job, ServiceError> {
        let id = id.to_owned();
        let retry = move |tx: &mut Tx<'_>| {
            let job = tx.expect_job(&id)?;
            let source = source(&job)?;
            let again = match job.state {
                JobState::Done if !source.is_local() => tx.order_retry(job.key)?,
                // Its manifest could not be read; one that was sent is gone.
                JobState::Failed if matches!(source, JobSource::Uri { .. }) => true,
                state => return Err(ServiceError::JobState { id, state, wanted: "tried again" }),
            };
            if again {
                tx.set_job_state(job.key, JobState::Queued, None)?;
            }
            Ok(tx.expect_job(&id)?)
        };
        self.change(retry, |jobs, _| jobs.wake.notify_one()).await
    }

    /// Changes a job in a transaction, ahead of bulk writes, and lets the runner know; both happen also where whoever asked goes.
    async fn change<F, G>(&self, work: F, then: G) -> Result<Job, ServiceError>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<JobRecord, ServiceError> + Send + 'static,
        G: FnOnce(&Jobs, &JobRecord) + Send + 'static,
    {
        let jobs = Arc::clone(&self.jobs);
        let record = self.change_then(work, move |record| then(&jobs, record)).await?;
        self.told(record)
    }

    async fn change_job(
        &self,
        id: &str,
        to: JobState,
        may: impl FnOnce(JobState) -> bool + Send + 'static,
    ) -> Result<Job, ServiceError> {
        let id = id.to_owned();
        let change = move |tx: &mut Tx<'_>| {
            let job = tx.expect_job(&id)?;
            let is_there = job.state == to || (to == JobState::Queued && job.state == JobState::Running);
            if is_there {
                return Ok(job);
            }
            if !may(job.state) {
                let wanted = match to {
                    JobState::Paused => "paused",
                    JobState::Cancelled => "cancelled",
                    _ => "resumed",
                };
                return Err(ServiceError::JobState { id, state: job.state, wanted });
            }
            tx.set_job_state(job.key, to, None)?;
            Ok(tx.expect_job(&id)?)
        };
        let tell = move |jobs: &Jobs, record: &JobRecord| {
            match to {
                JobState::Queued => jobs.wake.notify_one(),
                _ => jobs.stop(record.key),
            }
            if to == JobState::Cancelled {
                jobs.remove_manifest(&record.id);
            }
        };
        self.change(change, tell).await
    }

    fn told(&self, record: JobRecord) -> Result<Job, ServiceError> {
        let rate = self.jobs.rows_per_s(record.key);
        let source = source(&record)?;
        Ok(Job::new(record, source, rate))
    }

    /// Whether jobs and those who watch them are to end.
    pub fn is_ending(&self) -> bool {
        self.jobs.is_ending()
    }

    /// Runs `work` in a transaction, in the writer's turn; a full queue is waited for.
    pub(super) async fn on_writes<T, F>(&self, work: F) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T, ServiceError> + Clone + Send + 'static,
    {
        self.patiently(|| {
            let work = work.clone();
            let written = move |core: &Core, _: &mut super::Run<'_>| Ok(core.catalog.write(work)?.value);
            self.run(&self.writes, Lane::Bulk, false, written)
        })
        .await
    }
}

/// Removes manifests that no job reads any more, and those of which none was made before a crash.
fn remove_lost(dir: &Path, catalog: &Catalog) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let id = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let is_wanted = match catalog.job(id) {
            Ok(job) => !job.state.is_ended() && !job.is_read,
            Err(error) => !matches!(error, CatalogError::UnknownJob { .. }),
        };
        if !is_wanted {
            let _ = fs::remove_file(path);
        }
    }
}

/// Where the rows of a job come from.
fn source(record: &JobRecord) -> Result<JobSource, ServiceError> {
    let corrupt = |error| CatalogError::Corrupt { what: format!("source of job {}: {error}", record.id) };
    Ok(serde_json::from_str(&record.source).map_err(corrupt)?)
}
