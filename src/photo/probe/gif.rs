//! Walks the blocks of a GIF (GIF89a) and counts its frames, without decompressing one.

use super::{Cursor, Header};
use crate::photo::{Format, PhotoError};

pub(super) fn probe(bytes: &[u8]) -> Result<Header, PhotoError> {
    let mut cursor = Cursor::new(Format::Gif, bytes, 6);
    let [w0, w1, h0, h1, flags, _, _] = cursor.array("the screen descriptor")?;
    let screen = (le(w0, w1), le(h0, h1));
    color_table(&mut cursor, flags)?;
    let mut frames = 0_u32;
    let mut first = (0, 0);
    // A file may stop between blocks without its trailer: old writers forget it, and no pixel is missing.
    while !cursor.at_end() {
        match cursor.byte("a block")? {
            0x21 => {
                cursor.byte("the label of an extension")?;
                sub_blocks(&mut cursor)?;
            }
            0x2c => {
                let [_, _, _, _, w0, w1, h0, h1, flags] = cursor.array("a frame's descriptor")?;
                if frames == 0 {
                    first = (le(w0, w1), le(h0, h1));
                }
                frames += 1;
                color_table(&mut cursor, flags)?;
                cursor.byte("a frame's code size")?;
                sub_blocks(&mut cursor)?;
            }
            // The trailer; and whatever is no block, which every decoder stops at too.
            _ => break,
        }
    }
    if frames == 0 {
        return Err(cursor.truncated("a frame should follow"));
    }
    // The decoder reads the frame into a buffer of its own size and places it on the screen. A frame that sticks
    // out is legal and clipped, but one that dwarfs the screen is a bomb.
    if first.0 > screen.0.saturating_mul(4) || first.1 > screen.1.saturating_mul(4) {
        return Err(PhotoError::SizeMismatch { format: Format::Gif, declared: screen, found: first });
    }
    let frame_pixels = u64::from(first.0) * u64::from(first.1);
    let screen_pixels = (u64::from(screen.0) * u64::from(screen.1)).max(1);
    let cost = 4 + 4 * frame_pixels.div_ceil(screen_pixels);
    let mut header = Header::new(Format::Gif, screen.0, screen.1, cost);
    header.frames = frames;
    Ok(header)
}

fn le(low: u8, high: u8) -> u32 {
    u32::from(u16::from_le_bytes([low, high]))
}

fn color_table(cursor: &mut Cursor<'_>, flags: u8) -> Result<(), PhotoError> {
    if flags & 0x80 != 0 {
        cursor.take(3 << ((flags & 7) + 1), "a color table")?;
    }
    Ok(())
}

fn sub_blocks(cursor: &mut Cursor<'_>) -> Result<(), PhotoError> {
    loop {
        match cursor.byte("a block of data")? {
            0 => return Ok(()),
            length => cursor.take(usize::from(length), "a block of data")?,
        };
    }
}
