//! Bulk jobs: every row ends in one state that is told, whatever its photo and its server are like.

use super::photos::{jpeg, photo};
use super::server::{Server, json, problem, start, start_fetching, start_with_store};
use axum::Router;
use axum::extract::Path as PathOf;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use image::ImageFormat;
use serde_json::{Value, json as object};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A folder that jobs may read, with some photos in it.
fn files(server: &Server) -> std::path::PathBuf {
    let files = server.data().join("files");
    std::fs::create_dir_all(&files).unwrap();
    for seed in 1..=3 {
        std::fs::write(files.join(format!("{seed}.jpg")), photo(ImageFormat::Jpeg, seed)).unwrap();
    }
    files
}

/// A manifest of so many products, each of a photo of its own in that folder.
fn drawn(server: &Server, products: usize) -> String {
    let files = files(server);
    let row = |n: usize| {
        let name = format!("p{n}.png");
        std::fs::write(files.join(&name), photo(ImageFormat::Png, n as u8)).unwrap();
        format!("p{n},{}\n", url::Url::from_file_path(files.join(name)).unwrap())
    };
    std::iter::once("product_id,image_uri\n".to_owned()).chain((0..products).map(row)).collect()
}

async fn job(server: &Server, manifest: String) -> Value {
    let sent = server.post("/v1/jobs").header("content-type", "text/csv").body(manifest);
    let response = sent.send().await.unwrap();
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let status = response.status();
    let job: Value = response.json().await.unwrap();
    assert_eq!(status, 202, "{job}");
    assert_eq!(location, format!("/v1/jobs/{}", job["id"].as_str().unwrap()));
    job
}

/// Watches a job until it has ended; the events on the way.
async fn ended(server: &Server, job: &Value) -> Value {
    let id = job["id"].as_str().unwrap();
    let events = server.get(&format!("/v1/jobs/{id}/events")).send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let text = tokio::time::timeout(Duration::from_secs(120), events.text()).await.expect("the job ends").unwrap();
    let told = |event: &str| -> Value {
        serde_json::from_str(event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap()).unwrap()
    };
    let events: Vec<&str> = text.split("\n\n").filter(|event| event.contains("data: ")).collect();
    let last = told(events.last().unwrap());
    assert!(events.last().unwrap().contains(&format!("event: {}", last["state"].as_str().unwrap())), "{text}");
    let now = json(server.get(&format!("/v1/jobs/{id}")), 200).await;
    assert_eq!(now, last);
    last
}

async fn errors(server: &Server, job: &Value) -> Vec<Value> {
    let id = job["id"].as_str().unwrap();
    json(server.get(&format!("/v1/jobs/{id}/errors")), 200).await["items"].as_array().unwrap().clone()
}

fn counts(job: &Value) -> [u64; 5] {
    ["total", "done", "unchanged", "duplicate", "failed"].map(|name| job[name].as_u64().unwrap())
}

