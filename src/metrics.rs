//! Prometheus metrics: requests by route, stages, queues, sizes; a cheap handle that every room may record into.
//! What is recorded within the task of a request is also kept for that request's `Server-Timing`.

use crate::scheduler::LaneCounts;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram};
use prometheus_client::registry::{Registry, Unit};
use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Media type of [`Metrics::encode`].
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds in seconds: from an index look-up (1 ms) to a request's time limit (90 s), about half a decade apart.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 90.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    method: &'static str,
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabel {
    queue: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WorkLabel {
    queue: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabel {
    webhook: String,
    state: &'static str,
}

tokio::task_local! {
    /// Stages of the request that the task answers, each with its summed time.
    static STAGES: RefCell<Vec<(&'static str, Duration)>>;
}

/// Runs `work`, and gives with its result the stages recorded within, in the order they first ended.
///
/// Kept with the task, not with its tracing span: spans have no identity where the log leaves their level out.
pub(crate) async fn with_stages<T>(work: impl Future<Output = T>) -> (T, Vec<(&'static str, Duration)>) {
    let work = async {
        let result = work.await;
        (result, STAGES.with(RefCell::take))
    };
    STAGES.scope(RefCell::default(), work).await
}

/// Every metric of the process; clones record into the same ones.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: Family<RequestLabel, Counter>,
    request_seconds: Family<RouteLabel, Histogram>,
    in_flight: Gauge,
    stage_seconds: Family<StageLabel, Histogram>,
    queue: Family<QueueLabel, Gauge>,
    work: Family<WorkLabel, Counter>,
    webhooks: Family<OutcomeLabel, Counter>,
    webhook_changes: Family<WebhookLabel, Gauge>,
    products: Gauge,
    images: Gauge,
    seq: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram = || Histogram::new(SECONDS);
        let mut registry = Registry::with_prefix("vitrine");
        let requests = Family::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        let request_seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        registry.register_with_unit(
            "http_request_duration",
            "Time from a request's head to its response's head",
            Unit::Seconds,
            request_seconds.clone(),
        );
        let in_flight = Gauge::default();
        registry.register("http_requests_in_flight", "Requests being answered", in_flight.clone());
        let stage_seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        registry.register_with_unit("stage_duration", "Time of one stage", Unit::Seconds, stage_seconds.clone());
        let queue = Family::default();
        registry.register("queue_waiting", "Pieces of work that wait for a thread", queue.clone());
        let work = Family::default();
        registry.register("work", "Pieces of work by what became of them", work.clone());
        let webhooks = Family::default();
        registry.register("webhook_attempts", "Changes sent to webhooks by what became of them", webhooks.clone());
        let webhook_changes = Family::default();
        registry.register(
            "webhook_changes",
            "Changes that a webhook is behind the log, that wait to be sent again, and that were given up",
            webhook_changes.clone(),
        );
        let (products, images, seq) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register("products", "Products in the store", products.clone());
        registry.register("images", "Images in the store", images.clone());
        registry.register("seq", "Sequence number of the store's last change", seq.clone());
        Self(Arc::new(Inner {
            registry,
            requests,
            request_seconds,
            in_flight,
            stage_seconds,
            queue,
            work,
            webhooks,
            webhook_changes,
            products,
            images,
            seq,
        }))
    }
}

impl Metrics {
    /// Records how long one stage took: `receive`, `wait`, `decode`, `resize`, `infer`, `mask`, `color`, `gather`, `stage`,
    /// `commit`, `search`.
    pub fn stage(&self, stage: &'static str, took: Duration) {
        self.0.stage_seconds.get_or_create(&StageLabel { stage }).observe(took.as_secs_f64());
        // Outside of a request (imports, re-analysis) there is nobody to tell.
        let _ = STAGES.try_with(|stages| {
            let mut stages = stages.borrow_mut();
            match stages.iter_mut().find(|(name, _)| *name == stage) {
                Some((_, sum)) => *sum += took,
                None => stages.push((stage, took)),
            }
        });
    }

    /// Sets how far webhooks are: of each its id, and how many changes it is behind, wait and were given up. Others are forgotten.
    pub fn webhook_changes(&self, webhooks: impl IntoIterator<Item = (String, [u64; 3])>) {
        self.0.webhook_changes.clear();
        for (webhook, counts) in webhooks {
            for (state, count) in ["behind", "waiting", "dead"].into_iter().zip(counts) {
                let label = WebhookLabel { webhook: webhook.clone(), state };
                self.0.webhook_changes.get_or_create(&label).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
    }

    /// Sets what became of the pieces of work of one queue.
    pub fn queue(&self, queue: &'static str, counts: &LaneCounts) {
        self.0.queue.get_or_create(&QueueLabel { queue }).set(gauge(counts.waiting as u64));
        let LaneCounts { waiting: _, done, refused, late, cancelled } = *counts;
        for (outcome, count) in [("done", done), ("refused", refused), ("late", late), ("cancelled", cancelled)] {
            // The queue counts for itself; this is its counter as it stands.
            self.0.work.get_or_create(&WorkLabel { queue, outcome }).inner().store(count, Ordering::Relaxed);
        }
    }

    /// Counts changes that webhooks took, that are sent again, and that were given up.
    pub fn webhooks(&self, taken: usize, again: usize, dead: usize) {
        for (outcome, count) in [("taken", taken), ("again", again), ("dead", dead)] {
            self.0.webhooks.get_or_create(&OutcomeLabel { outcome }).inc_by(count as u64);
        }
    }

    /// Sets the sizes of the store.
    pub fn store(&self, products: u64, images: u64, seq: u64) {
        self.0.products.set(gauge(products));
        self.0.images.set(gauge(images));
        self.0.seq.set(gauge(seq));
    }

    /// Text in the OpenMetrics format, [`OPENMETRICS`].
    ///
    /// # Errors
    /// Never in practice: writing to a string does not fail.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut buffer = String::new();
        text::encode(&mut buffer, &self.0.registry)?;
        Ok(buffer)
    }

    /// Counts a request in until the guard is dropped.
    pub(crate) fn enter(&self) -> InFlight {
        self.0.in_flight.inc();
        InFlight(self.0.in_flight.clone())
    }

    /// Records an answered request.
    pub(crate) fn request(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let route = route.to_owned();
        let label = RouteLabel { method, route: route.clone() };
        self.0.request_seconds.get_or_create(&label).observe(took.as_secs_f64());
        self.0.requests.get_or_create(&RequestLabel { method, route, status }).inc();
    }
}

/// Counts a request out when dropped, also when the client went away.
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn stages_are_summed_for_the_request_that_recorded_them() {
        let metrics = Metrics::default();
        let request = async {
            metrics.stage("infer", Duration::from_millis(2));
            metrics.stage("mask", Duration::from_millis(1));
            tokio::task::yield_now().await;
            metrics.stage("infer", Duration::from_millis(3));
            "answer"
        };
        let other = with_stages(async { metrics.stage("mask", Duration::from_millis(7)) });
        let ((answer, stages), ((), others)) = tokio::join!(with_stages(request), other);
        metrics.stage("infer", Duration::from_millis(1));
        assert_eq!(answer, "answer");
        assert_eq!(stages, [("infer", Duration::from_millis(5)), ("mask", Duration::from_millis(1))]);
        assert_eq!(others, [("mask", Duration::from_millis(7))]);
        let text = metrics.encode().unwrap();
        assert!(text.contains("vitrine_stage_duration_seconds_count{stage=\"infer\"} 3"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
