//! How fast the engine is alone: the same model on the same threads and the same input tensors, without decoding,
//! colors, store or index. Import and upload are as good as their share of this rate.

use crate::analyzer::Analyzer;
use crate::cli::CliError;
use crate::cli::joint;
use crate::model::{Model, ModelError, tensor};
use crate::photo::Limits;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Photos whose tensors are used, round about.
const TENSORS: usize = 16;
/// How long each measurement runs: some 30 photos a core, so that one slow photo does not show.
const RUN: Duration = Duration::from_secs(4);

/// The engine of the configured bundle, and inputs for it.
pub(in crate::cli) struct BareEngine {
    model: Model,
    tensors: Vec<Vec<f32>>,
    threads: usize,
}

impl BareEngine {
    /// `model` on `threads` threads, with tensors of the first of `photos` that can be decoded.
    ///
    /// # Errors
    /// When no photo can be decoded.
    pub(in crate::cli) fn new<'a>(
        model: Model,
        limits: &Limits,
        threads: usize,
        photos: impl Iterator<Item = &'a Path>,
    ) -> Result<Self, CliError> {
        let analyzer = Analyzer::new(model.clone());
        let photos = photos.filter_map(|path| joint::read_photo(path, &analyzer, limits).ok());
        let tensors: Vec<_> = photos.take(TENSORS).map(|p| tensor(p.rgb(), &model.manifest().input)).collect();
        if tensors.is_empty() {
            return Err(CliError::NothingDone("a benchmark needs at least one local photo that can be decoded".into()));
        }
        Ok(Self { model, tensors, threads })
    }

    /// Photos a second, all threads together.
    ///
    /// # Errors
    /// When the engine fails.
    pub(in crate::cli) fn photos_per_s(&self) -> Result<f64, ModelError> {
        let done = AtomicU64::new(0);
        let started = Instant::now();
        let work = || -> Result<(), ModelError> {
            while started.elapsed() < RUN {
                let n = done.fetch_add(1, Ordering::Relaxed) as usize;
                self.model.predict_tensor(&self.tensors[n % self.tensors.len()])?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads).map(|_| scope.spawn(work)).collect();
            // A panic of the engine goes on in this thread.
            threads.into_iter().try_for_each(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p)))
        })?;
        Ok(done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64())
    }
}
