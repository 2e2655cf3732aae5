//! Bytes or a URL become a [`Photo`]: sRGB, 8 bits, upright, alpha kept, content hash.
//! Limits are checked from the header, before memory is spent on pixels.

use image::{GrayImage, RgbImage};

/// A decoded photo: upright (EXIF orientation applied), sRGB, 8 bits a channel.
#[derive(Clone, Debug)]
pub struct Photo {
    rgb: RgbImage,
    alpha: Option<GrayImage>,
    sha256: Sha256Hash,
    format: Format,
}

/// SHA-256 of the bytes as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256Hash(pub [u8; 32]);

/// What the bytes were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JPEG, baseline or progressive.
    Jpeg,
    /// PNG.
    Png,
    /// WebP, lossy or lossless; of an animation the first frame.
    WebP,
    /// GIF, its first frame.
    Gif,
    /// Windows bitmap.
    Bmp,
}

impl Photo {
    /// RGB pixels, row-major (H, W, 3), sRGB; transparent parts composited on white.
    pub fn rgb(&self) -> &RgbImage {
        &self.rgb
    }

    /// Alpha (H, W), 0 transparent to 255 opaque; `None` when every pixel is opaque.
    pub fn alpha(&self) -> Option<&GrayImage> {
        self.alpha.as_ref()
    }

    /// Width in pixels, upright.
    pub fn width(&self) -> u32 {
        self.rgb.width()
    }

    /// Height in pixels, upright.
    pub fn height(&self) -> u32 {
        self.rgb.height()
    }

    /// Hash of the bytes this photo was decoded from (of the whole file, also after [`Photo::crop`]).
    pub fn sha256(&self) -> Sha256Hash {
        self.sha256
    }

    /// The container the bytes came in.
    pub fn format(&self) -> Format {
        self.format
    }

    /// A photo from pixels that are already upright sRGB, for tests and tools.
    pub fn from_rgb(rgb: RgbImage, alpha: Option<GrayImage>) -> Self {
        Self {
            rgb,
            alpha,
            sha256: Sha256Hash([0; 32]),
            format: Format::Png,
        }
    }
}
