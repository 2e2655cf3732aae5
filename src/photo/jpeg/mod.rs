//! JPEG through zune-jpeg itself, which `image` wraps: with the wrapper a cut or damaged file comes back half grey
//! (it decodes leniently), CMYK comes back as RGB without its ICC profile, and the file is copied and its header
//! parsed four times. Where fewer pixels will do, [`scaled`] takes them from the file without decoding all.

mod bits;
mod huffman;
mod idct;
mod scaled;
mod scan;
#[cfg(test)]
mod tests;

use super::decode::{Decoded, orientation};
use super::probe::Header;
use super::raster::{Raster, Space};
use super::{Format, PhotoError};
use scaled::Scaled;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

const FORMAT: Format = Format::Jpeg;

/// Decodes, smaller where what is wanted has sides of at most `side` pixels.
pub(super) fn decode(bytes: &[u8], header: &Header, side: u32) -> Result<Decoded, PhotoError> {
    // Lenient between header segments (cameras leave stray bytes there, and libjpeg skips them too), ...
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| fault(&error))?;
    check_size(&decoder, header)?;
    let components = decoder.info().map_or(0, |info| info.components);
    let stored = match decoder.input_colorspace().unwrap_or(ColorSpace::Unknown) {
        // Adobe's marker says that nothing was transformed; of what, the number of components says.
        ColorSpace::CMYK if components == 3 => ColorSpace::RGB,
        other => other,
    };
    let (wanted, space) = match stored {
        ColorSpace::Luma => (ColorSpace::Luma, Space::Gray),
        ColorSpace::YCbCr | ColorSpace::RGB => (ColorSpace::RGB, Space::Rgb),
        // As stored: zune's own conversion to RGB takes every file for inverted and drops the profile.
        ColorSpace::CMYK | ColorSpace::YCCK => (stored, Space::Cmyk),
        other => {
            let detail = format!("pixels in {other:?}");
            return Err(PhotoError::UnsupportedFeature { format: FORMAT, detail });
        }
    };
    let eighths = scaled::eighths(header.width.min(header.height), side);
    let is_usual = matches!(stored, ColorSpace::Luma | ColorSpace::YCbCr);
    if is_usual
        && eighths < 8
        && let Some(smaller) = scaled::decode(bytes, (header.width, header.height), eighths)
        && smaller.is_gray == (space == Space::Gray)
    {
        let Scaled { width, height, samples: color, .. } = smaller;
        let raster = Raster { width, height, space, color, alpha: None };
        return Ok(decoded(raster, &decoder));
    }
    // ... strict inside pixels, where leniency means grey blocks.
    decoder.set_options(options.set_strict_mode(true).jpeg_set_out_colorspace(wanted));
    let mut color = vec![0; decoder.output_buffer_size().unwrap_or(0)];
    decoder.decode_into(&mut color).map_err(|error| fault(&error))?;
    if space == Space::Cmyk {
        to_cmyk(&mut color, stored == ColorSpace::YCCK, header.inverted);
    }
    let raster = Raster { width: header.width, height: header.height, space, color, alpha: None };
    Ok(decoded(raster, &decoder))
}

fn decoded(raster: Raster, decoder: &JpegDecoder<ZCursor<&[u8]>>) -> Decoded {
    let orientation = orientation(decoder.exif().map(Vec::as_slice));
    Decoded { raster, icc: decoder.icc_profile(), orientation }
}

fn check_size(decoder: &JpegDecoder<ZCursor<&[u8]>>, header: &Header) -> Result<(), PhotoError> {
    let declared = (header.width, header.height);
    let found = decoder.info().map_or((0, 0), |info| (u32::from(info.width), u32::from(info.height)));
    if declared != found {
        return Err(PhotoError::SizeMismatch { format: FORMAT, declared, found });
    }
    Ok(())
}

/// Four components as stored to CMYK where 255 is full ink.
///
/// YCCK is YCbCr of the complement of CMY (T.872, 6.5.3: C = 255 - R); K is stored beside it. Adobe's writers
/// store the complement of ink, and their APP14 marker is the only sign of it (as libvips and ImageMagick read it).
fn to_cmyk(color: &mut [u8], ycck: bool, inverted: bool) {
    let (pixels, _) = color.as_chunks_mut::<4>();
    if ycck {
        for [y, cb, cr, _] in pixels.iter_mut() {
            [*y, *cb, *cr] = ycc_to_rgb(*y, *cb, *cr).map(|sample| 255 - sample);
        }
    }
    if inverted {
        for sample in pixels.as_flattened_mut() {
            *sample = 255 - *sample;
        }
    }
}

/// Full-range YCbCr of BT.601 (T.871, clause 7), in 16-bit fixed point.
#[inline(always)]
fn ycc_to_rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y) << 16, i32::from(cb) - 128, i32::from(cr) - 128);
    let clamp = |value: i32| ((value + (1 << 15)) >> 16).clamp(0, 255) as u8;
    [
        clamp(y + 91_881 * cr),               // 1.402
        clamp(y - 22_554 * cb - 46_802 * cr), // 0.344136, 0.714136
        clamp(y + 116_130 * cb),              // 1.772
    ]
}

fn fault(error: &DecodeErrors) -> PhotoError {
    let detail = error.to_string();
    match error {
        DecodeErrors::Unsupported(_) => PhotoError::UnsupportedFeature { format: FORMAT, detail },
        // The walk over the markers has found the end marker, so what is missing is missing inside.
        _ => PhotoError::Malformed { format: FORMAT, detail },
    }
}
