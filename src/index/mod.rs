//! Nearest neighbours over embeddings, with filters, updates and deletes.
//! An index is a function of the change log: [`Index::apply`] takes one change, [`Index::snapshot`] keeps what
//! came of them, and [`Index::open`] starts from the newest whole snapshot, to be brought up by replay.
//!
//! # How it is made
//! Rows (one an image) come into a tail that is scanned exactly. From [`IndexConfig::exact_rows`] rows on, a background
//! thread seals them in segments under graphs (`segment`), merging those of like size (`build`); rows a graph
//! cannot find go on being scanned. A deleted or changed row is dead at once and is dropped by the next merge. Below that
//! count there is no graph: every answer is exact, and the same on every run.
//!
//! Products are records in bytes (`record`), what can be filtered on lies in columns
//! ([`Columns`](crate::filter::Columns)). A new price or stock touches neither vectors nor graphs.
//!
//! # On disk
//! A segment is written once and mapped; a snapshot (`format`) names the segments, and holds records, columns and what is
//! not sealed. Both carry checksums, which are held against every byte when they are opened. What is damaged is put aside;
//! of a damaged segment the products are named, to be brought again.
//!
//! # Locks
//! One read-write lock. A search holds it for reading for its whole time, a change for writing while it copies the product's
//! new vectors, a finished build while it swaps pointers and marks the rows that died meanwhile. Builds and snapshots work
//! on shared chunks, without the lock.

mod build;
mod carry;
mod codes;
mod format;
mod graph;
mod grow;
mod kernel;
mod products;
mod record;
mod rows;
mod search;
mod segment;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;
mod visited;
mod walk;

pub(crate) use kernel::dot;

use crate::filter::{Facets, Filter};
use rows::Part;
use serde::Serialize;
use state::State;
use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;

/// Rows one index takes: edges are counted in 32 bits, 32 a row.
pub const MAX_ROWS: usize = 100_000_000;

/// How an index is made; `Default` is right for the default model.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexConfig {
    /// Values of a vector.
    pub dimension: usize,
    /// The model the vectors come from; snapshots of others are not read.
    pub model_version: String,
    /// Below this many rows everything is scanned, which is exact. A row of 256 takes 40 ns to scan (measured), so
    /// 20,000 take 0.8 ms: no search gets much from a graph before.
    pub exact_rows: usize,
    /// Edges a row and layer (M), twice that on the bottom layer; 2 to 64. The paper finds 5 to 48 sensible.
    pub connections: usize,
    /// Candidates kept while a row is inserted.
    pub ef_construction: usize,
    /// Threads that build; the graph does not depend on them.
    pub build_threads: usize,
    /// Memory a build may take beside what it reads and writes, in bytes: a row takes its dimension and 168 with 16 connections.
    /// Segments of more rows than fit are not made; several of them are searched one after the other. One that is there
    /// already, of a larger setting, loses its dead rows when the others fit.
    pub build_memory: usize,
    /// Candidates kept in a search; more where more results are asked for. Of 1,000,000 drawn vectors 128 find 0.949 of the ten
    /// nearest in 0.15 ms, 192 find 0.970 in 0.20 ms, 256 find 0.981 in 0.24 ms.
    pub ef_search: usize,
    /// A search does not go on from a row whose squared distance is more than this many times that of the last row wanted, at
    /// least 1; infinite for as far as the candidates go. At 1.3 the ten nearest of 103,425 embeddings of photos are found
    /// as well as without (0.9997, 1.0000) in 0.4 of the time; of 1,000,000 drawn vectors, among which nothing stands apart,
    /// 0.970 instead of 0.972.
    pub reach: f32,
    /// Vectors stay in their files and are read one by one, of the nearest only; otherwise they are mapped with the rest.
    /// Either way a row's code and edges, some 410 bytes, are in memory.
    pub vectors_on_disk: bool,
    /// Snapshots kept in the directory, the newest; at least 1. The second is what a torn newest falls back to.
    pub keep_snapshots: usize,
}

