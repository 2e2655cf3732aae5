//! What the index holds, and the one way it changes: a product's new state replaces the old.
//! Everything here runs under the index's write lock, so it copies vectors that are new and nothing else.

use super::IndexedProduct;
use super::build::Built;
use super::products::{Products, Records};
use super::record::{Product, View};
use super::rows::{Body, Part, RowId, Rows, halved};
use crate::filter::{Columns, Facets, Terms};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

/// Deletions remembered one by one, so that an older change that arrives late cannot bring a product back.
const REMEMBERED_DELETIONS: usize = 4096;

/// A moment of a [`State`], for a snapshot.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) seq: u64,
    pub(super) next_row: RowId,
    pub(super) records: Records,
    pub(super) terms: Terms,
    pub(super) parts: Vec<Part>,
}

/// A build under way.
#[derive(Debug)]
struct Building {
    /// The parts it replaces: from this one on, so many.
    from: usize,
    count: usize,
    /// Rows that died since it began, with their slots.
    died: Vec<(u32, RowId)>,
}

/// The whole of an index; see the [module](super).
#[derive(Debug)]
pub(super) struct State {
    dimension: usize,
    /// Last change seen.
    pub(super) seq: u64,
    /// Changes up to here are in, every one.
    floor: u64,
    /// A row names its product by slot. Slots are reused: rows are told apart by liveness.
    pub(super) products: Products,
    pub(super) columns: Columns,
    /// Deleted products and the change that deleted them.
    gone: HashMap<Arc<str>, u64>,
    /// Products whose rows were in a damaged file; any state of theirs is news.
    lost: HashSet<Arc<str>>,
    /// The last takes new rows; a stray part stands right behind the segment that lost its rows.
    pub(super) parts: Vec<Part>,
    next_row: RowId,
    building: Option<Building>,
    /// After a build that failed: no other before the rows have come this far.
    retry_at: RowId,
}

impl State {
    pub(super) fn new(dimension: usize) -> Self {
        Self {
            dimension,
            seq: 0,
            floor: 0,
            products: Products::default(),
            columns: Columns::default(),
            gone: HashMap::new(),
            lost: HashSet::new(),
            parts: vec![Part::open(Rows::new(dimension))],
            next_row: 0,
            building: None,
            retry_at: 0,
        }
    }

    /// What a snapshot keeps; cheap, since vectors, records and graphs are shared.
    pub(super) fn image(&self) -> Image {
        Image {
            seq: self.seq,
            next_row: self.next_row,
            records: self.products.records().clone(),
            terms: self.columns.terms().clone(),
            parts: self.parts.clone(),
        }
    }

    /// What a snapshot kept, put back; every change up to its `seq` is in it, but for the `lost` products, which are not
    /// among its records.
    pub(super) fn restored(
        dimension: usize,
        image: Image,
        columns: Columns,
        lost: impl IntoIterator<Item = Arc<str>>,
    ) -> Self {
        let mut state = Self::new(dimension);
        state.seq = image.seq;
        state.floor = image.seq;
        state.next_row = image.next_row;
        state.parts = image.parts;
        state.parts.retain(|part| part.len() > 0);
        state.parts.push(Part::open(Rows::new(dimension)));
        state.products = Products::restored(image.records);
        state.columns = columns;
        state.lost = lost.into_iter().collect();
        state
    }

    pub(super) fn product(&self, product_id: &str) -> Option<Product> {
        self.products.get(self.products.slot(product_id)?)
    }

    /// The facets of a product, or of these its group alone; `None` for a record that cannot be read.
    pub(super) fn facets_of(&self, product: &View<'_>, group_only: bool) -> Option<Facets> {
        if group_only {
            let group_id = self.columns.group_id(product.terms().flatten());
            return Some(Facets { group_id, ..Facets::default() });
        }
        Some(self.columns.facets(&product.coded()?))
    }

    /// Live rows.
    pub(super) fn live_rows(&self) -> usize {
        self.parts.iter().map(Part::live).sum()
    }

    /// Rows, dead ones too.
    pub(super) fn rows(&self) -> usize {
        self.parts.iter().map(Part::len).sum()
    }

    /// Hands over the vector of a live row.
    pub(super) fn with_vector<T>(&self, slot: u32, id: RowId, look: impl FnOnce(&[half::f16]) -> T) -> Option<T> {
        self.parts.iter().find_map(|part| Some((part, part.find(slot, id)?))).map(|(part, position)| {
            let mut buffer = Vec::new();
            look(part.vector(position, &mut buffer))
        })
    }

    pub(super) fn next_row(&self) -> RowId {
        self.next_row
    }

