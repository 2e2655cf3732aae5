//! sRGB to CIELAB (D65, 2 degrees) by tables, and CIEDE2000.
//! A photo has tens of thousands of pixels: the tables here save three cube roots each and agree with `palette` within
//! 0.02 units (test below). Everything else goes through `palette` itself.

use palette::color_difference::Ciede2000;
use palette::white_point::D65;
use palette::{FromColor, IntoColor, Srgb};
use std::sync::LazyLock;

/// CIELAB: L 0 to 100, a and b about -128 to 127.
pub(crate) type Lab = [f32; 3];

/// Steps of the table of CIELAB's `f` over 0 to 1; linear between them, error below 0.005 in L.
const F_STEPS: usize = 4096;

struct Tables {
    /// What each channel's byte adds to X, Y and Z over the D65 white, in steps of `f`; the fourth is for the register.
    white: [[[f32; 4]; 256]; 3],
    /// CIELAB's `f(t)` at `t = i / F_STEPS`, and its rise to the next.
    f: Vec<[f32; 2]>,
}

/// Linear sRGB to XYZ divided by the D65 white (IEC 61966-2-1); a column for each channel. Rows sum to 1, so that greys
/// stay grey.
const TO_WHITE: [[f32; 3]; 3] =
    [[0.433_953, 0.212_673, 0.017_755], [0.376_219, 0.715_152, 0.109_471], [0.189_828, 0.072_175, 0.872_774]];

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let linear = |byte: u8| Srgb::new(byte, byte, byte).into_linear::<f32>().red;
    let white = TO_WHITE
        .map(|[x, y, z]| std::array::from_fn(|byte| [x, y, z, 0.0].map(|v| v * linear(byte as u8) * F_STEPS as f32)));
    let f = |i: usize| {
        let t = i as f32 / F_STEPS as f32;
        if t > 216.0 / 24389.0 { t.cbrt() } else { (24389.0 / 27.0 * t + 16.0) / 116.0 }
    };
    // One more than 1: sums of the table may round up to just above it.
    Tables { white, f: (0..=F_STEPS + 1).map(|i| [f(i), f(i + 1) - f(i)]).collect() }
});

