//! A photo to the input tensor, by the same rule as training's (Pillow's), proven by golden tensors.

use super::{InputSpec, ResizeRule};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

/// The input tensor (3, H, W), channels first, `(x / 255 - mean) / std`, of a photo stretched to `spec`'s size.
///
/// `fast_image_resize` with a triangle filter is Pillow's `BILINEAR` to within one level of 255 (its fixed-point
/// weights round differently); `image`'s own resize takes 12 times as long for 16 MP.
pub fn tensor(rgb: &RgbImage, spec: &InputSpec) -> Vec<f32> {
    let resized = match spec.resize {
        ResizeRule::StretchBilinear => stretch(rgb, spec.width, spec.height),
    };
    let plane = (spec.width * spec.height) as usize;
    let mut tensor = vec![0.0_f32; 3 * plane];
    for (c, out) in tensor.chunks_exact_mut(plane).enumerate() {
        // A table of 256 values a channel: one rounding, the same in every build.
        let value: [f32; 256] = std::array::from_fn(|x| (x as f32 / 255.0 - spec.mean[c]) / spec.std[c]);
        for (o, pixel) in out.iter_mut().zip(resized.chunks_exact(3)) {
            *o = value[usize::from(pixel[c])];
        }
    }
    tensor
}

/// RGB bytes (height, width, 3) of `rgb` stretched to that size.
fn stretch(rgb: &RgbImage, width: u32, height: u32) -> Vec<u8> {
    let mut target = Image::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let source = ImageRef::new(rgb.width(), rgb.height(), rgb.as_raw(), PixelType::U8x3);
    // Neither step can fail: an `RgbImage` holds width x height x 3 bytes, and both images are U8x3. Were a library
    // to change its mind, a black input would be caught by the golden cases when a bundle is loaded.
    if let Ok(source) = source {
        let _ = Resizer::new().resize(&source, &mut target, Some(&options));
    }
    target.into_vec()
}
