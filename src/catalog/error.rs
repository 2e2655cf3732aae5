//! What can go wrong in the store, one variant a cause. Callers' faults name what was expected and received;
//! internal ones carry their source for the log and must not be sent to clients.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Failure of a catalog operation. Nothing was stored when a write returns one.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `create`, `write`, ...
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// SQLite refused for a reason that no caller can mend.
    #[error("database: {0}")]
    Sqlite(#[source] rusqlite::Error),
    /// The disk is full.
    #[error("no space left for the catalog")]
    StorageFull,
    /// No connection became free in time.
    #[error("the catalog is busy: no connection became free in {waited:?}")]
    Busy {
        /// How long the caller waited.
        waited: Duration,
    },
    /// The file was written by a newer version of this program.
    #[error("the catalog has schema version {found}, written by a newer version; this one reads up to {supported}")]
    NewerSchema {
        /// Version in the file.
        found: i64,
        /// Newest version known here.
        supported: i64,
    },
    /// Another process works on the same data directory.
    #[error("{} is held by another process", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// No such product.
    #[error("no product {product_id:?}")]
    UnknownProduct {
        /// The id asked for.
        product_id: String,
    },
    /// No such image of that product.
    #[error("no image {image_id:?} of product {product_id:?}")]
    UnknownImage {
        /// The product asked for.
        product_id: String,
        /// The image asked for.
        image_id: String,
    },
    /// No such job.
    #[error("no job {job_id:?}")]
    UnknownJob {
        /// The job asked for.
        job_id: String,
    },
    /// No such webhook.
    #[error("no webhook {webhook_id:?}")]
    UnknownWebhook {
        /// The webhook asked for.
        webhook_id: String,
    },
    /// The model version that looked is not the current one any more.
    #[error("seen by model version {received:?}, but {expected:?} is current by now")]
    OtherModel {
        /// The current version.
        expected: String,
        /// The version that looked.
        received: String,
    },
    /// The product has as many images as it may have.
    #[error("product {product_id:?} already has {limit} images, the most a product may have")]
    TooManyImages {
        /// The product.
        product_id: String,
        /// The most it may have.
        limit: usize,
    },
    /// An idempotency key came again with another request.
    #[error("idempotency key {key:?} was used before with a different request")]
    IdempotencyConflict {
        /// The key.
        key: String,
    },
    /// A value that may not be stored.
    #[error("{field}: expected {expected}, received {received}")]
    Invalid {
        /// Which value.
        field: &'static str,
        /// What it may be.
        expected: String,
        /// What it was.
        received: String,
    },
    /// What lies on disk is not what was written.
    #[error("the catalog is damaged: {what}")]
    Corrupt {
        /// What was found.
        what: String,
    },
}

impl CatalogError {
    /// Wraps an I/O error with what was tried on which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull => Self::StorageFull,
            _ => Self::Io { action, path, source },
        }
    }

    /// Whether the store failed, and not what was asked of it.
    pub fn is_of_the_store(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Sqlite(_) | Self::StorageFull | Self::Busy { .. } | Self::Corrupt { .. })
    }

    /// A value out of its bounds.
    pub(super) fn invalid(field: &'static str, expected: impl Into<String>, received: impl Into<String>) -> Self {
        Self::Invalid { field, expected: expected.into(), received: received.into() }
    }

    /// Damage found while reading.
    pub(super) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }
}

impl From<rusqlite::Error> for CatalogError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::corrupt(error.to_string()),
            Some(ErrorCode::DiskFull) => Self::StorageFull,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Busy { waited: super::schema::BUSY_TIMEOUT }
            }
            _ => Self::Sqlite(error),
        }
    }
}
