//! Every bad input gets a 4xx problem that names the fault or the limit, changes nothing, and the server goes on
//! answering the good requests.

use super::photos::{animated_webp, encoded, jpeg, photo, png_header};
use super::server::{Server, json, problem, start, start_with};
use image::{ImageFormat, RgbImage};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json as object};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vitrine::http::HttpLimits;

/// Sends the same bad photo to every route that takes one.
async fn refused_everywhere(server: &Server, bytes: &[u8], status: u16, kind: &str) -> Value {
    for path in ["/v1/similar", "/v1/products/p/images"] {
        problem(server.post_photo(path, bytes.to_vec()), status, kind).await;
    }
    problem(server.post_photo("/v1/analyze", bytes.to_vec()), status, kind).await
}

#[tokio::test(flavor = "multi_thread")]
async fn photos_that_are_none() {
    let Some(server) = start().await else { return };
    server.product("p").await;
    let before = json(server.get("/v1/products/p"), 200).await;
    refused_everywhere(&server, b"", 400, "empty-body").await;
    refused_everywhere(&server, b"I am a photo, believe me", 422, "photo-not-an-image").await;
    let whole = jpeg();
    refused_everywhere(&server, &whole[..whole.len() / 2], 422, "photo-truncated").await;
    let bomb = refused_everywhere(&server, &png_header(30_000, 30_000), 422, "photo-too-large").await;
    assert_eq!(bomb["limit"], 50_000_000);
    assert_eq!(bomb["received"], "30000x30000");
    let tiny = encoded(&RgbImage::new(16, 16), ImageFormat::Png);
    let tiny = refused_everywhere(&server, &tiny, 422, "photo-too-small").await;
    assert_eq!(tiny["limit"], 24);
    let frames = refused_everywhere(&server, &animated_webp(10_000), 422, "photo-too-large").await;
    assert!(frames["detail"].as_str().unwrap().contains("10000 frames"), "{frames}");
    assert_eq!(json(server.get("/v1/products/p"), 200).await, before);
    json(server.post_photo("/v1/analyze", whole), 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_files_and_odd_forms() {
    let Some(server) = start().await else { return };
    let form = |name: &'static str, bytes: Vec<u8>| Form::new().part(name, Part::bytes(bytes).file_name("a.jpg"));
    let post = |form| server.post("/v1/analyze").multipart(form);
    problem(post(form("image", Vec::new())), 400, "empty-body").await;
    let unknown = problem(post(form("picture", jpeg())), 400, "invalid-body").await;
    assert_eq!(unknown["received"], "picture");
    problem(post(form("image", jpeg()).part("file", Part::bytes(jpeg()))), 400, "invalid-body").await;
    problem(post(Form::new().text("box", "1,1,9,9")), 400, "invalid-body").await;
    problem(post(form("image", jpeg()).text("box", "all of it")), 400, "invalid-parameter").await;
    let broken = server.post("/v1/analyze").header("content-type", "multipart/form-data").body("x");
    problem(broken, 400, "invalid-body").await;
    json(post(form("file", jpeg()).text("box", "40,40,200,280")), 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_types_and_sizes() {
    let limits = HttpLimits { photo_bytes: 200_000, json_bytes: 10_000, ..HttpLimits::default() };
    let Some(server) = start_with(None, limits).await else { return };
    let text = server.post("/v1/analyze").header("content-type", "text/plain").body(jpeg());
    let refused = problem(text, 415, "unsupported-media-type").await;
    assert_eq!(refused["received"], "text/plain");
    problem(server.put("/v1/products/p").header("content-type", "image/png").body("{}"), 415, "unsupported-media-type")
        .await;
    let large = problem(server.post_photo("/v1/analyze", vec![0; 200_001]), 413, "body-too-large").await;
    assert_eq!(large["limit"], 200_000);
    // Without a length nobody knows before reading.
    let parts = vec![Ok::<_, std::io::Error>(vec![0_u8; 150_000]), Ok(vec![0; 150_000])];
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(parts));
    let endless = server.post("/v1/analyze").header("content-type", "image/jpeg").body(stream);
    problem(endless, 413, "body-too-large").await;
    let title = "x".repeat(10_000);
    problem(server.put("/v1/products/p").json(&object!({"title": title})), 413, "body-too-large").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_says_something_else() {
    let Some(server) = start().await else { return };
    let analyze = |body: Value| server.post("/v1/analyze").json(&body);
    problem(analyze(object!({"url": "http://a.example/", "base64": "AAEC"})), 400, "invalid-body").await;
    problem(analyze(object!({})), 400, "invalid-body").await;
    problem(analyze(object!({"base64": "not*base64"})), 400, "invalid-body").await;
    let unknown = problem(analyze(object!({"uri": "http://a.example/"})), 400, "invalid-body").await;
    assert!(unknown["detail"].as_str().unwrap().contains("uri"), "{unknown}");
    let broken = server.post("/v1/analyze").header("content-type", "application/json").body("{");
    problem(broken, 400, "malformed-json").await;
    let unknown = server.put("/v1/products/p").json(&object!({"colour": "red"}));
    problem(unknown, 400, "invalid-body").await;
    problem(server.put("/v1/products/p").json(&object!({"price": -1})), 400, "invalid-parameter").await;
    problem(server.get("/v1/products/p"), 404, "unknown-product").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters() {
    let Some(server) = start().await else { return };
    server.product("p").await;
    problem(server.post_photo("/v1/products/nobody/images", jpeg()), 404, "unknown-product").await;
    problem(server.get("/v1/products/nobody/similar"), 404, "unknown-product").await;
    problem(server.get("/v1/products?cursor=nonsense!"), 400, "invalid-cursor").await;
    problem(server.get("/v1/products/p/similar?cursor=nonsense!"), 400, "invalid-cursor").await;
    for filter in ["red", "{\"colour\":\"red\"}", "{\"price\":\"cheap\"}", "{\"or\":[]}", "[]"] {
        problem(server.get_with("/v1/products", &[("filter", filter)]), 400, "invalid-filter").await;
    }
    for (path, limit) in
        [("/v1/products", 1001), ("/v1/products", 0), ("/v1/products/p/similar", 201), ("/v1/products/p/similar", 0)]
    {
        let refused = problem(server.get(&format!("{path}?limit={limit}")), 400, "invalid-parameter").await;
        assert_eq!(refused["received"], limit.to_string());
    }
    let refused = problem(server.get("/v1/products?limt=1"), 400, "unknown-parameter").await;
    assert_eq!(refused["received"], "limt");
    problem(server.get("/v1/products?limit=1&limit=2"), 400, "invalid-parameter").await;
    let long = "x".repeat(129);
    for id in ["a%00b", "%ff", long.as_str()] {
        problem(server.get(&format!("/v1/products/{id}")), 400, "invalid-parameter").await;
    }
    let key = server.put("/v1/products/p").header("idempotency-key", "two words").json(&object!({}));
    problem(key, 400, "invalid-parameter").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boxes() {
    let Some(server) = start().await else { return };
    for (area, status, kind) in [
        ("0,0,241,320", 422, "invalid-box"),
        ("100,100,50,50", 422, "invalid-box"),
        ("0,0,4000000000,4000000000", 422, "invalid-box"),
        ("1,2,3", 400, "invalid-parameter"),
        ("-1,0,50,50", 400, "invalid-parameter"),
    ] {
        problem(server.post_photo(&format!("/v1/analyze?box={area}"), jpeg()), status, kind).await;
    }
    json(server.post_photo("/v1/analyze?box=40,40,200,280", jpeg()), 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_that_lead_inside() {
    let Some(server) = start().await else { return };
    // The server's own address stands for any loopback service, also behind a name and in odd notations.
    let own = server.base.replace("127.0.0.1", "localhost");
    for url in [
        server.base.as_str(),
        own.as_str(),
        "http://127.0.0.1:9/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://0x7f000001/",
        "http://10.0.0.1/",
        "file:///etc/passwd",
        "http://user:secret@a.example/",
        "not a url",
    ] {
        problem(server.post("/v1/analyze").json(&object!({"url": url})), 422, "fetch-failed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_and_methods() {
    let Some(server) = start().await else { return };
    problem(server.get("/v2/analyze"), 404, "unknown-route").await;
    let wrong = server.get("/v1/analyze").send().await.unwrap();
    assert_eq!(wrong.headers()["allow"], "POST");
    super::server::is_problem(wrong, 405, "method-not-allowed").await;
}

/// A client that sends half a body and waits: it gets its 408, and the others get their answers meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies() {
    let limits = HttpLimits { body_timeout: std::time::Duration::from_millis(300), ..HttpLimits::default() };
    let Some(server) = start_with(None, limits).await else { return };
    let mut slow = tokio::net::TcpStream::connect(server.base.strip_prefix("http://").unwrap()).await.unwrap();
    let head = "POST /v1/analyze HTTP/1.1\r\nhost: a\r\ncontent-type: image/jpeg\r\ncontent-length: 9999\r\n\r\nhalf";
    slow.write_all(head.as_bytes()).await.unwrap();
    json(server.post_photo("/v1/analyze", photo(ImageFormat::Png, 9)), 200).await;
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("/problems/body-timeout"), "{answer}");
}
