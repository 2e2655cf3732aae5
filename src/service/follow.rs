//! The index follows the change log: every committed change reaches it before its write is acknowledged, and what it
//! missed while the process was down is replayed at start (design invariants 1 and 2).

use super::ServiceError;
use crate::catalog::{AfterCommit, Catalog, Change, IndexRecord, facets};
use crate::index::{Index, IndexConfig, IndexError, IndexedImage, IndexedProduct};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Products read at once while the index is filled.
const PAGE: usize = 500;

/// The index and whether it has missed a change.
pub(super) struct Follower {
    pub(super) index: Arc<Index>,
    /// Set when a committed change could not be applied: searches may miss it until the next start replays the log.
    missed: AtomicBool,
}

impl Follower {
    /// Opens the newest whole snapshot, applies what the store has since, and follows it from here on.
    pub(super) fn open(dir: &Path, config: IndexConfig, catalog: &Catalog) -> Result<Arc<Self>, ServiceError> {
        let version = config.model_version.clone();
        let mut index = Index::open(dir, config.clone())?.0;
        let last = catalog.last_seq()?;
        if index.seq() > last {
            // The store was put back from an older copy: what the index knows beyond it never happened.
            tracing::warn!(index = index.seq(), store = last, "the index is ahead of the store; filling it anew");
            drop(index);
            std::fs::remove_dir_all(dir).map_err(|source| IndexError::Io { path: dir.to_owned(), source })?;
            index = Index::open(dir, config)?.0;
        }
        let index = Arc::new(index);
        if index.seq() == 0 {
            fill(&index, catalog, &version)?;
        }
        let follower = Arc::new(Self { index, missed: AtomicBool::new(false) });
        let observer = Arc::clone(&follower);
        let after = follower.index.seq();
        catalog.observe(
            after,
            Box::new(move |change, state| {
                // A panic counts as a miss too: the change is committed, and the ones after it must still be told.
                let applied = catch_unwind(AssertUnwindSafe(|| apply(&observer.index, state, &version, change)));
                let error = match applied {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => "panic".to_owned(),
                };
                tracing::error!(error, seq = change.seq, "a committed change did not reach the index");
                observer.missed.store(true, Ordering::Release);
            }),
        )?;
        Ok(follower)
    }

    /// Whether every committed change has reached the index.
    pub(super) fn is_whole(&self) -> bool {
        !self.missed.load(Ordering::Acquire)
    }

    /// Writes a snapshot, unless a change is missing: an older snapshot and a replay heal that, a new one would hide
    /// it for good.
    pub(super) fn snapshot(&self) -> Result<(), IndexError> {
        if self.is_whole() { self.index.snapshot() } else { Ok(()) }
    }
}

/// Fills an empty index from the products themselves: each once, where the log may name it many times.
fn fill(index: &Index, catalog: &Catalog, version: &str) -> Result<(), ServiceError> {
    let mut since = 0;
    loop {
        let records = catalog.index_records(since, PAGE)?;
        let Some(last) = records.last() else { return Ok(()) };
        since = last.product.seq;
        for record in records {
            let (seq, id) = (record.product.seq, record.product.product_id.clone());
            index.apply(seq, &id, Some(indexed(record, version)))?;
        }
    }
}

/// Brings one product to its state in the store; safe to repeat.
fn apply(index: &Index, store: &AfterCommit<'_>, version: &str, change: &Change) -> Result<(), ServiceError> {
    let Some(product_id) = &change.product_id else {
        index.mark(change.seq);
        return Ok(());
    };
    let state = store.index_record(product_id)?.map(|record| indexed(record, version));
    Ok(index.apply(change.seq, product_id, state)?)
}

/// What the index holds of a product: its facets, and the images seen by the model of this index. Versions never mix.
fn indexed(record: IndexRecord, version: &str) -> IndexedProduct {
    let facets = facets(&record.product);
    let images = record.product.images.into_iter().zip(record.embeddings);
    IndexedProduct {
        product_id: record.product.product_id,
        facets,
        images: images
            .filter(|(image, _)| image.analysis.model_version == version)
            .map(|(image, embedding)| IndexedImage { image_id: image.image_id, embedding })
            .collect(),
    }
}
