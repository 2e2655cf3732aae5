//! Bulk import: a manifest or a folder becomes rows, each a photo of a product, and rows become bytes. How a row ends is kept
//! by [`crate::catalog`]; [`crate::service`] runs jobs.
//!
//! | file | alone knows |
//! | --- | --- |
//! | `manifest` | how manifests are written |
//! | `folder` | what a folder of photos means |
//! | `objects` | object stores: S3, Google's, Azure's |
//! | `source` | where photos lie, who may be asked how often, and what is worth asking again |

mod folder;
mod manifest;
mod objects;
mod source;

pub use folder::{FolderError, photos_of, rows_of};
pub use manifest::parquet::{CHILD_COMMAND as READ_PARQUET, child as parquet_child};
pub use manifest::{Base, Format, MAX_URI_BYTES, ManifestError, Rows, is_manifest, open_file};
pub use objects::ObjectAccess;
pub(crate) use source::open;
pub use source::{Access, FileAccess, Got, SourceConfig, SourceError, Sources, is_fetched};

use crate::catalog::{JobRecord, JobState};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use utoipa::ToSchema;

/// Where the rows of a job come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobSource {
    /// A manifest that was sent; photos are named by URLs.
    Body {
        /// How it is written.
        format: Format,
    },
    /// A manifest that is fetched; photos are named by URLs, or by paths beside it.
    Uri {
        /// `http`, `https`, `file`, `s3`, `gs`, `az` or `abfs`.
        uri: String,
        /// How it is written.
        format: Format,
    },
    /// A manifest of this machine, given to a command.
    File {
        /// Where it lies.
        #[schema(value_type = String)]
        path: PathBuf,
    },
    /// A folder of photos, given to a command.
    Folder {
        /// Where it lies.
        #[schema(value_type = String)]
        path: PathBuf,
    },
}

impl JobSource {
    /// Whether a command runs it, in its own process and with its own files.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Folder { .. })
    }
}

/// A bulk job.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Job {
    /// UUID.
    pub id: String,
    /// How far it is. A job is done also with failed rows; it fails only when its manifest cannot be read.
    pub state: JobState,
    /// Where its rows come from.
    pub source: JobSource,
    /// Whether its manifest is still being read: `total` grows meanwhile.
    pub reading: bool,
    /// Rows of the manifest.
    pub total: u64,
    /// Looked at, stored and indexed.
    pub done: u64,
    /// In the catalog already, with the same photo, seen by the same model.
    pub unchanged: u64,
    /// Repeat an earlier row.
    pub duplicate: u64,
    /// Not done; `…/errors` says why.
    pub failed: u64,
    /// Still to be done.
    pub waiting: u64,
    /// Rows that end a second, of late; while it runs.
    pub rows_per_s: Option<f64>,
    /// Estimate of the seconds left; while it runs.
    pub seconds_left: Option<f64>,
    /// Columns of the manifest without a meaning here.
    pub ignored_columns: Vec<String>,
    /// Why it failed, or cannot go on for now.
    pub failure: Option<String>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    pub started_at: Option<String>,
    /// RFC 3339, UTC.
    pub finished_at: Option<String>,
}

impl Job {
    /// The job as it is kept, with how fast it goes, where it runs.
    pub fn new(record: JobRecord, source: JobSource, rows_per_s: Option<f64>) -> Self {
        let counts = record.counts;
        let waiting = record.total.saturating_sub(counts.ended());
        Self {
            reading: !record.is_read && !record.state.is_ended(),
            seconds_left: rows_per_s.filter(|rate| *rate > 0.0 && record.is_read).map(|rate| waiting as f64 / rate),
            id: record.id,
            state: record.state,
            source,
            total: record.total,
            done: counts.done,
            unchanged: counts.unchanged,
            duplicate: counts.duplicate,
            failed: counts.failed,
            waiting,
            rows_per_s,
            ignored_columns: record.ignored,
            failure: record.failure,
            created_at: record.created_at,
            started_at: record.started_at,
            finished_at: record.finished_at,
        }
    }
}
