//! Bulk jobs as they are kept: the job, its rows, and what they say of products. A row ends in the transaction that stores
//! its image, so that after a crash no row is done twice and none is lost.

use super::codec::{from_json, timestamp, to_i64, to_json, to_u64};
use super::{CatalogError, ChangeKind, EndedJob, Metadata, PRODUCT_SET_TAG, Payload, Tx, changes};
use crate::photo::Area;
use rusqlite::{Connection, OptionalExtension, Row, Rows, params};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Longest detail of a failed row, in characters.
const DETAIL_CHARS: usize = 500;

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for those before it.
    Queued,
    /// Its manifest is read, then its photos are.
    Running,
    /// Waits until it is resumed.
    Paused,
    /// Every row has ended, well or not.
    Done,
    /// Its manifest cannot be read.
    Failed,
    /// Ended by somebody; what was done stays.
    Cancelled,
}

impl JobState {
    /// Whether it will not go on by itself, nor be resumed.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    fn parse(text: &str) -> Result<Self, CatalogError> {
        from_json(&format!("{text:?}"), || "the state of a job".into())
    }
}

/// A bulk job, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRecord {
    /// Place in the order in which jobs run.
    pub key: u64,
    /// UUID.
    pub id: String,
    /// How far it is.
    pub state: JobState,
    /// Where its manifest came from, as whoever made the job wrote it.
    pub source: String,
    /// Whether all rows are known.
    pub is_read: bool,
    /// Rows known.
    pub total: u64,
    /// How rows ended.
    pub counts: RowCounts,
    /// Columns of the manifest that mean nothing here.
    pub ignored: Vec<String>,
    /// Why the manifest cannot be read.
    pub failure: Option<String>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub started_at: Option<String>,
    /// RFC 3339.
    pub finished_at: Option<String>,
}

/// How many rows ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RowCounts {
    /// Looked at, stored and indexed.
    pub done: u64,
    /// In the catalog already, seen by the same model.
    pub unchanged: u64,
    /// Repeat an earlier row.
    pub duplicate: u64,
    /// Not done.
    pub failed: u64,
}

impl RowCounts {
    /// All that have ended.
    pub fn ended(&self) -> u64 {
        self.done + self.unchanged + self.duplicate + self.failed
    }
}

/// A row of a manifest, as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRow {
    /// From 1, in the order of the manifest.
    pub row: u64,
    /// Line it begins on, from 1; 0 where there are none.
    pub line: u64,
    /// What it asks for, or why it cannot be read.
    pub content: Result<RowContent, RowFault>,
}

/// What a row asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct RowContent {
    /// The product.
    pub product_id: String,
    /// `None`: named by its hash.
    pub image_id: Option<String>,
    /// Where the photo lies, a URL; `None`: it only says something of a product that is there.
    pub uri: Option<String>,
    /// The part of the photo that the image is; `None`: all of it.
    pub area: Option<Area>,
    /// What it says of the product.
    pub metadata: Metadata,
}

/// Why a row failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFault {
    /// What it counts under, e.g. `not an image`.
    pub cause: String,
    /// What exactly.
    pub detail: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Whether trying again may help.
    pub retryable: bool,
}

impl RowFault {
    fn unknown_product(product_id: &str) -> Self {
        let detail = format!("there is no product {product_id:?}, and a row without image_uri makes none");
        Self { cause: "unknown product".into(), detail, attempts: 0, retryable: false }
    }
}

/// A row that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitingRow {
    /// From 1, in the order of the manifest.
    pub row: u64,
    /// The product.
    pub product_id: String,
    /// `None`: named by its hash.
    pub image_id: Option<String>,
    /// Where the photo lies; `None`: it only says something of a product that is there.
    pub uri: Option<String>,
    /// The part of the photo that the image is; `None`: all of it.
    pub area: Option<Area>,
}

