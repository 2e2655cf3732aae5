//! A job from its manifest to its last row. Photos are fetched ahead of those that are looked at; a row that brings a photo
//! ends in the transaction that stores it, the others many at a time.

use super::{KEPT_DAYS, Running, Stop, source};
use crate::catalog::{CatalogError, JobRecord, JobState, NewRow, RowEnd, RowFault, StagedPhoto, Tx, WaitingRow};
use crate::jobs::{self, Base, Got, JobSource, ManifestError, Rows, SourceError, rows_of};
use crate::photo::{Area, Fetched};
use crate::scheduler::{Lane, SchedulerError, Ticket};
use crate::service::uploads::{STORED_AT_ONCE, Seen, image_name, looked_at};
use crate::service::{Core, Service, ServiceError, lock};
use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use url::Url;

/// Rows of a manifest that are taken in at once: some 10 ms of the writer's turn.
const READ_AT_ONCE: usize = 500;
/// Rows that are read ahead of those under way.
const PAGE: usize = 1_000;
/// Rows that end in one transaction, at most.
const ENDED_AT_ONCE: usize = 256;
/// Longest wait of a row for others to end with.
const GATHERED_FOR: Duration = Duration::from_millis(200);
/// Seconds over which the rate of a job is told.
const RATED_S: f64 = 30.0;
/// Pause of the reader of a manifest where the writer's queue is full.
const BUSY_PAUSE: Duration = Duration::from_millis(200);
/// Rows that are changed or removed in one transaction, where many are to be.
const CHANGED_AT_ONCE: usize = 5_000;
/// Days for which the version of a photo is known that nobody asks for: catalogs are imported daily to monthly.
const VERSIONS_KEPT_DAYS: i64 = 90;
const DAY: Duration = Duration::from_secs(86_400);
/// Faults of the store in a row after which a job makes room for the next.
const MAX_FAULTS: u32 = 6;
/// Pause after a fault of the store before the next job is looked for.
const FAULT_PAUSE: Duration = Duration::from_secs(10);

/// How many rows ended when, of late.
#[derive(Default)]
pub(super) struct Rate {
    ended: u64,
    marks: VecDeque<(Instant, u64)>,
}

impl Rate {
    fn add(&mut self, rows: u64) {
        self.ended += rows;
        let now = Instant::now();
        // Half a second apart: some 60 of them.
        if self.marks.back().is_none_or(|(at, _)| now - *at >= Duration::from_millis(500)) {
            self.marks.push_back((now, self.ended));
        }
        while self.marks.len() > 2 && self.marks.front().is_some_and(|(at, _)| (now - *at).as_secs_f64() > RATED_S) {
            self.marks.pop_front();
        }
    }

    pub(super) fn per_s(&self) -> Option<f64> {
        let (at, ended) = self.marks.front()?;
        let seconds = at.elapsed().as_secs_f64();
        (seconds >= 0.5).then(|| (self.ended - ended) as f64 / seconds)
    }
}

/// How a row ends.
enum End {
    /// It is kept already, or waits for the next time.
    Kept,
    /// So.
    As(RowEnd),
    /// It brings no photo: as it turns out when what it says is written.
    Said,
}

/// How a row came out.
struct Outcome {
    row: WaitingRow,
    end: End,
    /// What its server says of the photo: its version and hash.
    version: Option<(String, String)>,
}

/// A photo that is to be looked at.
#[derive(Clone)]
struct Brought {
    row: WaitingRow,
    bytes: Bytes,
    sha256: String,
    etag: Option<String>,
    attempts: u32,
    _memory: Option<Arc<OwnedSemaphorePermit>>,
}

impl Brought {
    /// What is looked at: the photo, or a part of it.
    fn view(&self) -> String {
        self.row.area.map_or_else(|| self.sha256.clone(), |area| format!("{} {area}", self.sha256))
    }
}

/// What was seen on a photo, while it is under way: of rows with the same photo one looks, and the others take what it saw.
type Slot = tokio::sync::Mutex<Option<Seen>>;
type Photos = Mutex<HashMap<String, Arc<Slot>>>;

/// A photo that was looked at, and is to be stored.
struct Looked {
    brought: Brought,
    seen: Seen,
    /// Kept until it is stored: then the catalog says what was seen.
    slot: Arc<Slot>,
}

