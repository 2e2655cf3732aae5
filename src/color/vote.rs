//! The basic name of a product as a whole, by probability, from the statistics of its palette.
//! The largest cluster's name alone is wrong where a material has many: the highlights of black leather are grey, so are
//! the folds of a white shirt, and a checked shirt is called by the color that stands out. On 1,349 validation photos
//! the share of accepted names rose from 0.730 (largest cluster) and 0.739 (names of all pixels, summed) to 0.791.
//! Rejected, by two folds of the 9,535 training photos: 32 units (0.771 accepted; 64 units 0.777, 96 units 0.777), fewer
//! photos to learn from (3,580: 0.772 on validation). What would help: the kind of product (0.797 where it is known), since
//! merchants call the same color brown on a shoe and beige on a shirt; that word is left to the model's head.

use super::bins::Bin;
use super::lab::chroma;
use super::names;
use super::vote_table::{FIRST, FIRST_BIAS, LAST, LAST_BIAS, STATISTICS};

/// Upper ends of the ranges of L in which names are counted apart.
const LIGHTS: [f32; 2] = [35.0, 65.0];
/// Quantiles of L and of chroma.
const LIGHTNESS: [f32; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];
const CHROMA: [f32; 4] = [0.25, 0.5, 0.75, 0.95];

/// Share of the pixels below which a name fades: what next to no pixel is called, the product is not called.
const FAINT: f32 = 0.02;

/// Probability of each of [`names::NAMES`] for a product as a whole, summing to 1; without bins all alike.
pub(super) fn probabilities(bins: &[Bin]) -> [f32; 12] {
    if bins.is_empty() {
        return [1.0 / 12.0; 12];
    }
    let (x, shares) = statistics(bins);
    let mut raw = LAST_BIAS;
    for (unit, (weights, bias)) in FIRST.iter().zip(FIRST_BIAS).enumerate() {
        let sum: f32 = weights.iter().zip(&x).map(|(w, v)| w * v).sum();
        let on = (sum + bias).max(0.0);
        raw.iter_mut().zip(&LAST).for_each(|(slot, row)| *slot += row[unit] * on);
    }
    let mut p = names::softmax(raw);
    p.iter_mut().zip(shares).for_each(|(p, share)| *p *= (share / FAINT).min(1.0));
    let sum: f32 = p.iter().sum();
    if sum > 0.0 { p.map(|v| v / sum) } else { shares }
}

/// As `statistics` in scripts/fit_color_vote.py; and the share of each name. `bins` is not empty.
fn statistics(bins: &[Bin]) -> ([f32; STATISTICS], [f32; 12]) {
    let total: f32 = bins.iter().map(|b| b.weight).sum();
    let mut ranges = [[0.0f32; 12]; LIGHTS.len() + 1];
    let mut mean = [0.0f32; 3];
    for bin in bins {
        let weight = bin.weight / total;
        let light = LIGHTS.iter().filter(|end| bin.lab[0] >= **end).count();
        let p = names::probabilities(bin.lab);
        ranges[light].iter_mut().zip(p).for_each(|(slot, p)| *slot += p * weight);
        mean.iter_mut().zip(bin.lab).for_each(|(slot, v)| *slot += v * weight);
    }
    let mut shares = [0.0f32; 12];
    for range in &ranges {
        shares.iter_mut().zip(range).for_each(|(sum, v)| *sum += v);
    }
    let mut x = [0.0f32; STATISTICS];
    let values = shares
        .iter()
        .map(|s| (s + 0.02).ln())
        .chain(ranges.iter().flatten().map(|r| r.sqrt()))
        .chain(quantiles(bins, total, |b| b.lab[0], LIGHTNESS).map(|v| v / 50.0 - 1.0))
        .chain(quantiles(bins, total, |b| chroma(b.lab), CHROMA).map(|v| v / 30.0 - 0.5))
        .chain(mean.map(|v| v / 50.0));
    x.iter_mut().zip(values).for_each(|(slot, v)| *slot = v);
    (x, shares)
}

/// The least value at or below which each share of the weight lies.
fn quantiles<const N: usize>(bins: &[Bin], total: f32, value: impl Fn(&Bin) -> f32, at: [f32; N]) -> [f32; N] {
    let mut sorted: Vec<(f32, f32)> = bins.iter().map(|b| (value(b), b.weight)).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    at.map(|share| {
        let mut below = 0.0;
        let found = sorted.iter().find(|(_, weight)| {
            below += weight;
            below >= share * total
        });
        found.or(sorted.last()).map_or(0.0, |(v, _)| *v)
    })
}

#[cfg(test)]
mod tests {
    use super::super::vote_table::EXAMPLE;
    use super::*;

    #[test]
    fn statistics_are_those_the_weights_were_fitted_on() {
        let (bins, expected) = EXAMPLE;
        let bins: Vec<Bin> = bins.iter().map(|b| Bin { lab: [b[0], b[1], b[2]], weight: b[3] }).collect();
        let (x, shares) = statistics(&bins);
        for (i, (own, theirs)) in x.iter().zip(expected).enumerate() {
            assert!((own - theirs).abs() < 2e-3, "statistic {i}: {own} {theirs}");
        }
        assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }

    #[test]
    fn a_vote_is_a_distribution_whatever_the_bins() {
        for bins in [
            vec![],
            vec![Bin { lab: [0.0; 3], weight: 1e-20 }],
            vec![Bin { lab: [100.0, 120.0, -120.0], weight: 1e20 }],
        ] {
            let p = probabilities(&bins);
            assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-4);
            assert!(p.iter().all(|p| (0.0..=1.0).contains(p)));
        }
    }
}
