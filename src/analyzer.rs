//! The façade over the stages that look at a photo: one method a stage, and `analyze`.

use crate::attributes::Attribute;
use crate::color::Colors;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is known of one photo. A function of the bytes, the model version and nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Analysis {
    /// SHA-256 of the photo's bytes, hex.
    pub sha256: String,
    /// Width in pixels, upright.
    pub width: u32,
    /// Height in pixels, upright.
    pub height: u32,
    /// Version of the bundle that saw it.
    pub model_version: String,
    /// What the model saw; attributes that do not apply are left out.
    pub attributes: Vec<Attribute>,
    /// The photo's colors.
    pub colors: Colors,
}