impl Default for IndexConfig {
    fn default() -> Self {
        Self {
            dimension: crate::model::EMBEDDING_DIM,
            model_version: String::new(),
            exact_rows: 20_000,
            connections: 16,
            ef_construction: 128,
            build_threads: std::thread::available_parallelism().map_or(1, usize::from),
            build_memory: 4 << 30,
            ef_search: 192,
            reach: 1.3,
            vectors_on_disk: false,
            keep_snapshots: 2,
        }
    }
}

/// An image of a product, as the index takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexedImage {
    /// Unique in its product.
    pub image_id: String,
    /// Unit length, of the index's dimension.
    pub embedding: Vec<f32>,
}

/// A product, as the index takes it: all there is to know, not a difference.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexedProduct {
    /// The merchant's id.
    pub product_id: String,
    /// What can be filtered on.
    pub facets: Facets,
    /// In the order of the catalog; may be empty: then no search finds the product.
    pub images: Vec<IndexedImage>,
}

/// What to search for beside the vector. `Default` asks for nothing (`k` is 0).
#[derive(Clone, Copy, Debug, Default)]
pub struct SearchRequest<'a> {
    /// Products wanted; fewer come when fewer pass.
    pub k: usize,
    /// Only products that pass.
    pub filter: Option<&'a Filter>,
    /// Product ids left out.
    pub exclude_products: &'a [&'a str],
    /// Groups (`group_id`) left out.
    pub exclude_groups: &'a [&'a str],
    /// The product of whose image the vector is: a walk begins at its rows instead of finding the way there, which takes a
    /// twentieth less and finds as much (0.9964 and 0.9965 of the twenty nearest of 100,000).
    pub of_product: Option<&'a str>,
    /// Only hits at least this near, -1 to 1.
    pub min_score: Option<f32>,
    /// Scan everything, whatever it costs.
    pub exact: bool,
    /// Candidates kept in this search; [`IndexConfig::ef_search`] where not stated.
    pub ef: Option<usize>,
    /// Of a hit's facets, give `group_id` alone: all of them take longer to put together than to find the hit.
    pub group_only: bool,
}

/// A product found, by its nearest image.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The product.
    pub product_id: String,
    /// Its image nearest to the query; of equals, the first of the catalog.
    pub image_id: String,
    /// Cosine similarity, -1 to 1.
    pub score: f32,
    /// The product's facets, as they were when the search ran; see [`SearchRequest::group_only`].
    pub facets: Facets,
}

/// A vector or a product the index does not take, or a file it could not write or read.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The vector is of another size.
    #[error("the vector has {received} values, the index takes {expected}")]
    Dimension {
        /// Values of the index's vectors.
        expected: usize,
        /// Values of this one.
        received: usize,
    },
    /// A value is NaN or infinite.
    #[error("value {position} of the vector is {received}, expected a finite number")]
    NotFinite {
        /// Which value, from 0.
        position: usize,
        /// What it is.
        received: f32,
    },
    /// The vector is not of unit length.
    #[error("the vector has length {received}, expected 1")]
    NotUnit {
        /// Its length.
        received: f32,
    },
    /// The product's id is not the one the change is for.
    #[error("the change is for product {expected:?}, the state is of {received:?}")]
    OtherProduct {
        /// Product of the change.
        expected: String,
        /// Product of the state.
        received: String,
    },
    /// Two images of a product have one id.
    #[error("product {product_id:?} has image {image_id:?} twice")]
    DuplicateImage {
        /// The product.
        product_id: String,
        /// The image.
        image_id: String,
    },
    /// No room for more rows.
    #[error("the index holds {received} rows, at most {expected} fit")]
    Full {
        /// [`MAX_ROWS`].
        expected: usize,
        /// Rows there would be.
        received: usize,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What [`Index::open`] found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opened {
    /// The last change in the index: replay what comes after. 0 when it is empty.
    pub seq: u64,
    /// The snapshot it was read from.
    pub snapshot: Option<PathBuf>,
    /// Damaged files: where they were put aside, and what was wrong with them.
    pub set_aside: Vec<(PathBuf, String)>,
    /// Products that had rows in a damaged segment. They are not in the index until [`Index::apply`] brings their state;
    /// with [`Opened::seq`], which leaves what comes after it to the replay. No snapshot is written before all are back.
    pub lost: Vec<String>,
}

/// A file of an index directory, as [`inspect`] found it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FileReport {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// The model its vectors come from; empty where it cannot be told.
    pub model_version: String,
    /// Rows it holds; of a snapshot the live ones, those of its segments too.
    pub rows: usize,
    /// Products of a snapshot.
    pub products: Option<usize>,
    /// The last change of a snapshot.
    pub seq: Option<u64>,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// Looks at every file of an index directory, of all model versions, and holds each against its checksums. Changes nothing,
/// so a running service may go on using them.
///
/// # Errors
/// When the directory cannot be read.
pub fn inspect(dir: &Path) -> Result<Vec<FileReport>, IndexError> {
    snapshot::inspect(dir)
}

/// Sizes, for logs, metrics and `vitrine index stats`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct IndexStats {
    /// The last change in the index.
    pub seq: u64,
    /// Model version of the vectors.
    pub model_version: String,
    /// Products, also those without an image.
    pub products: usize,
    /// Images that can be found.
    pub images: usize,
    /// Rows below a graph, dead ones too.
    pub graph_rows: usize,
    /// Rows every search scans, dead ones too.
    pub scanned_rows: usize,
    /// Rows that are dead and wait for the next merge.
    pub dead_rows: usize,
    /// Sealed segments.
    pub segments: usize,
    /// Vectors and graphs in memory, about.
    pub bytes: usize,
    /// Records and columns of products in memory, about.
    pub product_bytes: usize,
    /// A build is under way.
    pub building: bool,
}

