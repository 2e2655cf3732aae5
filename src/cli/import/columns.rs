//! Columns of a manifest: which name means which field, and what a cell of it may hold.

use crate::catalog::Metadata;
use std::collections::BTreeMap;

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Column {
    ProductId,
    ImageId,
    ImageUri,
    Title,
    Category,
    Price,
    Currency,
    InStock,
    GroupId,
    Url,
    Tags,
    /// `attributes.<name>`: an attribute the merchant already has.
    Attribute(String),
}

impl Column {
    /// The field that a head names; case, blanks, `-` and `_` do not matter. Beside the names of the API it knows
    /// what exports and label files commonly say: `file`, `path`, `image`, `image_url` for `image_uri`, `id`, `sku`
    /// for `product_id`, and `name`, `product_title`, `product_display_name` for `title`.
    pub(super) fn named(head: &str) -> Option<Self> {
        if let Some((prefix, name)) = head.split_once('.')
            && prefix.trim().eq_ignore_ascii_case("attributes")
            && !name.trim().is_empty()
        {
            return Some(Self::Attribute(name.trim().to_owned()));
        }
        let plain: String = head.to_lowercase().chars().filter(|c| !matches!(c, ' ' | '_' | '-')).collect();
        Some(match plain.as_str() {
            "productid" | "id" | "sku" => Self::ProductId,
            "imageid" => Self::ImageId,
            "imageuri" | "imageurl" | "image" | "file" | "path" => Self::ImageUri,
            "title" | "name" | "producttitle" | "productdisplayname" => Self::Title,
            "category" => Self::Category,
            "price" => Self::Price,
            "currency" => Self::Currency,
            "instock" => Self::InStock,
            "groupid" => Self::GroupId,
            "url" => Self::Url,
            "tags" => Self::Tags,
            _ => return None,
        })
    }

    /// Writes `cell` (trimmed, not blank) into `metadata`; ids and the photo's place are not metadata.
    ///
    /// # Errors
    /// What the cell should have been.
    pub(super) fn read(&self, cell: &str, metadata: &mut Metadata) -> Result<(), String> {
        let text = || Some(cell.to_owned());
        match self {
            Self::ProductId | Self::ImageId | Self::ImageUri => {}
            Self::Title => metadata.title = text(),
            Self::Category => metadata.category = text(),
            Self::Currency => metadata.currency = Some(cell.to_uppercase()),
            Self::GroupId => metadata.group_id = text(),
            Self::Url => metadata.url = text(),
            Self::Price => metadata.price = Some(price(cell)?),
            Self::InStock => metadata.in_stock = Some(truth(cell)?),
            Self::Tags => metadata.tags = Some(tags(cell)),
            Self::Attribute(name) => {
                metadata.attributes.get_or_insert_with(BTreeMap::new).insert(name.clone(), cell.to_owned());
            }
        }
        Ok(())
    }
}

/// A decimal point, no signs of currency or thousands: `1,299.00` has been read as 1.299 too often.
fn price(cell: &str) -> Result<f64, String> {
    let value = cell.parse::<f64>().ok().filter(|p| p.is_finite() && *p >= 0.0);
    value.ok_or_else(|| format!("price: expected a number such as 59.90, received {cell:?}"))
}

fn truth(cell: &str) -> Result<bool, String> {
    match cell.to_lowercase().as_str() {
        "true" | "1" | "yes" | "y" => Ok(true),
        "false" | "0" | "no" | "n" => Ok(false),
        _ => Err(format!("in_stock: expected true or false, received {cell:?}")),
    }
}

/// Separated by `|` or `;`, blanks dropped, each once, in order.
fn tags(cell: &str) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for tag in cell.split(['|', ';']).map(str::trim).filter(|t| !t.is_empty()) {
        if !tags.iter().any(|t| t == tag) {
            tags.push(tag.to_owned());
        }
    }
    tags
}

/// Fills the fields that `metadata` has not with those of `later`: of several rows of a product, the first that
/// says something counts.
pub(super) fn complete(metadata: &mut Metadata, later: Metadata) {
    fn fill<T>(field: &mut Option<T>, later: Option<T>) {
        if field.is_none() {
            *field = later;
        }
    }
    fill(&mut metadata.title, later.title);
    fill(&mut metadata.category, later.category);
    fill(&mut metadata.price, later.price);
    fill(&mut metadata.currency, later.currency);
    fill(&mut metadata.in_stock, later.in_stock);
    fill(&mut metadata.group_id, later.group_id);
    fill(&mut metadata.url, later.url);
    fill(&mut metadata.tags, later.tags);
    match (&mut metadata.attributes, later.attributes) {
        (Some(known), Some(later)) => later.into_iter().for_each(|(k, v)| {
            known.entry(k).or_insert(v);
        }),
        (known, later) => fill(known, later),
    }
}
