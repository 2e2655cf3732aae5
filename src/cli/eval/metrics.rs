//! What is counted for a head. Definitions as in the literature and scikit-learn, checked against values computed by
//! hand.

use serde::Serialize;
use std::collections::BTreeSet;

/// Bins of the calibration error, as many as the figures on the model's card use.
const BINS: usize = 10;

/// One photo with a known label, and what the model said of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judged {
    /// For a head of kind single the labels of which each would be right, mostly one; else all that are right. Never
    /// empty.
    pub(super) truth: Vec<usize>,
    /// The label with the highest confidence.
    pub(super) top: usize,
    /// Its calibrated confidence, 0 to 1.
    pub(super) confidence: f32,
    /// What the model asserted; empty when it was unsure or left the attribute out.
    pub(super) asserted: Vec<usize>,
}

impl Judged {
    fn hit(&self) -> bool {
        self.truth.contains(&self.top)
    }
}

/// Figures of one head; `None` where nothing can be divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Metrics {
    /// Photos judged.
    pub(super) n: usize,
    /// Different labels among them.
    pub(super) labels: usize,
    /// Share of photos whose most confident label is right, asserted or not.
    pub(super) accuracy: Option<f64>,
    /// Mean F1 over the labels that are right somewhere. Predicted is the most confident label; for a head of kind
    /// multi what it asserts. Of alternatives the predicted one counts as the truth, else the first.
    pub(super) macro_f1: Option<f64>,
    /// Share of photos for which something was asserted.
    pub(super) coverage: Option<f64>,
    /// Share of the asserted labels that are right.
    pub(super) precision_asserted: Option<f64>,
    /// Expected calibration error of the most confident label, in 10 bins of equal width (Guo et al. 2017).
    pub(super) ece: Option<f64>,
}

impl Metrics {
    /// Counts `judged`; `multi` says that a photo may have several right labels.
    pub(super) fn of(judged: &[Judged], multi: bool) -> Self {
        let n = judged.len();
        let share = |count: usize, of: usize| (of > 0).then(|| count as f64 / of as f64);
        let asserted: usize = judged.iter().map(|j| j.asserted.len()).sum();
        let right: usize = judged.iter().map(|j| j.asserted.iter().filter(|a| j.truth.contains(a)).count()).sum();
        Self {
            n,
            labels: judged.iter().flat_map(|j| &j.truth).collect::<BTreeSet<_>>().len(),
            accuracy: share(judged.iter().filter(|j| j.hit()).count(), n),
            macro_f1: macro_f1(judged, multi),
            coverage: share(judged.iter().filter(|j| !j.asserted.is_empty()).count(), n),
            precision_asserted: share(right, asserted),
            ece: (n > 0).then(|| calibration_error(judged)),
        }
    }
}

fn macro_f1(judged: &[Judged], multi: bool) -> Option<f64> {
    let pair = |j: &Judged| match multi {
        true => (j.truth.clone(), j.asserted.clone()),
        false => (if j.hit() { vec![j.top] } else { j.truth.first().copied().into_iter().collect() }, vec![j.top]),
    };
    let pairs: Vec<(Vec<usize>, Vec<usize>)> = judged.iter().map(pair).collect();
    let labels: BTreeSet<usize> = pairs.iter().flat_map(|(t, _)| t).copied().collect();
    let f1 = |label: &usize| {
        let count = |f: fn(bool, bool) -> bool| {
            pairs.iter().filter(|(t, p)| f(t.contains(label), p.contains(label))).count() as f64
        };
        let (both, either) = (count(|t, p| t && p), count(|t, p| t != p));
        2.0 * both / (2.0 * both + either)
    };
    (!labels.is_empty()).then(|| labels.iter().map(f1).sum::<f64>() / labels.len() as f64)
}

/// Mean distance of confidence and accuracy over the bins, weighted by their photos.
fn calibration_error(judged: &[Judged]) -> f64 {
    let mut bins = [(0.0_f64, 0.0_f64); BINS];
    for j in judged {
        // Bins are closed below and open above; 1 falls into the last.
        let bin = (f64::from(j.confidence) * BINS as f64) as usize;
        let (confidence, hits) = &mut bins[bin.min(BINS - 1)];
        *confidence += f64::from(j.confidence);
        *hits += f64::from(u8::from(j.hit()));
    }
    bins.iter().map(|(confidence, hits)| (confidence - hits).abs()).sum::<f64>() / judged.len() as f64
}

/// Share of the first `k` of `ranked` (best first) whose label is `label`; of fewer when there are fewer.
pub(super) fn precision_at(k: usize, label: usize, ranked: &[usize]) -> Option<f64> {
    let first = &ranked[..k.min(ranked.len())];
    (!first.is_empty()).then(|| first.iter().filter(|l| **l == label).count() as f64 / first.len() as f64)
}

/// Mean, if there is anything.
pub(super) fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut n) = (0.0, 0.0);
    for value in values {
        sum += value;
        n += 1.0;
    }
    (n > 0.0).then(|| sum / n)
}
