//! Everything a request can end in, stage by stage; `http` maps it to a status in one place.

use crate::catalog::{CatalogError, JobState};
use crate::filter::FilterError;
use crate::index::IndexError;
use crate::jobs::{FolderError, ManifestError, SourceError};
use crate::model::ModelError;
use crate::photo::{FetchError, PhotoError};
use crate::scheduler::SchedulerError;
use crate::similar::SimilarError;

/// Why the service did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The photo's fault.
    #[error(transparent)]
    Photo(#[from] PhotoError),
    /// The URL's fault.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The bundle's fault.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The store: unknown ids, conflicts, disk.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The index: ours.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The filter's fault.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The query's fault.
    #[error(transparent)]
    Similar(#[from] SimilarError),
    /// Busy, stopping, or a contained panic.
    #[error(transparent)]
    Scheduler(#[from] SchedulerError),
    /// Whoever asked has gone: nobody is told.
    #[error("nobody waits for the answer any more")]
    Abandoned,
    /// An attribute name or value that the model's taxonomy does not have.
    #[error("{name}: `{received}` is not known; expected {expected}")]
    UnknownAttribute {
        /// Which attribute was corrected.
        name: String,
        /// What came.
        received: String,
        /// What the taxonomy has.
        expected: String,
    },
    /// No bundle has this version.
    #[error("no model bundle has version {version:?}; there are: {}", known.join(", "))]
    UnknownModel {
        /// What was asked for.
        version: String,
        /// Versions there are.
        known: Vec<String>,
    },
    /// The index of a version that should become live has missed a change.
    #[error("the new version's index has missed a change")]
    IndexNotPrepared,
    /// A photo that the store refers to is not on disk any more.
    #[error("the photo {sha256} is missing from the store")]
    PhotoMissing {
        /// Its hash, hex.
        sha256: String,
    },
    /// An answer could not be written as JSON: ours.
    #[error("cannot encode the answer: {0}")]
    Encode(#[source] serde_json::Error),
    /// The system refused a thread at start.
    #[error("cannot start a thread: {0}")]
    Threads(#[source] std::io::Error),
    /// A consumer of the feed is further than the log, or of another catalog.
    #[error("the log ends with {last}; {after} is not of this log")]
    BeyondLog {
        /// What came.
        after: u64,
        /// The last sequence number.
        last: u64,
    },
    /// A consumer of the feed is behind what is kept of the log.
    #[error("the log begins with {first}; what comes after {after} is gone")]
    BeforeLog {
        /// What came.
        after: u64,
        /// The first sequence number that is kept.
        first: u64,
    },
    /// A file of features could not be written: ours.
    #[error(transparent)]
    Features(#[from] crate::feed::FeaturesError),
    /// JetStream refuses, or cannot be reached.
    #[error(transparent)]
    JetStream(#[from] crate::feed::JetStreamError),
    /// A manifest that cannot be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A manifest that cannot be fetched.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A folder that cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A manifest with more bytes than are accepted.
    #[error("the manifest has more than {limit} bytes")]
    ManifestTooLong {
        /// Most bytes accepted.
        limit: u64,
    },
    /// There are as many webhooks as may be.
    #[error("there are {limit} webhooks already")]
    TooManyWebhooks {
        /// Most webhooks.
        limit: u64,
    },
    /// No such delivery was given up.
    #[error("change {seq} is not among the deliveries that were given up")]
    UnknownDelivery {
        /// The change asked for.
        seq: u64,
    },
    /// As many jobs wait as may.
    #[error("{limit} jobs wait or run already")]
    TooManyJobs {
        /// Most jobs that may.
        limit: u64,
    },
    /// What is wanted of a job is not to be had of one that is so far.
    #[error("job {id} is {}; it cannot be {wanted}", state.as_str())]
    JobState {
        /// Which job.
        id: String,
        /// How far it is.
        state: JobState,
        /// What was wanted.
        wanted: &'static str,
    },
    /// A page cursor that this service did not write.
    #[error("the cursor is not one of this listing")]
    BadCursor,
}

impl ServiceError {
    /// A value of a request that cannot be used.
    pub(super) fn invalid(field: &'static str, expected: impl Into<String>, received: impl Into<String>) -> Self {
        CatalogError::Invalid { field, expected: expected.into(), received: received.into() }.into()
    }

    /// What a failure counts under: few enough to read at a glance, and the same for every photo with the same fault.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Photo(e) => photo_cause(e),
            Self::Fetch(e) => e.cause(),
            Self::Model(_) => "model failed",
            Self::Catalog(_) => "refused by the catalog",
            Self::Index(_) => "index failed",
            Self::Scheduler(_) => "not done",
            _ => "refused",
        }
    }
}

fn photo_cause(error: &PhotoError) -> &'static str {
    match error {
        PhotoError::Empty => "empty file",
        PhotoError::NotAnImage { .. } => "not an image",
        PhotoError::UnsupportedFormat { .. } | PhotoError::UnsupportedFeature { .. } => "unsupported format",
        PhotoError::Truncated { .. } => "truncated",
        PhotoError::Malformed { .. } | PhotoError::SizeMismatch { .. } => "damaged",
        PhotoError::TooSmall { .. } => "too small",
        PhotoError::TooManyBytes { .. } => "file too long",
        PhotoError::TooManyPixels { .. } | PhotoError::SideTooLong { .. } | PhotoError::TooMuchMemory { .. } => {
            "too large"
        }
        PhotoError::TooManyFrames { .. } => "too many frames",
        PhotoError::BoxOutside { .. } | PhotoError::BoxTooSmall { .. } => "unusable box",
        _ => "cannot be decoded",
    }
}
