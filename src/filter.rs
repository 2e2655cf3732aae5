//! The `filter` object of requests: checked at the edge, evaluated on a product's [`Facets`].

use crate::color::BasicColor;
use std::collections::BTreeMap;

/// What of a product can be filtered on; derived from the catalog, held by the index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facets {
    /// Merchant's category.
    pub category: Option<String>,
    /// Price in the product's currency.
    pub price: Option<f64>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// Can be bought now.
    pub in_stock: Option<bool>,
    /// Variants of one product share it.
    pub group_id: Option<String>,
    /// Merchant's tags.
    pub tags: Vec<String>,
    /// Effective attributes: corrections, then the merchant's, then the model's (asserted values only), over all images.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// Basic names of the dominant colors of all images.
    pub colors: Vec<BasicColor>,
    /// Retail names of the dominant colors of all images.
    pub retail_colors: Vec<String>,
}
