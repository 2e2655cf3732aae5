//! Clusters to colors a person would count: shades of one material joined, close colors joined, scraps dropped.
//! k-means alone always splits a plain garment into its lit and its shaded side.

use super::bins::Bin;
use super::cluster::Cluster;
use super::lab::{Lab, chroma, ciede2000};
use palette::white_point::D65;
use palette::{FromColor, LinSrgb};

/// Colors nearer than this (CIEDE2000) are one color to a shopper.
const SAME: f32 = 9.0;
/// Share below which a color is a label, a button or an edge's blur.
const SCRAP: f32 = 0.04;
/// How near a mixture comes to what mixing its colors in linear light gives (CIEDE2000).
const MIXED: f32 = 6.0;
/// Share below which a mixture may be of any ratio.
const EDGES: f32 = 0.15;
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
    unmix(&mut clusters);
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

/// Gives clusters that are mixtures of two others to those, by the parts they are mixed of: what threads, dots and edges
/// finer than a pixel become, and where the bands of a gingham cross.
fn unmix(clusters: &mut Vec<Cluster>) {
    while let Some((mixed, [one, two], part)) = mixture(clusters) {
        let weight = clusters[mixed].weight;
        clusters[one].weight += part * weight;
        clusters[two].weight += (1.0 - part) * weight;
        clusters.remove(mixed);
    }
}

/// The lightest cluster that is one, of which two, and the share of the first.
fn mixture(clusters: &[Cluster]) -> Option<(usize, [usize; 2], f32)> {
    let total: f32 = clusters.iter().map(|c| c.weight).sum();
    let mut order: Vec<usize> = (0..clusters.len()).collect();
    order.sort_by(|a, b| clusters[*a].weight.total_cmp(&clusters[*b].weight));
    for &mixed in &order {
        // A little of a color is an edge's blur at any ratio; much of it must be an even mixture.
        let reach = if clusters[mixed].weight < EDGES * total { 0.05..0.95 } else { 0.3..0.7 };
        let light = linear(clusters[mixed].lab);
        for two in 0..clusters.len() {
            for one in 0..two {
                if one == mixed || two == mixed {
                    continue;
                }
                let (a, b) = (linear(clusters[one].lab), linear(clusters[two].lab));
                let along = [0, 1, 2].map(|k| a[k] - b[k]);
                let length: f32 = along.iter().map(|v| v * v).sum();
                let part = (0..3).map(|k| (light[k] - b[k]) * along[k]).sum::<f32>() / length.max(1e-9);
                let nearest = [0, 1, 2].map(|k| b[k] + part * along[k]);
                if reach.contains(&part) && ciede2000(of_linear(nearest), clusters[mixed].lab) < MIXED {
                    return Some((mixed, [one, two], part));
                }
            }
        }
    }
    None
}

/// Linear sRGB, where light mixes; not clipped.
fn linear(lab: Lab) -> [f32; 3] {
    let color = LinSrgb::<f32>::from_color(palette::Lab::<D65, f32>::new(lab[0], lab[1], lab[2]));
    [color.red, color.green, color.blue]
}

fn of_linear([r, g, b]: [f32; 3]) -> Lab {
    let lab = palette::Lab::<D65, f32>::from_color(LinSrgb::new(r, g, b));
    [lab.l, lab.a, lab.b]
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

#[cfg(test)]
mod tests {
    use super::super::cluster::kmeans;
    use super::super::lab::Converter;
    use super::*;

    fn bin(rgb: [u8; 3], weight: f32) -> Bin {
        Bin { lab: Converter::new().lab(rgb), weight }
    }

    fn shares(bins: &[Bin]) -> Vec<f32> {
        let total: f32 = bins.iter().map(|b| b.weight).sum();
        merge(bins, kmeans(bins, 8)).iter().map(|c| c.weight / total).collect()
    }

    #[test]
    fn a_gingham_is_of_two_colors() {
        // White, blue, and both of half the light each, where the bands cross.
        let seen = shares(&[bin([241, 241, 239], 0.25), bin([47, 98, 181], 0.25), bin([174, 184, 213], 0.5)]);
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert!(seen.iter().all(|s| (s - 0.5).abs() < 0.06), "{seen:?}");
    }

    #[test]
    fn three_colors_of_which_none_is_a_mixture_stay_three() {
        let seen = shares(&[bin([200, 30, 40], 0.4), bin([30, 60, 170], 0.3), bin([30, 140, 60], 0.3)]);
        assert_eq!(seen.len(), 3, "{seen:?}");
    }

    #[test]
    fn weight_is_not_lost_to_mixtures() {
        let seen = shares(&[bin([20, 20, 20], 0.5), bin([240, 240, 240], 0.38), bin([120, 120, 120], 0.12)]);
        assert!((seen.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{seen:?}");
    }
}
