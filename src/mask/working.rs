//! The picture every later step looks at: at most [`LONG_SIDE`] pixels long, as sRGB and CIELAB.
//! Masks and palettes need regions, not threads; a 4 MP photo and its 224 px thumbnail cost about the same after this.

use crate::color::lab::{Converter, Lab};
use crate::photo::Photo;
use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

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
        let (w, h) = (photo.width(), photo.height());
        let short_side = w.min(h);
        if short_side == 0 {
            return Self::of(1, 1, &[255; 4], false, short_side);
        }
        let factor = (w.max(h) / LONG_SIDE).max(1);
        let (pixels, w, h) = box_shrink(photo, factor);
        let scale = (f64::from(LONG_SIDE) / f64::from(w.max(h))).min(1.0);
        let to = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
        let (nw, nh) = (to(w), to(h));
        let pixels = if (nw, nh) == (w, h) { pixels } else { resize(pixels, (w, h), (nw, nh)) };
        let alpha = photo.alpha().is_some();
        Self::of(nw as usize, nh as usize, &pixels, alpha, short_side)
    }

    fn of(width: usize, height: usize, rgba: &[u8], alpha: bool, short_side: u32) -> Self {
        let converter = Converter::new();
        let pixels = rgba.as_chunks::<4>().0;
        // Flat backgrounds repeat one pixel for whole rows: remember the last conversion.
        let mut last = ([0, 0, 0], converter.lab([0, 0, 0]));
        let lab = pixels
            .iter()
            .map(|&[r, g, b, _]| {
                if last.0 != [r, g, b] {
                    last = ([r, g, b], converter.lab([r, g, b]));
                }
                last.1
            })
            .collect();
        Self { width, height, lab, alpha: alpha.then(|| pixels.iter().map(|p| p[3]).collect()), short_side }
    }
}

/// Mean of `factor` x `factor` blocks as RGBA; rows and columns left over at the far edges are dropped.
/// A plain box over the packed RGB rows saves making a full-size RGBA copy for `fast_image_resize`.
fn box_shrink(photo: &Photo, factor: u32) -> (Vec<u8>, u32, u32) {
    let rgb = photo.rgb();
    let alpha = photo.alpha().map(|a| a.as_raw().as_slice());
    let stride = rgb.width() as usize;
    // A picture of 1 x 3000 pixels still keeps its one column.
    let fx = factor.min(rgb.width()) as usize;
    let fy = factor.min(rgb.height()) as usize;
    let (w, h) = (stride / fx, rgb.height() as usize / fy);
    let half = (fx * fy / 2) as u32;
    let area = (fx * fy) as u32;
    let mut out = Vec::with_capacity(w * h * 4);
    let mut sums = vec![[0u32; 4]; w];
    for y in 0..h {
        sums.fill([0; 4]);
        for row in y * fy..(y + 1) * fy {
            let line = &rgb.as_raw()[row * stride * 3..(row + 1) * stride * 3];
            for (block, sum) in line.chunks_exact(fx * 3).zip(&mut sums) {
                for p in block.as_chunks::<3>().0 {
                    for (s, v) in sum.iter_mut().zip(p) {
                        *s += u32::from(*v);
                    }
                }
            }
            if let Some(alpha) = alpha {
                let line = &alpha[row * stride..(row + 1) * stride];
                for (block, sum) in line.chunks_exact(fx).zip(&mut sums) {
                    sum[3] += block.iter().map(|v| u32::from(*v)).sum::<u32>();
                }
            }
        }
        for sum in &sums {
            out.extend(sum.map(|v| ((v + half) / area) as u8));
        }
    }
    (out, w as u32, h as u32)
}

/// Antialiased resize of RGBA pixels; alpha is not premultiplied, since the colors are composited already.
fn resize(pixels: Vec<u8>, from: (u32, u32), to: (u32, u32)) -> Vec<u8> {
    let mut target = Image::new(to.0, to.1, PixelType::U8x4);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).use_alpha(false);
    let done = Image::from_vec_u8(from.0, from.1, pixels, PixelType::U8x4)
        .ok()
        .and_then(|source| Resizer::new().resize(&source, &mut target, &options).ok());
    // Both sizes are at least 1 and the buffer fits by construction, so this cannot fail; if it ever did, the
    // answer is an empty white picture, which later steps report as such.
    if done.is_none() {
        return vec![255; to.0 as usize * to.1 as usize * 4];
    }
    target.into_vec()
}
