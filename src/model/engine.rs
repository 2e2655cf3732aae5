//! The one trait of the house: whatever can run a bundle's graph on one photo.

use super::ModelError;

/// Runs a graph on one photo at a time, on the calling thread.
///
/// One photo a core beats batches on every engine measured (batches of 4 or 8 cost tract time and gain ONNX Runtime
/// nothing on one thread), so there is no batch in the signature.
pub trait Engine: Send + Sync {
    /// Which engine, at which precision.
    fn kind(&self) -> EngineKind;

    /// `input` is (3, H, W), channels first, normalized as the manifest says. Returns a flat vector an output, in the
    /// order of [`super::Manifest::output_names`].
    ///
    /// # Errors
    /// When the engine fails.
    fn run(&self, input: &[f32]) -> Result<Vec<Vec<f32>>, ModelError>;
}

/// Names an engine in logs and in `/v1/models`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineKind {
    /// `tract`, ...
    pub name: &'static str,
    /// `f32`, `int8`.
    pub precision: &'static str,
}
