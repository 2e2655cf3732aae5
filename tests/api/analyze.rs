//! `POST /v1/analyze`: every form of the same photo gets the same answer.

use super::photos::{jpeg, photo};
use super::server::{json, start};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::ImageFormat;
use reqwest::multipart::{Form, Part};
use serde_json::json as object;

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_a_photo_gets_the_same_answer() {
    let Some(server) = start().await else { return };
    let raw = server.post_photo("/v1/analyze", jpeg()).send().await.unwrap().bytes().await.unwrap();
    let forms = [
        server.post("/v1/analyze").header("content-type", "application/octet-stream").body(jpeg()),
        server.post("/v1/analyze").header("content-type", "image/png").body(jpeg()),
        server.post("/v1/analyze").body(jpeg()),
        server.post("/v1/analyze").json(&object!({"base64": STANDARD.encode(jpeg())})),
        server.post("/v1/analyze").multipart(Form::new().part("image", Part::bytes(jpeg()))),
        server.post("/v1/analyze").multipart(Form::new().part("file", Part::bytes(jpeg()))),
    ];
    for form in forms {
        assert_eq!(form.send().await.unwrap().bytes().await.unwrap(), raw);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analysis_has_its_parts_and_more_when_asked() {
    let Some(server) = start().await else { return };
    let plain = json(server.post_photo("/v1/analyze", photo(ImageFormat::Png, 1)), 200).await;
    assert_eq!((plain["width"].as_u64(), plain["height"].as_u64()), (Some(240), Some(320)));
    assert!(plain["attributes"].is_array() && plain["colors"]["dominant"].is_array(), "{plain}");
    assert!(plain.get("embedding").is_none() && plain.get("masks").is_none());
    let more = json(server.post_photo("/v1/analyze?include=embedding,masks", photo(ImageFormat::Png, 1)), 200).await;
    let embedding: Vec<f64> = serde_json::from_value(more["embedding"].clone()).unwrap();
    let length: f64 = embedding.iter().map(|v| v * v).sum();
    assert!(embedding.len() == 256 && (length - 1.0).abs() < 1e-3, "{length}");
    for mask in ["product", "skin", "background"] {
        let png = STANDARD.decode(more["masks"][mask].as_str().unwrap()).unwrap();
        assert_eq!(image::guess_format(&png).unwrap(), ImageFormat::Png);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_is_what_is_looked_at() {
    let Some(server) = start().await else { return };
    let cut = json(server.post_photo("/v1/analyze?box=60,60,180,260", jpeg()), 200).await;
    assert_eq!((cut["width"].as_u64(), cut["height"].as_u64()), (Some(120), Some(200)));
    let body = object!({"base64": STANDARD.encode(jpeg()), "box": [60, 60, 180, 260]});
    assert_eq!(json(server.post("/v1/analyze").json(&body), 200).await, cut);
}
