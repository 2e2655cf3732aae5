//! Pictures whose border is no studio wall: streets, rooms, textured floors, fabric.
//! Without a region map: color statistics of border against center and a center prior; a guess, no more.

use super::border::{in_ring, unit};
use super::grid::{Integral, Size};
use super::working::Working;
use image::GrayImage;
use imageproc::contrast::otsu_level;

/// Cells a side of the color statistics: L by 10, a and b by 12 units.
const CELLS: [usize; 3] = [10, 14, 14];

fn cell(lab: [f32; 3]) -> usize {
    let l = ((lab[0] / 10.0) as usize).min(CELLS[0] - 1);
    let to = |v: f32, n: usize| (((v + 84.0) / 12.0).max(0.0) as usize).min(n - 1);
    (l * CELLS[1] + to(lab[1], CELLS[1])) * CELLS[2] + to(lab[2], CELLS[2])
}

/// Weight of the center prior: a Gaussian over the picture, set by eye on street photos. People stand upright, so it is
/// narrower across.
fn center(x: f32, y: f32) -> f32 {
    (-0.5 * ((x / 0.40).powi(2) + ((y - 0.05) / 0.62).powi(2))).exp()
}

/// Color histograms of the border ring and of the center, each summing to 1.
fn histograms(picture: &Working, size: Size) -> (Vec<f32>, Vec<f32>) {
    let cells = CELLS.iter().product();
    let (mut ring, mut inner) = (vec![0.0f32; cells], vec![0.0f32; cells]);
    for i in 0..size.len() {
        let (x, y) = unit(size, i);
        let c = cell(picture.lab[i]);
        if in_ring(size, i) || x.abs() > 0.86 || y < -0.9 {
            ring[c] += 1.0;
        }
        inner[c] += center(x, y).powi(2);
    }
    for histogram in [&mut ring, &mut inner] {
        let sum: f32 = histogram.iter().sum::<f32>().max(1e-6);
        histogram.iter_mut().for_each(|v| *v /= sum);
    }
    (ring, inner)
}

/// True when each ninth of the picture has about the colors of the whole: fabric that fills it.
/// Overlap of color histograms, mean and least of the nine; on real photos these limits hold for 71 % of 371 fabric
/// close-ups (the rest become scenes or plain pictures) and 3 % of street photos. Border against middle alone was
/// tried first: people before a wall of their clothes' color passed for fabric.
pub(super) fn fabric(picture: &Working, size: Size) -> bool {
    const MEAN: f32 = 0.60;
    const LEAST: f32 = 0.38;
    let cells = CELLS.iter().product();
    let (mut whole, mut parts) = (vec![0.0f32; cells], vec![vec![0.0f32; cells]; 9]);
    let mut counts = [0.0f32; 9];
    for i in 0..size.len() {
        let (x, y) = size.xy(i);
        let part = y * 3 / size.height * 3 + x * 3 / size.width;
        let c = cell(picture.lab[i]);
        whole[c] += 1.0 / size.len() as f32;
        parts[part][c] += 1.0;
        counts[part] += 1.0;
    }
    let mut overlaps = Vec::with_capacity(9);
    for (part, n) in parts.iter().zip(counts) {
        // Pictures narrower than three pixels lack some of the nine.
        if n > 0.0 {
            overlaps.push(part.iter().zip(&whole).map(|(p, w)| (p / n).min(*w)).sum::<f32>());
        }
    }
    let mean = overlaps.iter().sum::<f32>() / overlaps.len().max(1) as f32;
    mean > MEAN && overlaps.iter().all(|o| *o > LEAST)
}

/// Probability of product at each pixel, (height, width).
pub(super) fn product(picture: &Working, size: Size) -> Vec<f32> {
    let (ring, inner) = histograms(picture, size);
    let raw: Vec<f32> = (0..size.len())
        .map(|i| {
            let c = cell(picture.lab[i]);
            let likelihood = (inner[c] + 1e-4) / (inner[c] + ring[c] + 2e-4);
            let (x, y) = unit(size, i);
            likelihood * center(x, y)
        })
        .collect();
    // A region is product, not a pixel: average over 3 % of the picture.
    let integral = Integral::new(size, &raw);
    let radius = (size.width.min(size.height) / 32).max(1);
    let smooth: Vec<f32> = (0..size.len()).map(|i| integral.window(i, radius).0).collect();
    let threshold = otsu(size, &smooth);
    smooth.iter().map(|p| (0.5 + 4.0 * (p - threshold)).clamp(0.0, 1.0)).collect()
}

/// Otsu's threshold ("A threshold selection method from gray-level histograms", 1979) over values from 0 to 1.
fn otsu(size: Size, values: &[f32]) -> f32 {
    let bytes = values.iter().map(|v| (v * 255.0).round() as u8).collect();
    let plane = GrayImage::from_raw(size.width as u32, size.height as u32, bytes).unwrap_or_default();
    // The level is the last of the lower class; the threshold lies above it.
    (f32::from(otsu_level(&plane)) + 0.5) / 255.0
}
