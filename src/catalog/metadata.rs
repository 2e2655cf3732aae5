//! What a merchant says of a product, and the patch that changes it. Every field is optional; a patch keeps what it
//! does not name and clears what it names with `null`. Bounds are checked before anything is stored.

use super::CatalogError;
use super::ids::{MAX_ID_CHARS, MAX_LABEL_CHARS, validate_text};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Longest title, in characters.
pub const MAX_TITLE_CHARS: usize = 1_000;
/// Longest URL, in characters.
pub const MAX_URL_CHARS: usize = 2_048;
/// Begins the tag of a product that is in a set of Google's Product Search; the set's id follows.
pub const PRODUCT_SET_TAG: &str = "product-set:";
/// Most tags, attributes or corrections of one product.
pub const MAX_LABELS: usize = 128;

/// What a merchant can say of a product; every field is optional.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Metadata {
    /// 1 to 1,000 characters.
    pub title: Option<String>,
    /// The merchant's own category, 1 to 128 characters.
    pub category: Option<String>,
    /// In `currency`; finite, at least 0.
    pub price: Option<f64>,
    /// ISO 4217: three capital letters.
    pub currency: Option<String>,
    /// Can be bought now.
    pub in_stock: Option<bool>,
    /// Variants of one product share it; 1 to 128 characters.
    pub group_id: Option<String>,
    /// Where the shop shows it, 1 to 2,048 characters.
    pub url: Option<String>,
    /// At most 128, of 1 to 128 characters.
    pub tags: Option<Vec<String>>,
    /// Attributes the merchant already has, name to value; at most 128.
    pub attributes: Option<BTreeMap<String, String>>,
    /// How much it is wanted, as a recommender has it: 0 to 1. Counts in `similar` where `weights.popularity` says so.
    pub popularity: Option<f32>,
}

/// A change to [`Metadata`]: a field that is absent is kept, one that is `null` is cleared, any other value replaces
/// the old one whole (also `tags` and `attributes`: a list is not merged into a list).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, clippy::option_option)]
pub struct MetadataPatch {
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 1000)]
    pub title: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 128)]
    pub category: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<f64>, minimum = 0)]
    pub price: Option<Option<f64>>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>, pattern = "^[A-Z]{3}$")]
    pub currency: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<bool>)]
    pub in_stock: Option<Option<bool>>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 128)]
    pub group_id: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 2048)]
    pub url: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<Vec<String>>, max_items = 128)]
    pub tags: Option<Option<Vec<String>>>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub attributes: Option<Option<BTreeMap<String, String>>>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<f32>, minimum = 0, maximum = 1)]
    pub popularity: Option<Option<f32>>,
}

/// Tells `null` (`Some(None)`) from absent (`None`).
#[allow(clippy::option_option)]
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl MetadataPatch {
    /// Writes the patch over `metadata`.
    pub fn apply(&self, metadata: &mut Metadata) {
        fn set<T: Clone>(field: &mut Option<T>, patch: Option<&Option<T>>) {
            if let Some(value) = patch {
                field.clone_from(value);
            }
        }
        set(&mut metadata.title, self.title.as_ref());
        set(&mut metadata.category, self.category.as_ref());
        set(&mut metadata.price, self.price.as_ref());
        set(&mut metadata.currency, self.currency.as_ref());
        set(&mut metadata.in_stock, self.in_stock.as_ref());
        set(&mut metadata.group_id, self.group_id.as_ref());
        set(&mut metadata.url, self.url.as_ref());
        set(&mut metadata.tags, self.tags.as_ref());
        set(&mut metadata.attributes, self.attributes.as_ref());
        set(&mut metadata.popularity, self.popularity.as_ref());
    }
}

impl From<Metadata> for MetadataPatch {
    /// A patch that sets what `metadata` says and keeps the rest: what a row of a manifest means.
    fn from(metadata: Metadata) -> Self {
        Self {
            title: metadata.title.map(Some),
            category: metadata.category.map(Some),
            price: metadata.price.map(Some),
            currency: metadata.currency.map(Some),
            in_stock: metadata.in_stock.map(Some),
            group_id: metadata.group_id.map(Some),
            url: metadata.url.map(Some),
            tags: metadata.tags.map(Some),
            attributes: metadata.attributes.map(Some),
            popularity: metadata.popularity.map(Some),
        }
    }
}

