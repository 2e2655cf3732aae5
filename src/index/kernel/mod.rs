//! The dot product of two vectors, and the checks that make a vector fit for it.
//! Portable code the compiler turns into SIMD: the same operations in the same order everywhere, so the same
//! bits out. No `f32::mul_add`: without a target that has it, it becomes a call to libm a value.

pub(super) mod half;
pub(super) mod int8;

use super::IndexError;
use ::half::f16;

/// Independent sums; 4 registers of 4 lanes hide the latency of the addition on SSE2.
const LANES: usize = 16;

/// How far from 1 the length of a stored or searched vector may be.
/// f32 rounding of a 256-d unit vector stays below 1e-6; half precision below 1e-3.
pub(super) const UNIT_TOLERANCE: f32 = 2e-3;

/// Dot product of two vectors of one length.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    // Widths are constants on purpose: an index that varies keeps the sums in memory, and the loop above scalar.
    let eight = halved::<LANES, 8>(sums);
    let four = halved::<8, 4>(eight);
    let [a, b] = halved::<4, 2>(four);
    a + b + rest
}

/// Upper half added to the lower; `HALF` is half of `ALL`.
#[inline(always)]
fn halved<const ALL: usize, const HALF: usize>(sums: [f32; ALL]) -> [f32; HALF] {
    std::array::from_fn(|lane| sums[lane] + sums[lane + HALF])
}

/// Similarity of two unit vectors, one as it is kept, -1 to 1: rounding may carry the dot product just outside.
pub(super) fn similarity(a: &[f32], b: &[f16]) -> f32 {
    half::dot(a, b).clamp(-1.0, 1.0)
}

/// `vector` has the dimension, is finite, and has length 1.
pub(super) fn check_unit(vector: &[f32], dimension: usize) -> Result<(), IndexError> {
    if vector.len() != dimension {
        return Err(IndexError::Dimension { expected: dimension, received: vector.len() });
    }
    if let Some(position) = vector.iter().position(|value| !value.is_finite()) {
        return Err(IndexError::NotFinite { position, received: vector[position] });
    }
    let length = dot(vector, vector).sqrt();
    // Written so that an overflow to infinity is refused too.
    if (length - 1.0).abs() <= UNIT_TOLERANCE { Ok(()) } else { Err(IndexError::NotUnit { received: length }) }
}

/// Bytes of a line of the cache.
const LINE: usize = 64;

/// Brings what is there into the cache, without waiting for it.
#[inline(always)]
pub(super) fn fetch<T>(values: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for offset in (0..size_of_val(values)).step_by(LINE) {
        // SAFETY: a hint; SSE is part of x86-64, and the address lies in the slice.
        unsafe {
            let line = values.as_ptr().cast::<i8>().add(offset);
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn dot_agrees_with_f64_at_every_length() {
        for n in 0..70 {
            let a: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
            let b: Vec<f32> = (0..n).map(|i| (i as f32 * 0.91).cos()).collect();
            let truth: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            assert!((f64::from(dot(&a, &b)) - truth).abs() < 1e-5, "{n}");
        }
    }

    #[test]
    fn only_unit_vectors_pass() {
        assert!(check_unit(&[0.6, 0.8], 2).is_ok());
        let error = |v: &[f32]| check_unit(v, 2).unwrap_err();
        assert!(matches!(error(&[1.0]), IndexError::Dimension { expected: 2, received: 1 }));
        assert!(matches!(error(&[1.0, f32::NAN]), IndexError::NotFinite { position: 1, .. }));
        assert!(matches!(error(&[f32::INFINITY, 0.0]), IndexError::NotFinite { position: 0, .. }));
        assert!(matches!(error(&[0.0, 0.0]), IndexError::NotUnit { .. }));
        assert!(matches!(error(&[1.0, 1.0]), IndexError::NotUnit { .. }));
        assert!(matches!(error(&[f32::MAX, f32::MAX]), IndexError::NotUnit { .. }));
    }
}
