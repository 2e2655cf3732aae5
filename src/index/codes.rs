//! Vectors at a byte a value, for walks: a fourth of the memory to fetch and sixty-four products an instruction.
//! A walk ranks rows by the dot product of codes; the best of them are scored again by their vectors.
//!
//! A value is scaled, rounded and cut to -127 to 127. One scale serves all rows of a part, so that integers compare: it is
//! chosen so that [`KEPT`] of the values of a sample are not cut. Cutting the few largest leaves finer steps to all others.

use super::kernel::int8::{self, Block};
use super::rows::Rows;

/// Share of values that fit the range of a code.
const KEPT: f64 = 0.9995;
/// Rows the scale is chosen by, spread over all.
const SAMPLE: usize = 4096;

/// Codes of rows, row-major, padded with zeros to whole blocks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Codes {
    scale: f32,
    /// Blocks a row.
    width: usize,
    blocks: Vec<Block>,
}

impl Codes {
    pub(super) fn new(rows: &Rows) -> Self {
        let scale = scale(rows);
        let width = rows.dimension().div_ceil(int8::LANES);
        let mut blocks = Vec::with_capacity(rows.len() * width);
        for vector in rows.vectors() {
            push(&mut blocks, vector, scale);
        }
        Self { scale, width, blocks }
    }

    /// A query in these codes.
    pub(super) fn encode(&self, vector: &[f32]) -> Vec<Block> {
        let mut blocks = Vec::with_capacity(self.width);
        push(&mut blocks, vector, self.scale);
        blocks
    }

    /// The code of a row.
    pub(super) fn row(&self, position: u32) -> &[Block] {
        &self.blocks[position as usize * self.width..(position as usize + 1) * self.width]
    }

    /// Dot product of `query` with each of `positions`, in their order; `out` is emptied first.
    pub(super) fn dots(&self, query: &[Block], positions: &[u32], out: &mut Vec<i32>) {
        int8::dots(query, &self.blocks, positions, out);
    }

    pub(super) fn bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<Block>()
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
fn scale(rows: &Rows) -> f32 {
    let step = rows.len().div_ceil(SAMPLE).max(1);
    let mut values: Vec<f32> = (0..rows.len()).step_by(step).flat_map(|i| rows.vector(i)).map(|v| v.abs()).collect();
    if values.is_empty() {
        return 127.0;
    }
    let last = ((values.len() - 1) as f64 * KEPT) as usize;
    let (_, largest, _) = values.select_nth_unstable_by(last, f32::total_cmp);
    127.0 / largest.max(1e-3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_rank_as_vectors_do_but_for_their_steps() {
        let mut rows = Rows::new(70);
        let vectors: Vec<Vec<f32>> = (0..200)
            .map(|i| {
                let raw: Vec<f32> = (0..70).map(|k| ((i * 37 + k * 101) as f32 * 0.7).sin()).collect();
                let length = raw.iter().map(|v| v * v).sum::<f32>().sqrt();
                raw.iter().map(|v| v / length).collect()
            })
            .collect();
        vectors.iter().enumerate().for_each(|(i, v)| rows.push(i as u64, i as u32, v));
        let codes = Codes::new(&rows);
        let mut dots = Vec::new();
        codes.dots(&codes.encode(&vectors[3]), &(0..200).collect::<Vec<_>>(), &mut dots);
        for (vector, dot) in vectors.iter().zip(dots) {
            let truth = super::super::kernel::dot(vector, &vectors[3]);
            assert!((dot as f32 / (codes.scale * codes.scale) - truth).abs() < 0.01);
        }
    }

    #[test]
    fn a_part_without_rows_or_of_zeros_has_codes() {
        assert_eq!(Codes::new(&Rows::new(8)).bytes(), 0);
        let mut rows = Rows::new(8);
        rows.push(0, 0, &[0.0; 8]);
        let codes = Codes::new(&rows);
        let mut dots = Vec::new();
        codes.dots(codes.row(0), &[0], &mut dots);
        assert_eq!(dots, [0]);
    }
}
