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

/// Bins of `(color, weight)` pixels, heaviest first; pixels of no weight are skipped.
pub(super) fn histogram(pixels: impl Iterator<Item = (Lab, f32)>) -> Vec<Bin> {
    // A dense index of the cells (140 KB) instead of a hash map; bins are listed in the order they appear.
    let mut index = vec![u16::MAX; CELLS.iter().product()];
    let mut bins: Vec<Bin> = Vec::new();
    for (lab, weight) in pixels {
        if weight <= 0.0 {
            continue;
        }
        let slot = &mut index[cell(lab)];
        if *slot == u16::MAX {
            // More than 65,535 different cells do not fit the gamut; were they to, the last would take the rest.
            *slot = bins.len().min(usize::from(u16::MAX) - 1) as u16;
            if usize::from(*slot) == bins.len() {
                bins.push(Bin { lab: [0.0; 3], weight: 0.0 });
            }
        }
        let bin = &mut bins[usize::from(*slot)];
        bin.weight += weight;
        let step = weight / bin.weight;
        for (mean, v) in bin.lab.iter_mut().zip(lab) {
            *mean += (v - *mean) * step;
        }
    }
    // Stable: bins of equal weight stay in the order they appeared.
    bins.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    bins.truncate(MOST);
    bins
}
