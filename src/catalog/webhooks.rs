//! Endpoints that changes are sent to: how far each has come in the log, and what it has not taken yet. A change is behind the
//! cursor only when it was taken or is kept as a delivery, so that a crash loses none.

use super::codec::{from_json, to_i64, to_json, to_u64};
use super::{CatalogError, ChangeKind, Tx};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Longest reason of a failed attempt, in characters.
const ERROR_CHARS: usize = 300;

/// Whether changes are sent to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WebhookState {
    /// They are.
    Active,
    /// Somebody paused it; it goes on where it was.
    Paused,
    /// It said that it is gone; it goes on where it was, once it is made active.
    Disabled,
}

impl WebhookState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        }
    }
}

/// A secret that requests are signed with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookSecret {
    /// `whsec_` and base64.
    pub secret: String,
    /// Unix seconds after which it does not sign any more; for good where there is none.
    pub until: Option<i64>,
}

/// Not the secret: it ends up in logs.
impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookSecret").field("until", &self.until).finish_non_exhaustive()
    }
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRecord {
    /// Order in which they were made.
    pub key: u64,
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
    /// The newest first.
    pub secrets: Vec<WebhookSecret>,
    /// Changes up to this one were taken, or are kept as deliveries.
    pub cursor: u64,
    /// Changes that the log had lost before they were sent.
    pub missed: u64,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    pub updated_at: String,
}

/// An endpoint that is to be.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(
    as = WebhookJson,
    example = json!({"url": "https://shop.example/hooks/vitrine", "kinds": ["image_upserted", "job_ended"]})
)]
pub struct NewWebhook {
    /// `http` or `https`, of a public address.
    #[schema(min_length = 1, max_length = 2048, format = "uri")]
    pub url: String,
    /// Kinds of changes; all, unless told.
    #[serde(default)]
    pub kinds: Vec<ChangeKind>,
    /// What its owner calls it.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub description: Option<String>,
    /// `whsec_` and 24 to 64 bytes in base64; a new one, unless told.
    #[serde(default)]
    pub secret: Option<String>,
    /// The last change that is not to be sent: 0 for the whole log, `Feed-Next-After` of a snapshot. The last there is, unless
    /// told.
    #[serde(default)]
    pub after: Option<u64>,
}

/// A change that an endpoint has not taken yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The change.
    pub seq: u64,
    /// Later changes of it wait behind this one.
    pub product_id: Option<String>,
    /// Of the change.
    pub kind: ChangeKind,
    /// The record, as it is sent.
    pub body: String,
    /// Whether it is sent again by itself.
    pub state: DeliveryState,
    /// How often it was sent.
    pub attempts: u32,
    /// Unix seconds: when it was first to be sent.
    pub first_unix: i64,
    /// Unix seconds: when it is to be sent again.
    pub next_unix: i64,
    /// Of the last answer.
    pub status: Option<u16>,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// Whether a change is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// By itself, at its time.
    Waiting,
    /// By itself, when the earlier change of its product that it waits behind is through.
    Behind,
    /// Once somebody asks for it.
    Dead,
    /// As a dead one, and when the endpoint takes anything again: it died while that took nothing.
    Held,
}

/// When a delivery is to be sent that waits behind another.
const BEHIND: i64 = i64::MAX;

impl DeliveryState {
    fn code(self) -> i64 {
        match self {
            Self::Waiting | Self::Behind => 0,
            Self::Dead => 1,
            Self::Held => 2,
        }
    }

    fn of(code: i64, next_unix: i64) -> Self {
        match code {
            0 if next_unix == BEHIND => Self::Behind,
            0 => Self::Waiting,
            1 => Self::Dead,
            _ => Self::Held,
        }
    }

    /// Whether it was given up.
    pub fn is_dead(self) -> bool {
        matches!(self, Self::Dead | Self::Held)
    }
}

/// How many deliveries an endpoint has not taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// To be tried again.
    pub waiting: u64,
    /// Given up.
    pub dead: u64,
}

