//! The feed: a consumer that keeps a copy of the catalog by it has the catalog.

use super::photos::{jpeg, photo};
use super::server::{Server, json, problem, start};
use image::ImageFormat;
use reqwest::{Method, Response};
use serde_json::{Map, Value, json as object};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

async fn records(response: Response) -> (Vec<Value>, u64) {
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let source = response.headers()["feed-source"].clone();
    let next = response.headers()["feed-next-after"].to_str().unwrap().parse().unwrap();
    let text = response.text().await.unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(records.iter().all(|record| record["source"] == source.to_str().unwrap()));
    (records, next)
}

async fn feed(server: &Server, query: &str) -> (Vec<Value>, u64) {
    records(server.get(&format!("/v1/feed?{query}")).send().await.unwrap()).await
}

fn kinds(records: &[Value]) -> Vec<&str> {
    records.iter().map(|r| r["type"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_come_once_in_order_as_cloud_events() {
    let Some(server) = start().await else { return };
    server.product("a").await;
    json(server.post_photo("/v1/products/a/images", jpeg()), 201).await;
    json(server.put("/v1/products/b").json(&object!({"title": "B"})), 201).await;
    let delete = server.request(Method::DELETE, "/v1/products/b").send().await.unwrap();
    assert_eq!(delete.status(), 204);
    let (all, next) = feed(&server, "").await;
    let expected = ["product_upserted", "image_upserted", "product_upserted", "product_deleted"];
    assert_eq!(kinds(&all), expected.map(|kind| format!("vitrine.{kind}.v1")));
    assert_eq!(next, 4);
    for (record, seq) in all.iter().zip(1..) {
        assert_eq!((&record["seq"], &record["id"]), (&object!(seq), &object!(seq.to_string())));
        assert_eq!((&record["specversion"], &record["source"]), (&object!("1.0"), &all[0]["source"]));
        assert_eq!(record["subject"], record["data"]["product_id"]);
    }
    let stored = json(server.get("/v1/products/a"), 200).await;
    assert_eq!(all[1]["data"]["image"], stored["images"][0]);
    assert_eq!(all[1]["data"]["attributes"], stored["attributes"]);
    assert_eq!(all[2]["data"]["metadata"]["title"], "B");
    // In pieces, and of some kinds: the place to go on is behind what was left out.
    let (first, next) = feed(&server, "limit=3").await;
    assert_eq!((first, next), (all[..3].to_vec(), 3));
    assert_eq!(feed(&server, "after=3").await, (all[3..].to_vec(), 4));
    assert_eq!(feed(&server, "kind=image_upserted").await, (all[1..2].to_vec(), 4));
    assert_eq!(feed(&server, "kind=image_upserted&limit=1").await, (all[1..2].to_vec(), 2));
    assert_eq!(feed(&server, "kind=image_deleted,product_deleted&after=1").await, (all[3..].to_vec(), 4));
    assert_eq!(feed(&server, "after=4").await, (Vec::new(), 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_waits_for_what_it_wants_and_no_longer_than_the_server_lives() {
    let Some(server) = start().await else { return };
    let waiting = tokio::spawn(server.get("/v1/feed?wait_s=60&kind=product_deleted").send());
    server.product("a").await;
    server.product("b").await;
    assert_eq!(server.request(Method::DELETE, "/v1/products/a").send().await.unwrap().status(), 204);
    let (found, next) = records(waiting.await.unwrap().unwrap()).await;
    assert_eq!((kinds(&found), next), (vec!["vitrine.product_deleted.v1"], 3));
    let begun = Instant::now();
    assert_eq!(feed(&server, "after=3&wait_s=1").await, (Vec::new(), 3));
    assert!(begun.elapsed() >= Duration::from_secs(1), "nobody waited");
    // Both are under way before the server is told to stop: the second is answered, or refused with its listener.
    let waiting = tokio::spawn(server.get("/v1/feed?after=3&wait_s=60").send());
    while !json(server.get("/health/live"), 200).await.is_object() || !in_flight(&server, 2).await {
        tokio::task::yield_now().await;
    }
    let begun = Instant::now();
    server.stop().await.unwrap();
    assert_eq!(records(waiting.await.unwrap().unwrap()).await, (Vec::new(), 3));
    assert!(begun.elapsed() < Duration::from_secs(30), "the wait went on");
}

async fn in_flight(server: &Server, count: usize) -> bool {
    let metrics = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    metrics.contains(&format!("vitrine_http_requests_in_flight {count}\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_of_this_log_is_refused() {
    let Some(server) = start().await else { return };
    server.product("a").await;
    let beyond = problem(server.get("/v1/feed?after=2"), 410, "beyond-log").await;
    assert_eq!((&beyond["expected"], &beyond["received"]), (&object!("a sequence number up to 1"), &object!("2")));
    for (query, kind) in [
        ("after=-1", "invalid-parameter"),
        ("after=x", "invalid-parameter"),
        ("limit=0", "invalid-parameter"),
        ("limit=10001", "invalid-parameter"),
        ("wait_s=61", "invalid-parameter"),
        ("kind=", "invalid-parameter"),
        ("kind=image_upserted,other", "invalid-parameter"),
        ("since=1", "unknown-parameter"),
    ] {
        problem(server.get(&format!("/v1/feed?{query}")), 400, kind).await;
    }
    for cursor in ["x", "!", "MQ", "YS9i", "MS8"] {
        problem(server.get(&format!("/v1/feed/snapshot?cursor={cursor}")), 400, "invalid-cursor").await;
    }
    // Cursors of one listing are none of another.
    server.product("7%2Fx").await;
    let products = json(server.get("/v1/products?limit=1"), 200).await;
    let of_products = products["next_cursor"].as_str().unwrap_or("none").to_owned();
    problem(server.get(&format!("/v1/feed/snapshot?cursor={of_products}")), 400, "invalid-cursor").await;
    let page = server.get("/v1/feed/snapshot?limit=1").send().await.unwrap();
    let of_snapshot = page.headers()["feed-next-cursor"].to_str().unwrap();
    problem(server.get(&format!("/v1/products?cursor={of_snapshot}")), 400, "invalid-cursor").await;
}

/// A copy of the catalog, kept by the records alone.
#[derive(Default)]
struct Copy {
    products: BTreeMap<String, Map<String, Value>>,
    after: u64,
}

impl Copy {
    fn apply(&mut self, record: &Value) {
        let data = &record["data"];
        let Some(id) = data["product_id"].as_str() else { return };
        let kind = record["type"].as_str().unwrap();
        if kind == "vitrine.product_deleted.v1" {
            self.products.remove(id);
            return;
        }
        let own = self.products.entry(id.to_owned()).or_default();
        for part in ["metadata", "attributes", "images"] {
            if let Some(value) = data.get(part) {
                own.insert(part.to_owned(), value.clone());
            }
        }
        let images = own.entry("images").or_insert_with(|| object!([])).as_array_mut().unwrap();
        let at = images.iter().position(|image| image["image_id"] == data["image_id"]);
        match (data.get("image"), at) {
            (Some(image), Some(at)) => images[at] = image.clone(),
            (Some(image), None) => images.push(image.clone()),
            (None, Some(at)) if kind == "vitrine.image_deleted.v1" => drop(images.remove(at)),
            _ => {}
        }
    }

    async fn follow(&mut self, server: &Server, limit: usize) {
        loop {
            let (records, next) = feed(server, &format!("after={}&limit={limit}", self.after)).await;
            records.iter().for_each(|record| self.apply(record));
            if next == self.after {
                return;
            }
            self.after = next;
        }
    }

    async fn assert_is(&self, server: &Server) {
        let page = json(server.get("/v1/products?limit=1000"), 200).await;
        let stored = page["items"].as_array().unwrap();
        assert_eq!(stored.len(), self.products.len());
        for product in stored {
            let own = &self.products[product["product_id"].as_str().unwrap()];
            assert_eq!(own["images"], product["images"]);
            assert_eq!(own["attributes"], product["attributes"]);
            for field in ["title", "price", "tags"] {
                let known = own["metadata"].get(field).cloned().unwrap_or_default();
                assert!(known == product[field] || known.is_null() && product[field] == object!([]), "{field}");
            }
        }
    }
}

/// One of many writes: products and images come, change, are corrected and go.
async fn write(server: &Server, n: u8) {
    let id = format!("p{}", n % 7);
    let product = format!("/v1/products/{id}");
    let request = match n % 5 {
        0 | 3 => server.put(&product).json(&object!({"title": format!("title {n}"), "price": n, "tags": ["new"]})),
        1 => server.post_photo(&format!("{product}/images"), photo(ImageFormat::Jpeg, n % 3)),
        2 => server.request(Method::PATCH, &format!("{product}/attributes")).json(&object!({"pattern": "striped"})),
        _ => server.request(Method::DELETE, &product),
    };
    // Some name a product that is gone: no change.
    assert!([200, 201, 204, 404].contains(&request.send().await.unwrap().status().as_u16()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_kept_by_the_feed_is_the_catalog() {
    let Some(server) = start().await else { return };
    let mut by_log = Copy::default();
    for n in 0..40 {
        write(&server, n).await;
        if n % 9 == 0 {
            by_log.follow(&server, 1 + usize::from(n % 4)).await;
        }
    }
    // The snapshot is read in pieces while writes go on.
    let mut by_snapshot = Copy::default();
    let mut cursor = None::<String>;
    let mut pages = 0;
    loop {
        let at = cursor.as_ref().map(|c| format!("&cursor={c}")).unwrap_or_default();
        let page = server.get(&format!("/v1/feed/snapshot?limit=2{at}")).send().await.unwrap();
        cursor = page.headers().get("feed-next-cursor").map(|c| c.to_str().unwrap().to_owned());
        let (records, next) = records(page).await;
        by_snapshot.after = next;
        records.iter().for_each(|record| by_snapshot.apply(record));
        pages += 1;
        write(&server, 40 + pages).await;
        if cursor.is_none() {
            break;
        }
    }
    assert!(pages > 1);
    for copy in [&mut by_log, &mut by_snapshot] {
        copy.follow(&server, 3).await;
        copy.assert_is(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_behind_what_is_kept_begins_anew() {
    let Some(server) = start().await else { return };
    for id in ["a", "b", "c"] {
        server.product(id).await;
    }
    let conn = rusqlite::Connection::open(server.data().join("catalog.sqlite3")).unwrap();
    conn.busy_timeout(Duration::from_secs(5)).unwrap();
    conn.execute("DELETE FROM changes WHERE seq <= 2", []).unwrap();
    let behind = problem(server.get("/v1/feed?after=1"), 410, "before-log").await;
    assert_eq!(
        (&behind["received"], behind["expected"].as_str().unwrap().contains("at least 2")),
        (&object!("1"), true)
    );
    problem(server.get("/v1/feed"), 410, "before-log").await;
    assert_eq!(feed(&server, "after=2").await.0.len(), 1);
    let snapshot = server.get("/v1/feed/snapshot").send().await.unwrap();
    assert_eq!(snapshot.headers()["feed-next-after"], "3");
}
