//! A query to a page of similar products: by product, by photo, or by a basket of products.
//! Nearest first, one item a product however many images it has; nothing is grouped, diversified or cut by score
//! unless asked. A [`SimilarQuery`] is checked when it is made; [`search`] then fails on the catalog's account only.

mod color;
mod cursor;
mod diversity;
mod query;
mod rank;
#[cfg(test)]
mod tests;

use crate::color::BasicColor;
use crate::filter::{Facets, FilterError};
use crate::index::IndexError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

pub use color::ColorMode;
pub use query::SimilarQuery;
pub use rank::search;

/// Items on a page when `limit` is not given.
pub const DEFAULT_LIMIT: usize = 20;
/// Items on a page at most.
pub const MAX_LIMIT: usize = 200;
/// Products in a basket at most.
pub const MAX_BASKET: usize = 10;
/// Images of a product that are searched for: its first. Each costs a search.
pub const MAX_QUERY_IMAGES: usize = 8;
/// Products nearest by embedding that weights for color or attributes re-order; pages end with them.
/// A fixed number, so that the order is the same on every page.
pub const RERANK_POOL: usize = 1000;

/// Items that diversity chooses from, the most similar; pages end with them. Twice what a page has at most; to put all of
/// them in order takes 80,000 products of vectors.
pub const DIVERSITY_POOL: usize = 400;

/// What to find similar products to.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A product of the index: what is near to any of its images. It is left out itself.
    Product(String),
    /// A photo that is not in the index.
    Photo {
        /// Its embedding, of unit length.
        embedding: Vec<f32>,
        /// What was seen on it: for `color=same` and for weights.
        facets: Facets,
    },
    /// 1 to [`MAX_BASKET`] products: what is near to their common direction, the mean of the products' means.
    /// They are left out themselves.
    Basket(Vec<String>),
}

/// What a client can ask for beside the source, as it comes: a JSON body, or the query of a GET.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct SimilarParams {
    /// Items on the page, 1 to 200; 20 unless told.
    pub limit: Option<i64>,
    /// `next_cursor` of the page before, with the same query.
    pub cursor: Option<String>,
    /// See the grammar of filters.
    #[schema(value_type = Option<Object>)]
    pub filter: Option<serde_json::Value>,
    /// `group`: one item for all variants with one `group_id`, the nearest; the query's own group is left out.
    pub group_by: Option<GroupBy>,
    /// `any` (default), `same` or `different` as the query's colors, a color name, or `#rrggbb` (by its
    /// basic name).
    pub color: Option<String>,
    /// What the score is made of.
    pub weights: Option<Weights>,
    /// How much items must differ from one another: 0 (default) not at all, the nearest come first; 1 as much as they can.
    /// Pages then end after the 400 most similar.
    pub diversity: Option<f32>,
    /// Only items with at least this score, -1 to 1.
    pub min_score: Option<f32>,
    /// Say why each item is there.
    pub explain: bool,
}

/// What one item stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// A `group_id`; products without one stand alone.
    #[serde(alias = "group_id")]
    Group,
}

/// How much each part counts, at least 0, not all 0; only their ratio matters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    /// Cosine similarity of the embeddings, -1 to 1.
    pub embedding: f32,
    /// Basic colors in common over basic colors of both, 0 to 1.
    pub color: f32,
    /// Share of the query's attributes that the product has with the same value, 0 to 1.
    pub attributes: f32,
    /// The product's popularity, 0 to 1; 0 where it has none.
    pub popularity: f32,
}

impl Weights {
    fn all(self) -> [f32; 4] {
        [self.embedding, self.color, self.attributes, self.popularity]
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self { embedding: 1.0, color: 0.0, attributes: 0.0, popularity: 0.0 }
    }
}

/// A page of similar products.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SimilarPage {
    /// Most similar first, of equals the smaller product id first; with diversity in the order that it made.
    pub items: Vec<SimilarItem>,
    /// Cursor of the next page; `null` on the last.
    pub next_cursor: Option<String>,
    /// Model version of the embeddings compared.
    pub model_version: String,
    /// Every change up to this one was seen.
    pub seq: u64,
}

/// A similar product.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SimilarItem {
    /// The merchant's id.
    pub product_id: String,
    /// How similar, -1 to 1: cosine of the embeddings, unless weights were asked for.
    pub score: f32,
    /// Its image nearest to the query.
    pub image_id: String,
    /// The group it is a variant of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_id: Option<String>,
    /// Why it is here, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<Explain>,
}

/// Why an item is on the page.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Explain {
    /// Cosine similarity of the embeddings, -1 to 1.
    pub embedding: f32,
    /// As in [`Weights::color`].
    pub color: f32,
    /// As in [`Weights::attributes`].
    pub attributes: f32,
    /// As in [`Weights::popularity`].
    pub popularity: f32,
    /// Weights the score was made with, summing to 1.
    pub weights: Weights,
    /// With diversity: cosine similarity to the most similar item before it, on this page or another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redundancy: Option<f32>,
    /// Basic colors that query and product share.
    pub shared_colors: Vec<BasicColor>,
    /// Attributes with the same value in query and product.
    pub shared_attributes: BTreeMap<String, Vec<String>>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum SimilarError {
    /// A parameter is not what it must be.
    #[error("{field} must be {expected}, got {received}")]
    Invalid {
        /// The parameter.
        field: &'static str,
        /// What it may be.
        expected: String,
        /// What it was, shortened.
        received: String,
    },
    /// The filter is not one.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// No such product in the index.
    #[error("no product {product_id:?}")]
    UnknownProduct {
        /// The id asked for.
        product_id: String,
    },
    /// The product has no image, so nothing can be similar to it.
    #[error("product {product_id:?} has no image")]
    NoImage {
        /// The id asked for.
        product_id: String,
    },
    /// The vector does not fit the index.
    #[error(transparent)]
    Index(#[from] IndexError),
}