/// An index over one model version's embeddings. Shared by reference between threads.
#[derive(Debug)]
pub struct Index {
    shared: Arc<Shared>,
    /// The thread that builds, at most one.
    builder: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    config: IndexConfig,
    dir: Option<PathBuf>,
    /// Of the files in `dir`: held until the last of this is dropped, the builder's part too.
    _lock: Option<File>,
    state: RwLock<State>,
    stop: AtomicBool,
    /// A change is missing: what is known now must not be kept.
    incomplete: AtomicBool,
    /// Held while files get their names or lose them. The row that was next when the last snapshot was written.
    writing: Mutex<u64>,
}

// A panic under a lock is a bug of this room; the state is replaced step by step, so going on beats going down.
impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Builds until nothing is due; runs on the builder's thread.
    fn build(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let begun = {
                let mut state = self.write();
                let due = build::due(&state, &self.config);
                due.and_then(|due| Some((due.least, state.begin_build(due.parts)?)))
            };
            let Some((least, parts)) = begun else { return };
            let (failed, replaced) = self.replace(&parts, least);
            // Freed here, not under the lock.
            drop((parts, replaced));
            if failed || self.stop.load(Ordering::Relaxed) {
                return;
            }
            self.snapshot_if_due();
        }
    }

    /// Builds over `parts` and puts what came of it in their place, which are given back; and whether that failed.
    fn replace(&self, parts: &[Part], least: usize) -> (bool, Vec<Part>) {
        let path = self.dir.as_ref().map(|dir| snapshot::next_segment(dir, &self.config)).transpose();
        let path = path.map_err(report).ok();
        let built = path.and_then(|path| {
            let built = build::build(parts, least, &self.config, path.as_deref(), &self.stop)?;
            Some((built, path))
        });
        // A segment has its name and its place before a snapshot looks for files without either.
        let _one = lock(&self.writing);
        let built = built.and_then(|(mut built, path)| {
            if let (Some(dir), Some(path), Some(sealed)) = (&self.dir, &path, &mut built.sealed) {
                sealed.set_path(snapshot::publish(dir, path).map_err(report).ok()?);
            }
            Some(built)
        });
        (built.is_none(), self.write().end_build(built))
    }

    /// After a twentieth of all rows is new: a crash then costs a replay of about as many changes at most.
    fn snapshot_if_due(&self) {
        const SHARE: usize = 20;
        let (next, rows) = {
            let state = self.read();
            (state.next_row(), state.rows())
        };
        let last = *lock(&self.writing);
        if next.saturating_sub(last) as usize >= self.config.exact_rows.max(rows / SHARE)
            && let Err(error) = self.snapshot()
        {
            report(error);
        }
    }

    fn snapshot(&self) -> Result<(), IndexError> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let mut last = lock(&self.writing);
        let (image, healing) = {
            let state = self.read();
            (state.image(), state.is_healing())
        };
        if healing || self.incomplete.load(Ordering::Acquire) {
            return Ok(());
        }
        snapshot::write(dir, &self.config, &image)?;
        *last = image.next_row;
        Ok(())
    }

    fn is_build_due(&self) -> bool {
        build::due(&self.read(), &self.config).is_some()
    }
}

