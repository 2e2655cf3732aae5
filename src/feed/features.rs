//! Products as a recommender reads them: a row of Parquet each, written column by column.

use crate::attributes::{Attribute, Source};
use crate::catalog::{Metadata, ProductState, effective_attributes};
use crate::color::NamedColor;
use crate::model::{EMBEDDING_DIM, Embedding};
use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::TypePtr;
use std::io::Write;
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Media type of a file.
pub const PARQUET: &str = "application/vnd.apache.parquet";
/// Names the schema. A column may be added under the same name; what changes or takes away meaning gets another.
pub const FEATURES_SCHEMA: &str = "urn:vitrine:features:v1";

/// A row a product. `deleted`: the product is gone, and nothing else is said of it but its id, when, and by which change.
const MESSAGE: &str = "message features {
    required binary item_id (STRING);
    optional binary group_id (STRING);
    optional binary title (STRING);
    optional binary category (STRING);
    optional double price;
    optional binary currency (STRING);
    optional boolean in_stock;
    optional float popularity;
    required group attributes (LIST) { repeated group list { required group element {
        required binary name (STRING);
        optional binary value (STRING);
        required float confidence;
        required binary source (STRING);
    } } }
    required group colors (LIST) { repeated group list { required group element {
        required binary name (STRING);
        required binary retail_name (STRING);
        required binary shade (STRING);
        required binary hex (STRING);
        required float l;
        required float a;
        required float b;
        required float share;
    } } }
    optional group embedding (LIST) { repeated group list { required float element; } }
    required int32 images;
    optional binary model_version (STRING);
    optional int64 created_at (TIMESTAMP(MILLIS, true));
    required int64 updated_at (TIMESTAMP(MILLIS, true));
    required int64 seq;
    required boolean deleted;
}";

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write Parquet: {0}")]
pub struct FeaturesError(#[from] ParquetError);

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemFeatures {
    item_id: String,
    metadata: Metadata,
    attributes: Vec<Attribute>,
    /// Those of its first image, the one that names it first.
    colors: Vec<NamedColor>,
    /// Mean of those of its images, of unit length.
    embedding: Option<Embedding>,
    images: i32,
    model_version: Option<String>,
    /// When it came into the catalog: milliseconds since 1970, UTC.
    created_at: Option<i64>,
    /// When it last changed, so too.
    updated_at: i64,
    seq: u64,
    deleted: bool,
}

impl ItemFeatures {
    /// The row of a product, as the model `version` sees it. Images that it has not looked at yet count as images only.
    pub fn new(state: ProductState, version: &str) -> Self {
        let record = match state {
            ProductState::Present(record) => *record,
            ProductState::Deleted { product_id, seq, at } => {
                return Self {
                    item_id: product_id,
                    metadata: Metadata::default(),
                    attributes: Vec::new(),
                    colors: Vec::new(),
                    embedding: None,
                    images: 0,
                    model_version: None,
                    created_at: None,
                    updated_at: milliseconds(&at),
                    seq,
                    deleted: true,
                };
            }
        };
        let attributes = effective_attributes(&record.product);
        let mut product = record.product;
        let looked_at = product.images.iter().zip(record.embeddings);
        let looked_at = looked_at.filter(|(image, _)| image.analysis.model_version == version);
        let embedding = mean(looked_at.map(|(_, embedding)| embedding));
        let images = i32::try_from(product.images.len()).unwrap_or(i32::MAX);
        let first = product.images.first_mut();
        Self {
            item_id: product.product_id,
            colors: first.map(|image| std::mem::take(&mut image.analysis.colors.dominant)).unwrap_or_default(),
            model_version: embedding.is_some().then(|| version.to_owned()),
            metadata: product.metadata,
            attributes,
            embedding,
            images,
            created_at: Some(milliseconds(&product.created_at)),
            updated_at: milliseconds(&product.updated_at),
            seq: product.seq,
            deleted: false,
        }
    }
}

impl ItemFeatures {
    /// Whether the product is gone.
    pub fn is_deleted(&self) -> bool {
        self.deleted
    }
}

/// Of unit length; of opposite vectors, whose mean has no direction, the first.
fn mean(embeddings: impl Iterator<Item = Embedding>) -> Option<Embedding> {
    let mut embeddings = embeddings.peekable();
    let first = embeddings.peek()?.clone();
    let mut sum = vec![0.0; EMBEDDING_DIM];
    for embedding in embeddings {
        sum.iter_mut().zip(&embedding).for_each(|(sum, value)| *sum += value);
    }
    let length = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length < 1e-3 {
        return Some(first);
    }
    sum.iter_mut().for_each(|value| *value /= length);
    Some(sum)
}

/// Times come from the catalog, which writes them all alike.
fn milliseconds(at: &str) -> i64 {
    let at = OffsetDateTime::parse(at, &Rfc3339).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}

/// Writes rows, a row group at a time.
pub struct FeaturesWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
}

