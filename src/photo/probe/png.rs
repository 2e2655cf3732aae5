//! Walks the chunks of a PNG (W3C PNG, third edition) to its end chunk.

use super::{Cursor, Header};
use crate::photo::{Format, PhotoError};

pub(super) fn probe(bytes: &[u8]) -> Result<Header, PhotoError> {
    let mut cursor = Cursor::new(Format::Png, bytes, 8);
    let (name, data) = chunk(&mut cursor)?;
    let (b"IHDR", [w3, w2, w1, w0, h3, h2, h1, h0, depth, color, ..]) = (&name, data) else {
        return Err(cursor.malformed("it does not begin with its header chunk"));
    };
    // Palette and grey below 8 bits are expanded: at most RGB and alpha.
    let (channels, stored) = match color {
        0 => (1, 2),
        2 => (3, 4),
        4 => (2, 2),
        _ => (4, 4),
    };
    let sample = if *depth == 16 { 2 } else { 1 };
    // A 16-bit picture is narrowed into a second buffer.
    let narrowed = if sample == 2 { channels } else { 0 };
    let mut header = Header::new(
        Format::Png,
        u32::from_be_bytes([*w3, *w2, *w1, *w0]),
        u32::from_be_bytes([*h3, *h2, *h1, *h0]),
        stored * sample + narrowed,
    );
    loop {
        match chunk(&mut cursor)? {
            ([b'I', b'E', b'N', b'D'], _) => return Ok(header),
            ([b'a', b'c', b'T', b'L'], [f3, f2, f1, f0, ..]) => {
                header.frames = u32::from_be_bytes([*f3, *f2, *f1, *f0]).max(1);
            }
            _ => {}
        }
    }
}

/// Name and data of the next chunk; its checksum is the decoder's business.
fn chunk<'a>(cursor: &mut Cursor<'a>) -> Result<([u8; 4], &'a [u8]), PhotoError> {
    let length = u32::from_be_bytes(cursor.array("a chunk")?);
    let name: [u8; 4] = cursor.array("a chunk")?;
    let what = format!("a chunk {} of {length} bytes", name.escape_ascii());
    let data = cursor.take(usize::try_from(length).unwrap_or(usize::MAX), &what)?;
    cursor.take(4, "the checksum of a chunk")?;
    Ok((name, data))
}
