//! A list in chunks that are shared: a clone, of pointers to chunks, keeps what there was while the list goes on changing.

use std::sync::Arc;

/// Items in a chunk: the most that a change copies.
const CHUNK: usize = 1024;

/// See the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Chunks<T> {
    chunks: Vec<Arc<Vec<T>>>,
    len: usize,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }
}

impl<T: Clone> Chunks<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.chunks.get(at / CHUNK)?.get(at % CHUNK)
    }

    /// Replaces an item; nothing where there is none.
    pub(crate) fn set(&mut self, at: usize, item: T) {
        if at < self.len {
            Arc::make_mut(&mut self.chunks[at / CHUNK])[at % CHUNK] = item;
        }
    }

    pub(crate) fn push(&mut self, item: T) {
        if self.len.is_multiple_of(CHUNK) {
            self.chunks.push(Arc::new(Vec::with_capacity(CHUNK)));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            Arc::make_mut(chunk).push(item);
        }
        self.len += 1;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }
}

impl<T: Clone> FromIterator<T> for Chunks<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut chunks = Self::default();
        items.into_iter().for_each(|item| chunks.push(item));
        chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_a_list_and_a_clone_stays_as_it_was(
            items in prop::collection::vec(any::<u16>(), 0..3000), changes in prop::collection::vec((0usize..3100, any::<u16>()), 0..50),
        ) {
            let mut list = items.clone();
            let mut chunks: Chunks<u16> = items.iter().copied().collect();
            let before = chunks.clone();
            for (at, item) in changes {
                chunks.set(at, item);
                if let Some(held) = list.get_mut(at) {
                    *held = item;
                }
                prop_assert_eq!(chunks.get(at), list.get(at));
            }
            chunks.push(7);
            list.push(7);
            prop_assert_eq!(chunks.len(), list.len());
            prop_assert!(chunks.iter().eq(&list));
            prop_assert!(before.iter().eq(&items));
        }
    }
}
