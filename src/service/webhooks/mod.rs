//! Endpoints that changes are sent to: made, told of, paused and given new secrets here; `deliver` sends.

mod deliver;

use super::read::{encode_cursor, number_in};
use super::{Core, Reply, Service, ServiceError};
use crate::catalog;
use crate::catalog::{
    ChangeKind, Delivery, DeliveryCounts, IdempotencyKey, NewWebhook, Tx, WebhookRecord, WebhookSecret, WebhookState,
};
use crate::feed::{is_webhook_secret, new_webhook_secret};
use crate::photo::{FetchConfig, FetchError, Fetcher};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::watch;
use utoipa::ToSchema;

/// Most endpoints.
const MAX_WEBHOOKS: u64 = 50;
/// What a cursor of deliveries begins with.
const DELIVERIES: &str = "deliveries/";
/// Dead deliveries that are revived in one transaction.
const REVIVED_AT_ONCE: usize = 1_000;
/// Most secrets of an endpoint that sign beside the newest.
const MAX_SECRETS: usize = 5;
/// Longest description, in characters.
const MAX_DESCRIPTION_CHARS: usize = 200;
/// Longest URL, in bytes.
const MAX_URL_BYTES: usize = 2_048;

/// How changes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhooksConfig {
    /// Time for an attempt, the whole answer included.
    pub timeout: Duration,
    /// Pause before the second attempt; it doubles from attempt to attempt, and is drawn from half to one and a half of that.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
    /// Time after which a change that was not taken is not tried any more by itself.
    pub give_up_after: Duration,
}

impl Default for WebhooksConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(15),
            first_pause: Duration::from_secs(5),
            longest_pause: Duration::from_secs(3_600),
            give_up_after: Duration::from_secs(86_400),
        }
    }
}

/// An endpoint that changes are sent to.
#[derive(Clone, Serialize, ToSchema)]
pub struct Webhook {
    /// UUID.
    pub id: String,
    /// Where changes are sent.
    pub url: String,
    /// Kinds of changes; all where there are none.
    pub kinds: Vec<ChangeKind>,
    /// What its owner calls it.
    pub description: Option<String>,
    /// Whether changes are sent.
    pub state: WebhookState,
    /// Why it was disabled.
    pub reason: Option<String>,
    /// Every change up to this one was taken, is among `waiting` or `dead`, or of another kind.
    pub cursor: u64,
    /// Changes that failed and are tried again, and those of the same products behind them.
    pub waiting: u64,
    /// Changes that were given up: see its deliveries.
    pub dead: u64,
    /// Changes that the log had lost before they were sent: it was paused, or down, for longer than the log is kept.
    pub missed: u64,
    /// What requests are signed with; only where it was made just now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub secret: Option<String>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    pub updated_at: String,
}

impl Webhook {
    fn new(record: WebhookRecord, counts: DeliveryCounts, secret: Option<String>) -> Self {
        Self {
            id: record.id,
            url: record.url,
            kinds: record.kinds,
            description: record.description,
            state: record.state,
            reason: record.reason,
            cursor: record.cursor,
            waiting: counts.waiting,
            dead: counts.dead,
            missed: record.missed,
            secret,
            created_at: record.created_at,
            updated_at: record.updated_at,
        }
    }
}

/// Endpoints.
#[derive(Clone, Serialize, ToSchema)]
pub struct WebhookList {
    /// In the order in which they were made.
    pub items: Vec<Webhook>,
}

/// A change that an endpoint has not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct WebhookDelivery {
    /// The change.
    pub seq: u64,
    /// Of which kind it is.
    pub kind: ChangeKind,
    /// Of which product.
    pub product_id: Option<String>,
    /// `waiting`: to be sent again; `dead`: given up.
    pub state: DeliveryState,
    /// How often it was sent; 0 where it waits behind an earlier change of the product.
    pub attempts: u32,
    /// RFC 3339, UTC: when it is to be sent again; where it waits, and not behind another.
    pub next_at: Option<String>,
    /// Status of the last answer.
    pub status: Option<u16>,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// Whether a change is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// By itself.
    Waiting,
    /// Once somebody asks for it.
    Dead,
}

