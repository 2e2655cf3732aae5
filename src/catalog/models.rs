//! Which model version is live: recorded as a change like any other, so that every node that follows the log
//! switches at the same place in it.

use super::ids::{MAX_LABEL_CHARS, validate_text};
use super::{CatalogError, ChangeKind, Payload, Tx, changes, codec};
use rusqlite::{Connection, OptionalExtension, params};

impl Tx<'_> {
    /// Records `version` as the live model version; false when it already was.
    pub fn set_live_model(&mut self, version: &str) -> Result<bool, CatalogError> {
        validate_text("model_version", version, 1, MAX_LABEL_CHARS)?;
        if live(self.conn())?.as_deref() == Some(version) {
            return Ok(false);
        }
        self.atomically(|tx| {
            let payload = Payload { model_version: Some(version.into()), ..Payload::default() };
            let kind = ChangeKind::ModelActivated;
            let change = changes::append(tx.conn(), tx.now(), kind, (None, None), payload)?;
            tx.conn()
                .prepare_cached("INSERT INTO model_activations (seq, version, at) VALUES (?1, ?2, ?3)")?
                .execute(params![codec::to_i64(change.seq), version, change.at])?;
            tx.made(change);
            Ok(true)
        })
    }
}

/// The version activated last; none before the first activation.
pub(super) fn live(conn: &Connection) -> Result<Option<String>, CatalogError> {
    Ok(conn
        .prepare_cached("SELECT version FROM model_activations ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?)
}
