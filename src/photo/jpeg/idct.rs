//! The inverse DCT of a block's lowest frequencies, to fewer samples than its 8 x 8.

/// A block of `W` x `H` samples (1, 2, 4 or 8 each way) from its lowest frequencies: `H` rows of `W`, and what to multiply
/// each with. Written to the front of `out`, rows `stride` apart.
///
/// The cosines of T.81 (A.3.3), taken at the centers of `W` x `H` cells instead of 8 x 8: what libjpeg does too. Frequencies
/// that so few cells cannot show are left out, and mean and scale stay. In single precision and one order of additions, so the
/// same on every machine.
#[inline(always)]
pub(super) fn block<const W: usize, const H: usize>(
    frequencies: &[i16],
    quantization: &[f32],
    out: &mut [u8],
    stride: usize,
) {
    let (Some((&mean, rest)), Some(&step)) = (frequencies.split_first(), quantization.first()) else { return };
    // Most blocks of a plain background, and of color.
    if rest.iter().fold(0, |any, &value| any | value) == 0 {
        let sample = byte(f32::from(mean) * step / 8.0 + CENTER);
        out.chunks_mut(stride).take(H).filter_map(|row| row.first_chunk_mut()).for_each(|row| *row = [sample; W]);
        return;
    }
    let (across, down) = const { (cosines::<W>(), cosines::<H>()) };
    let rows = frequencies.as_chunks::<W>().0.iter().zip(quantization.as_chunks::<W>().0);
    let mut half_way = [[0.0; W]; H];
    for ((frequencies, quantization), down) in rows.zip(&down) {
        if frequencies.iter().fold(0, |any, &value| any | value) == 0 {
            continue;
        }
        let values: [f32; W] = std::array::from_fn(|u| f32::from(frequencies[u]) * quantization[u]);
        for (sums, &weight) in half_way.iter_mut().zip(down) {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += weight * value;
            }
        }
    }
    for (values, row) in half_way.iter().zip(out.chunks_mut(stride)) {
        let mut sums = [CENTER; W];
        for (&value, across) in values.iter().zip(&across) {
            for (sum, weight) in sums.iter_mut().zip(across) {
                *sum += value * weight;
            }
        }
        if let Some(row) = row.first_chunk_mut() {
            *row = sums.map(byte);
        }
    }
}

/// What is added to samples (T.81, A.3.1), and a half to round by.
const CENTER: f32 = 128.5;

/// By way of 32 bits: straight to a byte is not vectorized.
#[inline(always)]
fn byte(sample: f32) -> u8 {
    sample.clamp(0.0, 255.0) as i32 as u8
}

/// Of each of `N` frequencies its value at the centers of `N` cells, with the factors of T.81 (A.3.3).
const fn cosines<const N: usize>() -> [[f32; N]; N] {
    /// cos(n pi / 16)
    const FIRST_QUARTER: [f64; 9] = [
        1.0,
        0.980_785_280_403_230_4,
        0.923_879_532_511_286_7,
        0.831_469_612_302_545_2,
        std::f64::consts::FRAC_1_SQRT_2,
        0.555_570_233_019_602_2,
        0.382_683_432_365_089_8,
        0.195_090_322_016_128_25,
        0.0,
    ];
    let mut table = [[0.0; N]; N];
    let mut u = 0;
    while u < N {
        let mut x = 0;
        while x < N {
            // (2x + 1) u pi / 2N, in sixteenths of pi.
            let angle = (2 * x + 1) * u * (8 / N) % 32;
            let angle = if angle > 16 { 32 - angle } else { angle };
            let cosine = if angle > 8 { -FIRST_QUARTER[16 - angle] } else { FIRST_QUARTER[angle] };
            let factor = if u == 0 { FIRST_QUARTER[4] / 2.0 } else { 0.5 };
            table[u][x] = (cosine * factor) as f32;
            x += 1;
        }
        u += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::f64::consts::PI;

    /// A.3.3 as it is written, at the centers of `W` x `H` cells.
    fn truth<const W: usize, const H: usize>(frequencies: &[i16], quantization: &[f32]) -> Vec<f64> {
        let mut samples = Vec::new();
        for y in 0..H {
            for x in 0..W {
                let mut sum = 0.0;
                for v in 0..H {
                    for u in 0..W {
                        let factor = |n: usize| if n == 0 { 0.5_f64.sqrt() } else { 1.0 };
                        let cosine = |n: usize, at: usize, of: usize| {
                            ((2 * at + 1) as f64 * n as f64 * PI / (2 * of) as f64).cos()
                        };
                        let value = f64::from(frequencies[v * W + u]) * f64::from(quantization[v * W + u]);
                        sum += factor(u) * factor(v) / 4.0 * value * cosine(u, x, W) * cosine(v, y, H);
                    }
                }
                samples.push((sum + 128.0).clamp(0.0, 255.0));
            }
        }
        samples
    }

    fn check<const W: usize, const H: usize>(values: &[i16], steps: &[f32]) -> Result<(), TestCaseError> {
        let (values, steps) = (&values[..W * H], &steps[..W * H]);
        let stride = W + 3;
        let mut out = vec![7; stride * H];
        block::<W, H>(values, steps, &mut out, stride);
        let truth = truth::<W, H>(values, steps);
        for (row, truth) in out.chunks(stride).zip(truth.chunks(W)) {
            for (&found, &truth) in row.iter().zip(truth) {
                prop_assert!((f64::from(found) - truth).abs() < 0.51, "{W} x {H}: expected {truth}, found {found}");
            }
            prop_assert_eq!(&row[W..], &[7; 3][..], "beside the block");
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn blocks_are_those_of_the_formula(
            values in prop::collection::vec(prop_oneof![3 => Just(0_i16), 1 => -200..200_i16], 64),
            steps in prop::collection::vec(1..30_u8, 64),
        ) {
            let steps: Vec<f32> = steps.into_iter().map(f32::from).collect();
            check::<1, 1>(&values, &steps)?;
            check::<1, 2>(&values, &steps)?;
            check::<2, 2>(&values, &steps)?;
            check::<4, 2>(&values, &steps)?;
            check::<4, 4>(&values, &steps)?;
            check::<4, 8>(&values, &steps)?;
            check::<8, 8>(&values, &steps)?;
        }
    }
}
