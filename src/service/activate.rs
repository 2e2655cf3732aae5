//! A change of model without a gap: the new version looks at the whole catalog in the background, in the bulk lane,
//! and at every upload beside the old one, which answers; then the new index is filled beside the old, and one record in
//! the log swaps them. What it has looked at is in the store, so a stop loses nothing and a way back is short.
//!
//! Tried and rejected: replacing analyses in place, so that searches see what the new version has seen so far. They
//! answer from one version too, but from a part of the catalog, for hours.

use super::bundles::Bundles;
use super::{Core, ModelInfo, Run, Service, ServiceError, lock};
use crate::analyzer::{Analyzed, Analyzer};
use crate::catalog::ImageRef;
use crate::scheduler::{Lane, Scheduler, SchedulerError, Ticket};
use std::collections::HashSet;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

/// References read at once.
const PAGE: usize = 200;
/// Analyses of versions that nobody goes back to, deleted in one transaction: a few milliseconds of the writer's turn.
const DROPPED_AT_ONCE: usize = 100;

/// The background thread; it sleeps while there is nothing to do, and ends when this is dropped.
pub(super) struct Background {
    /// Something was ordered; that it is gone tells the thread to stop.
    orders: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            // It catches nothing and holds nothing: a panic there is only logged by the runtime.
            let _ = thread.join();
        }
    }
}

impl Service {
    /// Starts what goes on behind the requests: an activation that is under way, and looking at images that the live
    /// version has not seen. For processes that stay: a command that answers one question leaves it to them.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start_background(&self) -> Result<(), ServiceError> {
        let (orders, receiver) = mpsc::channel();
        let work = Work {
            core: Arc::clone(&self.core),
            photos: Arc::clone(&self.photos),
            writes: Arc::clone(&self.writes),
            bundles: self.bundles.clone(),
            orders: receiver,
        };
        let thread = std::thread::Builder::new().name("activation".into()).spawn(move || work.run());
        let thread = Some(thread.map_err(ServiceError::Threads)?);
        *self.background() = Some(Background { orders: Some(orders), thread });
        Ok(())
    }

    /// Ends it after the photo at hand.
    pub(super) fn stop_background(&self) {
        let running = self.background().take();
        drop(running);
    }

    fn background(&self) -> MutexGuard<'_, Option<Background>> {
        lock(&self.background)
    }

    /// Lets the bundle of `version` become live: loads and self-tests it beside the live one, then answers; the rest
    /// goes on in the background ([`ModelInfo::progress`]). It takes the place of an activation under way; the live
    /// version ends one. Asking again changes nothing.
    ///
    /// # Errors
    /// When no bundle has that version, or it fails its self-test.
    pub async fn activate(&self, version: &str) -> Result<ModelInfo, ServiceError> {
        let (core, bundles, wanted) = (Arc::clone(&self.core), self.bundles.clone(), version.to_owned());
        // Neither a lane's worker nor a runtime's: loading takes a second, and no photo should wait for it.
        let loading = tokio::task::spawn_blocking(move || core.order(&bundles, &wanted));
        loading.await.map_err(|_| SchedulerError::Panicked)??;
        if let Some(orders) = self.background().as_ref().and_then(|b| b.orders.as_ref()) {
            // A thread that has ended is an ended service.
            let _ = orders.send(());
        }
        let unknown = || ServiceError::UnknownModel { version: version.to_owned(), known: Vec::new() };
        self.models().await?.into_iter().find(|m| m.version == version).ok_or_else(unknown)
    }
}

impl Core {
    /// Checks the bundle of `version` and records that it is to become live.
    fn order(&self, bundles: &Bundles, version: &str) -> Result<(), ServiceError> {
        if self.live().version() == version {
            self.catalog.write(|tx| tx.set_pending_activation(None))?;
            return Ok(());
        }
        let under_way = self.catalog.pending_activation()?.filter(|p| p.failure.is_none());
        if under_way.is_some_and(|p| p.version == version) {
            return Ok(());
        }
        let model = bundles.load(version)?;
        *lock(&self.loaded) = Some(model);
        self.catalog.write(|tx| tx.set_pending_activation(Some(version)))?;
        Ok(())
    }

    /// The model that uploads are looked at with beside the live one, while it is about to become live.
    pub(super) fn second(&self) -> Option<Analyzer> {
        lock(&self.second).clone()
    }
}

/// Why the work at hand was left.
enum Left {
    /// Something else was ordered, or the service stops.
    Called,
    /// The version cannot become live.
    Failed(ServiceError),
}

