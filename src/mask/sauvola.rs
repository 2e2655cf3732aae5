//! Adaptive threshold on the distance-to-background map, for soft edges.
//! Sauvola and Pietikäinen, "Adaptive document image binarization", 2000: `t = m (1 + k (s / R - 1))` over a window;
//! a strong product beside the pixel raises the threshold, a faint one lowers it.

use super::grid::{Integral, Size};

/// Sauvola's k; the paper's 0.5 is for ink on paper, distance maps are smoother.
const K: f32 = 0.2;
/// Half the window, as a share of the longer side.
const WINDOW: f32 = 1.0 / 24.0;

/// Threshold at every pixel marked in `wanted`, 0 elsewhere; never below `floor`. `spread` is of the distance map.
pub(super) fn thresholds(size: Size, spread: &Integral, wanted: &[bool], floor: f32) -> Vec<f32> {
    let radius = ((size.width.max(size.height) as f32 * WINDOW) as usize).max(2);
    let mut local = vec![(0.0, 0.0); size.len()];
    let mut widest = 1.0f32;
    for i in (0..size.len()).filter(|&i| wanted[i]) {
        local[i] = spread.window(i, radius);
        widest = widest.max(local[i].1);
    }
    (0..size.len())
        .map(|i| {
            if !wanted[i] {
                return 0.0;
            }
            let (mean, sd) = local[i];
            (mean * (1.0 + K * (sd / widest - 1.0))).max(floor)
        })
        .collect()
}

/// Share of product in a pixel: 0 at half the threshold, 1 at the threshold and a half, smooth between.
pub(super) fn soft(distance: f32, threshold: f32) -> f32 {
    let t = ((distance / threshold.max(1e-3)) - 0.5).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}
