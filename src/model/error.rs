//! What can be wrong with a bundle or its engine; never with a photo.

use std::path::PathBuf;

/// Why a model cannot be loaded or did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file of the bundle cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `manifest.json` or `golden.json` is not what it should be.
    #[error("{}: {detail}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The bundle is of a format this build does not read.
    #[error("bundle format {received}; this build reads format {expected}")]
    Format {
        /// What this build reads.
        expected: u32,
        /// What the manifest says.
        received: u32,
    },
    /// A file is not the one the manifest was written for.
    #[error("{}: sha256 {received}, the manifest says {expected}", path.display())]
    Hash {
        /// Which file.
        path: PathBuf,
        /// What the manifest says.
        expected: String,
        /// What was read.
        received: String,
    },
    /// The engine could not build or run the graph.
    #[error("engine {engine}: {detail}")]
    Engine {
        /// Which engine.
        engine: &'static str,
        /// What it said.
        detail: String,
    },
    /// An output is not as long as the manifest says.
    #[error("output `{output}` has {received} values, the manifest says {expected}")]
    OutputShape {
        /// Which output.
        output: String,
        /// What the manifest says.
        expected: usize,
        /// What came.
        received: usize,
    },
    /// An output holds NaN or infinity.
    #[error("output `{output}` holds a value that is not finite")]
    NotFinite {
        /// Which output.
        output: String,
    },
    /// The engine gave no embedding, or one of length zero.
    #[error("the engine gave no embedding that has a direction")]
    NoEmbedding,
    /// A golden case came out different.
    #[error("golden case `{case}`, output `{output}`: off by {received}, at most {tolerance} is allowed")]
    Golden {
        /// Which case.
        case: String,
        /// Which output.
        output: String,
        /// What the bundle allows.
        tolerance: f64,
        /// What was measured.
        received: f64,
    },
}
