//! What a photo may cost, checked from its header before a pixel is allocated.
//! Every limit has a default; the service's configuration may change each of them.

use super::PhotoError;
use super::probe::Header;

/// Shortest side that is looked at, in pixels: below it a product is a blur of a few cells of the model's input.
pub const MIN_SIDE: u32 = 24;

/// What a photo may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of the encoded photo. Default 20 MiB.
    pub body_bytes: usize,
    /// Most pixels, width times height. Default 50 million (a medium-format camera; phones reach 50 too).
    pub pixels: u64,
    /// Longest side in pixels. Default 30,000.
    pub side: u32,
    /// Shortest side in pixels, also of a [`super::Photo::crop`]. Default [`MIN_SIDE`].
    pub min_side: u32,
    /// Most bytes of memory one decode may take at its peak, all buffers together. Default 512 MiB: 50
    /// megapixels fit as baseline JPEG, BMP and 8-bit PNG, 41 as progressive 4:4:4 JPEG and WebP, 33 as 16-bit PNG.
    pub decode_bytes: u64,
    /// Most frames of an animation, of which only the first is decoded. Default 64.
    pub frames: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 20 << 20,
            pixels: 50_000_000,
            side: 30_000,
            min_side: MIN_SIDE,
            decode_bytes: 512 << 20,
            frames: 64,
        }
    }
}

impl Limits {
    pub(super) fn check_bytes(&self, bytes: &[u8]) -> Result<(), PhotoError> {
        match bytes.len() {
            0 => Err(PhotoError::Empty),
            received if received > self.body_bytes => {
                Err(PhotoError::TooManyBytes { limit: self.body_bytes, received })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_header(&self, header: &Header) -> Result<(), PhotoError> {
        let (width, height) = (header.width, header.height);
        let pixels = u64::from(width) * u64::from(height);
        if width.max(height) > self.side {
            let limit = self.side;
            return Err(PhotoError::SideTooLong { limit, width, height });
        }
        if pixels > self.pixels {
            let limit = self.pixels;
            return Err(PhotoError::TooManyPixels { limit, width, height });
        }
        if width.min(height) < self.min_side {
            let limit = self.min_side;
            return Err(PhotoError::TooSmall { limit, width, height });
        }
        if header.frames > self.frames {
            return Err(PhotoError::TooManyFrames { limit: self.frames, received: header.frames });
        }
        let needed = header.decode_bytes();
        if needed > self.decode_bytes {
            return Err(PhotoError::TooMuchMemory { limit: self.decode_bytes, needed });
        }
        Ok(())
    }

    /// The same limits for the decoders of `image`, as a second fence behind [`Limits::check_header`].
    pub(super) fn for_decoder(&self) -> image::Limits {
        let mut limits = image::Limits::default();
        limits.max_image_width = Some(self.side);
        limits.max_image_height = Some(self.side);
        limits.max_alloc = Some(self.decode_bytes);
        limits
    }
}