impl<E: Into<ServiceError>> From<E> for Left {
    fn from(error: E) -> Self {
        match error.into() {
            ServiceError::Scheduler(SchedulerError::Stopped) => Self::Called,
            error => Self::Failed(error),
        }
    }
}

/// What the thread works with.
struct Work {
    core: Arc<Core>,
    photos: Arc<Scheduler>,
    writes: Arc<Scheduler>,
    bundles: Bundles,
    orders: Receiver<()>,
}

impl Work {
    fn run(self) {
        let mut swept = false;
        loop {
            match self.turn(&mut swept) {
                // Orders that came meanwhile, or the end, are met here.
                Ok(()) => {
                    if self.orders.recv().is_err() {
                        return;
                    }
                }
                Err(Left::Called) => {
                    if self.orders.recv_timeout(Duration::from_millis(10)) == Err(RecvTimeoutError::Disconnected) {
                        return;
                    }
                }
                Err(Left::Failed(error)) => {
                    tracing::error!(%error, "stored photos could not all be analyzed; the next start goes on");
                    if self.orders.recv().is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Everything there is to do now; once, what a crash left of photos is removed.
    fn turn(&self, swept: &mut bool) -> Result<(), Left> {
        if let Some(pending) = self.core.catalog.pending_activation()?
            && pending.failure.is_none()
        {
            let outcome = self.activate(&pending.version);
            *lock(&self.core.second) = None;
            match outcome {
                Ok(()) => {}
                Err(Left::Called) => {
                    self.core.follower.forget();
                    return Err(Left::Called);
                }
                Err(Left::Failed(error)) => {
                    self.core.follower.forget();
                    tracing::error!(%error, version = pending.version, "activation given up");
                    let failure = error.to_string();
                    self.core.catalog.write(|tx| tx.fail_activation(&pending.version, &failure))?;
                }
            }
        }
        let analyzer = self.core.live().analyzer.clone();
        let mut failed = HashSet::new();
        self.look_at_missing(&analyzer, &mut failed)?;
        if !*swept {
            let mut called = None;
            self.core.catalog.sweep_photos(|| {
                called = self.pause(Duration::ZERO).err();
                called.is_none()
            })?;
            called.map_or(Ok(()), Err)?;
            *swept = true;
        }
        Ok(())
    }

    fn activate(&self, version: &str) -> Result<(), Left> {
        let ordered = lock(&self.core.loaded).take().filter(|model| model.version() == version);
        let model = ordered.map_or_else(|| self.bundles.load(version), Ok)?;
        let analyzer = Analyzer::new(model);
        let before = self.core.live().version().to_owned();
        let mut failed = HashSet::new();
        // From here on uploads bring both analyses: what is missing can only get less. Looking at stored photos first
        // was tried: uploads that keep all cores busy came faster than they were caught up with, without an end.
        *lock(&self.core.second) = Some(analyzer.clone());
        let mut prepared = false;
        loop {
            // An upload that was under way when the second look began may still bring one analysis only.
            let let_go = self.look_at_missing(&analyzer, &mut failed)?;
            if let_go || !prepared {
                self.core.follower.prepare(analyzer.clone(), &self.core.catalog)?;
                prepared = true;
            } else if self.switch(version, &failed)? {
                break;
            } else {
                self.pause(Duration::from_millis(20))?;
            }
        }
        // It is the live one now: one look at an upload is enough.
        *lock(&self.core.second) = None;
        tracing::info!(version, failed = failed.len(), "model activated");
        self.core.follower.snapshot()?;
        self.drop_all_but(&[version.to_owned(), before])
    }

    /// Records the activation, unless an image is missing.
    fn switch(&self, version: &str, failed: &HashSet<String>) -> Result<bool, Left> {
        let switched = self.in_turn(&self.writes, || {
            let (core, version, failed) = (Arc::clone(&self.core), version.to_owned(), failed.clone());
            move |_: &Ticket<'_>| {
                core.catalog.write(|tx| -> Result<bool, ServiceError> {
                    let missing = tx.images_not_of_model(&version, failed.len() + 1)?;
                    if missing.iter().any(|image| !failed.contains(&key(image))) {
                        return Ok(false);
                    }
                    if !core.follower.is_prepared(&version) {
                        return Err(ServiceError::IndexNotPrepared);
                    }
                    tx.set_live_model(&version)?;
                    Ok(true)
                })
            }
        })?;
        Ok(switched?.value)
    }

    /// Looks at every stored photo that `analyzer` has not seen; `failed` are left out, and grow. A fault of the model
    /// ends it, a photo that cannot be read does not. True when the index of that version, which is not live, was let
    /// go for it.
    fn look_at_missing(&self, analyzer: &Analyzer, failed: &mut HashSet<String>) -> Result<bool, Left> {
        let version = analyzer.model().version();
        let (mut done, mut after, mut let_go) = (0u64, None, false);
        loop {
            let images = self.core.catalog.images_not_of_model(version, after.as_ref(), PAGE)?;
            for image in &images {
                if failed.contains(&key(image)) {
                    continue;
                }
                match self.one(analyzer, image) {
                    Ok(gone) => {
                        done += 1;
                        let_go |= gone;
                    }
                    Err(Left::Failed(error)) if is_photos_fault(&error) => {
                        let (product_id, image_id) = (&image.product_id, &image.image_id);
                        tracing::warn!(product_id, image_id, %error, "stored photo not analyzed");
                        failed.insert(key(image));
                    }
                    Err(left) => return Err(left),
                }
            }
            match images.into_iter().next_back() {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        if done > 0 {
            tracing::info!(done, failed = failed.len(), version, "stored photos analyzed");
        }
        Ok(let_go)
    }

    /// Looks at one image and stores what is seen. True when an index that could not learn of it was let go before.
    fn one(&self, analyzer: &Analyzer, image: &ImageRef) -> Result<bool, Left> {
        let missing = || ServiceError::PhotoMissing { sha256: image.sha256.clone() };
        let bytes = Arc::new(self.core.catalog.photo_bytes(&image.sha256)?.ok_or_else(missing)?);
        let analyzed: Arc<Analyzed> = Arc::new(self.in_turn(&self.photos, || {
            let (core, bytes, analyzer, area) =
                (Arc::clone(&self.core), Arc::clone(&bytes), analyzer.clone(), image.area);
            move |ticket: &Ticket<'_>| {
                let run = &mut Run::new(ticket);
                let photo = core.decode(&analyzer, &bytes, area, run)?;
                super::look(&analyzer, &photo, run)
            }
        })??);
        let version = analyzer.model().version();
        let Some(product) = self.core.catalog.product(&image.product_id)? else { return Ok(false) };
        let is_shown = self.core.live().version() == version;
        let let_go = !is_shown && self.core.follower.discard_if_past(version, product.seq)?;
        self.in_turn(&self.writes, || {
            let (core, analyzed, image) = (Arc::clone(&self.core), Arc::clone(&analyzed), image.clone());
            move |_: &Ticket<'_>| {
                let Analyzed { analysis, embedding, .. } = &*analyzed;
                core.catalog
                    .write(|tx| tx.add_analysis(&image.product_id, &image.image_id, image.area, analysis, embedding))
            }
        })??;
        Ok(let_go)
    }

    /// Deletes what other versions than the live and the one before it have seen.
    fn drop_all_but(&self, keep: &[String; 2]) -> Result<(), Left> {
        loop {
            let dropped = self.in_turn(&self.writes, || {
                let (core, keep) = (Arc::clone(&self.core), keep.clone());
                move |_: &Ticket<'_>| core.catalog.write(|tx| tx.drop_analyses(&keep, DROPPED_AT_ONCE))
            })??;
            if dropped.value == 0 {
                return Ok(());
            }
        }
    }

    /// Runs what `job` makes in the bulk lane; a full lane is waited for.
    fn in_turn<T, J>(&self, scheduler: &Scheduler, job: impl Fn() -> J) -> Result<T, Left>
    where
        T: Send + 'static,
        J: FnOnce(&Ticket<'_>) -> T + Send + 'static,
    {
        let mut pause = Duration::ZERO;
        loop {
            self.pause(pause)?;
            match scheduler.run_blocking(Lane::Bulk, job()) {
                Err(SchedulerError::Full { retry_after_s, .. } | SchedulerError::Late { retry_after_s, .. }) => {
                    pause = Duration::from_secs(retry_after_s);
                }
                outcome => return Ok(outcome?),
            }
        }
    }

    /// Waits, unless called away.
    fn pause(&self, time: Duration) -> Result<(), Left> {
        match self.orders.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            _ => Err(Left::Called),
        }
    }
}

/// Names an image as it is now: another photo, or part of it, under the same id is another image.
fn key(image: &ImageRef) -> String {
    format!("{}\0{}\0{}\0{:?}", image.product_id, image.image_id, image.sha256, image.area)
}

/// A photo that is gone or broken is left out; whatever else fails (the model on a photo, the disk) ends the activation.
fn is_photos_fault(error: &ServiceError) -> bool {
    matches!(error, ServiceError::Photo(_) | ServiceError::PhotoMissing { .. })
}