impl<W: Write + Send> FeaturesWriter<W> {
    /// Begins a file of products of the catalog that `source` names.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(out: W, source: &str) -> Result<Self, FeaturesError> {
        Ok(Self { file: SerializedFileWriter::new(out, schema()?, properties(source))? })
    }

    /// Writes rows as a row group.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, items: &[ItemFeatures]) -> Result<(), FeaturesError> {
        if items.is_empty() {
            return Ok(());
        }
        let mut group = Columns(self.file.next_row_group()?);
        let metadata = |of: fn(&Metadata) -> Option<&String>| items.iter().map(move |item| of(&item.metadata));
        group.texts(items.iter().map(|item| item.item_id.as_str()))?;
        group.optional_texts(metadata(|m| m.group_id.as_ref()))?;
        group.optional_texts(metadata(|m| m.title.as_ref()))?;
        group.optional_texts(metadata(|m| m.category.as_ref()))?;
        group.optional::<DoubleType>(items.iter().map(|item| item.metadata.price))?;
        group.optional_texts(metadata(|m| m.currency.as_ref()))?;
        group.optional::<BoolType>(items.iter().map(|item| item.metadata.in_stock))?;
        group.optional::<FloatType>(items.iter().map(|item| item.metadata.popularity))?;
        let attributes = Lists::new(items, |item| &item.attributes);
        attributes.texts(&mut group, |a| &a.name)?;
        attributes.optional_texts(&mut group, |a| a.value.as_deref())?;
        attributes.write::<FloatType>(&mut group, |a| a.confidence)?;
        attributes.texts(&mut group, |a| source_name(a.source))?;
        let colors = Lists::new(items, |item| &item.colors);
        colors.texts(&mut group, |c| c.name.as_str())?;
        colors.texts(&mut group, |c| &c.retail_name)?;
        colors.texts(&mut group, |c| &c.shade)?;
        colors.texts(&mut group, |c| &c.hex)?;
        for at in 0..3 {
            colors.write::<FloatType>(&mut group, |c| c.lab[at])?;
        }
        colors.write::<FloatType>(&mut group, |c| c.share)?;
        group.embeddings(items)?;
        group.required::<Int32Type>(items.iter().map(|item| item.images))?;
        group.optional_texts(items.iter().map(|item| item.model_version.as_ref()))?;
        group.optional::<Int64Type>(items.iter().map(|item| item.created_at))?;
        group.required::<Int64Type>(items.iter().map(|item| item.updated_at))?;
        group.required::<Int64Type>(items.iter().map(|item| i64::try_from(item.seq).unwrap_or(i64::MAX)))?;
        group.required::<BoolType>(items.iter().map(|item| item.deleted))?;
        group.0.close()?;
        Ok(())
    }

    /// Ends the file and gives back what it was written to.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> Result<W, FeaturesError> {
        Ok(self.file.into_inner()?)
    }
}

fn schema() -> Result<TypePtr, ParquetError> {
    Ok(Arc::new(parse_message_type(MESSAGE)?))
}

fn properties(source: &str) -> WriterPropertiesPtr {
    let named = |key: &str, value: &str| KeyValue::new(key.to_owned(), value.to_owned());
    let properties = WriterProperties::builder()
        // What every reader has; embeddings, most of a file, get no shorter with any.
        .set_compression(Compression::SNAPPY)
        .set_column_dictionary_enabled("embedding.list.element".into(), false)
        .set_created_by(concat!("vitrine ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(vec![named("schema", FEATURES_SCHEMA), named("source", source)]));
    Arc::new(properties.build())
}

fn source_name(source: Source) -> &'static str {
    match source {
        Source::Model => "model",
        Source::Merchant => "merchant",
        Source::Correction => "correction",
    }
}

fn bytes(text: &str) -> ByteArray {
    ByteArray::from(text)
}

/// A row group, whose columns are written in the order of the schema.
struct Columns<'a, W: Write + Send>(SerializedRowGroupWriter<'a, W>);

