//! How good the embeddings are: is what is near of the same kind, and does a changed photo find itself.

use super::look::in_parallel;
use super::metrics::{mean, precision_at};
use crate::analyzer::Analyzer;
use crate::cli::joint;
use crate::model::{Embedding, ModelError};
use crate::photo::{Limits, Photo, PhotoError};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{crop_imm, flip_horizontal};
use image::{ImageError, RgbImage};
use serde::Serialize;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;

/// As many neighbours as the goal names.
const K: usize = 10;
/// Quality of photos that are saved again, and of those that are compressed hard.
const SAVED: u8 = 92;
const COMPRESSED: u8 = 40;
/// Factor on sRGB values, clipped at white: about half a stop.
const BRIGHTER: f32 = 1.25;
/// What is cut off the left, upper, right and lower edge: 19 % of the area, not in the middle.
const CUT: [f64; 4] = [0.07, 0.03, 0.03, 0.07];

/// A photo that can be found.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    pub(super) sha256: &'a str,
    pub(super) label: usize,
    pub(super) embedding: &'a Embedding,
}

/// How many of the nearest are of the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct SameKind {
    /// Photos that were looked for, each among all others with a label.
    pub(super) queries: usize,
    /// Mean precision of the first 10; the same bytes under another name are no neighbour.
    pub(super) precision_at_10: Option<f64>,
}

/// Precision of the first 10 by label, exact search.
pub(super) fn same_kind(items: &[Item<'_>], threads: usize) -> SameKind {
    let precision = |query: &Item<'_>| -> Result<Option<f64>, Infallible> {
        let others = items.iter().filter(|i| i.sha256 != query.sha256);
        let mut scored: Vec<(f32, usize)> = others.map(|i| (dot(query.embedding, i.embedding), i.label)).collect();
        // Equal scores by label, so that the order of the file does not matter.
        scored.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let ranked: Vec<usize> = scored.iter().take(K).map(|(_, label)| *label).collect();
        Ok(precision_at(K, query.label, &ranked))
    };
    let Ok(found) = in_parallel(items, threads, precision);
    SameKind { queries: items.len(), precision_at_10: mean(found.into_iter().flatten()) }
}

/// How often a changed photo finds itself first.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Itself {
    /// Photos that were changed.
    pub(super) photos: usize,
    /// Photos it was looked for among.
    pub(super) gallery: usize,
    /// Recall of the first place by change; `all` is every change at once.
    pub(super) recall_at_1: BTreeMap<&'static str, f64>,
}

