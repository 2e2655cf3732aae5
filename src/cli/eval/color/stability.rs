//! Whether a photo keeps its color when it is changed in ways that do not change the product.

use super::super::retrieval::{ChangeError, jpeg};
use crate::analyzer::Analyzer;
use crate::color::{Colors, ciede2000};
use crate::photo::Photo;
use image::RgbImage;
use image::imageops::{self, FilterType};

/// The changes, in the order of [`Stability`].
pub(super) const CHANGES: [&str; 5] = ["half the size", "JPEG quality 50", "mirrored", "500 K warmer", "500 K cooler"];
/// Red, green and blue in linear light of a surface lit by 6000 K and 7000 K where the camera was set to 6500 K: ratios of
/// Planck's law at 600, 540 and 450 nm (c2 = 0.014387769 m K), green held at 1.
const CASTS: [[f32; 3]; 2] = [[1.0328, 1.0, 0.9362], [0.9731, 1.0, 1.0575]];
const QUALITY: u8 = 50;

/// What became of each change: the same basic name, and how far the dominant color moved (CIEDE2000).
#[derive(Clone, Debug)]
pub(super) struct Stability(pub(super) Vec<(bool, f32)>);

impl Stability {
    /// Measures the changes of one photo with a known answer: of the pixels that were decoded, so that the changes of a large
    /// photo are those of a smaller one.
    ///
    /// # Errors
    /// When the model fails, or a photo cannot be compressed and read again.
    pub(super) fn of(analyzer: &Analyzer, photo: &Photo, colors: &Colors) -> Result<Self, ChangeError> {
        let rgb = photo.rgb();
        let half = imageops::resize(rgb, (rgb.width() / 2).max(1), (rgb.height() / 2).max(1), FilterType::Triangle);
        let compressed = image::load_from_memory(&jpeg(rgb, QUALITY)?)?.into_rgb8();
        let changed = [half, compressed, imageops::flip_horizontal(rgb), cast(rgb, CASTS[0]), cast(rgb, CASTS[1])];
        let mut out = Vec::with_capacity(changed.len());
        for image in changed {
            let now = analyzer.analyze(&Photo::from_rgb(image, None))?.analysis.colors;
            let pair = colors.dominant.first().zip(now.dominant.first());
            out.push(pair.map_or((false, f32::NAN), |(a, b)| (a.name == b.name, ciede2000(a.lab, b.lab))));
        }
        Ok(Self(out))
    }
}

/// Scales linear light by channel.
fn cast(rgb: &RgbImage, gains: [f32; 3]) -> RgbImage {
    let tables: Vec<Vec<u8>> = gains
        .iter()
        .map(|gain| {
            (0..=255u8)
                .map(|v| {
                    let linear: f32 = palette::Srgb::new(v, v, v).into_linear::<f32>().red;
                    let back: palette::Srgb<f32> =
                        palette::LinSrgb::new((linear * gain).min(1.0), 0.0, 0.0).into_encoding();
                    (back.red * 255.0).round() as u8
                })
                .collect()
        })
        .collect();
    let mut out = rgb.clone();
    for pixel in out.pixels_mut() {
        for (value, table) in pixel.0.iter_mut().zip(&tables) {
            *value = table[usize::from(*value)];
        }
    }
    out
}
