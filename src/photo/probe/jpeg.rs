//! Walks the markers of a JPEG (ITU T.81, annex B) to its end marker.
//! The walk is what finds a cut file: decoders fill what is missing with grey and say nothing.

use super::{Cursor, Header};
use crate::photo::{Format, PhotoError};

/// Finds the one frame header and the end marker.
pub(super) fn probe(bytes: &[u8]) -> Result<Header, PhotoError> {
    let mut cursor = Cursor::new(Format::Jpeg, bytes, 2);
    let mut frame: Option<Header> = None;
    let mut adobe = false;
    loop {
        match next_marker(&mut cursor)? {
            // End of image. What follows (a second picture, a video) is not ours.
            0xd9 => break,
            // Markers without a segment: TEM, RST, SOI.
            0x01 | 0xd0..=0xd8 => {}
            // SOF0 to SOF15, less DHT, JPG and DAC, which share the range.
            marker @ (0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf) => {
                let segment = segment(&mut cursor)?;
                let header = frame_header(&cursor, segment, marker)?;
                // A second frame header after a harmless first one would pass every limit.
                if frame.replace(header).is_some() {
                    return Err(cursor.malformed("it has two frame headers"));
                }
            }
            0xee => adobe |= segment(&mut cursor)?.starts_with(b"Adobe"),
            0xda if frame.is_none() => {
                return Err(cursor.malformed("pixels come before the frame header"));
            }
            _ => {
                segment(&mut cursor)?;
            }
        }
    }
    let mut header = frame.ok_or_else(|| cursor.malformed("it has no frame header"))?;
    header.inverted = adobe;
    Ok(header)
}

/// Skips entropy-coded data, stuffing, fill bytes and stray bytes up to the next marker; gives its code.
pub(in crate::photo) fn next_marker(cursor: &mut Cursor<'_>) -> Result<u8, PhotoError> {
    loop {
        let rest = cursor.rest();
        let Some(skip) = rest.iter().position(|&byte| byte == 0xff) else {
            return Err(cursor.truncated("the end marker is missing"));
        };
        match rest.get(skip + 1) {
            Some(0x00) => cursor.at += skip + 2,
            Some(0xff) => cursor.at += skip + 1,
            Some(&marker) => {
                cursor.at += skip + 2;
                return Ok(marker);
            }
            None => return Err(cursor.truncated("the end marker is missing")),
        }
    }
}

/// The segment after a marker.
pub(in crate::photo) fn segment<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], PhotoError> {
    let length = u16::from_be_bytes(cursor.array("the length of a segment")?);
    let Some(length) = length.checked_sub(2) else {
        return Err(cursor.malformed("a segment is shorter than its own length"));
    };
    cursor.take(usize::from(length), "a segment")
}

fn frame_header(cursor: &Cursor<'_>, segment: &[u8], marker: u8) -> Result<Header, PhotoError> {
    let [_precision, h1, h0, w1, w0, count, components @ ..] = segment else {
        return Err(cursor.malformed("its frame header is too short"));
    };
    let (width, height) = (u16::from_be_bytes([*w1, *w0]), u16::from_be_bytes([*h1, *h0]));
    if components.len() < 3 * usize::from(*count) {
        return Err(cursor.malformed("its frame header is too short"));
    }
    // Progressive files (SOF2, 6, 10, 14) keep every coefficient as 16 bits until the last scan.
    let coefficients = if marker & 0b11 == 0b10 { 2 * samples_per_pixel(components) } else { 0 };
    let decoded = u64::from(*count).max(3);
    Ok(Header::new(Format::Jpeg, u32::from(width), u32::from(height), decoded + coefficients))
}

/// Samples stored a pixel, rounded up: 3 for 4:4:4, 2 for 4:2:0 (1.5).
fn samples_per_pixel(components: &[u8]) -> u64 {
    let factors = || components.chunks_exact(3).map(|c| (u64::from(c[1] >> 4), u64::from(c[1] & 15)));
    let full = factors().map(|f| f.0).max().unwrap_or(1) * factors().map(|f| f.1).max().unwrap_or(1);
    factors().map(|f| f.0 * f.1).sum::<u64>().div_ceil(full.max(1))
}
