//! The scaled decoder held to the whole one, and to hostile bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::scaled;
use crate::photo::{Limits, Photo, PixelBox};
use image::RgbImage;
use proptest::prelude::*;
use std::path::Path;

/// Drawn by `tests/data/photo/scaled/make.py`.
const USUAL: [&str; 11] = [
    "420",
    "420_progressive",
    "422",
    "422_progressive",
    "440",
    "444",
    "444_progressive",
    "deep",
    "gray",
    "gray_progressive",
    "restarts",
];
const SIZE: (u32, u32) = (205, 157);

fn file(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photo");
    std::fs::read(folder.join(name)).expect(name)
}

fn drawn(name: &str) -> Vec<u8> {
    file(&format!("scaled/{name}.jpg"))
}

/// The lowest `n` x `n` frequencies of an 8 x 8 block of a channel (T.81, A.3.3), as `n` x `n` samples.
fn lowest(block: &[[f64; 8]; 8], n: usize) -> Vec<f64> {
    let cosine = |frequency: usize, at: usize, of: usize| {
        let factor = if frequency == 0 { 0.5_f64.sqrt() } else { 1.0 };
        factor / 2.0 * ((2 * at + 1) as f64 * frequency as f64 * std::f64::consts::PI / (2 * of) as f64).cos()
    };
    let mut samples = vec![0.0; n * n];
    for (v, u) in (0..n * n).map(|i| (i / n, i % n)) {
        let cells = (0..64).map(|i| (i / 8, i % 8));
        let frequency: f64 = cells.map(|(y, x)| block[y][x] * cosine(u, x, 8) * cosine(v, y, 8)).sum();
        for (i, sample) in samples.iter_mut().enumerate() {
            *sample += frequency * cosine(u, i % n, n) * cosine(v, i / n, n);
        }
    }
    samples
}

