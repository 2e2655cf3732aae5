//! A manifest as a stream of rows, each a photo of a product: CSV, lines of JSON or Parquet, of any length in constant memory.
//! Files of spreadsheets are taken as they come: byte order mark, CRLF, quotes, `;` or tabs between columns. A bad row is a
//! row that failed, with its line; only a bad head refuses the whole file.

mod columns;
mod csv;
mod ndjson;
pub(crate) mod parquet;
#[cfg(test)]
mod tests;

use super::source::is_fetched;
use crate::catalog::{Metadata, NewRow, RowContent, RowFault, validate_id};
use crate::photo::Area;
use columns::{Column, area};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use url::Url;
use utoipa::ToSchema;

/// Longest row, in bytes: longer ones fail, and are never held whole.
const MAX_ROW_BYTES: usize = 1 << 20;
/// Longest place of a photo, as a URL.
pub const MAX_URI_BYTES: usize = 4_096;
/// Most columns.
const MAX_COLUMNS: usize = 4_096;
/// Bytes looked at to tell what a file is.
const HEAD_BYTES: u64 = 64 << 10;

/// How a manifest is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Comma, semicolon or tab separated, with a head; or without one, as for Google's Product Search.
    Csv,
    /// An object a line.
    Ndjson,
    /// Columns with the heads of CSV.
    Parquet,
}

impl Format {
    /// By a file's name; CSV unless it says otherwise.
    pub fn of_path(path: &str) -> Self {
        let extension = path.rsplit('.').next().unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "ndjson" | "jsonl" => Self::Ndjson,
            "parquet" => Self::Parquet,
            _ => Self::Csv,
        }
    }
}

/// Where photos lie that a manifest names by a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// Below this folder.
    Folder(PathBuf),
    /// Beside this file.
    Beside(Url),
    /// Nowhere: only URLs can be used.
    Nowhere,
}

impl Base {
    /// The folder that the file at `path` lies in.
    ///
    /// # Errors
    /// When the current folder is gone.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        Ok(Self::Folder(path.parent().map_or_else(|| path.clone(), Path::to_path_buf)))
    }

    fn url(&self, uri: &str) -> Result<String, String> {
        let unsupported = || {
            let paths = if matches!(self, Self::Nowhere) { "" } else { "a path or " };
            format!("image_uri: expected {paths}an http, https, file, s3, gs, az or abfs URL, received {uri:?}")
        };
        // `C:\photos\a.jpg` parses as a URL of scheme `c`.
        let url = match Url::parse(uri).ok().filter(|url| url.scheme().len() > 1) {
            Some(url) => url,
            None => match self {
                Self::Folder(folder) => Url::from_file_path(folder.join(uri)).map_err(|()| unsupported())?,
                Self::Beside(base) => base.join(uri).map_err(|_| unsupported())?,
                Self::Nowhere => return Err(unsupported()),
            },
        };
        if is_fetched(url.scheme()) { Ok(url.into()) } else { Err(unsupported()) }
    }
}

/// Whether the file at `path` has the head of a manifest that names photos.
pub fn is_manifest(path: &Path) -> bool {
    open_file(path).is_ok_and(|rows| match &rows.format {
        Records::Csv(records) => records.has_photos(),
        Records::Ndjson(_) | Records::Parquet(_) => true,
    })
}

/// The manifest at `path`, whose photos may lie beside it.
///
/// # Errors
/// When it cannot be read, or has no usable head.
pub fn open_file(path: &Path) -> Result<Rows<BufReader<File>>, ManifestError> {
    let base = Base::of_file(path)?;
    Rows::of_file(File::open(path)?, Format::of_path(&path.to_string_lossy()), base)
}

/// Why a manifest cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Its bytes could not be read.
    #[error("cannot read the manifest: {0}")]
    Io(#[from] io::Error),
    /// It is not in UTF-8.
    #[error("the manifest is {received}; save it as UTF-8")]
    Encoding {
        /// What it is.
        received: &'static str,
    },
    /// It is no Parquet, or broken.
    #[error("the manifest is not Parquet that can be read: {detail}")]
    Parquet {
        /// What is wrong.
        detail: String,
    },
    /// Its head lacks columns.
    #[error("no column {}; the head says: {received}", missing.join(", "))]
    Columns {
        /// What it lacks.
        missing: Vec<&'static str>,
        /// What it has, shortened.
        received: String,
    },
}

/// The rows of a manifest.
pub struct Rows<R> {
    base: Base,
    format: Records<R>,
    row: u64,
}

enum Records<R> {
    Csv(Box<csv::Records<R>>),
    Ndjson(ndjson::Records<R>),
    Parquet(Box<parquet::Records>),
}

/// What is told of a file before its first row is taken.
type Started<R> = io::Chain<io::Cursor<Vec<u8>>, R>;

impl Rows<BufReader<File>> {
    /// Reads the head of a file.
    ///
    /// # Errors
    /// When it cannot be read, is not what `format` says, or has no usable head.
    pub fn of_file(file: File, format: Format, base: Base) -> Result<Self, ManifestError> {
        match format {
            Format::Parquet => {
                Ok(Self { base, format: Records::Parquet(Box::new(parquet::Records::open(file)?)), row: 0 })
            }
            Format::Csv => Self::of_text(BufReader::new(file), Text::Csv, base),
            Format::Ndjson => Self::of_text(BufReader::new(file), Text::Ndjson, base),
        }
    }
}

/// Formats that are text.
#[derive(Clone, Copy, Debug)]
enum Text {
    Csv,
    Ndjson,
}

