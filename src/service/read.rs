//! The read path: records, photos and similar products, none of them behind an inference that is not theirs.

use super::follow::Live;
use super::{
    Core, PhotoBytes, PhotoInput, ProductPage, ProductView, Run, Service, ServiceError, SimilarTo, StoredAnalysis,
};
use crate::catalog::{self, CatalogError, Product, StoredImage, facets};
use crate::filter::{Facets, Filter};
use crate::photo::Photo;
use crate::scheduler::Lane;
use crate::similar::{self, SimilarPage, SimilarParams, SimilarQuery, Source};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Most products of a page.
pub(super) const MAX_PRODUCTS: usize = 1_000;

/// Most products looked at for one filtered page: bounds the time of a filter that matches nothing. The page is then
/// short, or empty, and its cursor goes on.
const MAX_WALK: usize = 20_000;

/// Products read from the store at once.
const STEP: usize = 500;

impl Service {
    /// A product with its images and effective attributes.
    ///
    /// # Errors
    /// When it is unknown.
    pub async fn product(&self, product_id: &str) -> Result<ProductView, ServiceError> {
        let product_id = product_id.to_owned();
        self.on_reads(move |core, _| Ok(core.expect_product(&product_id)?.into())).await
    }

    /// Products in the order of their ids, at most `limit` (1 to 1,000) that match `filter`.
    ///
    /// # Errors
    /// When the cursor is not one of this listing.
    pub async fn products(
        &self,
        filter: Option<Filter>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<ProductPage, ServiceError> {
        let after = cursor.map(decode_cursor).transpose()?;
        self.on_reads(move |core, _| core.products(filter.as_ref(), after, limit.clamp(1, MAX_PRODUCTS))).await
    }

    /// What was seen on a stored image, with its embedding.
    ///
    /// # Errors
    /// When the product or the image is unknown.
    pub async fn image(&self, product_id: &str, image_id: &str) -> Result<StoredAnalysis, ServiceError> {
        let (product_id, image_id) = (product_id.to_owned(), image_id.to_owned());
        self.on_reads(move |core, _| {
            let stored = core.expect_image(&product_id, &image_id)?;
            let gone = || CatalogError::UnknownImage { product_id: product_id.clone(), image_id: image_id.clone() };
            let embedding = core.catalog.embedding(&product_id, &image_id)?.ok_or_else(gone)?;
            Ok(StoredAnalysis { analysis: stored.image.analysis, embedding })
        })
        .await
    }

    /// The stored photo as it came, or a JPEG thumbnail with a long side of `size` pixels.
    ///
    /// # Errors
    /// When the product or the image is unknown.
    pub async fn photo(&self, product_id: &str, image_id: &str, size: Option<u32>) -> Result<PhotoBytes, ServiceError> {
        let (product_id, image_id) = (product_id.to_owned(), image_id.to_owned());
        let original = self
            .on_reads(move |core, _| {
                let mut missing = None;
                loop {
                    let stored = core.expect_image(&product_id, &image_id)?;
                    let sha256 = stored.image.analysis.sha256;
                    if let Some(bytes) = core.catalog.photo_bytes(&sha256)? {
                        return Ok(PhotoBytes { content_type: stored.content_type, bytes: Bytes::from(bytes), sha256 });
                    }
                    // Replaced or deleted between the record and the file: look again. Twice the same is a loss.
                    if missing.as_ref() == Some(&sha256) {
                        return Err(ServiceError::PhotoMissing { sha256 });
                    }
                    missing = Some(sha256);
                }
            })
            .await?;
        let Some(size) = size else { return Ok(original) };
        // A large photo may take as long to decode as to look at.
        self.on_photos(Lane::Interactive, move |core, run| {
            let photo = run.time("decode", || Photo::decode_scaled(&original.bytes, &core.limits, size))?;
            let thumbnail = photo.thumbnail(size)?;
            Ok(PhotoBytes { content_type: "image/jpeg".into(), bytes: Bytes::from(thumbnail), sha256: original.sha256 })
        })
        .await
    }

    /// Products similar to a product, a photo or a basket.
    ///
    /// # Errors
    /// When a parameter is wrong, a product is unknown or without an image, or the photo cannot be looked at.
    pub async fn similar(&self, to: SimilarTo, params: SimilarParams) -> Result<SimilarPage, ServiceError> {
        // An embedding is compared only within the index of the model that made it.
        let live = self.core.live();
        let source = match to {
            SimilarTo::Product(product_id) => Source::Product(product_id),
            SimilarTo::Basket(product_ids) => Source::Basket(product_ids),
            SimilarTo::Photo(input) => self.look(Arc::clone(&live), input, &params).await?,
        };
        let query = SimilarQuery::new(source, &params)?;
        let may_be_brief = query.is_brief();
        let is_brief = may_be_brief && self.core.pace.is_brief();
        let search = move |core: &Core, run: &mut Run<'_>| {
            let started = Instant::now();
            let page = run.time("search", || similar::search(&live.index, &query));
            if may_be_brief {
                core.pace.record(started.elapsed());
            }
            Ok(page?)
        };
        self.run(&self.reads, Lane::Interactive, is_brief, search).await
    }

