//! The fast engine: ONNX Runtime, through a library that is found at run time. One session a photo that is looked at at
//! a time, each on the thread that calls it: its own pool of threads would fight the scheduler's.
//!
//! Tried and rejected: one session run from many threads. ONNX Runtime documents it, the binding forbids it (allocators
//! of some providers are not safe so).

mod library;

pub(super) use library::load;

use super::engine::{EngineKind, Precision, Provider};
use super::{Bundle, Engine, InputSpec, ModelError};
use library::Runtime;
use ort::ep;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// As it is called in options, logs and answers.
pub(super) const NAME: &str = "onnxruntime";

/// A bundle's graph in as many sessions as photos are looked at side by side.
pub(super) struct OnnxRuntime {
    sessions: Vec<Mutex<Session>>,
    input: String,
    shape: [usize; 4],
    outputs: Vec<String>,
    kind: EngineKind,
}

impl OnnxRuntime {
    /// Builds the sessions, side by side.
    pub(super) fn build(
        bundle: &Bundle,
        runtime: &Runtime,
        precision: Precision,
        providers: &[Provider],
        threads: usize,
        reason: &str,
    ) -> Result<Self, ModelError> {
        let path = bundle.dir.join(precision.file());
        if !bundle.has(precision) {
            let detail = format!("{precision} was asked for, and the bundle has no {}", precision.file());
            return Err(ModelError::Engine { engine: NAME, detail });
        }
        let graph = std::fs::read(&path).map_err(|source| ModelError::Read { path, source })?;
        let session = || session(runtime, &graph, precision, providers).map_err(|e| fault(&e));
        let sessions = std::thread::scope(|scope| {
            let building: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(session)).collect();
            let panicked = || ModelError::Engine { engine: NAME, detail: "building a session panicked".into() };
            building.into_iter().map(|b| b.join().map_err(|_| panicked()).flatten()).collect::<Result<Vec<_>, _>>()
        })?;
        let InputSpec { width, height, .. } = bundle.manifest.input;
        let names: Vec<_> = providers.iter().map(|p| format!("{p:?}").to_lowercase()).collect();
        let place = if names.is_empty() { String::new() } else { format!(" on {}", names.join(", ")) };
        Ok(Self {
            sessions: sessions.into_iter().map(Mutex::new).collect(),
            input: bundle.manifest.input.name.clone(),
            shape: [1, 3, height as usize, width as usize],
            outputs: bundle.manifest.output_names().into_iter().map(str::to_owned).collect(),
            kind: EngineKind {
                name: NAME,
                precision,
                reason: format!("ONNX Runtime {}{place}; {reason}", runtime.version),
            },
        })
    }

    fn outputs(&self, input: &[f32]) -> ort::Result<Vec<Vec<f32>>> {
        let mut session = free(&self.sessions).ok_or_else(|| ort::Error::new("no session"))?;
        let tensor = TensorRef::from_array_view((self.shape, input))?;
        let outputs = session.run(ort::inputs![self.input.as_str() => tensor])?;
        let values = |name: &String| {
            let output = outputs.get(name).ok_or_else(|| ort::Error::new(format!("no output `{name}`")))?;
            Ok(output.try_extract_tensor::<f32>()?.1.to_vec())
        };
        self.outputs.iter().map(values).collect()
    }
}

impl Engine for OnnxRuntime {
    fn kind(&self) -> EngineKind {
        self.kind.clone()
    }

    fn run(&self, input: &[f32]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.outputs(input).map_err(|e| fault(&e))
    }
}

/// Whichever of the processor's features makes 8-bit integers faster than floating point and as exact: without it they
/// are multiplied in 16 bits, which overflow (ONNX Runtime's documentation, "U8S8 saturation").
pub(super) fn fast_int8() -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512vnni") {
            return Some("AVX-512 VNNI");
        }
        if is_x86_feature_detected!("avxvnni") {
            return Some("AVX-VNNI");
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        if std::arch::is_aarch64_feature_detected!("i8mm") {
            return Some("I8MM");
        }
        if std::arch::is_aarch64_feature_detected!("dotprod") {
            return Some("DotProd");
        }
    }
    None
}

fn session(runtime: &Runtime, graph: &[u8], precision: Precision, providers: &[Provider]) -> ort::Result<Session> {
    let mut builder = Session::builder(&runtime.environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        // The f32 file stores its weights as int8 behind `DequantizeLinear`: decoded once, not at every photo (171 to
        // 113 ms each on one core).
        .with_quant_qdq(precision == Precision::Int8)?
        .with_execution_providers(providers.iter().map(|p| provider(*p).error_on_failure()).collect::<Vec<_>>())?;
    builder.commit_from_memory(graph)
}

fn provider(provider: Provider) -> ep::ExecutionProviderDispatch {
    match provider {
        Provider::Cuda => ep::CUDA::default().build(),
        Provider::Tensorrt => ep::TensorRT::default().build(),
        Provider::Migraphx => ep::MIGraphX::default().build(),
        Provider::Openvino => ep::OpenVINO::default().build(),
        Provider::Directml => ep::DirectML::default().build(),
        Provider::Coreml => ep::CoreML::default().build(),
    }
}

fn fault(error: &ort::Error) -> ModelError {
    ModelError::Engine { engine: NAME, detail: error.to_string() }
}

/// A session that nobody uses. The scheduler has no more threads than there are sessions; whoever calls beside it waits
/// for one. What a panic left behind is a session like any other: it is whole between two runs.
fn free(sessions: &[Mutex<Session>]) -> Option<MutexGuard<'_, Session>> {
    let free = sessions.iter().find_map(|session| match session.try_lock() {
        Ok(free) => Some(free),
        Err(TryLockError::Poisoned(left)) => Some(left.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    });
    free.or_else(|| sessions.first().map(|busy| busy.lock().unwrap_or_else(PoisonError::into_inner)))
}
