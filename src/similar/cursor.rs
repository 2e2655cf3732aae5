//! Where a page ended, as an opaque text: the next page starts right after that item.
//! By position in the order (score, product id) and not by count, so that a change of the catalog between two
//! pages neither repeats nor skips what did not change.
//!
//! Layout, base64url without padding: version (1 byte), fingerprint of the query (8), seq of the page (8, LE),
//! items given so far (4, LE), score of the last item (4, LE, the bits of an f32), its product id (UTF-8).

use super::SimilarError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const VERSION: u8 = 1;
const HEAD: usize = 25;
/// A cursor is never longer: ids have at most 512 bytes.
const MAX_TEXT: usize = 4096;

/// The end of a page.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cursor {
    pub(super) fingerprint: [u8; 8],
    pub(super) seq: u64,
    /// Items on all pages up to here.
    pub(super) given: u32,
    pub(super) score: f32,
    pub(super) product_id: String,
}

impl Cursor {
    pub(super) fn encode(&self) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(self.fingerprint);
        bytes.extend(self.seq.to_le_bytes());
        bytes.extend(self.given.to_le_bytes());
        bytes.extend(self.score.to_bits().to_le_bytes());
        bytes.extend(self.product_id.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The cursor in `text`, if it is one and belongs to the query with this fingerprint.
    pub(super) fn decode(text: &str, fingerprint: [u8; 8]) -> Result<Self, SimilarError> {
        let error = |expected| SimilarError::invalid("cursor", expected, format!("{text:?}"));
        let cursor = Self::read(text).ok_or_else(|| error("the next_cursor of a page"))?;
        if cursor.fingerprint != fingerprint {
            return Err(error("the next_cursor of a page of the same query"));
        }
        Ok(cursor)
    }

    fn read(text: &str) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (head, product_id) = bytes.split_at_checked(HEAD)?;
        let score = f32::from_bits(u32::from_le_bytes(head[21..25].try_into().ok()?));
        if head[0] != VERSION || !(-1.0..=1.0).contains(&score) {
            return None;
        }
        Some(Self {
            fingerprint: head[1..9].try_into().ok()?,
            seq: u64::from_le_bytes(head[9..17].try_into().ok()?),
            given: u32::from_le_bytes(head[17..21].try_into().ok()?),
            score,
            product_id: std::str::from_utf8(product_id).ok()?.to_owned(),
        })
    }
}
