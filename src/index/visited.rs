//! Which rows a walk has looked at: a hash table of positions, as large as the walk is long. A bit for every row of a
//! large index would have to be cleared for each walk, and a mark for every row is a miss of the cache each time.

/// Slots to start with: 16 KiB, enough for walks with 64 candidates.
const SLOTS: usize = 4096;
/// No row: positions stay below [`MAX_ROWS`](super::MAX_ROWS).
const FREE: u32 = u32::MAX;

/// A set of positions.
#[derive(Debug)]
pub(super) struct Visited {
    /// A power of two of them, at most half taken.
    slots: Vec<u32>,
    len: usize,
}

impl Default for Visited {
    fn default() -> Self {
        Self { slots: vec![FREE; SLOTS], len: 0 }
    }
}

impl Visited {
    /// Empties it, and gives back what the last walk did not need: one long walk must not make all later ones clear its
    /// table.
    pub(super) fn clear(&mut self) {
        let needed = (4 * self.len).next_power_of_two().clamp(SLOTS, self.slots.len());
        self.slots.truncate(needed);
        self.slots.shrink_to_fit();
        self.slots.fill(FREE);
        self.len = 0;
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// True when it was not there before.
    pub(super) fn insert(&mut self, position: u32) -> bool {
        if 2 * self.len >= self.slots.len() {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        // Fibonacci hashing (Knuth 6.4): neighbours in number land far from one another.
        let mut at = (position.wrapping_mul(0x9e37_79b9) >> 7) as usize & mask;
        loop {
            match self.slots[at] {
                FREE => break,
                held if held == position => return false,
                _ => at = (at + 1) & mask,
            }
        }
        self.slots[at] = position;
        self.len += 1;
        true
    }

    fn grow(&mut self) {
        let doubled = vec![FREE; 2 * self.slots.len()];
        let held = std::mem::replace(&mut self.slots, doubled);
        self.len = 0;
        for position in held.into_iter().filter(|position| *position != FREE) {
            self.insert(position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn the_table_of_a_long_walk_does_not_stay() {
        let mut visited = Visited::default();
        (0..100_000).for_each(|position| assert!(visited.insert(position)));
        visited.clear();
        assert!(visited.insert(5) && !visited.insert(5));
        visited.clear();
        assert_eq!(visited.slots.len(), SLOTS);
    }

    proptest! {
        #[test]
        fn is_a_set(positions in prop::collection::vec(0u32..20_000, 0..10_000)) {
            let (mut visited, mut set) = (Visited::default(), HashSet::new());
            for _ in 0..2 {
                for position in &positions {
                    prop_assert_eq!(visited.insert(*position), set.insert(*position));
                }
                prop_assert_eq!(visited.len(), set.len());
                visited.clear();
                set.clear();
            }
        }
    }
}
