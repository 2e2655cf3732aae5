//! The index follows the change log: every committed change reaches it before its write is acknowledged, and what it
//! missed while the process was down is replayed at start (design invariants 1 and 2). Model and index are one thing,
//! [`Live`], and a recorded activation swaps it whole: a search answers from exactly one version (invariant 3).

#[cfg(test)]
mod tests;

use super::{ServiceError, lock};
use crate::analyzer::Analyzer;
use crate::catalog::{Catalog, CatalogError, Change, ChangeKind, IndexRecord, facets};
use crate::index::{Index, IndexConfig, IndexError, IndexedImage, IndexedProduct, Opened};
use crate::model::EMBEDDING_DIM;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::watch;

/// Products or changes read at once while an index is filled.
const PAGE: usize = 500;

/// A model and the index over its embeddings.
pub(super) struct Live {
    pub(super) analyzer: Analyzer,
    pub(super) index: Index,
}

impl Live {
    pub(super) fn version(&self) -> &str {
        self.analyzer.model().version()
    }

    /// Brings one product to its state in the store; safe to repeat.
    fn apply<F>(&self, change: &Change, record: F) -> Result<(), ServiceError>
    where
        F: FnOnce(&str, &str) -> Result<Option<IndexRecord>, CatalogError>,
    {
        let Some(product_id) = &change.product_id else {
            self.index.mark(change.seq);
            return Ok(());
        };
        let version = self.version();
        let state = record(version, product_id)?.map(|record| indexed(record, version));
        Ok(self.index.apply(change.seq, product_id, state)?)
    }
}

/// What answers, what is about to, and whether either has missed a change.
pub(super) struct Follower {
    dir: PathBuf,
    /// Of any index here, but for the model version.
    config: IndexConfig,
    // Read for the time of cloning a pointer, written once an activation.
    live: RwLock<Arc<Live>>,
    /// Follows the log beside the live one, until its activation is recorded.
    next: Mutex<Option<Arc<Live>>>,
    /// Set when a committed change could not be applied: searches may miss it until the next start replays the log.
    missed: AtomicBool,
    /// The last change that reached the index, for those who wait for the next.
    committed: watch::Sender<Committed>,
}

/// How far the log has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Committed {
    /// Sequence number of the last change of each kind that was told.
    last: BTreeMap<ChangeKind, u64>,
    /// Nobody is to wait any longer.
    pub(super) ending: bool,
}

impl Committed {
    /// Whether a change of one of `kinds` (of any when there are none) came after `seq`.
    pub(super) fn is_past(&self, seq: u64, kinds: &[ChangeKind]) -> bool {
        self.last.iter().any(|(kind, last)| *last > seq && (kinds.is_empty() || kinds.contains(kind)))
    }
}

impl Follower {
    /// Applies what the store has since the newest whole snapshot, and follows it from here on. `opened` is that snapshot,
    /// where it is opened already; see [`read_index`].
    pub(super) fn open(
        dir: &Path,
        config: IndexConfig,
        opened: Option<OpenIndex>,
        analyzer: Analyzer,
        catalog: &Catalog,
    ) -> Result<Arc<Self>, ServiceError> {
        let live = Arc::new(open(dir, &config, opened, analyzer, catalog)?);
        let after = live.index.seq();
        let follower = Arc::new(Self {
            dir: dir.to_owned(),
            config,
            live: RwLock::new(live),
            next: Mutex::new(None),
            missed: AtomicBool::new(false),
            committed: watch::Sender::default(),
        });
        let observer = Arc::clone(&follower);
        catalog
            .observe(after, Box::new(move |change, store| observer.told(change, |v, id| store.index_record(v, id))))?;
        Ok(follower)
    }

    /// Changes as they are committed and searches see them.
    pub(super) fn committed(&self) -> watch::Receiver<Committed> {
        self.committed.subscribe()
    }

    /// Tells those who wait for a change that none will come.
    pub(super) fn end_waits(&self) {
        self.committed.send_modify(|committed| committed.ending = true);
    }

