//! Products by slot, and slots by product id. Records are shared in chunks: a snapshot holds on to what there was while the
//! index goes on changing.

use super::kernel;
use super::record::{self, Product, View};
use crate::collections::{Chunks, Tables};
use std::sync::Arc;

/// Records by slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Records(Chunks<Option<Arc<[u8]>>>);

impl Records {
    /// Slots, used or not.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&[u8]> {
        self.0.get(slot as usize)?.as_deref()
    }

    fn id(&self, slot: u32) -> Option<&str> {
        self.get(slot).map(record::id)
    }

    pub(super) fn set(&mut self, slot: u32, record: Option<Arc<[u8]>>) {
        self.0.set(slot as usize, record);
    }

    /// Appends a slot.
    pub(super) fn push(&mut self, record: Option<Arc<[u8]>>) {
        self.0.push(record);
    }

    /// Slots in use and their records.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        (0u32..).zip(self.0.iter()).filter_map(|(slot, record)| Some((slot, record.as_deref()?)))
    }
}

/// Products; see the [module](self).
#[derive(Debug, Default)]
pub(super) struct Products {
    records: Records,
    /// Slots by id.
    ids: Tables,
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
            products.ids.insert(record::id(record), slot, |slot| records.id(slot));
            products.bytes += record.len();
        }
        products.free.extend(next..records.len() as u32);
        products.records = records;
        products
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
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
        self.ids.find(id, |slot| self.records.id(slot))
    }

    /// The id of the product at `slot`; empty when there is none.
    pub(super) fn id(&self, slot: u32) -> &str {
        self.records.id(slot).unwrap_or_default()
    }

    /// Brings a record into the cache, without waiting for it.
    pub(super) fn fetch(&self, slot: u32) {
        kernel::fetch(self.records.get(slot).unwrap_or_default());
    }

    /// The record of the product at `slot`.
    pub(super) fn view(&self, slot: u32) -> Option<View<'_>> {
        View::new(self.records.get(slot)?)
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
            None => self.ids.insert(&*product.id, slot, |slot| self.records.id(slot)),
        }
        self.records.set(slot, Some(record));
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<(u32, Product)> {
        let slot = self.slot(id)?;
        let product = self.get(slot)?;
        self.ids.remove(id, slot);
        self.bytes -= self.records.get(slot).map_or(0, <[u8]>::len);
        self.records.set(slot, None);
        self.free.push(slot);
        Some((slot, product))
    }
}
