//! Pixels to a weighted histogram in CIELAB: at most [`MOST`] bins, each with the mean color of its pixels.
//! Clustering then costs the same for a thumbnail and a large photo, and weights (mask, place) come for free.

use super::lab::Lab;

/// Most bins kept; those of least weight are dropped.
pub(super) const MOST: usize = 2000;
/// Side of a bin: L by 4, a and b by 5 units, about two just noticeable differences.
const SIDE: [f32; 3] = [4.0, 5.0, 5.0];
/// Bins along L, a and b; covers L 0 to 100 and a, b from -130 to 130, more than sRGB reaches.
const CELLS: [usize; 3] = [26, 52, 52];

#[inline(always)]
fn cell(lab: Lab) -> usize {
    let along =
        |k: usize, from: f32| (((lab[k] - from) * (1.0 / SIDE[k])) as i32).clamp(0, CELLS[k] as i32 - 1) as usize;
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
    /// Weighted differences along L, a and b, and the weights: one vector register each.
    sums: [[f32; 4]; N],
}

/// Bins of `(color, weight)` pixels, heaviest first; pixels of no weight are skipped.
pub(super) fn histogram(pixels: impl Iterator<Item = (Lab, f32)>) -> Vec<Bin> {
    let mut histogram = Histogram::new();
    pixels.for_each(|(lab, weight)| histogram.add(lab, [weight]));
    let [bins] = histogram.bins();
    bins
}

/// A histogram under `N` weightings of the same pixels.
pub(super) struct Histogram<const N: usize> {
    /// Where each cell's sums are: dense (140 KB), not a hash map; bins are listed in the order they appear.
    index: Vec<u16>,
    found: Vec<Sums<N>>,
    /// Color of the last pixels and the weights they gathered. Flat ground is one color for whole rows: to add each of its
    /// pixels to the same sums is to wait for memory each time.
    run: (Lab, [f32; N]),
}

impl<const N: usize> Histogram<N> {
    pub(super) fn new() -> Self {
        Self { index: vec![u16::MAX; CELLS.iter().product()], found: Vec::new(), run: ([0.0; 3], [0.0; N]) }
    }

    /// Adds a pixel, unless the first of its weights is 0: the others are never more.
    #[inline(always)]
    pub(super) fn add(&mut self, lab: Lab, weights: [f32; N]) {
        if weights[0] <= 0.0 {
            return;
        }
        if lab != self.run.0 {
            self.flush();
            self.run = (lab, [0.0; N]);
        }
        self.run.1.iter_mut().zip(weights).for_each(|(sum, w)| *sum += w);
    }

    /// Brings the last run to its cell.
    #[inline(always)]
    fn flush(&mut self) {
        let (lab, weights) = self.run;
        if weights[0] <= 0.0 {
            return;
        }
        let slot = &mut self.index[cell(lab)];
        if *slot == u16::MAX {
            // More than 65,535 different cells do not fit the gamut; were they to, the last would take the rest.
            *slot = self.found.len().min(usize::from(u16::MAX) - 1) as u16;
            if usize::from(*slot) == self.found.len() {
                self.found.push(Sums { first: lab, sums: [[0.0; 4]; N] });
            }
        }
        let Sums { first, sums } = &mut self.found[usize::from(*slot)];
        let off = [lab[0] - first[0], lab[1] - first[1], lab[2] - first[2], 1.0];
        for (sum, w) in sums.iter_mut().zip(weights) {
            sum.iter_mut().zip(off).for_each(|(s, v)| *s += v * w);
        }
    }

    /// The bins of each weighting, heaviest first.
    pub(super) fn bins(mut self) -> [Vec<Bin>; N] {
        self.flush();
        std::array::from_fn(|n| {
            let held = self.found.iter().filter(|s| s.sums[n][3] > 0.0);
            let bin = |Sums { first, sums }: &Sums<N>| {
                let weight = sums[n][3];
                Bin { lab: [0, 1, 2].map(|k| first[k] + sums[n][k] / weight), weight }
            };
            let mut bins: Vec<Bin> = held.map(bin).collect();
            // Stable: bins of equal weight stay in the order they appeared.
            bins.sort_by(|a, b| b.weight.total_cmp(&a.weight));
            bins.truncate(MOST);
            bins
        })
    }
}
