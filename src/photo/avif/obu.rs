//! The units of an AV1 stream (AV1 specification, 5.3): what a still needs passes, everything else stays outside.

use crate::photo::{Format, PhotoError};

/// Sequence header, temporal delimiter, frame header, tile group, frame, redundant frame header.
const NEEDED: [u8; 6] = [1, 2, 3, 4, 6, 7];
/// Those that begin a frame.
const FRAMES: [u8; 2] = [3, 6];

/// The stream without metadata, padding and what else a decoder of stills has no use for.
///
/// # Errors
/// [`PhotoError::Malformed`] for a unit that runs over the end or a stream without a frame;
/// [`PhotoError::UnsupportedFeature`] for more than one frame: hidden ones would cost time and memory that no header
/// tells of (656 bytes can be 20 megapixels).
pub(super) fn still(stream: &[u8]) -> Result<Vec<u8>, PhotoError> {
    let damaged = |detail: &str| PhotoError::Malformed { format: Format::Avif, detail: detail.to_owned() };
    let mut kept = Vec::with_capacity(stream.len());
    let mut rest = stream;
    let mut frames = 0;
    while let [head, after @ ..] = rest {
        let (kind, extended, sized) = (head >> 3 & 15, head & 4 != 0, head & 2 != 0);
        let after = after.get(usize::from(extended)..).ok_or_else(|| damaged("a unit of AV1 ends early"))?;
        let (length, body) = if sized {
            leb128(after).ok_or_else(|| damaged("a unit of AV1 has no length"))?
        } else {
            (after.len(), after)
        };
        let body_at = rest.len() - body.len();
        let unit = rest.get(..body_at.saturating_add(length)).ok_or_else(|| damaged("a unit of AV1 ends early"))?;
        if NEEDED.contains(&kind) {
            kept.extend_from_slice(unit);
        }
        frames += usize::from(FRAMES.contains(&kind));
        rest = &rest[unit.len()..];
    }
    match frames {
        0 => Err(damaged("it holds no picture")),
        1 => Ok(kept),
        _ => Err(PhotoError::UnsupportedFeature { format: Format::Avif, detail: "more than one layer".to_owned() }),
    }
}

/// A number in little-endian groups of seven bits (AV1 specification, 4.10.5), and what follows it.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (i, byte) in bytes.iter().enumerate().take(8) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, &bytes[i + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn metadata_is_left_out_and_one_frame_stays() {
        let stream = [0x12, 0, 0x2a, 3, 4, 0x80, 0, 0x32, 2, 7, 7];
        assert_eq!(still(&stream).unwrap(), [0x12, 0, 0x32, 2, 7, 7]);
        // A last unit without a length goes to the end; an extension byte belongs to the head.
        assert_eq!(still(&[0x34, 9, 1, 2]).unwrap(), [0x34, 9, 1, 2]);
    }

    #[test]
    fn none_or_many_frames_and_cut_units_are_refused() {
        for bad in [&[][..], &[0x12, 0], &[0x32, 9, 1], &[0x32, 0x80], &[0x32], &[0x36], &[0x32, 0x80, 0x80]] {
            assert!(matches!(still(bad), Err(PhotoError::Malformed { .. })), "{bad:?}");
        }
        let twice = [0x32, 1, 0, 0x32, 1, 0];
        assert!(matches!(still(&twice), Err(PhotoError::UnsupportedFeature { .. })));
    }
}