impl Metadata {
    /// Fills the fields that are not said with those of `later`: of several rows of a product, the first that says something
    /// counts; tags and attributes of all are taken together.
    pub fn complete(&mut self, later: Self) {
        fn fill<T>(field: &mut Option<T>, later: Option<T>) {
            if field.is_none() {
                *field = later;
            }
        }
        fill(&mut self.title, later.title);
        fill(&mut self.category, later.category);
        fill(&mut self.price, later.price);
        fill(&mut self.currency, later.currency);
        fill(&mut self.in_stock, later.in_stock);
        fill(&mut self.group_id, later.group_id);
        fill(&mut self.url, later.url);
        fill(&mut self.popularity, later.popularity);
        match (&mut self.tags, later.tags) {
            (Some(known), Some(later)) => later.into_iter().for_each(|tag| {
                if known.len() < MAX_LABELS && !known.contains(&tag) {
                    known.push(tag);
                }
            }),
            (known, later) => fill(known, later),
        }
        match (&mut self.attributes, later.attributes) {
            (Some(known), Some(later)) => later.into_iter().for_each(|(name, value)| {
                known.entry(name).or_insert(value);
            }),
            (known, later) => fill(known, later),
        }
    }

    /// Checks every field against the bounds its documentation gives.
    pub fn validate(&self) -> Result<(), CatalogError> {
        let texts = [
            ("title", &self.title, MAX_TITLE_CHARS),
            ("category", &self.category, MAX_LABEL_CHARS),
            ("group_id", &self.group_id, MAX_ID_CHARS),
            ("url", &self.url, MAX_URL_CHARS),
        ];
        for (field, text, max) in texts {
            if let Some(text) = text {
                validate_text(field, text, 1, max)?;
            }
        }
        if let Some(price) = self.price
            && !(price.is_finite() && price >= 0.0)
        {
            return Err(CatalogError::invalid("price", "a finite number of at least 0", price.to_string()));
        }
        if let Some(popularity) = self.popularity
            && !(0.0..=1.0).contains(&popularity)
        {
            return Err(CatalogError::invalid("popularity", "a number from 0 to 1", popularity.to_string()));
        }
        if let Some(currency) = &self.currency
            && !(currency.len() == 3 && currency.bytes().all(|b| b.is_ascii_uppercase()))
        {
            let shown: String = currency.chars().take(16).collect();
            let expected = "three capital letters (ISO 4217)";
            return Err(CatalogError::invalid("currency", expected, format!("{shown:?}")));
        }
        let tags = self.tags.as_deref().unwrap_or_default();
        validate_count("tags", tags.len())?;
        for tag in tags {
            validate_text("tags", tag, 1, MAX_LABEL_CHARS)?;
        }
        let attributes = self.attributes.iter().flatten();
        validate_count("attributes", self.attributes.as_ref().map_or(0, BTreeMap::len))?;
        for (name, value) in attributes {
            validate_text("attributes", name, 1, MAX_LABEL_CHARS)?;
            validate_text("attributes", value, 1, MAX_LABEL_CHARS)?;
        }
        Ok(())
    }
}

/// Checks that a list has at most [`MAX_LABELS`] entries.
pub(super) fn validate_count(field: &'static str, count: usize) -> Result<(), CatalogError> {
    if count <= MAX_LABELS {
        return Ok(());
    }
    Err(CatalogError::invalid(field, format!("at most {MAX_LABELS} entries"), count.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_patch_keeps_what_is_absent_and_clears_what_is_null() {
        let mut metadata = Metadata {
            title: Some("Dress".into()),
            price: Some(59.9),
            tags: Some(vec!["new".into()]),
            ..Metadata::default()
        };
        let patch: MetadataPatch =
            serde_json::from_str(r#"{"price": null, "tags": ["sale"], "in_stock": false}"#).unwrap();
        patch.apply(&mut metadata);
        let expected = Metadata {
            title: Some("Dress".into()),
            tags: Some(vec!["sale".into()]),
            in_stock: Some(false),
            ..Metadata::default()
        };
        assert_eq!(metadata, expected);
        assert!(serde_json::from_str::<MetadataPatch>(r#"{"colour": "red"}"#).is_err());
    }

    #[test]
    fn values_out_of_bounds_are_refused_by_field() {
        let bad = [
            ("title", Metadata { title: Some(String::new()), ..Metadata::default() }),
            ("price", Metadata { price: Some(f64::NAN), ..Metadata::default() }),
            ("price", Metadata { price: Some(-0.01), ..Metadata::default() }),
            ("popularity", Metadata { popularity: Some(1.01), ..Metadata::default() }),
            ("popularity", Metadata { popularity: Some(f32::NAN), ..Metadata::default() }),
            ("currency", Metadata { currency: Some("eur".into()), ..Metadata::default() }),
            ("tags", Metadata { tags: Some(vec!["x".into(); MAX_LABELS + 1]), ..Metadata::default() }),
            ("attributes", Metadata { attributes: Some([("a".into(), "\n".into())].into()), ..Metadata::default() }),
        ];
        for (name, metadata) in bad {
            let error = metadata.validate().unwrap_err();
            assert!(matches!(error, CatalogError::Invalid { field, .. } if field == name), "{error}");
        }
        Metadata::default().validate().unwrap();
    }
}
