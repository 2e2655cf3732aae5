//! The feed into a stream of NATS JetStream: a record a message, in the order of the log, none twice and none left out. Each
//! message says which number the stream must have before it is taken (`Nats-Expected-Last-Sequence`), so that of messages under
//! way together none is taken past one that was lost, and two that publish into one stream cannot both succeed. Where the stream
//! ends, it says itself: its last message has the change as its id.

use super::{EVENT_MEDIA_TYPE, Event};
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, LastRawMessageErrorKind, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{ConnectOptions, header};
use std::time::Duration;

/// Time to connect, and for the server's answer to a request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Which stream, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JetStreamConfig {
    /// `nats://` or `tls://`, several separated by commas; user and password in it.
    pub url: String,
    /// The stream; made where it is not there.
    pub stream: String,
    /// Subjects are this, a dot and the kind of the change.
    pub subject: String,
    /// Servers that keep the stream, where it is made: 1, 3 or 5.
    pub replicas: usize,
    /// How long it keeps messages, where it is made; zero: for ever.
    pub max_age: Duration,
}

/// Why nothing is published.
#[derive(Debug, thiserror::Error)]
#[error("JetStream: cannot {action}: {detail}")]
pub struct JetStreamError {
    action: &'static str,
    detail: String,
}

impl JetStreamError {
    fn of<E: std::fmt::Display>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self { action, detail: error.to_string() }
    }
}

/// A connection to a stream.
pub struct JetStream {
    context: Context,
    stream: Stream,
    subject: String,
    /// Number of the stream's last message.
    last: u64,
}

impl JetStream {
    /// Connects, makes the stream where there is none, and looks where it ends: the last change of the catalog with that id that it
    /// has, where it has any.
    ///
    /// # Errors
    /// When no server can be reached, or the stream is not one that can be published to.
    pub async fn connect(config: &JetStreamConfig, catalog_id: &str) -> Result<(Self, Option<u64>), JetStreamError> {
        let options = ConnectOptions::new().name("vitrine").connection_timeout(TIMEOUT).request_timeout(Some(TIMEOUT));
        let servers: Vec<&str> = config.url.split(',').map(str::trim).collect();
        let client = options.connect(servers).await.map_err(JetStreamError::of("connect"))?;
        let mut context = jetstream::new(client);
        context.set_timeout(TIMEOUT);
        let every = format!("{}.>", config.subject);
        let wanted = Config {
            name: config.stream.clone(),
            subjects: vec![every.clone()],
            num_replicas: config.replicas,
            max_age: config.max_age,
            ..Config::default()
        };
        let made = context.get_or_create_stream(wanted).await;
        let stream = made.map_err(JetStreamError::of("open the stream"))?;
        let last = stream.get_info().await.map_err(JetStreamError::of("look at the stream"))?.state.last_sequence;
        let newest = match stream.get_last_raw_message_by_subject(&every).await {
            Ok(message) => Some(message),
            Err(error) if matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) => None,
            Err(error) => return Err(JetStreamError::of("read the stream's last message")(error)),
        };
        let id = newest.as_ref().and_then(|message| message.headers.get(header::NATS_MESSAGE_ID));
        let change = id.and_then(|id| id.as_str().strip_prefix(catalog_id)?.strip_prefix('_')?.parse().ok());
        Ok((Self { context, stream, subject: config.subject.clone(), last }, change))
    }

    /// Publishes records in order. When it fails some of the first may be in the stream: where it ends, a new connection tells.
    ///
    /// # Errors
    /// When the server does not take one, does not answer, or somebody else publishes into the stream.
    pub async fn publish(&mut self, catalog_id: &str, records: &[(Event, &'static str)]) -> Result<(), JetStreamError> {
        let mut under_way: Vec<PublishAckFuture> = Vec::with_capacity(records.len());
        for (at, (event, kind)) in (0..).zip(records) {
            let body = serde_json::to_vec(event).map_err(JetStreamError::of("encode a record"))?;
            let message = PublishMessage::build()
                .payload(body.into())
                .header("content-type", EVENT_MEDIA_TYPE)
                .message_id(format!("{catalog_id}_{}", event.seq))
                .expected_stream(self.name())
                .expected_last_sequence(self.last + at);
            let sent = self.context.send_publish(format!("{}.{kind}", self.subject), message).await;
            under_way.push(sent.map_err(JetStreamError::of("publish"))?);
        }
        for taken in under_way {
            let taken = taken.await.map_err(JetStreamError::of("publish"))?;
            if taken.sequence != self.last + 1 {
                let detail = format!("message {} where {} was to be", taken.sequence, self.last + 1);
                return Err(JetStreamError { action: "publish in order", detail });
            }
            self.last += 1;
        }
        Ok(())
    }

    /// The stream's name.
    pub fn name(&self) -> &str {
        &self.stream.cached_info().config.name
    }
}