    /// The model and index that answer now; whoever holds them may finish with them.
    pub(super) fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fills the index of another model version from the store and lets it follow beside the live one.
    pub(super) fn prepare(&self, analyzer: Analyzer, catalog: &Catalog) -> Result<(), ServiceError> {
        let next = open(&self.dir, &self.config, None, analyzer, catalog)?;
        // Most of the log without the writer's turn, the rest within it.
        while let changes = catalog.changes_after(next.index.seq(), PAGE)?
            && changes.len() == PAGE
        {
            for change in &changes {
                next.apply(change, |version, id| catalog.index_record(version, id))?;
            }
        }
        let failed = Mutex::new(None);
        let after = next.index.seq();
        let next = Arc::new(next);
        let told = |change: &Change, store: &crate::catalog::AfterCommit<'_>| {
            if let Err(error) = next.apply(change, |version, id| store.index_record(version, id)) {
                *lock(&failed) = Some(error);
            }
        };
        catalog.join(after, &told, || {
            if lock(&failed).is_none() {
                *self.next() = Some(Arc::clone(&next));
            }
        })?;
        lock(&failed).take().map_or(Ok(()), Err)
    }

    /// Whether the index of that version follows beside the live one.
    pub(super) fn is_prepared(&self, version: &str) -> bool {
        self.next().as_ref().is_some_and(|next| next.version() == version)
    }

    /// Lets go of the index of a version that is not live, and of its files, if it is past a product's last change: the store
    /// is to get what it lacks of that product, and the log does not tell of analyses that nobody is shown. True when it did.
    pub(super) fn discard_if_past(&self, version: &str, seq: u64) -> Result<bool, IndexError> {
        let newest = Index::newest(&self.dir, version)?;
        if !self.is_prepared(version) && newest.is_none_or(|newest| newest < seq) {
            return Ok(false);
        }
        self.forget();
        Index::remove(&self.dir, version)?;
        Ok(true)
    }

    /// Lets go of a version that was prepared and will not become live.
    pub(super) fn forget(&self) {
        let next = self.next().take();
        drop(next);
    }

    /// One committed change, in the writer's turn.
    fn told<F>(&self, change: &Change, record: F)
    where
        F: Fn(&str, &str) -> Result<Option<IndexRecord>, CatalogError>,
    {
        self.index(change, record);
        self.committed.send_modify(|committed| {
            committed.last.insert(change.kind, change.seq);
        });
    }

    fn index<F>(&self, change: &Change, record: F)
    where
        F: Fn(&str, &str) -> Result<Option<IndexRecord>, CatalogError>,
    {
        let live = self.live();
        if !reaches(&live, change, &record) {
            live.index.distrust();
            self.missed.store(true, Ordering::Release);
        }
        let mut next = self.next();
        let Some(prepared) = next.as_ref() else { return };
        if !reaches(prepared, change, &record) {
            // Its activation will find it gone and say so; the live one is untouched.
            *next = None;
            return;
        }
        let activated = change.kind == ChangeKind::ModelActivated;
        if activated && change.payload.model_version.as_deref() == Some(prepared.version()) {
            let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(prepared) = next.take() {
                *live = prepared;
                // Whole again: its index was filled from the store.
                self.missed.store(false, Ordering::Release);
            }
        }
    }

    fn next(&self) -> MutexGuard<'_, Option<Arc<Live>>> {
        lock(&self.next)
    }

    /// Whether every committed change has reached the index.
    pub(super) fn is_whole(&self) -> bool {
        !self.missed.load(Ordering::Acquire)
    }

    /// Writes a snapshot, unless a change is missing: an older snapshot and a replay heal that, a new one would hide
    /// it for good.
    pub(super) fn snapshot(&self) -> Result<(), IndexError> {
        self.live().index.snapshot()
    }
}

