//! Small JPEGs of a photo, for listings and reports.

use super::{Photo, PhotoError};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

/// JPEG quality of a thumbnail: no visible loss at this size, a fifth of the bytes of 95.
const QUALITY: u8 = 85;

impl Photo {
    /// A JPEG whose long side is `long_side` pixels (at least 1), or the photo's own if that is shorter, or what is held of it
    /// ([`Photo::decode_scaled`]): never enlarged. Transparent parts are white. The same photo gives the same bytes.
    ///
    /// # Errors
    /// [`PhotoError::Encode`] for what no JPEG can hold: a side over 65,535 pixels.
    pub fn thumbnail(&self, long_side: u32) -> Result<Vec<u8>, PhotoError> {
        let (width, height) = self.rgb.dimensions();
        // Of the whole photo: of one that was decoded smaller the sides are rounded.
        let longest = self.width().max(self.height()).max(1);
        let target = long_side.clamp(1, longest);
        let scaled = |side: u32| {
            let exact = u64::from(side) * u64::from(target) + u64::from(longest) / 2;
            u32::try_from(exact / u64::from(longest)).map_or(target, |side| side.max(1))
        };
        let (small_width, small_height) = (scaled(self.width()), scaled(self.height()));
        if small_width >= width || small_height >= height {
            return encode(self.rgb.as_raw(), width, height);
        }
        let source = ImageRef::new(width, height, self.rgb.as_raw(), PixelType::U8x3);
        let mut small = Image::new(small_width, small_height, PixelType::U8x3);
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3));
        let source = source.map_err(|error| refused(&error))?;
        Resizer::new().resize(&source, &mut small, &options).map_err(|error| refused(&error))?;
        encode(small.buffer(), small_width, small_height)
    }
}

fn encode(rgb: &[u8], width: u32, height: u32) -> Result<Vec<u8>, PhotoError> {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .encode(rgb, width, height, ExtendedColorType::Rgb8)
        .map_err(|error| refused(&error))?;
    Ok(jpeg)
}

fn refused(error: &dyn std::error::Error) -> PhotoError {
    PhotoError::Encode { detail: error.to_string() }
}