impl Service {
    /// Runs jobs as they are made, until the service ends. Jobs of commands whose process is gone are ended first: what they
    /// were about, they can be asked again.
    pub async fn run_jobs(&self) {
        let (mut faults, mut cleaned) = (0, None::<Instant>);
        while !self.jobs.is_ending() {
            let next = async {
                if cleaned.is_none_or(|at| at.elapsed() >= DAY) {
                    self.clean_up().await?;
                    cleaned = Some(Instant::now());
                }
                self.patiently(|| self.on_reads(|core, _| Ok(core.catalog.next_job()?))).await
            };
            let (ran, key) = match next.await {
                Ok(Some(job)) => {
                    let key = job.key;
                    (self.run_job(job).await, Some(key))
                }
                Ok(None) => {
                    // Once a day there is old to be removed.
                    let _ = tokio::time::timeout(DAY, self.jobs.wake.notified()).await;
                    continue;
                }
                Err(error) => (Err(error), None),
            };
            let Err(error) = ran else {
                faults = 0;
                continue;
            };
            faults += 1;
            tracing::error!(%error, faults, "a job cannot go on for now");
            if let Some(key) = key.filter(|_| faults >= MAX_FAULTS) {
                // The next one may.
                faults = 0;
                let failure = format!("paused after {MAX_FAULTS} faults: {error}");
                let pause = move |tx: &mut Tx<'_>| Ok(tx.set_job_state(key, JobState::Paused, Some(&failure))?);
                if let Err(error) = self.on_writes(pause).await {
                    tracing::error!(%error, "the job was not paused");
                }
            } else {
                tokio::time::sleep(FAULT_PAUSE).await;
            }
        }
    }

