//! Pictures whose border is no studio wall: streets, rooms, textured floors, fabric.
//! Color statistics of border against center, a center prior and the model's region map; an honest guess, no more.

use super::border::{in_ring, unit};
use super::grid::{Integral, Size};
use super::working::Working;

/// Cells a side of the color statistics: L by 10, a and b by 12 units.
const CELLS: [usize; 3] = [10, 14, 14];

fn cell(lab: [f32; 3]) -> usize {
    let l = ((lab[0] / 10.0) as usize).min(CELLS[0] - 1);
    let to = |v: f32, n: usize| (((v + 84.0) / 12.0).max(0.0) as usize).min(n - 1);
    (l * CELLS[1] + to(lab[1], CELLS[1])) * CELLS[2] + to(lab[2], CELLS[2])
}

/// Weight of the center prior: a Gaussian over the picture. People stand upright, so it is narrower across.
/// Sigma fits the product masks of 100 street photos (mean width 0.33 and height 0.6 of the picture).
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

/// Share of colors that border and center have in common, 0 to 1: near 1 for fabric that fills the picture.
pub(super) fn overlap(picture: &Working, size: Size) -> f32 {
    let (ring, inner) = histograms(picture, size);
    ring.iter().zip(&inner).map(|(r, i)| r.min(*i)).sum()
}

/// Probability of product at each pixel, (height, width).
pub(super) fn product(picture: &Working, size: Size, prior: Option<&[f32]>) -> Vec<f32> {
    let (ring, inner) = histograms(picture, size);
    let raw: Vec<f32> = (0..size.len())
        .map(|i| {
            let c = cell(picture.lab[i]);
            let likelihood = (inner[c] + 1e-4) / (inner[c] + ring[c] + 2e-4);
            let (x, y) = unit(size, i);
            let place = match prior {
                // The map has seen shapes; half the center prior is left in for maps that are flat.
                Some(map) => map[i] * (0.5 + 0.5 * center(x, y)),
                None => center(x, y),
            };
            likelihood * place
        })
        .collect();
    // A region is product, not a pixel: average over 3 % of the picture.
    let integral = Integral::new(size, &raw);
    let radius = (size.width.min(size.height) / 32).max(1);
    let smooth: Vec<f32> = (0..size.len())
        .map(|i| integral.window(i, radius).0)
        .collect();
    let threshold = otsu(&smooth);
    smooth
        .iter()
        .map(|p| (0.5 + 4.0 * (p - threshold)).clamp(0.0, 1.0))
        .collect()
}

/// Otsu's threshold ("A threshold selection method from gray-level histograms", 1979) over values from 0 to 1.
fn otsu(values: &[f32]) -> f32 {
    const BINS: usize = 64;
    let mut counts = [0.0f64; BINS];
    for v in values {
        counts[((v * BINS as f32) as usize).min(BINS - 1)] += 1.0;
    }
    let total: f64 = counts.iter().sum();
    let sum: f64 = counts.iter().enumerate().map(|(i, c)| i as f64 * c).sum();
    let (mut below, mut below_sum, mut best, mut at) = (0.0, 0.0, -1.0, 0);
    for (i, count) in counts.iter().enumerate().take(BINS - 1) {
        below += count;
        below_sum += i as f64 * count;
        let above = total - below;
        if below == 0.0 || above == 0.0 {
            continue;
        }
        let gap = below_sum / below - (sum - below_sum) / above;
        let between = below * above * gap * gap;
        if between > best {
            best = between;
            at = i;
        }
    }
    (at + 1) as f32 / BINS as f32
}
