//! Images of products: looked at, then stored. Uploads that end at about the same time are stored in one transaction,
//! since most of what one costs alone is its commit and the syncs of its folders.

use super::write::answer;
use super::{Core, PhotoInput, Reply, Run, Service, ServiceError, lock};
use crate::analyzer::{Analysis, Analyzed};
use crate::catalog::{CatalogError, IdempotencyKey, Image, NewImage, Once, StagedPhoto, Tx};
use crate::model::Embedding;
use crate::photo::Area;
use crate::scheduler::{Lane, SchedulerError};
use bytes::Bytes;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// Digits of a photo's hash that name an image which the client did not name.
const HASH_ID_DIGITS: usize = 16;
/// How often a photo is looked at before an upload is given up because models change under it.
const MAX_LOOKS: usize = 3;
/// Photos that are stored in one transaction, at most: more save little, and hold the writer longer.
pub(super) const STORED_AT_ONCE: usize = 16;
/// Longest wait of an upload for others to be stored with, and only where photos wait for a core.
const GATHERED_FOR: Duration = Duration::from_millis(100);

/// What was seen on a photo that is to be stored.
#[derive(Clone)]
pub(super) struct Seen {
    first: (Analysis, Embedding),
    second: Option<(Analysis, Embedding)>,
    content_type: Cow<'static, str>,
    /// On this part of it.
    area: Option<Area>,
}

impl Seen {
    /// What was seen on the same part of the same photo before.
    pub(super) fn before(
        (analysis, embedding, content_type): (Analysis, Embedding, String),
        area: Option<Area>,
    ) -> Self {
        Self { first: (analysis, embedding), second: None, content_type: content_type.into(), area }
    }

    /// Stores it as an image of a product.
    pub(super) fn put(
        self,
        tx: &mut Tx<'_>,
        product_id: &str,
        image_id: Option<String>,
        photo: StagedPhoto,
    ) -> Result<Image, ServiceError> {
        let image_id = image_id.unwrap_or_else(|| image_name(photo.sha256(), self.area));
        let Self { first: (analysis, embedding), second, content_type, area } = self;
        let also = second.as_ref().map(|(analysis, embedding)| (analysis.clone(), embedding.as_slice()));
        let (image_id, content_type, embedding) = (image_id.as_str(), &*content_type, embedding.as_slice());
        Ok(tx.put_image(product_id, NewImage { image_id, photo, content_type, area, analysis, embedding, also })?)
    }
}

/// The id of an image that its client did not name.
pub(super) fn image_name(sha256: &str, area: Option<Area>) -> String {
    let digits = sha256.get(..HASH_ID_DIGITS).unwrap_or(sha256);
    area.map_or_else(|| digits.to_owned(), |area| format!("{digits}-{}", area.to_string().replace(',', "-")))
}

/// An image that was looked at, and is to be stored.
struct Upload {
    product_id: String,
    image_id: Option<String>,
    bytes: Bytes,
    seen: Seen,
    once: Option<IdempotencyKey>,
    /// Once it is stored, or refused.
    outcome: Mutex<Option<Result<Reply, ServiceError>>>,
}

/// Uploads that wait to be stored. Each asks for a turn of the writer, and the first to have one stores those that wait.
pub(super) struct Uploads {
    waiting: Mutex<VecDeque<Arc<Upload>>>,
    /// That are to be looked at before they wait here.
    coming: AtomicUsize,
    /// Wakes those that wait for others when it may be time.
    changed: Notify,
    /// Threads that look at photos.
    looking: usize,
}

impl Uploads {
    pub(super) fn new(looking: usize) -> Self {
        Self { waiting: Mutex::default(), coming: AtomicUsize::new(0), changed: Notify::new(), looking }
    }

