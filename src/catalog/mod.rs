//! Products, images, analyses, corrections and the change log, in one SQLite file, with the photos' bytes beside it.
//! What a write acknowledges is on disk and has been seen by the observer (the index); everything else in the
//! service can be derived from here again.
//!
//! | file | duty |
//! | --- | --- |
//! | `schema` | the file, its migrations |
//! | `records`, `metadata`, `ids` | what is stored and what may be |
//! | `write`, `images`, `corrections`, `models` | transactions |
//! | `read`, `reader` | queries, paging; a look at a store that another process has open |
//! | `changes` | the change log |
//! | `jobs` | bulk jobs and how their rows ended |
//! | `states` | products by their last change, for copies |
//! | `webhooks` | endpoints that changes are sent to, and what they have not taken |
//! | `idempotency` | answers kept for repeated requests |
//! | `photos` | original bytes by hash |
//! | `effective` | what a product is, all sources taken together |
//! | `pool`, `codec`, `error` | connections, column formats, failures |

mod changes;
mod codec;
mod corrections;
mod effective;
mod error;
mod idempotency;
mod ids;
mod images;
mod jobs;
mod metadata;
mod models;
mod photos;
mod pool;
mod read;
mod reader;
mod records;
mod schema;
mod states;
#[cfg(test)]
pub(crate) mod tests;
mod webhooks;
mod write;

pub use changes::{Change, ChangeKind, EndedJob, MAX_CHANGES, Payload, Slice, SliceLimits};
pub use effective::{effective_attributes, facets, photo_facets};
pub use error::CatalogError;
pub use idempotency::{IDEMPOTENCY_TTL_S, IdempotencyKey, MAX_KEY_CHARS, StoredResponse};
pub use ids::{MAX_ID_CHARS, MAX_LABEL_CHARS, validate_id};
pub use images::MAX_IMAGES;
pub use jobs::{
    FailedCause, FailedRow, JobRecord, JobState, NewRow, RowContent, RowCounts, RowEnd, RowFault, WaitingRow,
};
pub use metadata::{MAX_LABELS, MAX_TITLE_CHARS, MAX_URL_CHARS, Metadata, MetadataPatch, PRODUCT_SET_TAG};
pub use photos::StagedPhoto;
pub use read::MAX_PAGE;
pub use reader::CatalogReader;
pub use records::{
    Committed, Correction, Counts, Image, ImageRef, IndexRecord, NewImage, Observed, PendingActivation, Product,
    StoredImage,
};
pub use states::{CopiedTo, ProductState, ProductStates};
pub use webhooks::{Delivery, DeliveryCounts, DeliveryState, NewWebhook, WebhookRecord, WebhookSecret, WebhookState};
pub use write::{AfterCommit, Observer, Once, Tx};

use crate::analyzer::Analysis;
use crate::model::Embedding;
use crate::photo::Area;
use photos::PhotoStore;
use pool::Pool;
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::Duration;
use time::OffsetDateTime;
use write::Writer;

/// The database below the data directory.
const DATABASE: &str = "catalog.sqlite3";
/// Locked while a process works on the data directory.
const LOCK: &str = "lock";
/// The photos' folder below the data directory.
const PHOTOS: &str = "photos";

/// How a catalog is opened.
#[derive(Clone, Copy, Debug)]
pub struct CatalogOptions {
    /// Connections for reading: as many queries run at once. At least 1.
    pub readers: usize,
    /// How long a read or write waits for its turn before it gets [`CatalogError::Busy`].
    pub patience: Duration,
    /// The clock of record times and of the expiry of kept answers.
    pub clock: fn() -> OffsetDateTime,
}

impl Default for CatalogOptions {
    fn default() -> Self {
        Self {
            // Reads are short and processor-bound; more than the cores of a small node gain nothing.
            readers: 4,
            // A commit takes milliseconds; whoever waits this long stands behind a broken disk.
            patience: Duration::from_secs(10),
            clock: OffsetDateTime::now_utc,
        }
    }
}

/// The store of one data directory; shared by reference (in an `Arc`) between threads. Every method blocks on the
/// disk: call it from a thread that may.
pub struct Catalog {
    // Dropped in this order: the writer last of the connections, so that it folds the write-ahead log in, and the
    // lock last of all.
    readers: Pool<Connection>,
    writer: Pool<Writer>,
    photos: PhotoStore,
    clock: fn() -> OffsetDateTime,
    _lock: File,
}

impl Catalog {
    /// Opens the store in `data_dir` with default options, creating it when it is not there.
    pub fn open(data_dir: &Path) -> Result<Self, CatalogError> {
        Self::open_with(data_dir, CatalogOptions::default())
    }

