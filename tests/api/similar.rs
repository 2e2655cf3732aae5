//! Similar products: what was acknowledged is found, what was deleted is not.

use super::photos::photo;
use super::server::{json, problem, start, with_query};
use image::ImageFormat::Png;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json as object};

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["product_id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_found_until_it_is_deleted() {
    let Some(server) = start().await else { return };
    for (id, seed) in [("a", 1), ("b", 2), ("c", 3)] {
        server.product(id).await;
        json(server.post_photo(&format!("/v1/products/{id}/images"), photo(Png, seed)), 201).await;
    }
    let page = json(server.post_photo("/v1/similar?limit=2", photo(Png, 2)), 200).await;
    assert_eq!(ids(&page)[0], "b");
    assert_eq!(ids(&page).len(), 2);
    assert!(page["items"][0]["score"].as_f64().unwrap() > 0.999, "{page}");
    let of_a = json(server.get("/v1/products/a/similar"), 200).await;
    assert!(!ids(&of_a).contains(&"a") && ids(&of_a).len() == 2);
    let basket = json(server.post("/v1/similar").json(&object!({"product_ids": ["a", "b"], "limit": 5})), 200).await;
    assert_eq!(ids(&basket), ["c"]);
    let gone = server.request(Method::DELETE, "/v1/products/b").send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    let page = json(server.post_photo("/v1/similar", photo(Png, 2)), 200).await;
    assert!(!ids(&page).contains(&"b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_hold_in_query_and_body() {
    let Some(server) = start().await else { return };
    for (id, stock) in [("in", true), ("out", false)] {
        json(server.put(&format!("/v1/products/{id}")).json(&object!({"in_stock": stock})), 201).await;
        json(server.post_photo(&format!("/v1/products/{id}/images"), photo(Png, u8::from(stock))), 201).await;
    }
    let filter = r#"{"in_stock": true}"#;
    let raw = server.post_photo(&with_query("/v1/similar", &[("filter", filter)]), photo(Png, 0));
    assert_eq!(ids(&json(raw, 200).await), ["in"]);
    let body = object!({"product_ids": ["out"], "filter": {"in_stock": true}});
    assert_eq!(ids(&json(server.post("/v1/similar").json(&body), 200).await), ["in"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn baskets_that_cannot_be() {
    let Some(server) = start().await else { return };
    server.product("bare").await;
    let basket = |ids: Value| server.post("/v1/similar").json(&object!({"product_ids": ids}));
    problem(basket(object!([])), 400, "invalid-parameter").await;
    problem(basket(object!(vec!["x"; 11])), 400, "invalid-parameter").await;
    problem(basket(object!(["nobody"])), 404, "unknown-product").await;
    problem(basket(object!(["bare"])), 422, "invalid-query").await;
}
