//! Bytes or a URL become a [`Photo`]: sRGB, 8 bits, upright, alpha kept, content hash.
//! Limits are checked from the header, before memory is spent on pixels.
//!
//! ```text
//! bytes ─► format (sniff) ─► probe (container walk) ─► limits ─► decode ─► icc ─► on white, upright ─► Photo
//! URL ─► fetch ─► bytes
//! ```
//!
//! A file that ends early, or whose compressed pixels cannot be read, is an error, never a half-grey picture. The
//! one exception: a JPEG cut inside its pixels and then closed with an end marker, which its decoder cannot tell.

mod area;
mod avif;
mod decode;
mod error;
mod fetch;
mod format;
mod hash;
mod icc;
mod jpeg;
mod limits;
mod probe;
mod raster;
#[cfg(test)]
mod tests;
mod thumbnail;

pub use area::{Area, ParseAreaError, PixelBox};
pub use avif::av1;
pub use error::PhotoError;
pub use fetch::{Answer, FetchConfig, FetchError, Fetched, Fetcher};
pub use format::Format;
pub use hash::{ParseHashError, Sha256Hash};
pub use limits::{Limits, MIN_SIDE};

use image::{GrayImage, RgbImage, imageops};

/// A decoded photo: upright (EXIF orientation applied), sRGB, 8 bits a channel.
#[derive(Clone, Debug)]
pub struct Photo {
    /// May have fewer pixels than `size`.
    rgb: RgbImage,
    alpha: Option<GrayImage>,
    /// Width and height, upright.
    size: (u32, u32),
    sha256: Sha256Hash,
    format: Format,
    min_side: u32,
    /// Where it lies in the photo it is a part of.
    area: Option<PixelBox>,
}

impl Photo {
    /// Decodes JPEG, PNG, WebP, AVIF, GIF or BMP; which, the bytes say. Of an animation, the first frame.
    ///
    /// Costs one walk over the bytes before any limit is decided, and no pixel memory until all are. Blocks for
    /// tens to hundreds of milliseconds: not for an async worker.
    ///
    /// # Errors
    /// [`PhotoError`]; its variants name each fault.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, PhotoError> {
        Self::decode_scaled(bytes, limits, u32::MAX)
    }

    /// As [`decode`](Self::decode), for who shrinks the photo to sides of at most `side` pixels: a JPEG whose sides are many
    /// times as long is decoded at a half, a quarter or an eighth of its size, in a third to a half of the time. Width,
    /// height, limits and errors are those of the whole.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_scaled(bytes: &[u8], limits: &Limits, side: u32) -> Result<Self, PhotoError> {
        limits.check_bytes(bytes)?;
        let format = Format::sniff(bytes)?;
        let header = probe::probe(format, bytes)?;
        limits.check_header(&header)?;
        let decode::Decoded { mut raster, icc, orientation } = decode::decode(bytes, &header, limits, side)?;
        let stored = (raster.width, raster.height);
        let alpha = raster.alpha.take().filter(|alpha| alpha.iter().any(|&value| value != 255));
        let mut rgb = icc::to_srgb(raster, icc.as_deref());
        if let Some(alpha) = &alpha {
            raster::on_white(&mut rgb, alpha);
        }
        let (width, height) = raster::upright_size(stored, orientation);
        let rgb = raster::upright::<3>(rgb, stored, orientation);
        let alpha = alpha.map(|alpha| raster::upright::<1>(alpha, stored, orientation));
        let broken =
            || PhotoError::Malformed { format, detail: "it decodes to fewer pixels than it declares".to_owned() };
        Ok(Self {
            rgb: RgbImage::from_raw(width, height, rgb).ok_or_else(broken)?,
            alpha: match alpha {
                Some(alpha) => Some(GrayImage::from_raw(width, height, alpha).ok_or_else(broken)?),
                None => None,
            },
            size: raster::upright_size((header.width, header.height), orientation),
            sha256: Sha256Hash::of(bytes),
            format,
            min_side: limits.min_side,
            area: None,
        })
    }

    /// The part of the photo in `area`; hash and format stay those of the whole.
    ///
    /// # Errors
    /// [`PhotoError::BoxOutside`] unless `area` is inside the photo and not empty; [`PhotoError::BoxTooSmall`] when
    /// a side is shorter than the [`Limits::min_side`] the photo was decoded with.
    pub fn crop(&self, area: impl Into<Area>) -> Result<Self, PhotoError> {
        let (width, height) = self.size;
        let area = area.into().in_pixels(width, height);
        let inside = area.x2 <= width && area.y2 <= height;
        if !inside || area.width() == 0 || area.height() == 0 {
            return Err(PhotoError::BoxOutside { received: area, width, height });
        }
        if area.width().min(area.height()) < self.min_side {
            return Err(PhotoError::BoxTooSmall { received: area, limit: self.min_side, width, height });
        }
        let (x, y, w, h) = self.in_pixels_held(area);
        let alpha = self
            .alpha
            .as_ref()
            .map(|alpha| imageops::crop_imm(alpha, x, y, w, h).to_image())
            .filter(|alpha| alpha.as_raw().iter().any(|&value| value != 255));
        let rgb = imageops::crop_imm(&self.rgb, x, y, w, h).to_image();
        Ok(Self { rgb, alpha, size: (area.width(), area.height()), area: Some(area), ..*self })
    }

    /// Left, top, width and height of an `area` inside, in pixels that are held: all it touches.
    fn in_pixels_held(&self, area: PixelBox) -> (u32, u32, u32, u32) {
        let along = |from: u32, to: u32, held: u32, side: u32| {
            let (held, side) = (u64::from(held), u64::from(side));
            let (start, end) = (u64::from(from) * held / side, (u64::from(to) * held).div_ceil(side));
            // Not over `held`, which is 32 bits.
            (start as u32, (end - start) as u32)
        };
        let (x, w) = along(area.x1, area.x2, self.rgb.width(), self.size.0);
        let (y, h) = along(area.y1, area.y2, self.rgb.height(), self.size.1);
        (x, y, w, h)
    }

    /// RGB pixels, row-major (H, W, 3), sRGB; transparent parts composited on white. Those of a photo that was
    /// [decoded smaller](Self::decode_scaled) are fewer than its width and height say.
    pub fn rgb(&self) -> &RgbImage {
        &self.rgb
    }

    /// Alpha (H, W) of [`rgb`](Self::rgb), 0 transparent to 255 opaque; `None` when every pixel is opaque.
    pub fn alpha(&self) -> Option<&GrayImage> {
        self.alpha.as_ref()
    }

    /// Width in pixels, upright.
    pub fn width(&self) -> u32 {
        self.size.0
    }

    /// Height in pixels, upright.
    pub fn height(&self) -> u32 {
        self.size.1
    }

    /// Where it lies in the photo it was cropped from last; `None`: it is a whole one.
    pub fn area(&self) -> Option<PixelBox> {
        self.area
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
        let size = rgb.dimensions();
        Self { rgb, alpha, size, sha256: Sha256Hash([0; 32]), format: Format::Png, min_side: MIN_SIDE, area: None }
    }
}
