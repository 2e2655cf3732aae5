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
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

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
    /// Whoever waits for it, until it is answered.
    caller: Mutex<Option<oneshot::Sender<Result<Reply, ServiceError>>>>,
}

impl Upload {
    fn answer(&self, outcome: Result<Reply, ServiceError>) {
        if let Some(caller) = lock(&self.caller).take() {
            // It may have gone meanwhile: nobody to tell.
            let _ = caller.send(outcome);
        }
    }
}

/// Uploads that wait to be stored. One of them asks for a turn of the writer, in which those are stored that wait by then;
/// when it is answered, or goes, the next does.
pub(super) struct Uploads {
    waiting: Mutex<VecDeque<Arc<Upload>>>,
    /// Whose turn it is to ask for a turn.
    asks: tokio::sync::Mutex<()>,
    /// That are to be looked at before they wait here.
    coming: AtomicUsize,
    /// Wakes the one that waits for others when it may be time.
    changed: Notify,
    /// Threads that look at photos.
    looking: usize,
    /// How many may wait.
    limit: usize,
}

impl Uploads {
    pub(super) fn new(looking: usize, limit: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            asks: tokio::sync::Mutex::default(),
            coming: AtomicUsize::new(0),
            changed: Notify::new(),
            looking,
            limit,
        }
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

    /// # Errors
    /// When as many wait as may.
    fn push(&self, upload: Upload) -> Result<Waits<'_>, SchedulerError> {
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= self.limit {
            return Err(SchedulerError::Full { waiting: waiting.len(), retry_after_s: 1 });
        }
        let upload = Arc::new(upload);
        waiting.push_back(Arc::clone(&upload));
        Ok(Waits(self, upload))
    }

    fn take(&self, at_most: usize) -> Vec<Arc<Upload>> {
        let mut waiting = lock(&self.waiting);
        let count = waiting.len().min(at_most);
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
        looked_at(|| async {
            let coming = self.core.uploads.coming();
            let seen = self.look_to_store(bytes.clone(), area).await?;
            let (product_id, image_id) = (product_id.to_owned(), image_id.clone());
            let (bytes, once) = (bytes.clone(), once.clone());
            let (caller, answer) = oneshot::channel();
            let caller = Mutex::new(Some(caller));
            let waits = self.core.uploads.push(Upload { product_id, image_id, bytes, seen, once, caller })?;
            drop(coming);
            let stored = self.stored(answer).await;
            drop(waits);
            stored
        })
        .await
    }

    /// Waits until an upload is answered; asks for a turn of the writer where no other does.
    async fn stored(&self, mut answer: oneshot::Receiver<Result<Reply, ServiceError>>) -> Result<Reply, ServiceError> {
        let (uploads, since) = (&self.core.uploads, Instant::now());
        // What is dropped unanswered was under way when the work panicked twice.
        let lost = |_| Err(SchedulerError::Panicked.into());
        let asks = tokio::select! {
            biased;
            answered = &mut answer => {
                self.metrics.stage("gather", since.elapsed());
                return answered.unwrap_or_else(lost);
            }
            asks = uploads.asks.lock() => asks,
        };
        uploads.gathered().await;
        self.metrics.stage("gather", since.elapsed());
        loop {
            let turn = self.run(&self.writes, Lane::Interactive, false, |core, run| {
                core.store_uploads(&core.uploads.take(STORED_AT_ONCE), run);
                Ok(())
            });
            match turn.await {
                Ok(()) => {}
                // The writer has no time: not for those behind, either.
                Err(ServiceError::Scheduler(error)) => {
                    let left = uploads.take(usize::MAX);
                    left.iter().for_each(|upload| upload.answer(Err(error.clone().into())));
                    drop(asks);
                    return answer.await.unwrap_or_else(lost);
                }
                Err(error) => return Err(error),
            }
            match answer.try_recv() {
                Ok(answered) => return answered,
                Err(oneshot::error::TryRecvError::Closed) => return Err(SchedulerError::Panicked.into()),
                // Behind as many others as are stored at once.
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
        }
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
            // Taken before the live one: if it becomes live in between, it is the live one that looks.
            let second = core.second();
            let live = core.live();
            let second = second.filter(|analyzer| analyzer.model().version() != live.version());
            let photo = core.decode(&live.analyzer, &bytes, area, run)?;
            let first = super::look(&live.analyzer, &photo, run)?;
            // What it cannot look at ends its activation in the background; the upload is not to suffer.
            let second = second.and_then(|analyzer| {
                // What an analyzer sees may not depend on which other one sees it too.
                if area.is_some() || analyzer.side() == live.analyzer.side() {
                    return super::look(&analyzer, &photo, run).ok();
                }
                let photo = core.decode(&analyzer, &bytes, area, run).ok()?;
                super::look(&analyzer, &photo, run).ok()
            });
            let kept = |analyzed: Analyzed| (analyzed.analysis, analyzed.embedding);
            let content_type = photo.format().mime().into();
            Ok(Seen { first: kept(first), second: second.map(kept), content_type, area })
        })
        .await
    }
}