/// A row that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FailedRow {
    /// From 1, in the order of the manifest, its head not counted.
    pub row: u64,
    /// Line of the manifest it begins on, from 1; 0 where there are none.
    pub line: u64,
    /// The product, where it could be read.
    pub product_id: Option<String>,
    /// The image, where it has an id.
    pub image_id: Option<String>,
    /// Where the photo lies, where that could be read.
    pub uri: Option<String>,
    /// The part of it, where one was asked for.
    #[serde(rename = "box")]
    pub area: Option<String>,
    /// What it counts under.
    pub cause: String,
    /// What exactly.
    pub detail: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Whether trying again may help by itself.
    pub retryable: bool,
}

/// Failed rows of one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedCause {
    /// What they count under.
    pub cause: String,
    /// How many there are.
    pub count: u64,
    /// What exactly, of the first few.
    pub examples: Vec<String>,
}

impl FailedRow {
    /// Heads of the table of failed rows.
    pub const COLUMNS: [&'static str; 10] =
        ["row", "line", "product_id", "image_id", "uri", "box", "cause", "detail", "attempts", "retryable"];

    /// The row as cells of that table.
    pub fn into_cells(self) -> [String; 10] {
        [
            self.row.to_string(),
            self.line.to_string(),
            self.product_id.unwrap_or_default(),
            self.image_id.unwrap_or_default(),
            self.uri.unwrap_or_default(),
            self.area.unwrap_or_default(),
            self.cause,
            self.detail,
            self.attempts.to_string(),
            self.retryable.to_string(),
        ]
    }
}

/// How a row ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowEnd {
    /// Looked at, stored and indexed.
    Done,
    /// In the catalog already.
    Unchanged,
    /// Not done; nothing of it is stored.
    Failed(RowFault),
}