impl From<Delivery> for WebhookDelivery {
    fn from(delivery: Delivery) -> Self {
        let next = OffsetDateTime::from_unix_timestamp(delivery.next_unix)
            .ok()
            .filter(|_| delivery.state == catalog::DeliveryState::Waiting);
        Self {
            seq: delivery.seq,
            kind: delivery.kind,
            product_id: delivery.product_id,
            state: if delivery.state.is_dead() { DeliveryState::Dead } else { DeliveryState::Waiting },
            attempts: delivery.attempts,
            next_at: next.and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok()),
            status: delivery.status,
            error: delivery.error,
        }
    }
}

/// A page of deliveries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeliveryPage {
    /// In the order of their changes.
    pub items: Vec<WebhookDelivery>,
    /// Cursor of the next page; `null` on the last.
    pub next_cursor: Option<String>,
}

/// How many deliveries are sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Resent {
    /// They wait for their turn.
    pub resent: usize,
}

/// What is to be changed of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct WebhookPatch {
    pub url: Option<String>,
    pub kinds: Option<Vec<ChangeKind>>,
    pub description: Option<String>,
    /// Active or not; of one that was disabled, active forgets why.
    pub is_active: Option<bool>,
}

/// What sends changes.
pub(super) struct Webhooks {
    config: WebhooksConfig,
    fetcher: Fetcher,
    /// An endpoint was made, or changed.
    changed: watch::Sender<u64>,
}

impl Webhooks {
    pub(super) fn new(config: WebhooksConfig, fetch: &FetchConfig) -> Result<Self, ServiceError> {
        let total_ms = u64::try_from(config.timeout.as_millis()).unwrap_or(u64::MAX);
        // As many places as all endpoints can take: none waits for the others.
        let concurrency = MAX_WEBHOOKS as usize * deliver::AT_ONCE;
        let fetcher = Fetcher::new(FetchConfig { total_ms, concurrency, ..fetch.clone() })?;
        Ok(Self { config, fetcher, changed: watch::Sender::new(0) })
    }

    fn tell(&self) {
        self.changed.send_modify(|times| *times = times.wrapping_add(1));
    }

    /// Whether changes may be sent there, as far as the URL itself tells.
    fn check_url(&self, url: &str) -> Result<(), ServiceError> {
        if url.len() > MAX_URL_BYTES {
            let expected = format!("at most {MAX_URL_BYTES} bytes");
            return Err(ServiceError::invalid("url", expected, format!("{} bytes", url.len())));
        }
        let invalid = |error: FetchError| {
            ServiceError::invalid("url", "an http or https URL of a public address", error.to_string())
        };
        self.fetcher.check(url).map_err(invalid)
    }
}

fn check_description(description: Option<&str>) -> Result<(), ServiceError> {
    match description.map(|text| text.chars().count()).filter(|chars| *chars > MAX_DESCRIPTION_CHARS) {
        None => Ok(()),
        Some(chars) => {
            let expected = format!("at most {MAX_DESCRIPTION_CHARS} characters");
            Err(ServiceError::invalid("description", expected, chars.to_string()))
        }
    }
}

fn check_secret(secret: Option<String>) -> Result<String, ServiceError> {
    match secret {
        None => Ok(new_webhook_secret()),
        Some(secret) if is_webhook_secret(&secret) => Ok(secret),
        // Not what came: it may be a secret of something else.
        Some(secret) => {
            let expected = "`whsec_` and 24 to 64 bytes in base64";
            Err(ServiceError::invalid("secret", expected, format!("{} characters", secret.chars().count())))
        }
    }
}

