//! The `filter` object of requests: checked at the edge, evaluated on a product's [`Facets`].
//! One JSON object; everything in it must hold. Parsing is in `parse`, names of colors in `colors`.
//! A parsed [`Filter`] is bounded in depth and size, and evaluating it cannot fail.
//!
//! # Grammar
//!
//! ```text
//! filter     = { key: test, ... }                      every entry must hold; {} holds for everything
//! key: test  = "category" | "currency" | "group_id" : text-test
//!            | "tags"                               : text-test        holds when any tag does
//!            | "attributes.<name>"                  : text-test        holds when any value does
//!            | "color"                              : text-test        of color names, see below
//!            | "in_stock"                           : true | false | null
//!            | "price"                              : number-test
//!            | "not"                                : filter
//!            | "and" | "or"                         : [filter, ...]    at least one
//! text-test  = scalar | [scalar, ...]                  equal to any of them; at least one
//! scalar     = string | null                           null: the product has no such value
//! number-test= number | null | [number | null, ...] | range
//! range      = { "lt" | "lte": number, "gt" | "gte": number }    at least one bound, one a side
//! ```
//!
//! Text is compared as it is, upper and lower case apart. A product without a value fails every test of it but
//! `null`; `not` turns that around. A color is one of the 12 basic names or one of Shopify's 19 retail names in
//! any case, with space, `-` or `_` between words; `gray` is `grey`. A name that is both (`blue`) holds for
//! either, so a navy dress, basic blue, is found by `blue` and by `navy`.
//!
//! Limits: [`MAX_DEPTH`], [`MAX_CONDITIONS`], [`MAX_VALUES`], [`MAX_TEXT_BYTES`], [`MAX_JSON_BYTES`].

pub mod colors;
mod columns;
mod parse;
#[cfg(test)]
mod tests;

use crate::color::BasicColor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use colors::ColorName;
pub use columns::{Coded, Columns, Compiled, Term, Terms};
pub use parse::FilterError;

/// Filters inside filters: `{"not": {...}}` has depth 2.
pub const MAX_DEPTH: usize = 8;
/// Tests in one filter, `not`, `and` and `or` counted too. Bounds the work a product costs.
pub const MAX_CONDITIONS: usize = 200;
/// Values in one list.
pub const MAX_VALUES: usize = 100;
/// Bytes of one text value or attribute name.
pub const MAX_TEXT_BYTES: usize = 512;
/// Bytes of a filter that comes as text, see [`Filter::parse_str`].
pub const MAX_JSON_BYTES: usize = 16 * 1024;

/// What of a product can be filtered on; derived from the catalog, held by the index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facets {
    /// Merchant's category.
    pub category: Option<String>,
    /// Price in the product's currency.
    pub price: Option<f64>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// Can be bought now.
    pub in_stock: Option<bool>,
    /// 0 to 1; not filtered on, but ranked by.
    pub popularity: Option<f32>,
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

/// A checked filter: see the grammar in the [module](self).
#[derive(Clone, Debug, PartialEq)]
pub struct Filter(Node);

/// What a filter is made of.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    /// Every one holds; of none: true.
    And(Vec<Node>),
    /// At least one holds.
    Or(Vec<Node>),
    Not(Box<Node>),
    /// The field has one of the values, or none when `missing`.
    Text {
        field: TextField,
        any_of: Vec<String>,
        missing: bool,
    },
    Color {
        any_of: Vec<ColorName>,
        missing: bool,
    },
    /// `None`: not known.
    InStock(Option<bool>),
    Price(PriceTest),
}

/// A field whose values are text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TextField {
    /// Merchant's category.
    Category,
    /// ISO 4217.
    Currency,
    /// What variants of one product share.
    GroupId,
    /// Merchant's tags.
    Tags,
    /// An attribute, by its name.
    Attribute(String),
}

#[derive(Clone, Debug, PartialEq)]
enum PriceTest {
    AnyOf { values: Vec<f64>, missing: bool },
    Range { low: Bound, high: Bound },
}

/// One end of a range.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    None,
    Open(f64),
    Closed(f64),
}

impl Filter {
    /// Holds for everything.
    pub fn everything() -> Self {
        Self(Node::And(Vec::new()))
    }

    /// Holds when every one of `filters` does. Composed by the program, so no limit is checked.
    pub fn all(filters: Vec<Filter>) -> Self {
        let mut nodes: Vec<Node> = filters.into_iter().map(|filter| filter.0).collect();
        match nodes.pop() {
            Some(only) if nodes.is_empty() => Self(only),
            Some(last) => {
                nodes.push(last);
                Self(Node::And(nodes))
            }
            None => Self::everything(),
        }
    }

    /// Holds when one of the product's colors has one of these names.
    pub fn any_color(any_of: Vec<ColorName>) -> Self {
        Self(Node::Color { any_of, missing: false })
    }

    /// Holds when none of the product's colors is known.
    pub fn unknown_color() -> Self {
        Self(Node::Color { any_of: Vec::new(), missing: true })
    }

    /// Holds where this one does not.
    #[must_use]
    pub fn negated(self) -> Self {
        Self(self.0.negated())
    }

    /// True when `facets` pass.
    pub fn matches(&self, facets: &Facets) -> bool {
        self.0.matches(facets)
    }
}

impl Node {
    fn negated(self) -> Node {
        match self {
            Node::Not(inner) => *inner,
            other => Node::Not(Box::new(other)),
        }
    }

    fn matches(&self, facets: &Facets) -> bool {
        match self {
            Node::And(nodes) => nodes.iter().all(|node| node.matches(facets)),
            Node::Or(nodes) => nodes.iter().any(|node| node.matches(facets)),
            Node::Not(node) => !node.matches(facets),
            Node::Text { field, any_of, missing } => {
                let values = field.values(facets);
                (*missing && values.is_empty()) || values.iter().any(|value| any_of.contains(value))
            }
            Node::Color { any_of, missing } => {
                let none = facets.colors.is_empty() && facets.retail_colors.is_empty();
                (*missing && none) || any_of.iter().any(|name| name.matches(facets))
            }
            Node::InStock(expected) => facets.in_stock == *expected,
            Node::Price(test) => test.matches(facets.price),
        }
    }
}

impl TextField {
    fn values<'a>(&self, facets: &'a Facets) -> &'a [String] {
        match self {
            TextField::Category => facets.category.as_slice(),
            TextField::Currency => facets.currency.as_slice(),
            TextField::GroupId => facets.group_id.as_slice(),
            TextField::Tags => &facets.tags,
            TextField::Attribute(name) => facets.attributes.get(name).map_or(&[], Vec::as_slice),
        }
    }
}

impl PriceTest {
    fn matches(&self, price: Option<f64>) -> bool {
        match (self, price) {
            (PriceTest::AnyOf { missing, .. }, None) => *missing,
            (PriceTest::AnyOf { values, .. }, Some(price)) => values.contains(&price),
            (PriceTest::Range { .. }, None) => false,
            (PriceTest::Range { low, high }, Some(price)) => {
                let above = match *low {
                    Bound::None => true,
                    Bound::Open(bound) => price > bound,
                    Bound::Closed(bound) => price >= bound,
                };
                above
                    && match *high {
                        Bound::None => true,
                        Bound::Open(bound) => price < bound,
                        Bound::Closed(bound) => price <= bound,
                    }
            }
        }
    }
}
