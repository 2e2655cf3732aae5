//! What a JPEG costs to decode for the model's input, on one core: `cargo bench --bench decode -- PHOTOS`.
//! All its pixels (zune-jpeg), fewer (ours), and as few by jpeg-decoder, the peer. Without photos named, those of
//! `$VITRINE_PHOTOS/large` (default `../shared/data`). Milliseconds: medians over the photos, of the best of five runs each.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/timing.rs"]
mod timing;

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;
use timing::{best, median};
use vitrine::photo::{Limits, Photo};

/// Side of the model's input.
const SIDE: u32 = 224;

fn by_peer(bytes: &[u8], (width, height): (u32, u32)) -> Vec<u8> {
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    decoder.read_info().unwrap();
    let info = decoder.info().unwrap();
    // Upright; the peer scales what is stored.
    let (width, height) =
        if (info.width > info.height) == (width > height) { (width, height) } else { (height, width) };
    let side = |side: u32| u16::try_from(side).unwrap();
    let scaled = decoder.scale(side(width), side(height)).unwrap();
    assert_eq!(scaled, (side(width), side(height)), "the peer scales otherwise");
    decoder.decode().unwrap()
}

fn main() {
    let named: Vec<PathBuf> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).map(PathBuf::from).collect();
    let files = if named.is_empty() {
        let default = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
        let root = std::env::var_os("VITRINE_PHOTOS").map_or(default, PathBuf::from);
        std::fs::read_dir(root.join("large/images")).expect("photos").map(|e| e.unwrap().path()).collect()
    } else {
        named
    };
    assert!(!files.is_empty(), "no photos");
    let limits = Limits::default();
    let mut times: [Vec<Duration>; 3] = Default::default();
    for bytes in files.iter().map(|file| std::fs::read(file).unwrap()) {
        let (small, took) = best(|| Photo::decode_scaled(&bytes, &limits, SIDE).unwrap());
        times[1].push(took);
        times[0].push(best(|| Photo::decode(&bytes, &limits).unwrap()).1);
        times[2].push(best(|| black_box(by_peer(&bytes, small.rgb().dimensions()))).1);
    }
    let [whole, small, peer] = times.map(|mut times| median(&mut times));
    println!(
        "{} photos: all pixels {whole:.1} ms, fewer {small:.1} ({:.2} of it), jpeg-decoder as few {peer:.1} ({:.2})",
        files.len(),
        small / whole,
        peer / whole
    );
}