    /// Ends jobs of commands whose process is gone; removes jobs that ended long ago, dead deliveries and old changes, some at a time.
    pub(super) async fn clean_up(&self) -> Result<(), ServiceError> {
        let end = |tx: &mut Tx<'_>| {
            for job in tx.open_jobs()? {
                if source(&job)?.is_local() {
                    tx.set_job_state(job.key, JobState::Cancelled, Some("its import was interrupted; run it again"))?;
                }
            }
            Ok(())
        };
        self.on_writes(end).await?;
        self.trim_log().await?;
        let before = OffsetDateTime::now_utc() - time::Duration::days(KEPT_DAYS);
        while self.on_writes(move |tx| Ok(tx.drop_job(before, CHANGED_AT_ONCE)?)).await? {}
        while self.on_writes(move |tx| Ok(tx.drop_deliveries(before, CHANGED_AT_ONCE)?)).await? {}
        let before = OffsetDateTime::now_utc() - time::Duration::days(VERSIONS_KEPT_DAYS);
        while self.on_writes(move |tx| Ok(tx.drop_photo_sources(before, CHANGED_AT_ONCE)?)).await? {}
        Ok(())
    }

    /// Runs one job, of a command, to its end or until the service ends.
    ///
    /// # Errors
    /// When the store fails, or the job is unknown.
    pub async fn run_job_alone(&self, id: &str) -> Result<(), ServiceError> {
        let id = id.to_owned();
        let job = self.on_reads(move |core, _| Ok(core.catalog.job(&id)?)).await?;
        self.run_job(job).await
    }

    async fn run_job(&self, job: JobRecord) -> Result<(), ServiceError> {
        let (stop, rate) = (Arc::new(Stop::default()), Arc::new(Mutex::default()));
        *lock(&self.jobs.running) = Some(Running { key: job.key, stop: Arc::clone(&stop), rate: Arc::clone(&rate) });
        if self.jobs.is_ending() {
            stop.set();
        }
        let (id, key) = (job.id.clone(), job.key);
        let ran = self.rows_of_job(job, &stop, &rate).await;
        *lock(&self.jobs.running) = None;
        if let Err(error) = &ran {
            let failure = format!("cannot go on for now: {error}");
            let tell = move |tx: &mut Tx<'_>| match tx.expect_job(&id)?.state {
                JobState::Running => Ok(tx.set_job_state(key, JobState::Running, Some(&failure))?),
                _ => Ok(()),
            };
            // Where the store is what fails, this fails too, and the log says it.
            let _ = self.on_writes(tell).await;
        }
        ran
    }

    async fn rows_of_job(&self, job: JobRecord, stop: &Arc<Stop>, rate: &Mutex<Rate>) -> Result<(), ServiceError> {
        let (id, key) = (job.id.clone(), job.key);
        // Paused or ended since it was looked for: then it is not this one's turn.
        let begin = move |tx: &mut Tx<'_>| {
            let begins = matches!(tx.expect_job(&id)?.state, JobState::Queued | JobState::Running);
            if begins {
                tx.set_job_state(key, JobState::Running, None)?;
            }
            Ok(begins)
        };
        if !self.on_writes(begin).await? {
            return Ok(());
        }
        while self.on_writes(move |tx| Ok(tx.retry_rows(key, CHANGED_AT_ONCE)?)).await? {}
        tracing::info!(job = job.id, "job runs");
        if !job.is_read
            && let Err(error) = self.read_manifest(&job, stop).await
        {
            let Some(failure) = fault_of_manifest(&error) else { return Err(error) };
            tracing::warn!(job = job.id, failure, "the manifest of a job cannot be read");
            return self.settle(&job, JobState::Failed, Some(failure)).await;
        }
        if stop.is_set() {
            return Ok(());
        }
        self.bring_rows(key, stop, rate).await?;
        if stop.is_set() {
            return Ok(());
        }
        self.settle(&job, JobState::Done, None).await?;
        tracing::info!(job = job.id, "job done");
        Ok(())
    }

    /// Ends a job that runs; one that was paused or ended meanwhile stays so.
    async fn settle(&self, job: &JobRecord, to: JobState, failure: Option<String>) -> Result<(), ServiceError> {
        let (id, key) = (job.id.clone(), job.key);
        let end = move |tx: &mut Tx<'_>| {
            if tx.expect_job(&id)?.state == JobState::Running {
                tx.set_job_state(key, to, failure.as_deref())?;
            }
            Ok(tx.expect_job(&id)?.state)
        };
        if self.on_writes(end).await?.is_ended() {
            self.jobs.remove_manifest(&job.id);
        }
        Ok(())
    }

    /// Takes in all rows, from the first: what an earlier try had taken in is forgotten.
    async fn read_manifest(&self, job: &JobRecord, stop: &Arc<Stop>) -> Result<(), ServiceError> {
        let (key, stopped, stop) = (job.key, stop, Arc::clone(stop));
        let core = Arc::clone(&self.core);
        let writes = Arc::clone(&self.writes);
        let write = {
            let stop = Arc::clone(&stop);
            // False: it is to stop, and they are not written.
            move |rows: Vec<NewRow>| -> Result<bool, ServiceError> {
                let rows = Arc::new(rows);
                while !stop.is_set() {
                    let (core, rows) = (Arc::clone(&core), Arc::clone(&rows));
                    let add = move |_: &Ticket<'_>| core.catalog.write(|tx| tx.add_rows(key, &rows)).map(drop);
                    match writes.run_blocking(Lane::Bulk, add) {
                        Err(SchedulerError::Full { .. } | SchedulerError::Late { .. }) => {
                            std::thread::sleep(BUSY_PAUSE);
                        }
                        done => return done?.map(|()| true).map_err(ServiceError::from),
                    }
                }
                Ok(false)
            }
        };
        while self.on_writes(move |tx| Ok(tx.forget_rows(key, CHANGED_AT_ONCE)?)).await? {}
        let source = source(job)?;
        let (manifest, files) = (self.jobs.manifest(&job.id), self.jobs.config.access.files.clone());
        if let JobSource::Uri { uri, .. } = &source
            && !uri.starts_with("file:")
        {
            tokio::select! {
                fetched = self.fetch_manifest(uri, &manifest) => fetched?,
                () = stopped.wait() => return Ok(()),
            }
        }
        let read = move || -> Result<Option<Vec<String>>, ServiceError> {
            let mut taken = Vec::with_capacity(READ_AT_ONCE);
            let mut take = |row: NewRow| -> Result<bool, ServiceError> {
                taken.push(row);
                if taken.len() == READ_AT_ONCE {
                    return write(std::mem::replace(&mut taken, Vec::with_capacity(READ_AT_ONCE)));
                }
                Ok(!stop.is_set())
            };
            let mut rows = match source {
                JobSource::Folder { path } => {
                    for row in rows_of(&path)? {
                        if !take(row)? {
                            return Ok(None);
                        }
                    }
                    return Ok(write(taken)?.then(Vec::new));
                }
                JobSource::File { path } => jobs::open_file(&path)?,
                JobSource::Body { format } => {
                    Rows::of_file(File::open(&manifest).map_err(ManifestError::from)?, format, Base::Nowhere)?
                }
                JobSource::Uri { uri, format } => {
                    let url = Url::parse(&uri).map_err(|_| SourceError::Scheme)?;
                    match url.to_file_path() {
                        // A path beside it is one of a file system: `#` and `%` are letters there.
                        Ok(path) if url.scheme() == "file" => {
                            let base = Base::of_file(&path).map_err(ManifestError::from)?;
                            Rows::of_file(jobs::open(&path, &files)?, format, base)?
                        }
                        _ => Rows::of_file(
                            File::open(&manifest).map_err(ManifestError::from)?,
                            format,
                            Base::Beside(url),
                        )?,
                    }
                }
            };
            for row in rows.by_ref() {
                if !take(row?)? {
                    return Ok(None);
                }
            }
            let ignored = rows.ignored().to_vec();
            Ok(write(taken)?.then_some(ignored))
        };
        let read = tokio::task::spawn_blocking(read).await.map_err(|_| SchedulerError::Panicked)??;
        if let Some(ignored) = read {
            self.on_writes(move |tx| Ok(tx.end_reading(key, &ignored)?)).await?;
        }
        Ok(())
    }

    /// Fetches a manifest to the disk, again after a pause where that may help.
    async fn fetch_manifest(&self, uri: &str, path: &Path) -> Result<(), ServiceError> {
        let sources = &self.jobs.sources;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut file = File::create(path).map_err(CatalogError::io("create", path))?;
            // Pieces of some KiB go to the page cache: no wait that a runtime would mind.
            let write = |piece: Bytes| Ok(file.write_all(&piece).map_err(CatalogError::io("write", path))?);
            match sources.manifest(uri, self.jobs.config.manifest_bytes, write).await {
                Err(ServiceError::Source(error)) if sources.pause_after(attempt, &error).await => {}
                Err(ServiceError::Fetch(error)) if sources.pause_after(attempt, &error.clone().into()).await => {}
                ended => return ended,
            }
        }
    }

    async fn bring_rows(&self, key: u64, stop: &Stop, rate: &Mutex<Rate>) -> Result<(), ServiceError> {
        let config = &self.jobs.config;
        let photos = Photos::default();
        let rows = self.waiting(key).take_while(|_| std::future::ready(!stop.is_set()));
        let brought = rows.map(|row| async { self.bring(row?, stop).await }).buffer_unordered(config.fetches.max(1));
        let photos = &photos;
        let looked = brought
            .map(|brought| async move {
                match brought? {
                    Ok(brought) => self.look_at_row(brought, photos).await,
                    Err(outcome) => Ok(Err(outcome)),
                }
            })
            .buffer_unordered(config.in_flight.max(1));
        let mut looked = pin!(looked);
        let mut ending = None;
        loop {
            let gathered = gather(&mut looked);
            // Some rows end while the next are gathered.
            let batch = match ending.take() {
                None => gathered.await,
                Some(ending) => {
                    let (rows, batch) = tokio::join!(ending, gathered);
                    lock(rate).add(rows?);
                    batch
                }
            };
            let Some(batch) = batch else { return Ok(()) };
            ending = Some(self.end_batch(key, batch?, photos).boxed());
        }
    }

    /// Rows that wait, page by page.
    fn waiting(&self, key: u64) -> impl Stream<Item = Result<WaitingRow, ServiceError>> {
        let first = (VecDeque::<WaitingRow>::new(), 0u64);
        stream::unfold(Some(first), move |state| async move {
            let (mut page, mut after) = state?;
            if page.is_empty() {
                match self
                    .patiently(|| self.on_reads(move |core, _| Ok(core.catalog.waiting_rows(key, after, PAGE)?)))
                    .await
                {
                    Ok(rows) => page = rows.into(),
                    Err(error) => return Some((Err(error), None)),
                }
            }
            let row = page.pop_front()?;
            after = row.row;
            Some((Ok(row), Some((page, after))))
        })
    }

    /// Fetches the photo of a row, unless the catalog has it as it is.
    async fn bring(&self, row: WaitingRow, stop: &Stop) -> Result<Result<Brought, Outcome>, ServiceError> {
        let Some(uri) = row.uri.clone() else { return Ok(Err(Outcome { row, end: End::Said, version: None })) };
        let known = match uri.starts_with("file:") {
            // Nobody says which version a file is.
            true => None,
            false => self.patiently(|| self.known_version(row.clone())).await?,
        };
        // A task of its own: it goes on, and its time is not up, while what comes after it is waited for.
        let mut task = JoinSet::new();
        let jobs = Arc::clone(&self.jobs);
        let etag = known.as_ref().map(|(etag, _)| etag.clone());
        task.spawn(async move { jobs.sources.get(&uri, etag.as_deref()).await });
        let fetched = tokio::select! {
            fetched = task.join_next() => fetched,
            // It waits for the next time.
            () = stop.wait() => return Ok(Err(Outcome { row, end: End::Kept, version: None })),
        };
        let Some(Ok((fetched, attempts))) = fetched else { return Err(SchedulerError::Panicked.into()) };
        let got = match fetched {
            Ok(Some(got)) => got,
            // Its version is noted once more: it is in use.
            Ok(None) => return Ok(Err(Outcome { row, end: End::As(RowEnd::Unchanged), version: known })),
            Err(error) => {
                return Ok(Err(failed(row, error.cause(), &error.to_string(), attempts, error.is_retryable())));
            }
        };
        let Got { fetched: Fetched { bytes, etag }, memory } = got;
        let (sha256, is_current) = self.patiently(|| self.hashed(row.clone(), bytes.clone())).await?;
        if is_current {
            let version = etag.map(|etag| (etag, sha256));
            return Ok(Err(Outcome { row, end: End::As(RowEnd::Unchanged), version }));
        }
        Ok(Ok(Brought { row, bytes, sha256, etag, attempts, _memory: memory.map(Arc::new) }))
    }

    /// The version that a row's photo had when it was fetched last, where the catalog has it as it was then.
    async fn known_version(&self, row: WaitingRow) -> Result<Option<(String, String)>, ServiceError> {
        self.on_reads(move |core, _| {
            let Some(uri) = &row.uri else { return Ok(None) };
            let Some((etag, sha256)) = core.catalog.photo_source(uri)? else { return Ok(None) };
            Ok(core.is_current(&row, &sha256)?.then_some((etag, sha256)))
        })
        .await
    }

    /// The hash of a photo, and whether the catalog has it for the row.
    async fn hashed(&self, row: WaitingRow, bytes: Bytes) -> Result<(String, bool), ServiceError> {
        // Behind searches: 20 MiB take some 20 ms.
        self.run(&self.reads, Lane::Bulk, false, move |core, _| {
            let sha256 = hex::encode(Sha256::digest(&bytes));
            let is_current = core.is_current(&row, &sha256)?;
            Ok((sha256, is_current))
        })
        .await
    }

    /// Looks at a photo, unless it was looked at for another row.
    async fn look_at_row(&self, brought: Brought, photos: &Photos) -> Result<Result<Looked, Outcome>, ServiceError> {
        let slot = Arc::clone(lock(photos).entry(brought.view()).or_default());
        let mut known = slot.lock().await;
        let seen = match &*known {
            Some(seen) => Ok(seen.clone()),
            None => self.see(&brought).await,
        };
        if let Ok(seen) = &seen {
            *known = Some(seen.clone());
        }
        drop(known);
        match seen {
            Ok(seen) => Ok(Ok(Looked { brought, seen, slot })),
            Err(error) => {
                leave(photos, &brought.view(), &slot);
                refused(brought.row, brought.attempts, error).map(Err)
            }
        }
    }

    /// What the live model sees on a photo.
    async fn see(&self, brought: &Brought) -> Result<Seen, ServiceError> {
        let known = self.patiently(|| {
            let (sha256, area) = (brought.sha256.clone(), brought.row.area);
            self.on_reads(move |core, _| core.seen(&sha256, area))
        });
        match known.await? {
            Some(seen) => Ok(seen),
            None => self.patiently(|| self.look_to_store(brought.bytes.clone(), brought.row.area)).await,
        }
    }

    /// Ends rows; gives how many.
    async fn end_batch(
        &self,
        key: u64,
        batch: Vec<Result<Looked, Outcome>>,
        photos: &Photos,
    ) -> Result<u64, ServiceError> {
        let count = batch.len() as u64;
        let (mut looked, mut outcomes) = (Vec::new(), Vec::new());
        for row in batch {
            match row {
                Ok(row) => looked.push(row),
                Err(Outcome { end: End::Kept, .. }) => {}
                Err(outcome) => outcomes.push(outcome),
            }
        }
        let looked = Arc::new(looked);
        let stored = if looked.is_empty() { Vec::new() } else { self.store_rows(key, &looked).await? };
        for (row, stored) in looked.iter().zip(stored) {
            leave(photos, &row.brought.view(), &row.slot);
            let stored = match stored {
                Err(ServiceError::Catalog(CatalogError::OtherModel { .. })) => self.look_and_store(key, row).await,
                stored => stored,
            };
            if let Err(error) = stored {
                outcomes.push(refused(row.brought.row.clone(), row.brought.attempts, error)?);
            }
        }
        if !outcomes.is_empty() {
            self.end_rows(key, outcomes).await?;
        }
        Ok(count)
    }

    /// Stores photos that were looked at, each with how its row ended, in one transaction; gives what is wrong with which row.
    async fn store_rows(
        &self,
        key: u64,
        looked: &Arc<Vec<Looked>>,
    ) -> Result<Vec<Result<(), ServiceError>>, ServiceError> {
        self.patiently(|| {
            let looked = Arc::clone(looked);
            self.run(&self.writes, Lane::Bulk, false, move |core, run| {
                let store = |tx: &mut Tx<'_>, row: &Looked, photo| store_row(tx, key, row, photo);
                core.store_photos(&looked, |row| &row.brought.bytes, store, run)
            })
        })
        .await
    }

    /// Looks at a photo once more, since another model became live, and stores it alone.
    async fn look_and_store(&self, key: u64, row: &Looked) -> Result<(), ServiceError> {
        looked_at(|| async {
            let seen = self.see(&row.brought).await?;
            let again = Looked { brought: row.brought.clone(), seen, slot: Arc::clone(&row.slot) };
            self.store_rows(key, &Arc::new(vec![again])).await?.pop().unwrap_or(Ok(()))
        })
        .await
    }

    /// Keeps how rows ended that brought no photo; what they say of products that are there is taken all the same.
    async fn end_rows(&self, key: u64, outcomes: Vec<Outcome>) -> Result<(), ServiceError> {
        let outcomes = Arc::new(outcomes);
        self.on_writes(move |tx| {
            for Outcome { row, end, version } in outcomes.iter() {
                let end = match end {
                    End::Kept => continue,
                    End::Said => &tx.change_job_product(key, &row.product_id)?,
                    End::As(end) => end,
                };
                if *end == RowEnd::Unchanged {
                    tx.put_job_product(key, &row.product_id)?;
                }
                end_row(tx, key, row, end, version.as_ref())?;
            }
            Ok(())
        })
        .await
    }
}