impl Service {
    /// Makes an endpoint. Body: a [`Webhook`], with its secret.
    ///
    /// # Errors
    /// When the URL or the secret cannot be used, `after` is beyond the log, or there are as many as may be.
    pub async fn create_webhook(&self, new: NewWebhook, once: Option<IdempotencyKey>) -> Result<Reply, ServiceError> {
        self.webhooks.check_url(&new.url)?;
        check_description(new.description.as_deref())?;
        let secret = check_secret(new.secret.clone())?;
        let id = uuid::Uuid::new_v4().to_string();
        let make = move |tx: &mut Tx<'_>| {
            if tx.count_webhooks()? >= MAX_WEBHOOKS {
                return Err(ServiceError::TooManyWebhooks { limit: MAX_WEBHOOKS });
            }
            let record = tx.create_webhook(&id, &secret, &new)?;
            super::write::answer(true, &Webhook::new(record, DeliveryCounts::default(), Some(secret)))
        };
        let webhooks = Arc::clone(&self.webhooks);
        self.write_then(once, make, move |_| webhooks.tell()).await
    }

    /// All endpoints.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn webhooks(&self) -> Result<WebhookList, ServiceError> {
        self.on_reads(|core, _| {
            let records = core.catalog.webhooks()?.into_iter();
            let items = records.map(|record| core.webhook_view(record)).collect::<Result<_, _>>()?;
            Ok(WebhookList { items })
        })
        .await
    }

    /// An endpoint.
    ///
    /// # Errors
    /// When it is unknown.
    pub async fn webhook(&self, id: &str) -> Result<Webhook, ServiceError> {
        let id = id.to_owned();
        self.on_reads(move |core, _| core.webhook_view(core.catalog.webhook(&id)?)).await
    }

    /// Changes an endpoint.
    ///
    /// # Errors
    /// When it is unknown, or the URL cannot be used.
    pub async fn change_webhook(&self, id: &str, patch: WebhookPatch) -> Result<Webhook, ServiceError> {
        patch.url.as_deref().map_or(Ok(()), |url| self.webhooks.check_url(url))?;
        check_description(patch.description.as_deref())?;
        self.alter_webhook(id, move |record| {
            let WebhookPatch { url, kinds, description, is_active } = patch;
            record.url = url.unwrap_or_else(|| std::mem::take(&mut record.url));
            record.kinds = kinds.unwrap_or_else(|| std::mem::take(&mut record.kinds));
            record.description = description.or_else(|| record.description.take()).filter(|text| !text.is_empty());
            if let Some(is_active) = is_active {
                record.state = if is_active { WebhookState::Active } else { WebhookState::Paused };
                record.reason = None;
            }
        })
        .await
    }

    /// Gives an endpoint another secret; the old one signs beside it for `overlap`. Body: a [`Webhook`], with its secret.
    ///
    /// # Errors
    /// When it is unknown, the secret cannot be used, or too many sign already.
    pub async fn rotate_webhook_secret(
        &self,
        id: &str,
        secret: Option<String>,
        overlap: Duration,
        once: Option<IdempotencyKey>,
    ) -> Result<Reply, ServiceError> {
        let (id, new) = (id.to_owned(), check_secret(secret)?);
        let rotate = move |tx: &mut Tx<'_>| {
            let mut record = tx.expect_webhook(&id)?;
            let now = OffsetDateTime::now_utc().unix_timestamp();
            let until = now.saturating_add(i64::try_from(overlap.as_secs()).unwrap_or(i64::MAX));
            for old in &mut record.secrets {
                old.until = Some(old.until.map_or(until, |known| known.min(until)));
            }
            record.secrets.retain(|known| known.secret != new && known.until.is_some_and(|until| until > now));
            if record.secrets.len() >= MAX_SECRETS {
                let expected = format!("at most {MAX_SECRETS} secrets that sign at a time");
                return Err(ServiceError::invalid("secret", expected, "one more"));
            }
            record.secrets.insert(0, WebhookSecret { secret: new.clone(), until: None });
            let record = tx.set_webhook(&record)?;
            let counts = tx.delivery_counts(record.key)?;
            super::write::answer(false, &Webhook::new(record, counts, Some(new)))
        };
        let webhooks = Arc::clone(&self.webhooks);
        self.write_then(once, rotate, move |_| webhooks.tell()).await
    }

    /// Removes an endpoint with its deliveries.
    ///
    /// # Errors
    /// When it is unknown.
    pub async fn delete_webhook(&self, id: &str) -> Result<(), ServiceError> {
        let id = id.to_owned();
        self.change_webhooks(move |tx| Ok(tx.delete_webhook(&id)?)).await
    }

    /// Changes that an endpoint has not taken, in their order.
    ///
    /// # Errors
    /// When it is unknown, or the cursor not one of this listing.
    pub async fn deliveries(
        &self,
        id: &str,
        state: Option<DeliveryState>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<DeliveryPage, ServiceError> {
        let after = cursor.map(|cursor| number_in(cursor, DELIVERIES)).transpose()?.unwrap_or(0);
        let id = id.to_owned();
        let dead = state.map(|state| state == DeliveryState::Dead);
        self.on_reads(move |core, _| {
            let key = core.catalog.webhook(&id)?.key;
            let found = core.catalog.deliveries(key, dead, after, limit)?;
            let last = found.last().filter(|_| found.len() == limit).map(|delivery| delivery.seq);
            let items = found.into_iter().map(WebhookDelivery::from).collect();
            Ok(DeliveryPage { items, next_cursor: last.map(|seq| encode_cursor(&format!("{DELIVERIES}{seq}"))) })
        })
        .await
    }

    /// Sends changes again that were given up: that one, or all.
    ///
    /// # Errors
    /// When the endpoint is unknown, or that change was not given up.
    pub async fn resend(&self, id: &str, seq: Option<u64>) -> Result<Resent, ServiceError> {
        let mut resent = 0;
        loop {
            let id = id.to_owned();
            let revive = move |tx: &mut Tx<'_>| {
                let key = tx.expect_webhook(&id)?.key;
                Ok(tx.revive_deliveries(key, seq, REVIVED_AT_ONCE)?)
            };
            let revived = self.change_webhooks(revive).await?;
            resent += revived;
            if revived < REVIVED_AT_ONCE {
                break;
            }
        }
        match seq {
            Some(seq) if resent == 0 => Err(ServiceError::UnknownDelivery { seq }),
            _ => Ok(Resent { resent }),
        }
    }

    async fn alter_webhook(
        &self,
        id: &str,
        alter: impl FnOnce(&mut WebhookRecord) + Send + 'static,
    ) -> Result<Webhook, ServiceError> {
        let id = id.to_owned();
        let change = move |tx: &mut Tx<'_>| {
            let mut record = tx.expect_webhook(&id)?;
            let before = (record.url.clone(), record.state);
            alter(&mut record);
            let is_mended = before != (record.url.clone(), record.state) && record.state == WebhookState::Active;
            if is_mended {
                tx.hurry_deliveries(record.key)?;
            }
            Ok((tx.set_webhook(&record)?, tx.delivery_counts(record.key)?))
        };
        let (record, counts) = self.change_webhooks(change).await?;
        Ok(Webhook::new(record, counts, None))
    }

    /// Runs `work` in a transaction, and lets those who send know.
    async fn change_webhooks<T, F>(&self, work: F) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, ServiceError> + Send + 'static,
    {
        let webhooks = Arc::clone(&self.webhooks);
        self.change_then(work, move |_| webhooks.tell()).await
    }
}

impl Core {
    fn webhook_view(&self, record: WebhookRecord) -> Result<Webhook, ServiceError> {
        let counts = self.catalog.delivery_counts(record.key)?;
        Ok(Webhook::new(record, counts, None))
    }
}
