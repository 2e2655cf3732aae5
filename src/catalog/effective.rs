//! What a product is, all sources taken together: a person's corrections, then the merchant's own attributes, then
//! what the model saw on its images. A pure function of the record, so every node and every replay agrees.

use super::{Image, Metadata, Product};
use crate::analyzer::Analysis;
use crate::attributes::{Attribute, Source};
use crate::filter::Facets;
use std::collections::{BTreeMap, BTreeSet};

/// The effective attributes of a product, one a name, sorted by name.
///
/// * A correction wins over all (confidence 1); a correction of `null` says that the attribute does not apply: it is
///   left out, whatever merchant and model say.
/// * Then the merchant's own (confidence 1).
/// * Then the model's best over all images: the most confident asserted value; where every image left it unsure,
///   the most confident unsure one with its candidates. The earlier image wins a tie.
pub fn effective_attributes(product: &Product) -> Vec<Attribute> {
    let mut best: BTreeMap<&str, Attribute> = BTreeMap::new();
    for attribute in product.images.iter().flat_map(|i| &i.analysis.attributes) {
        match best.get(attribute.name.as_str()) {
            Some(known) if rank(known) >= rank(attribute) => {}
            _ => {
                best.insert(&attribute.name, attribute.clone());
            }
        }
    }
    for (name, value) in product.metadata.attributes.iter().flatten() {
        best.insert(name, said(name, value, Source::Merchant));
    }
    for (name, value) in &product.corrections {
        match value {
            Some(value) => best.insert(name, said(name, value, Source::Correction)),
            None => best.remove(name.as_str()),
        };
    }
    best.into_values().collect()
}

/// What of a product can be filtered on. Unlike in [`effective_attributes`], every value that the model asserts on
/// some image counts: a filter should find a set by each of its parts. Lists are sorted and without repeats.
pub fn facets(product: &Product) -> Facets {
    let metadata = &product.metadata;
    let dominant = || product.images.iter().flat_map(|i| &i.analysis.colors.dominant);
    let colors: BTreeSet<_> = dominant().map(|color| color.name).collect();
    let retail_colors: BTreeSet<_> = dominant().map(|color| color.retail_name.clone()).collect();
    Facets {
        category: metadata.category.clone(),
        price: metadata.price,
        currency: metadata.currency.clone(),
        in_stock: metadata.in_stock,
        popularity: metadata.popularity,
        group_id: metadata.group_id.clone(),
        tags: metadata.tags.clone().unwrap_or_default(),
        attributes: facet_attributes(product),
        colors: colors.into_iter().collect(),
        retail_colors: retail_colors.into_iter().collect(),
    }
}

/// What of a photo that is not stored can be compared with the [`facets`] of products.
pub fn photo_facets(analysis: Analysis) -> Facets {
    let image = Image { image_id: String::new(), analysis, created_at: String::new() };
    facets(&Product {
        product_id: String::new(),
        metadata: Metadata::default(),
        corrections: BTreeMap::new(),
        images: vec![image],
        created_at: String::new(),
        updated_at: String::new(),
        seq: 0,
    })
}

fn facet_attributes(product: &Product) -> BTreeMap<String, Vec<String>> {
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for attribute in product.images.iter().flat_map(|i| &i.analysis.attributes) {
        if let Some(value) = &attribute.value {
            seen.entry(&attribute.name).or_default().insert(value);
        }
    }
    for (name, value) in product.metadata.attributes.iter().flatten() {
        seen.insert(name, BTreeSet::from([value.as_str()]));
    }
    for (name, value) in &product.corrections {
        seen.insert(name, value.iter().map(String::as_str).collect());
    }
    seen.into_iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(name, values)| (name.into(), values.into_iter().map(Into::into).collect()))
        .collect()
}

/// Asserted before unsure, then by confidence, which is never NaN in the store (NaN does not survive JSON).
fn rank(attribute: &Attribute) -> (bool, f32) {
    (attribute.value.is_some(), attribute.confidence)
}

fn said(name: &str, value: &str, source: Source) -> Attribute {
    Attribute { name: name.into(), value: Some(value.into()), confidence: 1.0, source, candidates: Vec::new() }
}
