//! Pixels to a weighted histogram in CIELAB: at most [`MOST`] bins, each with the mean color of its pixels.
//! Clustering then costs the same for a thumbnail and a large photo, and weights (mask, place) come for free.

use super::lab::Lab;

/// Most bins kept; those of least weight are dropped.
pub(super) const MOST: usize = 2000;
/// Side of a bin: L by 4, a and b by 5 units, about two just noticeable differences.
const SIDE: [f32; 3] = [4.0, 5.0, 5.0];
/// Bins along L, a and b; covers L 0 to 100 and a, b from -130 to 130, more than sRGB reaches.
const CELLS: [usize; 3] = [26, 52, 52];

fn cell(lab: Lab) -> usize {
    let along = |k: usize, from: f32| (((lab[k] - from) / SIDE[k]).max(0.0) as usize).min(CELLS[k] - 1);
    (along(0, 0.0) * CELLS[1] + along(1, -130.0)) * CELLS[2] + along(2, -130.0)
}

/// Pixels of about one color.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bin {
    /// Weighted mean of its pixels.
    pub(super) lab: Lab,
    /// Sum of their weights.
    pub(super) weight: f32,
}

/// Pixels of one cell under `N` weights.
struct Sums<const N: usize> {
    /// Color of the first pixel; sums of differences to it stay small and keep their digits.
    first: Lab,
    lab: [Lab; N],
    weight: [f32; N],
}

/// Bins of `(color, weight)` pixels, heaviest first; pixels of no weight are skipped.
pub(super) fn histogram(pixels: impl Iterator<Item = (Lab, f32)>) -> Vec<Bin> {
    let [bins] = histograms(pixels.map(|(lab, weight)| (lab, [weight])));
    bins
}

/// As [`histogram`] for `N` weightings of the same pixels at once.
pub(super) fn histograms<const N: usize>(pixels: impl Iterator<Item = (Lab, [f32; N])>) -> [Vec<Bin>; N] {
    // A dense index of the cells (140 KB) instead of a hash map; bins are listed in the order they appear.
    let mut index = vec![u16::MAX; CELLS.iter().product()];
    let mut found: Vec<Sums<N>> = Vec::new();
    for (lab, weights) in pixels {
        if weights.iter().all(|w| *w <= 0.0) {
            continue;
        }
        let slot = &mut index[cell(lab)];
        if *slot == u16::MAX {
            // More than 65,535 different cells do not fit the gamut; were they to, the last would take the rest.
            *slot = found.len().min(usize::from(u16::MAX) - 1) as u16;
            if usize::from(*slot) == found.len() {
                found.push(Sums { first: lab, lab: [[0.0; 3]; N], weight: [0.0; N] });
            }
        }
        let sums = &mut found[usize::from(*slot)];
        let off = [0, 1, 2].map(|k| lab[k] - sums.first[k]);
        for ((sum, total), w) in sums.lab.iter_mut().zip(&mut sums.weight).zip(weights) {
            *total += w;
            sum.iter_mut().zip(off).for_each(|(s, v)| *s += v * w);
        }
    }
    std::array::from_fn(|n| {
        let held = found.iter().filter(|s| s.weight[n] > 0.0);
        let bin = |s: &Sums<N>| {
            let weight = s.weight[n];
            Bin { lab: [0, 1, 2].map(|k| s.first[k] + s.lab[n][k] / weight), weight }
        };
        let mut bins: Vec<Bin> = held.map(bin).collect();
        // Stable: bins of equal weight stay in the order they appeared.
        bins.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        bins.truncate(MOST);
        bins
    })
}
