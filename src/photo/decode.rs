//! Bytes whose header passed the limits become pixels as stored: no color management, no orientation yet.
//! Third-party decoders run behind [`contained`]: their errors are told apart here, their panics stop here.

use super::probe::Header;
use super::raster::{Raster, Space};
use super::{Format, Limits, PhotoError, avif, jpeg};
use image::codecs::{bmp::BmpDecoder, gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError};
use std::error::Error;
use std::io::{self, Cursor};
use std::panic::{self, AssertUnwindSafe};

/// What a decoder gives.
pub(super) struct Decoded {
    pub(super) raster: Raster,
    pub(super) icc: Option<Vec<u8>>,
    pub(super) orientation: Orientation,
}

/// Decodes the (first) picture; a JPEG smaller, where it is going to be shrunk to sides of at most `side` pixels anyway.
///
/// # Errors
/// [`PhotoError::Truncated`], [`PhotoError::Malformed`], [`PhotoError::SizeMismatch`],
/// [`PhotoError::UnsupportedFeature`], [`PhotoError::DecoderPanicked`].
pub(super) fn decode(bytes: &[u8], header: &Header, limits: &Limits, side: u32) -> Result<Decoded, PhotoError> {
    let format = header.format;
    contained(|| match format {
        Format::Jpeg => jpeg::decode(bytes, header, side),
        Format::Png => PngDecoder::with_limits(Cursor::new(bytes), limits.for_decoder())
            .map_err(|error| fault(header, bytes, &error))
            .and_then(|decoder| read(decoder, bytes, header, limits)),
        Format::WebP => WebPDecoder::new(Cursor::new(bytes))
            .map_err(|error| fault(header, bytes, &error))
            .and_then(|decoder| read(decoder, bytes, header, limits)),
        Format::Gif => GifDecoder::new(Cursor::new(bytes))
            .map_err(|error| fault(header, bytes, &error))
            .and_then(|decoder| read(decoder, bytes, header, limits)),
        Format::Bmp => BmpDecoder::new(Cursor::new(bytes))
            .map_err(|error| fault(header, bytes, &error))
            .and_then(|decoder| read(decoder, bytes, header, limits)),
        Format::Avif => avif::decode(bytes, header),
    })
    .unwrap_or(Err(PhotoError::DecoderPanicked { format }))
}

/// Runs a decoder; `None` when it panics.
///
/// A last resort, not a policy: decoders return errors for bad files, and a panic of one is its bug. But the bytes
/// come from strangers, and a worker that dies of one photo would take everybody else's work with it. Nothing that
/// the closure touches outlives the panic, hence `AssertUnwindSafe`.
pub(super) fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    panic::catch_unwind(AssertUnwindSafe(work)).ok()
}

fn read(mut decoder: impl ImageDecoder, bytes: &[u8], header: &Header, limits: &Limits) -> Result<Decoded, PhotoError> {
    let fault = |error: ImageError| fault(header, bytes, &error);
    // Our own reading of the header is what the limits were checked on: the decoder has to agree.
    let (declared, found) = ((header.width, header.height), decoder.dimensions());
    if declared != found {
        return Err(PhotoError::SizeMismatch { format: header.format, declared, found });
    }
    decoder.set_limits(limits.for_decoder()).map_err(fault)?;
    // Broken metadata is no reason to refuse whole pixels.
    let icc = decoder.icc_profile().ok().flatten();
    let exif = decoder.exif_metadata().ok().flatten();
    let picture = DynamicImage::from_decoder(decoder).map_err(fault)?;
    Ok(Decoded { raster: raster(picture), icc, orientation: orientation(exif.as_deref()) })
}

/// 16 bits to 8 by rounding (`image` divides by 257), alpha apart from color.
fn raster(picture: DynamicImage) -> Raster {
    let (width, height) = (picture.width(), picture.height());
    let new = |space, color, alpha| Raster { width, height, space, color, alpha };
    match picture {
        DynamicImage::ImageLuma8(_) | DynamicImage::ImageLuma16(_) => {
            new(Space::Gray, picture.into_luma8().into_raw(), None)
        }
        DynamicImage::ImageLumaA8(_) | DynamicImage::ImageLumaA16(_) => {
            let raw = picture.into_luma_alpha8().into_raw();
            let color = raw.iter().step_by(2).copied().collect();
            let alpha = raw.iter().skip(1).step_by(2).copied().collect();
            new(Space::Gray, color, Some(alpha))
        }
        DynamicImage::ImageRgb8(_) | DynamicImage::ImageRgb16(_) | DynamicImage::ImageRgb32F(_) => {
            new(Space::Rgb, picture.into_rgb8().into_raw(), None)
        }
        _ => {
            let raw = picture.into_rgba8().into_raw();
            let alpha = raw.iter().skip(3).step_by(4).copied().collect();
            new(Space::Rgb, without_alpha(&raw), Some(alpha))
        }
    }
}

/// (H, W, 4) to (H, W, 3).
fn without_alpha(rgba: &[u8]) -> Vec<u8> {
    let (pixels, _) = rgba.as_chunks::<4>();
    let mut rgb = vec![[0; 3]; pixels.len()];
    for (to, &[r, g, b, _]) in rgb.iter_mut().zip(pixels) {
        *to = [r, g, b];
    }
    rgb.into_flattened()
}

/// Orientation in an EXIF block (tag 0x0112), upright when there is none or it is broken.
pub(super) fn orientation(exif: Option<&[u8]>) -> Orientation {
    // JPEG's prefix is copied into WebP and PNG by some writers, where it does not belong.
    exif.map(|exif| exif.strip_prefix(b"Exif\0\0").unwrap_or(exif))
        .and_then(Orientation::from_exif_chunk)
        .unwrap_or(Orientation::NoTransforms)
}

fn fault(header: &Header, bytes: &[u8], error: &ImageError) -> PhotoError {
    let format = header.format;
    if ended_early(error) {
        return PhotoError::Truncated {
            format,
            expected: "more pixels should follow".to_owned(),
            received: bytes.len(),
        };
    }
    let detail = error.to_string();
    match error {
        ImageError::Unsupported(_) => PhotoError::UnsupportedFeature { format, detail },
        // A limit of the decoder counts as damage: by its header the file fits (a profile that inflates, say).
        _ => PhotoError::Malformed { format, detail },
    }
}

/// An unexpected end anywhere in the chain of causes.
fn ended_early(error: &ImageError) -> bool {
    if let ImageError::IoError(error) = error {
        return error.kind() == io::ErrorKind::UnexpectedEof;
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.kind() == io::ErrorKind::UnexpectedEof;
        }
        cause = error.source();
    }
    false
}
