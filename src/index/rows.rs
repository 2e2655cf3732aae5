//! Vectors in flat chunks, and parts: a run of rows with its liveness and, when it is large, its graph.
//! A row's id is given once and never again, so no search can mistake a new vector for a dead one.
//! Chunks are shared: a snapshot or a build holds on to them while the index goes on changing.

use super::graph::Graph;
use std::sync::Arc;

/// Rows in a chunk: 1 MiB of 256-d vectors, the most a write copies when a snapshot still holds the chunk.
const CHUNK_ROWS: usize = 1024;

/// Id of a row: counts up for the life of an index.
pub(super) type RowId = u64;

/// Vectors with their ids and the slots of the products they belong to, in the order they came.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    dimension: usize,
    chunks: Vec<Arc<Vec<f32>>>,
    /// Ascending.
    ids: Vec<RowId>,
    owners: Vec<u32>,
}

impl Rows {
    pub(super) fn new(dimension: usize) -> Self {
        Self { dimension, chunks: Vec::new(), ids: Vec::new(), owners: Vec::new() }
    }

    pub(super) fn dimension(&self) -> usize {
        self.dimension
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Appends a row; `id` is larger than all before.
    pub(super) fn push(&mut self, id: RowId, owner: u32, vector: &[f32]) {
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

    pub(super) fn vector(&self, position: usize) -> &[f32] {
        let start = (position % CHUNK_ROWS) * self.dimension;
        &self.chunks[position / CHUNK_ROWS][start..start + self.dimension]
    }

    /// Vectors in order, chunk by chunk: quicker to scan than [`Rows::vector`] by position.
    pub(super) fn vectors(&self) -> impl Iterator<Item = &[f32]> {
        let dimension = self.dimension.max(1);
        self.chunks.iter().flat_map(move |chunk| chunk.chunks_exact(dimension))
    }

    pub(super) fn id(&self, position: usize) -> RowId {
        self.ids[position]
    }

    pub(super) fn owner(&self, position: usize) -> u32 {
        self.owners[position]
    }

    pub(super) fn owners(&self) -> &[u32] {
        &self.owners
    }

    /// Where the row `id` is, if here.
    pub(super) fn position(&self, id: RowId) -> Option<usize> {
        self.ids.binary_search(&id).ok()
    }

    /// Bytes held, about.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.capacity() * size_of::<f32>()).sum::<usize>()
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

/// Rows, which of them are dead, and a graph over them unless they are scanned.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) rows: Arc<Rows>,
    pub(super) dead: Bits,
    pub(super) graph: Option<Arc<Graph>>,
}

impl Part {
    pub(super) fn new(rows: Rows, graph: Option<Graph>) -> Self {
        Self { rows: Arc::new(rows), dead: Bits::default(), graph: graph.map(Arc::new) }
    }

    pub(super) fn live(&self) -> usize {
        self.rows.len() - self.dead.count()
    }

    /// Marks a row dead; false when it is not here or dead already.
    pub(super) fn kill(&mut self, id: RowId) -> bool {
        match self.rows.position(id) {
            Some(position) => self.dead.insert(position),
            None => false,
        }
    }

    pub(super) fn live_position(&self, id: RowId) -> Option<usize> {
        let position = self.rows.position(id)?;
        (!self.dead.contains(position)).then_some(position)
    }
}
