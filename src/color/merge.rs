//! Clusters to colors a person would count: shades of one material joined, close colors joined, scraps dropped.
//! k-means alone always splits a plain garment into its lit and its shaded side.

use super::bins::Bin;
use super::cluster::Cluster;
use super::lab::{Lab, chroma, ciede2000};

/// Colors nearer than this (CIEDE2000) are one color to a shopper.
const SAME: f32 = 9.0;
/// Share below which a color is a label, a button or an edge's blur.
const SCRAP: f32 = 0.04;
/// Colors in a palette at most.
const MOST: usize = 6;

/// Joins and drops; the rest by weight, heaviest first, 1 to [`MOST`] of them when there are any clusters.
pub(super) fn merge(bins: &[Bin], mut clusters: Vec<Cluster>) -> Vec<Cluster> {
    while let Some((i, j)) = closest(bins, &clusters) {
        let other = clusters.swap_remove(j.max(i));
        let mut members = std::mem::take(&mut clusters[i.min(j)].members);
        members.extend(other.members);
        members.sort_unstable();
        clusters[i.min(j)] = Cluster::of(bins, members);
    }
    clusters.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.members.cmp(&b.members)));
    let total: f32 = clusters.iter().map(|c| c.weight).sum();
    let kept = clusters.iter().take(MOST).filter(|c| c.weight >= SCRAP * total).count();
    clusters.truncate(kept.max(1));
    clusters
}

/// The pair most worth joining, or none.
fn closest(bins: &[Bin], clusters: &[Cluster]) -> Option<(usize, usize)> {
    let mut best: Option<(f32, usize, usize)> = None;
    for j in 1..clusters.len() {
        for i in 0..j {
            let (one, two) = (&clusters[i], &clusters[j]);
            let apart = ciede2000(one.lab, two.lab);
            let limit = if shades(one.lab, two.lab) && ridge(bins, one, two) { 2.6 * SAME } else { SAME };
            let score = apart / limit;
            if score < 1.0 && best.is_none_or(|(least, _, _)| score < least) {
                best = Some((score, i, j));
            }
        }
    }
    best.map(|(_, i, j)| (i, j))
}

/// Could be one material in more and less light: the same hue, or both without one.
fn shades(one: Lab, two: Lab) -> bool {
    let (c1, c2) = (chroma(one), chroma(two));
    let step = (one[0] - two[0]).abs();
    if c1.max(c2) < 7.0 {
        // Black and white stripes are neutral too: only neighbors on the grey scale.
        return step < 24.0;
    }
    if c1.min(c2) < 4.0 {
        return false;
    }
    // Difference in hue seen across the smaller chroma, in units of CIELAB.
    let cos = ((one[1] * two[1] + one[2] * two[2]) / (c1 * c2)).clamp(-1.0, 1.0);
    let across = c1.min(c2) * 2.0 * ((1.0 - cos) / 2.0).sqrt();
    across < 7.0 && step < 38.0
}

/// True when the histogram has mass between two clusters: shading is continuous, a print is not.
fn ridge(bins: &[Bin], one: &Cluster, two: &Cluster) -> bool {
    let along = [0, 1, 2].map(|k| two.lab[k] - one.lab[k]);
    let length: f32 = along.iter().map(|v| v * v).sum::<f32>();
    if length < 1e-3 {
        return true;
    }
    let mut between = 0.0;
    for &m in one.members.iter().chain(&two.members) {
        let from = [0, 1, 2].map(|k| bins[m].lab[k] - one.lab[k]);
        let dot: f32 = (0..3).map(|k| from[k] * along[k]).sum();
        let t = dot / length;
        if (0.35..0.65).contains(&t) {
            between += bins[m].weight;
        }
    }
    between > 0.12 * one.weight.min(two.weight)
}