/// Why a changed photo could not be looked at.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChangeError {
    #[error(transparent)]
    Photo(#[from] PhotoError),
    #[error(transparent)]
    Encode(#[from] ImageError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error("{0}")]
    Read(String),
}

/// Changes up to `most` photos, evenly spread over `photos` (path and place in `gallery`), and looks for them among all.
pub(super) fn itself(
    analyzer: &Analyzer,
    photos: &[(&Path, usize)],
    gallery: &[&Embedding],
    limits: &Limits,
    (threads, most): (usize, usize),
) -> Result<Itself, ChangeError> {
    let step = photos.len().div_ceil(most.max(1)).max(1);
    let chosen: Vec<_> = photos.iter().step_by(step).copied().collect();
    let found = in_parallel(&chosen, threads, |(path, place)| {
        // All of its pixels: what is changed is the photo, not what the model is shown of it.
        let bytes = joint::read_bytes(path, limits.body_bytes).map_err(|(_, detail)| ChangeError::Read(detail))?;
        changed(Photo::decode(&bytes, limits)?.rgb())?
            .into_iter()
            .map(|(name, bytes)| {
                let prediction = analyzer.predict(&analyzer.decode(&bytes, None, limits)?)?;
                Ok((name, is_first(&prediction.embedding, *place, gallery)))
            })
            .collect::<Result<Vec<_>, ChangeError>>()
    })?;
    let mut hits: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for (name, hit) in found.into_iter().flatten() {
        hits.entry(name).or_default().push(f64::from(u8::from(hit)));
    }
    let recall_at_1 = hits.into_iter().filter_map(|(name, hits)| Some((name, mean(hits)?))).collect();
    Ok(Itself { photos: chosen.len(), gallery: gallery.len(), recall_at_1 })
}

/// Whether nothing in `gallery` is nearer than what stands at `place`; the same photo twice is no competitor.
fn is_first(query: &Embedding, place: usize, gallery: &[&Embedding]) -> bool {
    let own = dot(query, gallery[place]);
    gallery.iter().all(|other| dot(query, other) <= own)
}

/// The photo changed in each way, as files.
fn changed(rgb: &RgbImage) -> Result<Vec<(&'static str, Vec<u8>)>, ImageError> {
    let (cut, flipped, brighter) = (recropped(rgb), flip_horizontal(rgb), brightened(rgb));
    let all = brightened(&flip_horizontal(&cut));
    let files = [
        ("recropped", &cut, SAVED),
        ("flipped", &flipped, SAVED),
        ("recompressed", rgb, COMPRESSED),
        ("brightened", &brighter, SAVED),
        ("all", &all, COMPRESSED),
    ];
    files.into_iter().map(|(name, rgb, quality)| Ok((name, jpeg(rgb, quality)?))).collect()
}

fn recropped(rgb: &RgbImage) -> RgbImage {
    let (width, height) = (f64::from(rgb.width()), f64::from(rgb.height()));
    let [left, upper, right, lower] = CUT;
    let px = |length: f64| length.round() as u32;
    let (x, y) = (px(width * left), px(height * upper));
    let (w, h) = (px(width * (1.0 - left - right)), px(height * (1.0 - upper - lower)));
    crop_imm(rgb, x, y, w.max(1), h.max(1)).to_image()
}

fn brightened(rgb: &RgbImage) -> RgbImage {
    let mut bright = rgb.clone();
    for value in bright.iter_mut() {
        // A float to u8 cast saturates: white stays white.
        *value = (f32::from(*value) * BRIGHTER).round() as u8;
    }
    bright
}

/// The photo as a JPEG file.
pub(super) fn jpeg(rgb: &RgbImage, quality: u8) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    rgb.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, quality))?;
    Ok(bytes)
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_the_same_kind_are_counted_without_the_photo_itself() {
        let vectors: Vec<Embedding> = vec![vec![1.0, 0.0], vec![0.9, 0.1], vec![0.0, 1.0], vec![1.0, 0.0]];
        let item = |n: usize, sha256, label| Item { sha256, label, embedding: &vectors[n] };
        // The last has the bytes of the first: neither is a neighbour of the other.
        let items = [item(0, "a", 7), item(1, "b", 7), item(2, "c", 8), item(3, "a", 7)];
        let found = same_kind(&items, 2);
        // a: b, c: 1/2, twice. b: a, a, c: 2/3. c: b, a, a: 0.
        assert_eq!(found.queries, 4);
        assert!((found.precision_at_10.unwrap_or(0.0) - (0.5 + 2.0 / 3.0 + 0.0 + 0.5) / 4.0).abs() < 1e-12);
    }

    #[test]
    fn changes_are_changes() {
        let rgb = RgbImage::from_fn(100, 200, |x, y| image::Rgb([x as u8, y as u8, 250]));
        let cut = recropped(&rgb);
        assert_eq!((cut.dimensions(), cut.get_pixel(0, 0).0), ((90, 180), [7, 6, 250]));
        assert_eq!(brightened(&rgb).get_pixel(10, 100).0, [13, 125, 255]);
        let names: Vec<_> = changed(&rgb).map(|c| c.into_iter().map(|(n, _)| n).collect()).unwrap_or_default();
        assert_eq!(names, ["recropped", "flipped", "recompressed", "brightened", "all"]);
    }

    #[test]
    fn first_is_first_also_beside_a_twin() {
        let (a, b): (Embedding, Embedding) = (vec![1.0, 0.0], vec![0.0, 1.0]);
        let gallery = [&a, &b, &a];
        assert!(is_first(&vec![0.9, 0.1], 0, &gallery) && is_first(&vec![0.9, 0.1], 2, &gallery));
        assert!(!is_first(&vec![0.9, 0.1], 1, &gallery));
    }
}
