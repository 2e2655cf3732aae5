//! Products, images, analyses, corrections and the change log, in one SQLite file; durable.

use crate::analyzer::Analysis;
use crate::attributes::Attribute;
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
    /// A person's corrections: they win over merchant and model.
    pub corrections: BTreeMap<String, String>,
    /// Its images, in the order they came.
    pub images: Vec<Image>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    pub updated_at: String,
    /// Sequence number of the last change.
    pub seq: u64,
}

/// What a merchant can say of a product; every field is optional.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Metadata {
    pub title: Option<String>,
    pub category: Option<String>,
    pub price: Option<f64>,
    pub currency: Option<String>,
    pub in_stock: Option<bool>,
    pub group_id: Option<String>,
    pub url: Option<String>,
    pub tags: Option<Vec<String>>,
    pub attributes: Option<BTreeMap<String, String>>,
}

/// One stored image of a product.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Image {
    /// The merchant's id of the image, or the first 16 hex digits of its SHA-256.
    pub image_id: String,
    /// What was seen on it.
    #[serde(flatten)]
    pub analysis: Analysis,
    /// RFC 3339, UTC.
    pub created_at: String,
}

/// The effective attributes of a product: corrections, then the merchant's, then the model's best over all images.
pub fn effective_attributes(product: &Product) -> Vec<Attribute> {
    let _ = product;
    unimplemented!()
}
