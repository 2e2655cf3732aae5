//! The pictures of `testdata/` against their truth: hostile files, odd files, and rendered products whose mask and
//! colors are known.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use image::{GrayImage, RgbImage};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use vitrine::color::palette;
use vitrine::mask::segment;
use vitrine::photo::{Limits, Photo};

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

fn json<T: DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[derive(Deserialize)]
struct Owed {
    outcome: String,
    reason: String,
}

#[test]
fn hostile_files_get_what_they_are_owed() {
    let dir = testdata().join("broken");
    let expected: BTreeMap<String, Owed> = json(&dir.join("expected.json"));
    assert!(expected.len() >= 100, "{} files", expected.len());
    let mut wrong = Vec::new();
    for (file, owed) in &expected {
        let result = Photo::decode(&fs::read(dir.join(file)).unwrap(), &Limits::default());
        let fits = match owed.outcome.as_str() {
            "rejected" => result.is_err(),
            "accepted" => result.is_ok(),
            "either" => true,
            other => panic!("{file}: unknown outcome {other}"),
        };
        if !fits {
            let got = result.map(|p| format!("{} x {}", p.width(), p.height()));
            wrong.push(format!("{file} ({}): owed {}, got {got:?}", owed.reason, owed.outcome));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The program decodes AV1 in a child of its own; what the child dies of is an error like any other.
#[test]
fn the_program_reads_avif_and_survives_what_a_decoder_does_not() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let analyze = |file: &Path| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_vitrine"));
        command.args(["analyze", "--json", "--models-dir"]).arg(&models).arg(file).output().unwrap()
    };
    let photo = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photo/yuv420.avif");
    let seen = analyze(&photo);
    let text = String::from_utf8(seen.stdout).unwrap();
    assert!(seen.status.success() && text.contains("\"width\":64"), "{text}");
    let refused = analyze(&testdata().join("broken/avif_empty_metadata.avif"));
    let text = String::from_utf8(refused.stderr).unwrap() + &String::from_utf8(refused.stdout).unwrap();
    assert!(text.contains("AVIF is damaged"), "{text}");
    // Straight to the child, past every check of the boxes.
    let child = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_vitrine"));
        command.arg("decode-av1").stdin(std::process::Stdio::piped()).output().unwrap()
    };
    let nothing = child();
    assert!(!nothing.status.success() && nothing.stdout.is_empty());
}

#[derive(Deserialize)]
struct Odd {
    width: u32,
    height: u32,
    points: Vec<Point>,
}

#[derive(Deserialize, Debug)]
struct Point {
    x: u32,
    y: u32,
    rgb: [u8; 3],
    alpha: u8,
    tolerance: u8,
}

#[test]
fn odd_files_give_their_pixels() {
    let dir = testdata().join("odd");
    let expected: BTreeMap<String, Odd> = json(&dir.join("expected.json"));
    assert!(expected.len() >= 40, "{} files", expected.len());
    for (file, odd) in &expected {
        let photo = Photo::decode(&fs::read(dir.join(file)).unwrap(), &Limits::default()).expect(file);
        assert_eq!((photo.width(), photo.height()), (odd.width, odd.height), "{file}");
        for point in &odd.points {
            let rgb = photo.rgb().get_pixel(point.x, point.y).0;
            let alpha = photo.alpha().map_or(255, |a| a.get_pixel(point.x, point.y).0[0]);
            let near = rgb.iter().zip(point.rgb).all(|(a, b)| a.abs_diff(b) <= point.tolerance);
            assert!(near, "{file}: {rgb:?} at {point:?}");
            assert!(alpha.abs_diff(point.alpha) <= point.tolerance, "{file}: alpha {alpha} at {point:?}");
        }
    }
}

#[derive(Deserialize)]
struct Truth {
    colors: Vec<TruthColor>,
    background: TruthBackground,
}

#[derive(Deserialize)]
struct TruthColor {
    name: String,
}

#[derive(Deserialize)]
struct TruthBackground {
    kind: String,
}

/// What class 1, product, looks like in the palette of the indexed masks.
const PRODUCT: [u8; 3] = [255; 3];

/// Intersection over union of the product mask with the truth.
fn overlap(product: &GrayImage, truth: &RgbImage) -> f64 {
    let (mut both, mut either) = (0_u64, 0_u64);
    for (x, y, pixel) in truth.enumerate_pixels() {
        let scaled = |v: u32, from: u32, to: u32| (v * to / from).min(to - 1);
        let (u, v) = (scaled(x, truth.width(), product.width()), scaled(y, truth.height(), product.height()));
        let found = product.get_pixel(u, v).0[0] >= 128;
        let there = pixel.0 == PRODUCT;
        both += u64::from(found && there);
        either += u64::from(found || there);
    }
    both as f64 / either.max(1) as f64
}

#[test]
fn rendered_products_are_cut_out_and_named() {
    let dir = testdata();
    let (mut overlaps, mut named, mut count) = (Vec::new(), 0, 0);
    for entry in fs::read_dir(dir.join("photos")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "json") {
            continue;
        }
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let truth: Truth = json(&path.with_extension("json"));
        let photo = Photo::decode(&fs::read(&path).unwrap(), &Limits::default()).unwrap();
        let masks = segment(&photo, None);
        let colors = palette(&photo, &masks, None);
        let name = serde_json::to_value(colors.dominant[0].name).unwrap();
        let right = truth.colors.iter().any(|c| name == c.name.as_str());
        named += usize::from(right);
        count += 1;
        let mask = image::open(dir.join("masks").join(format!("{stem}.png"))).unwrap().to_rgb8();
        let overlap = overlap(&masks.product, &mask);
        println!("{stem}: {overlap:.2} {} {name} {right}", truth.background.kind);
        overlaps.push(overlap);
    }
    let mean = overlaps.iter().sum::<f64>() / overlaps.len() as f64;
    println!("{count} pictures: overlap {mean:.3} in the mean, {named} named right");
    // Measured: 0.822 and 115 of 120. What is missed is hard on purpose: white on white, beige on skin.
    assert!(mean >= 0.80, "overlap {mean}");
    assert!(named >= 112, "{named} of {count} named right");
}
