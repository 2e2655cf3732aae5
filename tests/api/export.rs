//! `vitrine export` beside a running server, and `/v1/export`.

use super::photos::photo;
use super::server::{Server, json, problem, start};
use image::ImageFormat::Png;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::record::Field;
use parquet::record::reader::RowIter;
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
    // Two parts of one photo, of one name in two products.
    for (id, area) in [("right", "50,40,190,280"), ("wrong", "0,0,100,320")] {
        let part = server.put(&format!("/v1/products/{id}/images/part?box={area}")).header("content-type", "image/png");
        json(part.body(photo(Png, 1)), 201).await;
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
        [
            ("right", "", "solid"),
            ("right", "", "solid"),
            ("wrong", "tshirts", "striped"),
            ("wrong", "tshirts", "striped")
        ]
    );
    assert_eq!(fs::read(set.join(rows[2][0])).unwrap(), photo(Png, 2));
    // Of a part, what was looked at.
    for (row, size) in [(1, (140, 240)), (3, (100, 320))] {
        assert_eq!(image::open(set.join(rows[row][0])).unwrap().into_rgb8().dimensions(), size);
    }
    assert_eq!(fs::read_dir(set.join("photos")).unwrap().count(), 4);
    // A set that is there is never written over.
    let second = export();
    assert_eq!(second.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&second.stderr).contains("is there already"));
}

/// Rows of a file of features as JSON, in the order of the file.
fn rows(bytes: Vec<u8>) -> Vec<serde_json::Value> {
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
    RowIter::from_file_into(Box::new(reader)).map(|row| value(&Field::Group(row.unwrap()))).collect()
}

fn value(field: &Field) -> serde_json::Value {
    match field {
        Field::Null => serde_json::Value::Null,
        Field::Bool(truth) => object!(truth),
        Field::Int(number) => object!(number),
        Field::Long(number) | Field::TimestampMillis(number) => object!(number),
        Field::Float(number) => object!(number),
        Field::Double(number) => object!(number),
        Field::Str(text) => object!(text),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        Field::Group(row) => {
            serde_json::Value::Object(row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect())
        }
        other => panic!("{other:?}"),
    }
}

