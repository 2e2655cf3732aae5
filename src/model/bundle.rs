//! `manifest.json` and the files it vouches for: read, checked against each other, then trusted.

use super::{EMBEDDING_DIM, ModelError, Precision};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The bundle format this build reads.
const FORMAT: u32 = 1;

/// A bundle on disk whose files match their hashes.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Folder of the bundle.
    pub dir: PathBuf,
    /// What it says of itself.
    pub manifest: Manifest,
}

/// `manifest.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of the bundle; this build reads 1.
    pub format: u32,
    /// Name, as the folder is called.
    pub name: String,
    /// Version, unique a training run.
    pub version: String,
    /// Network, for people.
    #[serde(default)]
    pub architecture: String,
    /// Every file of the bundle but the manifest, by name.
    pub files: BTreeMap<String, FileSpec>,
    /// What the graph eats.
    pub input: InputSpec,
    /// The embedding output.
    pub embedding: EmbeddingSpec,
    /// The region map, for bundles that have one.
    #[serde(default)]
    pub regions: Option<RegionSpec>,
    /// Attribute heads, in the order answers list them.
    pub heads: Vec<HeadSpec>,
}

/// Hash of one file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FileSpec {
    /// SHA-256, hex.
    pub sha256: String,
}

/// Input of the graph: (1, 3, height, width), RGB, `(x / 255 - mean) / std`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InputSpec {
    /// Name of the graph's input.
    pub name: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// How a photo becomes that size.
    pub resize: ResizeRule,
    /// Mean a channel, of values 0 to 1.
    pub mean: [f32; 3],
    /// Standard deviation a channel, of values 0 to 1.
    pub std: [f32; 3],
}

/// How a photo becomes the size of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeRule {
    /// Both sides scaled on their own, triangle filter widened when shrinking (Pillow's `BILINEAR`).
    StretchBilinear,
}

/// The embedding output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EmbeddingSpec {
    /// Name of the graph's output.
    pub output: String,
    /// Length of the vector.
    pub dim: usize,
}

/// The region map's output: (classes, height, width), probabilities that sum to 1 in each cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RegionSpec {
    /// Name of the graph's output.
    pub output: String,
    /// Cells across.
    pub width: usize,
    /// Cells down.
    pub height: usize,
    /// What the planes are, in their order; `product`, `skin`, `hair` and `other` are read.
    pub classes: Vec<String>,
}

/// One attribute head.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HeadSpec {
    /// Name of the attribute.
    pub name: String,
    /// One label or several.
    pub kind: HeadKind,
    /// Name of the graph's output.
    pub output: String,
    /// Labels in the order of the logits.
    pub labels: Vec<String>,
    /// Logits are divided by it before softmax (Guo et al. 2017, temperature scaling).
    pub temperature: f32,
    /// Lowest calibrated confidence at which a label is asserted, 0 to 1.
    pub threshold: f32,
    /// The labels of another head for which this attribute makes sense; none: always.
    #[serde(default)]
    pub applies_to: Option<BTreeMap<String, Vec<String>>>,
}

/// One label or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadKind {
    /// Softmax: exactly one label is right.
    Single,
    /// Sigmoid a label: any number is right.
    Multi,
}

impl Manifest {
    /// Names of the graph's outputs: heads, the embedding, the region map where there is one. It is the order
    /// [`super::Engine::run`] answers in.
    pub fn output_names(&self) -> Vec<&str> {
        let regions = self.regions.as_ref().map(|r| r.output.as_str());
        self.heads.iter().map(|h| h.output.as_str()).chain([self.embedding.output.as_str()]).chain(regions).collect()
    }

    /// How many values that output has; 0 for one the manifest does not name.
    pub fn output_len(&self, output: &str) -> usize {
        if output == self.embedding.output {
            return self.embedding.dim;
        }
        if let Some(regions) = self.regions.as_ref().filter(|r| r.output == output) {
            return regions.width * regions.height * regions.classes.len();
        }
        self.heads.iter().find(|h| h.output == output).map_or(0, |h| h.labels.len())
    }

