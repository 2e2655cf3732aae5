//! The change log: every committed change once, under a sequence number that only grows. Feeds hand it to consumers,
//! and the index follows it.

use super::{CatalogError, Image, JobState, Metadata, RowCounts};
use crate::attributes::Attribute;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::str::FromStr;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Most changes read at once: the largest `limit` of the feed.
pub const MAX_CHANGES: usize = 10_000;

/// Most changes looked at for a [`Slice`]: a rare kind must not hold a reader for seconds.
const MAX_LOOK: u64 = 100_000;
/// What a record has around its payload, in bytes.
const ENVELOPE: usize = 400;

/// One committed change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// Its place in the log: grows by at least one from change to change, is never given twice.
    pub seq: u64,
    /// RFC 3339, UTC: when its transaction began.
    pub at: String,
    /// What happened.
    pub kind: ChangeKind,
    /// To which product; none for a model's activation and the end of a job.
    pub product_id: Option<String>,
    /// To which of its images, where it was one.
    pub image_id: Option<String>,
    /// What the touched part is now.
    pub payload: Payload,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// A product was created or its metadata changed: `metadata`, `attributes`.
    ProductUpserted,
    /// A product went with all its images: empty.
    ProductDeleted,
    /// An image came or was replaced: `image`, `attributes`.
    ImageUpserted,
    /// An image went: `attributes`.
    ImageDeleted,
    /// The same photo was seen by another model version: `image`, `attributes`.
    AnalysisReplaced,
    /// A person corrected attributes: `corrections`, `attributes`.
    AttributesCorrected,
    /// Another model version became live: `model_version`.
    ModelActivated,
    /// A bulk job ended: `job`.
    JobEnded,
}

/// State after a change, as far as the change touched it; the parts that a kind carries are told there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Payload {
    /// All metadata of the product.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// The image with its analysis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// All corrections in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrections: Option<BTreeMap<String, Option<String>>>,
    /// The product's effective attributes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Vec<Attribute>>,
    /// The live model version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
    /// How a bulk job ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<EndedJob>,
}

/// How a bulk job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EndedJob {
    /// UUID.
    pub id: String,
    /// `done`, also with failed rows; `failed`: its manifest could not be read; or `cancelled`.
    pub state: JobState,
    /// Rows of its manifest.
    pub total: u64,
    /// How they ended.
    #[serde(flatten)]
    pub rows: RowCounts,
    /// Why it failed.
    pub failure: Option<String>,
}

const KINDS: [(ChangeKind, &str); 8] = [
    (ChangeKind::ProductUpserted, "product_upserted"),
    (ChangeKind::ProductDeleted, "product_deleted"),
    (ChangeKind::ImageUpserted, "image_upserted"),
    (ChangeKind::ImageDeleted, "image_deleted"),
    (ChangeKind::AnalysisReplaced, "analysis_replaced"),
    (ChangeKind::AttributesCorrected, "attributes_corrected"),
    (ChangeKind::ModelActivated, "model_activated"),
    (ChangeKind::JobEnded, "job_ended"),
];

impl ChangeKind {
    /// The names of all.
    pub fn names() -> [&'static str; KINDS.len()] {
        KINDS.map(|(_, name)| name)
    }

    /// Its name in the log and in JSON.
    pub fn as_str(self) -> &'static str {
        let found = KINDS.iter().find(|(kind, _)| *kind == self);
        found.map_or("", |(_, name)| name)
    }
}

impl FromStr for ChangeKind {
    type Err = CatalogError;

    fn from_str(text: &str) -> Result<Self, CatalogError> {
        let found = KINDS.iter().find(|(_, name)| *name == text);
        found.map(|(kind, _)| *kind).ok_or_else(|| CatalogError::corrupt(format!("change of unknown kind {text:?}")))
    }
}

/// Appends a change and returns it with its sequence number.
pub(super) fn append(
    conn: &Connection,
    at: &str,
    kind: ChangeKind,
    ids: (Option<&str>, Option<&str>),
    payload: Payload,
) -> Result<Change, CatalogError> {
    let json = super::codec::to_json("payload", &payload)?;
    conn.prepare_cached("INSERT INTO changes (at, kind, product_id, image_id, payload) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![at, kind.as_str(), ids.0, ids.1, json])?;
    Ok(Change {
        seq: super::codec::to_u64(conn.last_insert_rowid()),
        at: at.into(),
        kind,
        product_id: ids.0.map(Into::into),
        image_id: ids.1.map(Into::into),
        payload,
    })
}

/// Changes after `seq`, oldest first, at most `limit` (and at most [`MAX_CHANGES`]).
pub(super) fn after(conn: &Connection, seq: u64, limit: usize) -> Result<Vec<Change>, CatalogError> {
    let mut statement = conn.prepare_cached(
        "SELECT seq, at, kind, product_id, image_id, payload FROM changes
         WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let limit = super::codec::to_i64(limit.min(MAX_CHANGES) as u64);
    let mut rows = statement.query(params![super::codec::to_i64(seq), limit])?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        changes.push(read(row)?);
    }
    Ok(changes)
}

/// What a consumer is given at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// Which catalog it is of.
    pub catalog_id: String,
    /// Changes, oldest first.
    pub changes: Vec<Change>,
    /// All changes up to this one have been looked at: where to go on.
    pub through: u64,
    /// Sequence number of the last change there is.
    pub last: u64,
    /// Of the first that is kept: those before are gone.
    pub first: u64,
}

