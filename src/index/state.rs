//! What the index holds, and the one way it changes: a product's new state replaces the old.
//! Everything here runs under the index's write lock, so it copies vectors that are new and nothing else.

use super::rows::{Part, RowId, Rows};
use super::{IndexedProduct, build::Built};
use crate::filter::Facets;
use std::collections::HashMap;
use std::sync::Arc;

/// Deletions remembered one by one, so that an older change that arrives late cannot bring a product back.
const REMEMBERED_DELETIONS: usize = 4096;

/// A product as the index knows it.
#[derive(Clone, Debug)]
pub(super) struct Product {
    pub(super) id: Arc<str>,
    /// The change it comes from.
    pub(super) seq: u64,
    pub(super) facets: Arc<Facets>,
    /// In the order of the catalog.
    pub(super) images: Vec<(Arc<str>, RowId)>,
}

/// A moment of a [`State`], for a snapshot.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) seq: u64,
    pub(super) next_row: RowId,
    pub(super) slots: Vec<Option<Arc<Product>>>,
    pub(super) parts: Vec<Part>,
}

/// The whole of an index; see the [module](super).
#[derive(Debug)]
pub(super) struct State {
    dimension: usize,
    /// Last change seen.
    pub(super) seq: u64,
    /// Changes up to here are in, every one.
    floor: u64,
    /// Products by slot; a row names its product by slot. Slots are reused: rows are told apart by liveness.
    pub(super) slots: Vec<Option<Arc<Product>>>,
    free: Vec<u32>,
    by_id: HashMap<Arc<str>, u32>,
    /// Deleted products and the change that deleted them.
    gone: HashMap<Arc<str>, u64>,
    /// Oldest first; the last takes new rows and has no graph.
    pub(super) parts: Vec<Part>,
    next_row: RowId,
    /// While a build is under way: how many of the oldest parts it replaces, and rows that died since it began.
    building: Option<(usize, Vec<RowId>)>,
    /// After a build that failed: no other before the rows have come this far.
    retry_at: RowId,
}

impl State {
    pub(super) fn new(dimension: usize) -> Self {
        Self {
            dimension,
            seq: 0,
            floor: 0,
            slots: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            gone: HashMap::new(),
            parts: vec![Part::new(Rows::new(dimension), None)],
            next_row: 0,
            building: None,
            retry_at: 0,
        }
    }

    /// What a snapshot keeps; cheap, since vectors and graphs are shared.
    pub(super) fn image(&self) -> Image {
        Image { seq: self.seq, next_row: self.next_row, slots: self.slots.clone(), parts: self.parts.clone() }
    }

    /// What a snapshot kept, put back; every change up to its `seq` is in it.
    pub(super) fn restored(dimension: usize, image: Image) -> Self {
        let mut state = Self::new(dimension);
        state.seq = image.seq;
        state.floor = image.seq;
        state.next_row = image.next_row;
        state.parts = image.parts;
        state.parts.retain(|part| part.rows.len() > 0);
        state.parts.push(Part::new(Rows::new(dimension), None));
        for (slot, product) in image.slots.iter().enumerate() {
            match product {
                Some(product) => drop(state.by_id.insert(product.id.clone(), slot as u32)),
                None => state.free.push(slot as u32),
            }
        }
        state.slots = image.slots;
        state
    }

    pub(super) fn product(&self, product_id: &str) -> Option<&Arc<Product>> {
        let slot = *self.by_id.get(product_id)?;
        self.slots[slot as usize].as_ref()
    }

    pub(super) fn slot(&self, product_id: &str) -> Option<u32> {
        self.by_id.get(product_id).copied()
    }

