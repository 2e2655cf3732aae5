//! Sends changes to endpoints in the order of the log, each endpoint by a task of its own. Changes of different products go side
//! by side, those of one product one after the other. What is not taken is kept and tried again, and later changes of its
//! product wait behind it; while nothing at all is taken, the log itself waits.

use super::Webhooks;
use crate::catalog::{Change, ChangeKind, Delivery, SliceLimits, WebhookRecord, WebhookState};
use crate::feed::{EVENT_MEDIA_TYPE, Event, WEBHOOK_HEADERS, webhook_headers, webhook_message_id};
use crate::service::{Core, Service, ServiceError};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::task::{AbortHandle, JoinSet};

/// Requests to one endpoint at a time.
pub(super) const AT_ONCE: usize = 8;
/// Changes that are taken from the log at once; after a crash as many may be sent twice.
const TAKEN_AT_ONCE: usize = 64;
/// Bytes of records taken at once, about.
const TAKEN_BYTES: usize = 4 << 20;
/// Most changes that are kept for an endpoint and wait; beyond, the log waits.
const MAX_WAITING: u64 = 10_000;
/// Pause after a fault of the store.
const FAULT_PAUSE: Duration = Duration::from_secs(5);
/// Longest sleep: a task that was missed is looked for again.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// Longest pause that an endpoint may ask for, in seconds.
const LONGEST_ASKED_S: u64 = 3_600;

/// What there is to do for an endpoint.
struct Round {
    catalog_id: String,
    record: WebhookRecord,
    /// Failed before, and to be sent again now.
    due: Vec<Delivery>,
    /// New of the log, in order; those in `behind` wait behind others of their product.
    new: Vec<Delivery>,
    behind: HashSet<u64>,
    /// How far the log was looked at, and how many changes of it are lost.
    through: u64,
    missed: u64,
    /// When the next one is to be sent again, Unix seconds.
    next_unix: Option<i64>,
}

/// What an endpoint made of the changes of one product.
#[derive(Default)]
struct Sent {
    taken: Vec<u64>,
    left: Vec<Delivery>,
    /// It said that it is gone.
    is_gone: bool,
}

/// What a task does next.
enum Next {
    /// Looks again.
    Again,
    /// Waits, until then where something is to be sent again.
    Wait { until_unix: Option<i64>, after: u64, kinds: Vec<ChangeKind> },
    /// Ends: its endpoint is gone, or is not to be sent anything.
    End,
}