/// How often photos were looked at.
async fn looks(server: &Server) -> String {
    let text = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with("vitrine_stage_duration_seconds_count{stage=\"infer\"}"));
    line.map_or("0", |line| line.split_whitespace().last().unwrap()).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_a_manifest_ends_and_is_told() {
    let Some(server) = start().await else { return };
    let files = files(&server);
    std::fs::write(files.join("broken.jpg"), &jpeg()[..500]).unwrap();
    let at = |name: &str| url::Url::from_file_path(files.join(name)).unwrap();
    let manifest = format!(
        "product_id,image_id,image_uri,title,in_stock,notes\n\
         a,1,{one},Dress,true,x\n\
         a,2,{two},,,\n\
         b,1,{one},,,\n\
         a,1,{one},Late,,\n\
         a,1,{two},,,\n\
         c,1,{broken},,,\n\
         d,1,{none},,,\n\
         e,1,file:///etc/passwd,,,\n\
         f,1\n\
         a,3,{three},,,\n",
        one = at("1.jpg"),
        two = at("2.jpg"),
        three = at("3.jpg"),
        broken = at("broken.jpg"),
        none = at("none.jpg"),
    );
    let made = job(&server, manifest.clone()).await;
    let done = ended(&server, &made).await;
    assert_eq!((&done["state"], counts(&done)), (&object!("done"), [10, 4, 0, 1, 5]));
    assert_eq!((&done["waiting"], &done["ignored_columns"]), (&object!(0), &object!(["notes"])));
    // One photo of two products was looked at once; the broken one never got so far.
    assert_eq!(looks(&server).await, "3");
    let failed = errors(&server, &done).await;
    let told: Vec<_> =
        failed.iter().map(|row| (row["line"].as_u64().unwrap(), row["cause"].as_str().unwrap())).collect();
    let expected = [
        (6, "duplicate id"),
        (7, "truncated"),
        (8, "address not allowed"),
        (9, "address not allowed"),
        (10, "wrong number of cells"),
    ];
    assert_eq!(told, expected);
    assert!(failed[0]["detail"].as_str().unwrap().contains("line 2"));
    let a = json(server.get("/v1/products/a"), 200).await;
    assert_eq!(
        (&a["title"], &a["in_stock"], a["images"].as_array().unwrap().len()),
        (&object!("Dress"), &object!(true), 3)
    );
    let of_a = a["images"].as_array().unwrap().iter().find(|image| image["image_id"] == "1").unwrap();
    let b = json(server.get("/v1/products/b"), 200).await;
    assert_eq!((&b["images"][0]["colors"], &b["images"][0]["sha256"]), (&of_a["colors"], &of_a["sha256"]));
    // A product whose photos all failed is not made.
    problem(server.get("/v1/products/c"), 404, "unknown-product").await;
    // Pages, and the table.
    let id = done["id"].as_str().unwrap();
    let first = json(server.get(&format!("/v1/jobs/{id}/errors?limit=4")), 200).await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = json(server.get(&format!("/v1/jobs/{id}/errors?limit=4&cursor={cursor}")), 200).await;
    assert_eq!(
        (first["items"].as_array().unwrap(), rest["items"].as_array().unwrap()),
        (&failed[..4].to_vec(), &failed[4..].to_vec())
    );
    let table = server.get(&format!("/v1/jobs/{id}/errors")).header("accept", "text/csv").send().await.unwrap();
    assert_eq!(table.headers()["content-type"], "text/csv; charset=utf-8");
    let table = table.text().await.unwrap();
    assert_eq!((table.lines().count(), table.lines().next().unwrap().split(',').count()), (6, 10), "{table}");
    // The same once more: nothing is looked at, and nothing changes.
    let seq = json(server.get("/v1/products/a"), 200).await["seq"].clone();
    let again = job(&server, manifest).await;
    let again = ended(&server, &again).await;
    assert_eq!(counts(&again), [10, 0, 4, 1, 5]);
    assert_eq!((looks(&server).await.as_str(), &json(server.get("/v1/products/a"), 200).await["seq"]), ("3", &seq));
    let all = json(server.get("/v1/jobs?limit=1"), 200).await;
    assert_eq!(all["items"], object!([again]));
    let cursor = all["next_cursor"].as_str().unwrap();
    assert_eq!(json(server.get(&format!("/v1/jobs?cursor={cursor}")), 200).await["items"], object!([done]));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_for_googles_product_search_are_understood_whole() {
    let Some(server) = start().await else { return };
    let at = url::Url::from_file_path(files(&server).join("1.jpg")).unwrap();
    json(server.put("/v1/products/a").json(&object!({"tags": ["new"]})), 201).await;
    let manifest = format!(
        "{at},front,spring,a,apparel-v2,Dress,\"style=mini\",\n\
         {at},,spring,a,apparel-v2,,,\"50,40,190,280\"\n\
         {at},,sale,a,apparel-v2,,,\"190,280,50,280,50,40,190,40\"\n\
         {at},,sale,a,apparel-v2,,,\"0.25,0.0,0.5,1.0\"\n\
         {at},,sale,b,apparel-v2,,,\"50,40,190,280\"\n\
         {at},front,sale,a,apparel-v2,,,\"50,40,190,280\"\n\
         {at},,sale,c,apparel-v2,,,\"50,40,999,280\"\n"
    );
    let made = job(&server, manifest.clone()).await;
    let done = ended(&server, &made).await;
    assert_eq!(counts(&done), [7, 4, 0, 1, 2], "{done}");
    assert_eq!(done["ignored_columns"], object!([]));
    let failed = errors(&server, &done).await;
    let told: Vec<_> = failed.iter().map(|row| (&row["line"], row["cause"].as_str().unwrap())).collect();
    assert_eq!(told, [(&object!(6), "duplicate id"), (&object!(7), "unusable box")], "{failed:?}");
    assert_eq!(failed[1]["box"], "50,40,999,280");
    // Each part was looked at once, for whatever product; the one that lies outside never.
    assert_eq!(looks(&server).await, "3");
    let a = json(server.get("/v1/products/a"), 200).await;
    assert_eq!(a["tags"], object!(["new", "product-set:spring", "product-set:sale"]), "beside those it had");
    let mut boxes: Vec<_> = a["images"].as_array().unwrap().iter().map(|image| image["box"].to_string()).collect();
    boxes.sort();
    assert_eq!(boxes, ["[50,40,190,280]", "[60,0,120,320]", "null"]);
    let of_set = server.get_with("/v1/products", &[("filter", r#"{"tags": "product-set:spring"}"#)]);
    assert_eq!(json(of_set, 200).await["items"].as_array().unwrap().len(), 1);
    let made = job(&server, manifest).await;
    assert_eq!(counts(&ended(&server, &made).await), [7, 0, 4, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_are_fetched_and_failed_rows_tried_again() {
    let Some(server) = start().await else { return };
    let files = files(&server);
    let manifest =
        "{\"product_id\": \"a\", \"image_uri\": \"1.jpg\"}\n{\"product_id\": \"a\", \"image_uri\": \"late.jpg\"}\n";
    std::fs::write(files.join("all.ndjson"), manifest).unwrap();
    let uri = url::Url::from_file_path(files.join("all.ndjson")).unwrap().to_string();
    let create = || server.post("/v1/jobs").header("idempotency-key", "k").json(&object!({"uri": uri}));
    let made = json(create(), 202).await;
    assert_eq!(made["source"], object!({"kind": "uri", "uri": uri, "format": "ndjson"}));
    // A client that repeats itself makes no second job.
    assert_eq!(json(create(), 202).await["id"], made["id"]);
    let done = ended(&server, &made).await;
    assert_eq!(counts(&done), [2, 1, 0, 0, 1]);
    assert_eq!(errors(&server, &done).await[0]["retryable"], false);
    std::fs::write(files.join("late.jpg"), photo(ImageFormat::Jpeg, 9)).unwrap();
    let id = done["id"].as_str().unwrap();
    // What the job had written of the product is gone meanwhile: it is written again.
    let deleted = server.request(reqwest::Method::DELETE, "/v1/products/a").send().await.unwrap();
    assert_eq!(deleted.status(), 204);
    json(server.post(&format!("/v1/jobs/{id}/retry")), 200).await;
    let done = ended(&server, &made).await;
    assert_eq!(counts(&done), [2, 2, 0, 0, 0]);
    assert_eq!(json(server.get("/v1/products/a"), 200).await["images"].as_array().unwrap().len(), 1);
    // Nothing is left to be tried: nothing happens.
    assert_eq!(json(server.post(&format!("/v1/jobs/{id}/retry")), 200).await["state"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_manifests_fail_their_job_or_are_refused() {
    let Some(server) = start().await else { return };
    let files = files(&server);
    let made = job(&server, "file,price\na,1\n".to_owned()).await;
    let failed = ended(&server, &made).await;
    assert_eq!(failed["state"], "failed");
    assert!(failed["failure"].as_str().unwrap().contains("product_id"), "{failed}");
    for uri in [
        url::Url::from_file_path(files.join("none.csv")).unwrap().to_string(),
        "file:///etc/hostname".to_owned(),
        "http://127.0.0.1:9/all.csv".to_owned(),
    ] {
        let made = json(server.post("/v1/jobs").json(&object!({"uri": uri})), 202).await;
        assert_eq!(ended(&server, &made).await["state"], "failed", "{uri}");
    }
    // One that could not be fetched is, when it is tried again.
    let uri = url::Url::from_file_path(files.join("late.csv")).unwrap().to_string();
    let made = json(server.post("/v1/jobs").json(&object!({"uri": uri})), 202).await;
    assert_eq!(ended(&server, &made).await["state"], "failed");
    std::fs::write(files.join("late.csv"), "product_id,image_uri\na,1.jpg\n").unwrap();
    json(server.post(&format!("/v1/jobs/{}/retry", made["id"].as_str().unwrap())), 200).await;
    assert_eq!(counts(&ended(&server, &made).await), [1, 1, 0, 0, 0]);
    problem(server.post("/v1/jobs").json(&object!({"uri": "ftp://host/all.csv"})), 400, "invalid-parameter").await;
    problem(server.post("/v1/jobs").json(&object!({"url": "http://host/all.csv"})), 400, "invalid-body").await;
    let sent = |kind: &str, body: Vec<u8>| server.post("/v1/jobs").header("content-type", kind).body(body);
    problem(sent("image/jpeg", jpeg()), 415, "unsupported-media-type").await;
    problem(sent("text/csv", Vec::new()), 400, "empty-body").await;
    problem(sent("text/csv", vec![b'a'; 2 << 20]), 413, "body-too-large").await;
    problem(server.get("/v1/jobs/none"), 404, "unknown-job").await;
    problem(server.get("/v1/jobs/none/errors"), 404, "unknown-job").await;
    problem(server.get("/v1/jobs/none/events"), 404, "unknown-job").await;
    problem(server.get("/v1/jobs?cursor=x"), 400, "invalid-cursor").await;
    problem(server.post("/v1/jobs/none/cancel"), 404, "unknown-job").await;
    // Nothing of them is left on the disk.
    let left: Vec<_> = std::fs::read_dir(server.data().join("jobs")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_goes_on_and_is_ended() {
    let Some(server) = start().await else { return };
    let manifest = drawn(&server, 40);
    let made = job(&server, manifest.clone()).await;
    let act = |id: &Value, what: &str| server.post(&format!("/v1/jobs/{}/{what}", id.as_str().unwrap()));
    let paused = json(act(&made["id"], "pause"), 200).await;
    assert_eq!(paused["state"], "paused");
    // The one behind it is not held up.
    let second = job(&server, "product_id,image_uri\nx,http://127.0.0.1:9/a.jpg\n".to_owned()).await;
    assert_eq!(counts(&ended(&server, &second).await), [1, 0, 0, 0, 1]);
    assert_eq!(json(server.get(&format!("/v1/jobs/{}", made["id"].as_str().unwrap())), 200).await["state"], "paused");
    problem(act(&second["id"], "pause"), 409, "job-state").await;
    problem(act(&second["id"], "resume"), 409, "job-state").await;
    problem(act(&made["id"], "retry"), 409, "job-state").await;
    json(act(&made["id"], "resume"), 200).await;
    assert_eq!(counts(&ended(&server, &made).await), [40, 40, 0, 0, 0]);
    let third = job(&server, manifest).await;
    assert_eq!(json(act(&third["id"], "cancel"), 200).await["state"], "cancelled");
    assert_eq!(json(act(&third["id"], "cancel"), 200).await["state"], "cancelled");
    assert_eq!(ended(&server, &third).await["state"], "cancelled");
    assert_eq!(json(server.get("/v1/products?limit=1000"), 200).await["items"].as_array().unwrap().len(), 40);
}

/// A shop's image server on a bad day: by number, some photos fail once or always, stall, lie or lead astray.
async fn bad_day(PathOf(n): PathOf<usize>, headers: HeaderMap, asked: Arc<Vec<AtomicUsize>>) -> Response {
    let times = asked[n].fetch_add(1, Ordering::Relaxed);
    let good = || ([(header::ETAG, format!("\"{n}\""))], photo(ImageFormat::Jpeg, n as u8)).into_response();
    if headers.get(header::IF_NONE_MATCH).is_some_and(|etag| etag == format!("\"{n}\"").as_str()) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    match n % 10 {
        0 if times == 0 => (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")]).into_response(),
        1 if n == 11 => StatusCode::NOT_FOUND.into_response(),
        2 if n == 12 => (StatusCode::FOUND, [(header::LOCATION, "/12.jpg")]).into_response(),
        2 if times == 0 => (StatusCode::FOUND, [(header::LOCATION, format!("/{n}.jpg"))]).into_response(),
        3 if n == 13 => {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            good()
        }
        4 if times == 0 => {
            let cut = axum::body::Body::from_stream(futures_util::stream::iter([
                Ok(photo(ImageFormat::Jpeg, n as u8)[..300].to_vec()),
                Err(std::io::Error::other("on purpose")),
            ]));
            ([(header::CONTENT_LENGTH, "100000")], cut).into_response()
        }
        5 if n == 15 => "no photo".into_response(),
        _ => good(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_a_bad_day_is_asked_again_and_every_row_explained() {
    let asked: Arc<Vec<AtomicUsize>> = Arc::new((0..20).map(|_| AtomicUsize::new(0)).collect());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let day = Arc::clone(&asked);
    let one = move |path: PathOf<String>, headers: HeaderMap| {
        let n = path.0.trim_end_matches(".jpg").parse().unwrap();
        bad_day(PathOf(n), headers, Arc::clone(&day))
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/{name}", get(one))).await });
    let Some(server) = start_fetching(&address.to_string(), 1_500).await else { return };
    let row = |n: usize| format!("p{n},http://{address}/{n}.jpg\n");
    let manifest: String = std::iter::once("product_id,image_uri\n".to_owned()).chain((0..20).map(row)).collect();
    let made = job(&server, manifest.clone()).await;
    let done = ended(&server, &made).await;
    assert_eq!(counts(&done), [20, 16, 0, 0, 4]);
    let failed = errors(&server, &done).await;
    let told: Vec<_> = failed
        .iter()
        .map(|row| {
            let cause = row["cause"].as_str().unwrap();
            (row["product_id"].as_str().unwrap(), cause, row["attempts"].as_u64().unwrap(), row["retryable"] == true)
        })
        .collect();
    let expected = [
        ("p11", "URL answered with an error", 1, false),
        ("p12", "cannot fetch the URL", 1, false),
        ("p13", "fetch timed out", 3, true),
        ("p15", "not an image", 1, false),
    ];
    assert_eq!(told, expected);
    assert_eq!(asked[4].load(Ordering::Relaxed), 2);
    // What the server says has not changed is not sent again.
    let looked = looks(&server).await;
    let again = job(&server, manifest).await;
    let again = ended(&server, &again).await;
    assert_eq!(counts(&again), [20, 0, 16, 0, 4]);
    assert_eq!(looks(&server).await, looked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_those_who_watch_and_the_next_start_goes_on() {
    let Some(server) = start().await else { return };
    let manifest = drawn(&server, 60);
    let made = job(&server, manifest).await;
    let watched = server.get(&format!("/v1/jobs/{}/events", made["id"].as_str().unwrap())).send().await.unwrap();
    let data = server.stop_keeping_data().await;
    let text = watched.text().await.unwrap();
    assert!(text.contains("event: progress"), "{text}");
    let models = super::server::models().unwrap();
    let server = super::server::start_over(&models, data, false).await;
    assert_eq!(counts(&ended(&server, &made).await), [60, 60, 0, 0, 0]);
    // Each row brought its photo once.
    let feed = server.get("/v1/feed?kind=image_upserted").send().await.unwrap().text().await.unwrap();
    assert_eq!(feed.lines().count(), 60);
}

/// An S3 server over a folder; where it answers.
async fn s3(folder: &std::path::Path) -> String {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let mut builder = s3s::service::S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder).unwrap());
    builder.set_auth(s3s::auth::SimpleAuth::from_single("key", "secret"));
    let service = builder.build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let http = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = http.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn manifest_and_photos_lie_in_an_object_store() {
    let bucket = tempfile::tempdir().unwrap();
    let shop = bucket.path().join("photos/shop");
    std::fs::create_dir_all(&shop).unwrap();
    for n in 1..=5 {
        std::fs::write(shop.join(format!("{n}.jpg")), photo(ImageFormat::Jpeg, n)).unwrap();
    }
    std::fs::create_dir_all(bucket.path().join("other")).unwrap();
    std::fs::write(bucket.path().join("other/1.jpg"), jpeg()).unwrap();
    let manifest = "product_id,image_uri\na,1.jpg\na,2.jpg\nb,s3://photos/shop/3.jpg\nc,s3://other/1.jpg\nd,none.jpg\n";
    std::fs::write(shop.join("all.csv"), manifest).unwrap();
    let endpoint = s3(bucket.path()).await;
    let settings = |secret| {
        [
            ("AWS_ENDPOINT", endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_REGION", "us-east-1"),
        ]
    };
    let Some(server) = start_with_store(&settings("secret")).await else { return };
    let create = |server: &Server, uri: &str| server.post("/v1/jobs").json(&object!({"uri": uri}));
    let made = json(create(&server, "s3://photos/shop/all.csv"), 202).await;
    let done = ended(&server, &made).await;
    assert_eq!((&done["state"], counts(&done)), (&object!("done"), [5, 3, 0, 0, 2]), "{done}");
    let causes: Vec<_> = errors(&server, &done).await.iter().map(|row| row["cause"].clone()).collect();
    assert_eq!(causes, ["address not allowed", "no such object"]);
    // What the store says is the same is not sent again; what it says is not, is.
    std::fs::write(shop.join("2.jpg"), photo(ImageFormat::Jpeg, 77)).unwrap();
    let again = json(create(&server, "s3://photos/shop/all.csv"), 202).await;
    assert_eq!(counts(&ended(&server, &again).await), [5, 1, 2, 0, 2]);
    for uri in ["s3://photos/other.csv", "s3://other/all.csv"] {
        let made = json(create(&server, uri), 202).await;
        assert_eq!(ended(&server, &made).await["state"], "failed", "{uri}");
    }
    // Credentials that do not open it.
    let Some(server) = start_with_store(&settings("wrong")).await else { return };
    let made = json(create(&server, "s3://photos/shop/all.csv"), 202).await;
    let failed = ended(&server, &made).await;
    assert_eq!(failed["state"], "failed");
    let sent = job(&server, "product_id,image_uri\na,s3://photos/shop/1.jpg\n".to_owned()).await;
    let failed = ended(&server, &sent).await;
    assert_eq!(errors(&server, &failed).await[0]["cause"], "object store refused");
}

/// A manifest in Parquet: required texts, and an optional number.
fn parquet(rows: &[(&str, Option<&str>, Option<f32>)]) -> Vec<u8> {
    use parquet::data_type::{ByteArray, ByteArrayType, FloatType};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    let message = "message m { required binary sku (STRING); optional binary image_uri; optional float popularity; }";
    let schema = Arc::new(parse_message_type(message).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let present = |is: bool| i16::from(is);
    let ids: Vec<ByteArray> = rows.iter().map(|row| row.0.into()).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&ids, None, None).unwrap();
    column.close().unwrap();
    let uris: Vec<ByteArray> = rows.iter().filter_map(|row| row.1).map(ByteArray::from).collect();
    let levels: Vec<i16> = rows.iter().map(|row| present(row.1.is_some())).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&uris, Some(&levels), None).unwrap();
    column.close().unwrap();
    let scores: Vec<f32> = rows.iter().filter_map(|row| row.2).collect();
    let levels: Vec<i16> = rows.iter().map(|row| present(row.2.is_some())).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<FloatType>().write_batch(&scores, Some(&levels), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_may_be_parquet() {
    let Some(server) = start().await else { return };
    let files = files(&server);
    let at = |name: &str| url::Url::from_file_path(files.join(name)).unwrap().to_string();
    let manifest = parquet(&[
        ("a", Some(&at("1.jpg")), Some(0.25)),
        ("b", Some(&at("2.jpg")), None),
        ("c", None, None),
        ("d", Some(&at("3.jpg")), Some(1.5)),
    ]);
    let send = |bytes: Vec<u8>| {
        let post = server.post("/v1/jobs").header("content-type", "application/vnd.apache.parquet").body(bytes);
        async { json(post, 202).await }
    };
    let made = send(manifest.clone()).await;
    let done = ended(&server, &made).await;
    assert_eq!((&done["state"], counts(&done)), (&object!("done"), [4, 2, 0, 0, 2]), "{done}");
    let causes: Vec<_> =
        errors(&server, &done).await.iter().map(|row| (row["row"].clone(), row["cause"].clone())).collect();
    assert_eq!(causes, [(object!(3), object!("missing value")), (object!(4), object!("bad value"))]);
    assert_eq!(json(server.get("/v1/products/a"), 200).await["popularity"], 0.25);
    // By its name, too.
    std::fs::write(files.join("all.parquet"), &manifest).unwrap();
    let made = json(server.post("/v1/jobs").json(&object!({"uri": at("all.parquet")})), 202).await;
    assert_eq!(counts(&ended(&server, &made).await), [4, 0, 2, 0, 2]);
    // What is none, or is broken anywhere, fails the job or a row, and never more.
    let before = looks(&server).await;
    let mut broken: Vec<Vec<u8>> = vec![b"product_id,image_uri\n".to_vec(), manifest[..manifest.len() / 2].to_vec()];
    for at in (0..manifest.len()).step_by(manifest.len() / 12) {
        let mut bytes = manifest.clone();
        bytes[at] ^= 0xff;
        broken.push(bytes);
    }
    for bytes in broken {
        let made = send(bytes).await;
        let state = ended(&server, &made).await["state"].clone();
        assert!(state == "failed" || state == "done", "{state}");
    }
    assert_eq!(looks(&server).await, before);
}

#[test]
fn the_program_reads_parquet_in_a_process_of_its_own() {
    let Some(models) = super::server::models() else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("1.jpg"), photo(ImageFormat::Jpeg, 1)).unwrap();
    let manifest = parquet(&[("a", Some("1.jpg"), Some(0.25)), ("b", None, None)]);
    let import = |bytes: &[u8]| {
        let path = folder.path().join("all.parquet");
        std::fs::write(&path, bytes).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_vitrine"));
        command.arg("import").arg(path).arg("--data-dir").arg(folder.path().join("data"));
        command.arg("--models-dir").arg(&models).args(["--engine", "tract", "--json"]).output().unwrap()
    };
    let output = import(&manifest);
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("image_uri is blank"), "{text}");
    let reader = vitrine::catalog::CatalogReader::open(&folder.path().join("data")).unwrap();
    assert_eq!(reader.product_states(None, 10).unwrap().states.len(), 1);
    // What is wrong with a file is told as where it is read in place.
    let output = import(&manifest[..manifest.len() / 2]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("not Parquet that can be read") && !said.contains("memory"), "{said}");
    let output = import(&parquet(&[])[..0]);
    assert!(!output.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_photo_say_something_of_products_that_are_there() {
    let Some(server) = start().await else { return };
    for (id, seed) in [("a", 1), ("b", 2), ("c", 3)] {
        server.product(id).await;
        json(server.post_photo(&format!("/v1/products/{id}/images"), photo(ImageFormat::Jpeg, seed)), 201).await;
    }
    let scores = "product_id,popularity\na,0.1\nb,0.9\nc,0.9\ngone,0.5\nb,2\n";
    let made = job(&server, scores.to_owned()).await;
    let done = ended(&server, &made).await;
    assert_eq!((&done["state"], counts(&done)), (&object!("done"), [5, 3, 0, 0, 2]), "{done}");
    let causes: Vec<_> = errors(&server, &done).await.iter().map(|row| row["cause"].clone()).collect();
    assert_eq!(causes, ["unknown product", "bad value"]);
    problem(server.get("/v1/products/gone"), 404, "unknown-product").await;
    let again = job(&server, scores.to_owned()).await;
    assert_eq!(counts(&ended(&server, &again).await), [5, 0, 3, 0, 2]);
    // Once it is there, what was said of it can be tried again.
    server.product("gone").await;
    json(server.post(&format!("/v1/jobs/{}/retry", made["id"].as_str().unwrap())), 200).await;
    assert_eq!(counts(&ended(&server, &made).await), [5, 4, 0, 0, 1]);
    assert_eq!(json(server.get("/v1/products/gone"), 200).await["popularity"], 0.5);
    let gone = server.request(reqwest::Method::DELETE, "/v1/products/gone").send().await.unwrap();
    assert_eq!(gone.status(), 204);
    // A row with a photo brings the product that another speaks of.
    let files = files(&server);
    let uri = url::Url::from_file_path(files.join("1.jpg")).unwrap();
    let mixed = format!(
        "{{\"product_id\": \"new\", \"title\": \"New\"}}\n{{\"product_id\": \"new\", \"image_uri\": \"{uri}\"}}\n\
         {{\"product_id\": \"new\"}}\n"
    );
    let post = server.post("/v1/jobs").header("content-type", "application/x-ndjson").body(mixed);
    let done = ended(&server, &json(post, 202).await).await;
    assert_eq!(counts(&done)[0], 3);
    assert_eq!(json(server.get("/v1/products/new"), 200).await["title"], "New");
    // They rank.
    let similar =
        |weights: &str| server.get_with("/v1/products/a/similar", &[("weights", weights), ("explain", "true")]);
    let page = json(similar(r#"{"embedding": 0, "popularity": 1}"#), 200).await;
    let items = page["items"].as_array().unwrap();
    let ids: Vec<&str> = items.iter().map(|item| item["product_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["b", "c", "new"]);
    assert_eq!(items[0]["explain"]["popularity"], items[0]["score"]);
    assert_eq!(items[2]["score"], 0.0);
}