    fn coming(&self) -> Coming<'_> {
        self.coming.fetch_add(1, Ordering::AcqRel);
        Coming(self)
    }

    /// Waits until it would not pay to wait on: there are enough, or a core may have nothing to do before they are answered.
    async fn gathered(&self) {
        let gathered = async {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                // From here on; what changes before it is looked at below.
                changed.as_mut().enable();
                if self.coming.load(Ordering::Acquire) <= self.looking || lock(&self.waiting).len() >= STORED_AT_ONCE {
                    return;
                }
                changed.await;
            }
        };
        // They are stored either way.
        let _ = tokio::time::timeout(GATHERED_FOR, gathered).await;
    }

    fn is_waiting(&self, upload: &Arc<Upload>) -> bool {
        lock(&self.waiting).iter().any(|other| Arc::ptr_eq(other, upload))
    }

    fn take(&self) -> Vec<Arc<Upload>> {
        let mut waiting = lock(&self.waiting);
        let count = waiting.len().min(STORED_AT_ONCE);
        waiting.drain(..count).collect()
    }
}

/// An upload before it waits to be stored.
struct Coming<'a>(&'a Uploads);

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.0.coming.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}

/// An upload that goes with whoever waits for it, unless its write has started.
struct Waits<'a>(&'a Uploads, Arc<Upload>);

impl<'a> Waits<'a> {
    fn new(uploads: &'a Uploads, upload: Upload) -> Self {
        let upload = Arc::new(upload);
        lock(&uploads.waiting).push_back(Arc::clone(&upload));
        Self(uploads, upload)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        lock(&self.0.waiting).retain(|other| !Arc::ptr_eq(other, &self.1));
    }
}

impl Service {
    /// Analyzes a photo or a part of it (bulk lane), stores and indexes it. Without `image_id` the first 16 hex digits of the
    /// photo's hash name it, and its part. Body: an [`Image`].
    ///
    /// # Errors
    /// When the product is unknown, the photo cannot be fetched or decoded, or the bulk lane is full.
    pub async fn put_image(
        &self,
        product_id: &str,
        image_id: Option<String>,
        input: PhotoInput,
        once: Option<IdempotencyKey>,
    ) -> Result<Reply, ServiceError> {
        if let Some(reply) = self.before_looking(product_id, once.clone()).await? {
            return Ok(reply);
        }
        let (bytes, area) = self.resolve(input).await?;
        let area = area.map(Area::from);
        looked_at(|| async {
            let coming = self.core.uploads.coming();
            let seen = self.look_to_store(bytes.clone(), area).await?;
            let (product_id, image_id) = (product_id.to_owned(), image_id.clone());
            let (bytes, once, outcome) = (bytes.clone(), once.clone(), Mutex::default());
            let upload = Upload { product_id, image_id, bytes, seen, once, outcome };
            let waits = Waits::new(&self.core.uploads, upload);
            drop(coming);
            self.core.uploads.gathered().await;
            let upload = Arc::clone(&waits.1);
            self.run(&self.writes, Lane::Interactive, false, move |core, run| core.store_upload(&upload, run)).await
        })
        .await
    }

    /// What can be answered before a photo is looked at: a repeated request, or an unknown product.
    async fn before_looking(
        &self,
        product_id: &str,
        once: Option<IdempotencyKey>,
    ) -> Result<Option<Reply>, ServiceError> {
        let product_id = product_id.to_owned();
        self.on_reads(move |core, _| {
            if let Some(key) = &once
                && let Some(stored) = core.catalog.replay(key)?
            {
                return Ok(Some(Once::Replayed(stored).into()));
            }
            core.expect_product(&product_id)?;
            Ok(None)
        })
        .await
    }

