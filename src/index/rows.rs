//! Vectors in flat chunks, and parts: a run of rows with its liveness, scanned or sealed in a segment.
//! A row's id is given once and never again, so no search can mistake a new vector for a dead one.
//! Chunks are shared: a snapshot or a build holds on to them while the index goes on changing.
//!
//! Values are kept in half precision (IEEE 754 binary16), here as in segments, so that a row scores the same before and
//! after it is sealed. The rounding moves a score of unit vectors by some 2e-5.

use super::segment::Segment;
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::sync::Arc;

/// Rows in a chunk: 512 KiB of 256-d vectors, the most a write copies when a snapshot still holds the chunk.
const CHUNK_ROWS: usize = 1024;

/// Id of a row: counts up for the life of an index.
pub(super) type RowId = u64;

/// A vector as it is kept.
pub(super) fn halved(vector: &[f32]) -> Vec<f16> {
    let mut out = vec![f16::ZERO; vector.len()];
    out.convert_from_f32_slice(vector);
    out
}

/// A kept vector as it is handed out.
pub(super) fn widened(vector: &[f16]) -> Vec<f32> {
    let mut out = vec![0.0; vector.len()];
    vector.convert_to_f32_slice(&mut out);
    out
}

/// Vectors with their ids and the slots of the products they belong to, in the order they came.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    dimension: usize,
    chunks: Vec<Arc<Vec<f16>>>,
    /// Ascending.
    ids: Vec<RowId>,
    owners: Vec<u32>,
}

impl Rows {
    pub(super) fn new(dimension: usize) -> Self {
        Self { dimension, chunks: Vec::new(), ids: Vec::new(), owners: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Appends a row; `id` is larger than all before.
    pub(super) fn push(&mut self, id: RowId, owner: u32, vector: &[f16]) {
        debug_assert!(self.ids.last().is_none_or(|last| *last < id));
        if self.ids.len().is_multiple_of(CHUNK_ROWS) {
            let chunk = Vec::with_capacity(CHUNK_ROWS * self.dimension);
            self.chunks.push(Arc::new(chunk));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            Arc::make_mut(chunk).extend_from_slice(vector);
        }
        self.ids.push(id);
        self.owners.push(owner);
    }

    pub(super) fn vector(&self, position: usize) -> &[f16] {
        let start = (position % CHUNK_ROWS) * self.dimension;
        &self.chunks[position / CHUNK_ROWS][start..start + self.dimension]
    }

    pub(super) fn ids(&self) -> &[RowId] {
        &self.ids
    }

    pub(super) fn owners(&self) -> &[u32] {
        &self.owners
    }

    /// Bytes held, about.
    fn bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.capacity() * size_of::<f16>()).sum::<usize>()
            + self.ids.capacity() * size_of::<RowId>()
            + self.owners.capacity() * size_of::<u32>()
    }
}

/// A set of positions.
#[derive(Clone, Debug, Default)]
pub(super) struct Bits {
    words: Vec<u64>,
    count: usize,
}

impl Bits {
    /// Empty, with room for positions below `positions`.
    pub(super) fn sized(positions: usize) -> Self {
        Self { words: vec![0; positions.div_ceil(64)], count: 0 }
    }

    pub(super) fn contains(&self, position: usize) -> bool {
        self.words.get(position / 64).is_some_and(|word| word >> (position % 64) & 1 == 1)
    }

    /// True when it was not there before.
    pub(super) fn insert(&mut self, position: usize) -> bool {
        if position / 64 >= self.words.len() {
            self.words.resize(position / 64 + 1, 0);
        }
        let bit = 1 << (position % 64);
        let word = &mut self.words[position / 64];
        let new = *word & bit == 0;
        *word |= bit;
        self.count += usize::from(new);
        new
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }
}

/// Where the rows of a part are.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// In memory, by id; scanned.
    Open(Arc<Rows>),
    /// In a segment, by slot and id, under a graph.
    Sealed(Arc<Segment>),
}

/// Rows, and which of them are dead.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) body: Body,
    pub(super) dead: Bits,
    /// Rows that a build's graph did not find: another build would not either.
    pub(super) stray: bool,
}

impl Part {
    pub(super) fn open(rows: Rows) -> Self {
        Self { body: Body::Open(Arc::new(rows)), dead: Bits::default(), stray: false }
    }

    pub(super) fn sealed(segment: Segment) -> Self {
        Self { body: Body::Sealed(Arc::new(segment)), dead: Bits::default(), stray: false }
    }

    /// Rows, dead ones too.
    pub(super) fn len(&self) -> usize {
        match &self.body {
            Body::Open(rows) => rows.len(),
            Body::Sealed(segment) => segment.len(),
        }
    }

    pub(super) fn segment(&self) -> Option<&Arc<Segment>> {
        match &self.body {
            Body::Open(_) => None,
            Body::Sealed(segment) => Some(segment),
        }
    }

    pub(super) fn live(&self) -> usize {
        self.len() - self.dead.count()
    }

    pub(super) fn owners(&self) -> &[u32] {
        match &self.body {
            Body::Open(rows) => rows.owners(),
            Body::Sealed(segment) => segment.owners(),
        }
    }

    pub(super) fn ids(&self) -> &[RowId] {
        match &self.body {
            Body::Open(rows) => rows.ids(),
            Body::Sealed(segment) => segment.ids(),
        }
    }

    /// The vector at `position`; `buffer` is where it is put if it must be read.
    pub(super) fn vector<'a>(&'a self, position: usize, buffer: &'a mut Vec<f16>) -> &'a [f16] {
        match &self.body {
            Body::Open(rows) => rows.vector(position),
            Body::Sealed(segment) => segment.vector(position, buffer),
        }
    }

    /// Where the row `id` of the product at `slot` is, if here and alive.
    pub(super) fn find(&self, slot: u32, id: RowId) -> Option<usize> {
        let position = match &self.body {
            Body::Open(rows) => rows.ids().binary_search(&id).ok().filter(|at| rows.owners()[*at] == slot)?,
            Body::Sealed(segment) => {
                let range = segment.rows_of(slot);
                range.start + segment.ids()[range].binary_search(&id).ok()?
            }
        };
        (!self.dead.contains(position)).then_some(position)
    }

    /// Marks a row dead; false when it is not here or dead already.
    pub(super) fn kill(&mut self, slot: u32, id: RowId) -> bool {
        self.find(slot, id).is_some_and(|position| self.dead.insert(position))
    }

    /// Bytes in memory, about: of a segment also what is only mapped.
    pub(super) fn bytes(&self) -> usize {
        match &self.body {
            Body::Open(rows) => rows.bytes(),
            Body::Sealed(segment) => segment.bytes(),
        }
    }
}
