//! Walks the chunks of a WebP (RFC 9649): canvas, picture sizes, and how many frames there are.
//! The picture inside has its own size; a decoder allocates by that one, so both are checked.

use super::{Cursor, Header};
use crate::photo::{Format, PhotoError};

/// Peak bytes a pixel of the decoder: planes of the picture and the buffer it is converted into.
const STILL: u64 = 9;
/// The same for an animation: one frame, the canvas it is blended into, and the output.
const ANIMATED: u64 = 14;

pub(super) fn probe(bytes: &[u8]) -> Result<Header, PhotoError> {
    let mut cursor = Cursor::new(Format::WebP, bytes, 4);
    let size = u32::from_le_bytes(cursor.array("the size of the file")?);
    let end = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(8);
    if end > bytes.len() {
        return Err(cursor.truncated(&format!("its header promises {end} bytes")));
    }
    cursor.at = 12;
    let mut canvas = None;
    let mut picture = None;
    let mut frames = 0_u32;
    while cursor.at < end {
        let (name, data) = chunk(&mut cursor)?;
        match &name {
            b"VP8X" => canvas = canvas.or(canvas_size(data)),
            b"ANMF" => {
                frames += 1;
                if picture.is_none() {
                    picture = first_frame(data)?;
                }
            }
            _ if picture.is_none() => picture = picture_size(&name, data),
            _ => {}
        }
    }
    let picture = picture.ok_or_else(|| cursor.malformed("it holds no picture"))?;
    let declared = canvas.unwrap_or(picture);
    // A still fills its canvas; a frame may be smaller.
    let fits = if frames == 0 { picture == declared } else { picture.0 <= declared.0 && picture.1 <= declared.1 };
    if !fits {
        return Err(PhotoError::SizeMismatch { format: Format::WebP, declared, found: picture });
    }
    let cost = if frames == 0 { STILL } else { ANIMATED };
    let mut header = Header::new(Format::WebP, declared.0, declared.1, cost);
    header.frames = frames.max(1);
    Ok(header)
}

fn chunk<'a>(cursor: &mut Cursor<'a>) -> Result<([u8; 4], &'a [u8]), PhotoError> {
    let name: [u8; 4] = cursor.array("a chunk")?;
    let length = u32::from_le_bytes(cursor.array("a chunk")?);
    let what = format!("a chunk {} of {length} bytes", name.escape_ascii());
    let data = cursor.take(usize::try_from(length).unwrap_or(usize::MAX), &what)?;
    // Chunks are padded to even lengths; writers forget the padding of the last one.
    cursor.at += data.len() & 1;
    Ok((name, data))
}

fn canvas_size(data: &[u8]) -> Option<(u32, u32)> {
    let [_, _, _, _, w0, w1, w2, h0, h1, h2, ..] = data else {
        return None;
    };
    let less_one = |a, b, c| u32::from_le_bytes([a, b, c, 0]);
    Some((less_one(*w0, *w1, *w2) + 1, less_one(*h0, *h1, *h2) + 1))
}

/// Size of the picture in the first ANMF chunk: 16 bytes of frame header, then chunks of its own.
fn first_frame(data: &[u8]) -> Result<Option<(u32, u32)>, PhotoError> {
    let mut inner = Cursor::new(Format::WebP, data, 16);
    while !inner.at_end() {
        let (name, data) = chunk(&mut inner)?;
        if let Some(size) = picture_size(&name, data) {
            return Ok(Some(size));
        }
    }
    Ok(None)
}

/// Size in a lossy (RFC 6386, 9.1) or lossless (RFC 9649, 3.4) bit stream.
fn picture_size(name: &[u8; 4], data: &[u8]) -> Option<(u32, u32)> {
    match (name, data) {
        (b"VP8 ", [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..]) => {
            let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
            Some((side(*w0, *w1), side(*h0, *h1)))
        }
        (b"VP8L", [0x2f, b0, b1, b2, b3, ..]) => {
            let bits = u32::from_le_bytes([*b0, *b1, *b2, *b3]);
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        _ => None,
    }
}
