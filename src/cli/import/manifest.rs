//! A manifest in CSV to a [`Plan`]. Files of spreadsheets are taken as they come: byte order mark, CRLF, quotes,
//! `;` or tabs between columns. A bad row is rejected with its line; only a bad head rejects the whole file.

use super::columns::{Column, complete};
use super::rows::{Place, Plan, Rejected, Row};
use crate::catalog::{Metadata, validate_id};
use crate::cli::CliError;
use csv::ByteRecord;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::path::Path;
use url::Url;

/// Most rows of one manifest: about 2 GB of memory. Larger catalogs come in several manifests.
const MAX_ROWS: u64 = 5_000_000;

/// What heads a manifest needs.
const NEEDED: [(&str, Column); 2] = [("product_id", Column::ProductId), ("image_uri", Column::ImageUri)];

/// Reads the manifest at `path`; relative paths in it are below its own folder.
///
/// # Errors
/// When it cannot be read, is not text in UTF-8, or has no usable head.
pub(super) fn read(path: &Path) -> Result<Plan, CliError> {
    let bytes = fs::read(path).map_err(CliError::io("read", path))?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    parse(&bytes, folder).map_err(|detail| CliError::table(path, detail))
}

/// Whether the head of the file at `path` has the columns of a manifest.
pub(super) fn is_manifest(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| {
        let mut reader = reader(&bytes);
        reader.byte_headers().is_ok_and(|head| head_columns(head).is_ok())
    })
}

/// As [`read`], from bytes; `folder` is where relative paths start.
pub(super) fn parse(bytes: &[u8], folder: &Path) -> Result<Plan, String> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err("the file is UTF-16; save it as UTF-8".into());
    }
    let bytes = without_mark(bytes);
    let mut reader = reader(bytes);
    let head = reader.byte_headers().map_err(|e| e.to_string())?.clone();
    let (columns, ignored_columns) = head_columns(&head)?;
    let mut parser = Parser { columns, folder, plan: Plan::default(), seen: HashMap::new() };
    parser.plan.ignored_columns = ignored_columns;
    let mut record = ByteRecord::new();
    let mut rows = 0;
    while reader.read_byte_record(&mut record).map_err(|e| e.to_string())? {
        rows += 1;
        if rows > MAX_ROWS {
            return Err(format!("more than {MAX_ROWS} rows; split the manifest"));
        }
        let line = record.position().map_or(0, |p| line(bytes, p));
        if let Err((cause, detail)) = parser.row(line, &record) {
            parser.plan.rejected.push(Rejected { line, cause, detail });
        }
    }
    Ok(parser.plan)
}

/// Without the byte order mark of UTF-8.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Line on which a record starts, the head's being 1. The position `csv` gives lies before the line feed of a CRLF
/// and before blank lines.
fn line(bytes: &[u8], position: &csv::Position) -> u64 {
    let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let rest = bytes.get(start..).unwrap_or_default();
    let ends = rest.iter().take_while(|b| matches!(b, b'\r' | b'\n'));
    position.line() + ends.filter(|b| **b == b'\n').count() as u64
}

fn reader(bytes: &[u8]) -> csv::Reader<&[u8]> {
    let bytes = without_mark(bytes);
    csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).delimiter(delimiter(bytes)).from_reader(bytes)
}

/// The one of `,`, `;` and tab that the first line has most of; a comma when it has none.
fn delimiter(bytes: &[u8]) -> u8 {
    let line = bytes.split(|b| matches!(b, b'\n' | b'\r')).next().unwrap_or_default();
    let count = |d: u8| line.iter().filter(|b| **b == d).count();
    // Of equal counts `max_by_key` takes the last.
    [b'\t', b';', b','].into_iter().max_by_key(|d| count(*d)).unwrap_or(b',')
}

