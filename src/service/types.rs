//! What goes into the service and what comes out, in the terms of neither HTTP nor the store.

use crate::analyzer::Analysis;
use crate::attributes::Attribute;
use crate::catalog::{Image, Product, effective_attributes};
use crate::photo::Area;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer to a write, as it is stored for replays.
#[derive(Clone, Debug)]
pub struct Reply {
    /// True when the write made something new.
    pub created: bool,
    /// JSON of the answer; empty for deletions.
    pub body: Vec<u8>,
    /// True when this is the stored answer to an earlier request with the same key.
    pub replayed: bool,
}

/// Where a photo comes from.
#[derive(Clone, Debug)]
pub enum PhotoSource {
    /// Its bytes.
    Bytes(Bytes),
    /// A URL to fetch under the service's rules.
    Url(String),
}

/// A photo to look at.
#[derive(Clone, Debug)]
pub struct PhotoInput {
    /// Where it comes from.
    pub source: PhotoSource,
    /// The part to look at; all of it when `None`.
    pub crop: Option<Area>,
}

/// A product as answers show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProductView {
    /// The merchant's id.
    pub product_id: String,
    /// What shoppers read.
    pub title: Option<String>,
    /// The merchant's own category, in the merchant's words.
    pub category: Option<String>,
    /// In units of `currency`.
    pub price: Option<f64>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// Can be bought now.
    pub in_stock: Option<bool>,
    /// Variants of one product share it.
    pub group_id: Option<String>,
    /// The product's page.
    pub url: Option<String>,
    /// The merchant's tags.
    pub tags: Vec<String>,
    /// How much it is wanted, as a recommender has it: 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub popularity: Option<f32>,
    /// Effective attributes: corrections, then the merchant's, then the model's over all images.
    pub attributes: Vec<Attribute>,
    /// Its images, in the order they came, each with its analysis.
    pub images: Vec<Image>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    pub updated_at: String,
    /// Sequence number of the last change.
    pub seq: u64,
}

impl From<Product> for ProductView {
    fn from(product: Product) -> Self {
        let attributes = effective_attributes(&product);
        let Product { product_id, metadata, images, created_at, updated_at, seq, corrections: _ } = product;
        Self {
            product_id,
            title: metadata.title,
            category: metadata.category,
            price: metadata.price,
            currency: metadata.currency,
            in_stock: metadata.in_stock,
            group_id: metadata.group_id,
            url: metadata.url,
            tags: metadata.tags.unwrap_or_default(),
            popularity: metadata.popularity,
            attributes,
            images,
            created_at,
            updated_at,
            seq,
        }
    }
}

/// A page of products.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProductPage {
    /// Products in the order of their ids.
    pub items: Vec<ProductView>,
    /// Where the next page starts; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// What similar products are asked for.
#[derive(Clone, Debug)]
pub enum SimilarTo {
    /// A stored product, by all its images.
    Product(String),
    /// A photo that is not stored.
    Photo(PhotoInput),
    /// Several stored products at once, 1 to 10.
    Basket(Vec<String>),
}

/// Original bytes or thumbnail of a stored photo.
#[derive(Clone, Debug)]
pub struct PhotoBytes {
    /// `image/jpeg`, ...
    pub content_type: String,
    /// The file.
    pub bytes: Bytes,
    /// SHA-256 of the original, hex: a strong validator.
    pub sha256: String,
}

/// A stored image with what is too large for every answer.
#[derive(Clone, Debug)]
pub struct StoredAnalysis {
    /// What was seen on it.
    pub analysis: Analysis,
    /// Unit-length embedding.
    pub embedding: Vec<f32>,
}

/// One model bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelInfo {
    /// Version of the bundle.
    pub version: String,
    /// Name of the bundle.
    pub name: String,
    /// True for the one that answers.
    pub live: bool,
    /// True while it looks at the catalog to become live.
    pub activating: bool,
    /// Why its last activation was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub failure: Option<String>,
    /// The engine that runs it, `tract` or `onnxruntime`; absent when it is not loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// `f32` or `int8`; absent when it is not loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// The engine's version and why it was taken, for people; absent when it is not loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_reason: Option<String>,
    /// Share of the catalog's images analyzed by it, 0 to 1; 1 for the live model of an empty catalog.
    #[schema(minimum = 0, maximum = 1)]
    pub progress: f32,
}

/// How the service is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// True when it can answer everything.
    pub ready: bool,
    /// Why not, if not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Version of the live model.
    pub model_version: String,
    /// Last sequence number that searches see.
    pub seq: u64,
    /// Products in the catalog.
    pub products: u64,
    /// Images that searches see; those that the live model has not looked at yet are not among them.
    pub images: u64,
}
