//! Photos drawn in code, good and broken.

use image::{ImageFormat, Rgb, RgbImage};
use std::io::Cursor;

/// A colored rectangle on white, as PNG or JPEG; other seeds give other photos.
pub fn photo(format: ImageFormat, seed: u8) -> Vec<u8> {
    let pixels = RgbImage::from_fn(240, 320, |x, y| {
        let inside = (60..180).contains(&x) && (60..260).contains(&y);
        if inside { Rgb([seed.wrapping_mul(37), 30, 120]) } else { Rgb([255, 255, 255]) }
    });
    encoded(&pixels, format)
}

pub fn jpeg() -> Vec<u8> {
    photo(ImageFormat::Jpeg, 5)
}

pub fn encoded(pixels: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    pixels.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

/// A PNG whose header promises `width` x `height` pixels; nothing follows that could keep the promise.
pub fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = encoded(&RgbImage::new(1, 1), ImageFormat::Png);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let crc = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// CRC-32 of PNG chunks (ISO 3309), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// An animated WebP of `frames` one-pixel frames, each a tiny lossless picture.
pub fn animated_webp(frames: u32) -> Vec<u8> {
    let still = encoded(&RgbImage::new(32, 32), ImageFormat::WebP);
    let picture = &still[12..];
    let mut chunks = Vec::new();
    let size = |n: u32| (n - 1).to_le_bytes()[..3].to_vec();
    chunk(&mut chunks, b"VP8X", &[vec![2, 0, 0, 0], size(32), size(32)].concat());
    chunk(&mut chunks, b"ANIM", &[0; 6]);
    for _ in 0..frames {
        let head = [vec![0; 6], size(32), size(32), vec![40, 0, 0, 0]].concat();
        chunk(&mut chunks, b"ANMF", &[&head, picture].concat());
    }
    let mut bytes = Vec::new();
    chunk(&mut bytes, b"RIFF", &[b"WEBP", &chunks[..]].concat());
    bytes
}

fn chunk(out: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) {
    out.extend(name);
    out.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
    out.extend(content);
    if content.len() % 2 == 1 {
        out.push(0);
    }
}