impl Core {
    /// Stores uploads in the writer's turn, and answers them.
    fn store_uploads(&self, uploads: &[Arc<Upload>], run: &mut Run<'_>) {
        let (mut left, mut at_once) = (uploads, uploads.len());
        while !left.is_empty() {
            let (now, later) = left.split_at(at_once.min(left.len()));
            match self.try_uploads(now, run) {
                Ok(outcomes) => now.iter().zip(outcomes).for_each(|(upload, outcome)| upload.answer(outcome)),
                Err(ServiceError::Catalog(CatalogError::Busy { waited })) => {
                    return left.iter().for_each(|upload| upload.answer(Err(CatalogError::Busy { waited }.into())));
                }
                Err(ServiceError::Catalog(CatalogError::StorageFull)) => {
                    return left.iter().for_each(|upload| upload.answer(Err(CatalogError::StorageFull.into())));
                }
                Err(error) => match now {
                    [alone] => alone.answer(Err(error)),
                    // Each by itself: one of them may be at fault, and who is told that it failed is told why.
                    _ => {
                        tracing::warn!(%error, uploads = now.len(), "uploads not stored together; storing each alone");
                        at_once = 1;
                        continue;
                    }
                },
            }
            left = later;
        }
    }

    fn try_uploads(
        &self,
        uploads: &[Arc<Upload>],
        run: &mut Run<'_>,
    ) -> Result<Vec<Result<Reply, ServiceError>>, ServiceError> {
        let store = |tx: &mut Tx<'_>, upload: &Arc<Upload>, photo| {
            let once = tx.once(upload.once.as_ref(), |tx| {
                let before = tx.product(&upload.product_id)?;
                let image = upload.seen.clone().put(tx, &upload.product_id, upload.image_id.clone(), photo)?;
                let created = before.is_some_and(|p| p.images.iter().all(|i| i.image_id != image.image_id));
                answer(created, &image)
            })?;
            Ok(Reply::from(once))
        };
        // A panic is one upload's too.
        let stored = AssertUnwindSafe(|| self.store_photos(uploads, |upload| &upload.bytes, store, run));
        catch_unwind(stored).unwrap_or_else(|_| Err(SchedulerError::Panicked.into()))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::catalog::tests::analysis;
    use futures_util::FutureExt;

    fn upload(name: &str) -> (Upload, oneshot::Receiver<Result<Reply, ServiceError>>) {
        let (caller, answer) = oneshot::channel();
        let seen = Seen::before((analysis(b"1", "v1", "dress", 0.9), Vec::new(), String::new()), None);
        let (product_id, bytes, caller) = (name.to_owned(), Bytes::new(), Mutex::new(Some(caller)));
        (Upload { product_id, image_id: None, bytes, seen, once: None, caller }, answer)
    }

    #[tokio::test]
    async fn an_upload_waits_only_while_more_come_than_are_looked_at() {
        let uploads = Uploads::new(2, 100);
        let (two, third) = ([uploads.coming(), uploads.coming()], uploads.coming());
        assert!(uploads.gathered().now_or_never().is_none(), "one waits for a core");
        drop(third);
        assert!(uploads.gathered().now_or_never().is_some());
        let third = uploads.coming();
        let mut waits = std::pin::pin!(uploads.gathered());
        assert!(waits.as_mut().now_or_never().is_none());
        drop(third);
        assert!(waits.now_or_never().is_some(), "it is woken");
        let _more = [uploads.coming(), uploads.coming()];
        let waiting: Vec<_> = (0..STORED_AT_ONCE).map(|_| uploads.push(upload("p").0).unwrap()).collect();
        assert!(uploads.gathered().now_or_never().is_some(), "there are enough");
        drop((waiting, two));
    }

    #[test]
    fn uploads_are_taken_in_order_and_go_with_their_callers() {
        let uploads = Uploads::new(2, 3);
        let push = |name| uploads.push(upload(name).0);
        let (first, second, third) = (push("1").unwrap(), push("2").unwrap(), push("3").unwrap());
        assert!(matches!(push("4"), Err(SchedulerError::Full { waiting: 3, .. })));
        drop(second);
        let names = |taken: Vec<Arc<Upload>>| taken.iter().map(|u| u.product_id.clone()).collect::<Vec<_>>();
        assert_eq!((names(uploads.take(1)), names(uploads.take(9))), (vec!["1".to_owned()], vec!["3".to_owned()]));
        drop((first, third));
        assert_eq!(names(uploads.take(9)), [""; 0]);
    }
}
