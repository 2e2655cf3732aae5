//! The self-test of a bundle: a few drawn pictures and what the exporter's own runtime said of them.

use super::{Bundle, Model, ModelError, Precision};
use crate::photo::{Limits, Photo};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// More cases would make every start slower and prove nothing more.
const MAX_CASES: usize = 3;

/// The cases of one bundle.
pub(super) struct Golden {
    path: PathBuf,
    file: File,
}

/// `golden.json`.
#[derive(Deserialize)]
struct File {
    tolerance: Tolerance,
    /// Of the int8 file, whose kernels round differently from one processor to the next.
    tolerance_int8: Option<Tolerance>,
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
    outputs: Outputs,
    /// What the int8 file says.
    outputs_int8: Option<Outputs>,
}

type Outputs = BTreeMap<String, Vec<f32>>;

impl Golden {
    /// Reads the bundle's `golden.json`.
    pub(super) fn open(bundle: &Bundle) -> Result<Self, ModelError> {
        let path = bundle.dir.join("golden.json");
        let bytes = fs::read(&path).map_err(|source| ModelError::Read { path: path.clone(), source })?;
        let malformed = |detail: String| ModelError::Malformed { path: path.clone(), detail };
        let file: File = serde_json::from_slice(&bytes).map_err(|e| malformed(e.to_string()))?;
        if file.cases.is_empty() || file.cases.len() > MAX_CASES {
            return Err(malformed(format!("{} cases, expected 1 to {MAX_CASES}", file.cases.len())));
        }
        Ok(Self { path, file })
    }

    /// Runs every case on `model` from the picture's bytes on, preprocessing included.
    pub(super) fn check(&self, model: &Model) -> Result<(), ModelError> {
        self.file.cases.iter().try_for_each(|case| self.check_case(model, case))
    }

    fn check_case(&self, model: &Model, case: &Case) -> Result<(), ModelError> {
        let malformed = |detail: String| ModelError::Malformed {
            path: self.path.clone(),
            detail: format!("case `{}`: {detail}", case.name),
        };
        let (tolerance, truth) = match model.engine().precision {
            Precision::F32 => (Some(&self.file.tolerance), Some(&case.outputs)),
            Precision::Int8 => (self.file.tolerance_int8.as_ref(), case.outputs_int8.as_ref()),
        };
        let missing = || malformed("says nothing of the int8 file".into());
        let (tolerance, truth) = tolerance.zip(truth).ok_or_else(missing)?;
        let bytes = STANDARD.decode(&case.png_base64).map_err(|e| malformed(e.to_string()))?;
        let photo = Photo::decode(&bytes, &Limits::default()).map_err(|e| malformed(e.to_string()))?;
        let manifest = model.manifest();
        let answers = model.outputs(&super::tensor(photo.rgb(), &manifest.input))?;
        for (output, received) in manifest.output_names().into_iter().zip(&answers) {
            let expected = truth.get(output).ok_or_else(|| malformed(format!("no output `{output}`")))?;
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
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from((x - y).abs())).fold(0.0, f64::max)
}