    fn check(&self) -> Result<(), String> {
        if self.version.is_empty() {
            return Err("`version` is empty".into());
        }
        if self.embedding.dim != EMBEDDING_DIM {
            return Err(format!("embedding has {} dimensions, expected {EMBEDDING_DIM}", self.embedding.dim));
        }
        if !(16..=1024).contains(&self.input.width) || !(16..=1024).contains(&self.input.height) {
            return Err(format!("input of {}x{}, expected 16 to 1024 a side", self.input.width, self.input.height));
        }
        if self.input.std.iter().any(|s| !s.is_finite() || *s <= 0.0) || self.input.mean.iter().any(|m| !m.is_finite())
        {
            return Err("`mean` and `std` must be finite, `std` positive".into());
        }
        if !self.files.contains_key(Precision::F32.file()) {
            return Err("`files` does not name model.onnx".into());
        }
        if let Some(r) = &self.regions {
            let sides = [r.width, r.height].iter().all(|side| (1..=256).contains(side));
            if !sides || !["product", "skin"].iter().all(|name| r.classes.iter().any(|c| c == name)) {
                return Err("`regions` needs 1 to 256 cells a side, and the classes product and skin".into());
            }
            if r.classes.len() > 16 || r.classes.iter().collect::<HashSet<_>>().len() != r.classes.len() {
                return Err("`regions` needs at most 16 classes, each once".into());
            }
        }
        let mut seen = HashSet::new();
        self.heads.iter().try_for_each(|head| {
            if seen.insert(head.name.as_str()) {
                self.check_head(head)
            } else {
                Err(format!("two heads `{}`", head.name))
            }
        })
    }

    fn check_head(&self, head: &HeadSpec) -> Result<(), String> {
        let name = &head.name;
        if head.labels.len() < 2 || head.labels.iter().collect::<HashSet<_>>().len() != head.labels.len() {
            return Err(format!("head `{name}` needs two or more different labels"));
        }
        if !head.temperature.is_finite() || head.temperature <= 0.0 || !(0.0..=1.0).contains(&head.threshold) {
            return Err(format!("head `{name}`: temperature must be positive, threshold 0 to 1"));
        }
        for (other, labels) in head.applies_to.iter().flatten() {
            let Some(other) = self.heads.iter().find(|h| &h.name == other) else {
                return Err(format!("head `{name}` applies to a head `{other}` that is not there"));
            };
            if let Some(label) = labels.iter().find(|l| !other.labels.contains(l)) {
                return Err(format!("head `{name}` applies to `{label}`, which head `{}` does not know", other.name));
            }
        }
        Ok(())
    }
}

impl Bundle {
    /// Reads the manifest in `dir` and checks every file it names against its hash.
    ///
    /// # Errors
    /// When something is missing, malformed, of another format, or not the file that was exported.
    pub fn open(dir: &Path) -> Result<Self, ModelError> {
        let manifest = read_manifest(dir)?;
        for (name, file) in &manifest.files {
            let path = dir.join(name);
            if Path::new(name).components().count() != 1 || name.starts_with('.') {
                return Err(ModelError::Malformed {
                    path,
                    detail: "a file of a bundle lies directly in its folder".into(),
                });
            }
            let bytes = fs::read(&path).map_err(|source| ModelError::Read { path: path.clone(), source })?;
            let received = hex::encode(Sha256::digest(&bytes));
            if received != file.sha256 {
                return Err(ModelError::Hash { path, expected: file.sha256.clone(), received });
            }
        }
        Ok(Self { dir: dir.to_owned(), manifest })
    }

    /// Whether it has the file for that precision.
    pub fn has(&self, precision: Precision) -> bool {
        self.manifest.files.contains_key(precision.file())
    }
}

fn read_manifest(dir: &Path) -> Result<Manifest, ModelError> {
    let path = dir.join("manifest.json");
    let bytes = fs::read(&path).map_err(|source| ModelError::Read { path: path.clone(), source })?;
    let malformed = |detail: String| ModelError::Malformed { path: path.clone(), detail };
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|e| malformed(e.to_string()))?;
    if manifest.format != FORMAT {
        return Err(ModelError::Format { expected: FORMAT, received: manifest.format });
    }
    manifest.check().map_err(malformed)?;
    Ok(manifest)
}

/// The manifests of all bundles directly below `models_dir`, by folder, in the folders' order. A folder without a
/// readable manifest is passed over; loading it by name says why.
pub fn scan(models_dir: &Path) -> Vec<(PathBuf, Manifest)> {
    let mut found: Vec<_> = fs::read_dir(models_dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| read_manifest(&entry.path()).ok().map(|m| (entry.path(), m)))
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}
