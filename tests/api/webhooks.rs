//! Webhooks: what changes reaches a receiver, signed and in order, whatever the receiver is like for a while.

use super::server::{Server, json, problem, start, start_fetching, start_fetching_over, start_giving_up};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use reqwest::Method;
use serde_json::{Value, json as object};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use vitrine::feed::{WEBHOOK_HEADERS, webhook_headers};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Longest wait for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

type Mood = Box<dyn Fn(&Value) -> StatusCode + Send + Sync>;

/// A receiver in some mood, and what it was sent.
struct Receiver {
    address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    mood: Mutex<Mood>,
    taken: Mutex<Vec<(HeaderMap, String)>>,
    asked: Mutex<HashMap<String, usize>>,
}

impl Receiver {
    async fn start(mood: impl Fn(&Value) -> StatusCode + Send + Sync + 'static) -> Self {
        let inner =
            Arc::new(Inner { mood: Mutex::new(Box::new(mood)), taken: Mutex::default(), asked: Mutex::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/hook", post(receive)).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, inner }
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    fn is_now(&self, mood: impl Fn(&Value) -> StatusCode + Send + Sync + 'static) {
        *self.inner.mood.lock().unwrap() = Box::new(mood);
    }

    fn taken(&self) -> Vec<Value> {
        self.inner.taken.lock().unwrap().iter().map(|(_, body)| serde_json::from_str(body).unwrap()).collect()
    }

    /// What it took, once it is so many.
    async fn wait_for(&self, count: usize) -> Vec<Value> {
        until(|| async { self.taken().len() >= count }).await;
        let taken = self.taken();
        assert_eq!(taken.len(), count, "{taken:?}");
        taken
    }

    /// How often it was asked to take a change of that product.
    fn asked(&self, product_id: &str) -> usize {
        self.inner.asked.lock().unwrap().get(product_id).copied().unwrap_or(0)
    }
}

async fn receive(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: String) -> StatusCode {
    let event: Value = serde_json::from_str(&body).unwrap();
    *inner.asked.lock().unwrap().entry(event["subject"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    let status = inner.mood.lock().unwrap()(&event);
    if status.is_success() {
        inner.taken.lock().unwrap().push((headers, body));
    }
    status
}

/// Looks again and again, for what nothing tells of.
async fn until<F: Future<Output = bool>>(is_so: impl Fn() -> F) {
    let looking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("it comes to be so in time");
}

async fn hook(server: &Server, body: Value) -> String {
    json(server.post("/v1/webhooks").json(&body), 201).await["id"].as_str().unwrap().to_owned()
}

async fn change(server: &Server, product_id: &str, title: &str) {
    let put = server.put(&format!("/v1/products/{product_id}")).json(&object!({"title": title}));
    assert!(put.send().await.unwrap().status().is_success());
}

fn titles(taken: &[Value], product_id: &str) -> Vec<String> {
    let of_product = taken.iter().filter(|event| event["subject"] == product_id);
    of_product.map(|event| event["data"]["metadata"]["title"].as_str().unwrap().to_owned()).collect()
}

fn is_signed(headers: &HeaderMap, body: &str, secret: &str) -> bool {
    let [id, at, signatures] = WEBHOOK_HEADERS.map(|name| headers[name].to_str().unwrap());
    let [_, _, expected] = webhook_headers(id, at.parse().unwrap(), body, std::iter::once(secret));
    signatures.split(' ').any(|signature| signature == expected)
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_come_signed_and_in_order() {
    let receiver = Receiver::start(|_| StatusCode::NO_CONTENT).await;
    let Some(server) = start_fetching(&receiver.address.to_string(), 5_000).await else { return };
    change(&server, "before", "0").await;
    let id = hook(&server, object!({"url": receiver.url(), "secret": SECRET})).await;
    // One that wants the log from its first change on, but deletions only.
    let other = Receiver::start(|_| StatusCode::OK).await;
    problem(server.post("/v1/webhooks").json(&object!({"url": other.url()})), 400, "invalid-parameter").await;
    let of_kinds =
        hook(&server, object!({"url": receiver.url(), "kinds": ["product_deleted", "job_ended"], "after": 0})).await;
    for title in ["1", "2", "3"] {
        change(&server, "a", title).await;
        change(&server, "b", title).await;
    }
    assert_eq!(server.request(Method::DELETE, "/v1/products/b").send().await.unwrap().status(), 204);
    let taken = receiver.wait_for(8).await;
    assert_eq!(titles(&taken, "a"), ["1", "2", "3"]);
    // Two endpoints took the deletion, which comes last of its product.
    let of_b: Vec<&Value> = taken.iter().filter(|event| event["subject"] == "b").collect();
    let deleted = of_b.iter().filter(|event| event["type"] == "vitrine.product_deleted.v1").count();
    assert_eq!((of_b.len(), deleted), (5, 2));
    // What is sent is what the feed has.
    let feed = server.get("/v1/feed?after=1").send().await.unwrap().text().await.unwrap();
    for line in feed.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert!(taken.contains(&record), "{record}");
    }
    let sent = receiver.inner.taken.lock().unwrap().clone();
    let signed = sent.iter().filter(|(headers, body)| is_signed(headers, body, SECRET)).count();
    assert_eq!(signed, 7);
    let (headers, _) = &sent[0];
    assert_eq!(
        (&headers["content-type"], &headers["accept"]),
        (&"application/cloudevents+json".parse().unwrap(), &"*/*".parse().unwrap())
    );
    let source =
        feed.lines().next().map(|line| serde_json::from_str::<Value>(line).unwrap()["source"].clone()).unwrap();
    let catalog = source.as_str().unwrap().strip_prefix("urn:uuid:").unwrap().to_owned();
    assert!(headers["webhook-id"].to_str().unwrap().starts_with(&format!("msg_{catalog}_")));
    // With another secret the old one signs for a while; whoever asks twice gets one.
    let rotate = || server.post(&format!("/v1/webhooks/{id}/secret")).header("idempotency-key", "r").json(&object!({}));
    let rotated = json(rotate(), 200).await;
    assert_eq!(json(rotate(), 200).await["secret"], rotated["secret"]);
    let secret = rotated["secret"].as_str().unwrap().to_owned();
    change(&server, "a", "4").await;
    receiver.wait_for(9).await;
    let sent = receiver.inner.taken.lock().unwrap().last().unwrap().clone();
    assert!(is_signed(&sent.0, &sent.1, SECRET) && is_signed(&sent.0, &sent.1, &secret));
    let at_once = json(server.post(&format!("/v1/webhooks/{id}/secret")).json(&object!({"overlap_s": 0})), 200).await;
    change(&server, "a", "5").await;
    receiver.wait_for(10).await;
    let sent = receiver.inner.taken.lock().unwrap().last().unwrap().clone();
    assert!(is_signed(&sent.0, &sent.1, at_once["secret"].as_str().unwrap()));
    assert!(!is_signed(&sent.0, &sent.1, SECRET) && !is_signed(&sent.0, &sent.1, &secret));
    // Secrets are told once.
    let all = json(server.get("/v1/webhooks"), 200).await;
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    assert!(all["items"].as_array().unwrap().iter().all(|hook| hook.get("secret").is_none()), "{all}");
    // The end of a job is a change like any other.
    let job = server.post("/v1/jobs").header("content-type", "text/csv").body("product_id,title\na,6\nnone,7\n");
    let job = json(job, 202).await;
    let taken = receiver.wait_for(13).await;
    let ended: Vec<&Value> = taken.iter().filter(|event| event["type"] == "vitrine.job_ended.v1").collect();
    assert_eq!(ended.len(), 2);
    let (told, ended) = (&ended[0]["data"]["job"], ["done", "total", "failed"]);
    assert_eq!((&told["id"], &told["state"]), (&job["id"], &object!("done")));
    assert_eq!(ended.map(|name| told[name].as_u64().unwrap()), [1, 2, 1]);
    // One that is paused takes nothing, and goes on where it was.
    json(server.request(Method::PATCH, &format!("/v1/webhooks/{id}")).json(&object!({"state": "paused"})), 200).await;
    let gone = server.request(Method::DELETE, &format!("/v1/webhooks/{of_kinds}")).send().await.unwrap();
    assert_eq!(gone.status(), 204);
    change(&server, "a", "8").await;
    json(server.request(Method::PATCH, &format!("/v1/webhooks/{id}")).json(&object!({"state": "active"})), 200).await;
    let taken = receiver.wait_for(14).await;
    assert_eq!(titles(&taken, "a"), ["1", "2", "3", "4", "5", "6", "8"]);
    let seq = json(server.get("/v1/products/a"), 200).await["seq"].clone();
    until(|| async { json(server.get(&format!("/v1/webhooks/{id}")), 200).await["cursor"] == seq }).await;
}

fn refuses_bad(event: &Value) -> StatusCode {
    if event["subject"] == "bad" { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_product_cannot_deliver_holds_up_no_other() {
    let receiver = Receiver::start(refuses_bad).await;
    let Some(server) = start_fetching(&receiver.address.to_string(), 5_000).await else { return };
    let id = hook(&server, object!({"url": receiver.url()})).await;
    change(&server, "bad", "1").await;
    until(|| async { receiver.asked("bad") > 0 }).await;
    for title in ["1", "2"] {
        change(&server, "good", title).await;
        change(&server, "bad", "2").await;
    }
    assert_eq!(titles(&receiver.wait_for(2).await, "good"), ["1", "2"]);
    until(|| async { receiver.asked("bad") > 2 }).await;
    let path = format!("/v1/webhooks/{id}/deliveries");
    let waiting = json(server.get(&path), 200).await["items"].clone();
    let told: Vec<_> =
        waiting.as_array().unwrap().iter().map(|item| (&item["state"], &item["status"], &item["product_id"])).collect();
    let [state, bad] = [object!("waiting"), object!("bad")];
    assert_eq!(told, [(&state, &object!(500), &bad), (&state, &Value::Null, &bad)]);
    // The one behind has no time of its own.
    assert_eq!((&waiting[1]["next_at"], &waiting[1]["attempts"]), (&Value::Null, &object!(0)));
    receiver.is_now(|_| StatusCode::OK);
    assert_eq!(titles(&receiver.wait_for(4).await, "bad"), ["1", "2"]);
    until(|| async { json(server.get(&path), 200).await["items"] == object!([]) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_for_long_is_given_up_and_sent_again_on_request() {
    let receiver = Receiver::start(refuses_bad).await;
    let Some(server) = start_giving_up(&receiver.address.to_string(), Duration::from_secs(2)).await else { return };
    let id = hook(&server, object!({"url": receiver.url()})).await;
    change(&server, "bad", "1").await;
    change(&server, "bad", "2").await;
    let path = format!("/v1/webhooks/{id}/deliveries");
    // One after the other, and listed.
    until(|| async { json(server.get(&format!("/v1/webhooks/{id}")), 200).await["dead"] == 2 }).await;
    let metrics = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains(&format!("vitrine_webhook_changes{{webhook=\"{id}\",state=\"dead\"}} 2\n")), "{metrics}");
    let dead = json(server.get(&format!("{path}?state=dead&limit=1")), 200).await;
    assert_eq!((dead["items"].as_array().unwrap().len(), &dead["items"][0]["next_at"]), (1, &Value::Null));
    let rest = json(server.get(&format!("{path}?limit=1&cursor={}", dead["next_cursor"].as_str().unwrap())), 200).await;
    assert_eq!(rest["items"][0]["kind"], "product_upserted");
    assert_eq!(json(server.get(&format!("{path}?state=waiting")), 200).await["items"], object!([]));
    // Its later changes go their way again.
    receiver.is_now(|_| StatusCode::OK);
    change(&server, "bad", "3").await;
    assert_eq!(titles(&receiver.wait_for(1).await, "bad"), ["3"]);
    // And those that were given up, when somebody asks.
    let resend = server.post(&format!("/v1/webhooks/{id}/resend"));
    let one = json(resend.json(&object!({"seq": dead["items"][0]["seq"]})), 200).await;
    assert_eq!(one["resent"], 1);
    let all = json(server.post(&format!("/v1/webhooks/{id}/resend")).json(&object!({})), 200).await;
    assert!(all["resent"] == 1, "{all}");
    assert_eq!(titles(&receiver.wait_for(3).await, "bad").len(), 3);
    until(|| async { json(server.get(&path), 200).await["items"] == object!([]) }).await;
    problem(server.post(&format!("/v1/webhooks/{id}/resend")).json(&object!({"seq": 1})), 404, "unknown-delivery")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dies_while_nothing_is_taken_comes_when_something_is() {
    let receiver = Receiver::start(|_| StatusCode::SERVICE_UNAVAILABLE).await;
    let Some(server) = start_giving_up(&receiver.address.to_string(), Duration::from_secs(1)).await else { return };
    let id = hook(&server, object!({"url": receiver.url()})).await;
    for n in 0..100 {
        change(&server, &format!("p{}", n % 10), &n.to_string()).await;
    }
    // Longer than anything is tried for, and never more than was begun with.
    until(|| async { json(server.get(&format!("/v1/webhooks/{id}")), 200).await["dead"].as_u64().unwrap() > 5 }).await;
    let told = json(server.get(&format!("/v1/webhooks/{id}")), 200).await;
    assert!(told["dead"].as_u64().unwrap() + told["waiting"].as_u64().unwrap() <= 70, "{told}");
    receiver.is_now(|_| StatusCode::OK);
    let taken = receiver.wait_for(100).await;
    for product in 0..10 {
        let titles: Vec<usize> = titles(&taken, &format!("p{product}")).iter().map(|t| t.parse().unwrap()).collect();
        assert_eq!(titles, (0..10).map(|round| round * 10 + product).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_down_for_a_while_misses_nothing() {
    let receiver = Receiver::start(|_| StatusCode::SERVICE_UNAVAILABLE).await;
    let Some(server) = start_fetching(&receiver.address.to_string(), 5_000).await else { return };
    let id = hook(&server, object!({"url": receiver.url(), "after": 0})).await;
    for n in 0..200 {
        change(&server, &format!("p{}", n % 20), &n.to_string()).await;
    }
    until(|| async { json(server.get(&format!("/v1/webhooks/{id}")), 200).await["waiting"] != 0 }).await;
    // While nothing is taken the log waits, not a copy of it.
    let told = json(server.get(&format!("/v1/webhooks/{id}")), 200).await;
    assert!(told["waiting"].as_u64().unwrap() <= 64, "{told}");
    // It goes on after a stop of the service, too.
    let data = server.stop_keeping_data().await;
    receiver.is_now(|_| StatusCode::OK);
    let allowed = receiver.address.to_string();
    let server = start_fetching_over(&allowed, data).await;
    let taken = receiver.wait_for(200).await;
    for product in 0..20 {
        let titles: Vec<usize> = titles(&taken, &format!("p{product}")).iter().map(|t| t.parse().unwrap()).collect();
        let expected: Vec<usize> = (0..10).map(|round| round * 20 + product).collect();
        assert_eq!(titles, expected);
    }
    until(|| async { json(server.get(&format!("/v1/webhooks/{id}")), 200).await["waiting"] == 0 }).await;
    // 410: it does not want any more, and is left alone until somebody says otherwise.
    receiver.is_now(|_| StatusCode::GONE);
    change(&server, "p0", "gone").await;
    until(|| async { json(server.get(&format!("/v1/webhooks/{id}")), 200).await["state"] == "disabled" }).await;
    receiver.is_now(|_| StatusCode::OK);
    let patch = server.request(Method::PATCH, &format!("/v1/webhooks/{id}"));
    let active = json(patch.json(&object!({"state": "active", "description": "back"})), 200).await;
    assert_eq!((&active["reason"], &active["description"]), (&Value::Null, &object!("back")));
    let patch = server.request(Method::PATCH, &format!("/v1/webhooks/{id}"));
    assert_eq!(json(patch.json(&object!({"description": ""})), 200).await["description"], Value::Null);
    receiver.wait_for(201).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_webhook_is_refused() {
    let Some(server) = start().await else { return };
    let refused = [
        object!({"url": "ftp://shop.example/hook"}),
        object!({"url": "http://127.0.0.1:9/hook"}),
        object!({"url": "http://[::1]/hook"}),
        object!({"url": "http://169.254.169.254/latest"}),
        object!({"url": "https://user:password@shop.example/hook"}),
        object!({"url": "hook"}),
        object!({"url": format!("https://shop.example/{}", "x".repeat(2_048))}),
        object!({"url": "https://shop.example/hook", "secret": "secret"}),
        object!({"url": "https://shop.example/hook", "after": 1}),
        object!({"url": "https://shop.example/hook", "description": "x".repeat(201)}),
    ];
    for body in refused {
        problem(server.post("/v1/webhooks").json(&body), 400, "invalid-parameter").await;
    }
    for body in [object!({}), object!({"url": "https://shop.example/", "kinds": ["all"]}), object!({"uri": "x"})] {
        problem(server.post("/v1/webhooks").json(&body), 400, "invalid-body").await;
    }
    // What a name leads to is known when it is asked for: it fails there, is told, and reaches nobody.
    let private = hook(&server, object!({"url": "http://localhost:9/hook"})).await;
    change(&server, "a", "1").await;
    let path = format!("/v1/webhooks/{private}/deliveries");
    until(|| async { json(server.get(&path), 200).await["items"][0]["error"].is_string() }).await;
    let told = json(server.get(&path), 200).await;
    assert!(told["items"][0]["error"].as_str().unwrap().contains("address"), "{told}");
    // Keys make one of two.
    let create =
        || server.post("/v1/webhooks").header("idempotency-key", "k").json(&object!({"url": "https://a.shop/"}));
    assert_eq!(json(create(), 201).await, json(create(), 201).await);
    for number in 2..50 {
        hook(&server, object!({"url": format!("https://shop.example/{number}")})).await;
    }
    let one_more = server.post("/v1/webhooks").json(&object!({"url": "https://shop.example/"}));
    problem(one_more, 409, "too-many-webhooks").await;
    for (method, path) in [
        (Method::GET, "/v1/webhooks/none"),
        (Method::DELETE, "/v1/webhooks/none"),
        (Method::GET, "/v1/webhooks/none/deliveries"),
    ] {
        problem(server.request(method, path), 404, "unknown-webhook").await;
    }
    problem(server.post("/v1/webhooks/none/resend").json(&object!({})), 404, "unknown-webhook").await;
    problem(server.get(&format!("{path}?state=lost")), 400, "invalid-parameter").await;
    problem(server.get(&format!("{path}?cursor=x")), 400, "invalid-cursor").await;
    let patch = server.request(Method::PATCH, &format!("/v1/webhooks/{private}")).json(&object!({"state": "disabled"}));
    problem(patch, 400, "invalid-parameter").await;
    let secret = server.post(&format!("/v1/webhooks/{private}/secret")).json(&object!({"overlap_s": 2_592_001}));
    problem(secret, 400, "invalid-parameter").await;
}
