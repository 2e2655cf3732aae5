//! Sends changes to endpoints in the order of the log, each endpoint by a task of its own. Changes of different products go side
//! by side, those of one product one after the other. What is not taken is kept and tried again, and later changes of its
//! product wait behind it; while nothing at all is taken, the log itself waits, and what dies meanwhile is sent once the endpoint
//! takes something again.

use super::Webhooks;
use crate::backoff;
use crate::catalog::{Change, ChangeKind, Delivery, DeliveryState, SliceLimits, WebhookRecord, WebhookState};
use crate::feed::{EVENT_MEDIA_TYPE, Event, WEBHOOK_HEADERS, webhook_headers, webhook_message_id};
use crate::service::{Core, Service, ServiceError};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

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

/// Products that an endpoint failed to take changes of, with nothing taken in between, after which it is held to be unwell: nothing
/// new is begun then. Fewer where it does not answer, or says that it cannot.
const UNWELL_AFTER: usize = 8;
const DOWN_AFTER: usize = 3;

/// How an endpoint is.
#[derive(Default)]
struct Health {
    /// Products of changes that it did not take since it took one, and those where it was not itself.
    refused: HashSet<String>,
    unanswered: HashSet<String>,
    /// Nothing new is begun: what failed is tried, one at a time, until it takes something.
    is_held: bool,
    /// It asked to be left alone until then.
    left_alone_until: Option<Instant>,
}

impl Health {
    /// Takes in what a round brought; true when the endpoint takes changes again after it did not.
    fn after(&mut self, sent: &Sent) -> bool {
        if !sent.taken.is_empty() {
            let is_back = self.is_held;
            *self = Self::default();
            return is_back;
        }
        for failed in sent.left.iter().filter(|delivery| delivery.error.is_some()) {
            let product_id = failed.product_id.clone().unwrap_or_default();
            if matches!(failed.status, None | Some(429 | 502..=504)) {
                self.unanswered.insert(product_id.clone());
            }
            self.refused.insert(product_id);
        }
        self.is_held |= self.refused.len() >= UNWELL_AFTER || self.unanswered.len() >= DOWN_AFTER;
        self.left_alone_until = (sent.asked_s > 0).then(|| Instant::now() + Duration::from_secs(sent.asked_s));
        false
    }
}

/// What there is to do for an endpoint.
struct Round {
    catalog_id: String,
    record: WebhookRecord,
    /// Failed before, or were behind others, and are to be sent now.
    due: Vec<Delivery>,
    /// New of the log, in order; some are behind others of their product.
    new: Vec<Delivery>,
    /// How far the log was looked at, and how many changes of it are lost.
    through: u64,
    missed: u64,
    /// When the next one is to be sent again, Unix seconds.
    next_unix: Option<i64>,
    /// Whether the log was looked at.
    takes_new: bool,
}

/// What an endpoint made of the changes of one product.
#[derive(Default)]
struct Sent {
    taken: Vec<Delivery>,
    left: Vec<Delivery>,
    /// It said that it is gone.
    is_gone: bool,
    /// Seconds it asked to be left alone for.
    asked_s: u64,
}

/// What a task does next.
enum Next {
    /// Looks again.
    Again,
    /// Waits: so long, and where new changes are taken, for one after this.
    Wait { at_most: Duration, newer: Option<(u64, Vec<ChangeKind>)> },
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
        let mut health = Health::default();
        let mut changed = self.webhooks.changed.subscribe();
        loop {
            changed.mark_unchanged();
            // Before the look: what is committed after it is not slept through.
            let mut committed = self.core.follower.committed();
            let next = match self.deliver_some(id, &mut health, &mut changed).await {
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
                Next::Wait { at_most, newer } => {
                    let newer = async {
                        match newer {
                            Some((after, kinds)) => drop(committed.wait_for(|at| at.is_past(after, &kinds)).await),
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        _ = changed.changed() => health.left_alone_until = None,
                        () = newer => {}
                        () = tokio::time::sleep(at_most) => {}
                    }
                }
            }
        }
    }

