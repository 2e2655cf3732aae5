//! Records of CSV, read with `csv_core`: unlike `csv` it lets a record go that is too long before it is held.

use super::columns::Column;
use super::{Cells, MAX_COLUMNS, MAX_ROW_BYTES, ManifestError, Record, Started, shown, too_long};
use csv_core::ReadRecordResult;
use std::io::{self, BufRead, Cursor, Read};

/// Cells of a row for Google's Product Search, at least: those after may be left out.
const GOOGLE_LEAST: usize = 4;

pub(super) struct Records<R> {
    reader: Reader<R>,
    columns: Vec<Option<Column>>,
    /// Cells a row may lack at its end.
    optional: usize,
    ignored: Vec<String>,
    /// A first row that was no head.
    first: Option<Raw>,
}

impl<R: BufRead> Records<R> {
    /// `head`: what was read of the file already.
    pub(super) fn open(head: Vec<u8>, input: R) -> Result<Self, ManifestError> {
        let mut reader = Reader::new(head, input);
        let first = reader.next()?.unwrap_or_default();
        match heads(&first) {
            Ok((columns, ignored)) => Ok(Self { reader, columns, optional: 0, ignored, first: None }),
            Err(_) if is_google(&first) => Ok(Self {
                reader,
                columns: Column::GOOGLE.map(Some).into(),
                optional: Column::GOOGLE.len() - GOOGLE_LEAST,
                ignored: Vec::new(),
                first: Some(first),
            }),
            Err(error) => Err(error),
        }
    }

    pub(super) fn has_photos(&self) -> bool {
        self.columns.contains(&Some(Column::ImageUri))
    }

    pub(super) fn ignored(&self) -> &[String] {
        &self.ignored
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        let raw = match self.first.take() {
            Some(first) => Some(first),
            None => self.reader.next()?,
        };
        Ok(raw.map(|raw| (raw.line, self.cells(&raw))))
    }

    /// Bytes of the buffer that a record is read into.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.reader.bytes.len()
    }

    fn cells(&self, raw: &Raw) -> Result<Cells, super::Fault> {
        if raw.too_long {
            return Err(too_long());
        }
        let (least, most) = (self.columns.len() - self.optional, self.columns.len());
        if !(least..=most).contains(&raw.ends.len()) {
            return Err(("wrong number of cells", format!("{} cells, the head has {most}", raw.ends.len())));
        }
        let mut cells = Cells::default();
        for (cell, column) in raw.cells().zip(&self.columns) {
            let Some(column) = column else { continue };
            let cell = std::str::from_utf8(cell).map_err(|_| ("not UTF-8", shown(cell)))?;
            cells.put(column, cell)?;
        }
        Ok(cells)
    }
}

/// What each column holds, and the heads that mean nothing.
fn heads(head: &Raw) -> Result<(Vec<Option<Column>>, Vec<String>), ManifestError> {
    let mut columns: Vec<Option<Column>> = Vec::new();
    let mut ignored = Vec::new();
    for cell in head.cells() {
        let name = std::str::from_utf8(cell).map_err(|_| ManifestError::Encoding { received: "not UTF-8" })?;
        // Of two columns for one field the first counts: `id` beside `product_id`, `image` beside `image_uri`.
        let column = Column::named(name).filter(|c| !columns.iter().flatten().any(|known| known == c));
        if column.is_none() {
            ignored.push(shown(cell));
        }
        columns.push(column);
    }
    let known: Vec<Column> = columns.iter().flatten().cloned().collect();
    // Of a head that is too long no cell is left.
    super::check_columns(&known, || head.cells().map(shown).collect())?;
    Ok((columns, ignored))
}

/// Whether a first row is one of a file for Google's Product Search: it begins with where a photo lies.
fn is_google(first: &Raw) -> bool {
    let uri = first.cells().next().and_then(|cell| std::str::from_utf8(cell).ok()).unwrap_or_default();
    (GOOGLE_LEAST..=Column::GOOGLE.len()).contains(&first.ends.len()) && uri.contains("://")
}

/// A record as it lies in the file, without its quotes.
#[derive(Default)]
struct Raw {
    line: u64,
    bytes: Vec<u8>,
    /// Where each cell ends.
    ends: Vec<usize>,
    too_long: bool,
}

impl Raw {
    fn cells(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.bytes.get(start..*end).unwrap_or_default().trim_ascii())
    }
}

struct Reader<R> {
    input: Started<R>,
    core: csv_core::Reader,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Blank lines between records, which the core does not see.
    skipped: u64,
}

impl<R: BufRead> Reader<R> {
    fn new(head: Vec<u8>, input: R) -> Self {
        let core = csv_core::ReaderBuilder::new().delimiter(delimiter(&head)).build();
        let input = Cursor::new(head).chain(input);
        Self { input, core, bytes: vec![0; 4 << 10], ends: vec![0; 64], skipped: 0 }
    }

    fn next(&mut self) -> io::Result<Option<Raw>> {
        self.skip_blank()?;
        let line = self.core.line() + self.skipped;
        let (mut length, mut count, mut too_long) = (0, 0, false);
        loop {
            let input = self.input.fill_buf()?;
            let (bytes, ends) = (&mut self.bytes[length..], &mut self.ends[count..]);
            let (result, taken, written, ended) = self.core.read_record(input, bytes, ends);
            self.input.consume(taken);
            length += written;
            count += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.bytes.len() < MAX_ROW_BYTES => {
                    self.bytes.resize(2 * self.bytes.len(), 0);
                }
                ReadRecordResult::OutputEndsFull if self.ends.len() < MAX_COLUMNS => {
                    self.ends.resize(2 * self.ends.len(), 0);
                }
                // Read on to its end, over what there was.
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    (length, count, too_long) = (0, 0, true);
                }
                ReadRecordResult::Record => {
                    let (bytes, ends) = match too_long {
                        true => (Vec::new(), Vec::new()),
                        false => (self.bytes[..length].to_vec(), self.ends[..count].to_vec()),
                    };
                    return Ok(Some(Raw { line, bytes, ends, too_long }));
                }
                ReadRecordResult::End => return Ok(None),
            }
        }
    }

    /// The core would pass over them, and not say how many there were before a record's own lines. The feed of a CRLF is
    /// one, too, and ends the line before.
    fn skip_blank(&mut self) -> io::Result<()> {
        loop {
            let input = self.input.fill_buf()?;
            let blank = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            if blank == 0 {
                return Ok(());
            }
            self.skipped += input[..blank].iter().filter(|byte| **byte == b'\n').count() as u64;
            self.input.consume(blank);
        }
    }
}

/// The one of `,`, `;` and tab that the first line has most of; a comma when it has none.
fn delimiter(head: &[u8]) -> u8 {
    let line = head.split(|b| matches!(b, b'\n' | b'\r')).next().unwrap_or_default();
    let count = |d: u8| line.iter().filter(|b| **b == d).count();
    // Of equal counts `max_by_key` takes the last.
    [b'\t', b';', b','].into_iter().max_by_key(|d| count(*d)).unwrap_or(b',')
}
