//! Requests that may come twice: the answer to a write is kept in the write's own transaction, under the caller and
//! its key, so that a repeat gets the first answer and changes nothing.

use super::{CatalogError, Once, Tx};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

/// How long an answer is kept, in seconds: a day, as payment APIs made customary.
pub const IDEMPOTENCY_TTL_S: i64 = 24 * 60 * 60;
/// Longest key, in characters.
pub const MAX_KEY_CHARS: usize = 255;
/// Expired answers removed by one write: more than one write adds, so the backlog shrinks, and few enough that no
/// write stalls.
const PRUNE_PER_WRITE: i64 = 16;

/// A request that its caller may repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    caller: String,
    key: String,
    fingerprint: [u8; 32],
}

/// The answer to a write, as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResponse {
    /// HTTP status.
    pub status: u16,
    /// Body, byte for byte.
    pub body: Vec<u8>,
}

impl IdempotencyKey {
    /// The key of a request. `caller` is the id of the API key it came with (empty where the server is open): two
    /// callers' keys never meet. `key` is 1 to [`MAX_KEY_CHARS`] characters. The request's fingerprint is over
    /// method, path with query, and body.
    pub fn new(caller: &str, key: &str, method: &str, path: &str, body: &[u8]) -> Result<Self, CatalogError> {
        super::ids::validate_text("Idempotency-Key", key, 1, MAX_KEY_CHARS)?;
        let mut hash = Sha256::new();
        for part in [method.as_bytes(), path.as_bytes(), body] {
            // Lengths keep the parts apart: "PUT" "/a" is not "PU" "T/a".
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Ok(Self { caller: caller.into(), key: key.into(), fingerprint: hash.finalize().into() })
    }
}

/// The answer kept for `key` and not yet expired. The same key with another fingerprint is an error.
pub(super) fn find(
    conn: &Connection,
    key: &IdempotencyKey,
    now_unix: i64,
) -> Result<Option<StoredResponse>, CatalogError> {
    let found = conn
        .prepare_cached(
            "SELECT fingerprint, status, body FROM idempotency
             WHERE caller = ?1 AND key = ?2 AND created_unix > ?3",
        )?
        .query_row(params![key.caller, key.key, now_unix - IDEMPOTENCY_TTL_S], |row| {
            let response = StoredResponse { status: row.get(1)?, body: row.get(2)? };
            Ok((row.get::<_, Vec<u8>>(0)?, response))
        })
        .optional()?;
    match found {
        Some((fingerprint, response)) if fingerprint == key.fingerprint => Ok(Some(response)),
        Some(_) => Err(CatalogError::IdempotencyConflict { key: key.key.clone() }),
        None => Ok(None),
    }
}

impl Tx<'_> {
    /// Runs `work`, unless its request came before: a repeat gets the first answer and changes nothing. Without a key, `work`
    /// just runs.
    pub fn once<E: From<CatalogError>>(
        &mut self,
        key: Option<&IdempotencyKey>,
        work: impl FnOnce(&mut Self) -> Result<StoredResponse, E>,
    ) -> Result<Once, E> {
        let Some(key) = key else { return work(self).map(Once::First) };
        // Of two requests at once, the second finds the first one's answer here.
        if let Some(response) = find(self.conn(), key, self.now_unix())? {
            return Ok(Once::Replayed(response));
        }
        let response = work(self)?;
        self.remember(key, &response)?;
        Ok(Once::First(response))
    }

    /// Keeps the answer for [`IDEMPOTENCY_TTL_S`] seconds, from this transaction's commit on.
    fn remember(&mut self, key: &IdempotencyKey, response: &StoredResponse) -> Result<(), CatalogError> {
        let now = self.now_unix();
        self.atomically(|tx| {
            tx.conn()
                .prepare_cached(
                    "DELETE FROM idempotency WHERE rowid IN
                     (SELECT rowid FROM idempotency WHERE created_unix <= ?1 ORDER BY created_unix LIMIT ?2)",
                )?
                .execute(params![now - IDEMPOTENCY_TTL_S, PRUNE_PER_WRITE])?;
            tx.conn()
                .prepare_cached(
                    "INSERT OR REPLACE INTO idempotency (caller, key, fingerprint, status, body, created_unix)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![key.caller, key.key, key.fingerprint, response.status, response.body, now])?;
            Ok(())
        })
    }
}
