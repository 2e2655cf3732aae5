//! Vectors at a byte a value, for walks: a fourth of the memory to fetch and sixty-four products an instruction.
//! A walk ranks rows by the dot product of codes; the best of them are scored again by their vectors.
//!
//! A value is scaled, rounded and cut to -127 to 127. One scale serves all rows of a part, so that integers compare: it is
//! chosen so that [`KEPT`] of the values of a sample are not cut. Cutting the few largest leaves finer steps to all others.

use super::kernel::int8::{self, Block};
use super::rows::widened;
use super::segment::Merged;
use half::f16;
use half::slice::HalfFloatSliceExt;

/// Share of values that fit the range of a code.
const KEPT: f64 = 0.9995;
/// Rows the scale is chosen by, spread over all.
const SAMPLE: usize = 4096;

/// Codes of rows, row-major, padded with zeros to whole blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Codes<'a> {
    scale: f32,
    /// Blocks a row.
    width: usize,
    blocks: &'a [Block],
}

impl<'a> Codes<'a> {
    /// `blocks` were made with `scale`, of vectors of that dimension.
    pub(super) fn new(scale: f32, dimension: usize, blocks: &'a [Block]) -> Self {
        Self { scale, width: dimension.div_ceil(int8::LANES), blocks }
    }

    /// Dot product of a vector of unit length with itself, were no value cut.
    pub(super) fn unit(&self) -> f32 {
        self.scale * self.scale
    }

    /// A query in these codes.
    pub(super) fn encode(&self, vector: &[f32]) -> Vec<Block> {
        let mut blocks = Vec::with_capacity(self.width);
        push(&mut blocks, vector, self.scale);
        blocks
    }

    /// About the vector that a code was made of.
    pub(super) fn decode(&self, position: u32, vector: &mut [f16]) {
        let values = self.row(position).iter().flat_map(|block| block.0);
        vector.iter_mut().zip(values).for_each(|(slot, code)| *slot = f16::from_f32(f32::from(code) / self.scale));
    }

    /// The code of a row.
    pub(super) fn row(&self, position: u32) -> &'a [Block] {
        &self.blocks[position as usize * self.width..(position as usize + 1) * self.width]
    }

    /// Dot product of `query` with each of `positions`, in their order; `out` is emptied first.
    pub(super) fn dots(&self, query: &[Block], positions: &[u32], out: &mut Vec<i32>) {
        int8::dots(query, self.blocks, positions, out);
    }
}

/// Codes that are made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Encoded {
    scale: f32,
    dimension: usize,
    blocks: Vec<Block>,
}

impl Encoded {
    pub(super) fn new(rows: &Merged<'_>, dimension: usize) -> Self {
        let scale = scale(rows);
        let mut blocks = Vec::with_capacity(rows.len() * dimension.div_ceil(int8::LANES));
        let (mut buffer, mut wide) = (Vec::new(), vec![0.0; dimension]);
        for position in 0..rows.len() {
            rows.vector(position, &mut buffer).convert_to_f32_slice(&mut wide);
            push(&mut blocks, &wide, scale);
        }
        Self { scale, dimension, blocks }
    }

    pub(super) fn scale(&self) -> f32 {
        self.scale
    }

    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    pub(super) fn codes(&self) -> Codes<'_> {
        Codes::new(self.scale, self.dimension, &self.blocks)
    }
}

fn push(blocks: &mut Vec<Block>, vector: &[f32], scale: f32) {
    for part in vector.chunks(int8::LANES) {
        let mut block = Block([0; int8::LANES]);
        for (slot, value) in block.0.iter_mut().zip(part) {
            // Not `round`: a call for each value on processors without SSE 4.1, which the build is for.
            let scaled = (value * scale).clamp(-127.0, 127.0);
            *slot = (scaled + 0.5f32.copysign(scaled)) as i8;
        }
        blocks.push(block);
    }
}

/// What makes a code of a value.
fn scale(rows: &Merged<'_>) -> f32 {
    let step = rows.len().div_ceil(SAMPLE).max(1);
    let mut buffer = Vec::new();
    let mut values = Vec::new();
    for position in (0..rows.len()).step_by(step) {
        values.extend(widened(rows.vector(position, &mut buffer)).into_iter().map(f32::abs));
    }
    if values.is_empty() {
        return 127.0;
    }
    let last = ((values.len() - 1) as f64 * KEPT) as usize;
    let (_, largest, _) = values.select_nth_unstable_by(last, f32::total_cmp);
    127.0 / largest.max(1e-3)
}

#[cfg(test)]
mod tests {
    use super::super::rows::{Part, Rows, halved};
    use super::*;

    fn part(dimension: usize, vectors: &[Vec<f32>]) -> Part {
        let mut rows = Rows::new(dimension);
        vectors.iter().enumerate().for_each(|(i, v)| rows.push(i as u64, i as u32, &halved(v)));
        Part::open(rows)
    }

    #[test]
    fn codes_rank_as_vectors_do_but_for_their_steps() {
        let vectors: Vec<Vec<f32>> = (0..200)
            .map(|i| {
                let raw: Vec<f32> = (0..70).map(|k| ((i * 37 + k * 101) as f32 * 0.7).sin()).collect();
                let length = raw.iter().map(|v| v * v).sum::<f32>().sqrt();
                raw.iter().map(|v| v / length).collect()
            })
            .collect();
        let parts = [part(70, &vectors)];
        let encoded = Encoded::new(&Merged::new(&parts), 70);
        let codes = encoded.codes();
        let mut dots = Vec::new();
        codes.dots(&codes.encode(&vectors[3]), &(0..200).collect::<Vec<_>>(), &mut dots);
        let mut back = vec![f16::ZERO; 70];
        for (i, (vector, dot)) in vectors.iter().zip(dots).enumerate() {
            let truth = super::super::kernel::dot(vector, &vectors[3]);
            assert!((dot as f32 / (codes.scale * codes.scale) - truth).abs() < 0.01);
            codes.decode(i as u32, &mut back);
            assert!(super::super::kernel::dot(vector, &widened(&back)) > 0.99);
        }
    }

    #[test]
    fn a_part_without_rows_or_of_zeros_has_codes() {
        assert!(Encoded::new(&Merged::new(&[part(8, &[])]), 8).blocks().is_empty());
        let parts = [part(8, &[vec![0.0; 8]])];
        let encoded = Encoded::new(&Merged::new(&parts), 8);
        let mut dots = Vec::new();
        encoded.codes().dots(encoded.codes().row(0), &[0], &mut dots);
        assert_eq!(dots, [0]);
    }
}