impl Service {
    /// Sends changes to endpoints until the service ends.
    pub async fn run_webhooks(self: Arc<Self>) {
        let mut changed = self.webhooks.changed.subscribe();
        let mut tasks = JoinSet::new();
        let mut running: HashMap<String, AbortHandle> = HashMap::new();
        while !self.is_ending() {
            changed.mark_unchanged();
            match self.patiently(|| self.on_reads(|core, _| Ok(core.catalog.webhooks()?))).await {
                Ok(records) => {
                    let is_active = |record: &WebhookRecord| record.state == WebhookState::Active;
                    let active: HashSet<String> =
                        records.into_iter().filter(is_active).map(|record| record.id).collect();
                    running.retain(|id, task| {
                        let stays = active.contains(id) && !task.is_finished();
                        if !stays {
                            task.abort();
                        }
                        stays
                    });
                    for id in active {
                        let service = Arc::clone(&self);
                        running
                            .entry(id.clone())
                            .or_insert_with(|| tasks.spawn(async move { service.serve_webhook(&id).await }));
                    }
                }
                Err(error) => tracing::error!(%error, "webhooks cannot be read"),
            }
            tokio::select! {
                _ = changed.changed() => {}
                Some(ended) = tasks.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!("a task of a webhook panicked");
                        tokio::time::sleep(FAULT_PAUSE).await;
                    }
                }
                () = self.ended() => {}
                () = tokio::time::sleep(LONGEST_SLEEP) => {}
            }
        }
        // What is under way is sent again at the next start.
        tasks.shutdown().await;
    }

    async fn serve_webhook(&self, id: &str) {
        // Whether the last round brought nothing but failures: then nothing new is begun.
        let mut is_failing = false;
        let mut changed = self.webhooks.changed.subscribe();
        loop {
            changed.mark_unchanged();
            // Before the look: what is committed after it is not slept through.
            let mut committed = self.core.follower.committed();
            let next = match self.deliver_some(id, &mut is_failing).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(webhook = id, %error, "changes cannot be sent for now");
                    tokio::time::sleep(FAULT_PAUSE).await;
                    Next::Again
                }
            };
            match next {
                Next::Again => {}
                Next::End => return,
                Next::Wait { until_unix, after, kinds } => {
                    let now = OffsetDateTime::now_utc().unix_timestamp();
                    let until = until_unix.map(|at| Duration::from_secs(u64::try_from(at - now).unwrap_or(0)));
                    let sleep = until.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP);
                    let newer = committed.wait_for(|at| !is_failing && at.is_past(after, &kinds));
                    tokio::select! {
                        _ = changed.changed() => {}
                        _ = newer => {}
                        () = tokio::time::sleep(sleep) => {}
                    }
                }
            }
        }
    }

    async fn deliver_some(&self, id: &str, is_failing: &mut bool) -> Result<Next, ServiceError> {
        let (id, takes_new) = (id.to_owned(), !*is_failing);
        let round = self.patiently(|| {
            let id = id.clone();
            self.on_reads(move |core, _| core.webhook_round(&id, takes_new))
        });
        let Some(round) = round.await? else { return Ok(Next::End) };
        let Round { catalog_id, record, due, new, behind, through, missed, next_unix } = round;
        let (key, kinds) = (record.key, record.kinds.clone());
        if due.is_empty() && through == record.cursor {
            if takes_new || next_unix.is_some() {
                return Ok(Next::Wait { until_unix: next_unix, after: through, kinds });
            }
            // What failed was given up: the next of the log is tried.
            *is_failing = false;
            return Ok(Next::Again);
        }
        let sent = self.webhooks.send(&catalog_id, &record, groups(due.iter().chain(&new), &behind)).await;
        let (count, failed) = (sent.taken.len(), sent.left.iter().filter(|delivery| delivery.attempts > 0).count());
        let dead = sent.left.iter().filter(|delivery| delivery.is_dead).count();
        self.metrics.webhooks(count, failed, dead);
        if count > 0 {
            *is_failing = false;
        } else if failed > 0 {
            *is_failing = true;
        }
        let Sent { taken, mut left, is_gone } = sent;
        left.extend(new.into_iter().filter(|delivery| behind.contains(&delivery.seq)));
        let kept = Arc::new((taken, left));
        self.on_writes(move |tx| {
            let (taken, left) = &*kept;
            taken.iter().try_for_each(|seq| tx.end_delivery(key, *seq))?;
            left.iter().try_for_each(|delivery| tx.put_delivery(key, delivery))?;
            tx.advance_webhook(key, through, missed)?;
            if is_gone && let Some(mut record) = tx.webhook_of(key)? {
                record.state = WebhookState::Disabled;
                record.reason = Some("it answered 410 Gone".to_owned());
                tx.set_webhook(&record)?;
            }
            Ok(())
        })
        .await?;
        if is_gone {
            tracing::warn!(webhook = id, "a webhook answered 410 and is disabled");
            return Ok(Next::End);
        }
        // When something is to be sent again, the next look tells.
        Ok(Next::Again)
    }
}