impl Tx<'_> {
    /// Queues a job.
    pub fn create_job(&mut self, id: &str, source: &str) -> Result<JobRecord, CatalogError> {
        self.conn()
            .prepare_cached("INSERT INTO jobs (job_id, state, source, created_at) VALUES (?1, 'queued', ?2, ?3)")?
            .execute([id, source, self.now()])?;
        self.expect_job(id)
    }

    /// A job as this transaction sees it.
    pub fn expect_job(&self, id: &str) -> Result<JobRecord, CatalogError> {
        job(self.conn(), id)?.ok_or_else(|| CatalogError::UnknownJob { job_id: id.into() })
    }

    /// Changes how far a job is; sets when it was started or has ended. That it ended is a change like any other.
    pub fn set_job_state(&mut self, key: u64, state: JobState, failure: Option<&str>) -> Result<(), CatalogError> {
        self.conn()
            .prepare_cached(
                "UPDATE jobs SET state = ?2, failure = ?3,
                     started_at = CASE WHEN ?2 = 'running' THEN coalesce(started_at, ?4) ELSE started_at END,
                     finished_at = CASE WHEN ?5 THEN ?4 END
                 WHERE job_key = ?1",
            )?
            .execute(params![to_i64(key), state.as_str(), failure, self.now(), state.is_ended()])?;
        if state.is_ended()
            && let Some(job) = job_of(self.conn(), key)?
        {
            let JobRecord { id, state, total, counts: rows, failure, .. } = job;
            let job = Some(EndedJob { id, state, total, rows, failure });
            let payload = Payload { job, ..Payload::default() };
            let change = changes::append(self.conn(), self.now(), ChangeKind::JobEnded, (None, None), payload)?;
            self.made(change);
        }
        Ok(())
    }

    /// Forgets rows of a job, at most `limit`; true when there are more.
    pub fn forget_rows(&mut self, key: u64, limit: usize) -> Result<bool, CatalogError> {
        let mut is_full = false;
        for (table, column) in [("job_rows", "row"), ("job_products", "product_id")] {
            let sql = format!(
                "DELETE FROM {table} WHERE job_key = ?1
                 AND {column} IN (SELECT {column} FROM {table} WHERE job_key = ?1 LIMIT ?2)"
            );
            is_full |= self.conn().prepare_cached(&sql)?.execute(params![to_i64(key), to_i64(limit as u64)])? == limit;
        }
        self.conn().execute(
            "UPDATE jobs SET total = 0, done = 0, unchanged = 0, duplicate = 0, failed = 0 WHERE job_key = ?1",
            [to_i64(key)],
        )?;
        Ok(is_full)
    }

    /// Takes in rows of a manifest. Of two rows with the same image of a product the first counts: another word for word is
    /// a duplicate, one with another photo fails.
    pub fn add_rows(&mut self, key: u64, rows: &[NewRow]) -> Result<(), CatalogError> {
        let mut counts = RowCounts::default();
        for row in rows {
            match &row.content {
                Ok(content) => self.add_row(key, row, content, &mut counts)?,
                Err(fault) => {
                    counts.failed += 1;
                    self.add_failed(key, row, (None, None), fault)?;
                }
            }
        }
        self.count_rows(key, rows.len() as u64, counts)
    }

    fn add_row(
        &mut self,
        key: u64,
        row: &NewRow,
        content: &RowContent,
        counts: &mut RowCounts,
    ) -> Result<(), CatalogError> {
        let RowContent { product_id, image_id, uri, area, metadata } = content;
        let area = area.map(|area| area.to_string());
        let insert = |state: u8, on_conflict: &str| -> Result<usize, CatalogError> {
            let sql = format!(
                "INSERT INTO job_rows (job_key, row, line, product_id, image_id, uri, area, state)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) {on_conflict}"
            );
            let (key, line, number) = (to_i64(key), to_i64(row.line), to_i64(row.row));
            let row = params![key, number, line, product_id, image_id, uri, area, state];
            Ok(self.conn().prepare_cached(&sql)?.execute(row)?)
        };
        let inserted = insert(0, "ON CONFLICT DO NOTHING")?;
        if inserted == 0 {
            let (line, same): (i64, bool) = self
                .conn()
                .prepare_cached(
                    "SELECT line, uri = ?4 AND area IS ?5 FROM job_rows WHERE job_key = ?1 AND product_id = ?2
                     AND coalesce(image_id, uri || coalesce(' ' || area, '')) = coalesce(?3, ?4 || coalesce(' ' || ?5, ''))
                     AND uri IS NOT NULL AND state != 3",
                )?
                .query_row(params![to_i64(key), product_id, image_id, uri, area], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?;
            if same {
                counts.duplicate += 1;
                insert(3, "")?;
            } else {
                counts.failed += 1;
                let earlier = if line > 0 { format!("line {line}") } else { "an earlier row".to_owned() };
                let detail = format!("{earlier} has the same product_id and image_id, and another photo or box");
                let fault = RowFault { cause: "duplicate id".into(), detail, attempts: 0, retryable: false };
                self.add_failed(key, row, (Some(product_id), image_id.as_deref()), &fault)?;
            }
        }
        self.add_metadata(key, product_id, metadata)
    }

    fn add_failed(
        &self,
        key: u64,
        row: &NewRow,
        (product_id, image_id): (Option<&str>, Option<&str>),
        fault: &RowFault,
    ) -> Result<(), CatalogError> {
        let detail: String = fault.detail.chars().take(DETAIL_CHARS).collect();
        self.conn()
            .prepare_cached(
                "INSERT INTO job_rows (job_key, row, line, product_id, image_id, state, attempts, cause, detail, retryable)
                 VALUES (?1, ?2, ?3, ?4, ?5, 4, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                to_i64(key),
                to_i64(row.row),
                to_i64(row.line),
                product_id,
                image_id,
                fault.attempts,
                fault.cause,
                detail,
                fault.retryable
            ])?;
        Ok(())
    }

    /// Of several rows of a product, the first that says something of a field counts.
    fn add_metadata(&self, key: u64, product_id: &str, metadata: &Metadata) -> Result<(), CatalogError> {
        let json = to_json("metadata", metadata)?;
        let inserted = self
            .conn()
            .prepare_cached(
                "INSERT INTO job_products (job_key, product_id, metadata) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            )?
            .execute(params![to_i64(key), product_id, json])?;
        if inserted > 0 || *metadata == Metadata::default() {
            return Ok(());
        }
        let (known, _) = self.job_product(key, product_id)?.unwrap_or_default();
        let mut completed = known.clone();
        completed.complete(metadata.clone());
        // Of more attributes than a product may have, those that came first stay.
        if completed != known && completed.validate().is_ok() {
            self.conn()
                .prepare_cached("UPDATE job_products SET metadata = ?3 WHERE job_key = ?1 AND product_id = ?2")?
                .execute(params![to_i64(key), product_id, to_json("metadata", &completed)?])?;
        }
        Ok(())
    }

    fn job_product(&self, key: u64, product_id: &str) -> Result<Option<(Metadata, bool)>, CatalogError> {
        let found: Option<(String, bool)> = self
            .conn()
            .prepare_cached("SELECT metadata, is_written FROM job_products WHERE job_key = ?1 AND product_id = ?2")?
            .query_row(params![to_i64(key), product_id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let whose = || format!("metadata of product {product_id:?} in a job");
        found.map(|(json, written)| Ok((from_json(&json, whose)?, written))).transpose()
    }

    /// All rows are known.
    pub fn end_reading(&mut self, key: u64, ignored: &[String]) -> Result<(), CatalogError> {
        self.conn()
            .prepare_cached("UPDATE jobs SET is_read = 1, ignored = ?2 WHERE job_key = ?1")?
            .execute(params![to_i64(key), to_json("ignored", &ignored)?])?;
        Ok(())
    }

    /// Writes what a job says of a product into the catalog: once a job, and again where the product is gone since.
    pub fn put_job_product(&mut self, key: u64, product_id: &str) -> Result<(), CatalogError> {
        let Some((mut metadata, is_written)) = self.job_product(key, product_id)? else { return Ok(()) };
        if is_written && super::read::is_product(self.conn(), product_id)? {
            return Ok(());
        }
        // A file for Google's Product Search says which sets a product is in, and nothing of its other tags.
        let are_sets = |tags: &Vec<String>| !tags.is_empty() && tags.iter().all(|tag| tag.starts_with(PRODUCT_SET_TAG));
        if metadata.tags.as_ref().is_some_and(are_sets)
            && let Some(before) = self.product(product_id)?
            && let Some(sets) = metadata.tags.take()
        {
            metadata.tags = before.metadata.tags;
            metadata.complete(Metadata { tags: Some(sets), ..Metadata::default() });
        }
        self.upsert_product(product_id, &metadata.into())?;
        self.conn()
            .prepare_cached("UPDATE job_products SET is_written = 1 WHERE job_key = ?1 AND product_id = ?2")?
            .execute(params![to_i64(key), product_id])?;
        Ok(())
    }

    /// Writes what a job says of a product that is there, and how its row ends that brings no photo.
    pub fn change_job_product(&mut self, key: u64, product_id: &str) -> Result<RowEnd, CatalogError> {
        if !super::read::is_product(self.conn(), product_id)? {
            let waits: bool = self
                .conn()
                .prepare_cached(
                    // As the index of images has it, or it would not be used.
                    "SELECT EXISTS (SELECT 1 FROM job_rows INDEXED BY job_rows_image WHERE job_key = ?1 AND product_id = ?2
                                    AND uri IS NOT NULL AND state != 3 AND state = 0)",
                )?
                .query_row(params![to_i64(key), product_id], |row| row.get(0))?;
            // Another row is still to bring it, with all that the job says of it.
            return Ok(if waits { RowEnd::Done } else { RowEnd::Failed(RowFault::unknown_product(product_id)) });
        }
        let before = super::changes::last_seq(self.conn())?;
        self.put_job_product(key, product_id)?;
        Ok(if super::changes::last_seq(self.conn())? > before { RowEnd::Done } else { RowEnd::Unchanged })
    }

    /// Ends a row; one that has ended already stays as it is.
    pub fn end_row(&mut self, key: u64, row: u64, end: &RowEnd) -> Result<(), CatalogError> {
        let nothing = RowFault { cause: String::new(), detail: String::new(), attempts: 0, retryable: false };
        let mut counts = RowCounts::default();
        let (state, fault) = match end {
            RowEnd::Done => (1, &nothing),
            RowEnd::Unchanged => (2, &nothing),
            RowEnd::Failed(fault) => (4, fault),
        };
        match end {
            RowEnd::Done => counts.done = 1,
            RowEnd::Unchanged => counts.unchanged = 1,
            RowEnd::Failed(_) => counts.failed = 1,
        }
        let text = |text: &str| (!text.is_empty()).then(|| text.chars().take(DETAIL_CHARS).collect::<String>());
        let changed = self
            .conn()
            .prepare_cached(
                "UPDATE job_rows SET state = ?3, attempts = attempts + ?4, cause = ?5, detail = ?6, retryable = ?7
                 WHERE job_key = ?1 AND row = ?2 AND state = 0",
            )?
            .execute(params![
                to_i64(key),
                to_i64(row),
                state,
                fault.attempts,
                text(&fault.cause),
                text(&fault.detail),
                fault.retryable
            ])?;
        if changed == 0 { Ok(()) } else { self.count_rows(key, 0, counts) }
    }

    fn count_rows(&self, key: u64, total: u64, counts: RowCounts) -> Result<(), CatalogError> {
        self.conn()
            .prepare_cached(
                "UPDATE jobs SET total = total + ?2, done = done + ?3, unchanged = unchanged + ?4,
                     duplicate = duplicate + ?5, failed = failed + ?6
                 WHERE job_key = ?1",
            )?
            .execute([key, total, counts.done, counts.unchanged, counts.duplicate, counts.failed].map(to_i64))?;
        Ok(())
    }

    /// Orders that failed rows of a job wait again, where there is something to fetch; false when there are none.
    pub fn order_retry(&mut self, key: u64) -> Result<bool, CatalogError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM job_rows INDEXED BY job_rows_failed
                                  WHERE job_key = ?1 AND state = 4 AND (uri IS NOT NULL OR cause = 'unknown product'))";
        let any: bool = self.conn().prepare_cached(sql)?.query_row([to_i64(key)], |row| row.get(0))?;
        self.conn().execute("UPDATE jobs SET is_retried = ?2 WHERE job_key = ?1", params![to_i64(key), any])?;
        Ok(any)
    }

    /// Lets failed rows wait again, where that was ordered, at most `limit`; true when there are more.
    pub fn retry_rows(&mut self, key: u64, limit: usize) -> Result<bool, CatalogError> {
        let ordered = "SELECT is_retried FROM jobs WHERE job_key = ?1";
        if !self.conn().prepare_cached(ordered)?.query_row([to_i64(key)], |row| row.get::<_, bool>(0))? {
            return Ok(false);
        }
        let again = self
            .conn()
            .prepare_cached(
                "UPDATE job_rows SET state = 0, cause = NULL, detail = NULL, retryable = 0
                 WHERE job_key = ?1 AND row IN
                     (SELECT row FROM job_rows INDEXED BY job_rows_failed
                      WHERE job_key = ?1 AND state = 4 AND (uri IS NOT NULL OR cause = 'unknown product') LIMIT ?2)",
            )?
            .execute(params![to_i64(key), to_i64(limit as u64)])?;
        let is_full = again == limit;
        self.conn()
            .prepare_cached("UPDATE jobs SET failed = failed - ?2, is_retried = ?3 WHERE job_key = ?1")?
            .execute(params![to_i64(key), again as i64, is_full])?;
        Ok(is_full)
    }

    /// Jobs that have not ended.
    pub fn count_open_jobs(&self) -> Result<u64, CatalogError> {
        let sql = "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running', 'paused')";
        Ok(to_u64(self.conn().prepare_cached(sql)?.query_row([], |row| row.get(0))?))
    }

    /// Keeps what a server said a photo's version was.
    pub fn set_photo_source(&mut self, uri: &str, etag: &str, sha256: &str) -> Result<(), CatalogError> {
        self.conn()
            .prepare_cached(
                "INSERT INTO photo_sources (uri, etag, sha256, used_at) VALUES (?1, ?2, ?3, substr(?4, 1, 10))
                 ON CONFLICT (uri) DO UPDATE SET etag = ?2, sha256 = ?3, used_at = substr(?4, 1, 10)
                     WHERE etag <> ?2 OR sha256 <> ?3 OR used_at <> substr(?4, 1, 10)",
            )?
            .execute([uri, etag, sha256, self.now()])?;
        Ok(())
    }

    /// Forgets versions of photos that were last asked for before `time`, at most `limit`; true when there may be more.
    pub fn drop_photo_sources(&mut self, time: OffsetDateTime, limit: usize) -> Result<bool, CatalogError> {
        let dropped = self
            .conn()
            .prepare_cached(
                "DELETE FROM photo_sources WHERE uri IN (SELECT uri FROM photo_sources WHERE used_at < ?1 LIMIT ?2)",
            )?
            .execute(params![timestamp(time), to_i64(limit as u64)])?;
        Ok(dropped == limit)
    }

    /// Removes rows of a job that ended before `time`, at most `limit`, and the job with the last of them; false when there is
    /// no such job.
    pub fn drop_job(&mut self, time: OffsetDateTime, limit: usize) -> Result<bool, CatalogError> {
        let sql = "SELECT job_key FROM jobs WHERE finished_at < ?1 LIMIT 1";
        let old: Option<i64> =
            self.conn().prepare_cached(sql)?.query_row([timestamp(time)], |row| row.get(0)).optional()?;
        let Some(key) = old else { return Ok(false) };
        if !self.forget_rows(to_u64(key), limit)? {
            self.conn().execute("DELETE FROM jobs WHERE job_key = ?1", [key])?;
        }
        Ok(true)
    }

    /// Jobs that have not ended, in the order in which they run.
    pub fn open_jobs(&self) -> Result<Vec<JobRecord>, CatalogError> {
        let sql = format!("{JOB} WHERE state IN ('queued', 'running', 'paused') ORDER BY job_key");
        let mut statement = self.conn().prepare_cached(&sql)?;
        read_jobs(statement.query([])?)
    }
}

