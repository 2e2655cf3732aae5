//! Products by slot, and slots by product id. Records are shared in chunks: a snapshot holds on to what there was while the
//! index goes on changing, for one copy of a chunk of pointers at most a change.

use super::record::{self, Product};
use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// Records in a chunk: 16 KiB of pointers, the most a change copies.
const CHUNK: usize = 1024;

type Record = Option<Arc<[u8]>>;

/// Records by slot, shared in chunks.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    chunks: Vec<Arc<Vec<Record>>>,
    len: usize,
}

impl Records {
    /// Slots, used or not.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, slot: u32) -> Option<&[u8]> {
        self.chunks.get(slot as usize / CHUNK)?.get(slot as usize % CHUNK)?.as_deref()
    }

    pub(super) fn set(&mut self, slot: u32, record: Record) {
        if let Some(chunk) = self.chunks.get_mut(slot as usize / CHUNK) {
            Arc::make_mut(chunk)[slot as usize % CHUNK] = record;
        }
    }

    /// Appends a slot.
    pub(super) fn push(&mut self, record: Record) {
        if self.len.is_multiple_of(CHUNK) {
            self.chunks.push(Arc::new(Vec::with_capacity(CHUNK)));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            Arc::make_mut(chunk).push(record);
        }
        self.len += 1;
    }

    /// Slots in use and their records.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let all = self.chunks.iter().flat_map(|chunk| chunk.iter());
        (0u32..).zip(all).filter_map(|(slot, record)| Some((slot, record.as_deref()?)))
    }
}

/// Slots by the ids that their records begin with.
#[derive(Debug)]
struct Ids {
    tables: Vec<HashTable<u32>>,
    len: usize,
    hasher: RandomState,
}

impl Default for Ids {
    fn default() -> Self {
        Self { tables: vec![HashTable::new(); Self::TABLES], len: 0, hasher: RandomState::new() }
    }
}

impl Ids {
    /// A table that is full grows while searches wait: a single one of a million ids for 0.2 s, a thousandth of it for well
    /// below a millisecond.
    const TABLES: usize = 1024;

    /// Which table. hashbrown tells entries apart by the hash's highest bits and places them by the lowest.
    fn table(hash: u64) -> usize {
        (hash >> 32) as usize % Self::TABLES
    }

    /// Makes room for `len` ids.
    fn reserve(&mut self, len: usize) {
        // Tables do not fill evenly.
        let share = len / Self::TABLES * 9 / 8;
        self.tables.iter_mut().for_each(|table| table.reserve(share, |_| 0));
    }

    fn find(&self, records: &Records, id: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(id);
        let same = |slot: &u32| records.get(*slot).is_some_and(|record| record::id(record) == id);
        self.tables[Self::table(hash)].find(hash, same).copied()
    }

    /// An id that is not there yet.
    fn insert(&mut self, records: &Records, slot: u32, id: &str) {
        let hash = self.hasher.hash_one(id);
        let of = |slot: &u32| self.hasher.hash_one(records.get(*slot).map_or("", record::id));
        self.tables[Self::table(hash)].insert_unique(hash, slot, of);
        self.len += 1;
    }

    fn remove(&mut self, slot: u32, id: &str) {
        let hash = self.hasher.hash_one(id);
        if let Ok(entry) = self.tables[Self::table(hash)].find_entry(hash, |other| *other == slot) {
            entry.remove();
            self.len -= 1;
        }
    }

    fn bytes(&self) -> usize {
        const SLOT_AND_TAG: usize = 5;
        self.tables.iter().map(HashTable::capacity).sum::<usize>() * SLOT_AND_TAG
    }
}

/// Products; see the [module](self).
#[derive(Debug, Default)]
pub(super) struct Products {
    records: Records,
    ids: Ids,
    free: Vec<u32>,
    bytes: usize,
}

impl Products {
    /// Products from records that were kept.
    pub(super) fn restored(records: Records) -> Self {
        let mut products = Self::default();
        products.ids.reserve(records.len());
        let mut next = 0;
        for (slot, record) in records.iter() {
            products.free.extend(next..slot);
            next = slot + 1;
            products.ids.insert(&records, slot, record::id(record));
            products.bytes += record.len();
        }
        products.free.extend(next..records.len() as u32);
        products.records = records;
        products
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len
    }

    pub(super) fn records(&self) -> &Records {
        &self.records
    }

    /// Bytes of records, their counts and pointers, and of the table of ids.
    pub(super) fn bytes(&self) -> usize {
        const POINTER_AND_COUNTS: usize = 32;
        self.bytes + self.records.len() * POINTER_AND_COUNTS + self.ids.bytes()
    }

    pub(super) fn slot(&self, id: &str) -> Option<u32> {
        self.ids.find(&self.records, id)
    }

    /// The id of the product at `slot`; empty when there is none.
    pub(super) fn id(&self, slot: u32) -> &str {
        self.records.get(slot).map_or("", record::id)
    }

    /// The product at `slot`.
    pub(super) fn get(&self, slot: u32) -> Option<Product> {
        Product::decode(self.records.get(slot)?)
    }

    /// A slot for a product that is to be [`put`](Self::put): its own, or one that is not in use.
    pub(super) fn slot_for(&mut self, id: &str) -> u32 {
        if let Some(slot) = self.slot(id) {
            return slot;
        }
        self.free.pop().unwrap_or_else(|| {
            self.records.push(None);
            (self.records.len() - 1) as u32
        })
    }

    /// The product's new state.
    pub(super) fn put(&mut self, slot: u32, product: &Product) {
        let record = product.encode();
        self.bytes += record.len();
        match self.records.get(slot) {
            Some(old) => self.bytes -= old.len(),
            None => self.ids.insert(&self.records, slot, &product.id),
        }
        self.records.set(slot, Some(record));
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<(u32, Product)> {
        let slot = self.slot(id)?;
        let product = self.get(slot)?;
        self.ids.remove(slot, id);
        self.bytes -= self.records.get(slot).map_or(0, <[u8]>::len);
        self.records.set(slot, None);
        self.free.push(slot);
        Some((slot, product))
    }
}
