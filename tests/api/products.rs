//! Metadata, records, corrections, repeated writes.

use super::server::{json, problem, start};
use reqwest::{Method, StatusCode};
use serde_json::json as object;

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_made_changed_listed_and_deleted() {
    let Some(server) = start().await else { return };
    // A slash, a space and letters of another script, percent-encoded.
    let path = "/v1/products/SKU%2F1%20%E9%80%A3%E8%A1%A3%E8%A3%99";
    let made = json(server.put(path).json(&object!({"title": "Dress", "price": 59.9, "in_stock": true})), 201).await;
    assert_eq!(made["product_id"], "SKU/1 連衣裙");
    let changed = json(server.put(path).json(&object!({"price": null, "tags": ["new"]})), 200).await;
    assert_eq!((&changed["title"], &changed["price"]), (&object!("Dress"), &object!(null)));
    assert_eq!(json(server.get(path), 200).await, changed);
    let page = json(server.get_with("/v1/products", &[("filter", r#"{"in_stock": true}"#)]), 200).await;
    assert_eq!(page["items"], object!([changed]));
    let gone = server.request(Method::DELETE, path).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    problem(server.get(path), 404, "unknown-product").await;
    problem(server.request(Method::DELETE, path), 404, "unknown-product").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other() {
    let Some(server) = start().await else { return };
    for id in ["a", "b", "c"] {
        server.product(id).await;
    }
    let first = json(server.get("/v1/products?limit=2"), 200).await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = json(server.get_with("/v1/products", &[("limit", "2"), ("cursor", cursor)]), 200).await;
    assert_eq!(second["items"][0]["product_id"], "c");
    assert!(second.get("next_cursor").is_none_or(serde_json::Value::is_null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_write_is_done_once() {
    let Some(server) = start().await else { return };
    let put =
        |title: &str| server.put("/v1/products/p").header("idempotency-key", "k-1").json(&object!({"title": title}));
    let first = put("one").send().await.unwrap();
    assert_eq!(first.status(), StatusCode::CREATED);
    assert!(first.headers().get("idempotency-replayed").is_none());
    let first = first.bytes().await.unwrap();
    let again = put("one").send().await.unwrap();
    assert_eq!(
        (again.status(), &again.headers()["idempotency-replayed"]),
        (StatusCode::CREATED, &"true".parse().unwrap())
    );
    assert_eq!(again.bytes().await.unwrap(), first);
    problem(put("two"), 409, "idempotency-conflict").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn corrections_outside_of_the_taxonomy_are_refused() {
    let Some(server) = start().await else { return };
    server.product("p").await;
    let patch = |body| server.request(Method::PATCH, "/v1/products/p/attributes").json(&body);
    let refused = problem(patch(object!({"pattern": "no such pattern"})), 422, "unknown-attribute").await;
    assert!(refused["expected"].as_str().unwrap().contains("striped"), "{refused}");
    problem(patch(object!({"no such attribute": "x"})), 422, "unknown-attribute").await;
    let corrected = json(patch(object!({"pattern": "striped"})), 200).await;
    let pattern = corrected["attributes"].as_array().unwrap().iter().find(|a| a["name"] == "pattern").unwrap();
    assert_eq!((&pattern["value"], &pattern["source"]), (&object!("striped"), &object!("correction")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_record_is_not_sent_again() {
    let Some(server) = start().await else { return };
    server.product("p").await;
    let first = server.get("/v1/products/p").send().await.unwrap();
    let tag = first.headers()["etag"].clone();
    let again = server.get("/v1/products/p").header("if-none-match", &tag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    json(server.put("/v1/products/p").json(&object!({"title": "new"})), 200).await;
    let changed = server.get("/v1/products/p").header("if-none-match", &tag).send().await.unwrap();
    assert_eq!(changed.status(), StatusCode::OK);
}