/// Root of the mean square of `small` less the same made of the pixels of `whole`, over the blocks that are whole.
fn off(whole: &RgbImage, small: &scaled::Scaled, n: usize) -> f64 {
    let channels = if small.is_gray { 1 } else { 3 };
    let mut squares = Vec::new();
    for (top, left) in (0..SIZE.1 / 8).flat_map(|y| (0..SIZE.0 / 8).map(move |x| (y, x))) {
        for channel in 0..channels {
            let at = |y, x| f64::from(whole.get_pixel(left * 8 + x as u32, top * 8 + y as u32)[channel]);
            let block = std::array::from_fn(|y| std::array::from_fn(|x| at(y, x)));
            for (i, expected) in lowest(&block, n).into_iter().enumerate() {
                let (y, x) = (top as usize * n + i / n, left as usize * n + i % n);
                let found = small.samples[(y * small.width as usize + x) * channels + channel];
                squares.push((f64::from(found) - expected.clamp(0.0, 255.0)).powi(2));
            }
        }
    }
    (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
}

/// Mean difference of the last row and column of `small` from the means of those pixels of `whole` that they show.
fn off_at_edges(whole: &RgbImage, small: &scaled::Scaled, n: usize) -> f64 {
    let channels = if small.is_gray { 1 } else { 3 };
    let side = 8 / n as u32;
    let (last_x, last_y) = (small.width - 1, small.height - 1);
    let places = (0..small.height).map(|y| (last_x, y)).chain((0..last_x).map(|x| (x, last_y)));
    let mut differences = Vec::new();
    for (x, y) in places {
        for channel in 0..channels {
            let across = x * side..SIZE.0.min((x + 1) * side);
            let shown: Vec<f64> = (y * side..SIZE.1.min((y + 1) * side))
                .flat_map(|v| across.clone().map(move |u| f64::from(whole.get_pixel(u, v)[channel])))
                .collect();
            let found = small.samples[(y * small.width + x) as usize * channels + channel];
            differences.push((f64::from(found) - shown.iter().sum::<f64>() / shown.len() as f64).abs());
        }
    }
    differences.iter().sum::<f64>() / differences.len() as f64
}

#[test]
fn smaller_pictures_are_the_low_frequencies_of_the_whole_one() {
    for name in USUAL {
        let bytes = drawn(name);
        let whole = Photo::decode(&bytes, &Limits::default()).unwrap();
        for n in [4, 2, 1] {
            let small = scaled::decode(&bytes, SIZE, n).unwrap_or_else(|| panic!("{name} at {n} of 8"));
            let sides = [SIZE.0, SIZE.1].map(|side| (side * n as u32).div_ceil(8));
            assert_eq!([small.width, small.height], sides, "{name}");
            assert_eq!(small.is_gray, name.starts_with("gray"), "{name}");
            let off = off(whole.rgb(), &small, n);
            // The whole decoder clamps each pixel; and where color is halved, it smooths it across blocks.
            let tolerance = if small.is_gray || name.starts_with("444") { 1.5 } else { 2.0 };
            assert!(off < tolerance, "{name} at {n} of 8: off by {off:.2} of 255");
            let edge = off_at_edges(whole.rgb(), &small, n);
            assert!(edge < 12.0, "{name} at {n} of 8: off by {edge:.2} of 255 at its edges");
        }
    }
}

#[test]
fn a_photo_keeps_its_size_and_stands_upright() {
    let bytes = drawn("420_progressive");
    for tag in 1..=8 {
        let turned = crate::photo::tests::made::with_orientation(&bytes, tag);
        let [whole, small] =
            [u32::MAX, 39].map(|side| Photo::decode_scaled(&turned, &Limits::default(), side).unwrap());
        assert_eq!((small.width(), small.height()), (whole.width(), whole.height()), "tag {tag}");
        let held = small.rgb().dimensions();
        assert_eq!(held, if tag < 5 { (103, 79) } else { (79, 103) }, "tag {tag}");
        assert_eq!(small.sha256(), whole.sha256());
        // The green rectangle, as it lies in the whole photo.
        let is_green = |p: &image::Rgb<u8>| p[1] > p[0].saturating_add(40) && p[1] > p[2].saturating_add(20);
        let greens = whole.rgb().enumerate_pixels().filter(|(_, _, p)| is_green(p)).map(|(x, y, _)| (x, y));
        let (x1, y1) = greens.clone().fold(SIZE, |least, at| (least.0.min(at.0), least.1.min(at.1)));
        let (x2, y2) = greens.fold((0, 0), |most, at| (most.0.max(at.0 + 1), most.1.max(at.1 + 1)));
        let part = small.crop(PixelBox { x1, y1, x2, y2 }).unwrap();
        assert_eq!((part.width(), part.height()), (x2 - x1, y2 - y1), "tag {tag}");
        let green = part.rgb().pixels().filter(|p| is_green(p)).count();
        assert!(green * 10 > part.rgb().pixels().len() * 9, "tag {tag}: {green} pixels");
    }
}

#[test]
fn sides_stay_twice_as_long_as_needed() {
    for (short_side, side, eighths) in
        [(447, 224, 8), (895, 224, 8), (896, 224, 4), (1080, 224, 4), (1792, 224, 2), (3584, 224, 1), (65_535, 224, 1)]
    {
        assert_eq!(scaled::eighths(short_side, side), eighths, "{short_side} for {side}");
    }
    assert_eq!((scaled::eighths(u32::MAX, u32::MAX), scaled::eighths(300, 0)), (8, 1));
}

#[test]
fn what_is_rare_is_left_to_the_whole_decoder() {
    for (name, size) in [
        ("scaled/arithmetic.jpg", SIZE),
        ("scaled/third.jpg", SIZE),
        ("cmyk.jpg", (64, 48)),
        ("ycck.jpg", (64, 48)),
        ("scaled/420.jpg", (SIZE.0 + 1, SIZE.1)),
    ] {
        assert!(scaled::decode(&file(name), size, 4).is_none(), "{name}");
    }
}

/// Adobe's marker with transform 0, and identifiers that do not say RGB: as Photoshop writes it.
#[test]
fn rgb_without_a_transform_is_no_ink() {
    let whole = Photo::decode(&drawn("rgb"), &Limits::default()).unwrap();
    let small = Photo::decode_scaled(&drawn("rgb"), &Limits::default(), 39).unwrap();
    assert_eq!(small.rgb(), whole.rgb(), "only YCbCr is decoded smaller");
    let off = whole.rgb().get_pixel(170, 45).0.iter().zip([20_u8, 110, 60]).map(|(a, b)| a.abs_diff(b)).max();
    assert!(off < Some(6), "{:?}", whole.rgb().get_pixel(170, 45));
}

/// What zune-jpeg refuses is no smaller picture either.
#[test]
fn tables_that_no_encoder_writes_are_left_to_the_whole_decoder() {
    let bytes = drawn("420_progressive");
    let second = bytes.windows(2).enumerate().filter(|(_, pair)| *pair == [0xff, 0xda]).nth(1).unwrap().0;
    let with = |segment: &[u8]| [&bytes[..second], segment, &bytes[second..]].concat();
    assert!(scaled::decode(&with(&[]), SIZE, 4).is_some());
    for (what, segment) in [
        ("a class of tables", &[0xff, 0xc4, 0, 19, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..]),
        ("a size of a mean", &[0xff, 0xc4, 0, 20, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 99]),
        ("a segment between scans", &[0xff, 0xe3, 0, 4, 1, 2]),
        ("a table of steps between scans", &[0xff, 0xdb, 0, 2]),
    ] {
        assert!(scaled::decode(&with(segment), SIZE, 4).is_none(), "{what}");
    }
    let empty = [0xff, 0xc4, 0, 19, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert!(scaled::decode(&with(&empty.repeat(100)), SIZE, 4).is_some());
    assert!(scaled::decode(&with(&empty.repeat(300)), SIZE, 4).is_none(), "300 tables");
    let data = second + 2 + usize::from(bytes[second + 3]);
    let cut = [&bytes[..data], &[0xff, 0xd0].repeat(2000), &bytes[data..]].concat();
    assert!(scaled::decode(&cut, SIZE, 4).is_none(), "segments without an interval");
}

/// A file cut in any of its scans, and ended there.
#[test]
fn what_is_cut_is_no_smaller_picture() {
    for name in USUAL {
        let bytes = drawn(name);
        let first = bytes.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap() + 20;
        for cut in (first..bytes.len() - 20).step_by(97) {
            let ended = [&bytes[..cut], &[0xff, 0xd9]].concat();
            // Between two scans a progressive file may end: what is not told yet is zero.
            let is_between = (cut - 1..=cut).any(|at| matches!(bytes[at..at + 2], [0xff, 0xda | 0xc4]));
            assert!(is_between || scaled::decode(&ended, SIZE, 4).is_none(), "{name} cut at {cut}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Flipped bits anywhere: never a panic, and what the whole decoder takes or refuses is taken or refused.
    #[test]
    fn flipped_bits_are_answered_as_by_the_whole_decoder(
        name in 0..USUAL.len(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..6),
        eighths in prop_oneof![Just(4_usize), Just(2), Just(1)],
    ) {
        let mut bytes = drawn(USUAL[name]);
        for (at, bit) in flips {
            let length = bytes.len();
            bytes[at.index(length)] ^= 1 << bit;
        }
        let _ = scaled::decode(&bytes, SIZE, eighths);
        let limits = Limits { pixels: 1_000_000, ..Limits::default() };
        let [whole, small] = [u32::MAX, 8 * 8 / eighths as u32].map(|side| Photo::decode_scaled(&bytes, &limits, side));
        match (whole, small) {
            (Err(whole), Err(small)) => prop_assert_eq!(whole, small),
            (Ok(whole), Ok(small)) => prop_assert_eq!((whole.width(), whole.height()), (small.width(), small.height())),
            (Err(whole), Ok(_)) => prop_assert!(false, "only the whole is refused: {}", whole),
            (Ok(_), Err(small)) => prop_assert!(false, "only the smaller is refused: {}", small),
        }
    }

    #[test]
    fn scans_of_noise_are_no_picture_and_no_panic(noise in prop::collection::vec(any::<u8>(), 0..3000), name in 0..USUAL.len()) {
        let bytes = drawn(USUAL[name]);
        let first = bytes.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap() + 14;
        let _ = scaled::decode(&[&bytes[..first], &noise, &[0xff, 0xd9]].concat(), SIZE, 4);
    }
}
