//! Pictures of the report: the photo at a size to look at, and its masks as tints to lay over it.

use crate::mask::{Masks, Steps};
use crate::photo::Photo;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, resize, thumbnail};
use image::{GrayImage, ImageError, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use std::io::Cursor;

/// Longest side of the pictures, in pixels: sharp at the size shown, some 60 KB a photo.
const SIDE: u32 = 560;
const JPEG_QUALITY: u8 = 85;
/// Most of a tint: the photo must be seen through it.
const TINT_ALPHA: f32 = 0.62;

/// The tints of the masks, apart from each other also for the color-blind (Okabe and Ito 2008: bluish green, reddish purple,
/// vermilion, yellow, blue).
pub(super) const TINTS: [(&str, [u8; 3]); 5] = [
    ("product", [0, 158, 115]),
    ("other", [204, 121, 167]),
    ("skin", [213, 94, 0]),
    ("hair", [240, 228, 66]),
    ("background", [0, 114, 178]),
];

/// Pictures as data URIs, all of one size.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) width: u32,
    pub(super) height: u32,
    /// JPEG.
    pub(super) photo: String,
    /// PNG with alpha, in the order of [`TINTS`].
    pub(super) layers: [String; 5],
    /// Names and gray PNGs of the planes between photo and masks.
    pub(super) steps: Vec<(&'static str, String)>,
    /// The region map over the photo, JPEG; `None` without one.
    pub(super) map: Option<String>,
}

/// Draws `photo` and `masks`.
///
/// # Errors
/// When an encoder fails.
pub(super) fn figures(photo: &Photo, masks: &Masks, steps: &Steps) -> Result<Figures, ImageError> {
    let held = photo.rgb().dimensions();
    let (width, height) = fitted(held.0, held.1);
    let small = match (width, height) == held {
        true => photo.rgb().clone(),
        false => thumbnail(photo.rgb(), width, height),
    };
    let mut figures =
        Figures { width, height, photo: jpeg(&small)?, layers: Default::default(), steps: Vec::new(), map: None };
    let planes = [&masks.product, &masks.other, &masks.skin, &masks.hair, &masks.background];
    for ((layer, mask), (_, color)) in figures.layers.iter_mut().zip(planes).zip(TINTS) {
        *layer = tint(&resize(mask, width, height, FilterType::Triangle), color)?;
    }
    for (name, plane) in steps.planes() {
        figures.steps.push((name, png(plane)?));
    }
    if !steps.map[0].is_empty() {
        figures.map = Some(jpeg(&painted(masks.working.width, masks.working.height, &steps.map))?);
    }
    Ok(figures)
}

/// A size of the same shape with sides of 1 to [`SIDE`]; small photos stay as they are.
fn fitted(width: u32, height: u32) -> (u32, u32) {
    let scale = f64::from(SIDE) / f64::from(width.max(height).max(1));
    if scale >= 1.0 {
        return (width, height);
    }
    let side = |s: u32| ((f64::from(s) * scale).round() as u32).max(1);
    (side(width), side(height))
}

fn jpeg(rgb: &RgbImage) -> Result<String, ImageError> {
    let mut bytes = Vec::new();
    rgb.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY))?;
    Ok(data_uri("image/jpeg", &bytes))
}

fn tint(mask: &GrayImage, [r, g, b]: [u8; 3]) -> Result<String, ImageError> {
    let pixel = |x, y| Rgba([r, g, b, (f32::from(mask.get_pixel(x, y).0[0]) * TINT_ALPHA) as u8]);
    let mut bytes = Cursor::new(Vec::new());
    RgbaImage::from_fn(mask.width(), mask.height(), pixel).write_to(&mut bytes, ImageFormat::Png)?;
    Ok(data_uri("image/png", bytes.get_ref()))
}

/// Each pixel in the mixture of tints that its shares of the classes make.
fn painted(width: usize, height: usize, map: &[GrayImage; 5]) -> RgbImage {
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let mut sum = [0.0f32; 3];
        for (plane, (_, tint)) in map.iter().zip(TINTS) {
            let share = f32::from(plane.get_pixel(x, y).0[0]) / 255.0;
            sum.iter_mut().zip(tint).for_each(|(s, t)| *s += share * f32::from(t));
        }
        Rgb(sum.map(|s| s as u8))
    })
}

fn png(plane: &GrayImage) -> Result<String, ImageError> {
    let mut bytes = Cursor::new(Vec::new());
    plane.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(data_uri("image/png", bytes.get_ref()))
}

fn data_uri(kind: &str, bytes: &[u8]) -> String {
    format!("data:{kind};base64,{}", STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_fit_and_keep_a_pixel() {
        assert_eq!(fitted(100, 50), (100, 50));
        assert_eq!(fitted(5600, 2800), (560, 280));
        assert_eq!(fitted(30_000, 24), (560, 1));
    }
}
