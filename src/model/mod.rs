//! A model bundle and the engines that run it: `Photo` to head logits, a unit embedding and a coarse region map.
//! A bundle is verified (hashes, shapes, golden outputs) before it is allowed to answer anything.

mod bundle;
mod engine;
mod error;
mod golden;
mod onnx;
mod onnxruntime;
mod preprocess;
mod tract;

#[cfg(test)]
mod tests;

pub use bundle::{
    Bundle, EmbeddingSpec, FileSpec, HeadKind, HeadSpec, InputSpec, Manifest, RegionSpec, ResizeRule, scan,
};
pub use engine::{Engine, EngineChoice, EngineConfig, EngineKind, Precision, Provider};
pub use error::ModelError;
pub use preprocess::tensor;

use crate::photo::Photo;
use std::path::Path;
use std::sync::Arc;

/// Dimension of every embedding.
pub const EMBEDDING_DIM: usize = 256;

/// A unit-length vector of [`EMBEDDING_DIM`] values; similarity is the dot product.
pub type Embedding = Vec<f32>;

/// What the model thinks of each cell of a coarse grid over the photo.
#[derive(Clone, Debug)]
pub struct RegionMap {
    /// Cells across.
    pub width: usize,
    /// Cells down.
    pub height: usize,
    /// Probability of "product sold" a cell, row-major (height, width), 0 to 1.
    pub product: Vec<f32>,
    /// Probability of skin a cell, row-major (height, width), 0 to 1.
    pub skin: Vec<f32>,
    /// Probability of hair a cell, row-major (height, width), 0 to 1.
    pub hair: Vec<f32>,
    /// Probability of other clothing a cell, row-major (height, width), 0 to 1.
    pub other: Vec<f32>,
}

impl RegionMap {
    /// From the graph's planes, `values` being (classes, height, width); a class that the bundle lacks is zero.
    fn new(spec: &RegionSpec, values: &[f32]) -> Self {
        let cells = spec.width * spec.height;
        let plane = |wanted: &str| {
            let mut planes = spec.classes.iter().zip(values.chunks_exact(cells));
            let found = planes.find(|(class, _)| *class == wanted);
            found.map_or_else(|| vec![0.0f32; cells], |(_, plane)| plane.to_vec())
        };
        Self {
            width: spec.width,
            height: spec.height,
            product: plane("product"),
            skin: plane("skin"),
            hair: plane("hair"),
            other: plane("other"),
        }
    }
}

/// What the model says of one photo.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// Raw logits, a vector a head, in the order of [`Manifest::heads`]; each as long as the head has labels.
    pub logits: Vec<Vec<f32>>,
    /// Unit-length embedding of [`EMBEDDING_DIM`] values.
    pub embedding: Embedding,
    /// Where the product and the skin are, if the bundle has such an output.
    pub regions: Option<RegionMap>,
}

/// A loaded, self-tested model: cheap to clone, shared by all threads.
#[derive(Clone)]
pub struct Model {
    bundle: Arc<Bundle>,
    engine: Arc<dyn Engine>,
}

impl Model {
    /// Loads the bundle in `dir`, builds an engine as `config` wants it and runs the golden cases on it.
    ///
    /// # Errors
    /// When a file is missing or does not match its hash, the graph cannot be built, its outputs do not fit the
    /// manifest, or a golden case comes out different.
    pub fn load(dir: &Path, config: &EngineConfig) -> Result<Self, ModelError> {
        let bundle = Arc::new(Bundle::open(dir)?);
        let golden = golden::Golden::open(&bundle)?;
        let model = |engine: &Arc<dyn Engine>| Self { bundle: Arc::clone(&bundle), engine: Arc::clone(engine) };
        let engine = config.build(&bundle, |engine| golden.check(&model(engine)))?;
        Ok(model(&engine))
    }

    /// A model over any engine, without golden cases: the seam by which the pipeline is tested without weights.
    pub fn with_engine(bundle: Bundle, engine: Arc<dyn Engine>) -> Self {
        Self { bundle: Arc::new(bundle), engine }
    }

    /// What the bundle says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.bundle.manifest
    }

    /// Version of the bundle; embeddings of different versions are never compared.
    pub fn version(&self) -> &str {
        &self.bundle.manifest.version
    }

    /// Which engine runs it, and at which precision.
    pub fn engine(&self) -> EngineKind {
        self.engine.kind()
    }

    /// Looks at one photo, on the calling thread and one core.
    ///
    /// # Errors
    /// When the engine fails or answers with a value that is not finite: both are faults of the bundle, not the photo.
    pub fn predict(&self, photo: &Photo) -> Result<Prediction, ModelError> {
        self.predict_tensor(&self.input(photo))
    }

    /// The graph's input for a photo, as [`tensor`] makes it.
    pub fn input(&self, photo: &Photo) -> Vec<f32> {
        tensor(photo.rgb(), &self.bundle.manifest.input)
    }

    /// As [`Model::predict`], from an input tensor as [`tensor`] makes it.
    ///
    /// # Errors
    /// As [`Model::predict`].
    pub fn predict_tensor(&self, input: &[f32]) -> Result<Prediction, ModelError> {
        let mut outputs = self.outputs(input)?;
        let spec = self.bundle.manifest.regions.as_ref();
        let regions = spec.and_then(|spec| outputs.pop().map(|values| RegionMap::new(spec, &values)));
        let embedding = outputs.pop().and_then(unit).ok_or(ModelError::NoEmbedding)?;
        Ok(Prediction { logits: outputs, embedding, regions })
    }

    /// What the engine says, checked: one vector an output of [`Manifest::output_names`], each of its length and finite.
    fn outputs(&self, input: &[f32]) -> Result<Vec<Vec<f32>>, ModelError> {
        let manifest = &self.bundle.manifest;
        let outputs = self.engine.run(input)?;
        let names = manifest.output_names();
        for (name, values) in names.iter().zip(&outputs) {
            let expected = manifest.output_len(name);
            if values.len() != expected {
                return Err(ModelError::OutputShape { output: (*name).to_owned(), expected, received: values.len() });
            }
            if !values.iter().all(|v| v.is_finite()) {
                return Err(ModelError::NotFinite { output: (*name).to_owned() });
            }
        }
        Ok(outputs)
    }
}

/// Scales to unit length in f64, so that rounding in the graph does not tilt scores; `None` for a vector that has no
/// direction, which the index could not hold.
fn unit(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let norm = vector.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    if norm < 1e-6 {
        return None;
    }
    for v in &mut vector {
        *v = (f64::from(*v) / norm) as f32;
    }
    Some(vector)
}