    /// Looks with the live model, and with the one that is about to become live.
    pub(super) async fn look_to_store(&self, bytes: Bytes, area: Option<Area>) -> Result<Seen, ServiceError> {
        self.on_photos(Lane::Bulk, move |core, run| {
            let photo = core.decode(&bytes, area, run)?;
            // Taken before the live one: if it becomes live in between, it is the live one that looks.
            let second = core.second();
            let live = core.live();
            let second = second.filter(|analyzer| analyzer.model().version() != live.version());
            let first = super::look(&live.analyzer, &photo, run)?;
            // What it cannot look at ends its activation in the background; the upload is not to suffer.
            let second = second.and_then(|analyzer| super::look(&analyzer, &photo, run).ok());
            let kept = |analyzed: Analyzed| (analyzed.analysis, analyzed.embedding);
            let content_type = photo.format().mime().into();
            Ok(Seen { first: kept(first), second: second.map(kept), content_type, area })
        })
        .await
    }
}

impl Core {
    /// Stores an upload in the writer's turn, with those that wait, unless it was stored with another.
    fn store_upload(&self, upload: &Arc<Upload>, run: &mut Run<'_>) -> Result<Reply, ServiceError> {
        while self.uploads.is_waiting(upload) {
            self.store_uploads(&self.uploads.take(), run);
        }
        // There is one writer: what was taken and has no outcome was under way when the work panicked.
        lock(&upload.outcome).take().unwrap_or_else(|| Err(SchedulerError::Panicked.into()))
    }

    fn store_uploads(&self, uploads: &[Arc<Upload>], run: &mut Run<'_>) {
        let store = |tx: &mut Tx<'_>, upload: &Arc<Upload>, photo| {
            let once = tx.once(upload.once.as_ref(), |tx| {
                let before = tx.product(&upload.product_id)?;
                let image = upload.seen.clone().put(tx, &upload.product_id, upload.image_id.clone(), photo)?;
                let created = before.is_some_and(|p| p.images.iter().all(|i| i.image_id != image.image_id));
                answer(created, &image)
            })?;
            Ok(Reply::from(once))
        };
        match (self.store_photos(uploads, |upload| &upload.bytes, store, run), uploads) {
            (Ok(outcomes), _) => {
                for (upload, outcome) in uploads.iter().zip(outcomes) {
                    *lock(&upload.outcome) = Some(outcome);
                }
            }
            (Err(error), [upload]) => *lock(&upload.outcome) = Some(Err(error)),
            // Each by itself: who is told that it failed is told why.
            (Err(_), uploads) => uploads.chunks(1).for_each(|alone| self.store_uploads(alone, run)),
        }
    }

    /// Stores what came with photos in one transaction, each all or nothing by itself; gives what came of each.
    ///
    /// # Errors
    /// When the store failed: then nothing is stored.
    pub(super) fn store_photos<I, T>(
        &self,
        items: &[I],
        bytes: impl Fn(&I) -> &[u8],
        store: impl Fn(&mut Tx<'_>, &I, StagedPhoto) -> Result<T, ServiceError>,
        run: &mut Run<'_>,
    ) -> Result<Vec<Result<T, ServiceError>>, ServiceError> {
        let bytes: Vec<&[u8]> = items.iter().map(bytes).collect();
        let photos = run.time("stage", || self.catalog.stage_photos(&bytes))?;
        let write = |tx: &mut Tx<'_>| {
            let each = items.iter().zip(photos).map(|(item, photo)| match tx.atomically(|tx| store(tx, item, photo)) {
                Err(ServiceError::Catalog(error)) if error.is_of_the_store() => Err(error.into()),
                stored => Ok(stored),
            });
            each.collect::<Result<_, ServiceError>>()
        };
        Ok(run.time("commit", || self.catalog.write(write))?.value)
    }
}

/// Looks and stores, once more where another version became live in between: that happens once, and again only where somebody
/// activates models faster than a photo is looked at.
pub(super) async fn looked_at<T, Fut>(look_and_store: impl Fn() -> Fut) -> Result<T, ServiceError>
where
    Fut: Future<Output = Result<T, ServiceError>>,
{
    let mut looks = 1;
    loop {
        match look_and_store().await {
            Err(ServiceError::Catalog(CatalogError::OtherModel { .. })) if looks < MAX_LOOKS => looks += 1,
            done => return done,
        }
    }
}