    /// Opens the store: locks the directory against other processes and migrates the schema. Refuses a missing or empty
    /// database beside photos: [`Catalog::sweep_photos`] would take them for orphans.
    pub fn open_with(data_dir: &Path, options: CatalogOptions) -> Result<Self, CatalogError> {
        fs::create_dir_all(data_dir).map_err(CatalogError::io("create", data_dir))?;
        let lock = lock(&data_dir.join(LOCK))?;
        let photos = PhotoStore::open(data_dir.join(PHOTOS))?;
        let database = data_dir.join(DATABASE);
        let mut conn = schema::open_writer(&database)?;
        let version = schema::version(&conn)?;
        if version == 0 && !photos.is_empty()? {
            return Err(CatalogError::corrupt(format!(
                "{} is missing or empty, but there are photos beside it: restore it, or move the photos away",
                database.display()
            )));
        }
        schema::migrate(&mut conn, version)?;
        photos.clear_staging()?;
        let readers = (0..options.readers.max(1)).map(|_| schema::open_reader(&database));
        let readers = readers.collect::<Result<Vec<_>, _>>()?;
        let writer = Writer { conn, observer: None, unsynced: BTreeSet::new() };
        Ok(Self {
            readers: Pool::new(readers, options.patience),
            writer: Pool::new(vec![writer], options.patience),
            photos,
            clock: options.clock,
            _lock: lock,
        })
    }

    /// Which catalog this is, a random UUID: sequence numbers of another one mean nothing here.
    pub fn id(&self) -> Result<String, CatalogError> {
        self.read(schema::catalog_id)
    }

    /// Makes it another catalog: it was put back from a copy, and will give sequence numbers again that it gave before.
    pub fn renew_id(&self) -> Result<(), CatalogError> {
        self.writer.with(|writer| schema::renew_id(&writer.conn))?
    }

    /// Writes a photo's bytes to disk, ready for [`Tx::put_image`]. Needs no turn: call it before [`Catalog::write`].
    pub fn stage_photo(&self, bytes: &[u8]) -> Result<StagedPhoto, CatalogError> {
        let staged = self.photos.stage(&[bytes])?.pop();
        staged.ok_or_else(|| CatalogError::corrupt("a photo that was written is not there"))
    }

    /// As [`Catalog::stage_photo`], of several at once, in less time.
    pub fn stage_photos(&self, photos: &[&[u8]]) -> Result<Vec<StagedPhoto>, CatalogError> {
        self.photos.stage(photos)
    }

    /// Removes photos that no image shows, which a crash between a photo and its commit leaves; returns how many. Takes the
    /// writer's turn for a folder where there is one, so it can run beside writes; asks `go_on` before each folder. Of a
    /// million photos it takes many seconds: not for the way to the first answer.
    pub fn sweep_photos(&self, mut go_on: impl FnMut() -> bool) -> Result<u64, CatalogError> {
        let mut removed = 0;
        self.photos.visit(&mut |photos| {
            let orphans = |conn: &Connection| -> Result<Vec<String>, CatalogError> {
                let is_orphan = |sha256: &&String| read::is_photo_referenced(conn, sha256).map(|known| !known);
                photos.iter().filter_map(|p| is_orphan(&p).map(|is| is.then(|| p.clone())).transpose()).collect()
            };
            if !self.read(orphans)?.is_empty() {
                // Looked at again: photos get their place in the writer's turn, before their image is committed.
                self.writer.with(|writer| {
                    for orphan in orphans(&writer.conn)? {
                        self.photos.remove(&orphan);
                        removed += 1;
                    }
                    Ok::<_, CatalogError>(())
                })??;
            }
            Ok(go_on())
        })?;
        if removed > 0 {
            tracing::info!(removed, "photos without an image removed");
        }
        Ok(removed)
    }

    /// A product with its images and analyses.
    pub fn product(&self, product_id: &str) -> Result<Option<Product>, CatalogError> {
        self.read(|conn| read::product(conn, product_id))
    }

    /// Products whose id comes after `after` in code point order, at most `limit` (and at most [`MAX_PAGE`]). The
    /// last id of a page is the `after` of the next; a product that stays is seen exactly once, whatever is written
    /// meanwhile.
    pub fn products(&self, after: Option<&str>, limit: usize) -> Result<Vec<Product>, CatalogError> {
        self.read(|conn| read::products(conn, after, limit))
    }

    /// One image, with the media type and length of its photo.
    pub fn image(&self, product_id: &str, image_id: &str) -> Result<Option<StoredImage>, CatalogError> {
        self.read(|conn| read::image(conn, product_id, image_id))
    }

    /// The original bytes of a photo by its hash in hex.
    pub fn photo_bytes(&self, sha256: &str) -> Result<Option<Vec<u8>>, CatalogError> {
        self.photos.read(sha256)
    }

    /// The embedding of one image.
    pub fn embedding(&self, product_id: &str, image_id: &str) -> Result<Option<Embedding>, CatalogError> {
        self.read(|conn| read::embedding(conn, product_id, image_id))
    }

