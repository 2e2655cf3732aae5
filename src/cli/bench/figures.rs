//! What was measured, as it is written to JSON.

use bytes::Bytes;
use serde::Serialize;
use std::collections::BTreeMap;

/// All that one run measured; parts that were not asked for are absent.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    /// Photos that were sent, over and over.
    pub(super) photos: usize,
    /// Their mean size in bytes.
    pub(super) mean_bytes: usize,
    /// Threads that look at photos; clients had the same cores.
    pub(super) threads: usize,
    /// What ran the model, where it was measured alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) engine: Option<String>,
    /// Photos a second of the bare engine, a value a round.
    pub(super) engine_per_s: Vec<f64>,
    /// Photos a second from upload to searchable, a value a round.
    pub(super) upload_per_s: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) idle: Option<Idle>,
    pub(super) similar: Vec<Similar>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) storefront: Option<Storefront>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) overload: Option<Overload>,
    /// Resident memory of the server in bytes, by when it was taken.
    pub(super) resident_bytes: Vec<(&'static str, u64)>,
    /// Answers other than the wanted ones, by part and status; 0: no answer.
    pub(super) unexpected: BTreeMap<String, usize>,
}

impl Figures {
    pub(super) fn new(photos: &[Bytes], threads: usize) -> Self {
        Self {
            photos: photos.len(),
            mean_bytes: photos.iter().map(Bytes::len).sum::<usize>() / photos.len().max(1),
            threads,
            engine: None,
            engine_per_s: Vec::new(),
            upload_per_s: Vec::new(),
            idle: None,
            similar: Vec::new(),
            storefront: None,
            overload: None,
            resident_bytes: Vec::new(),
            unexpected: BTreeMap::new(),
        }
    }
}

/// Latency in milliseconds that half and 99 of 100 requests keep to.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Latency {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

impl Latency {
    /// Of times in milliseconds: the least that so large a share keeps to.
    pub(super) fn of(times: impl IntoIterator<Item = f64>) -> Self {
        let mut times: Vec<f64> = times.into_iter().collect();
        times.sort_by(f64::total_cmp);
        let rank = |share: f64| ((share * times.len() as f64).ceil() as usize).saturating_sub(1);
        let at = |share: f64| times.get(rank(share)).copied().unwrap_or(0.0);
        Self { p50_ms: at(0.5), p99_ms: at(0.99) }
    }
}

/// One upload at a time.
#[derive(Debug, Serialize)]
pub(super) struct Idle {
    pub(super) latency: Latency,
    /// Each stage as the server tells it.
    pub(super) stages: BTreeMap<String, Latency>,
    /// Median of a request's time less that of inference.
    pub(super) not_inference_ms: f64,
}

/// Searches over so many connections.
#[derive(Debug, Serialize)]
pub(super) struct Similar {
    pub(super) connections: usize,
    /// Requests a second, a value a round.
    pub(super) per_s: Vec<f64>,
    pub(super) latency: Latency,
}

/// Searches at a steady rate, without and with uploads that never stop.
#[derive(Debug, Serialize)]
pub(super) struct Storefront {
    pub(super) searches_per_s: f64,
    pub(super) idle: Latency,
    pub(super) busy: Latency,
    /// Photos a second without and with the searches.
    pub(super) uploads_alone_per_s: f64,
    pub(super) uploads_beside_per_s: f64,
}

/// More photos to analyze than can be.
#[derive(Debug, Serialize)]
pub(super) struct Overload {
    pub(super) capacity_per_s: f64,
    pub(super) offered_per_s: f64,
    pub(super) accepted: usize,
    pub(super) refused: usize,
    pub(super) accepted_latency: Latency,
    pub(super) refused_latency: Latency,
    /// `Retry-After` of refusals in seconds: least, median, most.
    pub(super) retry_after_s: [u64; 3],
    /// Seconds after the last of them was sent until a photo was answered as fast as at rest (within half as much again).
    pub(super) recovered_s: Option<f64>,
}

/// Middle of the values; 0 of none.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ranks() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-12);
        assert!(median(&[]).abs() < 1e-12);
        let Latency { p50_ms, p99_ms } = Latency::of((1..=200).rev().map(f64::from));
        assert_eq!((p50_ms as u32, p99_ms as u32), (100, 198));
        assert!(Latency::of([7.0]).p99_ms > 6.9);
    }
}
