//! After a change of model: every stored photo is looked at again, in the background, one at a time and in the bulk
//! lane, so that the new version's index fills. Until then searches see what the new model has seen.

use super::{Core, Service, ServiceError, Timings};
use crate::catalog::ImageRef;
use crate::scheduler::{Lane, Scheduler, SchedulerError};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// References read at once.
const PAGE: usize = 200;

/// The background thread; it ends by itself when nothing is left to do, and when this is dropped.
pub(super) struct Reanalysis {
    /// Nothing is ever sent: that it is gone tells the thread to stop.
    alive: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Reanalysis {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            // It catches nothing and holds nothing: a panic there is only logged by the runtime.
            let _ = thread.join();
        }
    }
}

impl Service {
    /// Starts looking for images that another version has seen; what a stop leaves undone is done at the next start.
    /// For processes that stay: a command that answers one question leaves it to them.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start_reanalysis(&self) -> Result<(), ServiceError> {
        let (alive, stopped) = mpsc::channel();
        let work = Work {
            core: Arc::clone(&self.core),
            photos: Arc::clone(&self.photos),
            writes: Arc::clone(&self.writes),
            stopped,
        };
        let thread = std::thread::Builder::new().name("reanalysis".into()).spawn(move || work.run());
        let thread = Some(thread.map_err(ServiceError::Threads)?);
        *self.reanalysis() = Some(Reanalysis { alive: Some(alive), thread });
        Ok(())
    }

    /// Ends it after the photo at hand.
    pub(super) fn stop_reanalysis(&self) {
        let running = self.reanalysis().take();
        drop(running);
    }

    fn reanalysis(&self) -> MutexGuard<'_, Option<Reanalysis>> {
        self.reanalysis.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread works with.
struct Work {
    core: Arc<Core>,
    photos: Arc<Scheduler>,
    writes: Arc<Scheduler>,
    stopped: Receiver<()>,
}

impl Work {
    fn run(self) {
        match self.all() {
            Ok((0, 0)) => {}
            Ok((done, failed)) => tracing::info!(done, failed, "stored photos analyzed by the new model"),
            Err(error) => tracing::error!(%error, "stored photos could not all be analyzed; the next start goes on"),
        }
    }

    /// Returns how many images were analyzed and how many could not be.
    fn all(&self) -> Result<(u64, u64), ServiceError> {
        let version = self.core.analyzer.model().version();
        let (mut done, mut failed, mut after) = (0, 0, None);
        loop {
            let images = self.core.catalog.images_not_of_model(version, after.as_ref(), PAGE)?;
            for image in &images {
                match self.one(image) {
                    Ok(true) => done += 1,
                    Ok(false) => return Ok((done, failed)),
                    Err(error) => {
                        failed += 1;
                        let (product_id, image_id) = (&image.product_id, &image.image_id);
                        tracing::warn!(product_id, image_id, %error, "stored photo not analyzed");
                    }
                }
            }
            match images.into_iter().next_back() {
                Some(last) => after = Some(last),
                None => return Ok((done, failed)),
            }
        }
    }

    /// Looks at one image again and stores what is seen; false when asked to stop.
    fn one(&self, image: &ImageRef) -> Result<bool, ServiceError> {
        let missing = || ServiceError::PhotoMissing { sha256: image.sha256.clone() };
        let bytes = Arc::new(self.core.catalog.photo_bytes(&image.sha256)?.ok_or_else(missing)?);
        let looked = self.in_turn(&self.photos, || {
            let (core, bytes) = (Arc::clone(&self.core), Arc::clone(&bytes));
            move || {
                let timings = &mut Timings::default();
                core.analyze(&core.decode(&bytes, None, timings)?, timings)
            }
        })?;
        let Some(analyzed) = looked.transpose()?.map(Arc::new) else { return Ok(false) };
        let written = self.in_turn(&self.writes, || {
            let (core, analyzed, image) = (Arc::clone(&self.core), Arc::clone(&analyzed), image.clone());
            move || {
                core.catalog.write(|tx| -> Result<_, ServiceError> {
                    let (analysis, embedding) = (analyzed.analysis.clone(), &analyzed.embedding);
                    Ok(tx.replace_analysis(&image.product_id, &image.image_id, analysis, embedding)?)
                })
            }
        })?;
        Ok(written.transpose()?.is_some())
    }

    /// Runs what `job` makes in the bulk lane; a full lane is waited for. `None` when asked to stop meanwhile.
    fn in_turn<T, J>(&self, scheduler: &Scheduler, job: impl Fn() -> J) -> Result<Option<T>, SchedulerError>
    where
        T: Send + 'static,
        J: FnOnce() -> T + Send + 'static,
    {
        let mut pause = Duration::ZERO;
        loop {
            if self.stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return Ok(None);
            }
            match scheduler.run_blocking(Lane::Bulk, job()) {
                Err(SchedulerError::Full { retry_after_s, .. }) => pause = Duration::from_secs(retry_after_s),
                outcome => return outcome.map(Some),
            }
        }
    }
}
