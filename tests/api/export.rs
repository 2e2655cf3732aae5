//! `vitrine export training-set` beside a running server.

use super::photos::photo;
use super::server::{json, start};
use image::ImageFormat::Png;
use reqwest::Method;
use serde_json::json as object;
use std::fs;
use std::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn corrections_come_out_with_their_photos_while_the_server_runs() {
    let Some(server) = start().await else { return };
    for (id, seed) in [("right", 1), ("wrong", 2), ("untouched", 3)] {
        server.product(id).await;
        json(server.post_photo(&format!("/v1/products/{id}/images"), photo(Png, seed)), 201).await;
    }
    let patch = |id: &str| server.request(Method::PATCH, &format!("/v1/products/{id}/attributes"));
    json(patch("right").json(&object!({"pattern": "solid"})), 200).await;
    json(patch("wrong").json(&object!({"category": "tshirts", "pattern": "striped", "neckline": null})), 200).await;
    let out = tempfile::tempdir().unwrap();
    let set = out.path().join("corrections");
    let export = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vitrine"));
        command
            .args(["export", "training-set", "--out"])
            .arg(&set)
            .arg("--data-dir")
            .arg(server.data())
            .output()
            .unwrap()
    };
    let first = export();
    assert!(first.status.success(), "{first:?}");
    let text = fs::read_to_string(set.join("labels.csv")).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("file,product_id,image_id,title,category,pattern"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(
        rows.iter().map(|r| (r[1], r[4], r[5])).collect::<Vec<_>>(),
        [("right", "", "solid"), ("wrong", "tshirts", "striped")]
    );
    assert_eq!(fs::read(set.join(rows[1][0])).unwrap(), photo(Png, 2));
    assert_eq!(fs::read_dir(set.join("photos")).unwrap().count(), 2);
    // A set that is there is never written over.
    let second = export();
    assert_eq!(second.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&second.stderr).contains("is there already"));
}