impl Core {
    /// What is to be sent to an endpoint now; `None` where nothing is to be any more.
    fn webhook_round(&self, id: &str, takes_new: bool) -> Result<Option<Round>, ServiceError> {
        let record = match self.catalog.webhook(id) {
            Ok(record) if record.state == WebhookState::Active => record,
            Ok(_) | Err(crate::catalog::CatalogError::UnknownWebhook { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let (due, next_unix) = self.catalog.due_deliveries(record.key, now, TAKEN_AT_ONCE)?;
        let through = record.cursor;
        let mut round = Round {
            catalog_id: self.catalog.id()?,
            record,
            due,
            new: Vec::new(),
            behind: HashSet::new(),
            through,
            missed: 0,
            next_unix,
        };
        let key = round.record.key;
        if !takes_new || self.catalog.delivery_counts(key)?.waiting >= MAX_WAITING {
            return Ok(Some(round));
        }
        let limits = SliceLimits { changes: TAKEN_AT_ONCE, bytes: TAKEN_BYTES, ..SliceLimits::default() };
        let slice = self.catalog.changes_slice(through, &round.record.kinds, limits)?;
        round.missed = slice.first.saturating_sub(through + 1);
        round.through = slice.through.max(through);
        for change in slice.changes {
            let delivery = delivery(&slice.catalog_id, change, now)?;
            if let Some(product_id) = &delivery.product_id
                && self.catalog.is_delivery_waiting(key, product_id)?
            {
                round.behind.insert(delivery.seq);
            }
            round.new.push(delivery);
        }
        Ok(Some(round))
    }
}

fn delivery(catalog_id: &str, change: Change, now: i64) -> Result<Delivery, ServiceError> {
    let (seq, kind, product_id) = (change.seq, change.kind, change.product_id.clone());
    let body = serde_json::to_string(&Event::of_change(catalog_id, change)).map_err(ServiceError::Encode)?;
    Ok(Delivery {
        seq,
        product_id,
        kind,
        body,
        is_dead: false,
        attempts: 0,
        first_unix: now,
        next_unix: now,
        status: None,
        error: None,
    })
}

/// Deliveries by product, in order; what is of no product is a group of its own.
fn groups<'d>(deliveries: impl Iterator<Item = &'d Delivery>, behind: &HashSet<u64>) -> Vec<Vec<Delivery>> {
    let mut by_product: BTreeMap<&str, Vec<Delivery>> = BTreeMap::new();
    let mut others = Vec::new();
    for delivery in deliveries.filter(|delivery| !behind.contains(&delivery.seq)) {
        match &delivery.product_id {
            Some(product_id) => by_product.entry(product_id).or_default().push(delivery.clone()),
            None => others.push(vec![delivery.clone()]),
        }
    }
    let mut groups: Vec<_> = by_product.into_values().chain(others).collect();
    groups.sort_by_key(|group| group.first().map(|delivery| delivery.seq));
    groups
}

impl Webhooks {
    async fn send(&self, catalog_id: &str, record: &WebhookRecord, groups: Vec<Vec<Delivery>>) -> Sent {
        let sent = stream::iter(groups).map(|group| self.send_in_order(catalog_id, record, group));
        let sent = sent.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
        sent.into_iter().fold(Sent::default(), |mut all, one| {
            all.taken.extend(one.taken);
            all.left.extend(one.left);
            all.is_gone |= one.is_gone;
            all
        })
    }

    /// Sends deliveries of one product until one fails; those after it wait behind it.
    async fn send_in_order(&self, catalog_id: &str, record: &WebhookRecord, group: Vec<Delivery>) -> Sent {
        let mut sent = Sent::default();
        let mut group = group.into_iter();
        for mut delivery in group.by_ref() {
            if self.attempt(catalog_id, record, &mut delivery).await {
                sent.taken.push(delivery.seq);
                continue;
            }
            sent.is_gone = delivery.status == Some(410);
            sent.left.push(delivery);
            break;
        }
        sent.left.extend(group);
        sent
    }

    /// Sends a delivery; where it is not taken, what is to become of it.
    async fn attempt(&self, catalog_id: &str, record: &WebhookRecord, delivery: &mut Delivery) -> bool {
        let now = || OffsetDateTime::now_utc().unix_timestamp();
        let sent_unix = now();
        let in_force = record.secrets.iter().filter(|secret| secret.until.is_none_or(|until| until > sent_unix));
        let id = webhook_message_id(catalog_id, delivery.seq);
        let values = webhook_headers(&id, sent_unix, &delivery.body, in_force.map(|secret| secret.secret.as_str()));
        let mut headers = vec![("content-type", EVENT_MEDIA_TYPE.to_owned())];
        headers.extend(WEBHOOK_HEADERS.into_iter().zip(values));
        let body = Bytes::from(delivery.body.clone());
        let mut asked_s = 0;
        delivery.attempts = delivery.attempts.saturating_add(1);
        match self.fetcher.post(&record.url, &headers, body).await {
            Ok(answer) if (200..300).contains(&answer.status) => return true,
            Ok(answer) => {
                asked_s = u64::from(answer.retry_after_s).min(LONGEST_ASKED_S);
                delivery.status = Some(answer.status);
                delivery.error = Some(format!("expected status 2xx, received {}", answer.status));
            }
            Err(error) => {
                delivery.status = None;
                delivery.error = Some(error.to_string());
            }
        }
        // Whole seconds, and never at once.
        let pause = self.pause(delivery.attempts).as_secs().max(asked_s).max(1);
        delivery.next_unix = now().saturating_add(i64::try_from(pause).unwrap_or(i64::MAX));
        let given_up = delivery.first_unix.saturating_add(seconds(self.config.give_up_after));
        delivery.is_dead = now() >= given_up;
        // The last attempt is when its time is over.
        delivery.next_unix = delivery.next_unix.min(given_up.max(now() + 1));
        tracing::debug!(webhook = record.id, seq = delivery.seq, error = delivery.error, "a change was not taken");
        false
    }

    fn pause(&self, attempts: u32) -> Duration {
        let doubled = self.config.first_pause.saturating_mul(1 << attempts.saturating_sub(1).min(16));
        // Those that failed together are not to come again together. What is drawn decides nothing but that.
        let drawn = RandomState::new().hash_one(attempts) as f64 / u64::MAX as f64;
        doubled.min(self.config.longest_pause).mul_f64(0.5 + drawn)
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
