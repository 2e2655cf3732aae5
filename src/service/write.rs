//! The write path: look, then one transaction, then the answer. Nothing is acknowledged before it is on disk and the
//! index has it.

use super::{Core, PhotoInput, ProductView, Reply, Service, ServiceError};
use crate::analyzer::{Analysis, Analyzed};
use crate::catalog::{
    CatalogError, IdempotencyKey, Image, MetadataPatch, NewImage, Once, StagedPhoto, StoredResponse, Tx,
};
use crate::model::Embedding;
use crate::scheduler::Lane;
use bytes::Bytes;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Digits of a photo's hash that name an image which the client did not name.
const HASH_ID_DIGITS: usize = 16;

/// How often a photo is looked at before an upload is given up because models change under it.
const MAX_LOOKS: usize = 3;

/// What was seen on a photo that is to be stored.
#[derive(Clone)]
pub(super) struct Seen {
    first: (Analysis, Embedding),
    second: Option<(Analysis, Embedding)>,
    content_type: Cow<'static, str>,
}

impl Seen {
    /// What was seen on the same photo before.
    pub(super) fn before(analysis: Analysis, embedding: Embedding, content_type: String) -> Self {
        Self { first: (analysis, embedding), second: None, content_type: content_type.into() }
    }

    /// Stores it as an image of a product.
    pub(super) fn put(
        self,
        tx: &mut Tx<'_>,
        product_id: &str,
        image_id: Option<String>,
        photo: StagedPhoto,
    ) -> Result<Image, ServiceError> {
        let image_id = image_id.unwrap_or_else(|| image_name(photo.sha256()).to_owned());
        let Self { first: (analysis, embedding), second, content_type } = self;
        let also = second.as_ref().map(|(analysis, embedding)| (analysis.clone(), embedding.as_slice()));
        let (image_id, content_type, embedding) = (image_id.as_str(), &*content_type, embedding.as_slice());
        Ok(tx.put_image(product_id, NewImage { image_id, photo, content_type, analysis, embedding, also })?)
    }
}

/// The id of an image that its client did not name.
pub(super) fn image_name(sha256: &str) -> &str {
    sha256.get(..HASH_ID_DIGITS).unwrap_or(sha256)
}

impl Service {
    /// Creates a product or changes its metadata. Body: a [`ProductView`].
    ///
    /// # Errors
    /// When the id or a field is out of bounds.
    pub async fn put_product(
        &self,
        product_id: &str,
        patch: MetadataPatch,
        once: Option<IdempotencyKey>,
    ) -> Result<Reply, ServiceError> {
        let product_id = product_id.to_owned();
        self.write(once, move |tx| {
            let created = tx.product(&product_id)?.is_none();
            let product = tx.upsert_product(&product_id, &patch)?;
            answer(created, &ProductView::from(product))
        })
        .await
    }

    /// Deletes a product with its images; the next search does not find it.
    ///
    /// # Errors
    /// When it is unknown.
    pub async fn delete_product(&self, product_id: &str, once: Option<IdempotencyKey>) -> Result<Reply, ServiceError> {
        let product_id = product_id.to_owned();
        self.write(once, move |tx| {
            tx.delete_product(&product_id)?;
            Ok(gone())
        })
        .await
    }

