//! Keys and scopes, as the document has them.

use super::photos::jpeg;
use super::server::{Server, is_problem, json, problem, start_with};
use reqwest::RequestBuilder;
use sha2::{Digest, Sha256};
use vitrine::http::{HttpLimits, KeyRing};

async fn server() -> Option<Server> {
    let key = |name: &str| serde_json::json!({"id": name, "sha256": hex::encode(Sha256::digest(format!("key of {name}"))), "scopes": [name]});
    let keys = serde_json::json!([key("ingest"), key("search"), key("admin")]);
    start_with(Some(KeyRing::parse(&keys.to_string()).unwrap()), HttpLimits::default()).await
}

fn with(request: RequestBuilder, name: &str) -> RequestBuilder {
    request.bearer_auth(format!("key of {name}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_needs_its_scope() {
    let Some(server) = server().await else { return };
    let missing = server.get("/v1/products").send().await.unwrap();
    assert!(missing.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    is_problem(missing, 401, "unauthorized").await;
    problem(with(server.get("/v1/products"), "nobody"), 401, "unauthorized").await;
    let put = || server.put("/v1/products/p").json(&serde_json::json!({}));
    let refused = problem(with(put(), "search"), 403, "missing-scope").await;
    assert_eq!(refused["expected"], "ingest");
    json(with(put(), "ingest"), 201).await;
    json(with(put(), "admin"), 200).await;
    json(with(server.get("/v1/products/p"), "search"), 200).await;
    json(with(server.post_photo("/v1/analyze", jpeg()), "search"), 200).await;
    problem(with(server.post_photo("/v1/similar", jpeg()), "ingest"), 403, "missing-scope").await;
    problem(with(server.get("/metrics"), "search"), 403, "missing-scope").await;
    assert!(with(server.get("/metrics"), "admin").send().await.unwrap().status().is_success());
    for open in ["/health/live", "/health/ready", "/openapi.json", "/docs", "/problems/unauthorized"] {
        assert!(server.get(open).send().await.unwrap().status().is_success(), "{open}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_do_not_see_each_others_idempotency_keys() {
    let Some(server) = server().await else { return };
    let put = |title: &str, name| {
        let put = server.put("/v1/products/p").header("idempotency-key", "same");
        with(put.json(&serde_json::json!({"title": title})), name)
    };
    json(put("one", "ingest"), 201).await;
    json(put("two", "admin"), 200).await;
    problem(put("two", "ingest"), 409, "idempotency-conflict").await;
}
