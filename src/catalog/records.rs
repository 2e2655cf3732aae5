//! The records of the catalog as the rest of the crate sees them: products, images, and what a write needs and gives.

use super::{Change, Metadata, StagedPhoto};
use crate::analyzer::Analysis;
use crate::attributes::Candidate;
use crate::model::Embedding;
use crate::photo::{Area, PixelBox};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A product as the merchant knows it, with what was seen on its images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Product {
    /// The merchant's id.
    pub product_id: String,
    /// What the merchant says of it.
    #[serde(flatten)]
    pub metadata: Metadata,
    /// A person's corrections: they win over merchant and model. `null`: the attribute does not apply.
    pub corrections: BTreeMap<String, Option<String>>,
    /// Its images, in the order they came.
    pub images: Vec<Image>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    pub updated_at: String,
    /// Sequence number of the last change.
    pub seq: u64,
}

/// One stored image of a product.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Image {
    /// The merchant's id of the image, or the first 16 hex digits of its SHA-256.
    pub image_id: String,
    /// What was seen on it.
    #[serde(flatten)]
    pub analysis: Analysis,
    /// RFC 3339, UTC: when an image of this id first came.
    pub created_at: String,
}

/// An image with what is needed to give its photo back.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredImage {
    /// The image.
    pub image: Image,
    /// Media type of the bytes, as given to [`NewImage`].
    pub content_type: String,
    /// Length of the bytes.
    pub size_bytes: u64,
    /// The part of the photo that the image is, as it was asked for; `None`: all of it.
    pub area: Option<Area>,
}

/// An image to store. `analysis.sha256` must be the hash of `photo`.
#[derive(Debug)]
pub struct NewImage<'a> {
    /// An image of the same id is replaced.
    pub image_id: &'a str,
    /// The photo's bytes, already on disk: see [`Catalog::stage_photo`](super::Catalog::stage_photo).
    pub photo: StagedPhoto,
    /// Media type of the bytes, e.g. `image/jpeg`; 1 to 100 printable ASCII characters.
    pub content_type: &'a str,
    /// The part that was looked at, and is to be; `None`: all of it.
    pub area: Option<Area>,
    /// What was seen on it, and by which model version.
    pub analysis: Analysis,
    /// By the same model version: [`EMBEDDING_DIM`](crate::model::EMBEDDING_DIM) finite values.
    pub embedding: &'a [f32],
    /// What a second model version saw, while one is about to become current.
    pub also: Option<(Analysis, &'a [f32])>,
}

/// What the index needs of one product: all that a search can filter on, and its vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexRecord {
    /// The product; its images carry ids and model versions. See [`facets`](super::facets).
    pub product: Product,
    /// One a image, in the order of `product.images`.
    pub embeddings: Vec<Embedding>,
}

/// Where an image is found and what it is; also the position from which a scan goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageRef {
    /// The product.
    pub product_id: String,
    /// The image.
    pub image_id: String,
    /// Hash of its photo, hex.
    pub sha256: String,
    /// The part of the photo that it is; `None`: all of it.
    pub area: Option<Area>,
    pub(super) image_key: i64,
}

/// A correction as training data: what a person said, and what the model had said then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Correction {
    /// Grows with every correction; where a scan goes on.
    pub correction_id: u64,
    /// The change that made it.
    pub seq: u64,
    /// RFC 3339, UTC.
    pub at: String,
    /// The product, which may be gone since.
    pub product_id: String,
    /// The attribute.
    pub name: String,
    /// The right value; `null`: the attribute does not apply.
    pub value: Option<String>,
    /// What was seen on each image at that time.
    pub observed: Vec<Observed>,
}

/// What a model version said of one image about one attribute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Observed {
    /// The image.
    pub image_id: String,
    /// Hash of its photo, hex.
    pub sha256: String,
    /// The part of the photo that was looked at; without it all of it.
    #[serde(rename = "box", default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<u32>, required = false, min_items = 4, max_items = 4)]
    pub area: Option<PixelBox>,
    /// Who looked.
    pub model_version: String,
    /// What it said; `null` when it was unsure or said nothing.
    pub value: Option<String>,
    /// Confidence of that, 0 to 1; 0 when it said nothing.
    pub confidence: f32,
    /// When unsure: what it may be, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
}

/// A model version that looks at the catalog before it becomes current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingActivation {
    /// The version.
    pub version: String,
    /// RFC 3339, UTC: when it was asked for.
    pub at: String,
    /// Why it was given up; none while it goes on.
    pub failure: Option<String>,
}

/// How much there is, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Products.
    pub products: u64,
    /// Images.
    pub images: u64,
    /// Images that a model version has seen; an image may have been seen by several.
    pub images_by_model: BTreeMap<String, u64>,
    /// Last sequence number of the change log.
    pub last_seq: u64,
}

/// What a write left behind: it is on disk, and the observer has seen its changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed<T> {
    /// What the write gave back.
    pub value: T,
    /// Last sequence number of the log after the write.
    pub seq: u64,
    /// The changes it made, in order; empty when everything already was as asked.
    pub changes: Vec<Change>,
}
