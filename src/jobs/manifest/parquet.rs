//! Rows of Parquet, with the columns that CSV has as heads; `tags` may be a list, `attributes` a map or a group. Columns without
//! a meaning are not read.

use super::columns::Column;
use super::{Cells, Fault, MAX_ROW_BYTES, ManifestError, Record, bad_value, ndjson, shown, too_long};
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

pub(super) struct Records {
    rows: RowIter<'static>,
    ignored: Vec<String>,
}

impl Records {
    pub(super) fn open(file: File) -> Result<Self, ManifestError> {
        guarded(|| {
            let reader = SerializedFileReader::new(file).map_err(invalid)?;
            let metadata = reader.metadata();
            let (wanted, ignored) = columns(metadata)?;
            check_sizes(metadata, &wanted)?;
            let schema = metadata.file_metadata().schema();
            let fields = schema.get_fields().iter().filter(|field| wanted.contains(&field.name().to_owned()));
            let projection = Type::group_type_builder(schema.name()).with_fields(fields.cloned().collect()).build();
            let rows = RowIter::from_file_into(Box::new(reader));
            let rows = rows.project(Some(projection.map_err(invalid)?)).map_err(invalid)?;
            Ok(Self { rows, ignored })
        })
    }

    pub(super) fn ignored(&self) -> &[String] {
        &self.ignored
    }

    pub(super) fn next(&mut self) -> Result<Option<Record>, ManifestError> {
        guarded(|| {
            let row = self.rows.next().transpose().map_err(invalid)?;
            Ok(row.map(|row| (0, cells(&row))))
        })
    }
}

/// The library checks less than a stranger's file may have wrong.
fn guarded<T>(read: impl FnOnce() -> Result<T, ManifestError>) -> Result<T, ManifestError> {
    let read = catch_unwind(AssertUnwindSafe(read));
    read.unwrap_or_else(|_| Err(ManifestError::Parquet { detail: "a part of it is broken".into() }))
}

#[allow(clippy::needless_pass_by_value)] // As `map_err` gives it.
fn invalid(error: ParquetError) -> ManifestError {
    ManifestError::Parquet { detail: error.to_string().chars().take(200).collect() }
}

/// Names of columns that mean something, and of those that do not.
fn columns(metadata: &ParquetMetaData) -> Result<(Vec<String>, Vec<String>), ManifestError> {
    let fields = metadata.file_metadata().schema().get_fields();
    let named = |name: &str| Column::named(name).is_some() || name == ndjson::ATTRIBUTES;
    let (wanted, ignored): (Vec<_>, Vec<_>) =
        fields.iter().map(|field| field.name().to_owned()).partition(|name| named(name));
    let known: Vec<Column> = wanted.iter().filter_map(|name| Column::named(name)).collect();
    super::check_columns(&known, || ignored.iter().chain(&wanted).map(|name| shown(name.as_bytes())).collect())?;
    Ok((wanted, ignored.iter().map(|name| shown(name.as_bytes())).collect()))
}

fn check_sizes(metadata: &ParquetMetaData, wanted: &[String]) -> Result<(), ManifestError> {
    let chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
    for chunk in chunks {
        let name = chunk.column_path().parts().first();
        if name.is_some_and(|name| wanted.contains(name)) && chunk.uncompressed_size() > MAX_CHUNK_BYTES {
            let detail = format!(
                "column {} of a row group has {} bytes, at most {MAX_CHUNK_BYTES}",
                shown(name.map_or(&b""[..], |name| name.as_bytes())),
                chunk.uncompressed_size()
            );
            return Err(ManifestError::Parquet { detail });
        }
    }
    Ok(())
}

fn cells(row: &Row) -> Result<Cells, Fault> {
    let mut left = MAX_ROW_BYTES;
    ndjson::cells(&object(row, &mut left)?, &mut Vec::new())
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
