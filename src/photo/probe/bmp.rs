//! Reads the two headers of a Windows bitmap and how many bytes its rows take.

use super::{Cursor, Header};
use crate::photo::{Format, PhotoError};

/// `BI_RGB`, `BI_BITFIELDS`, `BI_ALPHABITFIELDS`: rows of a fixed length. The others are run-length encoded.
const UNCOMPRESSED: [u32; 3] = [0, 3, 6];

pub(super) fn probe(bytes: &[u8]) -> Result<Header, PhotoError> {
    let mut cursor = Cursor::new(Format::Bmp, bytes, 10);
    let pixels_at = u32::from_le_bytes(cursor.array("the offset of the pixels")?);
    let info_size = u32::from_le_bytes(cursor.array("the size of the header")?);
    let (width, height, bits, compression) = if info_size == 12 {
        let width = u16::from_le_bytes(cursor.array("the width")?);
        let height = u16::from_le_bytes(cursor.array("the height")?);
        cursor.take(2, "the planes")?;
        let bits = u16::from_le_bytes(cursor.array("the bits a pixel")?);
        (u32::from(width), u32::from(height), bits, 0)
    } else {
        let width = i32::from_le_bytes(cursor.array("the width")?);
        let height = i32::from_le_bytes(cursor.array("the height")?);
        cursor.take(2, "the planes")?;
        let bits = u16::from_le_bytes(cursor.array("the bits a pixel")?);
        let compression = u32::from_le_bytes(cursor.array("the compression")?);
        let Ok(width) = u32::try_from(width) else {
            return Err(cursor.malformed("its width is negative"));
        };
        // A negative height means rows from top to bottom.
        (width, height.unsigned_abs(), bits, compression)
    };
    if UNCOMPRESSED.contains(&compression) {
        let row = (u64::from(width) * u64::from(bits)).div_ceil(32) * 4;
        let needed = row * u64::from(height) + u64::from(pixels_at);
        // The last row's padding is often left out.
        if (bytes.len() as u64) + 3 < needed {
            return Err(cursor.truncated(&format!("its header promises {needed} bytes")));
        }
    }
    Ok(Header::new(Format::Bmp, width, height, 4))
}
