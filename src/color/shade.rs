//! The fine shade of a color: the nearest of the 267 ISCC-NBS centroids by CIEDE2000.

use super::iscc_table::CENTROIDS;
use super::lab::{Converter, Lab, ciede2000, squared};
use std::sync::LazyLock;

static LABS: LazyLock<Vec<Lab>> = LazyLock::new(|| {
    let converter = Converter::new();
    CENTROIDS
        .iter()
        .map(|(_, rgb)| {
            let [_, r, g, b] = rgb.to_be_bytes();
            converter.lab([r, g, b])
        })
        .collect()
});

/// Largest weight S_L of CIEDE2000's lightness term (at L 0 and 100): two colors are at least `dL / 1.75` apart.
const MOST_S_L: f32 = 1.75;

/// ISCC-NBS name of a color, such as `dark yellowish brown`.
pub(super) fn name(lab: Lab) -> &'static str {
    // The nearest by CIE76 bounds the search; lightness alone then rules most of the others out. Taking the nearest 24
    // by CIE76 or CIE94 and comparing those was tried: it misses pure blue, where the formulas disagree most.
    let by_cie76 = LABS.iter().enumerate().min_by(|a, b| squared(lab, *a.1).total_cmp(&squared(lab, *b.1)));
    let Some((mut at, center)) = by_cie76 else {
        return "medium gray";
    };
    let mut least = ciede2000(lab, *center);
    for (i, center) in LABS.iter().enumerate() {
        if (center[0] - lab[0]).abs() / MOST_S_L < least {
            let apart = ciede2000(lab, *center);
            if apart < least {
                (least, at) = (apart, i);
            }
        }
    }
    CENTROIDS[at].0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_centroid_has_its_own_name() {
        for ((expected, _), lab) in CENTROIDS.iter().zip(LABS.iter()) {
            assert_eq!(name(*lab), *expected);
        }
    }

    #[test]
    fn the_shortcut_agrees_with_comparing_all() {
        let converter = Converter::new();
        for r in (0..=255u8).step_by(51) {
            for g in (0..=255u8).step_by(51) {
                for b in (0..=255u8).step_by(51) {
                    let lab = converter.lab([r, g, b]);
                    let least = LABS.iter().map(|c| ciede2000(lab, *c)).fold(f32::INFINITY, f32::min);
                    let at = CENTROIDS.iter().position(|(n, _)| *n == name(lab)).unwrap();
                    assert!(ciede2000(lab, LABS[at]) < least + 1e-4, "{r} {g} {b}");
                }
            }
        }
    }
}
