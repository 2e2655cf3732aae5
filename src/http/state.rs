//! What handlers share: the service, the keys, the limits, the table of operations. Cheap to clone.

use super::auth::KeyRing;
use super::operations::Operations;
use crate::metrics::Metrics;
use crate::service::Service;
use serde_json::Value;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Limits of the HTTP side; limits of photos and fetches are the service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections at a time; further ones wait in the listen queue.
    pub connections: usize,
    /// Bytes of a photo sent as a body, a multipart file or decoded base64. Keep equal to the service's limit.
    pub photo_bytes: usize,
    /// Bytes of a JSON body that carries no photo.
    pub json_bytes: usize,
    /// Bytes of all bodies held at a time; a request that would pass it gets 503 before its body is read.
    pub buffered_bytes: usize,
    /// Time for a request's head to arrive; also how long an idle connection is kept.
    pub head_timeout: Duration,
    /// Time for a body to arrive.
    pub body_timeout: Duration,
    /// Time from a request's head to its response.
    pub request_timeout: Duration,
    /// Time a client may take to read the next piece of a response.
    pub write_timeout: Duration,
    /// Time to finish accepted requests after shutdown was asked for.
    pub drain_timeout: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            photo_bytes: 20 << 20,
            json_bytes: 256 << 10,
            // 25 photos at the limit, or some 500 of usual size: more than the queues take.
            buffered_bytes: 512 << 20,
            head_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(90),
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// What a server is made of.
#[derive(Clone)]
pub struct AppConfig {
    /// What answers.
    pub service: Arc<Service>,
    /// Who may ask; everybody when `None`, see [`super::refuse_open_listener`].
    pub keys: Option<Arc<KeyRing>>,
    /// Limits.
    pub limits: HttpLimits,
}

/// State of every handler.
#[derive(Clone)]
pub(super) struct App(Arc<Shared>);

/// What [`App`] points to.
pub(super) struct Shared {
    pub(super) service: Arc<Service>,
    pub(super) keys: Option<Arc<KeyRing>>,
    pub(super) limits: HttpLimits,
    pub(super) metrics: Metrics,
    pub(super) operations: Operations,
    /// KiB of bodies that may still be held.
    pub(super) memory: Arc<Semaphore>,
}

impl App {
    pub(super) fn new(config: AppConfig, document: &Value) -> Self {
        let memory = Arc::new(Semaphore::new(config.limits.buffered_bytes.div_ceil(1024)));
        let AppConfig { service, keys, limits } = config;
        let metrics = Metrics::clone(service.metrics());
        let operations = Operations::of(document);
        Self(Arc::new(Shared { service, keys, limits, metrics, operations, memory }))
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
