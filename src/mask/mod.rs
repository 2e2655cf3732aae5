//! `Photo` (and the region map as a prior, where the model gives one) to [`Masks`]: product, skin, background.

use crate::model::RegionMap;
use crate::photo::Photo;
use image::GrayImage;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which pixels are what, at a working size.
#[derive(Clone, Debug)]
pub struct Masks {
    /// Share of each pixel that is product sold, (H, W), 0 to 255.
    pub product: GrayImage,
    /// Skin and hair, (H, W), 0 to 255.
    pub skin: GrayImage,
    /// Background, shadow and reflection, (H, W), 0 to 255.
    pub background: GrayImage,
    /// What kind of background was found.
    pub kind: BackgroundKind,
    /// How far the masks can be trusted, 0 to 1.
    pub confidence: f32,
    /// What a reader of the result should know.
    pub flags: Vec<Flag>,
}

/// What stands behind the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackgroundKind {
    /// The photo's own alpha channel says.
    Alpha,
    /// One flat color.
    Plain,
    /// A smooth gradient, as studios have.
    Gradient,
    /// A scene: street, room, textured floor.
    Scene,
    /// None: the product fills the picture (fabric close-ups).
    None,
}

/// What a reader of an analysis should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// Skin and a skin-colored product could not be told apart.
    SkinAmbiguous,
    /// Product and background have about the same color.
    LowContrast,
    /// The background is a scene; the product's region is a guess.
    SceneBackground,
    /// No product could be separated; the whole photo was used.
    WholePhoto,
    /// The photo is too small for reliable colors.
    TinyPhoto,
}

/// Separates product, skin and background. Never fails: where nothing can be told, the whole photo is product,
/// with confidence near 0.
pub fn segment(photo: &Photo, prior: Option<&RegionMap>) -> Masks {
    let _ = (photo, prior);
    unimplemented!()
}
