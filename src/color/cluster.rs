//! Weighted k-means over histogram bins: k-means++ seeding, then Lloyd's iterations.
//! Own, because the crate `kmeans` needs a nightly compiler and `kmeans_colors` cannot weight its points; over at most
//! 2,000 bins plain Lloyd costs less than the conversion to CIELAB; neither Hamerly's bounds nor mini-batches would pay.

use super::bins::Bin;
use super::lab::Lab;
use multiversion::multiversion;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;

/// Fixed, so that the same photo gives the same palette.
const SEED: u64 = 0x5eed_c010;
/// Iterations of Lloyd at most; what is not settled by then moves by less than a bin.
const ROUNDS: usize = 24;
/// Lightness counts less than hue: folds and shading spread a material mostly along L.
const LIGHTNESS: f32 = 0.6;

/// A cluster: its members as indices into the bins.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    /// Weighted mean of its bins.
    pub(super) lab: Lab,
    /// Sum of their weights.
    pub(super) weight: f32,
    /// Its bins.
    pub(super) members: Vec<usize>,
}

impl Cluster {
    /// The cluster of the given bins.
    pub(super) fn of(bins: &[Bin], members: Vec<usize>) -> Self {
        let (mut lab, mut weight) = ([0.0; 3], 0.0);
        for &m in &members {
            weight += bins[m].weight;
            let step = bins[m].weight / weight;
            for (mean, v) in lab.iter_mut().zip(bins[m].lab) {
                *mean += (v - *mean) * step;
            }
        }
        Self { lab, weight, members }
    }
}

#[inline(always)]
fn distance(one: Lab, two: Lab) -> f32 {
    let l = (one[0] - two[0]) * LIGHTNESS;
    let (a, b) = (one[1] - two[1], one[2] - two[2]);
    l * l + a * a + b * b
}

/// At most `k` clusters of the bins, none empty, in order of their seeds.
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn kmeans(bins: &[Bin], k: usize) -> Vec<Cluster> {
    let mut centers = seed(bins, k);
    let mut owner = vec![usize::MAX; bins.len()];
    for _ in 0..ROUNDS {
        let mut moved = false;
        for (slot, bin) in owner.iter_mut().zip(bins) {
            let near = nearest(&centers, bin.lab);
            moved |= *slot != near;
            *slot = near;
        }
        if !moved {
            break;
        }
        let mut sums = vec![([0.0f64; 3], 0.0f64); centers.len()];
        for (&own, bin) in owner.iter().zip(bins) {
            let w = f64::from(bin.weight);
            sums[own].1 += w;
            for (sum, v) in sums[own].0.iter_mut().zip(bin.lab) {
                *sum += w * f64::from(v);
            }
        }
        for (center, (sum, weight)) in centers.iter_mut().zip(&sums) {
            // An emptied center stays where it is; it is dropped at the end.
            if *weight > 0.0 {
                *center = sum.map(|v| (v / weight) as f32);
            }
        }
    }
    let mut members = vec![Vec::new(); centers.len()];
    for (i, &own) in owner.iter().enumerate() {
        members[own].push(i);
    }
    members.into_iter().filter(|m| !m.is_empty()).map(|m| Cluster::of(bins, m)).collect()
}

#[inline(always)]
fn nearest(centers: &[Lab], lab: Lab) -> usize {
    let (mut best, mut at) = (f32::INFINITY, 0);
    for (i, center) in centers.iter().enumerate() {
        let d = distance(*center, lab);
        if d < best {
            (best, at) = (d, i);
        }
    }
    at
}

/// k-means++ (Arthur and Vassilvitskii, 2007) with weights; the first center is the heaviest bin, not a random one.
#[inline(always)]
fn seed(bins: &[Bin], k: usize) -> Vec<Lab> {
    let Some(first) = bins.first() else {
        return Vec::new();
    };
    let mut rng = Pcg32::seed_from_u64(SEED);
    let mut centers = vec![first.lab];
    let mut least: Vec<f32> = bins.iter().map(|b| distance(b.lab, first.lab)).collect();
    while centers.len() < k {
        let total: f64 = bins.iter().zip(&least).map(|(b, d)| f64::from(b.weight * d)).sum();
        if total <= 0.0 {
            break;
        }
        let mut left = rng.random::<f64>() * total;
        let mut chosen = bins.len() - 1;
        for (i, (b, d)) in bins.iter().zip(&least).enumerate() {
            left -= f64::from(b.weight * d);
            if left < 0.0 {
                chosen = i;
                break;
            }
        }
        let center = bins[chosen].lab;
        centers.push(center);
        for (slot, b) in least.iter_mut().zip(bins) {
            *slot = slot.min(distance(b.lab, center));
        }
    }
    centers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separate_heaps_are_found_with_their_weights() {
        let heaps = [[20.0, 0.0, 0.0], [60.0, 50.0, 30.0], [80.0, -40.0, 40.0]];
        let bins: Vec<Bin> = (0..90)
            .map(|i| {
                let heap = i % 3;
                let shift = (i / 3) as f32 * 0.1;
                Bin { lab: heaps[heap].map(|v: f32| v + shift), weight: (heap + 1) as f32 }
            })
            .collect();
        let clusters = kmeans(&bins, 3);
        let mut weights: Vec<f32> = clusters.iter().map(|c| c.weight).collect();
        weights.sort_by(f32::total_cmp);
        assert_eq!(weights, [30.0, 60.0, 90.0]);
    }

    #[test]
    fn fewer_colors_than_clusters_is_no_trouble() {
        let bin = Bin { lab: [50.0, 0.0, 0.0], weight: 1.0 };
        assert_eq!(kmeans(&[bin], 8).len(), 1);
        assert!(kmeans(&[], 8).is_empty());
    }
}
