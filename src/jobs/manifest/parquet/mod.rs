//! Rows of Parquet, with the columns that CSV has as heads; `tags` may be a list, `attributes` a map or a group. Columns without
//! a meaning are not read.

mod child;

pub use child::{CHILD_COMMAND, child};

use super::columns::Column;
use super::{Fault, MAX_ROW_BYTES, ManifestError, Record, bad_value, ndjson, shown, too_long};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::{Map, Value};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Most bytes that a column of a row group may come to: a page of it is held, and may be all of it.
const MAX_CHUNK_BYTES: i64 = 256 << 20;
/// Rows that a file may have beside one for each of its bytes: repeats take next to none.
const MAX_ROWS: u64 = 1_000_000;

/// A row as JSON, or why it cannot be used.
type JsonRow = Result<Map<String, Value>, Fault>;

pub(super) struct Records {
    rows: Source,
    ignored: Vec<String>,
}

enum Source {
    /// Read in a process that a stranger's file may end.
    Child(child::Child),
    Here(Reader),
}

impl Records {
    pub(super) fn open(file: File) -> Result<Self, ManifestError> {
        let (rows, names) = match child::start(&file)? {
            Some((child, names)) => (Source::Child(child), names),
            None => {
                let reader = Reader::open(file)?;
                let names = reader.names.clone();
                (Source::Here(reader), names)
            }
        };
        let (wanted, ignored): (Vec<_>, Vec<_>) = names.iter().partition(|name| is_wanted(name));
        let known: Vec<Column> = wanted.iter().filter_map(|name| Column::named(name)).collect();
        super::check_columns(&known, || names.iter().map(|name| shown(name.as_bytes())).collect())?;
        Ok(Self { rows, ignored: ignored.iter().map(|name| shown(name.as_bytes())).collect() })
    }

    pub(super) fn ignored(&self) -> &[String] {
        &self.ignored
    }

    pub(super) fn next(&mut self) -> Result<Option<Record>, ManifestError> {
        let row = match &mut self.rows {
            Source::Child(child) => child.next()?,
            Source::Here(reader) => reader.next()?,
        };
        Ok(row.map(|row| (0, row.and_then(|row| ndjson::cells(&row, &mut Vec::new())))))
    }
}

fn is_wanted(name: &str) -> bool {
    Column::named(name).is_some() || name == ndjson::ATTRIBUTES
}

/// The rows of a file, read here.
struct Reader {
    rows: RowIter<'static>,
    names: Vec<String>,
}

impl Reader {
    fn open(file: File) -> Result<Self, ManifestError> {
        let bytes = file.metadata()?.len();
        guarded(|| {
            let reader = SerializedFileReader::new(file).map_err(invalid)?;
            let metadata = reader.metadata();
            let schema = metadata.file_metadata().schema();
            let names: Vec<String> = schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
            check_sizes(metadata, bytes)?;
            let fields = schema.get_fields().iter().filter(|field| is_wanted(field.name()));
            let projection = Type::group_type_builder(schema.name()).with_fields(fields.cloned().collect()).build();
            let rows = RowIter::from_file_into(Box::new(reader));
            let rows = rows.project(Some(projection.map_err(invalid)?)).map_err(invalid)?;
            Ok(Self { rows, names })
        })
    }

    fn next(&mut self) -> Result<Option<JsonRow>, ManifestError> {
        guarded(|| {
            let row = self.rows.next().transpose().map_err(invalid)?;
            Ok(row.map(|row| {
                let mut left = MAX_ROW_BYTES;
                object(&row, &mut left)
            }))
        })
    }
}

/// The library checks less than a stranger's file may have wrong.
fn guarded<T>(read: impl FnOnce() -> Result<T, ManifestError>) -> Result<T, ManifestError> {
    let read = catch_unwind(AssertUnwindSafe(read));
    read.unwrap_or_else(|_| Err(broken("a part of it is broken")))
}

fn broken(detail: impl Into<String>) -> ManifestError {
    ManifestError::Parquet { detail: detail.into() }
}

#[allow(clippy::needless_pass_by_value)] // As `map_err` gives it.
fn invalid(error: ParquetError) -> ManifestError {
    broken(error.to_string().chars().take(200).collect::<String>())
}

/// What the file says of itself must be within bounds; what it is, the child's are for.
fn check_sizes(metadata: &ParquetMetaData, bytes: u64) -> Result<(), ManifestError> {
    let rows = metadata.row_groups().iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(u64::MAX));
    let rows = rows.fold(0, u64::saturating_add);
    let most = MAX_ROWS.saturating_add(bytes);
    if rows > most {
        return Err(broken(format!("{rows} rows, at most {most} in a file of {bytes} bytes")));
    }
    let chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
    for chunk in chunks {
        let name = chunk.column_path().parts().first().map_or("", String::as_str);
        if is_wanted(name) && chunk.uncompressed_size() > MAX_CHUNK_BYTES {
            let (name, size) = (shown(name.as_bytes()), chunk.uncompressed_size());
            return Err(broken(format!("column {name} of a row group has {size} bytes, at most {MAX_CHUNK_BYTES}")));
        }
    }
    Ok(())
}

fn object(row: &Row, left: &mut usize) -> Result<Map<String, Value>, Fault> {
    row.get_column_iter().map(|(name, field)| Ok((name.clone(), value(field, left)?))).collect()
}

/// A field as JSON has it; `left`: bytes of text that the row may still have.
fn value(field: &Field, left: &mut usize) -> Result<Value, Fault> {
    let mut text = |text: &str| {
        *left = left.checked_sub(text.len()).ok_or_else(too_long)?;
        Ok(Value::from(text))
    };
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(truth) => (*truth).into(),
        Field::Byte(number) => (*number).into(),
        Field::Short(number) => (*number).into(),
        Field::Int(number) => (*number).into(),
        Field::Long(number) => (*number).into(),
        Field::UByte(number) => (*number).into(),
        Field::UShort(number) => (*number).into(),
        Field::UInt(number) => (*number).into(),
        Field::ULong(number) => (*number).into(),
        // In as few digits as tell it apart: a price of 59.9 is not to become 59.900001.
        Field::Float(number) => return text(&number.to_string()),
        Field::Float16(number) => return text(&number.to_string()),
        Field::Double(number) => return text(&number.to_string()),
        Field::Str(string) => return text(string),
        // Written by a system that does not say which bytes are text.
        Field::Bytes(bytes) => {
            let string = bytes.as_utf8().map_err(|_| ("not UTF-8", shown(bytes.data())))?;
            return text(string);
        }
        Field::ListInternal(list) => {
            list.elements().iter().map(|element| value(element, left)).collect::<Result<_, _>>()?
        }
        Field::MapInternal(map) => {
            let entries = map.entries().iter().map(|(name, entry)| {
                let Value::String(name) = value(name, left)? else {
                    return Err(bad_value("attributes: expected names that are text".into()));
                };
                Ok((name, value(entry, left)?))
            });
            Value::Object(entries.collect::<Result<_, _>>()?)
        }
        Field::Group(row) => Value::Object(object(row, left)?),
        // A decimal prints as a number; of a date or time no column is made.
        other => return text(&other.to_string()),
    })
}
