//! Bytes that mean harm, or met some: each fault has its own error, and nothing panics.

use super::made::{ALL, apng, decode, fixture, gif_of_frames, png_bomb, webp_of_frames};
use crate::photo::{Format, Limits, Photo, PhotoError};
use proptest::prelude::*;

#[test]
fn nothing_and_too_much() {
    assert_eq!(decode(b"").unwrap_err(), PhotoError::Empty);
    let limits = Limits { body_bytes: 100, ..Limits::default() };
    let error = Photo::decode(&fixture("base.jpg"), &limits).unwrap_err();
    assert_eq!(error, PhotoError::TooManyBytes { limit: 100, received: 768 });
    let error = decode(b"I am not a photo, whatever my content type says").unwrap_err();
    assert_eq!(error, PhotoError::NotAnImage { received: "text".to_owned() });
}

#[test]
fn bombs_are_refused_by_their_header() {
    let (width, height) = (30_000, 30_000);
    let expected = PhotoError::TooManyPixels { limit: 50_000_000, width, height };
    assert_eq!(decode(&png_bomb(width, height)).unwrap_err(), expected);
    let expected = PhotoError::SideTooLong { limit: 30_000, width: u32::MAX, height: u32::MAX };
    assert_eq!(decode(&png_bomb(u32::MAX, u32::MAX)).unwrap_err(), expected);
    let expected = PhotoError::TooSmall { limit: 24, width: 16, height: 16 };
    assert_eq!(decode(&png_bomb(16, 16)).unwrap_err(), expected);
    assert!(matches!(decode(&png_bomb(0, 100)).unwrap_err(), PhotoError::Malformed { .. }));
    let limits = Limits { decode_bytes: 1000, ..Limits::default() };
    let error = Photo::decode(&fixture("base.jpg"), &limits).unwrap_err();
    // 64x48 pixels, 3 bytes of the decoder's and 4 of ours.
    assert_eq!(error, PhotoError::TooMuchMemory { limit: 1000, needed: 64 * 48 * 7 });
}

#[test]
fn the_shortest_side_is_configurable() {
    let limits = Limits { min_side: 49, ..Limits::default() };
    let error = Photo::decode(&fixture("base.jpg"), &limits).unwrap_err();
    assert_eq!(error, PhotoError::TooSmall { limit: 49, width: 64, height: 48 });
}

#[test]
fn frames_are_counted_and_limited() {
    for bytes in [webp_of_frames(10_000), gif_of_frames(10_000), apng(&fixture("alpha.png"), 10_000)] {
        let expected = PhotoError::TooManyFrames { limit: 64, received: 10_000 };
        assert_eq!(decode(&bytes).unwrap_err(), expected);
    }
    for bytes in [webp_of_frames(64), gif_of_frames(64), apng(&fixture("alpha.png"), 64)] {
        assert_eq!(decode(&bytes).unwrap().width(), 64);
    }
}

#[test]
fn a_picture_larger_than_its_canvas_is_a_lie() {
    let mut webp = fixture("alpha.webp");
    let at = webp.windows(4).position(|name| name == b"VP8 ").unwrap() + 8 + 6;
    webp[at..at + 4].copy_from_slice(&[0xff, 0x3f, 0xff, 0x3f]);
    let found = (0x3fff, 0x3fff);
    let expected = PhotoError::SizeMismatch { format: Format::WebP, declared: (64, 48), found };
    assert_eq!(decode(&webp).unwrap_err(), expected);
}

#[test]
fn a_second_frame_header_is_refused() {
    let jpeg = fixture("base.jpg");
    let at = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    let length = usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]])) + 2;
    let twice = [&jpeg[..at], &jpeg[at..at + length], &jpeg[at..]].concat();
    assert!(matches!(decode(&twice).unwrap_err(), PhotoError::Malformed { .. }));
}

/// Every cut of every file is an error that says so, or loses no pixel.
#[test]
fn truncation_at_every_length_is_noticed() {
    for name in ALL {
        let whole = fixture(name);
        let format = Format::sniff(&whole).unwrap();
        let pixels = decode(&whole).unwrap().rgb().clone();
        for length in 1..whole.len() {
            match decode(&whole[..length]) {
                Ok(photo) => assert_eq!(*photo.rgb(), pixels, "{name} cut at {length}"),
                Err(PhotoError::Truncated { received, .. }) => assert_eq!(received, length, "{name}"),
                // The magic bytes themselves are cut.
                Err(PhotoError::NotAnImage { .. }) => assert!(length < 18, "{name} cut at {length}"),
                Err(error) => panic!("{name} cut at {length}, {format}: {error}"),
            }
        }
    }
}

#[test]
fn profiles_of_garbage_never_refuse_the_photo() {
    let whole = fixture("adobe_rgb.jpg");
    let start = whole.windows(12).position(|name| name == b"ICC_PROFILE\0").unwrap() + 14;
    let profile = whole[start..].windows(2).position(|end| end == [0xff, 0xdb]).unwrap();
    for at in start..start + profile {
        for value in [0, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            assert!(decode(&bytes).is_ok(), "byte {} of the profile as {value}", at - start);
        }
    }
}

/// Found by `flipped_bits_never_panic`: the decoder's getters panic on color code points that the standard reserves.
#[test]
fn reserved_color_code_points_are_read_as_unspecified() {
    for bit in 0..8 {
        let mut bytes = fixture("ten_bit.avif");
        // The byte of the sequence header that ends its primaries.
        bytes[291] ^= 1 << bit;
        let answer = decode(&bytes);
        assert!(!matches!(answer, Err(PhotoError::DecoderPanicked { .. })), "bit {bit}: {answer:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), start in 0..ALL.len()) {
        let _ = decode(&bytes);
        let head = fixture(ALL[start]);
        let _ = decode(&[&head[..head.len().min(30)], &bytes].concat());
    }

    /// Flipped bits anywhere: an answer, never a panic of ours, and never a panic of a decoder either.
    #[test]
    fn flipped_bits_never_panic(
        file in 0..ALL.len(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..6),
    ) {
        let mut bytes = fixture(ALL[file]);
        for (at, bit) in flips {
            let length = bytes.len();
            bytes[at.index(length)] ^= 1 << bit;
        }
        let limits = Limits { pixels: 1_000_000, ..Limits::default() };
        if let Err(PhotoError::DecoderPanicked { format }) = Photo::decode(&bytes, &limits) {
            prop_assert!(false, "a decoder of {format} panicked");
        }
    }
}
