//! Photos in and out.

use super::photos::{jpeg, photo};
use super::server::{json, problem, start};
use base64::Engine;
use futures_util::future::join_all;
use image::ImageFormat;
use reqwest::{Method, StatusCode};
use serde_json::json as object;

#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_photo_comes_back_byte_for_byte() {
    let Some(server) = start().await else { return };
    server.product("p").await;
    let made = json(server.post_photo("/v1/products/p/images", jpeg()), 201).await;
    let id = made["image_id"].as_str().unwrap();
    assert_eq!(made["sha256"].as_str().unwrap()[..16], *id);
    let path = format!("/v1/products/p/images/{id}");
    let back = server.get(&path).send().await.unwrap();
    for (name, value) in
        [("content-type", "image/jpeg"), ("content-disposition", "inline"), ("x-content-type-options", "nosniff")]
    {
        assert_eq!(back.headers()[name], value);
    }
    let tag = back.headers()["etag"].clone();
    assert_eq!(back.bytes().await.unwrap(), jpeg());
    let again = server.get(&path).header("if-none-match", &tag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let small = server.get(&format!("{path}?size=64")).send().await.unwrap();
    assert_ne!(small.headers()["etag"], tag);
    let small = image::load_from_memory(&small.bytes().await.unwrap()).unwrap();
    assert_eq!(small.width().max(small.height()), 64);
    let seen = json(server.get(&format!("{path}?include=embedding,masks")), 200).await;
    assert_eq!(seen["sha256"], made["sha256"]);
    assert_eq!(seen["embedding"].as_array().unwrap().len(), 256);
    assert_eq!(server.request(Method::DELETE, &path).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    problem(server.get(&path), 404, "unknown-image").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_image_says_where_it_is_and_a_known_one_does_not() {
    let Some(server) = start().await else { return };
    let product = "/v1/products/a%20%2Fb";
    json(server.put(product).json(&serde_json::json!({})), 201).await;
    let made = server.post_photo(&format!("{product}/images"), jpeg()).send().await.unwrap();
    assert_eq!(made.status(), StatusCode::CREATED);
    let location = made.headers()["location"].to_str().unwrap().to_owned();
    let image_id = made.json::<serde_json::Value>().await.unwrap()["image_id"].as_str().unwrap().to_owned();
    assert_eq!(location, format!("{product}/images/{image_id}"));
    assert_eq!(server.get(&location).send().await.unwrap().bytes().await.unwrap(), jpeg());
    let again = server.post_photo(&format!("{product}/images"), jpeg()).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::OK);
    assert!(!again.headers().contains_key("location"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_under_an_id_is_replaced() {
    let Some(server) = start().await else { return };
    server.product("p").await;
    let put = |bytes| server.put("/v1/products/p/images/front").header("content-type", "image/png").body(bytes);
    let first = json(put(photo(ImageFormat::Png, 1)), 201).await;
    let second = json(put(photo(ImageFormat::Png, 2)), 200).await;
    assert_ne!(first["sha256"], second["sha256"]);
    let record = json(server.get("/v1/products/p"), 200).await;
    assert_eq!(record["images"].as_array().unwrap().len(), 1);
    assert_eq!(record["images"][0]["sha256"], second["sha256"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_photo_are_images_of_their_own() {
    let Some(server) = start().await else { return };
    server.product("p").await;
    let area = "50,40,190,280";
    let alone = json(server.post_photo(&format!("/v1/analyze?box={area}&include=embedding"), jpeg()), 200).await;
    assert_eq!((&alone["box"], &alone["width"]), (&object!([50, 40, 190, 280]), &object!(140)));
    let whole = json(server.post_photo("/v1/products/p/images", jpeg()), 201).await;
    assert!(whole.get("box").is_none(), "{whole}");
    let part = json(server.post_photo(&format!("/v1/products/p/images?box={area}"), jpeg()), 201).await;
    let id = part["image_id"].as_str().unwrap();
    assert_eq!(id, format!("{}-50-40-190-280", whole["image_id"].as_str().unwrap()));
    for name in ["box", "sha256", "width", "height", "attributes", "colors"] {
        assert_eq!(part[name], alone[name], "{name}");
    }
    let path = format!("/v1/products/p/images/{id}");
    let seen = json(server.get(&format!("{path}?include=embedding,masks")), 200).await;
    assert_eq!(seen["embedding"], alone["embedding"]);
    assert!(seen["masks"]["product"].is_string());
    // The photo comes back whole, and stays for the other when one goes.
    assert_eq!(server.get(&path).send().await.unwrap().bytes().await.unwrap(), jpeg());
    let gone =
        server.request(Method::DELETE, &format!("/v1/products/p/images/{}", whole["image_id"].as_str().unwrap()));
    assert_eq!(gone.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(server.get(&path).send().await.unwrap().bytes().await.unwrap(), jpeg());
    let text = base64::engine::general_purpose::STANDARD.encode(jpeg());
    let as_json = json(server.put(&path).json(&object!({"base64": text, "box": [0, 0, 120, 320]})), 200).await;
    assert_eq!(as_json["box"], object!([0, 0, 120, 320]));
    problem(server.post_photo("/v1/products/p/images?box=1,1,999,999", jpeg()), 422, "invalid-box").await;
    problem(server.post_photo("/v1/products/p/images?box=1,1,2", jpeg()), 400, "invalid-parameter").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_uploads_that_are_stored_together_each_has_its_own_answer() {
    let Some(server) = start().await else { return };
    server.product("p").await;
    // Pairs with one key and different photos: whichever comes second is refused, and takes no other with it.
    let put = |pair: u8, other: u8| {
        let path = format!("/v1/products/p/images/{pair}-{other}");
        let put = server.put(&path).header("content-type", "image/png").header("idempotency-key", pair.to_string());
        async move { (path, put.body(photo(ImageFormat::Png, 2 * pair + other)).send().await.unwrap().status()) }
    };
    let outcomes = join_all((0..12).flat_map(|pair| [put(pair, 0), put(pair, 1)])).await;
    for pair in outcomes.chunks(2) {
        let mut statuses: Vec<u16> = pair.iter().map(|(_, status)| status.as_u16()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "{pair:?}");
    }
    // The same request twice is stored once.
    let again = || server.put("/v1/products/p/images/again").header("idempotency-key", "again").body(jpeg()).send();
    let (first, second) = tokio::join!(again(), again());
    let replayed = [first, second].map(|answer| {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        answer.headers().contains_key("idempotency-replayed")
    });
    assert_eq!(replayed.iter().filter(|replayed| **replayed).count(), 1);
    for (path, status) in outcomes {
        let there = server.get(&path).send().await.unwrap().status().is_success();
        assert_eq!(there, status == StatusCode::CREATED, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_photos_cannot_be_written_every_upload_is_told() {
    let Some(server) = start().await else { return };
    server.product("p").await;
    let (staging, aside) = (server.data().join("photos/tmp"), server.data().join("aside"));
    std::fs::rename(&staging, &aside).unwrap();
    let put = |n: u8| server.put(&format!("/v1/products/p/images/{n}")).body(photo(ImageFormat::Png, n)).send();
    for answer in join_all((0..6).map(put)).await {
        assert_eq!(answer.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
    std::fs::rename(&aside, &staging).unwrap();
    for answer in join_all((0..6).map(put)).await {
        assert_eq!(answer.unwrap().status(), StatusCode::CREATED);
    }
}
