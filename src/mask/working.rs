//! The picture every later step looks at: at most [`LONG_SIDE`] pixels long, as sRGB and CIELAB.
//! Masks and palettes need regions, not threads; a 4 MP photo and its 224 px thumbnail cost about the same after this.

use crate::color::lab::{Converter, Lab};
use crate::photo::Photo;
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use multiversion::multiversion;
use std::borrow::Cow;

/// Longest side of the working picture, pixels: keeps the 224 px of the model's input as they are; straps and soles
/// stay two pixels wide.
pub(crate) const LONG_SIDE: u32 = 256;

/// A photo at working size; all planes row-major (height, width).
#[derive(Clone, Debug)]
pub(crate) struct Working {
    /// Pixels across, at least 1.
    pub(crate) width: usize,
    /// Pixels down, at least 1.
    pub(crate) height: usize,
    /// CIELAB of each pixel.
    pub(crate) lab: Vec<Lab>,
    /// Alpha of each pixel, where the photo has any.
    pub(crate) alpha: Option<Vec<u8>>,
    /// Shorter side of the photo as it came.
    pub(crate) short_side: u32,
}

impl Working {
    /// Shrinks a photo (never enlarges) and converts it. A photo of no pixels becomes one white pixel.
    pub(crate) fn new(photo: &Photo) -> Self {
        let short_side = photo.width().min(photo.height());
        let (w, h) = photo.rgb().dimensions();
        if short_side == 0 {
            return Self::of(1, 1, &[255; 3], None, short_side);
        }
        let factor = (w.max(h) / LONG_SIDE).max(1);
        let (rgb, w, h) = box_shrink::<3>(photo.rgb().as_raw(), (w, h), factor);
        let alpha = photo.alpha().map(|a| box_shrink::<1>(a.as_raw(), a.dimensions(), factor).0);
        let scale = (f64::from(LONG_SIDE) / f64::from(w.max(h))).min(1.0);
        let to = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
        let (nw, nh) = (to(w), to(h));
        let rgb = resize(rgb, PixelType::U8x3, (w, h), (nw, nh));
        let alpha = alpha.map(|a| resize(a, PixelType::U8, (w, h), (nw, nh)).into_owned());
        Self::of(nw as usize, nh as usize, &rgb, alpha, short_side)
    }

    fn of(width: usize, height: usize, rgb: &[u8], alpha: Option<Vec<u8>>, short_side: u32) -> Self {
        Self { width, height, lab: converted(rgb), alpha, short_side }
    }
}

/// CIELAB of each pixel.
#[multiversion(targets("x86_64+avx2"))]
fn converted(rgb: &[u8]) -> Vec<Lab> {
    let converter = Converter::new();
    // Flat backgrounds repeat one pixel for whole rows: remember the last conversion.
    let mut last = ([0, 0, 0], converter.lab([0, 0, 0]));
    let pixels = rgb.as_chunks::<3>().0;
    let mut lab = Vec::with_capacity(pixels.len());
    for &pixel in pixels {
        if last.0 != pixel {
            last = (pixel, converter.lab(pixel));
        }
        lab.push(last.1);
    }
    lab
}

/// Mean of `factor` x `factor` blocks of interleaved channels; rows and columns left over at the far edges are dropped.
/// A plain box before the resize costs a tenth of it on a large photo; rows are added up first, eight samples at a time,
/// and only their sums across.
#[multiversion(targets("x86_64+avx2"))]
fn box_shrink<const N: usize>(raw: &[u8], (width, height): (u32, u32), factor: u32) -> (Cow<'_, [u8]>, u32, u32) {
    /// Rows whose sum 16 bits hold.
    const ROWS: usize = 256;
    if factor == 1 {
        return (Cow::Borrowed(raw), width, height);
    }
    let stride = width as usize * N;
    // A picture of 1 x 3000 pixels still keeps its one column.
    let fx = factor.min(width) as usize;
    let fy = factor.min(height) as usize;
    let (w, h) = (width as usize / fx, height as usize / fy);
    let half = (fx * fy / 2) as u32;
    let area = (fx * fy) as u32;
    let mut out = Vec::with_capacity(w * h * N);
    let (mut down, mut sums) = (vec![0u16; w * fx * N], vec![[0u32; N]; w]);
    for block in raw.chunks_exact(stride * fy).take(h) {
        sums.fill([0; N]);
        for rows in block.chunks(stride * ROWS) {
            down.fill(0);
            for row in rows.chunks_exact(stride) {
                for (sum, v) in down.iter_mut().zip(row) {
                    *sum += u16::from(*v);
                }
            }
            for (across, sum) in down.chunks_exact(fx * N).zip(&mut sums) {
                for p in across.as_chunks::<N>().0 {
                    for (s, v) in sum.iter_mut().zip(p) {
                        *s += u32::from(*v);
                    }
                }
            }
        }
        for sum in &sums {
            out.extend(sum.map(|v| ((v + half) / area) as u8));
        }
    }
    (Cow::Owned(out), w as u32, h as u32)
}

/// Antialiased resize; alpha is a plane of its own, not premultiplied, since the colors are composited already.
fn resize(pixels: Cow<'_, [u8]>, kind: PixelType, from: (u32, u32), to: (u32, u32)) -> Cow<'_, [u8]> {
    if from == to {
        return pixels;
    }
    let mut target = Image::new(to.0, to.1, kind);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).use_alpha(false);
    let done = ImageRef::new(from.0, from.1, &pixels, kind)
        .ok()
        .and_then(|source| Resizer::new().resize(&source, &mut target, &options).ok());
    // Both sizes are at least 1 and the buffer fits by construction, so this cannot fail; if it ever did, the
    // answer is an empty white picture, which later steps report as such.
    if done.is_none() {
        return Cow::Owned(vec![255; to.0 as usize * to.1 as usize * kind.size()]);
    }
    Cow::Owned(target.into_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_become_their_rounded_means(w in 1_u32..40, h in 1_u32..700, factor in 1_u32..400, seed in 0_u32..9) {
            let raw: Vec<u8> = (0..w * h * 3).map(|i| (i.wrapping_mul(2_654_435_761) >> (20 + seed % 4)) as u8).collect();
            let (shrunk, sw, sh) = box_shrink::<3>(&raw, (w, h), factor);
            let (fx, fy) = (factor.min(w), factor.min(h));
            prop_assert_eq!((sw, sh), (w / fx, h / fy));
            for (i, &received) in shrunk.iter().enumerate() {
                let (i, c) = (i as u32 / 3, i as u32 % 3);
                let pixels = (0..fx * fy).map(|p| ((i / sw * fy + p / fx) * w + i % sw * fx + p % fx) * 3 + c);
                let sum: u32 = pixels.map(|at| u32::from(raw[at as usize])).sum();
                prop_assert_eq!(u32::from(received), (sum + fx * fy / 2) / (fx * fy));
            }
        }
    }
}
