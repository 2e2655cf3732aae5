//! Embedded ICC profiles to sRGB, with moxcms.
//! A profile that is broken or does not fit the pixels is ignored, as browsers do: the pixels are read as sRGB
//! (CMYK by the plain formula), since a photo with a bad profile is still a photo of the product.

use super::decode::contained;
use super::raster::{Raster, Space};
use moxcms::{ColorProfile, DataColorSpace, Layout, RenderingIntent, Transform8BitExecutor, TransformOptions};
use std::sync::Arc;

/// Pixels a pass: the strip and its result stay in the first-level cache.
const STRIP: usize = 2048;

/// Color of `raster` as sRGB, row-major (H, W, 3).
pub(super) fn to_srgb(raster: Raster, icc: Option<&[u8]>) -> Vec<u8> {
    let Raster { space, color, .. } = raster;
    // Parsing and building run behind the fence: profiles are hostile input too.
    let converter = icc.and_then(|icc| contained(|| Converter::new(icc, space)).flatten());
    if icc.is_some() && converter.is_none() {
        tracing::debug!(?space, "embedded color profile ignored");
    }
    match space {
        Space::Gray => gray(&color, converter.as_ref()),
        Space::Rgb => rgb(color, converter.as_ref()),
        Space::Cmyk => cmyk(&color, converter.as_ref()),
    }
}

/// A profile's way to sRGB.
struct Converter {
    transform: Arc<Transform8BitExecutor>,
    /// Samples a pixel the transform reads.
    samples: usize,
}

impl Converter {
    /// `None` when the profile cannot be read or is for other pixels than these.
    fn new(icc: &[u8], space: Space) -> Option<Self> {
        let profile = ColorProfile::new_from_slice(icc).ok()?;
        // Gray pixels under an RGB profile are common (cameras tag everything with it): they are read as r = g = b.
        let (layout, samples) = match (space, profile.color_space) {
            (Space::Gray, DataColorSpace::Gray) => (Layout::Gray, 1),
            (Space::Gray | Space::Rgb, DataColorSpace::Rgb) => (Layout::Rgb, 3),
            (Space::Cmyk, DataColorSpace::Cmyk) => (Layout::Rgba, 4),
            _ => return None,
        };
        let options = TransformOptions { rendering_intent: RenderingIntent::Perceptual, ..TransformOptions::default() };
        let srgb = ColorProfile::new_srgb();
        let transform = profile.create_transform_8bit(layout, &srgb, Layout::Rgb, options).ok()?;
        Some(Self { transform, samples })
    }

    /// Converts (n, samples) to (n, 3); `None` on a panic or an error inside.
    fn convert(&self, from: &[u8]) -> Option<Vec<u8>> {
        let mut to = vec![0; from.len() / self.samples * 3];
        self.transform.transform(from, &mut to).ok()?;
        Some(to)
    }

    /// Does it move any color of a 9-step cube by more than one step of 255? Most embedded profiles are sRGB in one
    /// of many spellings, and those are not worth a pass over the pixels.
    fn is_srgb(&self) -> bool {
        let step = |index: usize| (index * 255 / 8) as u8;
        let cube: Vec<u8> = (0..729).flat_map(|i| [step(i / 81), step(i / 9 % 9), step(i % 9)]).collect();
        self.convert(&cube).is_some_and(|converted| cube.iter().zip(&converted).all(|(&a, &b)| a.abs_diff(b) <= 1))
    }
}

/// All 256 grays are converted once and looked up.
fn gray(color: &[u8], converter: Option<&Converter>) -> Vec<u8> {
    let ramp = converter.and_then(|converter| {
        let grays: Vec<u8> = (0..=255).flat_map(|gray| std::iter::repeat_n(gray, converter.samples)).collect();
        contained(|| converter.convert(&grays)).flatten()
    });
    let mut table: [[u8; 3]; 256] = std::array::from_fn(|gray| [gray as u8; 3]);
    if let Some(ramp) = ramp {
        table.as_flattened_mut().copy_from_slice(&ramp);
    }
    let mut rgb = vec![[0; 3]; color.len()];
    for (to, &gray) in rgb.iter_mut().zip(color) {
        *to = table[usize::from(gray)];
    }
    rgb.into_flattened()
}

fn rgb(mut color: Vec<u8>, converter: Option<&Converter>) -> Vec<u8> {
    let Some(converter) = converter else {
        return color;
    };
    if contained(|| converter.is_srgb()).unwrap_or(true) {
        return color;
    }
    let mut strip = [0; 3 * STRIP];
    for pixels in color.chunks_mut(3 * STRIP) {
        let from = &mut strip[..pixels.len()];
        from.copy_from_slice(pixels);
        // The cube went through: only the count of samples could fail, and that is right by construction.
        if !matches!(contained(|| converter.transform.transform(from, pixels)), Some(Ok(()))) {
            pixels.copy_from_slice(from);
        }
    }
    color
}

fn cmyk(color: &[u8], converter: Option<&Converter>) -> Vec<u8> {
    let mut rgb = vec![0; color.len() / 4 * 3];
    for (from, to) in color.chunks(4 * STRIP).zip(rgb.chunks_mut(3 * STRIP)) {
        let converted = converter.and_then(|converter| contained(|| converter.transform.transform(from, to))?.ok());
        if converted.is_none() {
            plain_cmyk(from, to);
        }
    }
    rgb
}

/// CMYK without a profile: each of R, G, B is what its ink and black let through, (1 - ink)(1 - k).
fn plain_cmyk(from: &[u8], to: &mut [u8]) {
    let (from, _) = from.as_chunks::<4>();
    let (to, _) = to.as_chunks_mut::<3>();
    for (&[c, m, y, k], rgb) in from.iter().zip(to) {
        *rgb = [c, m, y].map(|ink| {
            let light = (255 - u32::from(ink)) * (255 - u32::from(k));
            ((light + 127) / 255) as u8
        });
    }
}
