//! How values lie in SQLite's columns: embeddings as little-endian f32, records as JSON in the order of their fields,
//! times as RFC 3339 text of fixed width. What was written is read back equal, or reported as damage.

use super::CatalogError;
use crate::model::{EMBEDDING_DIM, Embedding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

/// Bytes of an embedding: [`EMBEDDING_DIM`] f32, little-endian. Refuses another length and values that are not
/// finite: one NaN makes every distance to it NaN.
pub(super) fn embedding_to_blob(embedding: &[f32]) -> Result<Vec<u8>, CatalogError> {
    if embedding.len() != EMBEDDING_DIM {
        return Err(CatalogError::invalid("embedding", format!("{EMBEDDING_DIM} values"), embedding.len().to_string()));
    }
    if let Some(at) = embedding.iter().position(|value| !value.is_finite()) {
        let received = format!("{} at {at}", embedding[at]);
        return Err(CatalogError::invalid("embedding", "finite values", received));
    }
    Ok(embedding.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// The embedding in a blob; `whose` names its owner in the error.
pub(super) fn embedding_from_blob(blob: &[u8], whose: impl FnOnce() -> String) -> Result<Embedding, CatalogError> {
    let (values, rest) = blob.as_chunks::<4>();
    if values.len() != EMBEDDING_DIM || !rest.is_empty() {
        let what = format!("embedding of {} has {} bytes", whose(), blob.len());
        return Err(CatalogError::corrupt(what));
    }
    Ok(values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

/// JSON text of a record.
pub(super) fn to_json<T: Serialize>(field: &'static str, value: &T) -> Result<String, CatalogError> {
    serde_json::to_string(value)
        .map_err(|error| CatalogError::invalid(field, "a value that JSON can hold", error.to_string()))
}

/// The record in JSON text; `whose` names it in the error.
pub(super) fn from_json<T: DeserializeOwned>(text: &str, whose: impl FnOnce() -> String) -> Result<T, CatalogError> {
    serde_json::from_str(text).map_err(|error| CatalogError::corrupt(format!("{}: {error}", whose())))
}

/// A time in RFC 3339, UTC, to the millisecond. Always 24 bytes for years to 9999, so text order is time order.
pub(super) fn timestamp(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.millisecond()
    )
}

/// SQLite's integers are signed; what this room stores never is negative.
pub(super) fn to_u64(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// The other way; numbers past 2^63 cannot be in the store and compare as its largest.
pub(super) fn to_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn embeddings_come_back_bit_for_bit(
            values in proptest::collection::vec(proptest::num::f32::NORMAL | proptest::num::f32::ZERO, EMBEDDING_DIM)
        ) {
            let blob = embedding_to_blob(&values).unwrap();
            let back = embedding_from_blob(&blob, String::new).unwrap();
            let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&back), bits(&values));
        }

        #[test]
        fn damaged_blobs_are_reported(blob in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            prop_assume!(blob.len() != EMBEDDING_DIM * 4);
            let read = embedding_from_blob(&blob, String::new);
            prop_assert!(matches!(read, Err(CatalogError::Corrupt { .. })), "a blob of {} bytes", blob.len());
        }
    }

    #[test]
    fn a_nan_or_a_wrong_length_is_refused() {
        let mut values = vec![0.5; EMBEDDING_DIM];
        values[7] = f32::NAN;
        assert!(embedding_to_blob(&values).is_err());
        assert!(embedding_to_blob(&values[..5]).is_err());
    }

    #[test]
    fn times_are_rfc_3339_of_fixed_width() {
        let at = time::macros::datetime!(2026-03-01 02:03:04.5 +02:00);
        assert_eq!(timestamp(at), "2026-03-01T00:03:04.500Z");
    }
}
