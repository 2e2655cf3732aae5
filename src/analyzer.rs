//! The façade over the stages that look at a photo: one method a stage, and [`Analyzer::analyze`].
//! Knows their order and nothing of how they work.

use crate::attributes::{self, Attribute};
use crate::color::{self, BasicColor, ColorPrior, Colors};
use crate::mask::{self, Masks, Steps, working};
use crate::model::{Embedding, Model, ModelError, Prediction};
use crate::photo::{Area, Limits, Photo, PhotoError, PixelBox};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The head whose labels are the colors a merchant would write.
const COLOR_HEAD: &str = "base_color";

/// What is known of one photo, or of a part of it. A function of the bytes, the part, the model version and nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Analysis {
    /// SHA-256 of the photo's bytes, hex.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub sha256: String,
    /// Width in pixels, upright; of `box`, where there is one.
    pub width: u32,
    /// Height in pixels, upright; of `box`, where there is one.
    pub height: u32,
    /// The part that was looked at, `[x1, y1, x2, y2]` in pixels of the upright photo; without it all of it.
    #[serde(rename = "box", default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<u32>, required = false, min_items = 4, max_items = 4)]
    pub area: Option<PixelBox>,
    /// Version of the bundle that saw it.
    pub model_version: String,
    /// What the model saw; attributes that do not apply are left out.
    pub attributes: Vec<Attribute>,
    /// The photo's colors.
    pub colors: Colors,
}

/// An analysis with the parts that are too large for every answer.
#[derive(Clone, Debug)]
pub struct Analyzed {
    /// What is told and stored.
    pub analysis: Analysis,
    /// Unit-length embedding.
    pub embedding: Embedding,
    /// Which pixels are what, at the working size of [`mask::segment`].
    pub masks: Masks,
}

/// Runs the stages over photos; cheap to clone.
#[derive(Clone)]
pub struct Analyzer {
    model: Model,
}

impl Analyzer {
    /// An analyzer that looks with `model`.
    pub fn new(model: Model) -> Self {
        Self { model }
    }

    /// The model it looks with.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The photo in `bytes`, or its part in `area`. Of a large JPEG only as many pixels as the stages need; a part is cut from
    /// all of them. The same for all analyzers of one [`side`](Self::side).
    ///
    /// # Errors
    /// As [`Photo::decode`] and [`Photo::crop`].
    pub fn decode(&self, bytes: &[u8], area: Option<Area>, limits: &Limits) -> Result<Photo, PhotoError> {
        match area {
            Some(area) => Photo::decode(bytes, limits)?.crop(area),
            None => Photo::decode_scaled(bytes, limits, self.side()),
        }
    }

    /// The longest side of what a photo is shrunk to, pixels: what [`decode`](Self::decode) decodes it for.
    pub fn side(&self) -> u32 {
        let input = &self.model.manifest().input;
        // Of twice as many pixels, the working picture of the masks is as long as ever.
        input.width.max(input.height).max(working::LONG_SIDE / 2)
    }

    /// All stages, on the calling thread and one core.
    ///
    /// # Errors
    /// Only when the model fails; no photo can make a stage fail.
    pub fn analyze(&self, photo: &Photo) -> Result<Analyzed, ModelError> {
        let prediction = self.predict(photo)?;
        let masks = self.segment(photo, &prediction);
        let colors = self.colors(photo, &masks, &prediction);
        Ok(self.assemble(photo, prediction, masks, colors))
    }

    /// As [`analyze`](Self::analyze), with the planes between photo and masks, to look at.
    ///
    /// # Errors
    /// When the model fails.
    pub fn analyze_in_steps(&self, photo: &Photo) -> Result<(Analyzed, Steps), ModelError> {
        let prediction = self.predict(photo)?;
        let (masks, steps) = mask::steps(photo, prediction.regions.as_ref());
        let colors = self.colors(photo, &masks, &prediction);
        Ok((self.assemble(photo, prediction, masks, colors), steps))
    }

    /// What the stages found, as one analysis.
    pub fn assemble(&self, photo: &Photo, prediction: Prediction, masks: Masks, colors: Colors) -> Analyzed {
        let analysis = Analysis {
            sha256: photo.sha256().to_string(),
            width: photo.width(),
            height: photo.height(),
            area: photo.area(),
            model_version: self.model.version().to_owned(),
            attributes: self.attributes(&prediction),
            colors,
        };
        Analyzed { analysis, embedding: prediction.embedding, masks }
    }

    /// Logits, embedding and region map.
    ///
    /// # Errors
    /// When the model fails.
    pub fn predict(&self, photo: &Photo) -> Result<Prediction, ModelError> {
        self.model.predict(photo)
    }

    /// Labels with confidence.
    pub fn attributes(&self, prediction: &Prediction) -> Vec<Attribute> {
        attributes::decide(self.model.manifest(), &prediction.logits)
    }

    /// Product, skin, background.
    pub fn segment(&self, photo: &Photo, prediction: &Prediction) -> Masks {
        mask::segment(photo, prediction.regions.as_ref())
    }

    /// The palette, with the model's own word on the color where it has a head for it.
    pub fn colors(&self, photo: &Photo, masks: &Masks, prediction: &Prediction) -> Colors {
        color::palette(photo, masks, self.color_prior(prediction).as_ref())
    }

    /// The `base_color` head as probabilities of the basic names; labels that name no basic color are left out.
    pub(crate) fn color_prior(&self, prediction: &Prediction) -> Option<ColorPrior> {
        let heads = &self.model.manifest().heads;
        let (head, logits) = heads.iter().zip(&prediction.logits).find(|(h, _)| h.name == COLOR_HEAD)?;
        let mut sums: Vec<(BasicColor, f32)> = Vec::new();
        for (label, confidence) in head.labels.iter().zip(attributes::calibrated(head, logits)) {
            let Some(name) = BasicColor::from_merchant(label) else { continue };
            match sums.iter_mut().find(|(n, _)| *n == name) {
                Some((_, sum)) => *sum += confidence,
                None => sums.push((name, confidence)),
            }
        }
        Some(ColorPrior(sums))
    }
}
