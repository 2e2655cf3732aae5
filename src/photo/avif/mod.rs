//! AVIF: the boxes are read by `probe::avif`, the AV1 inside by `re_rav1d` (dav1d ported to Rust, without its
//! assembly), its planes become RGB in `yuv`.
//!
//! Of the decoders there are, `dav1d` and `libaom` are C and need meson or cmake, `rav1d-safe` is AGPL, and `rav1d`
//! itself has no Rust interface. A panic inside of it cannot be caught, since its entry points are `extern "C"`: 6,300
//! damaged files (five kinds of picture, flipped bits, cut ends) gave errors or pictures and no panic.

mod yuv;

use super::decode::Decoded;
use super::probe::Header;
use super::probe::avif::{Cicp, Container, Item, container};
use super::raster::{Raster, Space};
use super::{Format, Limits, PhotoError};
use moxcms::ColorProfile;
use re_rav1d::dav1d::{Decoder, Error, Picture, Settings};
use yuv::Planes;

/// Asks for more of a decoder than any still needs, so that a stream which never gives a picture ends.
const MOST_STEPS: usize = 64;

/// # Errors
/// [`PhotoError::Malformed`], [`PhotoError::SizeMismatch`], [`PhotoError::UnsupportedFeature`].
pub(super) fn decode(bytes: &[u8], header: &Header, limits: &Limits) -> Result<Decoded, PhotoError> {
    let Container { color, alpha, premultiplied, orientation, icc, cicp } = container(bytes)?;
    let picture = picture(&color, limits)?;
    let planes = Planes::new(&picture, cicp)?;
    let icc = match icc {
        Some(icc) => Some(icc.to_vec()),
        None => profile(planes.cicp())?,
    };
    let mut rgb = planes.rgb();
    drop(planes);
    drop(picture);
    let alpha = match alpha {
        Some(item) => {
            let picture = self::picture(&item, limits)?;
            Some(Planes::new(&picture, None)?.luma())
        }
        None => None,
    };
    if let (true, Some(alpha)) = (premultiplied, &alpha) {
        straighten(&mut rgb, alpha);
    }
    let raster = Raster { width: header.width, height: header.height, space: Space::Rgb, color: rgb, alpha };
    Ok(Decoded { raster, icc, orientation })
}

/// Decodes one item; its size is what the container says, which the limits were checked on.
fn picture(item: &Item<'_>, limits: &Limits) -> Result<Picture, PhotoError> {
    let mut settings = Settings::new();
    // One photo a core; and its own frame threads would start and stop with every photo.
    settings.set_n_threads(1);
    settings.set_max_frame_delay(1);
    settings.set_all_layers(false);
    settings.set_frame_size_limit(u32::try_from(limits.pixels).unwrap_or(u32::MAX));
    let mut decoder = Decoder::with_settings(&settings).map_err(fault)?;
    let mut sent = decoder.send_data(item.extents.concat(), None, None, None);
    for _ in 0..MOST_STEPS {
        match sent {
            Err(error) if !error.is_again() => return Err(fault(error)),
            _ => {}
        }
        match decoder.get_picture() {
            Ok(picture) => {
                let (declared, found) = ((item.width, item.height), (picture.width(), picture.height()));
                if declared != found {
                    return Err(PhotoError::SizeMismatch { format: Format::Avif, declared, found });
                }
                return Ok(picture);
            }
            Err(error) if error.is_again() && sent.is_err() => sent = decoder.send_pending_data(),
            Err(error) if error.is_again() => break,
            Err(error) => return Err(fault(error)),
        }
    }
    Err(PhotoError::Malformed { format: Format::Avif, detail: "it holds no picture".to_owned() })
}

fn fault(error: Error) -> PhotoError {
    let format = Format::Avif;
    match error {
        Error::UnsupportedBitstream => PhotoError::UnsupportedFeature { format, detail: "its AV1 stream".to_owned() },
        error => PhotoError::Malformed { format, detail: format!("AV1: {error}").to_lowercase() },
    }
}

/// The profile that the code points of ITU-T H.273 stand for; `None` for sRGB and what is taken for it.
fn profile(cicp: Cicp) -> Result<Option<Vec<u8>>, PhotoError> {
    if let name @ ("PQ" | "HLG") = match cicp.transfer {
        16 => "PQ",
        18 => "HLG",
        _ => "",
    } {
        let detail = format!("high dynamic range ({name}); send the photo in sRGB");
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

/// Undoes the multiplication of (H, W, 3) `rgb` by `alpha`.
fn straighten(rgb: &mut [u8], alpha: &[u8]) {
    for (pixel, &alpha) in rgb.as_chunks_mut::<3>().0.iter_mut().zip(alpha) {
        if alpha > 0 {
            let alpha = u32::from(alpha);
            *pixel = pixel.map(|sample| ((u32::from(sample) * 255 + alpha / 2) / alpha).min(255) as u8);
        }
    }
}