const JOB: &str =
    "SELECT job_key, job_id, state, source, is_read, total, done, unchanged, duplicate, failed, ignored, failure,
                          created_at, started_at, finished_at FROM jobs";

fn read_job(row: &Row<'_>) -> Result<JobRecord, CatalogError> {
    let number = |at: usize| row.get(at).map(to_u64);
    let (state, ignored): (String, String) = (row.get(2)?, row.get(10)?);
    Ok(JobRecord {
        key: number(0)?,
        id: row.get(1)?,
        state: JobState::parse(&state)?,
        source: row.get(3)?,
        is_read: row.get(4)?,
        total: number(5)?,
        counts: RowCounts { done: number(6)?, unchanged: number(7)?, duplicate: number(8)?, failed: number(9)? },
        ignored: from_json(&ignored, || "columns of a job".into())?,
        failure: row.get(11)?,
        created_at: row.get(12)?,
        started_at: row.get(13)?,
        finished_at: row.get(14)?,
    })
}

fn read_jobs(mut rows: Rows<'_>) -> Result<Vec<JobRecord>, CatalogError> {
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read_job(row)?);
    }
    Ok(found)
}

/// A job by its id.
pub(super) fn job(conn: &Connection, id: &str) -> Result<Option<JobRecord>, CatalogError> {
    let mut statement = conn.prepare_cached(&format!("{JOB} WHERE job_id = ?1"))?;
    let mut rows = statement.query([id])?;
    rows.next()?.map(read_job).transpose()
}