    /// Analyzes a photo (bulk lane), stores and indexes it. Without `image_id` the first 16 hex digits of the photo's
    /// hash name it. Body: an [`Image`].
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
        let (bytes, _) = self.resolve(input).await?;
        looked_at(|| async {
            let seen = self.look_to_store(bytes.clone()).await?;
            self.store_image(product_id, image_id.clone(), bytes.clone(), seen, once.clone()).await
        })
        .await
    }

    /// Looks with the live model, and with the one that is about to become live.
    pub(super) async fn look_to_store(&self, bytes: Bytes) -> Result<Seen, ServiceError> {
        self.on_photos(Lane::Bulk, move |core, run| {
            let photo = core.decode(&bytes, None, run)?;
            // Taken before the live one: if it becomes live in between, it is the live one that looks.
            let second = core.second();
            let live = core.live();
            let second = second.filter(|analyzer| analyzer.model().version() != live.version());
            let first = super::look(&live.analyzer, &photo, run)?;
            // What it cannot look at ends its activation in the background; the upload is not to suffer.
            let second = second.and_then(|analyzer| super::look(&analyzer, &photo, run).ok());
            let kept = |analyzed: Analyzed| (analyzed.analysis, analyzed.embedding);
            Ok(Seen { first: kept(first), second: second.map(kept), content_type: photo.format().mime().into() })
        })
        .await
    }

    async fn store_image(
        &self,
        product_id: &str,
        image_id: Option<String>,
        bytes: Bytes,
        seen: Seen,
        once: Option<IdempotencyKey>,
    ) -> Result<Reply, ServiceError> {
        let product_id = product_id.to_owned();
        self.write_with(
            once,
            move |core| Ok(core.catalog.stage_photo(&bytes)?),
            move |tx, photo| {
                let before = tx.product(&product_id)?;
                let image = seen.put(tx, &product_id, image_id, photo)?;
                let created = before.is_some_and(|p| p.images.iter().all(|i| i.image_id != image.image_id));
                answer(created, &image)
            },
            |_| {},
        )
        .await
    }

    /// Deletes an image; the next search does not find it.
    ///
    /// # Errors
    /// When the product or the image is unknown.
    pub async fn delete_image(
        &self,
        product_id: &str,
        image_id: &str,
        once: Option<IdempotencyKey>,
    ) -> Result<Reply, ServiceError> {
        let (product_id, image_id) = (product_id.to_owned(), image_id.to_owned());
        self.write(once, move |tx| {
            tx.delete_image(&product_id, &image_id)?;
            Ok(gone())
        })
        .await
    }

    /// A person's corrections: a value wins over merchant and model, `None` says that the attribute does not apply.
    /// Body: a [`ProductView`].
    ///
    /// # Errors
    /// When the product is unknown, or the model's taxonomy has no such attribute or value.
    pub async fn correct(
        &self,
        product_id: &str,
        corrections: BTreeMap<String, Option<String>>,
        once: Option<IdempotencyKey>,
    ) -> Result<Reply, ServiceError> {
        self.check_taxonomy(&corrections)?;
        let product_id = product_id.to_owned();
        self.write(once, move |tx| {
            let product = tx.correct_attributes(&product_id, &corrections)?;
            answer(false, &ProductView::from(product))
        })
        .await
    }

    /// Corrections are training data: a name or value outside the taxonomy would be lost there.
    fn check_taxonomy(&self, corrections: &BTreeMap<String, Option<String>>) -> Result<(), ServiceError> {
        let live = self.core.live();
        let heads = &live.analyzer.model().manifest().heads;
        let unknown = |name: &str, received: &str, expected: &mut dyn Iterator<Item = &str>| {
            let expected = expected.collect::<Vec<_>>().join(", ");
            ServiceError::UnknownAttribute { name: name.to_owned(), received: received.to_owned(), expected }
        };
        for (name, value) in corrections {
            let Some(head) = heads.iter().find(|h| &h.name == name) else {
                return Err(unknown("attributes", name, &mut heads.iter().map(|h| h.name.as_str())));
            };
            if let Some(value) = value
                && !head.labels.contains(value)
            {
                return Err(unknown(name, value, &mut head.labels.iter().map(String::as_str)));
            }
        }
        Ok(())
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
                return Ok(Some(reply(stored, true)));
            }
            core.expect_product(&product_id)?;
            Ok(None)
        })
        .await
    }

    async fn write<F>(&self, once: Option<IdempotencyKey>, work: F) -> Result<Reply, ServiceError>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<StoredResponse, ServiceError> + Send + 'static,
    {
        self.write_then(once, work, |_| {}).await
    }

    /// Runs `work` in a transaction, then `then`, also where whoever asked has gone meanwhile.
    pub(super) async fn write_then<F, G>(
        &self,
        once: Option<IdempotencyKey>,
        work: F,
        then: G,
    ) -> Result<Reply, ServiceError>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<StoredResponse, ServiceError> + Send + 'static,
        G: FnOnce(&Reply) + Send + 'static,
    {
        self.write_with(once, |_| Ok(()), move |tx, ()| work(tx), then).await
    }

    /// As [`Service::write_then`], of what no request repeats.
    pub(super) async fn change_then<T, F, G>(&self, work: F, then: G) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, ServiceError> + Send + 'static,
        G: FnOnce(&T) + Send + 'static,
    {
        let change = move |core: &Core, _: &mut super::Run<'_>| {
            let value = core.catalog.write(work)?.value;
            then(&value);
            Ok(value)
        };
        self.run(&self.writes, Lane::Interactive, false, change).await
    }

    /// Runs `prepare` outside and `work` inside of a transaction, then `then`, all on the writer's thread.
    ///
    /// A write that has not started goes with a client that hangs up; one that has started is finished.
    async fn write_with<P, F, T, G>(
        &self,
        once: Option<IdempotencyKey>,
        prepare: P,
        work: F,
        then: G,
    ) -> Result<Reply, ServiceError>
    where
        P: FnOnce(&Core) -> Result<T, ServiceError> + Send + 'static,
        F: FnOnce(&mut Tx<'_>, T) -> Result<StoredResponse, ServiceError> + Send + 'static,
        G: FnOnce(&Reply) + Send + 'static,
    {
        self.run(&self.writes, Lane::Interactive, false, move |core, run| {
            let prepared = run.time("stage", || prepare(core))?;
            let outcome = run.time("commit", || core.catalog.write_once(once.as_ref(), |tx| work(tx, prepared)))?;
            let reply = replied(outcome);
            then(&reply);
            Ok(reply)
        })
        .await
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

/// 200 or 201 with a JSON body, as it is stored for replays.
pub(super) fn answer(created: bool, body: &impl Serialize) -> Result<StoredResponse, ServiceError> {
    let body = serde_json::to_vec(body).map_err(ServiceError::Encode)?;
    Ok(StoredResponse { status: if created { 201 } else { 200 }, body })
}

fn gone() -> StoredResponse {
    StoredResponse { status: 204, body: Vec::new() }
}

/// The answer to a write that may have come before.
fn replied(outcome: Once) -> Reply {
    match outcome {
        Once::First(committed) => reply(committed.value, false),
        Once::Replayed(stored) => reply(stored, true),
    }
}

fn reply(stored: StoredResponse, replayed: bool) -> Reply {
    Reply { created: stored.status == 201, body: stored.body, replayed }
}
