//! The feed as consumers read it: pages of records, and the wait for the next one.

use super::{Core, Service, ServiceError, read};
use crate::catalog::{ChangeKind, SliceLimits, validate_id};
use crate::feed::{Event, Snapshot};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;

/// Most bytes of records in one answer, about: what a slow reader can make the service hold.
const PAGE_BYTES: usize = 4 << 20;

/// Changes removed in one transaction: some 10 ms of the writer's turn.
const DROPPED_AT_ONCE: usize = 1_000;

/// What a consumer of the feed asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeedQuery {
    /// Sequence number of the last change it has.
    pub after: u64,
    /// Most records wanted, 1 to [`MAX_CHANGES`](crate::catalog::MAX_CHANGES).
    pub limit: usize,
    /// Kinds of changes wanted; all when there are none.
    pub kinds: Vec<ChangeKind>,
    /// How long to wait where there is nothing yet.
    pub wait: Duration,
}

/// Records of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedPage {
    /// JSON, one record a line, each with its line feed.
    pub lines: Vec<u8>,
    /// The `after` to go on with. Beyond the last record where later changes are of other kinds.
    pub next_after: u64,
    /// The catalog they are of.
    pub catalog_id: String,
}

/// Records of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPage {
    /// JSON, one record a line, each with its line feed.
    pub lines: Vec<u8>,
    /// The `after` of the feed, for when the snapshot is through.
    pub next_after: u64,
    /// Where the next page starts; none on the last.
    pub next_cursor: Option<String>,
    /// The catalog they are of.
    pub catalog_id: String,
}

/// Where a snapshot goes on.
struct Cursor {
    /// The catalog it is of.
    catalog_id: String,
    /// Sequence number the snapshot began with.
    began: u64,
    /// The last product given; empty before the first.
    after: String,
}

impl Cursor {
    fn encode(&self) -> String {
        read::encode_cursor(&format!("snapshot/{}/{}/{}", self.catalog_id, self.began, self.after))
    }

    fn decode(cursor: &str) -> Result<Self, ServiceError> {
        let text = read::cursor_text(cursor)?;
        // An id may have a slash of its own, so it comes last.
        let mut parts = text.splitn(4, '/');
        let (Some("snapshot"), Some(catalog_id), Some(began), Some(after)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ServiceError::BadCursor);
        };
        validate_id("cursor", after).map_err(|_| ServiceError::BadCursor)?;
        let began = began.parse().map_err(|_| ServiceError::BadCursor)?;
        Ok(Self { catalog_id: catalog_id.into(), began, after: after.into() })
    }
}

impl Service {
    /// Changes after `query.after`, oldest first: as soon as there is one, or when the wait is over. Without one it may still
    /// have come further: there may be others behind many of other kinds.
    ///
    /// # Errors
    /// When `after` is beyond the log.
    pub async fn feed(&self, query: FeedQuery) -> Result<FeedPage, ServiceError> {
        let until = Instant::now() + query.wait;
        // Before the first look: what is committed after it is not slept through.
        let mut committed = self.core.follower.committed();
        let mut held: Option<FeedPage> = None;
        loop {
            let after = held.as_ref().map_or(query.after, |page| page.next_after);
            let kinds = query.kinds.clone();
            let looked = self.on_reads(move |core, _| core.feed(after, &kinds, query.limit)).await;
            let (page, last) = match (looked, held) {
                // Busy: whoever has waited for nothing so far has an answer already.
                (Err(ServiceError::Scheduler(_)), Some(page)) => return Ok(page),
                (looked, _) => looked?,
            };
            if !page.lines.is_empty() || Instant::now() >= until {
                return Ok(page);
            }
            let after = page.next_after;
            if after >= last {
                let newer = committed.wait_for(|at| at.ending || at.is_past(after, &query.kinds));
                match tokio::time::timeout_at(until, newer).await {
                    Ok(Ok(at)) if !at.ending => {}
                    _ => return Ok(page),
                }
            }
            held = Some(page);
        }
    }

