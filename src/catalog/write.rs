//! The write path. One writer at a time runs one transaction: its records, their change rows and the stored answer
//! commit together or not at all; then, still in the writer's turn, the observer is told, in commit order.

use super::codec::{timestamp, to_i64};
use super::photos::{PhotoStore, StagedPhoto, sync_dir};
use super::{Catalog, CatalogError, Change, ChangeKind, Committed, IndexRecord, Payload, Product};
use super::{IdempotencyKey, StoredResponse, changes, effective_attributes, read};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use std::collections::BTreeSet;
use std::path::PathBuf;
use time::OffsetDateTime;

/// Told of every committed change in commit order, before the write that made it returns, with the state right after
/// it. It must not write to the catalog, which would wait for itself and end in [`CatalogError::Busy`]. What is slow
/// here slows every write.
pub type Observer = Box<dyn Fn(&Change, &AfterCommit<'_>) + Send + Sync>;

/// The store as an [`Observer`] sees it: right after the commit, on the writer's own connection, so that no queue of
/// readers stands between a commit and the index.
pub struct AfterCommit<'c>(&'c Connection);

impl AfterCommit<'_> {
    /// What the index of model `version` needs of one product; `None`: it is gone.
    pub fn index_record(&self, version: &str, product_id: &str) -> Result<Option<IndexRecord>, CatalogError> {
        read::index_record(self.0, version, product_id)
    }
}

/// The writing connection and who is told of its commits: one thing, since one turn covers both.
pub(super) struct Writer {
    pub(super) conn: Connection,
    pub(super) observer: Option<Observer>,
    /// Folders that a write which failed put photos or folders in: the next write finds them there, and has to see to it that they
    /// are on disk.
    pub(super) unsynced: BTreeSet<PathBuf>,
}

/// One write transaction. Each operation is all or nothing by itself too: after one that failed, the transaction may
/// go on with others (a bulk import skips a bad row) or be given up by returning the error.
pub struct Tx<'c> {
    tx: Transaction<'c>,
    photos: &'c PhotoStore,
    now: String,
    now_unix: i64,
    changes: Vec<Change>,
    /// Hashes of photos that gained or lost a reference: looked at again once the transaction has ended.
    touched: BTreeSet<String>,
    /// Folders that photos got names in: on disk before the commit.
    unsynced: BTreeSet<PathBuf>,
}

/// What is left of a transaction that is about to end.
struct Parts<'c> {
    tx: Transaction<'c>,
    changes: Vec<Change>,
    touched: BTreeSet<String>,
    unsynced: BTreeSet<PathBuf>,
}

/// Outcome of a request that its caller may repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Once {
    /// The request came for the first time; this is its answer.
    First(StoredResponse),
    /// It had come before; this was its answer, and nothing changed now.
    Replayed(StoredResponse),
}

impl Catalog {
    /// Runs `work` in one transaction and commits it when `work` returns `Ok`. When this returns `Ok`, everything is
    /// on disk and the observer has seen every change. When `work` returns `Err`, nothing is stored.
    ///
    /// Several operations in one `work` share one sync of the disk: bulk imports should use that.
    pub fn write<T, E: From<CatalogError>>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<Committed<T>, E> {
        self.writer.with(|writer| self.write_in_turn(writer, work))?
    }

