//! Why a command failed: one line for a person, and the process's exit code.

use super::term::clean;
use crate::catalog::CatalogError;
use crate::model::ModelError;
use crate::service::ServiceError;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, ...
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A manifest or labels file is not what it should be.
    #[error("{}: {detail}", path.display())]
    Table {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// An option's value that only the command can judge.
    #[error("{option}: {detail}")]
    Option {
        /// The option.
        option: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// Open to the network without keys.
    #[error(
        "refusing to listen on {listen} without API keys: anybody who reaches it could change the catalog; \
         give --keys-file (lines from `vitrine keys new`) or listen on 127.0.0.1"
    )]
    OpenToAll {
        /// Where it was to listen.
        listen: SocketAddr,
    },
    /// The address is taken or not ours.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Another process works on the data folder.
    #[error(
        "{} is in use by another vitrine process (a running server?): stop it, or send the photos to it over HTTP",
        data_dir.display()
    )]
    DataInUse {
        /// The data folder.
        data_dir: PathBuf,
    },
    /// The model cannot be used.
    #[error("model {}: {source}", dir.display())]
    Model {
        /// Folder of the bundle.
        dir: PathBuf,
        /// Why.
        source: ModelError,
    },
    /// The service refused.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The server or its keys.
    #[error("{0}")]
    Server(String),
    /// Nothing of what was asked succeeded.
    #[error("{0}")]
    NothingDone(String),
    /// Standard output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// The system refused threads or signals.
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
    /// Broken off by a second Ctrl-C.
    #[error("broken off")]
    Interrupted,
}

impl CliError {
    /// The message on one line and without control characters, whatever a library or a file put into it.
    pub fn one_line(&self) -> String {
        clean(&self.to_string().split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// 130 as shells expect after Ctrl-C, 2 for values that only the command could judge, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Interrupted => 130,
            Self::Option { .. } | Self::OpenToAll { .. } => 2,
            _ => 1,
        }
    }

    /// Says what was tried on which path.
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// A fault of the table at `path`.
    pub(super) fn table(path: impl Into<PathBuf>, detail: impl Into<String>) -> Self {
        Self::Table { path: path.into(), detail: detail.into() }
    }

    /// Failure to open the service on `data_dir`: a held lock gets its own, helpful words.
    pub(super) fn opening(error: ServiceError, data_dir: PathBuf) -> Self {
        match error {
            ServiceError::Catalog(CatalogError::Locked { .. }) => Self::DataInUse { data_dir },
            other => Self::Service(other),
        }
    }
}
