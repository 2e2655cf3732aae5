//! Background by flood: from the picture's border only, through pixels of the border's color, stopped by edges.
//! Color alone would eat every part of the product that has the background's color; connection to the border and the
//! edge between keep a white shirt on a white wall.

use super::grid::{Integral, Size, dilate, grow, grow_beyond};
use super::sauvola;

/// Edge strength that stops the flood, over a noiseless background (CIE76 a pixel). Set by eye
/// on white shirts on white; weaker contours leak.
const EDGE: f32 = 1.6;

/// How far from the background's surface a pixel may lie and still be flooded.
pub(super) fn reach(noise: f32) -> f32 {
    (2.5 * noise + 2.0).clamp(2.5, 12.0)
}

/// Pixels reached from the border: `distance` within `reach(noise)`, no edge; (height, width).
/// With `close` the edges are thickened by a pixel first, so that one-pixel gaps do not leak.
pub(super) fn background(size: Size, distance: &[f32], gradient: &[f32], noise: f32, close: bool) -> Vec<bool> {
    let reach = reach(noise);
    let limit = EDGE + 2.0 * noise;
    let mut edge: Vec<bool> = gradient.iter().map(|g| *g > limit).collect();
    if close {
        edge = dilate(size, &edge, 1);
    }
    let open: Vec<bool> = distance.iter().zip(&edge).map(|(d, edge)| *d <= reach && !edge).collect();
    grow(size, size.border().filter(|&i| open[i]), |i| open[i])
}

/// Pixels beside the background that the thickened edges and JPEG ringing kept from the flood join it, by the adaptive
/// threshold: beside a dark product a pixel counts as background that beside a white one would not. Edges still stop,
/// except where the step is into ringing. Grows up to `steps` pixels. `spread` is of `distance`.
pub(super) fn creep(
    size: Size,
    background: &mut [bool],
    distance: &[f32],
    spread: &Integral,
    noise: f32,
    steps: usize,
) {
    let near = dilate(size, background, steps);
    let wanted: Vec<bool> = near.iter().zip(background.iter()).map(|(n, b)| *n && !*b).collect();
    let thresholds = sauvola::thresholds(size, spread, &wanted, reach(noise));
    let grown = grow_beyond(size, background, |i| wanted[i] && distance[i] < 0.5 * thresholds[i]);
    background.copy_from_slice(&grown);
}
