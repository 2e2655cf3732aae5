//! Lines of JSON: an object a line, with the fields that CSV has as columns; `tags` may be a list, `attributes` an object.

use super::columns::Column;
use super::{Cells, Fault, MAX_ROW_BYTES, Record, Started, bad_value, too_long};
use serde_json::{Map, Value};
use std::io::{self, BufRead, Cursor, Read};

/// Attributes the merchant already has, name to value.
pub(super) const ATTRIBUTES: &str = "attributes";
/// Most names that are told to mean nothing.
const MAX_IGNORED: usize = 200;

pub(super) struct Records<R> {
    input: Started<R>,
    line: u64,
    bytes: Vec<u8>,
    ignored: Vec<String>,
}

impl<R: BufRead> Records<R> {
    /// `head`: what was read of the file already.
    pub(super) fn new(head: Vec<u8>, input: R) -> Self {
        Self { input: Cursor::new(head).chain(input), line: 0, bytes: Vec::new(), ignored: Vec::new() }
    }

    pub(super) fn ignored(&self) -> &[String] {
        &self.ignored
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        loop {
            self.bytes.clear();
            self.line += 1;
            let read = self.input.by_ref().take(MAX_ROW_BYTES as u64 + 1).read_until(b'\n', &mut self.bytes)?;
            if read == 0 {
                return Ok(None);
            }
            if read > MAX_ROW_BYTES && self.bytes.last() != Some(&b'\n') {
                self.skip_line()?;
                return Ok(Some((self.line, Err(too_long()))));
            }
            if !self.bytes.trim_ascii().is_empty() {
                return Ok(Some((self.line, self.cells())));
            }
        }
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let input = self.input.fill_buf()?;
            let end = input.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(input.len(), |at| at + 1);
            self.input.consume(taken);
            if end.is_some() || taken == 0 {
                return Ok(());
            }
        }
    }

    fn cells(&mut self) -> Result<Cells, Fault> {
        let object: Map<String, Value> = match serde_json::from_slice(&self.bytes) {
            Ok(object) => object,
            Err(error) => return Err(("not JSON", format!("expected an object: {error}"))),
        };
        cells(&object, &mut self.ignored)
    }
}

/// What an object says; `ignored` gains the names that mean nothing.
pub(super) fn cells(object: &Map<String, Value>, ignored: &mut Vec<String>) -> Result<Cells, Fault> {
    let mut cells = Cells::default();
    // Its photo is spoken of, and is none.
    let mut is_forgotten = false;
    let mut taken: Vec<(Column, bool)> = Vec::new();
    for (name, value) in object {
        let column = match (Column::named(name), value) {
            (Some(Column::ImageUri), Value::Null) => {
                is_forgotten = true;
                continue;
            }
            (_, Value::Null) => continue,
            (Some(column), _) => column,
            (None, Value::Object(attributes)) if name == ATTRIBUTES => {
                for (name, value) in attributes {
                    cells.put(&Column::Attribute(name.clone()), cell(name, value)?.trim())?;
                }
                continue;
            }
            (None, _) => {
                let shown: String = name.chars().take(40).collect();
                if ignored.len() < MAX_IGNORED && !ignored.contains(&shown) {
                    ignored.push(shown);
                }
                continue;
            }
        };
        // Of several names of a field that of the API counts, else the first.
        let is_own = column.name() == Some(name.as_str());
        match taken.iter_mut().find(|(known, _)| *known == column) {
            Some((_, known_is_own)) if *known_is_own || !is_own => continue,
            Some((_, known_is_own)) => *known_is_own = true,
            None => taken.push((column.clone(), is_own)),
        }
        match (&column, value) {
            (Column::Tags, Value::Array(tags)) => {
                let tags = tags.iter().map(|tag| cell("tags", tag)).collect::<Result<Vec<_>, _>>()?;
                cells.metadata.tags.get_or_insert_default().extend(tags);
            }
            (Column::Area, Value::Array(numbers)) => {
                let numbers = numbers.iter().map(|number| cell(name, number)).collect::<Result<Vec<_>, _>>()?;
                cells.put(&column, &numbers.join(","))?;
            }
            _ => cells.put(&column, cell(name, value)?.trim())?,
        }
    }
    if is_forgotten && cells.uri.is_none() {
        cells.uri = Some(String::new());
    }
    Ok(cells)
}

/// A value as a cell of a table would have it.
fn cell(name: &str, value: &Value) -> Result<String, Fault> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Null => Ok(String::new()),
        Value::Array(_) | Value::Object(_) => {
            Err(bad_value(format!("{name}: expected a text, a number or a truth value, received a list or an object")))
        }
    }
}
