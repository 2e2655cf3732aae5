//! The fine shade of a color: the nearest of the 267 ISCC-NBS centroids by CIEDE2000.

use super::iscc_table::CENTROIDS;
use super::lab::{Converter, Lab, chroma, ciede2000};
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

/// ISCC-NBS name of a color, such as `dark yellowish brown`.
pub(super) fn name(lab: Lab) -> &'static str {
    // Full CIEDE2000 against all 267 costs half a millisecond a palette; the nearest 24 by CIE94 hold its nearest.
    let mut near: Vec<(f32, usize)> = LABS.iter().enumerate().map(|(i, center)| (cie94(lab, *center), i)).collect();
    near.select_nth_unstable_by(23, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    near.truncate(24);
    near.into_iter()
        .map(|(_, i)| (ciede2000(lab, LABS[i]), i))
        .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))
        .map_or("medium gray", |(_, i)| CENTROIDS[i].0)
}

/// CIE94 squared: differences in chroma and hue count less the more chroma there is.
fn cie94(one: Lab, two: Lab) -> f32 {
    let (c1, c2) = (chroma(one), chroma(two));
    let (da, db) = (one[1] - two[1], one[2] - two[2]);
    let dc = c1 - c2;
    let dh2 = (da * da + db * db - dc * dc).max(0.0);
    let mean = (c1 * c2).sqrt();
    (one[0] - two[0]).powi(2) + (dc / (1.0 + 0.045 * mean)).powi(2) + dh2 / (1.0 + 0.015 * mean).powi(2)
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
                    assert!(ciede2000(lab, LABS[at]) < least + 0.5, "{r} {g} {b}");
                }
            }
        }
    }
}
