//! The write path: one transaction, then the answer. Nothing is acknowledged before it is on disk and the index has it.
//! Images, which are looked at first, are in [`super::uploads`].

use super::{Core, ProductView, Reply, Service, ServiceError};
use crate::catalog::{IdempotencyKey, MetadataPatch, Once, StoredResponse, Tx};
use crate::scheduler::Lane;
use serde::Serialize;
use std::collections::BTreeMap;

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

    async fn write<F>(&self, once: Option<IdempotencyKey>, work: F) -> Result<Reply, ServiceError>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<StoredResponse, ServiceError> + Send + 'static,
    {
        self.write_then(once, work, |_| {}).await
    }

    /// Runs `work` in a transaction, then `then`, all on the writer's thread. A write that has not started goes with a client
    /// that hangs up; one that has started is finished.
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
        self.run(&self.writes, Lane::Interactive, false, move |core, run| {
            let outcome = run.time("commit", || core.catalog.write_once(once.as_ref(), work))?;
            let reply = Reply::from(outcome);
            then(&reply);
            Ok(reply)
        })
        .await
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
}

/// 200 or 201 with a JSON body, as it is stored for replays.
pub(super) fn answer(created: bool, body: &impl Serialize) -> Result<StoredResponse, ServiceError> {
    let body = serde_json::to_vec(body).map_err(ServiceError::Encode)?;
    Ok(StoredResponse { status: if created { 201 } else { 200 }, body })
}

fn gone() -> StoredResponse {
    StoredResponse { status: 204, body: Vec::new() }
}

impl From<Once> for Reply {
    fn from(outcome: Once) -> Self {
        let (StoredResponse { status, body }, replayed) = match outcome {
            Once::First(response) => (response, false),
            Once::Replayed(response) => (response, true),
        };
        Self { created: status == 201, body, replayed }
    }
}
