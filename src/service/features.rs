//! Products for a recommender, page by page, each page a file of Parquet.

use super::{Core, Service, ServiceError, read};
use crate::catalog::CopiedTo;
use crate::feed::{FeaturesWriter, ItemFeatures, source};

/// Products read at once: one has up to 256 images of some kilobytes.
const STEP: usize = 100;
/// What a cursor of features begins with.
const FEATURES: &str = "features";

/// Products, and where the next page starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeaturesPage {
    /// A file of Parquet.
    pub file: Vec<u8>,
    /// Its rows.
    pub rows: usize,
    /// Where the next page starts, also when that is empty for now.
    pub next_cursor: String,
    /// The catalog they are of.
    pub catalog_id: String,
}

fn encode(catalog_id: &str, copied: &CopiedTo) -> String {
    let CopiedTo { model_version, seq, deleted_seq } = copied;
    read::encode_cursor(&format!("{FEATURES}/{catalog_id}/{seq}/{deleted_seq}/{model_version}"))
}

/// The catalog that a cursor is of, and what whoever has it has.
fn decode(cursor: &str) -> Result<(String, CopiedTo), ServiceError> {
    let text = read::cursor_text(cursor)?;
    // A version may have a slash of its own, so it comes last.
    let mut parts = text.splitn(5, '/');
    let (Some(FEATURES), Some(catalog_id), Some(seq), Some(deleted_seq), Some(model_version)) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(ServiceError::BadCursor);
    };
    let number = |text: &str| text.parse().map_err(|_| ServiceError::BadCursor);
    let copied =
        CopiedTo { model_version: model_version.to_owned(), seq: number(seq)?, deleted_seq: number(deleted_seq)? };
    Ok((catalog_id.to_owned(), copied))
}

impl Service {
    /// Products that changed after the page with that cursor, in the order of their last changes, and those that are gone since;
    /// without one, all, from the first on. About `limit` rows, 1 to 1,000. After the switch to another model all come again.
    ///
    /// # Errors
    /// When the cursor is not one of this catalog's features, or of deletions that are not kept any more.
    pub async fn features(&self, cursor: Option<&str>, limit: usize) -> Result<FeaturesPage, ServiceError> {
        let cursor = cursor.map(decode).transpose()?;
        self.on_reads(move |core, _| core.features(cursor, limit.clamp(1, read::MAX_PRODUCTS))).await
    }
}

impl Core {
    fn features(&self, cursor: Option<(String, CopiedTo)>, limit: usize) -> Result<FeaturesPage, ServiceError> {
        let catalog_id = self.catalog.id()?;
        let mut copied = match cursor {
            Some((of, _)) if of != catalog_id => return Err(ServiceError::BadCursor),
            cursor => cursor.map(|(_, copied)| copied),
        };
        let mut writer = FeaturesWriter::new(Vec::new(), &source(&catalog_id))?;
        let mut items = Vec::new();
        loop {
            let page = self.catalog.product_states(copied.as_ref(), STEP.min(limit - items.len()))?;
            if let Some(copied) = &copied
                && copied.deleted_seq + 1 < page.first
            {
                return Err(ServiceError::BeforeLog { after: copied.deleted_seq, first: page.first });
            }
            if let Some(copied) = copied.as_ref().filter(|copied| copied.seq > page.last) {
                return Err(ServiceError::BeyondLog { after: copied.seq, last: page.last });
            }
            let version = &page.copied_to.model_version;
            // Switched to another model on the way: the rest is the next page's.
            let is_switched = copied.as_ref().is_some_and(|copied| copied.model_version != *version);
            if is_switched && !items.is_empty() {
                break;
            }
            items.extend(page.states.into_iter().map(|state| ItemFeatures::new(state, version)));
            copied = Some(page.copied_to);
            if !page.more || items.len() >= limit {
                break;
            }
        }
        writer.write(&items)?;
        let next_cursor = copied.map(|copied| encode(&catalog_id, &copied)).unwrap_or_default();
        Ok(FeaturesPage { file: writer.finish()?, rows: items.len(), next_cursor, catalog_id })
    }
}
