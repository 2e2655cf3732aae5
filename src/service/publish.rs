//! Publishes the log into JetStream as it grows. Where the stream ends is the stream's to say; what is kept here is for a stream
//! that has none of our messages left.

use super::{Core, Service, ServiceError};
use crate::backoff;
use crate::catalog::{Change, SliceLimits};
use crate::feed::{Event, JetStream, JetStreamConfig};
use std::time::Duration;
use tokio::time::Instant;

/// Records under way at a time.
const AT_ONCE: usize = 256;
/// Bytes of records under way, about.
const AT_ONCE_BYTES: usize = 4 << 20;
/// How often it is kept how far the stream is.
const KEPT_EVERY: Duration = Duration::from_secs(5);
/// Pauses after a failure: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(30)];

impl Service {
    /// Publishes every change into a stream, until the service ends; after a failure again from where the stream ends.
    pub async fn run_publisher(&self, config: JetStreamConfig) {
        let mut failures = 0;
        while !self.is_ending() {
            let Err(error) = self.publish(&config, &mut failures).await else { return };
            failures += 1;
            tracing::warn!(stream = config.stream, %error, "the feed is published again after a pause");
            tokio::select! {
                () = tokio::time::sleep(backoff::pause(failures, PAUSES[0], PAUSES[1])) => {}
                () = self.ended() => return,
            }
        }
    }

    /// `failures` in a row: none, once something was published.
    async fn publish(&self, config: &JetStreamConfig, failures: &mut u32) -> Result<(), ServiceError> {
        let name = config.stream.clone();
        let known = self.patiently(|| {
            let name = name.clone();
            self.on_reads(move |core, _| Ok((core.catalog.id()?, core.catalog.published(&name)?)))
        });
        let (catalog_id, known) = known.await?;
        let (mut stream, newest) = JetStream::connect(config, &catalog_id).await?;
        let mut after = newest.unwrap_or(known);
        tracing::info!(stream = stream.name(), after, "the feed is published");
        let mut kept = (Instant::now(), known);
        loop {
            // Before the look: what is committed after it is not slept through.
            let mut committed = self.core.follower.committed();
            let slice = self.patiently(|| self.on_reads(move |core, _| core.to_publish(after)));
            let (changes, through) = slice.await?;
            if !changes.is_empty() {
                let records = changes.into_iter().map(|change| {
                    let kind = change.kind.as_str();
                    (Event::of_change(&catalog_id, change), kind)
                });
                stream.publish(&catalog_id, &records.collect::<Vec<_>>()).await?;
                *failures = 0;
            }
            let is_last = through == after;
            after = through;
            let is_ending = self.is_ending();
            if after > kept.1 && (is_ending || kept.0.elapsed() >= KEPT_EVERY) {
                let name = name.clone();
                self.on_writes(move |tx| Ok(tx.set_published(&name, after)?)).await?;
                kept = (Instant::now(), after);
            }
            if is_ending {
                return Ok(());
            }
            if is_last {
                // What was not kept yet is kept when nothing more comes.
                let rest = KEPT_EVERY.saturating_sub(kept.0.elapsed()).max(Duration::from_millis(100));
                let newer = committed.wait_for(|at| at.ending || at.is_past(after, &[]));
                match after > kept.1 {
                    true => drop(tokio::time::timeout(rest, newer).await),
                    false => drop(newer.await),
                }
            }
        }
    }
}

impl Core {
    fn to_publish(&self, after: u64) -> Result<(Vec<Change>, u64), ServiceError> {
        let limits = SliceLimits { changes: AT_ONCE, bytes: AT_ONCE_BYTES, ..SliceLimits::default() };
        let slice = self.catalog.changes_slice(after, &[], limits)?;
        if after > slice.last {
            return Err(ServiceError::BeyondLog { after, last: slice.last });
        }
        if after + 1 < slice.first {
            tracing::error!(after, first = slice.first, "changes were dropped from the log before they were published");
        }
        Ok((slice.changes, slice.through.max(after)))
    }
}
