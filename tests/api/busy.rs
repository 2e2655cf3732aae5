//! What a server that has no time says, and to whom.

use super::photos::jpeg;
use super::server::{is_problem, json, problem, start_with, start_with_bulk_queue};
use futures_util::{StreamExt, stream};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use vitrine::http::{HttpLimits, KeyRing};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_lane_refuses_at_once_and_leaves_the_other_alone() {
    let Some(server) = start_with_bulk_queue(0).await else { return };
    server.product("p").await;
    let response = server.post_photo("/v1/products/p/images", jpeg()).send().await.unwrap();
    let seconds: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    is_problem(response, 503, "overloaded").await;
    json(server.post_photo("/v1/analyze", jpeg()), 200).await;
    let metrics = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    for (queue, outcome, count) in [("photos_bulk", "refused", 1), ("photos_interactive", "done", 1)] {
        let line = format!("vitrine_work_total{{queue=\"{queue}\",outcome=\"{outcome}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_gets_429_for_more_requests_than_it_may_have_under_way() {
    let sha256 = |key: &str| hex::encode(Sha256::digest(key));
    let keys = serde_json::json!([
        {"id": "one", "sha256": sha256("one"), "scopes": ["search"], "max_concurrent": 1},
        {"id": "other", "sha256": sha256("other"), "scopes": ["admin"]}
    ]);
    let keys = KeyRing::parse(&keys.to_string()).unwrap();
    let Some(server) = start_with(Some(keys), HttpLimits::default()).await else { return };
    let analyze = |key: &str| server.post_photo("/v1/analyze", jpeg()).bearer_auth(key);
    // The body of the first request ends when it is told to: until then its place is taken.
    let (end, ended) = oneshot::channel::<()>();
    let (half, rest) = (jpeg()[..100].to_vec(), jpeg()[100..].to_vec());
    let body = stream::once(async move { Ok::<_, std::io::Error>(half) }).chain(stream::once(async move {
        let _ = ended.await;
        Ok(rest)
    }));
    let first = tokio::spawn(analyze("one").body(reqwest::Body::wrap_stream(body)).send());
    // Beside the one that asks.
    let both = "vitrine_http_requests_in_flight 2\n";
    let metrics = || async { server.get("/metrics").bearer_auth("other").send().await.unwrap().text().await.unwrap() };
    while !metrics().await.contains(both) {
        tokio::task::yield_now().await;
    }
    let refused = analyze("one").send().await.unwrap();
    assert_eq!(refused.headers()["retry-after"], "1");
    let refused = is_problem(refused, 429, "key-busy").await;
    assert_eq!(refused["limit"], 1);
    json(analyze("other"), 200).await;
    end.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    json(analyze("one"), 200).await;
    problem(server.post_photo("/v1/analyze", jpeg()), 401, "unauthorized").await;
}
