//! The self-test of a bundle: a few drawn pictures and what the exporter's own runtime said of them.

use super::{Model, ModelError};
use crate::photo::{Limits, Photo};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// More cases would make every start slower and prove nothing more.
const MAX_CASES: usize = 3;

#[derive(Deserialize)]
struct Golden {
    tolerance: Tolerance,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Tolerance {
    /// Lowest cosine between the embeddings.
    embedding_cosine: f64,
    /// Largest difference of a logit, or of a probability of the region map.
    logits_abs: f64,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    png_base64: String,
    outputs: BTreeMap<String, Vec<f32>>,
}

/// Runs every case of the bundle's `golden.json` from the picture's bytes on, preprocessing included.
pub(super) fn check(model: &Model) -> Result<(), ModelError> {
    let path = model.bundle.dir.join("golden.json");
    let bytes = fs::read(&path).map_err(|source| ModelError::Read { path: path.clone(), source })?;
    let malformed = |detail: String| ModelError::Malformed { path: path.clone(), detail };
    let golden: Golden = serde_json::from_slice(&bytes).map_err(|e| malformed(e.to_string()))?;
    if golden.cases.is_empty() || golden.cases.len() > MAX_CASES {
        return Err(malformed(format!("{} cases, expected 1 to {MAX_CASES}", golden.cases.len())));
    }
    golden.cases.iter().try_for_each(|case| check_case(model, case, &golden.tolerance, &path))
}

fn check_case(model: &Model, case: &Case, tolerance: &Tolerance, path: &Path) -> Result<(), ModelError> {
    let malformed = |detail: String| ModelError::Malformed {
        path: path.to_owned(),
        detail: format!("case `{}`: {detail}", case.name),
    };
    let bytes = STANDARD.decode(&case.png_base64).map_err(|e| malformed(e.to_string()))?;
    let photo = Photo::decode(&bytes, &Limits::default()).map_err(|e| malformed(e.to_string()))?;
    let manifest = model.manifest();
    let answers = model.outputs(&super::tensor(photo.rgb(), &manifest.input))?;
    for (output, received) in manifest.output_names().into_iter().zip(&answers) {
        let expected = case.outputs.get(output).ok_or_else(|| malformed(format!("no output `{output}`")))?;
        if expected.len() != received.len() {
            return Err(ModelError::OutputShape {
                output: output.to_owned(),
                expected: expected.len(),
                received: received.len(),
            });
        }
        // For the embedding the distance is 1 - cosine, so that one comparison serves both.
        let (distance, limit) = if output == manifest.embedding.output {
            (1.0 - cosine(expected, received), 1.0 - tolerance.embedding_cosine)
        } else {
            (largest_difference(expected, received), tolerance.logits_abs)
        };
        if distance.is_nan() || distance > limit {
            return Err(ModelError::Golden {
                case: case.name.clone(),
                output: output.to_owned(),
                tolerance: limit,
                received: distance,
            });
        }
    }
    Ok(())
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from((x - y).abs())).fold(0.0, f64::max)
}
