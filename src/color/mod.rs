//! Product pixels to a palette: clusters in CIELAB, shares, names.

use crate::mask::{BackgroundKind, Flag, Masks};
use crate::photo::Photo;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The colors of one photo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Colors {
    /// Colors of the product sold, largest share first; 1 to 6.
    pub dominant: Vec<NamedColor>,
    /// Colors of the background, largest share first; may be empty.
    pub background: Vec<NamedColor>,
    /// Kind of background found.
    pub background_kind: BackgroundKind,
    /// Share of the photo that is product, 0 to 1.
    pub product_share: f32,
    /// Share of the photo that is skin or hair, 0 to 1.
    pub skin_share: f32,
    /// True when no single color names the product.
    pub multicolor: bool,
    /// How far masks and names can be trusted, 0 to 1.
    pub confidence: f32,
    /// What a reader should know.
    pub flags: Vec<Flag>,
}

/// One color of a palette.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NamedColor {
    /// `#rrggbb`, sRGB.
    pub hex: String,
    /// CIELAB under D65: L 0 to 100, a and b about -128 to 127; rounded to two decimals.
    pub lab: [f32; 3],
    /// One of the 12 basic names.
    pub name: BasicColor,
    /// One of Shopify's 19 color names.
    pub retail_name: String,
    /// Fine shade: an ISCC-NBS name.
    pub shade: String,
    /// Share of the pixels it stands for, 0 to 1.
    pub share: f32,
    /// Who named it.
    pub source: ColorSource,
}

/// The 11 basic color terms of English and beige.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum BasicColor {
    Black,
    White,
    Grey,
    Red,
    Orange,
    Yellow,
    Green,
    Blue,
    Purple,
    Pink,
    Brown,
    Beige,
}

/// Who named a color.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColorSource {
    /// The measured pixels.
    Pixels,
    /// The model's `base_color` head.
    Model,
    /// Both agree.
    Both,
}

/// What the model's `base_color` head says: probability a basic name, summing to at most 1.
#[derive(Clone, Debug, Default)]
pub struct ColorPrior(pub Vec<(BasicColor, f32)>);

/// The palette of a photo under its masks; `prior` is what the model says of the product's color.
/// Never fails: a photo without product pixels gives the palette of the whole photo and says so in `flags`.
pub fn palette(photo: &Photo, masks: &Masks, prior: Option<&ColorPrior>) -> Colors {
    let _ = (photo, masks, prior);
    unimplemented!()
}