impl Core {
    /// Whether the catalog shows this photo for the row, seen by the live model.
    fn is_current(&self, row: &WaitingRow, sha256: &str) -> Result<bool, ServiceError> {
        let image_id = row.image_id.clone().unwrap_or_else(|| image_name(sha256, row.area));
        let Some(stored) = self.catalog.image(&row.product_id, &image_id)? else { return Ok(false) };
        let analysis = stored.image.analysis;
        Ok(analysis.sha256 == sha256 && stored.area == row.area && analysis.model_version == self.live().version())
    }

    /// What the live model saw on this part of a photo for another image; nothing while another model is about to become live,
    /// which is to see it too.
    fn seen(&self, sha256: &str, area: Option<Area>) -> Result<Option<Seen>, ServiceError> {
        if self.second().is_some() {
            return Ok(None);
        }
        let seen = self.catalog.seen(self.live().version(), sha256, area)?;
        Ok(seen.map(|seen| Seen::before(seen, area)))
    }
}

/// Rows that end together: as many as may, or those that are there when the first has waited long enough. `None`: there are no more.
async fn gather(
    rows: &mut (impl Stream<Item = Result<Result<Looked, Outcome>, ServiceError>> + Unpin),
) -> Option<Result<Vec<Result<Looked, Outcome>>, ServiceError>> {
    let mut batch = vec![match rows.next().await? {
        Ok(row) => row,
        Err(error) => return Some(Err(error)),
    }];
    let until = tokio::time::Instant::now() + GATHERED_FOR;
    let mut photos = usize::from(batch.iter().any(Result::is_ok));
    while batch.len() < ENDED_AT_ONCE && photos < STORED_AT_ONCE {
        match tokio::time::timeout_at(until, rows.next()).await {
            Ok(Some(Ok(row))) => {
                photos += usize::from(row.is_ok());
                batch.push(row);
            }
            Ok(Some(Err(error))) => return Some(Err(error)),
            Ok(None) | Err(_) => break,
        }
    }
    Some(Ok(batch))
}