    fn write_in_turn<T, E: From<CatalogError>>(
        &self,
        writer: &mut Writer,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<Committed<T>, E> {
        let mut tx = Tx::begin(&mut writer.conn, &self.photos, (self.clock)())?;
        tx.unsynced.append(&mut writer.unsynced);
        // The first of them takes most of the others along.
        let outcome = work(&mut tx).and_then(|value| {
            tx.unsynced.iter().try_for_each(|dir| sync_dir(dir))?;
            Ok(value)
        });
        let seq = changes::last_seq(&tx.tx);
        let Parts { tx, changes, touched, unsynced } = tx.into_parts();
        let (value, seq) = match (outcome, seq.map_err(E::from)) {
            (Ok(value), Ok(seq)) => (value, seq),
            (Err(error), _) | (Ok(_), Err(error)) => {
                writer.unsynced = unsynced;
                return Err(self.give_up(&tx, &touched, error));
            }
        };
        // After a commit that failed nothing is released: what reached the log may still be recovered as committed
        // and refer to the photo. The sweep at the next start knows.
        tx.commit().map_err(CatalogError::from)?;
        release(&writer.conn, &self.photos, &touched);
        if let Some(observer) = &writer.observer {
            let state = AfterCommit(&writer.conn);
            changes.iter().for_each(|change| observer(change, &state));
        }
        Ok(Committed { value, seq, changes })
    }

    /// Rolls back, and removes photos that were placed for nothing.
    fn give_up<E>(&self, tx: &Transaction<'_>, touched: &BTreeSet<String>, error: E) -> E {
        match tx.execute_batch("ROLLBACK") {
            Err(failed) if !tx.is_autocommit() => tracing::error!(error = %failed, "rollback failed"),
            _ => release(tx, &self.photos, touched),
        }
        error
    }

    /// Like [`Catalog::write`] for a request that its caller may repeat: a repeat gets the first answer and changes
    /// nothing. Without a key, `work` just runs.
    pub fn write_once<E: From<CatalogError>>(
        &self,
        key: Option<&IdempotencyKey>,
        work: impl FnOnce(&mut Tx<'_>) -> Result<StoredResponse, E>,
    ) -> Result<Once, E> {
        Ok(self.write(|tx| tx.once(key, work))?.value)
    }

    /// Installs the observer, replacing any other. It is first told of every change after `after` that is committed
    /// already, then of each later one: no gap, none twice.
    pub fn observe(&self, after: u64, observer: Observer) -> Result<(), CatalogError> {
        self.writer.with(|writer| {
            tell(&writer.conn, after, &observer)?;
            writer.observer = Some(observer);
            Ok(())
        })?
    }

    /// Tells `told` of every change after `after` that is committed, then runs `join`, all in one turn of the writer:
    /// what joins an observer there has missed nothing and is told nothing twice.
    pub fn join<T>(
        &self,
        after: u64,
        told: &dyn Fn(&Change, &AfterCommit<'_>),
        join: impl FnOnce() -> T,
    ) -> Result<T, CatalogError> {
        self.writer.with(|writer| {
            tell(&writer.conn, after, told)?;
            Ok(join())
        })?
    }
}

fn tell(conn: &Connection, after: u64, told: &dyn Fn(&Change, &AfterCommit<'_>)) -> Result<(), CatalogError> {
    let mut seen = after;
    loop {
        let page = changes::after(conn, seen, changes::MAX_CHANGES)?;
        let Some(last) = page.last() else { return Ok(()) };
        seen = last.seq;
        page.iter().for_each(|change| told(change, &AfterCommit(conn)));
    }
}

/// Removes those photos that no image shows any more.
fn release(conn: &Connection, photos: &PhotoStore, touched: &BTreeSet<String>) {
    for sha256 in touched {
        match read::is_photo_referenced(conn, sha256) {
            Ok(true) => {}
            Ok(false) => photos.remove(sha256),
            Err(error) => tracing::warn!(sha256, %error, "photo kept until the next start"),
        }
    }
}

impl<'c> Tx<'c> {
    fn begin(conn: &'c mut Connection, photos: &'c PhotoStore, now: OffsetDateTime) -> Result<Self, CatalogError> {
        Ok(Self {
            tx: conn.transaction_with_behavior(TransactionBehavior::Immediate)?,
            photos,
            now: timestamp(now),
            now_unix: now.unix_timestamp(),
            changes: Vec::new(),
            touched: BTreeSet::new(),
            unsynced: BTreeSet::new(),
        })
    }

    fn into_parts(self) -> Parts<'c> {
        let Self { tx, changes, touched, unsynced, .. } = self;
        Parts { tx, changes, touched, unsynced }
    }
}

impl Tx<'_> {
    /// Creates a product or changes its metadata, and returns it. When everything already is as asked, nothing
    /// changes and no change is recorded.
    pub fn upsert_product(&mut self, product_id: &str, patch: &super::MetadataPatch) -> Result<Product, CatalogError> {
        super::validate_id("product_id", product_id)?;
        let before = self.product(product_id)?;
        let mut metadata = before.as_ref().map(|p| p.metadata.clone()).unwrap_or_default();
        patch.apply(&mut metadata);
        metadata.validate()?;
        if let Some(before) = before
            && before.metadata == metadata
        {
            return Ok(before);
        }
        self.atomically(|tx| {
            tx.store_metadata(product_id, &metadata)?;
            let payload = Payload { metadata: Some(metadata), ..Payload::default() };
            tx.product_changed(ChangeKind::ProductUpserted, product_id, None, payload)
        })
    }

    fn store_metadata(&self, product_id: &str, metadata: &super::Metadata) -> Result<(), CatalogError> {
        let tags = metadata.tags.as_ref();
        let tags = tags.map(|t| super::codec::to_json("tags", t)).transpose()?;
        let attributes = metadata.attributes.as_ref();
        let attributes = attributes.map(|a| super::codec::to_json("attributes", a)).transpose()?;
        self.tx
            .prepare_cached(
                "INSERT INTO products (product_id, title, category, price, currency, in_stock, group_id, url, tags,
                                       attributes, popularity, created_at, updated_at, seq)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?12, ?11, ?11, 0)
                 ON CONFLICT (product_id) DO UPDATE SET title = ?2, category = ?3, price = ?4, currency = ?5,
                     in_stock = ?6, group_id = ?7, url = ?8, tags = ?9, attributes = ?10,
                     popularity = ?12",
            )?
            .execute(params![
                product_id,
                metadata.title,
                metadata.category,
                metadata.price,
                metadata.currency,
                metadata.in_stock,
                metadata.group_id,
                metadata.url,
                tags,
                attributes,
                self.now,
                metadata.popularity
            ])?;
        Ok(())
    }

