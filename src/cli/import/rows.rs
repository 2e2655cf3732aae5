//! What an import has to do, whether a folder or a manifest said so: photos, products, and rows that cannot be used.

use crate::catalog::Metadata;
use std::collections::HashMap;
use std::path::PathBuf;

/// Where the photo of a row lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A file of this machine.
    File(PathBuf),
    /// `http` or `https`, fetched under the service's rules.
    Url(String),
}

impl Place {
    /// For people.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Url(url) => url.clone(),
        }
    }
}

/// One photo to import.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// Line of the manifest, 0 for a folder.
    pub(super) line: u64,
    /// Product it shows.
    pub(super) product_id: String,
    /// Its own id; `None`: named by its hash.
    pub(super) image_id: Option<String>,
    /// Where it lies.
    pub(super) place: Place,
}

/// A row that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejected {
    /// Line of the manifest, 0 for a folder.
    pub(super) line: u64,
    /// Which cause it counts under.
    pub(super) cause: &'static str,
    /// What exactly is wrong.
    pub(super) detail: String,
}

/// Everything an import has to do.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// Photos, in the order of the manifest or of the paths.
    pub(super) rows: Vec<Row>,
    /// What is said of each product, all its rows taken together.
    pub(super) products: HashMap<String, Metadata>,
    /// Rows that cannot be used.
    pub(super) rejected: Vec<Rejected>,
    /// Columns that mean nothing here.
    pub(super) ignored_columns: Vec<String>,
    /// Rows that repeat an earlier one word for word.
    pub(super) repeated: usize,
}
