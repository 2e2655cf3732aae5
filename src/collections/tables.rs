//! Numbers by keys that lie elsewhere, in many small hash tables. One that is full grows while everybody waits: a single one of
//! a million keys for 0.2 s, one of a thousand of them for a thousandth of that.

use hashbrown::HashTable;
use std::hash::{BuildHasher, Hash, RandomState};

const TABLES: usize = 1024;

/// See the [module](self). Whoever holds the keys gives them back by number (`key_of`).
#[derive(Debug)]
pub(crate) struct Tables {
    tables: Vec<HashTable<u32>>,
    len: usize,
    hasher: RandomState,
}

impl Default for Tables {
    fn default() -> Self {
        Self { tables: vec![HashTable::new(); TABLES], len: 0, hasher: RandomState::new() }
    }
}

/// Which table. hashbrown tells entries apart by the hash's highest bits and places them by the lowest.
fn table(hash: u64) -> usize {
    (hash >> 32) as usize % TABLES
}

impl Tables {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Makes room for so many keys.
    pub(crate) fn reserve(&mut self, keys: usize) {
        // Tables do not fill evenly.
        let share = keys / TABLES * 9 / 8;
        self.tables.iter_mut().for_each(|table| table.reserve(share, |_| 0));
    }

    pub(crate) fn find<'a, K>(&self, key: &K, key_of: impl Fn(u32) -> Option<&'a K>) -> Option<u32>
    where
        K: Hash + Eq + ?Sized + 'a,
    {
        let hash = self.hasher.hash_one(key);
        self.tables[table(hash)].find(hash, |number| key_of(*number) == Some(key)).copied()
    }

    /// Enters a key that is not there yet.
    pub(crate) fn insert<'a, K>(&mut self, key: &K, number: u32, key_of: impl Fn(u32) -> Option<&'a K>)
    where
        K: Hash + ?Sized + 'a,
    {
        let hasher = &self.hasher;
        let hash = hasher.hash_one(key);
        let of = |number: &u32| key_of(*number).map_or(0, |key| hasher.hash_one(key));
        self.tables[table(hash)].insert_unique(hash, number, of);
        self.len += 1;
    }

    pub(crate) fn remove<K: Hash + ?Sized>(&mut self, key: &K, number: u32) {
        let hash = self.hasher.hash_one(key);
        if let Ok(entry) = self.tables[table(hash)].find_entry(hash, |other| *other == number) {
            entry.remove();
            self.len -= 1;
        }
    }

    /// Bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        const NUMBER_AND_TAG: usize = 5;
        self.tables.iter().map(HashTable::capacity).sum::<usize>() * NUMBER_AND_TAG
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn is_a_map(changes in prop::collection::vec((0u32..3000, any::<bool>()), 0..6000)) {
            let keys: Vec<String> = (0..3000).map(|number| format!("key {number}")).collect();
            let key_of = |number: u32| keys.get(number as usize).map(String::as_str);
            let (mut tables, mut map) = (Tables::default(), BTreeMap::new());
            for (number, enter) in changes {
                let key = keys[number as usize].as_str();
                let known = tables.find(key, key_of);
                prop_assert_eq!(known, map.get(key).copied());
                match (enter, known) {
                    (true, None) => {
                        tables.insert(key, number, key_of);
                        map.insert(key, number);
                    }
                    (false, Some(_)) => {
                        tables.remove(key, number);
                        map.remove(key);
                    }
                    _ => {}
                }
                prop_assert_eq!(tables.len(), map.len());
            }
        }
    }
}
