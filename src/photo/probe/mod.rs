//! Reads sizes, frames and the end of a photo from its container, without a decoder and without allocating.
//! So a bomb, a lie or a cut is refused for the price of walking over the bytes once.

pub(super) mod avif;
mod bmp;
mod gif;
pub(super) mod jpeg;
mod png;
mod webp;

use super::{Format, PhotoError};

/// What the container says of the photo inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) format: Format,
    /// Width as stored, before EXIF orientation.
    pub(super) width: u32,
    /// Height as stored, before EXIF orientation.
    pub(super) height: u32,
    /// Frames of an animation, 1 for a still.
    pub(super) frames: u32,
    /// An upper bound of what a decoder holds at its peak, bytes a pixel.
    pub(super) bytes_per_pixel: u64,
    /// JPEG with four components: stored inverted, as Adobe's APP14 marker tells.
    pub(super) inverted: bool,
}

impl Header {
    fn new(format: Format, width: u32, height: u32, bytes_per_pixel: u64) -> Self {
        Self { format, width, height, frames: 1, bytes_per_pixel, inverted: false }
    }

    /// Peak memory of decoding in bytes: the decoder's buffers, and 4 bytes a pixel for RGB and alpha of our own.
    pub(super) fn decode_bytes(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height) * (self.bytes_per_pixel + 4)
    }
}

/// Reads the header of `bytes`, which [`Format::sniff`] found to be `format`, and walks to the end of the file.
///
/// # Errors
/// [`PhotoError::Truncated`], [`PhotoError::Malformed`], [`PhotoError::SizeMismatch`].
pub(super) fn probe(format: Format, bytes: &[u8]) -> Result<Header, PhotoError> {
    let header = match format {
        Format::Jpeg => jpeg::probe(bytes),
        Format::Png => png::probe(bytes),
        Format::WebP => webp::probe(bytes),
        Format::Gif => gif::probe(bytes),
        Format::Bmp => bmp::probe(bytes),
        Format::Avif => avif::probe(bytes),
    }?;
    if header.width == 0 || header.height == 0 {
        let detail = format!("its size is {}x{}", header.width, header.height);
        return Err(PhotoError::Malformed { format, detail });
    }
    Ok(header)
}

/// A position in the bytes of a container; running over the end is [`PhotoError::Truncated`].
pub(super) struct Cursor<'a> {
    format: Format,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(format: Format, bytes: &'a [u8], at: usize) -> Self {
        Self { format, bytes, at }
    }

    /// All bytes from here on.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The next `count` bytes; `what` says what they are to whoever reads the error.
    pub(super) fn take(&mut self, count: usize, what: &str) -> Result<&'a [u8], PhotoError> {
        let end = self.at.checked_add(count);
        match end.and_then(|end| self.bytes.get(self.at..end)) {
            Some(taken) => {
                self.at += count;
                Ok(taken)
            }
            None => Err(self.truncated(&format!("{what} should follow"))),
        }
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], PhotoError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    fn byte(&mut self, what: &str) -> Result<u8, PhotoError> {
        Ok(self.array::<1>(what)?[0])
    }

    fn truncated(&self, expected: &str) -> PhotoError {
        PhotoError::Truncated { format: self.format, expected: expected.to_owned(), received: self.bytes.len() }
    }

    fn malformed(&self, detail: &str) -> PhotoError {
        PhotoError::Malformed { format: self.format, detail: detail.to_owned() }
    }
}