/// True when the change has reached the index. A panic counts as a miss too: the change is committed, and the ones
/// after it must still be told.
fn reaches<F>(live: &Live, change: &Change, record: &F) -> bool
where
    F: Fn(&str, &str) -> Result<Option<IndexRecord>, CatalogError>,
{
    let error = match catch_unwind(AssertUnwindSafe(|| live.apply(change, record))) {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "panic".to_owned(),
    };
    tracing::error!(error, seq = change.seq, version = live.version(), "a committed change did not reach the index");
    false
}

/// An index as its files have it.
pub(super) type OpenIndex = (Index, Opened);

/// The index of a model version as its newest whole snapshot has it. Needs neither store nor model, so it can be read while
/// the model is loaded.
pub(super) fn read_index(dir: &Path, config: &IndexConfig, version: &str) -> Result<OpenIndex, IndexError> {
    let model_version = version.to_owned();
    Index::open(dir, IndexConfig { dimension: EMBEDDING_DIM, model_version, ..config.clone() })
}

/// The index of a model, from its newest whole snapshot or from the products in the store.
fn open(
    dir: &Path,
    config: &IndexConfig,
    opened: Option<OpenIndex>,
    analyzer: Analyzer,
    catalog: &Catalog,
) -> Result<Live, ServiceError> {
    let version = analyzer.model().version().to_owned();
    let opened = opened.filter(|(index, _)| index.config().model_version == version);
    let (mut index, opened) = opened.map_or_else(|| read_index(dir, config, &version), Ok)?;
    let last = catalog.last_seq()?;
    if index.seq() > last {
        // The store was put back from an older copy: what the index knows beyond it never happened.
        tracing::warn!(index = index.seq(), store = last, "the index is ahead of the store; filling it anew");
        drop(index);
        catalog.renew_id()?;
        std::fs::remove_dir_all(dir).map_err(|source| IndexError::Io { path: dir.to_owned(), source })?;
        index = read_index(dir, config, &version)?.0;
    }
    if index.seq() == 0 {
        fill(&index, catalog, &version, 0)?;
    } else {
        heal(&index, catalog, &version, &opened.lost)?;
        let first = catalog.first_seq()?;
        if index.seq() + 1 < first {
            reconcile(&index, catalog, &version)?;
            index.mark(first - 1);
        }
    }
    Ok(Live { analyzer, index })
}

/// Brings an index up to date that the log does not reach back to: what is gone is only known by its absence.
fn reconcile(index: &Index, catalog: &Catalog, version: &str) -> Result<(), ServiceError> {
    tracing::info!(index = index.seq(), "the log begins after the index; comparing it with the store");
    let since = index.seq();
    for id in index.product_ids() {
        if !catalog.is_product(&id)? {
            // Later than all that the index knows: the last product it heard of may be the one.
            index.apply(since + 1, &id, None)?;
        }
    }
    fill(index, catalog, version, since)
}

/// Fills an index from the products changed after `since`: each once, where the log may name it many times.
fn fill(index: &Index, catalog: &Catalog, version: &str, mut since: u64) -> Result<(), ServiceError> {
    loop {
        let records = catalog.index_records(version, since, PAGE)?;
        let Some(last) = records.last() else { return Ok(()) };
        since = last.product.seq;
        for record in records {
            let (seq, id) = (record.product.seq, record.product.product_id.clone());
            index.apply(seq, &id, Some(indexed(record, version)))?;
        }
    }
}

/// Brings the products whose rows were in a damaged file.
fn heal(index: &Index, catalog: &Catalog, version: &str, lost: &[String]) -> Result<(), ServiceError> {
    if !lost.is_empty() {
        tracing::warn!(products = lost.len(), "bringing back what a damaged file of the index held");
    }
    // Not the product's own seq, which may be later: the replay would begin after changes to others that are not in.
    let seq = index.seq();
    for id in lost {
        let record = catalog.index_record(version, id)?;
        index.apply(seq, id, record.map(|record| indexed(record, version)))?;
    }
    Ok(())
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
