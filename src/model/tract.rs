//! The embedded engine: tract, pure Rust, no system library.

use super::engine::Precision;
use super::onnx::fold_dequantize;
use super::{Bundle, Engine, EngineKind, InputSpec, ModelError};
use std::sync::Arc;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::plan::SimplePlan;

/// A graph optimized for batches of one, shared by all threads; each run has a state of its own.
pub(super) struct TractEngine {
    plan: Arc<SimplePlan<TypedFact, Box<dyn TypedOp>>>,
    shape: [usize; 4],
    reason: String,
}

/// As it is called in options, logs and answers.
pub(super) const NAME: &str = "tract";

impl TractEngine {
    /// Builds the graph of `bundle`, its outputs in the manifest's order; `reason` says why this engine was taken.
    pub(super) fn build(bundle: &Bundle, reason: String) -> Result<Self, ModelError> {
        let InputSpec { width, height, .. } = bundle.manifest.input;
        let shape = [1, 3, height as usize, width as usize];
        let plan = Self::plan(bundle, shape).map_err(|e| fault(&e))?;
        Ok(Self { plan, shape, reason })
    }

    fn plan(bundle: &Bundle, shape: [usize; 4]) -> TractResult<Arc<SimplePlan<TypedFact, Box<dyn TypedOp>>>> {
        let onnx = tract_onnx::onnx();
        let mut proto = onnx.proto_model_for_path(bundle.dir.join(Precision::F32.file()))?;
        let folded = fold_dequantize(&mut proto).map_err(TractError::msg)?;
        tracing::debug!(folded, "stored int8 weights decoded");
        let mut model = onnx.model_for_proto_model(&proto)?;
        drop(proto);
        model.select_outputs_by_name(bundle.manifest.output_names())?;
        // A symbolic batch keeps tract from choosing its kernels.
        model.set_input_fact(0, f32::fact(shape).into())?;
        model.into_optimized()?.into_runnable()
    }
}

impl Engine for TractEngine {
    fn kind(&self) -> EngineKind {
        EngineKind { name: NAME, precision: Precision::F32, reason: self.reason.clone() }
    }

    fn run(&self, input: &[f32]) -> Result<Vec<Vec<f32>>, ModelError> {
        let run = || -> TractResult<Vec<Vec<f32>>> {
            let tensor = Tensor::from_shape(&self.shape, input)?;
            let outputs = self.plan.run(tvec!(tensor.into()))?;
            outputs.iter().map(|o| Ok(o.to_plain_array_view::<f32>()?.iter().copied().collect())).collect()
        };
        run().map_err(|e| fault(&e))
    }
}

fn fault(error: &TractError) -> ModelError {
    ModelError::Engine { engine: NAME, detail: format!("{error:#}") }
}
