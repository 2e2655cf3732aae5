//! After a change of model: every stored photo is looked at again, in the background and one at a time, so that the
//! new version's index fills. Until then searches see what the new model has seen.

use super::{Core, ServiceError, Timings};
use crate::catalog::ImageRef;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// References read at once.
const PAGE: usize = 200;

/// The background thread; it ends by itself when nothing is left to do.
pub(super) struct Reanalysis {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reanalysis {
    /// Starts looking for images that another version has seen.
    pub(super) fn start(core: Arc<Core>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("reanalysis".into()).spawn(move || {
            match core.reanalyze_all(&stopped) {
                Ok((0, 0)) => {}
                Ok((done, failed)) => tracing::info!(done, failed, "stored photos analyzed by the new model"),
                Err(error) => {
                    tracing::error!(%error, "stored photos could not all be analyzed; the next start goes on");
                }
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Ends it after the photo at hand; what is left is done at the next start.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Drop for Reanalysis {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // It catches nothing and holds nothing: a panic there is only logged by the runtime.
            let _ = thread.join();
        }
    }
}

impl Core {
    /// Returns how many images were analyzed and how many could not be.
    fn reanalyze_all(&self, stop: &AtomicBool) -> Result<(u64, u64), ServiceError> {
        let version = self.analyzer.model().version();
        let (mut done, mut failed, mut after) = (0, 0, None);
        loop {
            let images = self.catalog.images_not_of_model(version, after.as_ref(), PAGE)?;
            for image in &images {
                if stop.load(Ordering::Relaxed) {
                    return Ok((done, failed));
                }
                match self.reanalyze(image) {
                    Ok(()) => done += 1,
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

    fn reanalyze(&self, image: &ImageRef) -> Result<(), ServiceError> {
        let missing = || ServiceError::PhotoMissing { sha256: image.sha256.clone() };
        let bytes = self.catalog.photo_bytes(&image.sha256)?.ok_or_else(missing)?;
        let timings = &mut Timings::default();
        let analyzed = self.analyze(&self.decode(&bytes, None, timings)?, timings)?;
        self.catalog.write(|tx| -> Result<_, ServiceError> {
            Ok(tx.replace_analysis(&image.product_id, &image.image_id, analyzed.analysis, &analyzed.embedding)?)
        })?;
        Ok(())
    }
}