    /// Deletes a product with all its images; returns the change's sequence number.
    pub fn delete_product(&mut self, product_id: &str) -> Result<u64, CatalogError> {
        let before = self.expect_product(product_id)?;
        self.atomically(|tx| {
            tx.tx.prepare_cached("DELETE FROM products WHERE product_id = ?1")?.execute([product_id])?;
            let hashes = before.images.into_iter().map(|image| image.analysis.sha256);
            tx.touched.extend(hashes);
            let ids = (Some(product_id), None);
            let kind = ChangeKind::ProductDeleted;
            let change = changes::append(&tx.tx, &tx.now, kind, ids, Payload::default())?;
            let seq = change.seq;
            tx.changes.push(change);
            Ok(seq)
        })
    }

    /// A product as this transaction sees it.
    pub fn product(&self, product_id: &str) -> Result<Option<Product>, CatalogError> {
        read::product(&self.tx, product_id)
    }

    pub(super) fn expect_product(&self, product_id: &str) -> Result<Product, CatalogError> {
        self.product(product_id)?.ok_or_else(|| CatalogError::UnknownProduct { product_id: product_id.into() })
    }

    /// Records a change of a product or of one of its images, marks the product with it, and returns the product as
    /// it is now. `payload.attributes` is filled in here.
    pub(super) fn product_changed(
        &mut self,
        kind: ChangeKind,
        product_id: &str,
        image_id: Option<&str>,
        mut payload: Payload,
    ) -> Result<Product, CatalogError> {
        let mut product = self.expect_product(product_id)?;
        payload.attributes = Some(effective_attributes(&product));
        let ids = (Some(product_id), image_id);
        let change = changes::append(&self.tx, &self.now, kind, ids, payload)?;
        self.tx
            .prepare_cached("UPDATE products SET seq = ?2, updated_at = ?3 WHERE product_id = ?1")?
            .execute(params![product_id, to_i64(change.seq), self.now])?;
        product.seq = change.seq;
        product.updated_at.clone_from(&self.now);
        self.changes.push(change);
        Ok(product)
    }

    /// Runs one operation; when it fails, what it did is undone and the transaction is as before. A full disk or an
    /// I/O error makes SQLite roll the whole transaction back: then no further operation runs, and the commit fails.
    pub fn atomically<T, E: From<CatalogError>>(
        &mut self,
        operation: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        if self.tx.is_autocommit() {
            let gone = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT_ROLLBACK);
            return Err(CatalogError::Sqlite(rusqlite::Error::SqliteFailure(gone, None)).into());
        }
        let made = self.changes.len();
        self.savepoint("SAVEPOINT operation")?;
        let outcome = operation(self);
        if outcome.is_err() {
            self.changes.truncate(made);
            if self.tx.is_autocommit() {
                return outcome;
            }
            self.savepoint("ROLLBACK TO operation")?;
        }
        self.savepoint("RELEASE operation")?;
        outcome
    }

    fn savepoint(&self, sql: &str) -> Result<(), CatalogError> {
        self.tx.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    pub(super) fn conn(&self) -> &Connection {
        &self.tx
    }

    pub(super) fn place_photo(&mut self, photo: StagedPhoto) -> Result<(), CatalogError> {
        self.photos.place(photo, &mut self.unsynced)
    }

    /// RFC 3339 time at which the transaction began.
    pub(super) fn now(&self) -> &str {
        &self.now
    }

    pub(super) fn now_unix(&self) -> i64 {
        self.now_unix
    }

    pub(super) fn made(&mut self, change: Change) {
        self.changes.push(change);
    }

    pub(super) fn touch_photo(&mut self, sha256: &str) {
        self.touched.insert(sha256.into());
    }
}