/// What each column holds, and the heads that mean nothing.
fn head_columns(head: &ByteRecord) -> Result<(Vec<Option<Column>>, Vec<String>), String> {
    let mut columns: Vec<Option<Column>> = Vec::new();
    let mut ignored = Vec::new();
    for cell in head {
        let name = std::str::from_utf8(cell).map_err(|_| "the head is not UTF-8; save the file as UTF-8".to_owned())?;
        // Of two columns for one field the first counts: `id` beside `product_id`, `image` beside `image_uri`.
        let column = Column::named(name).filter(|c| !columns.iter().flatten().any(|known| known == c));
        if column.is_none() {
            ignored.push(name.to_owned());
        }
        columns.push(column);
    }
    let missing: Vec<&str> =
        NEEDED.iter().filter(|(_, c)| !columns.iter().flatten().any(|have| have == c)).map(|(n, _)| *n).collect();
    if missing.is_empty() {
        return Ok((columns, ignored));
    }
    let found: Vec<_> = head.iter().take(20).map(shown).collect();
    Err(format!("no column {}; the head says: {}", missing.join(", "), found.join(", ")))
}

/// At most 40 characters of a cell: what is no manifest at all may have megabytes without a comma.
fn shown(cell: &[u8]) -> String {
    String::from_utf8_lossy(cell).chars().take(40).collect()
}

struct Parser<'a> {
    columns: Vec<Option<Column>>,
    folder: &'a Path,
    plan: Plan,
    /// Index in `plan.rows` by product and image (its id, or its place where it has none).
    seen: HashMap<(String, String), usize>,
}

impl Parser<'_> {
    fn row(&mut self, line: u64, record: &ByteRecord) -> Result<(), (&'static str, String)> {
        if record.len() != self.columns.len() {
            let detail = format!("{} cells, the head has {}", record.len(), self.columns.len());
            return Err(("wrong number of cells", detail));
        }
        let bad = |detail: String| ("bad value", detail);
        let (mut product_id, mut image_id, mut uri) = ("", None, "");
        let mut metadata = Metadata::default();
        for (cell, column) in record.iter().zip(&self.columns) {
            let Some(column) = column else { continue };
            let cell = std::str::from_utf8(cell).map_err(|_| ("not UTF-8", shown(cell)))?;
            match column {
                _ if cell.is_empty() => {}
                Column::ProductId => product_id = cell,
                Column::ImageId => image_id = Some(cell),
                Column::ImageUri => uri = cell,
                other => other.read(cell, &mut metadata).map_err(bad)?,
            }
        }
        for (field, value) in [("product_id", product_id), ("image_uri", uri)] {
            if value.is_empty() {
                return Err(("missing value", format!("{field} is blank")));
            }
        }
        validate_id("product_id", product_id).map_err(|e| bad(e.to_string()))?;
        image_id.map_or(Ok(()), |id| validate_id("image_id", id)).map_err(|e| bad(e.to_string()))?;
        metadata.validate().map_err(|e| bad(e.to_string()))?;
        let place = place(uri, self.folder).map_err(bad)?;
        let row = Row { line, product_id: product_id.to_owned(), image_id: image_id.map(str::to_owned), place };
        self.add(row, metadata)
    }

    fn add(&mut self, row: Row, metadata: Metadata) -> Result<(), (&'static str, String)> {
        match self.plan.products.entry(row.product_id.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(metadata);
            }
            Entry::Occupied(mut entry) => complete(entry.get_mut(), metadata),
        }
        let image = row.image_id.clone().unwrap_or_else(|| row.place.shown());
        match self.seen.entry((row.product_id.clone(), image)) {
            Entry::Vacant(entry) => {
                entry.insert(self.plan.rows.len());
                self.plan.rows.push(row);
                Ok(())
            }
            Entry::Occupied(entry) => {
                let first = &self.plan.rows[*entry.get()];
                if first.place == row.place {
                    self.plan.repeated += 1;
                    return Ok(());
                }
                Err(("duplicate id", format!("line {} has the same product_id and image_id", first.line)))
            }
        }
    }
}

/// A cell of `image_uri`: a URL, or a path that starts in `folder` unless it is absolute.
fn place(uri: &str, folder: &Path) -> Result<Place, String> {
    let unsupported = || format!("image_uri: expected a path or an http, https or file URL, received {uri:?}");
    // `C:\photos\a.jpg` parses as a URL of scheme `c`.
    match Url::parse(uri).ok().filter(|u| u.scheme().len() > 1) {
        None => Ok(Place::File(folder.join(uri))),
        Some(url) => match url.scheme() {
            "http" | "https" => Ok(Place::Url(url.into())),
            "file" => url.to_file_path().map(Place::File).map_err(|()| unsupported()),
            _ => Err(unsupported()),
        },
    }
}
