//! Logits to labels with calibrated confidence, or "unsure".
//! Knows the taxonomy's rules: which attributes make sense for what, and when a label may be asserted.

use crate::model::{HeadKind, HeadSpec, Manifest};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Fewest and most candidates of an unsure attribute, and the least confidence worth naming.
const CANDIDATES: std::ops::RangeInclusive<usize> = 1..=3;
const CANDIDATE_FLOOR: f32 = 0.05;

/// One attribute of a product, as decided for one photo or for the whole product.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Attribute {
    /// `category`, `pattern`, `neckline`, ...
    pub name: String,
    /// A label of the taxonomy, or `null` when the model is unsure; see `candidates`.
    #[schema(required)]
    pub value: Option<String>,
    /// Calibrated probability that `value` (or the first candidate) is right, 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    pub confidence: f32,
    /// Who says so.
    pub source: Source,
    /// When unsure: what it may be, best first, never empty then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
}

/// Who an attribute comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The model's head.
    Model,
    /// The merchant's own metadata.
    Merchant,
    /// A person's correction: wins over all others.
    Correction,
}

/// One thing an unsure attribute may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Candidate {
    /// A label of the taxonomy.
    pub value: String,
    /// Calibrated probability, 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    pub confidence: f32,
}

/// Decides every head of `manifest` from `logits` (a vector a head, in the manifest's order).
///
/// A label is asserted when its calibrated confidence reaches the head's threshold; else the attribute is unsure and
/// lists its candidates. An attribute that does not apply to what the photo shows is left out.
pub fn decide(manifest: &Manifest, logits: &[Vec<f32>]) -> Vec<Attribute> {
    let confidences: Vec<Vec<f32>> = manifest.heads.iter().zip(logits).map(|(h, l)| calibrated(h, l)).collect();
    manifest
        .heads
        .iter()
        .zip(&confidences)
        .filter(|(head, _)| applies(manifest, head, &confidences))
        .flat_map(|(head, confidence)| decide_head(head, confidence))
        .collect()
}

/// Calibrated confidences of one head: softmax (single) or sigmoids (multi) of `logits / temperature`, each 0 to 1.
pub fn calibrated(head: &HeadSpec, logits: &[f32]) -> Vec<f32> {
    let scaled = logits.iter().map(|l| f64::from(*l) / f64::from(head.temperature));
    match head.kind {
        HeadKind::Multi => scaled.map(|l| (1.0 / (1.0 + (-l).exp())) as f32).collect(),
        HeadKind::Single => {
            let scaled: Vec<f64> = scaled.collect();
            let top = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scaled.iter().map(|l| (l - top).exp()).collect();
            let sum: f64 = weights.iter().sum();
            weights.iter().map(|w| (w / sum) as f32).collect()
        }
    }
}

/// Whether the attribute makes sense: the labels it applies to hold at least half of the probability of their head.
fn applies(manifest: &Manifest, head: &HeadSpec, confidences: &[Vec<f32>]) -> bool {
    head.applies_to.iter().flatten().all(|(other, labels)| {
        let Some(i) = manifest.heads.iter().position(|h| &h.name == other) else { return true };
        let share: f32 = manifest.heads[i]
            .labels
            .iter()
            .zip(&confidences[i])
            .filter(|(l, _)| labels.contains(l))
            .map(|(_, c)| c)
            .sum();
        share >= 0.5
    })
}

fn decide_head(head: &HeadSpec, confidences: &[f32]) -> Vec<Attribute> {
    let mut ranked: Vec<(usize, f32)> = confidences.iter().copied().enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let attribute = |value: Option<usize>, confidence: f32, candidates| Attribute {
        name: head.name.clone(),
        value: value.map(|i| head.labels[i].clone()),
        confidence: rounded(confidence),
        source: Source::Model,
        candidates,
    };
    let asserted = ranked.iter().filter(|(_, c)| *c >= head.threshold);
    let most = if head.kind == HeadKind::Single { 1 } else { head.labels.len() };
    let asserted: Vec<Attribute> = asserted.take(most).map(|&(i, c)| attribute(Some(i), c, Vec::new())).collect();
    if !asserted.is_empty() {
        return asserted;
    }
    let candidates: Vec<Candidate> = ranked
        .iter()
        .enumerate()
        .take_while(|(rank, (_, c))| rank < CANDIDATES.start() || (rank < CANDIDATES.end() && *c >= CANDIDATE_FLOOR))
        .map(|(_, &(i, c))| Candidate { value: head.labels[i].clone(), confidence: rounded(c) })
        .collect();
    match (head.kind, ranked.first()) {
        (HeadKind::Single, Some(&(_, best))) => vec![attribute(None, best, candidates)],
        _ => Vec::new(),
    }
}