    /// Image id and embedding of every image of a product, in the order of its images; empty for an unknown one.
    pub fn embeddings(&self, product_id: &str) -> Result<Vec<(String, Embedding)>, CatalogError> {
        self.read(|conn| read::embeddings(conn, product_id, &models::current(conn)?.unwrap_or_default()))
    }

    /// Changes after `seq`, oldest first, at most `limit` (and at most [`MAX_CHANGES`]).
    pub fn changes_after(&self, seq: u64, limit: usize) -> Result<Vec<Change>, CatalogError> {
        self.read(|conn| changes::after(conn, seq, limit))
    }

    /// What a consumer of the log is given at once, of some kinds of changes (of all when there are none). It may come back
    /// with none and more to look at.
    pub fn changes_slice(&self, after: u64, kinds: &[ChangeKind], limits: SliceLimits) -> Result<Slice, CatalogError> {
        self.read(|conn| changes::slice(conn, after, kinds, limits))
    }

    /// Sequence number of the last change, 0 before the first.
    pub fn last_seq(&self) -> Result<u64, CatalogError> {
        self.read(changes::last_seq)
    }

    /// Sequence number of the first change that is kept; of the next one where none is.
    pub fn first_seq(&self) -> Result<u64, CatalogError> {
        self.read(changes::first_seq)
    }

    /// Whether there is such a product.
    pub fn is_product(&self, product_id: &str) -> Result<bool, CatalogError> {
        self.read(|conn| read::is_product(conn, product_id))
    }

    /// What the index of model `version` needs of the products changed after `since` (0: of all), in the order of their
    /// last change, at most `limit` (and at most [`MAX_PAGE`]). The `product.seq` of the last one is the `since` of the next page; a
    /// product that is written meanwhile comes again. Deleted products are told by [`Catalog::changes_after`].
    pub fn index_records(&self, version: &str, since: u64, limit: usize) -> Result<Vec<IndexRecord>, CatalogError> {
        self.read(|conn| read::index_records(conn, version, since, limit))
    }

    /// Images that model `version` has not seen, at most `limit` (and at most [`MAX_PAGE`]); the last one
    /// is the `after` of the next page.
    pub fn images_not_of_model(
        &self,
        version: &str,
        after: Option<&ImageRef>,
        limit: usize,
    ) -> Result<Vec<ImageRef>, CatalogError> {
        self.read(|conn| read::images_not_of_model(conn, version, after, limit))
    }

    /// Corrections after `correction_id`, oldest first, at most `limit` (and at most [`MAX_PAGE`]).
    pub fn corrections_after(&self, correction_id: u64, limit: usize) -> Result<Vec<Correction>, CatalogError> {
        self.read(|conn| corrections::after(conn, correction_id, limit))
    }

    /// The model version activated last; none before the first activation.
    pub fn live_model(&self) -> Result<Option<String>, CatalogError> {
        self.read(models::live)
    }

    /// The model version whose analyses are shown; none before [`Tx::set_current_model`] said so.
    pub fn current_model(&self) -> Result<Option<String>, CatalogError> {
        self.read(models::current)
    }

    /// What the index of model `version` needs of one product; `None`: there is none.
    pub fn index_record(&self, version: &str, product_id: &str) -> Result<Option<IndexRecord>, CatalogError> {
        self.read(|conn| read::index_record(conn, version, product_id))
    }

    /// The activation that is under way, or the last one that was given up.
    pub fn pending_activation(&self) -> Result<Option<PendingActivation>, CatalogError> {
        self.read(models::pending)
    }

    /// The answer kept for a repeated request. To be asked before costly work; [`Catalog::write_once`] asks again.
    pub fn replay(&self, key: &IdempotencyKey) -> Result<Option<StoredResponse>, CatalogError> {
        let now = (self.clock)().unix_timestamp();
        self.read(|conn| idempotency::find(conn, key, now))
    }

    /// What model `version` saw on that part of the photo of this hash, with its embedding and media type, where any image
    /// shows it.
    pub fn seen(
        &self,
        version: &str,
        sha256: &str,
        area: Option<Area>,
    ) -> Result<Option<(Analysis, Embedding, String)>, CatalogError> {
        self.read(|conn| read::seen(conn, version, sha256, area))
    }

    /// A bulk job.
    pub fn job(&self, id: &str) -> Result<JobRecord, CatalogError> {
        self.read(|conn| jobs::job(conn, id))?.ok_or_else(|| CatalogError::UnknownJob { job_id: id.into() })
    }

    /// Jobs made before the one with the key `before`, the last first, at most `limit` (and at most [`MAX_PAGE`]).
    pub fn jobs(&self, before: u64, limit: usize) -> Result<Vec<JobRecord>, CatalogError> {
        self.read(|conn| jobs::jobs(conn, before, limit))
    }