    /// A photo as the source of a search; colors and attributes are measured only where the query asks for them.
    async fn look(&self, live: Arc<Live>, input: PhotoInput, params: &SimilarParams) -> Result<Source, ServiceError> {
        // Wrong parameters are refused before the photo costs anything; its cursor can be checked only afterwards.
        let blank = Source::Photo { embedding: Vec::new(), facets: Facets::default() };
        let query = SimilarQuery::new(blank, &SimilarParams { cursor: None, ..params.clone() })?;
        let wants_facets = query.compares_facets();
        let (bytes, crop) = self.resolve(input).await?;
        self.on_photos(Lane::Interactive, move |core, run| {
            let photo = core.decode(&live.analyzer, &bytes, crop, run)?;
            if !wants_facets {
                let embedding = super::predict(&live.analyzer, &photo, run)?.embedding;
                return Ok(Source::Photo { embedding, facets: Facets::default() });
            }
            let analyzed = super::look(&live.analyzer, &photo, run)?;
            Ok(Source::Photo { embedding: analyzed.embedding, facets: catalog::photo_facets(analyzed.analysis) })
        })
        .await
    }
}

impl Core {
    pub(super) fn expect_product(&self, product_id: &str) -> Result<Product, ServiceError> {
        let unknown = || CatalogError::UnknownProduct { product_id: product_id.to_owned() };
        Ok(self.catalog.product(product_id)?.ok_or_else(unknown)?)
    }

    fn expect_image(&self, product_id: &str, image_id: &str) -> Result<StoredImage, ServiceError> {
        if let Some(image) = self.catalog.image(product_id, image_id)? {
            return Ok(image);
        }
        self.expect_product(product_id)?;
        let unknown = CatalogError::UnknownImage { product_id: product_id.to_owned(), image_id: image_id.to_owned() };
        Err(unknown.into())
    }

    /// Walks the catalog in the order of ids until the page is full, the end is reached or enough was looked at.
    fn products(
        &self,
        filter: Option<&Filter>,
        mut after: Option<String>,
        limit: usize,
    ) -> Result<ProductPage, ServiceError> {
        let mut items: Vec<ProductView> = Vec::new();
        let mut walked = 0;
        loop {
            let step = if filter.is_some() { STEP } else { limit - items.len() };
            let products = self.catalog.products(after.as_deref(), step)?;
            let at_end = products.len() < step;
            for product in products {
                walked += 1;
                after = Some(product.product_id.clone());
                if filter.is_none_or(|f| f.matches(&facets(&product))) {
                    items.push(product.into());
                    if items.len() == limit {
                        break;
                    }
                }
            }
            if items.len() == limit || at_end || walked >= MAX_WALK {
                let more = match &after {
                    Some(last) if items.len() == limit || !at_end => !self.catalog.products(Some(last), 1)?.is_empty(),
                    _ => false,
                };
                let next_cursor = after.filter(|_| more).map(|last| encode_cursor(&format!("{PRODUCTS}{last}")));
                return Ok(ProductPage { items, next_cursor });
            }
        }
    }
}

/// How long searches of one kind take, of late: a moving average in nanoseconds, 0 until one was done. Two that record at
/// once may lose one of them.
#[derive(Default)]
pub(super) struct Pace(AtomicU64);

impl Pace {
    /// Longest time a thread of the runtime may be kept from other requests: what tokio advises between two awaits is 10 to
    /// 100 µs. A search among 100,000 products takes 60 µs, among a million 250, from a disk or a cold page cache more.
    const BRIEF: Duration = Duration::from_micros(150);

    fn record(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let known = self.0.load(Ordering::Relaxed);
        let mean = if known == 0 { took } else { known - known / 8 + took / 8 };
        self.0.store(mean.max(1), Ordering::Relaxed);
    }

    fn is_brief(&self) -> bool {
        (1..=Self::BRIEF.as_nanos()).contains(&u128::from(self.0.load(Ordering::Relaxed)))
    }
}

/// What a cursor says, in base64url so that nobody builds on its form.
pub(super) fn encode_cursor(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// The last id of the page before.
fn decode_cursor(cursor: &str) -> Result<String, ServiceError> {
    let text = cursor_text(cursor)?;
    let id = text.strip_prefix(PRODUCTS).ok_or(ServiceError::BadCursor)?;
    crate::catalog::validate_id("cursor", id).map_err(|_| ServiceError::BadCursor)?;
    Ok(id.to_owned())
}

/// What a cursor of products begins with, so that one of another listing is not taken for it.
const PRODUCTS: &str = "products/";

/// The number in a cursor of the listing that begins with `of`.
pub(super) fn number_in(cursor: &str, of: &str) -> Result<u64, ServiceError> {
    cursor_text(cursor)?.strip_prefix(of).and_then(|number| number.parse().ok()).ok_or(ServiceError::BadCursor)
}

/// The text in a cursor that somebody sent.
pub(super) fn cursor_text(cursor: &str) -> Result<String, ServiceError> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| ServiceError::BadCursor)?;
    String::from_utf8(bytes).map_err(|_| ServiceError::BadCursor)
}
