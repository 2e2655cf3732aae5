//! The one trait of the house, whatever can run a bundle's graph on one photo; and which of the engines is to run.

use super::onnxruntime::{self, OnnxRuntime};
use super::tract::{self, TractEngine};
use super::{Bundle, ModelError};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineKind {
    /// `tract` or `onnxruntime`.
    pub name: &'static str,
    /// How it computes.
    pub precision: Precision,
    /// Its version and why it was taken, for people.
    pub reason: String,
}

/// How a graph computes, and so which file of the bundle is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Precision {
    /// model.onnx, in 32-bit floating point
    F32,
    /// model.int8.onnx, in 8-bit integers
    Int8,
}

impl Precision {
    /// The bundle's file that computes so.
    pub fn file(self) -> &'static str {
        match self {
            Self::F32 => "model.onnx",
            Self::Int8 => "model.int8.onnx",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Int8 => "int8",
        })
    }
}

/// Which engine is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineChoice {
    /// ONNX Runtime where its library is found, else tract
    #[default]
    Auto,
    /// The embedded engine, in pure Rust
    Tract,
    /// ONNX Runtime, or a refusal to start
    #[value(name = "onnxruntime")]
    OnnxRuntime,
}

/// Where ONNX Runtime computes, the processor aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Provider {
    /// NVIDIA, through CUDA
    Cuda,
    /// NVIDIA, through TensorRT
    Tensorrt,
    /// AMD, through MIGraphX
    Migraphx,
    /// Intel, through OpenVINO
    Openvino,
    /// Windows, through DirectML
    Directml,
    /// Apple, through Core ML
    Coreml,
}

/// Which engine runs a bundle, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Which engine.
    pub choice: EngineChoice,
    /// Which precision; none: int8 where the engine and the processor run it fast, else f32.
    pub precision: Option<Precision>,
    /// The library of ONNX Runtime; none: it is looked for.
    pub library: Option<PathBuf>,
    /// Where ONNX Runtime is to compute, best first; none: on the processor.
    pub providers: Vec<Provider>,
    /// Photos that are looked at side by side.
    pub threads: usize,
}

impl Default for EngineConfig {
    /// The fastest engine, one photo at a time.
    fn default() -> Self {
        Self { choice: EngineChoice::Auto, precision: None, library: None, providers: Vec::new(), threads: 1 }
    }
}

impl EngineConfig {
    /// The embedded engine, which answers alike wherever it runs.
    pub fn tract() -> Self {
        Self { choice: EngineChoice::Tract, ..Self::default() }
    }

    /// Builds engines for `bundle`, the fastest wanted one first, until one passes `check`.
    ///
    /// # Errors
    /// When ONNX Runtime was asked for and does not run the bundle, or not where it was told to; when nothing runs it.
    pub(super) fn build(
        &self,
        bundle: &Bundle,
        check: impl Fn(&Arc<dyn Engine>) -> Result<(), ModelError>,
    ) -> Result<Arc<dyn Engine>, ModelError> {
        let checked = |engine: Arc<dyn Engine>| check(&engine).map(|()| engine);
        let must = self.choice == EngineChoice::OnnxRuntime;
        // Why what is tried next is not the best.
        let (mut refused, mut first) = (String::new(), None);
        if self.choice != EngineChoice::Tract {
            match onnxruntime::load(self.library.as_deref()) {
                Ok(runtime) => {
                    for Try { precision, providers, reason } in self.tries(bundle) {
                        let reason = format!("{reason}{refused}");
                        let built = OnnxRuntime::build(bundle, runtime, precision, providers, self.threads, &reason);
                        match built.and_then(|engine| checked(Arc::new(engine))) {
                            Ok(engine) => return Ok(engine),
                            Err(error) if must && !providers.is_empty() => return Err(error),
                            Err(error) => {
                                tracing::info!(%error, %precision, "ONNX Runtime does not run the bundle so");
                                refused = format!("; {error}");
                                first = first.or(Some(error));
                            }
                        }
                    }
                }
                Err(detail) => {
                    let error = ModelError::Engine { engine: onnxruntime::NAME, detail };
                    tracing::info!(%error, "no ONNX Runtime");
                    refused = format!("; {error}");
                    first = Some(error);
                }
            }
        }
        if let Some(error) = first.filter(|_| must) {
            return Err(error);
        }
        if self.precision == Some(Precision::Int8) {
            let detail = format!("runs in f32 only, and int8 was asked for{refused}");
            return Err(ModelError::Engine { engine: tract::NAME, detail });
        }
        let reason = if refused.is_empty() { "asked for".to_owned() } else { format!("the embedded engine{refused}") };
        checked(Arc::new(TractEngine::build(bundle, reason)?))
    }

    /// What ONNX Runtime should try on `bundle`, the fastest first, and why.
    fn tries(&self, bundle: &Bundle) -> Vec<Try<'_>> {
        let mut tries = Vec::new();
        let mut add = |precision, providers, reason: &str| {
            tries.push(Try { precision, providers, reason: reason.to_owned() });
        };
        if !self.providers.is_empty() {
            add(self.precision.unwrap_or(Precision::F32), &self.providers[..], "execution providers are named");
        }
        if let Some(precision) = self.precision {
            add(precision, &[], &format!("{precision} was asked for"));
            return tries;
        }
        match (bundle.has(Precision::Int8), onnxruntime::fast_int8()) {
            (true, Some(feature)) => {
                add(Precision::Int8, &[], &format!("int8, as the processor has {feature}"));
                add(Precision::F32, &[], "f32");
            }
            (false, _) => add(Precision::F32, &[], "f32, as the bundle has no int8 file"),
            (true, None) => add(Precision::F32, &[], "f32, as the processor has no fast int8"),
        }
        tries
    }
}

/// One way of ONNX Runtime to run a bundle.
struct Try<'a> {
    precision: Precision,
    providers: &'a [Provider],
    reason: String,
}