impl Tx<'_> {
    /// Makes an endpoint, whose requests are signed with `secret`.
    pub fn create_webhook(&mut self, id: &str, secret: &str, new: &NewWebhook) -> Result<WebhookRecord, CatalogError> {
        let last = super::changes::last_seq(self.conn())?;
        let after = new.after.unwrap_or(last);
        if after > last {
            return Err(CatalogError::invalid("after", format!("a sequence number up to {last}"), after.to_string()));
        }
        let secrets = [WebhookSecret { secret: secret.into(), until: None }];
        self.conn()
            .prepare_cached(
                "INSERT INTO webhooks (webhook_id, url, kinds, description, state, secrets, cursor, created_at, updated_at)
                 VALUES (?1, ?2, ?3, ?4, 'active', ?5, ?6, ?7, ?7)",
            )?
            .execute(params![
                id,
                new.url,
                to_json("kinds", &new.kinds)?,
                new.description,
                to_json("secrets", &secrets)?,
                to_i64(after),
                self.now()
            ])?;
        self.expect_webhook(id)
    }

    /// An endpoint as this transaction sees it.
    pub fn expect_webhook(&self, id: &str) -> Result<WebhookRecord, CatalogError> {
        webhook(self.conn(), id)?.ok_or_else(|| CatalogError::UnknownWebhook { webhook_id: id.into() })
    }

    /// An endpoint by its key.
    pub fn webhook_of(&self, key: u64) -> Result<Option<WebhookRecord>, CatalogError> {
        let mut statement = self.conn().prepare_cached(&format!("{WEBHOOK} WHERE webhook_key = ?1"))?;
        let mut rows = statement.query([to_i64(key)])?;
        rows.next()?.map(read_webhook).transpose()
    }

    /// How many deliveries an endpoint has not taken.
    pub fn delivery_counts(&self, key: u64) -> Result<DeliveryCounts, CatalogError> {
        delivery_counts(self.conn(), key)
    }

    /// How many endpoints there are.
    pub fn count_webhooks(&self) -> Result<u64, CatalogError> {
        Ok(to_u64(self.conn().query_row("SELECT count(*) FROM webhooks", [], |row| row.get(0))?))
    }

    /// Writes all of an endpoint but how far it has come.
    pub fn set_webhook(&mut self, record: &WebhookRecord) -> Result<WebhookRecord, CatalogError> {
        self.conn()
            .prepare_cached(
                "UPDATE webhooks SET url = ?2, kinds = ?3, description = ?4, state = ?5, reason = ?6, secrets = ?7,
                     updated_at = ?8 WHERE webhook_key = ?1",
            )?
            .execute(params![
                to_i64(record.key),
                record.url,
                to_json("kinds", &record.kinds)?,
                record.description,
                record.state.as_str(),
                record.reason,
                to_json("secrets", &record.secrets)?,
                self.now()
            ])?;
        self.expect_webhook(&record.id)
    }

    /// Removes an endpoint with its deliveries.
    pub fn delete_webhook(&mut self, id: &str) -> Result<(), CatalogError> {
        let record = self.expect_webhook(id)?;
        self.conn().prepare_cached("DELETE FROM webhooks WHERE webhook_key = ?1")?.execute([to_i64(record.key)])?;
        Ok(())
    }

    /// Changes up to `cursor` were taken, or are kept as deliveries; `missed` of them the log had lost.
    pub fn advance_webhook(&mut self, key: u64, cursor: u64, missed: u64) -> Result<(), CatalogError> {
        self.conn()
            .prepare_cached(
                "UPDATE webhooks SET cursor = ?2, missed = missed + ?3 WHERE webhook_key = ?1 AND cursor < ?2",
            )?
            .execute([key, cursor, missed].map(to_i64))?;
        Ok(())
    }

    /// Keeps a delivery as it is now; of an endpoint that is gone none.
    pub fn put_delivery(&mut self, key: u64, delivery: &Delivery) -> Result<(), CatalogError> {
        let error = delivery.error.as_ref().map(|error| error.chars().take(ERROR_CHARS).collect::<String>());
        self.conn()
            .prepare_cached(
                "INSERT INTO deliveries (webhook_key, seq, product_id, kind, body, state, attempts, first_unix, next_unix, status,
                                         error)
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11
                 WHERE EXISTS (SELECT 1 FROM webhooks WHERE webhook_key = ?1)
                 ON CONFLICT (webhook_key, seq) DO UPDATE SET state = ?6, attempts = ?7, first_unix = ?8, next_unix = ?9,
                     status = ?10, error = ?11",
            )?
            .execute(params![
                to_i64(key),
                to_i64(delivery.seq),
                delivery.product_id,
                delivery.kind.as_str(),
                delivery.body,
                delivery.state.code(),
                delivery.attempts,
                delivery.first_unix,
                if delivery.state == DeliveryState::Behind { BEHIND } else { delivery.next_unix },
                delivery.status,
                error
            ])?;
        Ok(())
    }

    /// A delivery was taken.
    pub fn end_delivery(&mut self, key: u64, seq: u64) -> Result<(), CatalogError> {
        self.conn()
            .prepare_cached("DELETE FROM deliveries WHERE webhook_key = ?1 AND seq = ?2")?
            .execute([key, seq].map(to_i64))?;
        Ok(())
    }

    /// Of each of these products the first delivery that waits is to be sent now, where it was behind one that is through.
    pub fn call_up_deliveries(&mut self, key: u64, products: &BTreeSet<String>) -> Result<(), CatalogError> {
        for product_id in products {
            self.conn()
                .prepare_cached(
                    "UPDATE deliveries SET next_unix = ?3 WHERE webhook_key = ?1 AND next_unix = ?4 AND seq =
                         (SELECT min(seq) FROM deliveries INDEXED BY deliveries_product
                          WHERE webhook_key = ?1 AND product_id = ?2 AND state = 0)",
                )?
                .execute(params![to_i64(key), product_id, self.now_unix(), BEHIND])?;
        }
        Ok(())
    }

    /// Lets all deliveries that wait for their time be sent now, as if for the first time, and with them those that died while the
    /// endpoint took nothing.
    pub fn hurry_deliveries(&mut self, key: u64) -> Result<(), CatalogError> {
        self.conn()
            .prepare_cached(
                "UPDATE deliveries INDEXED BY deliveries_due
                 SET first_unix = ?2, next_unix = CASE WHEN next_unix < ?3 THEN ?2 ELSE next_unix END
                 WHERE webhook_key = ?1 AND state = 0",
            )?
            .execute(params![to_i64(key), self.now_unix(), BEHIND])?;
        self.revive(key, "state = 2", None, usize::MAX)?;
        Ok(())
    }

    /// Changes up to `cursor` are in that stream of JetStream.
    pub fn set_published(&mut self, stream: &str, cursor: u64) -> Result<(), CatalogError> {
        self.conn()
            .prepare_cached(
                "INSERT INTO published (stream, cursor) VALUES (?1, ?2) ON CONFLICT (stream) DO UPDATE SET cursor = ?2",
            )?
            .execute(params![stream, to_i64(cursor)])?;
        Ok(())
    }

    /// Lets dead deliveries be sent again, as if for the first time: one, or all, at most `limit`; gives how many.
    pub fn revive_deliveries(&mut self, key: u64, seq: Option<u64>, limit: usize) -> Result<usize, CatalogError> {
        self.revive(key, "state != 0", seq, limit)
    }

    fn revive(&mut self, key: u64, which: &str, seq: Option<u64>, limit: usize) -> Result<usize, CatalogError> {
        let sql = format!(
            "UPDATE deliveries SET state = 0, attempts = 0, first_unix = ?3, next_unix = ?5
             WHERE webhook_key = ?1 AND seq IN
                 (SELECT seq FROM deliveries INDEXED BY deliveries_dead
                  WHERE webhook_key = ?1 AND state != 0 AND {which} AND (?2 IS NULL OR seq = ?2) LIMIT ?4)
             RETURNING product_id, seq"
        );
        let revived: Vec<(Option<String>, u64)> = self
            .conn()
            .prepare_cached(&sql)?
            .query_map(params![to_i64(key), seq.map(to_i64), self.now_unix(), to_i64(limit as u64), BEHIND], |row| {
                Ok((row.get(0)?, row.get(1).map(to_u64)?))
            })?
            .collect::<Result<_, _>>()?;
        // The first of each product goes, the others behind it.
        let products = revived.iter().filter_map(|(product_id, _)| product_id.clone()).collect();
        self.call_up_deliveries(key, &products)?;
        for (_, seq) in revived.iter().filter(|(product_id, _)| product_id.is_none()) {
            self.conn()
                .prepare_cached("UPDATE deliveries SET next_unix = ?3 WHERE webhook_key = ?1 AND seq = ?2")?
                .execute([to_i64(key), to_i64(*seq), self.now_unix()])?;
        }
        Ok(revived.len())
    }

    /// Removes dead deliveries of changes that were first sent before `time`, at most `limit`; true when there may be more.
    pub fn drop_deliveries(&mut self, time: OffsetDateTime, limit: usize) -> Result<bool, CatalogError> {
        let dropped = self
            .conn()
            .prepare_cached(
                "DELETE FROM deliveries WHERE (webhook_key, seq) IN
                     (SELECT webhook_key, seq FROM deliveries INDEXED BY deliveries_dead
                      WHERE state != 0 AND first_unix < ?1 LIMIT ?2)",
            )?
            .execute([time.unix_timestamp(), to_i64(limit as u64)])?;
        Ok(dropped == limit)
    }
}