    /// The job that is to run now.
    pub fn next_job(&self) -> Result<Option<JobRecord>, CatalogError> {
        self.read(jobs::next_job)
    }

    /// Rows of a job that wait, after row `after`, in order, at most `limit` (and at most [`MAX_PAGE`]).
    pub fn waiting_rows(&self, key: u64, after: u64, limit: usize) -> Result<Vec<WaitingRow>, CatalogError> {
        self.read(|conn| jobs::waiting_rows(conn, key, after, limit))
    }

    /// Rows of a job that failed, after row `after`, in order, at most `limit` (and at most [`MAX_PAGE`]).
    pub fn failed_rows(&self, key: u64, after: u64, limit: usize) -> Result<Vec<FailedRow>, CatalogError> {
        self.read(|conn| jobs::failed_rows(conn, key, after, limit))
    }

    /// Failed rows of a job by cause, with at most `examples` of each. Looks at all of them.
    pub fn failed_causes(&self, key: u64, examples: usize) -> Result<Vec<FailedCause>, CatalogError> {
        self.read(|conn| jobs::failed_causes(conn, key, examples))
    }

    /// The version (`ETag`) that the photo at `uri` had when it was last fetched, and its hash.
    pub fn photo_source(&self, uri: &str) -> Result<Option<(String, String)>, CatalogError> {
        self.read(|conn| jobs::photo_source(conn, uri))
    }

    /// How much there is, for metrics.
    pub fn counts(&self) -> Result<Counts, CatalogError> {
        self.read(read::counts)
    }

    /// Products that a copy of the catalog lacks, and those that are gone, in the order of their last changes; about `limit`, and
    /// at most twice as many. Where it has none, all, from the first on.
    pub fn product_states(&self, copy: Option<&CopiedTo>, limit: usize) -> Result<ProductStates, CatalogError> {
        self.read(|conn| states::states(conn, copy, limit))
    }

    /// An endpoint that changes are sent to.
    pub fn webhook(&self, id: &str) -> Result<WebhookRecord, CatalogError> {
        self.read(|conn| webhooks::webhook(conn, id))?
            .ok_or_else(|| CatalogError::UnknownWebhook { webhook_id: id.into() })
    }

    /// All endpoints, in the order in which they were made.
    pub fn webhooks(&self) -> Result<Vec<WebhookRecord>, CatalogError> {
        self.read(webhooks::webhooks)
    }

    /// How many deliveries an endpoint has not taken.
    pub fn delivery_counts(&self, key: u64) -> Result<DeliveryCounts, CatalogError> {
        self.read(|conn| webhooks::delivery_counts(conn, key))
    }

    /// Deliveries of an endpoint after the change `after`, all, or those that are dead or not; at most `limit` (and at most
    /// [`MAX_PAGE`]).
    pub fn deliveries(
        &self,
        key: u64,
        dead: Option<bool>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Delivery>, CatalogError> {
        self.read(|conn| webhooks::deliveries(conn, key, dead, after, limit))
    }

    /// Deliveries of an endpoint that are to be sent at `now_unix`, the first of each product, at most `limit`; where there is
    /// none, when the next one is to be.
    pub fn due_deliveries(
        &self,
        key: u64,
        now_unix: i64,
        limit: usize,
    ) -> Result<(Vec<Delivery>, Option<i64>), CatalogError> {
        self.read(|conn| webhooks::due_deliveries(conn, key, now_unix, limit))
    }

    /// How many deliveries of an endpoint wait.
    pub fn count_waiting_deliveries(&self, key: u64) -> Result<u64, CatalogError> {
        self.read(|conn| webhooks::count_waiting(conn, key))
    }

    /// Whether an earlier delivery of a product to an endpoint waits.
    pub fn is_delivery_waiting(&self, key: u64, product_id: &str) -> Result<bool, CatalogError> {
        self.read(|conn| webhooks::is_waiting(conn, key, product_id))
    }

    /// The last change that is known to be in that stream of JetStream; 0 before the first.
    pub fn published(&self, stream: &str) -> Result<u64, CatalogError> {
        self.read(|conn| webhooks::published(conn, stream))
    }

    /// Runs queries on one state of the store.
    fn read<T>(&self, query: impl FnOnce(&Connection) -> Result<T, CatalogError>) -> Result<T, CatalogError> {
        self.readers.with(|conn| {
            let tx = conn.transaction()?;
            query(&tx)
        })?
    }
}

/// Takes the lock file of a data directory; it is free again when the file is dropped, also by a crash.
fn lock(path: &Path) -> Result<File, CatalogError> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(CatalogError::io("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CatalogError::Locked { path: path.to_path_buf() }),
        Err(TryLockError::Error(error)) => Err(CatalogError::io("lock", path)(error)),
    }
}
