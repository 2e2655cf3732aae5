//! Every photo through the service's own stages, on all threads; results in the order of the rows, whatever the
//! threads did.

use crate::analyzer::Analyzer;
use crate::attributes::calibrated;
use crate::cli::joint;
use crate::model::{Embedding, HeadSpec, ModelError, Prediction};
use crate::photo::{Limits, Photo};
use indicatif::ProgressBar;
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the model said of one photo.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) sha256: String,
    /// One a head, in the manifest's order.
    pub(super) heads: Vec<HeadSaid>,
    pub(super) embedding: Embedding,
    /// Basic name of the largest color, where colors were asked for.
    pub(super) color: Option<String>,
}

/// What one head said.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HeadSaid {
    /// Index of the most confident label.
    pub(super) top: usize,
    pub(super) confidence: f32,
    /// Indices of the labels asserted.
    pub(super) asserted: Vec<usize>,
}

/// Runs `work` on every item of `items` on `threads` threads; results in the order of the items.
///
/// # Errors
/// The first error of `work`, in the order of the items; the rest is not begun.
pub(super) fn in_parallel<I: Sync, T: Send, E: Send>(
    items: &[I],
    threads: usize,
    work: impl Fn(&I) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let run = || {
        while failed.load(Ordering::Relaxed) == 0 {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(n) else { return };
            let result = work(item);
            failed.fetch_add(usize::from(result.is_err()), Ordering::Relaxed);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((n, result));
        }
    };
    std::thread::scope(|scope| (0..threads.max(1)).for_each(|_| drop(scope.spawn(run))));
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, result)| result).collect()
}

/// `look` at each photo of `paths`; `None` for one that cannot be read, which is named on standard error.
///
/// # Errors
/// The first error of `look`, in the order of the photos.
pub(super) fn each<T: Send, E: Send>(
    analyzer: &Analyzer,
    paths: &[&Path],
    limits: &Limits,
    threads: usize,
    look: impl Fn(&Photo) -> Result<T, E> + Sync,
) -> Result<Vec<Option<T>>, E> {
    let bar = ProgressBar::new(paths.len() as u64);
    let seen = in_parallel(paths, threads, |path| {
        bar.inc(1);
        match joint::read_photo(path, analyzer, limits) {
            Ok(photo) => look(&photo).map(Some),
            Err(detail) => {
                bar.suspend(|| eprintln!("{}: {detail}", path.display()));
                Ok(None)
            }
        }
    });
    bar.finish_and_clear();
    seen
}

/// What the model says of a photo; the name of its color too where `colors` are asked for.
pub(super) fn one(analyzer: &Analyzer, photo: &Photo, colors: bool) -> Result<Seen, ModelError> {
    let prediction = analyzer.predict(photo)?;
    let color = colors.then(|| {
        let masks = analyzer.segment(photo, &prediction);
        analyzer.colors(photo, &masks, &prediction).dominant.first().map(|c| joint::word(&c.name))
    });
    Ok(Seen {
        sha256: photo.sha256().to_string(),
        heads: heads(analyzer, &prediction),
        color: color.flatten(),
        embedding: prediction.embedding,
    })
}

fn heads(analyzer: &Analyzer, prediction: &Prediction) -> Vec<HeadSaid> {
    let attributes = analyzer.attributes(prediction);
    let said = |(head, logits): (&HeadSpec, &Vec<f32>)| {
        let confidences = calibrated(head, logits);
        let best = confidences.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
        let (top, confidence) = best.map_or((0, 0.0), |(i, c)| (i, *c));
        let asserted = attributes.iter().filter(|a| a.name == head.name).filter_map(|a| a.value.as_ref());
        let index = |value: &String| head.labels.iter().position(|l| l == value);
        HeadSaid { top, confidence, asserted: asserted.filter_map(index).collect() }
    };
    analyzer.model().manifest().heads.iter().zip(&prediction.logits).map(said).collect()
}