/// How far a stream of JetStream has come.
pub(super) fn published(conn: &Connection, stream: &str) -> Result<u64, CatalogError> {
    let sql = "SELECT cursor FROM published WHERE stream = ?1";
    let cursor: Option<i64> = conn.prepare_cached(sql)?.query_row([stream], |row| row.get(0)).optional()?;
    Ok(to_u64(cursor.unwrap_or(0)))
}

const WEBHOOK: &str = "SELECT webhook_key, webhook_id, url, kinds, description, state, reason, secrets, cursor, missed,
                              created_at, updated_at FROM webhooks";

fn read_webhook(row: &Row<'_>) -> Result<WebhookRecord, CatalogError> {
    let id: String = row.get(1)?;
    let json = |at: usize| row.get::<_, String>(at);
    let whose = |part: &str| format!("{part} of webhook {id}");
    Ok(WebhookRecord {
        key: to_u64(row.get(0)?),
        url: row.get(2)?,
        kinds: from_json(&json(3)?, || whose("kinds"))?,
        description: row.get(4)?,
        state: from_json(&format!("{:?}", json(5)?), || whose("state"))?,
        reason: row.get(6)?,
        secrets: from_json(&json(7)?, || whose("secrets"))?,
        cursor: to_u64(row.get(8)?),
        missed: to_u64(row.get(9)?),
        created_at: row.get(10)?,
        updated_at: row.get(11)?,
        id,
    })
}