impl<R: BufRead> Rows<R> {
    fn of_text(mut input: R, format: Text, base: Base) -> Result<Self, ManifestError> {
        let mut head = Vec::new();
        input.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
        if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
            return Err(ManifestError::Encoding { received: "UTF-16" });
        }
        if head.starts_with(b"\xef\xbb\xbf") {
            head.drain(..3);
        }
        let format = match format {
            Text::Csv => Records::Csv(Box::new(csv::Records::open(head, input)?)),
            Text::Ndjson => Records::Ndjson(ndjson::Records::new(head, input)),
        };
        Ok(Self { base, format, row: 0 })
    }

    /// Columns that mean nothing here, of the rows so far.
    pub fn ignored(&self) -> &[String] {
        match &self.format {
            Records::Csv(records) => records.ignored(),
            Records::Ndjson(records) => records.ignored(),
            Records::Parquet(records) => records.ignored(),
        }
    }
}

impl<R: BufRead> Iterator for Rows<R> {
    type Item = Result<NewRow, ManifestError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = match &mut self.format {
            Records::Csv(records) => records.next().map_err(ManifestError::from),
            Records::Ndjson(records) => records.next().map_err(ManifestError::from),
            Records::Parquet(records) => records.next(),
        };
        match record {
            Err(error) => Some(Err(error)),
            Ok(None) => None,
            Ok(Some((line, cells))) => {
                self.row += 1;
                let content = cells.and_then(|cells| cells.content(&self.base));
                let content = content.map_err(|(cause, detail)| RowFault {
                    cause: cause.to_owned(),
                    detail,
                    attempts: 0,
                    retryable: false,
                });
                Some(Ok(NewRow { row: self.row, line, content }))
            }
        }
    }
}

/// Checks that rows say which product they are of, and something of it: where a photo lies, or at least what it is like.
fn check_columns(columns: &[Column], heads: impl FnOnce() -> Vec<String>) -> Result<(), ManifestError> {
    let has = |column: &Column| columns.contains(column);
    let says_something = has(&Column::ImageUri)
        || (columns.iter().any(Column::is_metadata) && !has(&Column::ImageId) && !has(&Column::Area));
    let mut missing = Vec::new();
    missing.extend((!has(&Column::ProductId)).then_some("product_id"));
    missing.extend((!says_something).then_some("image_uri"));
    if missing.is_empty() {
        return Ok(());
    }
    let received: Vec<String> = heads().into_iter().take(20).collect();
    Err(ManifestError::Columns { missing, received: received.join(", ") })
}

/// Why a row cannot be used: what it counts under, and what exactly.
type Fault = (&'static str, String);

/// A record of the file: the line it begins on, and its cells or why there are none.
type Record = (u64, Result<Cells, Fault>);

/// The cells of a row that mean something.
#[derive(Clone, Debug, Default, PartialEq)]
struct Cells {
    product_id: String,
    image_id: Option<String>,
    /// `None` where the manifest does not speak of photos.
    uri: Option<String>,
    area: Option<Area>,
    metadata: Metadata,
}

impl Cells {
    /// Takes in a cell, trimmed; one that is blank says nothing.
    fn put(&mut self, column: &Column, cell: &str) -> Result<(), Fault> {
        match column {
            // Said to be nothing: a photo that was forgotten must be told.
            Column::ImageUri => self.uri = Some(cell.to_owned()),
            _ if cell.is_empty() => {}
            Column::ProductId => cell.clone_into(&mut self.product_id),
            Column::ImageId => self.image_id = Some(cell.to_owned()),
            Column::Area => self.area = Some(area(cell).map_err(bad_value)?),
            other => other.read(cell, &mut self.metadata).map_err(bad_value)?,
        }
        Ok(())
    }

    fn content(self, base: &Base) -> Result<RowContent, Fault> {
        // An image, or nothing, without a photo: that was forgotten.
        let of_an_image = self.image_id.is_some() || self.area.is_some();
        let says_nothing = self.uri.is_none() && (of_an_image || self.metadata == Metadata::default());
        for (field, is_blank) in [
            ("product_id", self.product_id.is_empty()),
            ("image_uri", self.uri.as_ref().is_some_and(String::is_empty) || says_nothing),
        ] {
            if is_blank {
                return Err(("missing value", format!("{field} is blank")));
            }
        }
        let Self { product_id, image_id, uri, area, metadata } = self;
        validate_id("product_id", &product_id).map_err(|e| bad_value(e.to_string()))?;
        image_id.as_deref().map_or(Ok(()), |id| validate_id("image_id", id)).map_err(|e| bad_value(e.to_string()))?;
        metadata.validate().map_err(|e| bad_value(e.to_string()))?;
        let uri = uri.map(|uri| base.url(&uri)).transpose().map_err(bad_value)?;
        if let Some(uri) = uri.as_ref().filter(|uri| uri.len() > MAX_URI_BYTES) {
            return Err(bad_value(format!("image_uri: {} bytes, at most {MAX_URI_BYTES}", uri.len())));
        }
        Ok(RowContent { product_id, image_id, uri, area, metadata })
    }
}

fn bad_value(detail: String) -> Fault {
    ("bad value", detail)
}

fn too_long() -> Fault {
    ("row too long", format!("more than {MAX_ROW_BYTES} bytes, or {MAX_COLUMNS} columns"))
}

/// At most 40 characters of a cell: what is no manifest at all may have megabytes without a comma.
fn shown(cell: &[u8]) -> String {
    String::from_utf8_lossy(&cell[..cell.len().min(160)]).chars().take(40).collect()
}