    /// Lets go of those who wait for the next record, and of all who come later, and begins no row of a job any more: the
    /// service is about to end.
    pub fn end_waits(&self) {
        self.jobs.end();
        self.core.follower.end_waits();
    }

    /// Waits until the service ends.
    pub(super) async fn ended(&self) {
        // The sender is here.
        let _ = self.core.follower.committed().wait_for(|at| at.ending).await;
    }

    /// Removes changes from the log that are older than they are to be kept, some at a time.
    pub(super) async fn trim_log(&self) -> Result<(), ServiceError> {
        let Some(kept) = self.log_kept else { return Ok(()) };
        let before = OffsetDateTime::now_utc() - kept;
        while self.on_writes(move |tx| Ok(tx.drop_changes(before, DROPPED_AT_ONCE)?)).await? {}
        Ok(())
    }

    /// Products in the order of their ids, at most `limit` (1 to 1,000): all there are, page by page. With the first page a
    /// snapshot begins; what changes while it is read is told by the feed after [`SnapshotPage::next_after`].
    ///
    /// # Errors
    /// When the cursor is not one of a snapshot.
    pub async fn feed_snapshot(&self, cursor: Option<&str>, limit: usize) -> Result<SnapshotPage, ServiceError> {
        let cursor: Option<Cursor> = cursor.map(Cursor::decode).transpose()?;
        self.on_reads(move |core, _| core.snapshot(cursor, limit.clamp(1, read::MAX_PRODUCTS))).await
    }
}

impl Core {
    fn feed(&self, after: u64, kinds: &[ChangeKind], limit: usize) -> Result<(FeedPage, u64), ServiceError> {
        let limits = SliceLimits { changes: limit, bytes: PAGE_BYTES, ..SliceLimits::default() };
        let slice = self.catalog.changes_slice(after, kinds, limits)?;
        if after > slice.last {
            return Err(ServiceError::BeyondLog { after, last: slice.last });
        }
        if after + 1 < slice.first {
            return Err(ServiceError::BeforeLog { after, first: slice.first });
        }
        let mut lines = Vec::new();
        for change in slice.changes {
            push(&mut lines, &Event::of_change(&slice.catalog_id, change))?;
        }
        let page = FeedPage { lines, next_after: slice.through, catalog_id: slice.catalog_id };
        Ok((page, slice.last))
    }

    fn snapshot(&self, cursor: Option<Cursor>, limit: usize) -> Result<SnapshotPage, ServiceError> {
        // Read before the products: later changes to them are told again by the feed.
        let catalog_id = self.catalog.id()?;
        let Cursor { began, mut after, .. } = match cursor {
            Some(cursor) if cursor.catalog_id != catalog_id => return Err(ServiceError::BadCursor),
            Some(cursor) => cursor,
            None => Cursor { catalog_id: catalog_id.clone(), began: self.catalog.last_seq()?, after: String::new() },
        };
        let snapshot = Snapshot { catalog: &catalog_id, began };
        let mut lines = Vec::new();
        let mut left = limit;
        'page: while left > 0 {
            let wanted = left.min(SNAPSHOT_STEP);
            let products = self.catalog.products(Some(&after), wanted)?;
            let was_last = products.len() < wanted;
            for product in products {
                if lines.len() >= PAGE_BYTES {
                    break 'page;
                }
                after.clone_from(&product.product_id);
                push(&mut lines, &snapshot.event(product))?;
                left -= 1;
            }
            if was_last {
                return Ok(SnapshotPage { lines, next_after: began, next_cursor: None, catalog_id });
            }
        }
        let next_cursor = Some(Cursor { catalog_id: catalog_id.clone(), began, after }.encode());
        Ok(SnapshotPage { lines, next_after: began, next_cursor, catalog_id })
    }
}

/// Products read at once: a product has up to 256 images of some kilobytes.
const SNAPSHOT_STEP: usize = 20;

fn push(lines: &mut Vec<u8>, event: &Event) -> Result<(), ServiceError> {
    serde_json::to_writer(&mut *lines, event).map_err(ServiceError::Encode)?;
    lines.push(b'\n');
    Ok(())
}