/// A row is through with its photo: who holds its slot keeps it, and who comes later asks the catalog.
fn leave(photos: &Photos, view: &str, slot: &Arc<Slot>) {
    let mut photos = lock(photos);
    if photos.get(view).is_some_and(|known| Arc::ptr_eq(known, slot)) {
        photos.remove(view);
    }
}

/// Stores a photo, and how its row ended.
fn store_row(tx: &mut Tx<'_>, key: u64, looked: &Looked, photo: StagedPhoto) -> Result<(), ServiceError> {
    let Looked { brought: Brought { row, sha256, etag, .. }, seen, .. } = looked;
    let version = etag.clone().map(|etag| (etag, sha256.clone()));
    tx.put_job_product(key, &row.product_id)?;
    seen.clone().put(tx, &row.product_id, row.image_id.clone(), photo)?;
    end_row(tx, key, row, &RowEnd::Done, version.as_ref())
}

/// How a row ends whose photo cannot be used; what is not its fault is nobody's.
fn refused(row: WaitingRow, attempts: u32, error: ServiceError) -> Result<Outcome, ServiceError> {
    if !is_rows_fault(&error) {
        return Err(error);
    }
    Ok(failed(row, error.cause(), &error.to_string(), attempts, false))
}

/// Ends a row, and keeps what its server says of its photo.
fn end_row(
    tx: &mut Tx<'_>,
    key: u64,
    row: &WaitingRow,
    end: &RowEnd,
    version: Option<&(String, String)>,
) -> Result<(), ServiceError> {
    if let (Some((etag, sha256)), Some(uri)) = (version, &row.uri) {
        tx.set_photo_source(uri, etag, sha256)?;
    }
    Ok(tx.end_row(key, row.row, end)?)
}

fn failed(row: WaitingRow, cause: &str, detail: &str, attempts: u32, retryable: bool) -> Outcome {
    let fault = RowFault { cause: cause.to_owned(), detail: detail.to_owned(), attempts, retryable };
    Outcome { row, end: End::As(RowEnd::Failed(fault)), version: None }
}

/// A photo that cannot be used or looked at, or a product that cannot take it, ends a row; whatever else fails is the store's,
/// and no row's.
fn is_rows_fault(error: &ServiceError) -> bool {
    match error {
        ServiceError::Photo(_) | ServiceError::Model(_) | ServiceError::Scheduler(SchedulerError::Panicked) => true,
        ServiceError::Catalog(error) => matches!(
            error,
            CatalogError::Invalid { .. } | CatalogError::TooManyImages { .. } | CatalogError::OtherModel { .. }
        ),
        _ => false,
    }
}

/// What is wrong with a manifest, where it is that and not the store.
fn fault_of_manifest(error: &ServiceError) -> Option<String> {
    match error {
        ServiceError::Manifest(_)
        | ServiceError::Source(_)
        | ServiceError::Fetch(_)
        | ServiceError::Folder(_)
        | ServiceError::ManifestTooLong { .. } => Some(error.to_string()),
        _ => None,
    }
}