    pub(super) fn products(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn live_rows(&self) -> usize {
        self.parts.iter().map(Part::live).sum()
    }

    /// Rows, dead ones too.
    pub(super) fn rows(&self) -> usize {
        self.parts.iter().map(|part| part.rows.len()).sum()
    }

    /// The vector of a live row.
    pub(super) fn vector(&self, id: RowId) -> Option<&[f32]> {
        self.parts.iter().find_map(|part| {
            let position = part.live_position(id)?;
            Some(part.rows.vector(position))
        })
    }

    /// Notes a change that concerns no product here.
    pub(super) fn mark(&mut self, seq: u64) {
        self.seq = self.seq.max(seq);
    }

    /// The new state of a product; false when a change at least as new is in already.
    pub(super) fn apply(&mut self, seq: u64, product_id: &str, new: Option<IndexedProduct>) -> bool {
        let known = self.product(product_id).map(|product| product.seq);
        let known = known.or_else(|| self.gone.get(product_id).copied());
        if seq <= self.floor || known.is_some_and(|known| seq <= known) {
            return false;
        }
        self.seq = self.seq.max(seq);
        match new {
            Some(new) => self.put(seq, new),
            None => self.remove(seq, product_id),
        }
        true
    }

    fn put(&mut self, seq: u64, new: IndexedProduct) {
        let slot = self.slot_for(&new.product_id);
        let old = self.slots[slot as usize].take();
        let (id, old_images) = match &old {
            Some(old) => (old.id.clone(), old.images.as_slice()),
            None => (Arc::from(new.product_id.as_str()), &[][..]),
        };
        // Rows of images whose vector did not change stay: a new price touches no vector.
        let mut kept: HashMap<&str, (&Arc<str>, RowId)> = HashMap::with_capacity(old_images.len());
        for (image_id, row) in old_images {
            kept.insert(image_id, (image_id, *row));
        }
        let mut images = Vec::with_capacity(new.images.len());
        for image in &new.images {
            let unchanged = kept
                .get(image.image_id.as_str())
                .filter(|(_, row)| self.vector(*row) == Some(image.embedding.as_slice()));
            match unchanged {
                Some(&(image_id, row)) => {
                    images.push((image_id.clone(), row));
                    kept.remove(image.image_id.as_str());
                }
                None => {
                    let row = self.push_row(slot, &image.embedding);
                    images.push((Arc::from(image.image_id.as_str()), row));
                }
            }
        }
        for (_, row) in kept.into_values() {
            self.kill(row);
        }
        let facets = match &old {
            Some(old) if *old.facets == new.facets => old.facets.clone(),
            _ => Arc::new(new.facets),
        };
        self.gone.remove(&id);
        self.by_id.insert(id.clone(), slot);
        self.slots[slot as usize] = Some(Arc::new(Product { id, seq, facets, images }));
    }

    fn slot_for(&mut self, product_id: &str) -> u32 {
        if let Some(slot) = self.by_id.get(product_id) {
            return *slot;
        }
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        })
    }

    fn remove(&mut self, seq: u64, product_id: &str) {
        if let Some(slot) = self.by_id.remove(product_id)
            && let Some(product) = self.slots[slot as usize].take()
        {
            for (_, row) in &product.images {
                self.kill(*row);
            }
            self.free.push(slot);
        }
        self.gone.insert(Arc::from(product_id), seq);
        if self.gone.len() > REMEMBERED_DELETIONS {
            self.forget_deletions();
        }
    }

    /// Forgets the older half; changes as old as those are refused from then on.
    fn forget_deletions(&mut self) {
        let mut seqs: Vec<u64> = self.gone.values().copied().collect();
        let middle = seqs.len() / 2;
        let (_, median, _) = seqs.select_nth_unstable(middle);
        self.floor = self.floor.max(*median);
        let floor = self.floor;
        self.gone.retain(|_, seq| *seq > floor);
    }

    fn push_row(&mut self, slot: u32, vector: &[f32]) -> RowId {
        let id = self.next_row;
        self.next_row += 1;
        if let Some(tail) = self.parts.last_mut() {
            Arc::make_mut(&mut tail.rows).push(id, slot, vector);
        }
        id
    }

    fn kill(&mut self, id: RowId) {
        for part in &mut self.parts {
            if part.kill(id) {
                break;
            }
        }
        if let Some((_, died)) = &mut self.building {
            died.push(id);
        }
    }

    /// Starts a build over every part there is: they take no new rows from here on.
    pub(super) fn begin_build(&mut self) -> Option<Vec<Part>> {
        if self.building.is_some() {
            return None;
        }
        let parts = self.parts.clone();
        self.building = Some((parts.len(), Vec::new()));
        self.parts.push(Part::new(Rows::new(self.dimension), None));
        Some(parts)
    }

    /// Puts what was built in the place of what it was built from: graph and the rows it covers, and those it
    /// cannot reach, which are scanned. `None`: the build failed, all stays.
    /// Gives back what was replaced, to be freed without the lock.
    pub(super) fn end_build(&mut self, built: Option<Built>) -> Vec<Part> {
        let Some((replaced, died)) = self.building.take() else {
            return Vec::new();
        };
        let Some((rows, graph, unreachable)) = built else {
            self.retry_at = self.next_row + self.live_rows() as RowId / 4 + 1;
            return Vec::new();
        };
        let mut base = Part::new(rows, graph);
        let mut stray = Part::new(unreachable, None);
        for position in 0..stray.rows.len() {
            base.kill(stray.rows.id(position));
        }
        for id in died {
            base.kill(id);
            stray.kill(id);
        }
        let rest = self.parts.split_off(replaced);
        let old = std::mem::replace(&mut self.parts, vec![base]);
        if stray.live() > 0 {
            self.parts.push(stray);
        }
        self.parts.extend(rest);
        old
    }

    pub(super) fn is_building(&self) -> bool {
        self.building.is_some()
    }

    /// False while a failed build is too fresh to be tried again.
    pub(super) fn may_build(&self) -> bool {
        !self.is_building() && self.next_row >= self.retry_at
    }
}