/// Converts pixels with the tables fetched once.
pub(crate) struct Converter(&'static Tables);

impl Converter {
    /// Builds the tables on first use.
    pub(crate) fn new() -> Self {
        Self(&TABLES)
    }

    #[inline(always)]
    fn f(&self, x: f32) -> f32 {
        let i = x as i32;
        let [low, rise] = self.0.f[i as usize];
        low + rise * (x - i as f32)
    }

    /// One sRGB pixel to CIELAB.
    #[inline(always)]
    pub(crate) fn lab(&self, rgb: [u8; 3]) -> Lab {
        let [r, g, b] = [0, 1, 2].map(|k| &self.0.white[k][usize::from(rgb[k])]);
        let [x, y, z, _]: [f32; 4] = std::array::from_fn(|k| r[k] + g[k] + b[k]);
        let (fx, fy, fz) = (self.f(x), self.f(y), self.f(z));
        [116.0 * fy - 16.0, 500.0 * (fx - fy), 200.0 * (fy - fz)]
    }
}

/// CIELAB to the nearest sRGB color, clipped to the gamut.
pub(crate) fn to_srgb(lab: Lab) -> [u8; 3] {
    let color: Srgb<f32> = Srgb::from_color(palette::Lab::<D65, f32>::new(lab[0], lab[1], lab[2]));
    let color: Srgb<u8> = color.into_format();
    [color.red, color.green, color.blue]
}

/// CIEDE2000 with unit weights.
pub(crate) fn ciede2000(one: Lab, two: Lab) -> f32 {
    let one: palette::Lab<D65, f32> = palette::Lab::new(one[0], one[1], one[2]);
    let two: palette::Lab<D65, f32> = palette::Lab::new(two[0], two[1], two[2]).into_color();
    one.difference(two)
}

/// Chroma: distance from the grey axis.
#[inline(always)]
pub(crate) fn chroma(lab: Lab) -> f32 {
    // Not `hypot`: nothing here comes near to overflow, and it costs ten times as much.
    (lab[1] * lab[1] + lab[2] * lab[2]).sqrt()
}

/// Squared Euclidean distance (CIE76 squared).
#[inline(always)]
pub(crate) fn squared(one: Lab, two: Lab) -> f32 {
    let d = [one[0] - two[0], one[1] - two[1], one[2] - two[2]];
    d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_agree_with_palette_over_the_whole_cube() {
        let converter = Converter::new();
        for r in (0..=255u8).step_by(15) {
            for g in (0..=255u8).step_by(15) {
                for b in (0..=255u8).step_by(15) {
                    let ours = converter.lab([r, g, b]);
                    let color: Srgb<f32> = Srgb::new(r, g, b).into_format();
                    let truth = palette::Lab::<D65, f32>::from_color(color);
                    for (x, y) in ours.iter().zip([truth.l, truth.a, truth.b]) {
                        assert!((x - y).abs() < 0.02, "{r} {g} {b}: {ours:?} {truth:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn known_colors_have_their_published_values() {
        // CIELAB (D65) of the sRGB primaries, as Lindbloom's calculator gives them.
        for (rgb, lab) in [
            ([255, 255, 255], [100.0, 0.0, 0.0]),
            ([255, 0, 0], [53.24, 80.09, 67.20]),
            ([0, 255, 0], [87.73, -86.18, 83.18]),
            ([0, 0, 255], [32.30, 79.19, -107.86]),
            ([0, 0, 0], [0.0, 0.0, 0.0]),
        ] {
            let ours = Converter::new().lab(rgb);
            assert!(squared(ours, lab).sqrt() < 0.1, "{ours:?} {lab:?}");
            assert_eq!(to_srgb(lab), rgb);
        }
    }

    #[test]
    fn ciede2000_is_the_published_one() {
        // Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula", 2005, table 1: rows that test the hue
        // discontinuities, the rotation term, the achromatic case and large differences.
        #[rustfmt::skip]
        let rows: [([f32; 3], [f32; 3], f32); 20] = [
            ([50.0, 2.6772, -79.7751], [50.0, 0.0, -82.7485], 2.0425),
            ([50.0, 3.1571, -77.2803], [50.0, 0.0, -82.7485], 2.8615),
            ([50.0, 2.8361, -74.0200], [50.0, 0.0, -82.7485], 3.4412),
            ([50.0, -1.3802, -84.2814], [50.0, 0.0, -82.7485], 1.0000),
            ([50.0, -1.1848, -84.8006], [50.0, 0.0, -82.7485], 1.0000),
            ([50.0, 0.0, 0.0], [50.0, -1.0, 2.0], 2.3669),
            ([50.0, -1.0, 2.0], [50.0, 0.0, 0.0], 2.3669),
            ([50.0, 2.4900, -0.0010], [50.0, -2.4900, 0.0009], 7.1792),
            ([50.0, -0.0010, 2.4900], [50.0, 0.0009, -2.4900], 4.8045),
            ([50.0, 2.5, 0.0], [50.0, 0.0, -2.5], 4.3065),
            ([50.0, 2.5, 0.0], [73.0, 25.0, -18.0], 27.1492),
            ([50.0, 2.5, 0.0], [61.0, -5.0, 29.0], 22.8977),
            ([50.0, 2.5, 0.0], [56.0, -27.0, -3.0], 31.9030),
            ([50.0, 2.5, 0.0], [58.0, 24.0, 15.0], 19.4535),
            ([60.2574, -34.0099, 36.2677], [60.4626, -34.1751, 39.4387], 1.2644),
            ([63.0109, -31.0961, -5.8663], [62.8187, -29.7946, -4.0864], 1.2630),
            ([22.7233, 20.0904, -46.6940], [23.0331, 14.9730, -42.5619], 2.0373),
            ([36.4612, 47.8580, 18.3852], [36.2715, 50.5065, 21.2231], 1.4146),
            ([90.8027, -2.0831, 1.4410], [91.1528, -1.6435, 0.0447], 1.4441),
            ([2.0776, 0.0795, -1.1350], [0.9033, -0.0636, -0.5514], 0.9082),
        ];
        for (one, two, truth) in rows {
            let ours = ciede2000(one, two);
            assert!((ours - truth).abs() < 2e-3, "{one:?} {two:?} {ours} {truth}");
        }
    }
}
