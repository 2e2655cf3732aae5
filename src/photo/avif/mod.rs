//! AVIF: the boxes are read by `probe::avif`, the units of the stream sifted by `obu`, the AV1 inside decoded by `av1`,
//! and its planes become RGB in `yuv`.

pub mod av1;
mod coded;
mod obu;
mod yuv;

pub(super) use coded::Cicp;

use super::decode::Decoded;
use super::probe::Header;
use super::probe::avif::{Container, Item, container};
use super::raster::Raster;
use super::{Format, PhotoError};
use coded::Coded;
use moxcms::ColorProfile;
use yuv::Planes;

/// # Errors
/// [`PhotoError::Malformed`], [`PhotoError::SizeMismatch`], [`PhotoError::UnsupportedFeature`].
pub(super) fn decode(bytes: &[u8], header: &Header) -> Result<Decoded, PhotoError> {
    let Container { color, alpha, premultiplied, orientation, icc, cicp } = container(bytes)?;
    let coded = picture(&color)?;
    let planes = Planes::new(&coded, cicp)?;
    let icc = match icc {
        Some(icc) => Some(icc.to_vec()),
        None => profile(planes.cicp())?,
    };
    let (space, mut color) = planes.color();
    drop(coded);
    let alpha = match alpha {
        Some(item) => Some(Planes::new(&picture(&item)?, None)?.luma()),
        None => None,
    };
    if let (true, Some(alpha)) = (premultiplied, &alpha) {
        straighten(&mut color, alpha);
    }
    let raster = Raster { width: header.width, height: header.height, space, color, alpha };
    Ok(Decoded { raster, icc, orientation })
}

/// Decodes one item; its size has to be what the container says, which the limits were checked on.
fn picture(item: &Item<'_>) -> Result<Coded, PhotoError> {
    av1::decode(obu::still(&item.extents.concat())?, (item.width, item.height))
}

/// The profile that the code points of ITU-T H.273 stand for; `None` for sRGB and what is taken for it.
fn profile(cicp: Cicp) -> Result<Option<Vec<u8>>, PhotoError> {
    let range = match cicp.transfer {
        16 => Some("PQ"),
        18 => Some("HLG"),
        _ => None,
    };
    if let Some(range) = range {
        let detail = format!("high dynamic range ({range}); send the photo in sRGB");
        return Err(PhotoError::UnsupportedFeature { format: Format::Avif, detail });
    }
    let profile = match cicp.primaries {
        9 => ColorProfile::new_bt2020(),
        12 => ColorProfile::new_display_p3(),
        _ => return Ok(None),
    };
    // Without it the colors are a little pale, as in browsers without color management.
    Ok(profile.encode().ok())
}

/// Undoes the multiplication of (H, W, samples) `color` by (H, W) `alpha`.
fn straighten(color: &mut [u8], alpha: &[u8]) {
    let samples = (color.len() / alpha.len().max(1)).max(1);
    for (pixel, &alpha) in color.chunks_exact_mut(samples).zip(alpha).filter(|(_, alpha)| **alpha > 0) {
        let alpha = u32::from(alpha);
        for sample in pixel {
            *sample = ((u32::from(*sample) * 255 + alpha / 2) / alpha).min(255) as u8;
        }
    }
}