    /// Whether products of a damaged file are still missing.
    pub(super) fn is_healing(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Notes a change that concerns no product here.
    pub(super) fn mark(&mut self, seq: u64) {
        self.seq = self.seq.max(seq);
    }

    /// The new state of a product; false when a change at least as new is in already.
    pub(super) fn apply(&mut self, seq: u64, product_id: &str, new: Option<IndexedProduct>) -> bool {
        let known = self.product(product_id).map(|product| product.seq);
        let known = known.or_else(|| self.gone.get(product_id).copied());
        let healed = !self.lost.is_empty() && self.lost.remove(product_id);
        if !healed && (seq <= self.floor || known.is_some_and(|known| seq <= known)) {
            return false;
        }
        self.seq = self.seq.max(seq);
        match new {
            Some(new) => self.put(seq, &new),
            None => self.remove(seq, product_id),
        }
        true
    }

    fn put(&mut self, seq: u64, new: &IndexedProduct) {
        let slot = self.products.slot_for(&new.product_id);
        let old = self.products.get(slot);
        // Rows of images whose vector did not change stay: a new price touches no vector.
        let mut kept: HashMap<&str, (&Arc<str>, RowId)> = HashMap::new();
        for (image_id, row) in old.iter().flat_map(|old| &old.images) {
            kept.insert(image_id, (image_id, *row));
        }
        let mut images = Vec::with_capacity(new.images.len());
        for image in &new.images {
            let vector = halved(&image.embedding);
            let unchanged = kept
                .get(image.image_id.as_str())
                .filter(|(_, row)| self.with_vector(slot, *row, |held| held == vector) == Some(true));
            match unchanged {
                Some(&(image_id, row)) => {
                    images.push((image_id.clone(), row));
                    kept.remove(image.image_id.as_str());
                }
                None => {
                    let row = self.push_row(slot, &vector);
                    images.push((Arc::from(image.image_id.as_str()), row));
                }
            }
        }
        for (_, row) in kept.into_values() {
            self.kill(slot, row);
        }
        let coded = match &old {
            Some(old) if self.columns.facets(&old.coded) == new.facets => old.coded.clone(),
            old => {
                if let Some(old) = old {
                    self.columns.remove(slot, &old.coded);
                }
                self.columns.insert(slot, &new.facets)
            }
        };
        let id = old.map_or_else(|| Arc::from(new.product_id.as_str()), |old| old.id);
        self.gone.remove(&id);
        self.products.put(slot, &Product { id, seq, coded, images });
    }

    fn remove(&mut self, seq: u64, product_id: &str) {
        if let Some((slot, product)) = self.products.remove(product_id) {
            let Product { coded, images, .. } = &product;
            self.columns.remove(slot, coded);
            images.iter().for_each(|(_, row)| self.kill(slot, *row));
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

    fn push_row(&mut self, slot: u32, vector: &[half::f16]) -> RowId {
        let id = self.next_row;
        self.next_row += 1;
        if let Some(Part { body: Body::Open(rows), .. }) = self.parts.last_mut() {
            Arc::make_mut(rows).push(id, slot, vector);
        }
        id
    }

    fn kill(&mut self, slot: u32, id: RowId) {
        for part in &mut self.parts {
            if part.kill(slot, id) {
                break;
            }
        }
        if let Some(building) = &mut self.building {
            building.died.push((slot, id));
        }
    }

    /// Opens a new part for rows to come when the last has `most`.
    pub(super) fn close_tail(&mut self, most: usize) {
        if self.parts.last().is_none_or(|tail| tail.len() >= most) {
            self.parts.push(Part::open(Rows::new(self.dimension)));
        }
    }

    /// Starts a build over some parts: they take no new rows from here on.
    pub(super) fn begin_build(&mut self, range: Range<usize>) -> Option<Vec<Part>> {
        if self.building.is_some() || range.is_empty() || range.end > self.parts.len() {
            return None;
        }
        let parts = self.parts[range.clone()].to_vec();
        self.building = Some(Building { from: range.start, count: parts.len(), died: Vec::new() });
        if range.end == self.parts.len() {
            self.parts.push(Part::open(Rows::new(self.dimension)));
        }
        Some(parts)
    }

    /// Puts what was built in the place of what it was built from: rows under a graph, and those it cannot reach, which
    /// are scanned. `None`: the build failed, all stays.
    /// Gives back what was replaced, to be freed without the lock.
    pub(super) fn end_build(&mut self, built: Option<Built>) -> Vec<Part> {
        let Some(Building { from, count, died }) = self.building.take() else {
            return Vec::new();
        };
        let Some(Built { sealed, open }) = built else {
            self.retry_at = self.next_row + self.live_rows() as RowId / 4 + 1;
            return Vec::new();
        };
        let mut made: Vec<Part> = sealed.map(Part::sealed).into_iter().collect();
        let mut open = Part::open(open);
        open.stray = !made.is_empty();
        if let Some(sealed) = made.first_mut() {
            for (slot, id) in open.owners().iter().zip(open.ids()) {
                sealed.kill(*slot, *id);
            }
        }
        for (slot, id) in died {
            for part in made.iter_mut().chain([&mut open]) {
                part.kill(slot, id);
            }
        }
        if open.live() > 0 {
            made.push(open);
        }
        self.parts.splice(from..from + count, made).collect()
    }

    pub(super) fn is_building(&self) -> bool {
        self.building.is_some()
    }

    /// False while a failed build is too fresh to be tried again.
    pub(super) fn may_build(&self) -> bool {
        !self.is_building() && self.next_row >= self.retry_at
    }
}