/// A job by its place in the order.
fn job_of(conn: &Connection, key: u64) -> Result<Option<JobRecord>, CatalogError> {
    let mut statement = conn.prepare_cached(&format!("{JOB} WHERE job_key = ?1"))?;
    let mut rows = statement.query([to_i64(key)])?;
    rows.next()?.map(read_job).transpose()
}

/// Jobs before `before` in the order in which they run, the last first, at most `limit`.
pub(super) fn jobs(conn: &Connection, before: u64, limit: usize) -> Result<Vec<JobRecord>, CatalogError> {
    let mut statement = conn.prepare_cached(&format!("{JOB} WHERE job_key < ?1 ORDER BY job_key DESC LIMIT ?2"))?;
    read_jobs(statement.query([to_i64(before), super::read::page(limit)])?)
}

/// The job that is to run now: the one that does, else the first in the queue.
pub(super) fn next_job(conn: &Connection) -> Result<Option<JobRecord>, CatalogError> {
    let order = "WHERE state IN ('queued', 'running') ORDER BY state = 'queued', job_key LIMIT 1";
    let mut statement = conn.prepare_cached(&format!("{JOB} {order}"))?;
    let mut rows = statement.query([])?;
    rows.next()?.map(read_job).transpose()
}

/// Rows that wait, after `after`, at most `limit`.
pub(super) fn waiting_rows(
    conn: &Connection,
    key: u64,
    after: u64,
    limit: usize,
) -> Result<Vec<WaitingRow>, CatalogError> {
    let mut statement = conn.prepare_cached(
        "SELECT row, product_id, image_id, uri, area FROM job_rows INDEXED BY job_rows_waiting
         WHERE job_key = ?1 AND state = 0 AND row > ?2 ORDER BY row LIMIT ?3",
    )?;
    let mut rows = statement.query([to_i64(key), to_i64(after), super::read::page(limit)])?;
    let mut waiting = Vec::new();
    while let Some(row) = rows.next()? {
        waiting.push(WaitingRow {
            row: to_u64(row.get(0)?),
            product_id: row.get(1)?,
            image_id: row.get(2)?,
            uri: row.get(3)?,
            area: super::read::area_of(row, 4)?,
        });
    }
    Ok(waiting)
}

