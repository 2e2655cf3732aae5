//! A labels file: `file` and a column an attribute. Which rows count, and what each is labeled.

use crate::cli::CliError;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Names of the column with the photo's path, relative to the folder of the photos.
const FILE: [&str; 4] = ["file", "path", "image_uri", "image"];

/// `column=value`: rows that hold it count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Where {
    pub(super) column: String,
    pub(super) value: String,
}

impl FromStr for Where {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (column, value) = text.split_once('=').ok_or("expected column=value")?;
        Ok(Self { column: column.trim().to_owned(), value: value.trim().to_owned() })
    }
}

/// A labels file, read.
#[derive(Clone, Debug)]
pub(super) struct Labels {
    head: Vec<String>,
    /// Cells as the file has them, blanks cut, and the photo's path.
    pub(super) rows: Vec<(PathBuf, Vec<String>)>,
    /// Lines that could not be used.
    pub(super) rejected: u64,
}

impl Labels {
    /// Reads the file at `path`; its photos are below `photos`, or below its own folder.
    ///
    /// # Errors
    /// When it cannot be read or has no column with paths.
    pub(super) fn read(path: &Path, photos: Option<&Path>) -> Result<Self, CliError> {
        let bytes = fs::read(path).map_err(CliError::io("read", path))?;
        let folder = photos.or_else(|| path.parent()).unwrap_or_else(|| Path::new(""));
        Self::parse(&bytes, folder).map_err(|detail| CliError::table(path, detail))
    }

    /// As [`Labels::read`], from bytes; paths are below `folder`.
    pub(super) fn parse(bytes: &[u8], folder: &Path) -> Result<Self, String> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(bytes);
        let head: Vec<String> = reader.headers().map_err(|e| e.to_string())?.iter().map(str::to_owned).collect();
        let file = FILE.iter().find_map(|name| head.iter().position(|h| h.eq_ignore_ascii_case(name)));
        let file = file.ok_or_else(|| format!("no column `file`; the head says: {}", head.join(", ")))?;
        let mut labels = Self { head, rows: Vec::new(), rejected: 0 };
        for record in reader.records() {
            // Not UTF-8, too few or too many cells, or no path: the row says nothing reliable.
            match record.ok().filter(|r| r.len() == labels.head.len() && !r[file].is_empty()) {
                Some(record) => {
                    let cells = record.iter().map(str::to_owned).collect();
                    labels.rows.push((folder.join(&record[file]), cells));
                }
                None => labels.rejected += 1,
            }
        }
        Ok(labels)
    }

    /// Position of a column.
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.head.iter().position(|h| h == name)
    }

    /// Position of the column `name` with the merchant's word for the color.
    ///
    /// # Errors
    /// When it is not there.
    pub(super) fn color_column(&self, name: &str) -> Result<usize, String> {
        self.column(name).ok_or_else(|| format!("no column `{name}` to judge colors by"))
    }

    /// Which rows hold all of `conditions`; of several for one column any.
    ///
    /// # Errors
    /// When a column is not there.
    pub(super) fn select(&self, conditions: &[Where]) -> Result<Vec<bool>, String> {
        let mut columns: HashMap<usize, Vec<&str>> = HashMap::new();
        for Where { column, value } in conditions {
            let unknown = || format!("no column `{column}`; the head says: {}", self.head.join(", "));
            columns.entry(self.column(column).ok_or_else(unknown)?).or_default().push(value);
        }
        let holds = |cells: &[String]| columns.iter().all(|(c, values)| values.contains(&cells[*c].as_str()));
        Ok(self.rows.iter().map(|(_, cells)| holds(cells)).collect())
    }
}

/// Which color names each merchant's label accepts: a CSV of `label,accepted_names`, names apart by blanks.
#[derive(Clone, Debug, Default)]
pub(super) struct ColorNames(HashMap<String, Vec<String>>);

impl ColorNames {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read or a row has not two cells.
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let bytes = fs::read(path).map_err(CliError::io("read", path))?;
        Self::parse(&bytes).map_err(|detail| CliError::table(path, detail))
    }

    /// As [`ColorNames::read`], from bytes.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
        let head = reader.headers().map_err(|e| e.to_string())?;
        if head.iter().ne(["label", "accepted_names"]) {
            return Err("expected the columns label,accepted_names".into());
        }
        let mut names = HashMap::new();
        for record in reader.records() {
            let record = record.map_err(|e| e.to_string())?;
            let accepted = record[1].split([' ', '|', ';']).filter(|n| !n.is_empty()).map(str::to_owned).collect();
            names.insert(normal(&record[0]), accepted);
        }
        Ok(Self(names))
    }

    /// What `label` accepts; nothing for a label that names no one color.
    pub(super) fn accepted(&self, label: &str) -> Option<&[String]> {
        self.0.get(&normal(label)).map(Vec::as_slice)
    }
}

/// A label as slugs are: `Casual Shoes` and `casual-shoes` are `casual_shoes`.
pub(super) fn normal(label: &str) -> String {
    let words = label.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("_")
}
