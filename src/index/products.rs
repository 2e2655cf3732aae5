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

/// Products; see the [module](self).
#[derive(Debug, Default)]
pub(super) struct Products {
    records: Records,
    /// Slots whose record has an id, by the id's hash.
    by_id: HashTable<u32>,
    hasher: RandomState,
    free: Vec<u32>,
    bytes: usize,
}

impl Products {
    /// Products from records that were kept.
    pub(super) fn restored(records: Records) -> Self {
        let mut products = Self::default();
        products.by_id.reserve(records.len(), |_| 0);
        let mut next = 0;
        for (slot, record) in records.iter() {
            products.free.extend(next..slot);
            next = slot + 1;
            let hash = products.hasher.hash_one(record::id(record));
            products
                .by_id
                .insert_unique(hash, slot, |slot| products.hasher.hash_one(records.get(*slot).map_or("", record::id)));
            products.bytes += record.len();
        }
        products.free.extend(next..records.len() as u32);
        products.records = records;
        products
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn records(&self) -> &Records {
        &self.records
    }

    /// Bytes of records, their counts and pointers, and of the table of ids.
    pub(super) fn bytes(&self) -> usize {
        const POINTER_AND_COUNTS: usize = 32;
        self.bytes + self.records.len() * POINTER_AND_COUNTS + self.by_id.capacity() * 5
    }

    pub(super) fn slot(&self, id: &str) -> Option<u32> {
        let same = |slot: &u32| self.id(*slot) == id;
        self.by_id.find(self.hasher.hash_one(id), same).copied()
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
            None => {
                let (records, hasher) = (&self.records, &self.hasher);
                let hash = |slot: &u32| hasher.hash_one(records.get(*slot).map_or("", record::id));
                self.by_id.insert_unique(hasher.hash_one(&*product.id), slot, hash);
            }
        }
        self.records.set(slot, Some(record));
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<(u32, Product)> {
        let slot = self.slot(id)?;
        let product = self.get(slot)?;
        let found = self.by_id.find_entry(self.hasher.hash_one(id), |other| *other == slot);
        if let Ok(entry) = found {
            entry.remove();
        }
        self.bytes -= self.records.get(slot).map_or(0, <[u8]>::len);
        self.records.set(slot, None);
        self.free.push(slot);
        Some((slot, product))
    }
}
