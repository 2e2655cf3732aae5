//! Which model version is current, which is about to be, and which were: an activation is recorded as a change like any
//! other, so that every node that follows the log switches at the same place in it.

use super::ids::{MAX_LABEL_CHARS, validate_text};
use super::{CatalogError, Change, ChangeKind, ImageRef, Payload, PendingActivation, Tx, changes, codec, read};
use rusqlite::{Connection, OptionalExtension, params};

impl Tx<'_> {
    /// Records `version` as the live model version, shows its analyses from here on, and ends a pending activation of
    /// it; false when it already was.
    pub fn set_live_model(&mut self, version: &str) -> Result<bool, CatalogError> {
        validate_text("model_version", version, 1, MAX_LABEL_CHARS)?;
        if live(self.conn())?.as_deref() == Some(version) && current(self.conn())?.as_deref() == Some(version) {
            return Ok(false);
        }
        self.atomically(|tx| {
            let change = tx.activation(version)?;
            tx.conn()
                .prepare_cached("INSERT INTO model_activations (seq, version, at) VALUES (?1, ?2, ?3)")?
                .execute(params![codec::to_i64(change.seq), version, change.at])?;
            tx.show(version)?;
            tx.conn().prepare_cached("DELETE FROM pending_activation WHERE version = ?1")?.execute([version])?;
            tx.made(change);
            Ok(true)
        })
    }

    /// Shows the analyses of `version` from here on, where it has looked: what a process does that starts with a model
    /// which no activation chose. Where another version's were shown it is a change: those who keep a copy must know.
    pub fn set_current_model(&mut self, version: &str) -> Result<(), CatalogError> {
        validate_text("model_version", version, 1, MAX_LABEL_CHARS)?;
        let before = current(self.conn())?;
        self.atomically(|tx| {
            tx.show(version)?;
            if before.is_some_and(|before| before != version) {
                let change = tx.activation(version)?;
                tx.made(change);
            }
            Ok(())
        })
    }

    /// Tells the log that `version` is shown from here on.
    fn activation(&self, version: &str) -> Result<Change, CatalogError> {
        let payload = Payload { model_version: Some(version.into()), ..Payload::default() };
        changes::append(self.conn(), self.now(), ChangeKind::ModelActivated, (None, None), payload)
    }

    fn show(&mut self, version: &str) -> Result<(), CatalogError> {
        self.conn()
            .prepare_cached("INSERT OR REPLACE INTO current_model (one, version) VALUES (1, ?1)")?
            .execute([version])?;
        Ok(())
    }

    /// Records that `version` looks at the catalog to become current, in place of any other; `None` ends that.
    pub fn set_pending_activation(&mut self, version: Option<&str>) -> Result<(), CatalogError> {
        let Some(version) = version else {
            self.conn().execute("DELETE FROM pending_activation", [])?;
            return Ok(());
        };
        validate_text("model_version", version, 1, MAX_LABEL_CHARS)?;
        let now = self.now().to_owned();
        self.conn()
            .prepare_cached("INSERT OR REPLACE INTO pending_activation (one, version, at) VALUES (1, ?1, ?2)")?
            .execute([version, &now])?;
        Ok(())
    }

    /// Records why the activation of `version` was given up.
    pub fn fail_activation(&mut self, version: &str, failure: &str) -> Result<(), CatalogError> {
        let failure: String = failure.chars().take(1_000).collect();
        self.conn()
            .prepare_cached("UPDATE pending_activation SET failure = ?2 WHERE version = ?1")?
            .execute([version, &failure])?;
        Ok(())
    }

    /// Images that model `version` has not seen, as this transaction sees it; at most `limit`.
    pub fn images_not_of_model(&self, version: &str, limit: usize) -> Result<Vec<ImageRef>, CatalogError> {
        read::images_not_of_model(self.conn(), version, None, limit)
    }
}

/// The version activated last; none before the first activation.
pub(super) fn live(conn: &Connection) -> Result<Option<String>, CatalogError> {
    Ok(conn
        .prepare_cached("SELECT version FROM model_activations ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?)
}

/// The version whose analyses are shown.
pub(super) fn current(conn: &Connection) -> Result<Option<String>, CatalogError> {
    Ok(conn.prepare_cached("SELECT version FROM current_model")?.query_row([], |row| row.get(0)).optional()?)
}

/// The activation under way, or the last one that was given up.
pub(super) fn pending(conn: &Connection) -> Result<Option<PendingActivation>, CatalogError> {
    Ok(conn
        .prepare_cached("SELECT version, at, failure FROM pending_activation")?
        .query_row([], |row| Ok(PendingActivation { version: row.get(0)?, at: row.get(1)?, failure: row.get(2)? }))
        .optional()?)
}
