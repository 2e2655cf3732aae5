//! Bulk jobs: made, told of, paused and ended here; `run` brings their rows, one job at a time, in the order in which they were
//! made. What a job is and how far it has come lies in the store: a process that dies leaves a job to the next.

mod run;

use super::read::{cursor_text, encode_cursor};
use super::{Core, Reply, Service, ServiceError, lock};
use crate::catalog::{CatalogError, FailedCause, FailedRow, IdempotencyKey, JobRecord, JobState, Tx};
use crate::jobs::{FileAccess, Job, JobSource, SourceConfig, Sources};
use crate::photo::Fetcher;
use crate::scheduler::{Lane, SchedulerError};
use run::Rate;
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, Semaphore};
use utoipa::ToSchema;

/// The manifests' folder below the data directory.
const FOLDER: &str = "jobs";
/// What a cursor of jobs begins with, and one of rows.
const JOBS: &str = "jobs/";
const ROWS: &str = "rows/";
/// Failed rows of a cause that are told in full.
const EXAMPLES: usize = 3;
/// Days for which an ended job is kept.
const KEPT_DAYS: i64 = 30;

/// How jobs are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobsConfig {
    /// Which files of this machine may be read.
    pub files: FileAccess,
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
    /// Bytes that may still be fetched, in KiB.
    memory: Arc<Semaphore>,
    running: Mutex<Option<Running>>,
    /// Somebody made a job, or resumed one.
    wake: Notify,
    /// No row is begun any more.
    ending: AtomicBool,
}

/// The job that runs.
struct Running {
    key: u64,
    stop: Arc<AtomicBool>,
    rate: Arc<Mutex<Rate>>,
}

impl Jobs {
    pub(super) fn new(
        config: JobsConfig,
        fetcher: Fetcher,
        photo_bytes: usize,
        data_dir: &Path,
    ) -> Result<Self, ServiceError> {
        let dir = data_dir.join(FOLDER);
        fs::create_dir_all(&dir).map_err(|source| CatalogError::Io { action: "create", path: dir.clone(), source })?;
        let kib = config.buffered_bytes.max(photo_bytes).div_ceil(1024);
        Ok(Self {
            sources: Sources::new(fetcher, config.files.clone(), photo_bytes, config.sources),
            memory: Arc::new(Semaphore::new(kib.min(Semaphore::MAX_PERMITS))),
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
            running.stop.store(true, Ordering::Relaxed);
        }
        self.wake.notify_one();
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Begins no row of this job any more.
    fn stop(&self, key: u64) {
        if let Some(running) = lock(&self.running).as_ref().filter(|running| running.key == key) {
            running.stop.store(true, Ordering::Relaxed);
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
        self.file.write_all(bytes).map_err(|source| self.fault("write", source))
    }

    fn fault(&self, action: &'static str, source: io::Error) -> ServiceError {
        match source.kind() {
            io::ErrorKind::StorageFull => CatalogError::StorageFull.into(),
            _ => CatalogError::Io { action, path: self.path.clone(), source }.into(),
        }
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
        let created = File::create_new(&path);
        let file = created.map_err(|source| CatalogError::Io { action: "create", path: path.clone(), source })?;
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
        let synced = tokio::task::spawn_blocking(move || match spool.file.sync_all() {
            Ok(()) => Ok(spool),
            Err(error) => Err(spool.fault("sync", error)),
        });
        let mut spool = synced.await.map_err(|_| SchedulerError::Panicked)??;
        let reply = self.queue_job(spool.id.clone(), source, once).await?;
        spool.kept = !reply.replayed;
        Ok(reply)
    }

    /// Queues a job. Body: a [`Job`].
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn create_job(&self, source: JobSource, once: Option<IdempotencyKey>) -> Result<Reply, ServiceError> {
        self.queue_job(uuid::Uuid::new_v4().to_string(), source, once).await
    }

    async fn queue_job(
        &self,
        id: String,
        source: JobSource,
        once: Option<IdempotencyKey>,
    ) -> Result<Reply, ServiceError> {
        let json = serde_json::to_string(&source).map_err(ServiceError::Encode)?;
        let queue = move |tx: &mut Tx<'_>| {
            let job = Job::new(tx.create_job(&id, &json)?, source, None);
            super::write::answer(true, &job)
        };
        let reply = self.write(once, queue).await?;
        self.jobs.wake.notify_one();
        Ok(reply)
    }

    /// Makes a job of a command, which runs it itself ([`Service::run_job_alone`]); gives its id.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn create_local_job(&self, source: JobSource) -> Result<String, ServiceError> {
        let id = uuid::Uuid::new_v4().to_string();
        let json = serde_json::to_string(&source).map_err(ServiceError::Encode)?;
        let job = self.on_writes(move |tx| {
            run::clean_up(tx)?;
            Ok(tx.create_job(&id, &json)?)
        });
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
        let record = self
            .on_writes(move |tx| {
                let job = tx.expect_job(&id)?;
                match job.state {
                    JobState::Done | JobState::Cancelled if tx.retry_rows(job.key)? > 0 => {
                        tx.set_job_state(job.key, JobState::Queued, None)?;
                    }
                    // Nothing failed that can be tried: it stays as it is.
                    JobState::Done | JobState::Cancelled => {}
                    state => return Err(ServiceError::JobState { id, state, wanted: "tried again" }),
                }
                Ok(tx.expect_job(&id)?)
            })
            .await?;
        self.jobs.wake.notify_one();
        self.told(record)
    }

    async fn change_job(
        &self,
        id: &str,
        to: JobState,
        may: impl FnOnce(JobState) -> bool + Send + 'static,
    ) -> Result<Job, ServiceError> {
        let id = id.to_owned();
        let record = self
            .on_writes(move |tx| {
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
            })
            .await?;
        match to {
            JobState::Queued => self.jobs.wake.notify_one(),
            _ => self.jobs.stop(record.key),
        }
        if to == JobState::Cancelled {
            self.remove_manifest(&record.id);
        }
        self.told(record)
    }

    fn remove_manifest(&self, id: &str) {
        // A job that was not sent has none.
        let _ = fs::remove_file(self.jobs.manifest(id));
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
    async fn on_writes<T, F>(&self, work: F) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, ServiceError> + Send + 'static,
    {
        let written = move |core: &Core, _: &mut super::Run<'_>| Ok(core.catalog.write(work)?.value);
        self.run(&self.writes, Lane::Bulk, false, written).await
    }
}

/// Where the rows of a job come from.
fn source(record: &JobRecord) -> Result<JobSource, ServiceError> {
    let corrupt = |error| CatalogError::Corrupt { what: format!("source of job {}: {error}", record.id) };
    Ok(serde_json::from_str(&record.source).map_err(corrupt)?)
}

fn number_in(cursor: &str, of: &str) -> Result<u64, ServiceError> {
    cursor_text(cursor)?.strip_prefix(of).and_then(|number| number.parse().ok()).ok_or(ServiceError::BadCursor)
}
