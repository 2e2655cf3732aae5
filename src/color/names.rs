//! Basic color names by probability: a Gaussian-like model a name in CIELAB, normalized over the twelve.
//! Nearest point is wrong at every border that is not halfway (brown, beige, grey, pink); the shapes here are fitted to
//! what merchants wrote (see `names_table`), so they carry the lighting of product photos too.

use super::BasicColor;
use super::lab::{Lab, chroma};
use super::names_table::{FEATURES, WEIGHTS};

/// The names in the order of the table.
pub(super) const NAMES: [BasicColor; 12] = [
    BasicColor::Black,
    BasicColor::White,
    BasicColor::Grey,
    BasicColor::Red,
    BasicColor::Orange,
    BasicColor::Yellow,
    BasicColor::Green,
    BasicColor::Blue,
    BasicColor::Purple,
    BasicColor::Pink,
    BasicColor::Brown,
    BasicColor::Beige,
];

/// Quadratic terms (log density of a Gaussian), chroma (the sharp ridge of the greys along their axis) and the cosine
/// and sine of hue, weighted by how much hue there is.
fn features(lab: Lab) -> [f32; FEATURES] {
    let (l, a, b) = ((lab[0] - 50.0) / 25.0, lab[1] / 25.0, lab[2] / 25.0);
    let c = chroma(lab) / 25.0;
    let k = c / (c + 0.3);
    // Cosines and sines of hue, twice and three times it, without trigonometry.
    let (cos, sin) = if c > 0.0 { (a / c, b / c) } else { (1.0, 0.0) };
    let (cos2, sin2) = (cos * cos - sin * sin, 2.0 * sin * cos);
    let (cos3, sin3) = (cos2 * cos - sin2 * sin, sin2 * cos + cos2 * sin);
    [
        1.0,
        l,
        a,
        b,
        l * l,
        a * a,
        b * b,
        l * a,
        l * b,
        a * b,
        c,
        l * c,
        k,
        k * l,
        k * cos,
        k * sin,
        k * cos2,
        k * sin2,
        k * cos3,
        k * sin3,
    ]
}

/// Probability of each of [`NAMES`], summing to 1.
pub(super) fn probabilities(lab: Lab) -> [f32; 12] {
    let x = features(lab);
    let mut p = [0.0f32; 12];
    for (slot, row) in p.iter_mut().zip(&WEIGHTS) {
        *slot = row.iter().zip(&x).map(|(w, v)| w * v).sum();
    }
    softmax(p)
}

/// Exponentials of `p` over their sum.
pub(super) fn softmax(mut p: [f32; 12]) -> [f32; 12] {
    let most = p.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for v in &mut p {
        *v = (*v - most).exp();
        sum += *v;
    }
    p.map(|v| v / sum)
}

/// Index of the largest; the first of equals.
pub(super) fn top(p: &[f32; 12]) -> usize {
    let mut at = 0;
    for (i, v) in p.iter().enumerate() {
        if *v > p[at] {
            at = i;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::lab::Converter;

    fn named(rgb: [u8; 3]) -> BasicColor {
        NAMES[top(&probabilities(Converter::new().lab(rgb)))]
    }

    #[test]
    fn textbook_colors_have_their_names() {
        use BasicColor::{Beige, Black, Blue, Brown, Green, Grey, Orange, Pink, Purple, Red, White, Yellow};
        for (rgb, name) in [
            ([0, 0, 0], Black),
            ([20, 20, 22], Black),
            ([255, 255, 255], White),
            ([244, 244, 246], White),
            ([128, 128, 128], Grey),
            ([170, 170, 170], Grey),
            ([220, 20, 30], Red),
            ([255, 0, 0], Red),
            ([255, 128, 0], Orange),
            ([255, 225, 20], Yellow),
            ([20, 140, 50], Green),
            ([0, 200, 0], Green),
            ([30, 60, 200], Blue),
            ([0, 0, 255], Blue),
            ([20, 30, 70], Blue),
            ([110, 30, 140], Purple),
            ([255, 130, 180], Pink),
            ([101, 67, 33], Brown),
            ([225, 205, 170], Beige),
        ] {
            assert_eq!(named(rgb), name, "{rgb:?}");
        }
    }

    #[test]
    fn greys_go_from_black_to_white_without_a_hue() {
        let mut stage = 0;
        for v in 0..=255u8 {
            let now = match named([v, v, v]) {
                BasicColor::Black => 0,
                BasicColor::Grey => 1,
                BasicColor::White => 2,
                other => panic!("grey {v} was called {other:?}"),
            };
            assert!(now >= stage, "grey {v} goes back to a darker name");
            stage = now;
        }
        assert_eq!(stage, 2);
    }

    #[test]
    fn probabilities_sum_to_one_everywhere() {
        for l in (0..=100u8).step_by(10) {
            for a in (-120..=120i8).step_by(20) {
                for b in (-120..=120i8).step_by(20) {
                    let p = probabilities([f32::from(l), f32::from(a), f32::from(b)]);
                    assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-4);
                    assert!(p.iter().all(|v| v.is_finite()));
                }
            }
        }
    }
}