/// Names an error that costs speed and nothing else.
#[allow(clippy::needless_pass_by_value)] // Fits `map_err`.
fn report(error: IndexError) {
    tracing::error!(%error, "the index could not write a file");
}

fn of_version(model_version: &str) -> IndexConfig {
    IndexConfig { model_version: model_version.to_owned(), ..IndexConfig::default() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Index {
    /// The index in `dir`, which is made if it is not there: the newest whole snapshot of the configured model
    /// version, or an empty index. A damaged snapshot is renamed to `*.damaged`, logged and named in [`Opened`].
    pub fn open(dir: &Path, config: IndexConfig) -> Result<(Self, Opened), IndexError> {
        let lock = snapshot::lock(dir, &config)?;
        let (state, opened) = snapshot::open(dir, &config)?;
        let index = Self::new(state, Some((dir.to_owned(), lock)), config);
        index.build_if_due();
        Ok((index, opened))
    }

    /// Removes the files of one model version: the next [`Index::open`] finds an empty index. Waits, as that does, for an index
    /// of them that is about to be dropped, 10 seconds at most.
    ///
    /// # Errors
    /// When they are in use, or the disk fails.
    pub fn remove(dir: &Path, model_version: &str) -> Result<(), IndexError> {
        snapshot::remove(dir, &of_version(model_version))
    }

    /// The last change in the newest snapshot of a model version; `None` without one.
    pub fn newest(dir: &Path, model_version: &str) -> Result<Option<u64>, IndexError> {
        snapshot::newest(dir, &of_version(model_version))
    }

    /// An empty index without a directory: [`Index::snapshot`] does nothing.
    pub fn in_memory(config: IndexConfig) -> Self {
        Self::new(State::new(config.dimension), None, config)
    }

    fn new(state: State, dir: Option<(PathBuf, File)>, config: IndexConfig) -> Self {
        let writing = Mutex::new(state.next_row());
        let (stop, incomplete) = (AtomicBool::new(false), AtomicBool::new(false));
        let (dir, lock) = dir.unzip();
        let shared = Shared { config, dir, _lock: lock, state: RwLock::new(state), stop, incomplete, writing };
        Self { shared: Arc::new(shared), builder: Mutex::new(None) }
    }

    /// What the index was made with.
    pub fn config(&self) -> &IndexConfig {
        &self.shared.config
    }

    /// The last change that [`Index::apply`] or [`Index::mark`] saw.
    pub fn seq(&self) -> u64 {
        self.shared.read().seq
    }

    /// Takes in change `seq`: the new state of a product, or `None` when it is gone. When it returns, every search
    /// sees it. A change that is in already, or older than what is known of the product, changes nothing; vectors
    /// that stay the same are not touched. Call in the order of the log: after a restart only changes above
    /// [`Opened::seq`] need to come again.
    pub fn apply(&self, seq: u64, product_id: &str, state: Option<IndexedProduct>) -> Result<(), IndexError> {
        if let Some(product) = &state {
            self.check(product_id, product)?;
        }
        {
            let mut held = self.shared.write();
            held.apply(seq, product_id, state);
            held.close_tail(build::tail(&self.shared.config));
        }
        self.build_if_due();
        Ok(())
    }

    fn check(&self, product_id: &str, product: &IndexedProduct) -> Result<(), IndexError> {
        if product.product_id != product_id {
            return Err(IndexError::OtherProduct {
                expected: product_id.to_owned(),
                received: product.product_id.clone(),
            });
        }
        let mut ids = HashSet::with_capacity(product.images.len());
        for image in &product.images {
            kernel::check_unit(&image.embedding, self.shared.config.dimension)?;
            if !ids.insert(image.image_id.as_str()) {
                return Err(IndexError::DuplicateImage {
                    product_id: product_id.to_owned(),
                    image_id: image.image_id.clone(),
                });
            }
        }
        let rows = self.shared.read().rows() + product.images.len();
        if rows > MAX_ROWS {
            return Err(IndexError::Full { expected: MAX_ROWS, received: rows });
        }
        Ok(())
    }

    /// Notes a change that does not concern the index, so that [`Index::seq`] keeps up with the log.
    pub fn mark(&self, seq: u64) {
        self.shared.write().mark(seq);
    }

    /// The products nearest to `query` (unit length), nearest first, one hit a product; of equally near ones the
    /// smaller product id first.
    pub fn search(&self, query: &[f32], request: &SearchRequest<'_>) -> Result<Vec<Hit>, IndexError> {
        kernel::check_unit(query, self.shared.config.dimension)?;
        let state = self.shared.read();
        Ok(search::search(&state, &self.shared.config, query, request))
    }

    /// The last change, products and images that can be found; at no cost, which [`Index::stats`] cannot say of itself.
    pub fn counts(&self) -> (u64, usize, usize) {
        let state = self.shared.read();
        (state.seq, state.products.len(), state.live_rows())
    }

    /// The ids of all products.
    pub fn product_ids(&self) -> Vec<String> {
        let state = self.shared.read();
        let slots = 0..state.products.records().len() as u32;
        slots.filter_map(|slot| Some(state.products.view(slot)?.id.to_owned())).collect()
    }

    /// What the index holds of a product: its vectors as they are kept, rounded to half precision, and its facets, or of these
    /// its group alone. `None` when it is not in the index; without images when it has none.
    pub fn product(&self, product_id: &str, group_only: bool) -> Option<IndexedProduct> {
        let state = self.shared.read();
        let slot = state.products.slot(product_id)?;
        let product = state.products.view(slot)?;
        let image = |(image_id, row): (&str, u64)| {
            let embedding = state.with_vector(slot, row, rows::widened)?;
            Some(IndexedImage { image_id: image_id.to_owned(), embedding })
        };
        Some(IndexedProduct {
            product_id: product_id.to_owned(),
            facets: state.facets_of(&product, group_only)?,
            images: product.images().filter_map(image).collect(),
        })
    }

    /// Writes a snapshot of this moment: to a temporary file, synced, then renamed; older ones beyond
    /// [`IndexConfig::keep_snapshots`] are removed. Searches and changes go on meanwhile. Does nothing while a change or one of
    /// [`Opened::lost`] is known to be missing.
    pub fn snapshot(&self) -> Result<(), IndexError> {
        self.shared.snapshot()
    }

    /// Says that a change did not reach the index: no snapshot is written from here on, so that the next start replays it.
    pub fn distrust(&self) {
        self.shared.incomplete.store(true, Ordering::Release);
    }

    /// Sizes.
    pub fn stats(&self) -> IndexStats {
        let state = self.shared.read();
        let mut stats = IndexStats {
            seq: state.seq,
            model_version: self.shared.config.model_version.clone(),
            products: state.products.len(),
            images: state.live_rows(),
            building: state.is_building(),
            product_bytes: state.products.bytes() + state.columns.bytes(),
            ..IndexStats::default()
        };
        for part in &state.parts {
            stats.dead_rows += part.dead.count();
            stats.bytes += part.bytes();
            match part.segment() {
                Some(_) => {
                    stats.segments += 1;
                    stats.graph_rows += part.len();
                }
                None => stats.scanned_rows += part.len(),
            }
        }
        stats
    }

    fn build_if_due(&self) {
        if !self.shared.is_build_due() {
            return;
        }
        let mut builder = lock(&self.builder);
        if builder.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new().name("index-build".to_owned());
        match thread.spawn(move || shared.build()) {
            Ok(thread) => *builder = Some(thread),
            // Nothing is lost but speed; the next change tries again.
            Err(error) => tracing::error!(%error, "cannot start a thread to build the index"),
        }
    }

    /// Waits until no build is under way or due, for benchmarks and tools. Results do not depend on it.
    pub fn settle(&self) {
        loop {
            self.build_if_due();
            let Some(thread) = lock(&self.builder).take() else {
                return;
            };
            if thread.join().is_err() {
                tracing::error!("the thread that builds the index panicked");
                return;
            }
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = lock(&self.builder).take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that builds the index panicked");
        }
    }
}