/// Rows that failed, after `after`, at most `limit`.
pub(super) fn failed_rows(
    conn: &Connection,
    key: u64,
    after: u64,
    limit: usize,
) -> Result<Vec<FailedRow>, CatalogError> {
    let mut statement = conn.prepare_cached(
        "SELECT row, line, product_id, image_id, uri, cause, detail, attempts, retryable, area
         FROM job_rows INDEXED BY job_rows_failed
         WHERE job_key = ?1 AND state = 4 AND row > ?2 ORDER BY row LIMIT ?3",
    )?;
    let rows = statement.query_map([to_i64(key), to_i64(after), super::read::page(limit)], |row| {
        Ok(FailedRow {
            row: to_u64(row.get(0)?),
            line: to_u64(row.get(1)?),
            product_id: row.get(2)?,
            image_id: row.get(3)?,
            uri: row.get(4)?,
            cause: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
            detail: row.get::<_, Option<String>>(6)?.unwrap_or_default(),
            attempts: row.get(7)?,
            retryable: row.get(8)?,
            area: row.get(9)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Failed rows by cause, with at most `examples` of each.
pub(super) fn failed_causes(conn: &Connection, key: u64, examples: usize) -> Result<Vec<FailedCause>, CatalogError> {
    let mut statement = conn.prepare_cached(
        "SELECT cause, count(*) FROM job_rows INDEXED BY job_rows_failed WHERE job_key = ?1 AND state = 4 GROUP BY cause ORDER BY cause",
    )?;
    let mut first = conn.prepare_cached(
        "SELECT line, coalesce(uri || ': ', '') || detail FROM job_rows INDEXED BY job_rows_failed WHERE job_key = ?1 AND state = 4 AND cause = ?2 ORDER BY row LIMIT ?3",
    )?;
    let mut rows = statement.query([to_i64(key)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let cause: String = row.get(0)?;
        let detail = |row: &Row<'_>| {
            let (line, detail): (u64, String) = (row.get(0).map(to_u64)?, row.get(1)?);
            Ok(if line > 0 { format!("line {line}: {detail}") } else { detail })
        };
        let examples = first.query_map(params![to_i64(key), cause, examples as i64], detail)?;
        let examples = examples.collect::<Result<_, _>>()?;
        found.push(FailedCause { cause, count: to_u64(row.get(1)?), examples });
    }
    Ok(found)
}

/// The version a photo had when it was fetched last, and its hash.
pub(super) fn photo_source(conn: &Connection, uri: &str) -> Result<Option<(String, String)>, CatalogError> {
    Ok(conn
        .prepare_cached("SELECT etag, sha256 FROM photo_sources WHERE uri = ?1")?
        .query_row([uri], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}