/// All that is new since `cursor`, page by page; and where it ends.
async fn features(server: &Server, mut cursor: Option<String>, limit: usize) -> (Vec<serde_json::Value>, String) {
    let mut all = Vec::new();
    loop {
        let after = cursor.map_or(String::new(), |cursor| format!("&cursor={cursor}"));
        let response = server.get(&format!("/v1/export/features?limit={limit}{after}")).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "application/vnd.apache.parquet");
        let (next, count) = (header("feed-next-cursor"), header("feed-rows").parse::<usize>().unwrap());
        let page = rows(response.bytes().await.unwrap().to_vec());
        assert_eq!(page.len(), count);
        if page.is_empty() {
            return (all, next);
        }
        all.extend(page);
        cursor = Some(next);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn features_of_products_come_as_parquet_and_later_what_changed() {
    let Some(server) = start().await else { return };
    for (id, seed) in [("a", 1), ("b", 2), ("c", 3)] {
        let metadata = object!({"title": id, "price": 59.9, "group_id": "g", "popularity": 0.5});
        json(server.put(&format!("/v1/products/{id}")).json(&metadata), 201).await;
        json(server.post_photo(&format!("/v1/products/{id}/images"), photo(Png, seed)), 201).await;
    }
    json(server.post_photo("/v1/products/c/images", photo(Png, 4)), 201).await;
    server.product("bare").await;
    let (all, cursor) = features(&server, None, 2).await;
    let ids: Vec<&str> = all.iter().map(|row| row["item_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a", "b", "c", "bare"]);
    for row in &all {
        let product = json(server.get(&format!("/v1/products/{}", row["item_id"].as_str().unwrap())), 200).await;
        for name in ["title", "price", "group_id", "seq"] {
            assert_eq!(row[name], product[name], "{name}");
        }
        let close =
            |a: &serde_json::Value, b: &serde_json::Value| (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-4;
        let (attributes, told) = (row["attributes"].as_array().unwrap(), product["attributes"].as_array().unwrap());
        assert_eq!(attributes.len(), told.len());
        for (ours, theirs) in attributes.iter().zip(told) {
            assert_eq!(
                [&ours["name"], &ours["value"], &ours["source"]],
                [&theirs["name"], &theirs["value"], &theirs["source"]]
            );
            assert!(close(&ours["confidence"], &theirs["confidence"]));
        }
        let image = &product["images"][0];
        let dominant = image["colors"]["dominant"].as_array().cloned().unwrap_or_default();
        let colors = row["colors"].as_array().unwrap();
        assert_eq!(colors.len(), dominant.len());
        for (ours, theirs) in colors.iter().zip(&dominant) {
            assert_eq!(
                [&ours["name"], &ours["hex"], &ours["shade"]],
                [&theirs["name"], &theirs["hex"], &theirs["shade"]]
            );
            assert!(close(&ours["l"], &theirs["lab"][0]) && close(&ours["b"], &theirs["lab"][2]));
        }
        assert_eq!(
            (&row["model_version"], row["images"].as_u64().unwrap() as usize),
            (&image["model_version"], product["images"].as_array().unwrap().len())
        );
        assert_eq!(row["deleted"], false);
    }
    let length = |row: &serde_json::Value| -> f64 {
        row["embedding"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap().powi(2)).sum::<f64>().sqrt()
    };
    assert!(
        all[..3]
            .iter()
            .all(|row| (length(row) - 1.0).abs() < 1e-3 && row["embedding"].as_array().unwrap().len() == 256)
    );
    assert_eq!((&all[3]["embedding"], &all[3]["colors"]), (&serde_json::Value::Null, &object!([])));
    // The command writes the same, and beside it later what changed since.
    let out = tempfile::tempdir().unwrap();
    let export = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vitrine"));
        command.args(["export", "features", "--out"]).arg(out.path()).arg("--data-dir").arg(server.data()).args(more);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let partition = |cursor: u64| {
        let dir = out.path().join(format!("cursor={cursor}"));
        let about: serde_json::Value = serde_json::from_slice(&fs::read(dir.join("_features.json")).unwrap()).unwrap();
        let parts = about["files"].as_array().unwrap().iter();
        let parts = parts.flat_map(|part| rows(fs::read(dir.join(part["name"].as_str().unwrap())).unwrap()));
        (parts.collect::<Vec<_>>(), about)
    };
    export(&["--rows-per-file", "3"]);
    let last = all[3]["seq"].as_u64().unwrap();
    let (written, about) = partition(last);
    assert_eq!((&written, &about["is_full"], about["files"].as_array().unwrap().len()), (&all, &object!(true), 2));
    assert!(export(&[]).contains("nothing has changed"));
    assert_eq!(server.request(Method::DELETE, "/v1/products/a").send().await.unwrap().status(), 204);
    json(server.put("/v1/products/b").json(&object!({"price": 9.5})), 200).await;
    server.product("a").await;
    assert_eq!(server.request(Method::DELETE, "/v1/products/bare").send().await.unwrap().status(), 204);
    let (changed, next) = features(&server, Some(cursor), 1).await;
    let told: Vec<_> = changed.iter().map(|row| (row["item_id"].as_str().unwrap(), row["deleted"] == true)).collect();
    assert_eq!(told, [("a", true), ("b", false), ("a", false), ("bare", true)]);
    assert_eq!(changed[1]["price"], 9.5);
    assert_eq!(features(&server, Some(next), 10).await.0, Vec::<serde_json::Value>::new());
    export(&[]);
    let (written, about) = partition(last + 4);
    assert_eq!(
        (&written, &about["is_full"], &about["after"], &about["deleted"]),
        (&changed, &object!(false), &object!(last), &object!(2))
    );
    // All once more: what is gone is not spoken of.
    export(&["--full"]);
    let (written, about) = partition(last + 4);
    let ids: Vec<&str> = written.iter().map(|row| row["item_id"].as_str().unwrap()).collect();
    assert_eq!((ids, &about["is_full"]), (vec!["c", "b", "a"], &object!(true)));
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 2);
    // Another catalog's changes are no continuation.
    let Some(other) = start().await else { return };
    other.product("x").await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_vitrine"));
    command.args(["export", "features", "--out"]).arg(out.path()).arg("--data-dir").arg(other.data());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("another folder"), "{output:?}");
    problem(server.get("/v1/export/features?cursor=x"), 400, "invalid-cursor").await;
    problem(server.get("/v1/export/features?limit=0"), 400, "invalid-parameter").await;
}
