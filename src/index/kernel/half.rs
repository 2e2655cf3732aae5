//! The dot product of a vector with one kept in half precision. The way is chosen once, by what the processor has; all ways
//! widen exactly, and multiply and add in the same order as [`dot`](super::dot), so they give the same bits.

use super::{LANES, halved};
use ::half::f16;
use ::half::slice::HalfFloatSliceExt;
use std::sync::LazyLock;

type Dot = fn(&[f32], &[f16]) -> f32;

static DOT: LazyLock<Dot> = LazyLock::new(|| {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return x86::avx512;
        }
        if is_x86_feature_detected!("avx") && is_x86_feature_detected!("f16c") {
            return x86::avx;
        }
    }
    portable
});

/// Dot product of two vectors of one length.
pub(in crate::index) fn dot(a: &[f32], b: &[f16]) -> f32 {
    DOT(a, b)
}

fn portable(a: &[f32], b: &[f16]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let mut wide = [0.0f32; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        b.convert_to_f32_slice(&mut wide);
        for lane in 0..LANES {
            sums[lane] += a[lane] * wide[lane];
        }
    }
    folded(sums, a_rest, b_rest)
}

/// The sums of the lanes, and what was too short for them.
#[inline(always)]
fn folded(sums: [f32; LANES], a_rest: &[f32], b_rest: &[f16]) -> f32 {
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b.to_f32()).sum();
    let four = halved::<8, 4>(halved::<LANES, 8>(sums));
    let [a, b] = halved::<4, 2>(four);
    a + b + rest
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LANES, f16, folded};
    use std::arch::x86_64::*;

    pub(super) fn avx512(a: &[f32], b: &[f16]) -> f32 {
        debug_assert!(is_x86_feature_detected!("avx512f"));
        // SAFETY: chosen only where the processor has the feature.
        unsafe { with_avx512(a, b) }
    }

    #[target_feature(enable = "avx512f")]
    fn with_avx512(a: &[f32], b: &[f16]) -> f32 {
        let (a_chunks, a_rest) = a.as_chunks::<LANES>();
        let (b_chunks, b_rest) = b.as_chunks::<LANES>();
        let mut sums = _mm512_setzero_ps();
        for (a, b) in a_chunks.iter().zip(b_chunks) {
            // SAFETY: 16 values each, no alignment asked for; `f16` is its bits.
            let (a, b) = unsafe { (_mm512_loadu_ps(a.as_ptr()), _mm256_loadu_si256(b.as_ptr().cast())) };
            // Multiplied, then added: one instruction for both would round once less than elsewhere.
            sums = _mm512_add_ps(sums, _mm512_mul_ps(a, _mm512_cvtph_ps(b)));
        }
        let mut lanes = [0.0f32; LANES];
        // SAFETY: room for 16 values.
        unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), sums) };
        folded(lanes, a_rest, b_rest)
    }

    pub(super) fn avx(a: &[f32], b: &[f16]) -> f32 {
        debug_assert!(is_x86_feature_detected!("avx") && is_x86_feature_detected!("f16c"));
        // SAFETY: chosen only where the processor has the features.
        unsafe { with_avx(a, b) }
    }

    #[target_feature(enable = "avx,f16c")]
    fn with_avx(a: &[f32], b: &[f16]) -> f32 {
        let (a_chunks, a_rest) = a.as_chunks::<LANES>();
        let (b_chunks, b_rest) = b.as_chunks::<LANES>();
        let mut sums = [_mm256_setzero_ps(); 2];
        for (a, b) in a_chunks.iter().zip(b_chunks) {
            for (half, sum) in sums.iter_mut().enumerate() {
                let (a, b) = (&a[8 * half..8 * half + 8], &b[8 * half..8 * half + 8]);
                // SAFETY: 8 values each, no alignment asked for; `f16` is its bits.
                let (a, b) = unsafe { (_mm256_loadu_ps(a.as_ptr()), _mm_loadu_si128(b.as_ptr().cast())) };
                *sum = _mm256_add_ps(*sum, _mm256_mul_ps(a, _mm256_cvtph_ps(b)));
            }
        }
        let mut lanes = [0.0f32; LANES];
        for (half, sum) in lanes.chunks_exact_mut(8).zip(sums) {
            // SAFETY: room for 8 values.
            unsafe { _mm256_storeu_ps(half.as_mut_ptr(), sum) };
        }
        folded(lanes, a_rest, b_rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ways_give_the_same_bits_as_the_widened_vector() {
        for n in (0..70).chain([256]) {
            let a: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
            let b: Vec<f16> = (0..n).map(|i| f16::from_f32((i as f32 * 0.91).cos() * 0.1)).collect();
            let wide: Vec<f32> = b.iter().map(|value| value.to_f32()).collect();
            let truth = super::super::dot(&a, &wide).to_bits();
            let mut ways: Vec<Dot> = vec![portable, dot];
            #[cfg(target_arch = "x86_64")]
            {
                if is_x86_feature_detected!("avx512f") {
                    ways.push(x86::avx512);
                }
                if is_x86_feature_detected!("avx") && is_x86_feature_detected!("f16c") {
                    ways.push(x86::avx);
                }
            }
            assert!(ways.iter().all(|way| way(&a, &b).to_bits() == truth), "{n}");
        }
    }
}
