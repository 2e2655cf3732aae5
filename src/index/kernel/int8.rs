//! Dot products of signed bytes, exact in 32 bits. The way is chosen once, by what the processor has; all ways give the
//! same integers. On aarch64 the portable way is what the compiler makes of it with NEON.

use super::fetch;
use std::sync::LazyLock;

/// Values in a block: one cache line, one register of AVX-512.
pub(in crate::index) const LANES: usize = 64;

/// Values side by side, on a line of their own.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub(in crate::index) struct Block(pub(in crate::index) [i8; LANES]);

// SAFETY: an array of bytes as long as its alignment: no padding, and any bits are a value.
unsafe impl bytemuck::Zeroable for Block {}
// SAFETY: see above.
unsafe impl bytemuck::Pod for Block {}

/// Rows fetched ahead of the one that is multiplied: a fetch from memory takes as long as about eight products.
const AHEAD: usize = 8;

type Dots = fn(&[Block], &[Block], &[u32], &mut Vec<i32>);

static DOTS: LazyLock<Dots> = LazyLock::new(|| {
    #[cfg(target_arch = "x86_64")]
    {
        if x86::has_vnni() {
            return x86::vnni;
        }
        if is_x86_feature_detected!("avx2") {
            return x86::avx2;
        }
    }
    portable
});

/// Dot products of `query` with the rows of `codes` at `positions`, into `out`, which is emptied first. Rows have as many
/// blocks as the query. Products of up to 2,000 blocks cannot overflow.
pub(in crate::index) fn dots(query: &[Block], codes: &[Block], positions: &[u32], out: &mut Vec<i32>) {
    DOTS(query, codes, positions, out);
}

fn portable(query: &[Block], codes: &[Block], positions: &[u32], out: &mut Vec<i32>) {
    each(query.len(), codes, positions, out, |row| {
        let mut total = 0i32;
        for (a, b) in query.iter().zip(row) {
            total += a.0.iter().zip(&b.0).map(|(a, b)| i32::from(i16::from(*a) * i16::from(*b))).sum::<i32>();
        }
        total
    });
}

/// Hands each row to `dot`, others fetched meanwhile.
#[inline(always)]
fn each(width: usize, codes: &[Block], positions: &[u32], out: &mut Vec<i32>, dot: impl Fn(&[Block]) -> i32) {
    let row = |position: u32| &codes[position as usize * width..(position as usize + 1) * width];
    positions.iter().take(AHEAD).for_each(|position| fetch(row(*position)));
    out.clear();
    out.extend(positions.iter().enumerate().map(|(i, position)| {
        if let Some(later) = positions.get(i + AHEAD) {
            fetch(row(*later));
        }
        dot(row(*position))
    }));
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Block, each};
    use std::arch::x86_64::*;

    pub(super) fn has_vnni() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni")
    }

    pub(super) fn vnni(query: &[Block], codes: &[Block], positions: &[u32], out: &mut Vec<i32>) {
        debug_assert!(has_vnni());
        // SAFETY: chosen only where the processor has the features.
        unsafe { with_vnni(query, codes, positions, out) }
    }

    /// The instruction takes unsigned bytes times signed ones: 128 is added to the row's, and what that adds taken off.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn with_vnni(query: &[Block], codes: &[Block], positions: &[u32], out: &mut Vec<i32>) {
        let flip = _mm512_set1_epi8(-128);
        let mut added = _mm512_setzero_si512();
        for block in query {
            // SAFETY: a block is 64 bytes on a boundary of 64.
            let block = unsafe { _mm512_load_si512(block.0.as_ptr().cast()) };
            added = _mm512_dpbusd_epi32(added, flip, block);
        }
        let added = _mm512_reduce_add_epi32(added);
        each(query.len(), codes, positions, out, |row| {
            let mut total = _mm512_setzero_si512();
            for (a, b) in query.iter().zip(row) {
                // SAFETY: a block is 64 bytes on a boundary of 64.
                let (a, b) =
                    unsafe { (_mm512_load_si512(a.0.as_ptr().cast()), _mm512_load_si512(b.0.as_ptr().cast())) };
                total = _mm512_dpbusd_epi32(total, _mm512_xor_si512(b, flip), a);
            }
            _mm512_reduce_add_epi32(total) - added
        });
    }

    pub(super) fn avx2(query: &[Block], codes: &[Block], positions: &[u32], out: &mut Vec<i32>) {
        debug_assert!(is_x86_feature_detected!("avx2"));
        // SAFETY: chosen only where the processor has the feature.
        unsafe { with_avx2(query, codes, positions, out) }
    }

    #[target_feature(enable = "avx2")]
    fn with_avx2(query: &[Block], codes: &[Block], positions: &[u32], out: &mut Vec<i32>) {
        each(query.len(), codes, positions, out, |row| {
            let mut total = _mm256_setzero_si256();
            for (a, b) in query.iter().zip(row) {
                for (a, b) in a.0.as_chunks::<16>().0.iter().zip(b.0.as_chunks::<16>().0) {
                    // SAFETY: 16 bytes each, no alignment asked for.
                    let (a, b) = unsafe { (_mm_loadu_si128(a.as_ptr().cast()), _mm_loadu_si128(b.as_ptr().cast())) };
                    let product = _mm256_madd_epi16(_mm256_cvtepi8_epi16(a), _mm256_cvtepi8_epi16(b));
                    total = _mm256_add_epi32(total, product);
                }
            }
            let half = _mm_add_epi32(_mm256_castsi256_si128(total), _mm256_extracti128_si256::<1>(total));
            let pair = _mm_add_epi32(half, _mm_shuffle_epi32::<0b01_00_11_10>(half));
            _mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32::<0b10_11_00_01>(pair)))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(count: usize, seed: i32) -> Vec<Block> {
        let value = |i: usize| ((i as i32 * 7919 + seed * 104_729) % 255 - 127) as i8;
        (0..count).map(|b| Block(std::array::from_fn(|lane| value(b * LANES + lane)))).collect()
    }

    #[test]
    fn all_ways_give_the_exact_sum() {
        for (width, extreme) in [(1, false), (4, false), (5, true), (0, false)] {
            let mut codes = blocks(20 * width, 3);
            let mut query = blocks(width, 5);
            if extreme {
                codes.iter_mut().for_each(|block| block.0 = [-127; LANES]);
                query.iter_mut().for_each(|block| block.0 = [127; LANES]);
            }
            let positions = [3, 0, 19, 7, 7, 11, 2, 1, 18, 4, 5];
            let truth = positions.map(|position| {
                let row = &codes[position as usize * width..(position as usize + 1) * width];
                let pairs = query.iter().zip(row).flat_map(|(a, b)| a.0.into_iter().zip(b.0));
                pairs.map(|(a, b)| i32::from(a) * i32::from(b)).sum::<i32>()
            });
            let mut ways: Vec<Dots> = vec![portable, dots];
            #[cfg(target_arch = "x86_64")]
            {
                if x86::has_vnni() {
                    ways.push(x86::vnni);
                }
                if is_x86_feature_detected!("avx2") {
                    ways.push(x86::avx2);
                }
            }
            for way in ways {
                let mut out = vec![1; 3];
                way(&query, &codes, &positions, &mut out);
                assert_eq!(out, truth);
            }
        }
    }
}
