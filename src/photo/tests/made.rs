//! Files for the decoder's tests: those drawn by `tests/data/photo/make.py`, and variations made here.

use crate::photo::{Limits, Photo, PhotoError};
use std::path::Path;

/// Centers of the four quadrants of every drawn file.
pub(super) const CENTERS: [(u32, u32); 4] = [(16, 12), (48, 12), (16, 36), (48, 36)];

/// Every drawn file.
pub(super) const ALL: [&str; 32] = [
    "adobe_rgb.avif",
    "adobe_rgb.jpg",
    "adobe_rgb_gray.jpg",
    "alpha.avif",
    "alpha.png",
    "alpha.webp",
    "animated.gif",
    "animated.webp",
    "bad_icc.jpg",
    "base.bmp",
    "base.jpg",
    "cmyk.jpg",
    "cmyk_icc.jpg",
    "cmyk_plain.jpg",
    "gray.avif",
    "gray.jpg",
    "gray_alpha.png",
    "interlaced.png",
    "linear_gray.png",
    "lossless.avif",
    "lossless.webp",
    "lossy.webp",
    "odd_size.avif",
    "palette.png",
    "premultiplied.avif",
    "progressive.jpg",
    "rgb16.png",
    "ten_bit.avif",
    "turned_1t.avif",
    "ycck.jpg",
    "yuv420.avif",
    "yuv422.avif",
];

pub(super) fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photo");
    std::fs::read(folder.join(name)).expect(name)
}

pub(super) fn decode(bytes: &[u8]) -> Result<Photo, PhotoError> {
    Photo::decode(bytes, &Limits::default())
}

/// A JPEG with an EXIF segment that holds one tag, the orientation.
pub(in crate::photo) fn with_orientation(jpeg: &[u8], tag: u8) -> Vec<u8> {
    let mut exif = b"\xff\xe1\0\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([tag, 0, 0, 0, 0, 0, 0]);
    [&jpeg[..2], &exif, &jpeg[2..]].concat()
}

/// A PNG chunk with its checksum.
fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let named = [name, data].concat();
    let crc = !named.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    });
    let length = u32::try_from(data.len()).expect("small");
    [&length.to_be_bytes()[..], &named, &crc.to_be_bytes()].concat()
}

/// A PNG that declares any size and holds no pixels.
pub(super) fn png_bomb(width: u32, height: u32) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
    let signature = b"\x89PNG\r\n\x1a\n".to_vec();
    [signature, chunk(b"IHDR", &header), chunk(b"IDAT", &[]), chunk(b"IEND", &[])].concat()
}

/// A PNG with an animation control chunk that promises `frames`.
pub(super) fn apng(png: &[u8], frames: u32) -> Vec<u8> {
    let control = chunk(b"acTL", &[frames.to_be_bytes(), [0; 4]].concat());
    [&png[..33], &control, &png[33..]].concat()
}

/// `animated.webp` with its first frame repeated.
pub(super) fn webp_of_frames(frames: usize) -> Vec<u8> {
    let webp = fixture("animated.webp");
    let start = webp.windows(4).position(|name| name == b"ANMF").expect("animated");
    let length = u32::from_le_bytes(webp[start + 4..start + 8].try_into().expect("4 bytes")) as usize;
    let frame = &webp[start..start + 8 + length + length % 2];
    let body = [&webp[8..start], &frame.repeat(frames)].concat();
    let size = u32::try_from(body.len()).expect("small");
    [&b"RIFF"[..], &size.to_le_bytes(), &body].concat()
}

/// `animated.gif` with its first frame repeated.
pub(super) fn gif_of_frames(frames: usize) -> Vec<u8> {
    let gif = fixture("animated.gif");
    let find = |from: usize, what: &[u8]| {
        from + gif[from..].windows(what.len()).position(|window| window == what).expect("animated")
    };
    let first = find(0, b"\x2c\0\0\0\0\x40\0\x30\0");
    let second = find(first, b"\x21\xf9\x04");
    [&gif[..first], &gif[first..second].repeat(frames), b"\x3b"].concat()
}