impl<W: Write + Send> Columns<'_, W> {
    /// Levels as Dremel has them: how much of the path to a value there is, and at which list it repeats.
    fn column<T: DataType>(
        &mut self,
        values: &[T::T],
        definition: Option<&[i16]>,
        repetition: Option<&[i16]>,
    ) -> Result<(), ParquetError> {
        let Some(mut column) = self.0.next_column()? else {
            return Err(ParquetError::General("the schema has fewer columns".into()));
        };
        column.typed::<T>().write_batch(values, definition, repetition)?;
        column.close()
    }

    fn required<T: DataType>(&mut self, values: impl Iterator<Item = T::T>) -> Result<(), ParquetError> {
        self.column::<T>(&values.collect::<Vec<_>>(), None, None)
    }

    fn texts<'t>(&mut self, values: impl Iterator<Item = &'t str>) -> Result<(), ParquetError> {
        self.required::<ByteArrayType>(values.map(bytes))
    }

    fn optional<T: DataType>(&mut self, values: impl Iterator<Item = Option<T::T>>) -> Result<(), ParquetError> {
        let (mut levels, mut present) = (Vec::new(), Vec::new());
        for value in values {
            levels.push(i16::from(value.is_some()));
            present.extend(value);
        }
        self.column::<T>(&present, Some(&levels), None)
    }

    fn optional_texts<'t>(&mut self, values: impl Iterator<Item = Option<&'t String>>) -> Result<(), ParquetError> {
        self.optional::<ByteArrayType>(values.map(|value| value.map(|text| bytes(text))))
    }

    fn embeddings(&mut self, items: &[ItemFeatures]) -> Result<(), ParquetError> {
        let (mut definition, mut repetition, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for item in items {
            let Some(embedding) = &item.embedding else {
                definition.push(0);
                repetition.push(0);
                continue;
            };
            definition.extend(std::iter::repeat_n(2, embedding.len()));
            repetition.extend((0..embedding.len()).map(|at| i16::from(at > 0)));
            values.extend_from_slice(embedding);
        }
        self.column::<FloatType>(&values, Some(&definition), Some(&repetition))
    }
}

/// The elements of a list column, a list a row, with the levels that their fields have in common.
struct Lists<'a, E> {
    elements: Vec<&'a E>,
    /// 1 for an element, 0 for a list without one.
    definition: Vec<i16>,
    repetition: Vec<i16>,
}

impl<'a, E> Lists<'a, E> {
    fn new(items: &'a [ItemFeatures], list: impl Fn(&'a ItemFeatures) -> &'a Vec<E>) -> Self {
        let mut lists = Self { elements: Vec::new(), definition: Vec::new(), repetition: Vec::new() };
        for list in items.iter().map(list) {
            lists.definition.extend(std::iter::repeat_n(i16::from(!list.is_empty()), list.len().max(1)));
            lists.repetition.extend((0..list.len().max(1)).map(|at| i16::from(at > 0)));
            lists.elements.extend(list);
        }
        lists
    }

    fn write<T: DataType>(
        &self,
        group: &mut Columns<'_, impl Write + Send>,
        field: impl Fn(&E) -> T::T,
    ) -> Result<(), ParquetError> {
        let values: Vec<_> = self.elements.iter().map(|element| field(element)).collect();
        group.column::<T>(&values, Some(&self.definition), Some(&self.repetition))
    }

    fn texts<'t>(
        &self,
        group: &mut Columns<'_, impl Write + Send>,
        field: impl Fn(&'a E) -> &'t str,
    ) -> Result<(), ParquetError> {
        let values: Vec<_> = self.elements.iter().map(|element| bytes(field(element))).collect();
        group.column::<ByteArrayType>(&values, Some(&self.definition), Some(&self.repetition))
    }

    fn optional_texts(
        &self,
        group: &mut Columns<'_, impl Write + Send>,
        field: impl Fn(&'a E) -> Option<&'a str>,
    ) -> Result<(), ParquetError> {
        let mut elements = self.elements.iter().map(|element| field(element));
        let mut values = Vec::new();
        let definition: Vec<i16> = self
            .definition
            .iter()
            .map(|level| {
                let value = if *level > 0 { elements.next().flatten() } else { None };
                values.extend(value.map(bytes));
                level + i16::from(value.is_some())
            })
            .collect();
        group.column::<ByteArrayType>(&values, Some(&definition), Some(&self.repetition))
    }
}