    async fn deliver_some(
        &self,
        id: &str,
        health: &mut Health,
        changed: &mut watch::Receiver<u64>,
    ) -> Result<Next, ServiceError> {
        if let Some(until) = health.left_alone_until
            && until > Instant::now()
        {
            return Ok(Next::Wait { at_most: until - Instant::now(), newer: None });
        }
        let (id, is_held) = (id.to_owned(), health.is_held);
        let round = self.patiently(|| {
            let id = id.clone();
            self.on_reads(move |core, _| core.webhook_round(&id, is_held))
        });
        let Some(round) = round.await? else { return Ok(Next::End) };
        let Round { catalog_id, record, due, new, through, missed, next_unix, takes_new } = round;
        if due.is_empty() && through == record.cursor {
            let now = OffsetDateTime::now_utc().unix_timestamp();
            let until = next_unix.map(|at| Duration::from_secs(u64::try_from(at - now).unwrap_or(0)));
            let at_most = until.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP);
            return Ok(Next::Wait { at_most, newer: takes_new.then_some((through, record.kinds)) });
        }
        let (behind, new): (Vec<_>, Vec<_>) =
            new.into_iter().partition(|delivery| delivery.state == DeliveryState::Behind);
        let Some(mut sent) = self.send_round(&catalog_id, &record, groups(due.into_iter().chain(new)), changed).await?
        else {
            // It is another endpoint by now.
            return Ok(Next::Again);
        };
        let is_back = health.after(&sent);
        if health.is_held {
            let dead = sent.left.iter_mut().filter(|delivery| delivery.state.is_dead());
            dead.for_each(|delivery| delivery.state = DeliveryState::Held);
        }
        let dead = sent.left.iter().filter(|delivery| delivery.state.is_dead()).count();
        let again = sent.left.iter().filter(|delivery| delivery.error.is_some()).count() - dead;
        self.metrics.webhooks(sent.taken.len(), again, dead);
        sent.left.extend(behind);
        let (is_gone, sent, url) = (sent.is_gone, Arc::new(sent), record.url);
        let key = record.key;
        self.on_writes(move |tx| {
            sent.taken.iter().try_for_each(|delivery| tx.end_delivery(key, delivery.seq))?;
            sent.left.iter().try_for_each(|delivery| tx.put_delivery(key, delivery))?;
            let through_with = sent.taken.iter().chain(sent.left.iter().filter(|delivery| delivery.state.is_dead()));
            tx.call_up_deliveries(key, &through_with.filter_map(|delivery| delivery.product_id.clone()).collect())?;
            if is_back {
                tx.hurry_deliveries(key)?;
            }
            tx.advance_webhook(key, through, missed)?;
            // Where it was given another URL meanwhile, that one did not say so.
            if is_gone
                && let Some(mut record) = tx.webhook_of(key)?
                && record.url == url
            {
                tracing::warn!(webhook = record.id, "a webhook answered 410 and is disabled");
                record.state = WebhookState::Disabled;
                record.reason = Some("it answered 410 Gone".to_owned());
                tx.set_webhook(&record)?;
            }
            Ok(())
        })
        .await?;
        Ok(Next::Again)
    }

    /// Sends what there is to send; `None` where the endpoint was changed meanwhile: what is under way goes, and may be sent twice.
    async fn send_round(
        &self,
        catalog_id: &str,
        record: &WebhookRecord,
        groups: Vec<Vec<Delivery>>,
        changed: &mut watch::Receiver<u64>,
    ) -> Result<Option<Sent>, ServiceError> {
        let mut sending = pin!(self.webhooks.send(catalog_id, record, groups));
        loop {
            tokio::select! {
                sent = &mut sending => return Ok(Some(sent)),
                _ = changed.changed() => {
                    let id = record.id.clone();
                    let now = self.patiently(|| {
                        let id = id.clone();
                        self.on_reads(move |core, _| Ok(core.catalog.webhook(&id)?))
                    });
                    let is_same = |now: &WebhookRecord| {
                        (&now.url, &now.secrets, now.state) == (&record.url, &record.secrets, record.state)
                    };
                    if !now.await.is_ok_and(|now| is_same(&now)) {
                        return Ok(None);
                    }
                }
            }
        }
    }
}

