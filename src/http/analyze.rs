//! `POST /v1/analyze`: a photo in, its attributes and colors out; nothing is stored.

use super::extract::Params;
use super::photo_form::{BoxParam, PhotoJson, PhotoMultipart, Submitted};
use super::problem::Problem;
use super::state::App;
use crate::analyzer::{Analysis, Analyzed};
use crate::mask::Masks;
use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, GrayImage, ImageEncoder};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AnalyzeParams {
    /// Parts to add to the answer: `embedding`, `masks`, or both with a comma between.
    #[param(pattern = "^(embedding|masks)(,(embedding|masks))?$")]
    include: Option<String>,
}

/// What is seen on a photo, with the parts that were asked for.
#[derive(Serialize, ToSchema)]
#[schema(as = AnalysisView)]
pub(super) struct AnalysisView {
    #[serde(flatten)]
    analysis: Analysis,
    /// 256 values, of unit length; with `include=embedding`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<f32>, required = false, min_items = 256, max_items = 256)]
    embedding: Option<Vec<f32>>,
    /// With `include=masks`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = MaskImages, required = false)]
    masks: Option<MaskImages>,
}

/// Masks as 8-bit grey PNGs in base64: 255 is all, 0 none. All of one size, which is smaller than the photo's.
#[derive(Serialize, ToSchema)]
pub(super) struct MaskImages {
    /// The product sold.
    product: String,
    /// Other clothing and goods.
    other: String,
    /// Skin.
    skin: String,
    /// Hair.
    hair: String,
    /// Background, shadow and reflection.
    background: String,
}

/// What `include` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Include {
    pub(super) embedding: bool,
    pub(super) masks: bool,
}

/// Analyze a photo
///
/// Attributes with calibrated confidence, and the colors of the product in it. Nothing is stored.
#[utoipa::path(
    post, path = "/v1/analyze", tag = "photos", operation_id = "analyze",
    params(AnalyzeParams, BoxParam),
    request_body(description = "The photo; its bytes decide what it is", content(
        (PhotoJson = "application/json"), (PhotoMultipart = "multipart/form-data"),
        ("image/*"), ("application/octet-stream")
    )),
    responses((status = 200, body = AnalysisView, description = "What is seen"), (status = 422)),
    security(("key" = ["search", "ingest"])),
)]
pub(super) async fn analyze(
    State(app): State<App>,
    Params(params): Params<AnalyzeParams>,
    Params(boxed): Params<BoxParam>,
    submitted: Submitted<PhotoJson>,
) -> Result<Json<AnalysisView>, Problem> {
    let include = include(params.include.as_deref())?;
    let input = submitted.form.into_input(boxed.area.as_deref(), app.limits.photo_bytes)?;
    let Analyzed { analysis, embedding, masks } = app.service.analyze(input).await?;
    view(analysis, include.embedding.then_some(embedding), include.masks.then_some(&masks)).map(Json)
}

/// # Errors
/// 400 for any other part.
pub(super) fn include(text: Option<&str>) -> Result<Include, Problem> {
    let mut include = Include::default();
    for part in text.into_iter().flat_map(|text| text.split(',')) {
        match part {
            "embedding" => include.embedding = true,
            "masks" => include.masks = true,
            _ => return Err(Problem::invalid("include", "embedding, masks, or both with a comma between", part)),
        }
    }
    Ok(include)
}

/// An analysis with the given parts.
///
/// # Errors
/// When a mask cannot be written as PNG, which has not been seen.
pub(super) fn view(
    analysis: Analysis,
    embedding: Option<Vec<f32>>,
    masks: Option<&Masks>,
) -> Result<AnalysisView, Problem> {
    let images = |masks: &Masks| -> Result<MaskImages, Problem> {
        Ok(MaskImages {
            product: png(&masks.product)?,
            other: png(&masks.other)?,
            skin: png(&masks.skin)?,
            hair: png(&masks.hair)?,
            background: png(&masks.background)?,
        })
    };
    Ok(AnalysisView { analysis, embedding, masks: masks.map(images).transpose()? })
}

/// A mask of the working size takes about a millisecond: not worth a place in the scheduler's queue.
fn png(mask: &GrayImage) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(mask.as_raw(), mask.width(), mask.height(), ExtendedColorType::L8)
        .map_err(Problem::internal)?;
    Ok(STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn include_takes_known_parts_only() {
        assert_eq!(include(None).unwrap(), Include::default());
        assert_eq!(include(Some("masks,embedding")).unwrap(), Include { embedding: true, masks: true });
        for bad in ["", "mask", "embedding,", "embedding masks"] {
            assert!(include(Some(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn masks_come_back_as_they_were() {
        let mask = GrayImage::from_fn(3, 2, |x, y| image::Luma([(x * 100 + y) as u8]));
        let bytes = STANDARD.decode(png(&mask).unwrap()).unwrap();
        assert_eq!(image::load_from_memory(&bytes).unwrap().into_luma8(), mask);
    }
}
