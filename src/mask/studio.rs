//! Studio walls: what is not reached from the border over the border's color is product.

use super::border::{self, Border};
use super::grid::{self, Integral, Size};
use super::regions::Regions;
use super::steps::{self, Steps};
use super::working::Working;
use super::{BackgroundKind, Cut, Flag, cleanup, flood, sauvola, scene};

/// Studio backgrounds; `None` where the border is no smooth surface.
pub(super) fn cut(
    working: &Working,
    size: Size,
    border: &Border,
    gradient: &[f32],
    regions: Option<&Regions>,
    mut steps: Option<&mut Steps>,
) -> Option<Cut> {
    // A flat surface may show little of itself between the edges of a close crop; a noisy one must dominate.
    let clear = border.share > 0.25 && border.noise < 1.5;
    // Stripes of a fabric are flat, too, but then the middle has the border's colors.
    let fabric = border.share < 0.7 && scene::fabric(working, size);
    if fabric || border.planes.is_empty() || !(clear || (border.share > 0.55 && border.noise < 5.0)) {
        return None;
    }
    let distance = border::distance(working, size, border);
    let mut background = flood::background(size, &distance, gradient, border.noise, true);
    let spread = Integral::new(size, &distance);
    flood::creep(size, &mut background, &distance, &spread, border.noise, 5);
    let surface = |i| border.nearest(working, size, i);
    let shadow = cleanup::shadow(working, size, &background, surface, gradient);
    if let Some(steps) = steps.as_deref_mut() {
        steps.distance = steps::values(size, distance.iter().copied(), 5.0);
        steps.flood = steps::marks(size, &background);
        steps.shadow = steps::marks(size, &shadow);
    }
    for (b, s) in background.iter_mut().zip(&shadow) {
        *b |= s;
    }
    let reached = steps.is_some().then(|| background.clone());
    if let Some(regions) = regions
        && regions.covers(&background) > BLIND
    {
        reconsider(size, &mut background, &regions.background);
    }
    let seen = regions.map(|regions| &regions.background[..]);
    // Before holes are opened: those of a belt are narrower than a cell of the map, which cannot agree with them.
    let agreement = regions.map(|regions| regions.agreement(&background));
    cleanup::open_holes(size, &mut background, &distance, gradient, border.noise, seen);
    if let (Some(steps), Some(reached)) = (steps, reached) {
        steps.mended = steps::changes(size, &reached, &background);
    }
    let mut product: Vec<bool> = background.iter().map(|b| !b).collect();
    cleanup::drop_specks(size, &mut product, 0.02);
    let soft = soften(size, &product, &distance, &spread, border.noise);
    let mut cut = judge(size, border, soft, &distance);
    if let Some(agreement) = agreement {
        cut.confidence *= agreement.max(0.4);
    }
    Some(cut)
}

/// A map that sees less than this of what the flood left has seen nothing, or something else.
const BLIND: f32 = 0.3;

/// Where the map is sure of the opposite, the flood was wrong: leaks into a pale product are mended, holes and shadows that
/// it did not reach are opened. Seeds are what the map is sure of; from them both grow to where it would still say so.
/// On 400 drawn pictures the 5th percentile of the IoU of clothing and goods rose from 0.816 to 0.926, its median from 0.973
/// to 0.985.
fn reconsider(size: Size, background: &mut [bool], seen: &[f32]) {
    const LEAK: [f32; 2] = [0.15, 0.5];
    const HOLE: [f32; 2] = [0.9, 0.7];
    let leaks = (0..size.len()).filter(|&i| background[i] && seen[i] < LEAK[0]);
    let leak = grid::grow(size, leaks, |i| background[i] && seen[i] < LEAK[1]);
    let holes = (0..size.len()).filter(|&i| !background[i] && seen[i] > HOLE[0]);
    let hole = grid::grow(size, holes, |i| !background[i] && seen[i] > HOLE[1]);
    for (i, slot) in background.iter_mut().enumerate() {
        *slot = (*slot && !leak[i]) || hole[i];
    }
}

/// Soft edges: pixels near the outline get a share by the adaptive threshold, the inside stays whole.
fn soften(size: Size, product: &[bool], distance: &[f32], spread: &Integral, noise: f32) -> Vec<f32> {
    let outside: Vec<bool> = product.iter().map(|p| !p).collect();
    // Closed edges keep the flood up to three pixels away from the product.
    let band: Vec<bool> =
        grid::dilate(size, &outside, 3).iter().zip(product).map(|(near, inside)| *near && *inside).collect();
    let thresholds = sauvola::thresholds(size, spread, &band, flood::reach(noise));
    (0..size.len())
        .map(|i| match (product[i], band[i]) {
            (false, _) => 0.0,
            (true, false) => 1.0,
            (true, true) => sauvola::soft(distance[i], thresholds[i]),
        })
        .collect()
}

/// Kind, confidence and flags of a studio cut.
fn judge(size: Size, border: &Border, product: Vec<f32>, distance: &[f32]) -> Cut {
    let slope = border.planes.iter().map(border::Plane::slope).fold(0.0, f32::max);
    let kind = if slope > 6.0 || border.planes.len() > 1 { BackgroundKind::Gradient } else { BackgroundKind::Plain };
    let (mut area, mut contrast) = (0.0f32, 0.0f32);
    for (p, d) in product.iter().zip(distance) {
        area += p;
        contrast += p * d.min(50.0);
    }
    contrast /= area.max(1.0);
    let mut flags = Vec::new();
    // About what white shirts on white keep of a distance to it.
    if contrast < 8.0 {
        flags.push(Flag::LowContrast);
    }
    let fill = area / size.len() as f32;
    let mut confidence = 0.97 * (0.5 + 0.5 * border.share);
    confidence *= (1.0 - border.noise / 12.0).clamp(0.3, 1.0);
    confidence *= (0.4 + contrast / 20.0).min(1.0);
    // Next to nothing found, or nearly everything: less sure.
    confidence *= (fill / 0.03).clamp(0.3, 1.0) * ((1.0 - fill) / 0.1).clamp(0.4, 1.0);
    Cut { product, kind, confidence, flags }
}