impl Core {
    /// What is to be sent to an endpoint now; `None` where nothing is to be any more. Of one that is held one that failed, or where
    /// none did, one that is new.
    fn webhook_round(&self, id: &str, is_held: bool) -> Result<Option<Round>, ServiceError> {
        let record = match self.catalog.webhook(id) {
            Ok(record) if record.state == WebhookState::Active => record,
            Ok(_) | Err(crate::catalog::CatalogError::UnknownWebhook { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let (key, through) = (record.key, record.cursor);
        let at_once = if is_held { 1 } else { TAKEN_AT_ONCE };
        let (due, next_unix) = self.catalog.due_deliveries(key, now, at_once)?;
        let takes_new = match is_held {
            true => due.is_empty() && next_unix.is_none(),
            false => self.catalog.count_waiting_deliveries(key)? < MAX_WAITING,
        };
        let mut round = Round {
            catalog_id: self.catalog.id()?,
            record,
            due,
            new: Vec::new(),
            through,
            missed: 0,
            next_unix,
            takes_new,
        };
        if !takes_new {
            return Ok(Some(round));
        }
        let limits = SliceLimits { changes: at_once, bytes: TAKEN_BYTES, ..SliceLimits::default() };
        let slice = self.catalog.changes_slice(through, &round.record.kinds, limits)?;
        round.missed = slice.first.saturating_sub(through + 1);
        // What the log has lost is looked at once.
        round.through = slice.through.max(slice.first.saturating_sub(1)).max(through);
        for change in slice.changes {
            let mut delivery = delivery(&slice.catalog_id, change, now)?;
            if let Some(product_id) = &delivery.product_id
                && self.catalog.is_delivery_waiting(key, product_id)?
            {
                delivery.state = DeliveryState::Behind;
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
        state: DeliveryState::Waiting,
        attempts: 0,
        first_unix: now,
        next_unix: now,
        status: None,
        error: None,
    })
}

/// Deliveries by product, in order; what is of no product is a group of its own.
fn groups(deliveries: impl Iterator<Item = Delivery>) -> Vec<Vec<Delivery>> {
    let mut by_product: BTreeMap<String, Vec<Delivery>> = BTreeMap::new();
    let mut groups = Vec::new();
    for delivery in deliveries {
        match &delivery.product_id {
            Some(product_id) => by_product.entry(product_id.clone()).or_default().push(delivery),
            None => groups.push(vec![delivery]),
        }
    }
    groups.extend(by_product.into_values());
    groups.iter_mut().for_each(|group| group.sort_by_key(|delivery| delivery.seq));
    groups.sort_by_key(|group| group.first().map(|delivery| delivery.seq));
    groups
}

impl Webhooks {
    async fn send(&self, catalog_id: &str, record: &WebhookRecord, groups: Vec<Vec<Delivery>>) -> Sent {
        let is_gone = AtomicBool::new(false);
        let sent = stream::iter(groups).map(|group| self.send_in_order(catalog_id, record, group, &is_gone));
        let sent = sent.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
        sent.into_iter().fold(Sent::default(), |mut all, one| {
            all.taken.extend(one.taken);
            all.left.extend(one.left);
            all.is_gone |= one.is_gone;
            all.asked_s = all.asked_s.max(one.asked_s);
            all
        })
    }

    /// Sends deliveries of one product until one fails, or another said that the endpoint is gone; those after it wait behind it.
    async fn send_in_order(
        &self,
        catalog_id: &str,
        record: &WebhookRecord,
        group: Vec<Delivery>,
        is_gone: &AtomicBool,
    ) -> Sent {
        let mut sent = Sent::default();
        let mut group = group.into_iter();
        for mut delivery in group.by_ref() {
            if is_gone.load(Ordering::Relaxed) {
                sent.left.push(delivery);
                break;
            }
            let Err(asked_s) = self.attempt(catalog_id, record, &mut delivery).await else {
                sent.taken.push(delivery);
                continue;
            };
            sent.asked_s = asked_s;
            sent.is_gone = delivery.status == Some(410);
            is_gone.fetch_or(sent.is_gone, Ordering::Relaxed);
            sent.left.push(delivery);
            break;
        }
        sent.left.extend(group.map(|delivery| Delivery { state: DeliveryState::Behind, ..delivery }));
        sent
    }

    /// Sends a delivery; where it is not taken, it is told what is to become of it.
    ///
    /// # Errors
    /// Seconds for which the endpoint asked to be left alone.
    async fn attempt(&self, catalog_id: &str, record: &WebhookRecord, delivery: &mut Delivery) -> Result<(), u64> {
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
            Ok(answer) if (200..300).contains(&answer.status) => return Ok(()),
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
        let pause = backoff::pause(delivery.attempts, self.config.first_pause, self.config.longest_pause);
        let pause = pause.as_secs().max(asked_s).max(1);
        delivery.next_unix = now().saturating_add(i64::try_from(pause).unwrap_or(i64::MAX));
        let given_up = delivery.first_unix.saturating_add(seconds(self.config.give_up_after));
        delivery.state = if now() >= given_up { DeliveryState::Dead } else { DeliveryState::Waiting };
        // The last attempt is when its time is over.
        delivery.next_unix = delivery.next_unix.min(given_up.max(now() + 1));
        tracing::debug!(webhook = record.id, seq = delivery.seq, error = delivery.error, "a change was not taken");
        Err(asked_s)
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