/// An endpoint by its id.
pub(super) fn webhook(conn: &Connection, id: &str) -> Result<Option<WebhookRecord>, CatalogError> {
    let mut statement = conn.prepare_cached(&format!("{WEBHOOK} WHERE webhook_id = ?1"))?;
    let mut rows = statement.query([id])?;
    rows.next()?.map(read_webhook).transpose()
}

/// All endpoints: there are few.
pub(super) fn webhooks(conn: &Connection) -> Result<Vec<WebhookRecord>, CatalogError> {
    let mut statement = conn.prepare_cached(&format!("{WEBHOOK} ORDER BY webhook_key"))?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read_webhook(row)?);
    }
    Ok(found)
}

/// How many deliveries an endpoint has not taken.
pub(super) fn delivery_counts(conn: &Connection, key: u64) -> Result<DeliveryCounts, CatalogError> {
    let sql = "SELECT count(*) FROM deliveries INDEXED BY deliveries_dead WHERE webhook_key = ?1 AND state != 0";
    let dead = conn.prepare_cached(sql)?.query_row([to_i64(key)], |row| row.get(0).map(to_u64))?;
    Ok(DeliveryCounts { waiting: count_waiting(conn, key)?, dead })
}

/// How many deliveries of an endpoint wait.
pub(super) fn count_waiting(conn: &Connection, key: u64) -> Result<u64, CatalogError> {
    let sql = "SELECT count(*) FROM deliveries INDEXED BY deliveries_due WHERE webhook_key = ?1 AND state = 0";
    Ok(conn.prepare_cached(sql)?.query_row([to_i64(key)], |row| row.get(0).map(to_u64))?)
}

