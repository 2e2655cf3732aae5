//! Pixels on their way from a decoder to a [`super::Photo`]: composited on white and turned upright.

use image::metadata::Orientation;

/// What the samples of a [`Raster`] mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// One sample a pixel.
    Gray,
    /// Three.
    Rgb,
    /// Four; 255 is full ink.
    Cmyk,
}

/// Pixels as a decoder gives them.
pub(super) struct Raster {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) space: Space,
    /// Row-major (H, W, samples of `space`), 8 bits.
    pub(super) color: Vec<u8>,
    /// Row-major (H, W), 255 opaque; `None` without an alpha channel.
    pub(super) alpha: Option<Vec<u8>>,
}

/// Composites (H, W, 3) `rgb` with straight `alpha` on white, in place.
///
/// In sRGB, not in linear light: that is what browsers and shops do, so the photo looks as its seller saw it.
pub(super) fn on_white(rgb: &mut [u8], alpha: &[u8]) {
    let (pixels, _) = rgb.as_chunks_mut::<3>();
    for (pixel, &alpha) in pixels.iter_mut().zip(alpha) {
        let (cover, rest) = (u32::from(alpha), 255 * (255 - u32::from(alpha)));
        for sample in pixel {
            *sample = ((u32::from(*sample) * cover + rest + 127) / 255) as u8;
        }
    }
}

/// Width and height of a stored picture once it is upright.
pub(super) fn upright_size((width, height): (u32, u32), orientation: Orientation) -> (u32, u32) {
    if swaps_sides(orientation) { (height, width) } else { (width, height) }
}

fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// Turns the samples of a stored picture, `N` a pixel, upright.
pub(super) fn upright<const N: usize>(
    mut samples: Vec<u8>,
    (width, height): (u32, u32),
    orientation: Orientation,
) -> Vec<u8> {
    let (w, h) = (width as usize, height as usize);
    let (pixels, _) = samples.as_chunks_mut::<N>();
    // Every turn by 90 degrees is a transposition, with a flip before or after it.
    match orientation {
        Orientation::NoTransforms | Orientation::Rotate90FlipH => {}
        Orientation::FlipHorizontal => pixels.chunks_exact_mut(w).for_each(<[_]>::reverse),
        Orientation::Rotate180 | Orientation::Rotate270FlipH => pixels.reverse(),
        Orientation::FlipVertical | Orientation::Rotate90 => flip_rows(pixels, w),
        Orientation::Rotate270 => pixels.chunks_exact_mut(w).for_each(<[_]>::reverse),
    }
    if swaps_sides(orientation) { transpose(pixels, w, h) } else { samples }
}

fn flip_rows<T>(pixels: &mut [T], w: usize) {
    let half = pixels.len() / w / 2 * w;
    let (top, rest) = pixels.split_at_mut(half);
    for (upper, lower) in top.chunks_exact_mut(w).zip(rest.rchunks_exact_mut(w)) {
        upper.swap_with_slice(lower);
    }
}

/// (H, W) to (W, H). In tiles, so that the column being read stays in the cache: row by row a 12-megapixel photo
/// takes a cache miss for every pixel.
fn transpose<const N: usize>(pixels: &[[u8; N]], w: usize, h: usize) -> Vec<u8> {
    const TILE: usize = 32;
    let mut turned = vec![[0; N]; pixels.len()];
    for (band, rows) in turned.chunks_mut(TILE * h).enumerate() {
        for top in (0..h).step_by(TILE) {
            for (x, row) in rows.chunks_exact_mut(h).enumerate() {
                let column = pixels[top * w + band * TILE + x..].iter().step_by(w);
                for (to, from) in row[top..h.min(top + TILE)].iter_mut().zip(column) {
                    *to = *from;
                }
            }
        }
    }
    turned.into_flattened()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn turns_agree_with_the_image_crate(w in 1_u32..80, h in 1_u32..80, tag in 1_u8..=8) {
            let samples: Vec<u8> = (0..w * h * 3).map(|i| (i * 7 % 251) as u8).collect();
            let orientation = Orientation::from_exif(tag).unwrap_or(Orientation::NoTransforms);
            let truth = image::RgbImage::from_raw(w, h, samples.clone()).unwrap_or_default();
            let mut truth = image::DynamicImage::from(truth);
            truth.apply_orientation(orientation);
            let turned = upright::<3>(samples, (w, h), orientation);
            prop_assert_eq!(upright_size((w, h), orientation), (truth.width(), truth.height()));
            prop_assert_eq!(turned, truth.into_rgb8().into_raw());
        }
    }

    #[test]
    fn white_shows_through() {
        let mut rgb = vec![0, 100, 200, 0, 100, 200, 0, 100, 200];
        on_white(&mut rgb, &[255, 0, 128]);
        assert_eq!(rgb, [0, 100, 200, 255, 255, 255, 127, 177, 227]);
    }
}