/// How much of the log is given at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceLimits {
    /// Most changes, 1 to [`MAX_CHANGES`].
    pub changes: usize,
    /// About the most bytes of records; one record is given in any case.
    pub bytes: usize,
    /// Most changes looked at, of whatever kind.
    pub look: u64,
}

impl Default for SliceLimits {
    fn default() -> Self {
        Self { changes: MAX_CHANGES, bytes: usize::MAX, look: MAX_LOOK }
    }
}

/// Changes after `seq` of some kinds (of all when there are none), oldest first. It may come back with none and more to
/// look at.
pub(super) fn slice(
    conn: &Connection,
    seq: u64,
    kinds: &[ChangeKind],
    limits: SliceLimits,
) -> Result<Slice, CatalogError> {
    let SliceLimits { changes: limit, bytes, look } = limits;
    let last = last_seq(conn)?;
    let end = last.min(seq.saturating_add(look.max(1)));
    let kinds = super::codec::to_json("kind", &kinds)?;
    let mut statement = conn.prepare_cached(
        "SELECT seq, at, kind, product_id, image_id, payload FROM changes
         WHERE seq > ?1 AND seq <= ?2 AND (?3 = '[]' OR kind IN (SELECT value FROM json_each(?3)))
         ORDER BY seq LIMIT ?4",
    )?;
    let [from, to, limit] = [seq, end, limit.clamp(1, MAX_CHANGES) as u64].map(super::codec::to_i64);
    let mut rows = statement.query(params![from, to, kinds, limit])?;
    let (mut changes, mut held) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let change = read(row)?;
        held += ENVELOPE + row.get_ref(5)?.as_str().map_or(0, str::len);
        changes.push(change);
        if held >= bytes {
            break;
        }
    }
    let full = held >= bytes || changes.len() as i64 >= limit;
    let through = changes.last().filter(|_| full).map_or(end, |change| change.seq);
    Ok(Slice { catalog_id: super::schema::catalog_id(conn)?, changes, through, last, first: first_seq(conn)? })
}

/// The last sequence number given, 0 before the first.
pub(super) fn last_seq(conn: &Connection) -> Result<u64, CatalogError> {
    // Not max(seq): numbers must keep growing should old rows ever be trimmed.
    let sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'changes'";
    let seq = conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok(super::codec::to_u64(seq))
}

/// The first sequence number that is kept; that of the next change where none is.
pub(super) fn first_seq(conn: &Connection) -> Result<u64, CatalogError> {
    let first: Option<i64> = conn.prepare_cached("SELECT min(seq) FROM changes")?.query_row([], |row| row.get(0))?;
    first.map_or_else(|| Ok(last_seq(conn)? + 1), |first| Ok(super::codec::to_u64(first)))
}

impl super::Tx<'_> {
    /// Removes changes from the beginning of the log that were made before `time`, at most `limit`; true when there may be more.
    /// Whoever has not seen them begins anew.
    pub fn drop_changes(&mut self, time: OffsetDateTime, limit: usize) -> Result<bool, CatalogError> {
        // Up to the first that is younger: a clock that was set back must not leave a hole.
        let dropped = self
            .conn()
            .prepare_cached(
                "WITH oldest AS (SELECT seq, at FROM changes ORDER BY seq LIMIT ?2)
                 DELETE FROM changes WHERE seq IN (SELECT seq FROM oldest)
                     AND seq < coalesce((SELECT min(seq) FROM oldest WHERE at >= ?1), 1 + (SELECT max(seq) FROM oldest))",
            )?
            .execute(params![super::codec::timestamp(time), super::codec::to_i64(limit as u64)])?;
        Ok(dropped == limit)
    }
}

fn read(row: &Row<'_>) -> Result<Change, CatalogError> {
    let seq = super::codec::to_u64(row.get(0)?);
    let payload: String = row.get(5)?;
    Ok(Change {
        seq,
        at: row.get(1)?,
        kind: row.get::<_, String>(2)?.parse()?,
        product_id: row.get(3)?,
        image_id: row.get(4)?,
        payload: super::codec::from_json(&payload, || format!("payload of change {seq}"))?,
    })
}