const DELIVERY: &str =
    "SELECT seq, product_id, kind, body, state, attempts, first_unix, next_unix, status, error FROM deliveries d";

fn read_delivery(row: &Row<'_>) -> Result<Delivery, CatalogError> {
    Ok(Delivery {
        seq: row.get(0).map(to_u64)?,
        product_id: row.get(1)?,
        kind: row.get::<_, String>(2)?.parse()?,
        body: row.get(3)?,
        state: DeliveryState::of(row.get(4)?, row.get(7)?),
        attempts: row.get(5)?,
        first_unix: row.get(6)?,
        next_unix: row.get(7)?,
        status: row.get(8)?,
        error: row.get(9)?,
    })
}

/// Deliveries after the change `after` in the order of their changes, all or those of one state, at most `limit`.
pub(super) fn deliveries(
    conn: &Connection,
    key: u64,
    dead: Option<bool>,
    after: u64,
    limit: usize,
) -> Result<Vec<Delivery>, CatalogError> {
    let which = match dead {
        None => "",
        Some(false) => "AND state = 0",
        Some(true) => "AND state != 0",
    };
    let sql = format!("{DELIVERY} WHERE webhook_key = ?1 AND seq > ?2 {which} ORDER BY seq LIMIT ?3");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params![to_i64(key), to_i64(after), super::read::page(limit)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read_delivery(row)?);
    }
    Ok(found)
}

/// Deliveries that are to be sent at `now`, of each product the first only, at most `limit`; and when the next one is, where
/// none is now.
pub(super) fn due_deliveries(
    conn: &Connection,
    key: u64,
    now: i64,
    limit: usize,
) -> Result<(Vec<Delivery>, Option<i64>), CatalogError> {
    let sql = format!(
        "{DELIVERY} INDEXED BY deliveries_due WHERE webhook_key = ?1 AND state = 0 AND next_unix <= ?2 ORDER BY next_unix, seq LIMIT ?3"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params![to_i64(key), now, super::read::page(limit)])?;
    let mut due = Vec::new();
    while let Some(row) = rows.next()? {
        due.push(read_delivery(row)?);
    }
    if !due.is_empty() {
        return Ok((due, None));
    }
    let sql = "SELECT min(next_unix) FROM deliveries INDEXED BY deliveries_due
               WHERE webhook_key = ?1 AND state = 0 AND next_unix < ?2";
    Ok((due, conn.prepare_cached(sql)?.query_row([to_i64(key), BEHIND], |row| row.get(0))?))
}

/// Whether a delivery of the product waits.
pub(super) fn is_waiting(conn: &Connection, key: u64, product_id: &str) -> Result<bool, CatalogError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM deliveries INDEXED BY deliveries_product
               WHERE webhook_key = ?1 AND product_id = ?2 AND state = 0)";
    Ok(conn.prepare_cached(sql)?.query_row(params![to_i64(key), product_id], |row| row.get(0))?)
}
