//! What every response carries, what is counted, and how the server ends.

use super::photos::jpeg;
use super::server::{json, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread")]
async fn responses_carry_id_and_timing() {
    let Some(server) = start().await else { return };
    let response = server.get("/v1/products").header("x-request-id", "shop-7/42").send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "shop-7/42");
    assert!(response.headers()["server-timing"].to_str().unwrap().starts_with("total;dur="));
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    let other = server.get("/nowhere").header("x-request-id", "two words").send().await.unwrap();
    assert_ne!(other.headers()["x-request-id"], "two words");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_by_route() {
    let Some(server) = start().await else { return };
    json(server.get("/v1/products"), 200).await;
    server.get("/v1/products/nobody").send().await.unwrap();
    server.get("/nowhere/at/all").send().await.unwrap();
    let response = server.get("/metrics").send().await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = response.text().await.unwrap();
    for line in [
        r#"vitrine_http_requests_total{method="GET",route="/v1/products",status="200"} 1"#,
        r#"vitrine_http_requests_total{method="GET",route="/v1/products/{product_id}",status="404"} 1"#,
        r#"vitrine_http_requests_total{method="GET",route="unmatched",status="404"} 1"#,
        "vitrine_http_requests_in_flight 1",
        "vitrine_products 0",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

/// The request is accepted, the server told to stop, and only then the rest of the body comes: it is answered.
#[tokio::test(flavor = "multi_thread")]
async fn accepted_requests_are_finished() {
    let Some(server) = start().await else { return };
    let address = server.base.strip_prefix("http://").unwrap().to_owned();
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let photo = jpeg();
    // The interim response says that the server has begun to read the body: the request is accepted.
    let head = format!(
        "POST /v1/analyze HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-type: image/jpeg\r\ncontent-length: {}\r\n\r\n",
        photo.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100"));
    let stopped = tokio::spawn(server.stop());
    // The listener is gone once the server has seen the signal.
    while tokio::net::TcpStream::connect(&address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    stream.write_all(&photo).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    stopped.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn long_bodies_are_compressed_for_those_who_ask_and_short_ones_are_not() {
    let Some(server) = start().await else { return };
    let gzip = |path: &str| server.get(path).header("accept-encoding", "gzip");
    let plain = server.get("/openapi.json").send().await.unwrap();
    assert!(plain.headers().get("content-encoding").is_none());
    let whole = plain.bytes().await.unwrap();
    let compressed = gzip("/openapi.json").send().await.unwrap();
    assert_eq!(compressed.headers()["content-encoding"], "gzip");
    assert!(compressed.headers()["vary"].to_str().unwrap().to_lowercase().contains("accept-encoding"));
    assert!(compressed.bytes().await.unwrap().len() * 4 < whole.len());
    assert!(gzip("/health/live").send().await.unwrap().headers().get("content-encoding").is_none());
    for n in 0..120 {
        server.product(&format!("a-product-with-a-rather-long-name-{n:03}")).await;
    }
    let listed = gzip("/v1/products?limit=1000").send().await.unwrap();
    assert_eq!(listed.headers()["content-encoding"], "gzip");
}