/// Four decimals: what calibration on some hundred photos can bear, and bodies stay short.
fn rounded(confidence: f32) -> f32 {
    (confidence * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn manifest() -> Manifest {
        serde_json::from_value(serde_json::json!({
            "format": 1, "name": "t", "version": "v", "files": {},
            "input": {"name": "image", "width": 32, "height": 32, "resize": "stretch_bilinear", "mean": [0, 0, 0], "std": [1, 1, 1]},
            "embedding": {"output": "e", "dim": 256},
            "heads": [
                {"name": "category", "kind": "single", "output": "c", "labels": ["dress", "shirt", "shoe"], "temperature": 2.0, "threshold": 0.6},
                {"name": "neckline", "kind": "single", "output": "n", "labels": ["v", "round"], "temperature": 1.0, "threshold": 0.9,
                 "applies_to": {"category": ["dress", "shirt"]}},
                {"name": "season", "kind": "multi", "output": "s", "labels": ["summer", "winter"], "temperature": 1.0, "threshold": 0.5}]
        }))
        .unwrap()
    }

    fn decided(logits: &[Vec<f32>]) -> Vec<(String, Option<String>, usize)> {
        decide(&manifest(), logits).into_iter().map(|a| (a.name, a.value, a.candidates.len())).collect()
    }

    #[test]
    fn a_sure_head_asserts_and_an_unsure_one_lists_candidates() {
        let answers = decided(&[vec![9.0, 0.0, 0.0], vec![0.1, 0.0], vec![3.0, 2.0]]);
        let expect = |n: &str, v: Option<&str>, c| (n.to_owned(), v.map(str::to_owned), c);
        assert_eq!(
            answers,
            [
                expect("category", Some("dress"), 0),
                expect("neckline", None, 2),
                expect("season", Some("summer"), 0),
                expect("season", Some("winter"), 0)
            ]
        );
    }

    #[test]
    fn what_does_not_apply_is_left_out_also_when_the_probability_is_spread() {
        let names = |logits: &[Vec<f32>]| decided(logits).into_iter().map(|a| a.0).collect::<Vec<_>>();
        assert_eq!(names(&[vec![0.0, 0.0, 9.0], vec![9.0, 0.0], vec![-9.0, -9.0]]), ["category"]);
        // Neither dress nor shirt is sure, but a neckline it has.
        assert_eq!(names(&[vec![2.0, 2.0, 1.0], vec![9.0, 0.0], vec![-9.0, -9.0]]), ["category", "neckline"]);
    }

    #[test]
    fn temperature_softens() {
        let head = &manifest().heads[0];
        let confidence = calibrated(head, &[2.0, 0.0, 0.0])[0];
        let expected = 1f32.exp() / (1f32.exp() + 2.0);
        assert!((confidence - expected).abs() < 1e-6, "{confidence} {expected}");
    }

    proptest! {
        #[test]
        fn confidences_are_probabilities_and_unsure_is_never_empty(logits in prop::collection::vec(-1e30f32..1e30, 3), small in prop::collection::vec(-4f32..4.0, 4)) {
            let answers = decide(&manifest(), &[logits.clone(), small[..2].to_vec(), small[2..].to_vec()]);
            let sum: f32 = calibrated(&manifest().heads[0], &logits).iter().sum();
            prop_assert!((sum - 1.0).abs() < 1e-4);
            for answer in answers {
                prop_assert!((0.0..=1.0).contains(&answer.confidence));
                prop_assert_eq!(answer.value.is_none(), !answer.candidates.is_empty());
                prop_assert!(answer.candidates.is_sorted_by(|a, b| a.confidence >= b.confidence));
            }
        }
    }
}
