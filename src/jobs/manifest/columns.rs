//! Columns of a manifest: which name means which field, and what a cell of it may hold.

use crate::catalog::{Metadata, PRODUCT_SET_TAG};
use crate::photo::{Area, ParseAreaError};
use std::collections::BTreeMap;

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Column {
    ProductId,
    ImageId,
    ImageUri,
    /// The part of the photo to look at: a box, or points around which one is drawn.
    Area,
    Title,
    Category,
    Price,
    Currency,
    InStock,
    Popularity,
    GroupId,
    Url,
    Tags,
    /// A set of products, as Google's Product Search has them: a tag.
    ProductSet,
    /// `attributes.<name>`: an attribute the merchant already has.
    Attribute(String),
    /// `name=value,name=value`: attributes in one cell, as Google's Product Search has them.
    Labels,
}

impl Column {
    /// The field that a head names; case, blanks, `-` and `_` do not matter. Beside the names of the API it knows
    /// what exports and label files commonly say: `file`, `path`, `image`, `image_url` for `image_uri`, `id`, `sku`
    /// for `product_id`, and `name`, `product_title` for `title`; and those of Google's Product Search
    /// (`product-display-name`, `product-category`, `product-set-id`, `labels`, `bounding-poly`).
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
            "category" | "productcategory" => Self::Category,
            "box" | "boundingpoly" => Self::Area,
            "productsetid" => Self::ProductSet,
            "labels" => Self::Labels,
            "price" => Self::Price,
            "currency" => Self::Currency,
            "instock" => Self::InStock,
            "popularity" => Self::Popularity,
            "groupid" => Self::GroupId,
            "url" => Self::Url,
            "tags" => Self::Tags,
            _ => return None,
        })
    }

    /// Whether it says something of the product, not which it is or where a photo lies.
    pub(super) fn is_metadata(&self) -> bool {
        !matches!(self, Self::ProductId | Self::ImageId | Self::ImageUri | Self::Area)
    }

    /// The name that the API has for it, where it has one.
    pub(super) fn name(&self) -> Option<&'static str> {
        Some(match self {
            Self::ProductId => "product_id",
            Self::ImageId => "image_id",
            Self::ImageUri => "image_uri",
            Self::Area => "box",
            Self::Title => "title",
            Self::Category => "category",
            Self::Price => "price",
            Self::Currency => "currency",
            Self::InStock => "in_stock",
            Self::Popularity => "popularity",
            Self::GroupId => "group_id",
            Self::Url => "url",
            Self::Tags => "tags",
            Self::Attribute(_) | Self::Labels | Self::ProductSet => return None,
        })
    }

    /// The columns of a file for Google's Product Search, which has no head.
    pub(super) const GOOGLE: [Self; 8] = [
        Self::ImageUri,
        Self::ImageId,
        Self::ProductSet,
        Self::ProductId,
        Self::Category,
        Self::Title,
        Self::Labels,
        Self::Area,
    ];

    /// Writes `cell` (trimmed, not blank) into `metadata`; ids and the photo's place are not metadata.
    ///
    /// # Errors
    /// What the cell should have been.
    pub(super) fn read(&self, cell: &str, metadata: &mut Metadata) -> Result<(), String> {
        let text = || Some(cell.to_owned());
        match self {
            Self::ProductId | Self::ImageId | Self::ImageUri | Self::Area => {}
            Self::Title => metadata.title = text(),
            Self::Category => metadata.category = text(),
            Self::Currency => metadata.currency = Some(cell.to_uppercase()),
            Self::GroupId => metadata.group_id = text(),
            Self::Url => metadata.url = text(),
            Self::Price => metadata.price = Some(price(cell)?),
            Self::Popularity => metadata.popularity = Some(popularity(cell)?),
            Self::InStock => metadata.in_stock = Some(truth(cell)?),
            Self::Tags => add_tags(metadata, cell.split(['|', ';']).map(|tag| tag.trim().to_owned())),
            Self::ProductSet => add_tags(metadata, [format!("{PRODUCT_SET_TAG}{cell}")]),
            Self::Attribute(name) => {
                metadata.attributes.get_or_insert_with(BTreeMap::new).insert(name.clone(), cell.to_owned());
            }
            Self::Labels => {
                let attributes = metadata.attributes.get_or_insert_with(BTreeMap::new);
                for label in cell.split(',').map(str::trim).filter(|label| !label.is_empty()) {
                    let (name, value) = label.split_once('=').ok_or_else(|| labels_expected(label))?;
                    // Of several values of one name the first counts: an attribute has one.
                    attributes.entry(name.trim().to_owned()).or_insert_with(|| value.trim().to_owned());
                }
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

fn popularity(cell: &str) -> Result<f32, String> {
    let value = cell.parse::<f32>().ok().filter(|p| (0.0..=1.0).contains(p));
    value.ok_or_else(|| format!("popularity: expected a number from 0 to 1, received {cell:?}"))
}

fn labels_expected(label: &str) -> String {
    format!("labels: expected name=value, separated by commas, received {label:?}")
}

fn truth(cell: &str) -> Result<bool, String> {
    match cell.to_lowercase().as_str() {
        "true" | "1" | "yes" | "y" => Ok(true),
        "false" | "0" | "no" | "n" => Ok(false),
        _ => Err(format!("in_stock: expected true or false, received {cell:?}")),
    }
}

/// Each once, in order, blanks dropped.
fn add_tags(metadata: &mut Metadata, added: impl IntoIterator<Item = String>) {
    let tags = metadata.tags.get_or_insert_default();
    for tag in added {
        if !tag.is_empty() && !tags.contains(&tag) {
            tags.push(tag);
        }
    }
}

/// A part of a photo.
pub(super) fn area(cell: &str) -> Result<Area, String> {
    cell.parse().map_err(|expected: ParseAreaError| {
        let shown: String = cell.chars().take(80).collect();
        format!("box: expected {expected}, received {shown:?}")
    })
}
