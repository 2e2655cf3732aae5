//! Manifests as spreadsheets and strangers write them.
#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;
use std::io::BufReader;

fn rows(manifest: &[u8], format: Text) -> (Vec<NewRow>, Vec<String>) {
    let base = Base::Folder(PathBuf::from("/shop"));
    // As small a buffer as there is: every way in which a record can be cut is met.
    let mut rows = Rows::of_text(BufReader::with_capacity(7, manifest), format, base).unwrap();
    let read = rows.by_ref().collect::<Result<Vec<_>, _>>().unwrap();
    (read, rows.ignored().to_vec())
}

fn csv(manifest: &[u8]) -> Vec<NewRow> {
    rows(manifest, Text::Csv).0
}

fn causes(rows: &[NewRow]) -> Vec<(u64, &str)> {
    rows.iter().filter_map(|row| Some((row.line, row.content.as_ref().err()?.cause.as_str()))).collect()
}

fn good(rows: &[NewRow]) -> Vec<&RowContent> {
    rows.iter().filter_map(|row| row.content.as_ref().ok()).collect()
}

#[test]
fn a_manifest_of_a_spreadsheet() {
    let (read, ignored) = rows(
        b"\xef\xbb\xbfproduct_id;image_id;Image URI;title;price;in_stock;tags;attributes.pattern;Notes\r\n\
          p1;front;a/1 #2.jpg;\"Dress; \"\"red\"\"\";59.90;yes; new |sale|new;striped;x\r\n\
          p1;back;https://cdn.example/2.jpg;;;;;;\r\n\
          p2;;file:///photos/3.png;Shoe;;no;;;\r\n",
        Text::Csv,
    );
    assert_eq!(causes(&read), []);
    assert_eq!(ignored, ["Notes"]);
    let places: Vec<_> = read
        .iter()
        .zip(good(&read))
        .map(|(r, c)| (r.row, r.line, c.image_id.as_deref(), c.uri.as_deref().unwrap()))
        .collect();
    let expected = [
        (1, 2, Some("front"), "file:///shop/a/1%20%232.jpg"),
        (2, 3, Some("back"), "https://cdn.example/2.jpg"),
        (3, 4, None, "file:///photos/3.png"),
    ];
    assert_eq!(places, expected);
    let p1 = &good(&read)[0].metadata;
    assert_eq!((p1.title.as_deref(), p1.price, p1.in_stock), (Some("Dress; \"red\""), Some(59.9), Some(true)));
    assert_eq!(p1.tags.as_ref().unwrap(), &["new", "sale"]);
    assert_eq!(p1.attributes.as_ref().unwrap()["pattern"], "striped");
    assert_eq!(good(&read)[2].metadata.in_stock, Some(false));
}

#[test]
fn lines_are_those_an_editor_shows() {
    for end in ["\n", "\r\n"] {
        let manifest = ["product_id,image_uri", "p,1.jpg", "", "p,", "\"q\nq\",2.jpg", "q,"].join(end);
        let read = csv(manifest.as_bytes());
        assert_eq!(causes(&read).iter().map(|(line, _)| *line).collect::<Vec<_>>(), [4, 5, 7], "{end:?}");
    }
}

#[test]
fn bad_rows_fail_one_by_one() {
    let read = csv(b"product_id,image_uri,price\n\
          ,a.jpg,\n\
          p,,\n\
          p,a.jpg\n\
          p,a.jpg,1,2\n\
          p,\xff\xfe.jpg,\n\
          p,b.jpg,\"1,299.00\"\n\
          p,c.jpg,nan\n\
          p,d.jpg,-1\n\
          p,ftp://x/e.jpg,\n\
          p,data:image/png;base64,AA\n\
          p,good.jpg,1\n");
    let expected = [
        (2, "missing value"),
        (3, "missing value"),
        (4, "wrong number of cells"),
        (5, "wrong number of cells"),
        (6, "not UTF-8"),
        (7, "bad value"),
        (8, "bad value"),
        (9, "bad value"),
        (10, "bad value"),
        (11, "bad value"),
    ];
    assert_eq!(causes(&read), expected);
    assert_eq!(good(&read).len(), 1);
    assert_eq!(good(&read)[0].metadata.price, Some(1.0));
}

#[test]
fn a_row_that_is_too_long_fails_and_is_not_held() {
    let long = "x".repeat(3 * MAX_ROW_BYTES);
    let columns = ",".repeat(2 * MAX_COLUMNS);
    let manifest = format!("product_id,image_uri\np,a.jpg\np,{long}\np,\"{long}\n\"\n{columns}\np,b.jpg\n");
    let base = Base::Folder(PathBuf::from("/shop"));
    let mut read = Rows::of_text(manifest.as_bytes(), Text::Csv, base.clone()).unwrap();
    let all: Vec<_> = read.by_ref().map(Result::unwrap).collect();
    assert_eq!(causes(&all), [(3, "row too long"), (4, "row too long"), (6, "row too long")]);
    assert_eq!(good(&all).len(), 2);
    let Records::Csv(records) = &read.format else { unreachable!() };
    assert!(records.held() <= 2 * MAX_ROW_BYTES, "{}", records.held());
    let manifest = format!(
        "{{\"product_id\": \"p\", \"image_uri\": \"a.jpg\"}}\n{long}\n{{\"product_id\": \"p\", \"image_uri\": \"b.jpg\"}}"
    );
    let all: Vec<_> = Rows::of_text(manifest.as_bytes(), Text::Ndjson, base).unwrap().map(Result::unwrap).collect();
    assert_eq!(causes(&all), [(2, "row too long")]);
    assert_eq!(good(&all).len(), 2);
}

#[test]
fn a_head_without_the_columns_refuses_the_file() {
    for (manifest, wanted) in [
        (&b"file,price\na,1\n"[..], "product_id"),
        (b"product_id\n1\n", "image_uri"),
        (b"", "product_id, image_uri"),
        (b"\xff\xfep\0", "UTF-16"),
        (b"product_id,image_uri,\xff\n", "UTF-8"),
    ] {
        let error = Rows::of_text(manifest, Text::Csv, Base::Nowhere).err().unwrap().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn label_files_of_public_sets_are_manifests() {
    let (read, ignored) =
        rows(b"file,id,gender,articleType,productDisplayName\nimages/1.jpg,1,Women,Skirts,White Skirt\n", Text::Csv);
    assert_eq!(ignored, ["gender", "articleType"]);
    assert_eq!(good(&read)[0].metadata.title.as_deref(), Some("White Skirt"));
    // Windows paths have no scheme of one letter.
    assert!(good(&csv(b"product_id,image_uri\np,C:\\photos\\a.jpg\n"))[0].uri.as_ref().unwrap().starts_with("file:"));
}

#[test]
fn files_for_googles_product_search_have_no_head() {
    let (read, ignored) = rows(
        b"https://cdn.example/1.jpg,front,set-1,p1,apparel-v2,Red dress,\"color=red,style=mini,color=dark\",\n\
          https://cdn.example/2.jpg,,set-1,p2,apparel-v2,,,\"0.1,0.1,0.9,0.1,0.9,0.9\"\n\
          https://cdn.example/3.jpg,,set-1,p3\n\
          https://cdn.example/4.jpg,,set-1,p4,apparel-v2,,red,\n\
          https://cdn.example/4.jpg,,set-1,p4,apparel-v2,,,\"10,10,20\"\n",
        Text::Csv,
    );
    assert!(ignored.is_empty());
    assert_eq!(causes(&read), [(4, "bad value"), (5, "bad value")]);
    assert!(read[4].content.as_ref().unwrap_err().detail.contains("\"10,10,20\""));
    let [first, second, third] = good(&read)[..] else { unreachable!() };
    assert_eq!((first.product_id.as_str(), first.image_id.as_deref()), ("p1", Some("front")));
    assert_eq!(first.metadata.title.as_deref(), Some("Red dress"));
    assert_eq!(first.metadata.tags.as_deref().unwrap(), ["product-set:set-1"]);
    assert_eq!((first.area, second.area), (None, Some(Area::Shares([0.1, 0.1, 0.9, 0.9]))));
    let labels = [("color".to_owned(), "red".to_owned()), ("style".into(), "mini".into())];
    assert_eq!(first.metadata.attributes, Some(labels.into()));
    assert_eq!((second.image_id.as_deref(), third.product_id.as_str()), (None, "p3"));
}

#[test]
fn lines_of_json_have_the_same_fields() {
    let (read, ignored) = rows(
        b"{\"product_id\": \"p1\", \"image_uri\": \"a.jpg\", \"price\": 59.9, \"in_stock\": false, \"tags\": [\"new\", \"sale\"],\
           \"attributes\": {\"pattern\": \"striped\"}, \"title\": null, \"stock\": 3, \"box\": [1, 2, 30, 40]}\n\
          \n\
          {\"sku\": 17, \"image_url\": \"https://cdn.example/2.jpg\", \"attributes.neckline\": \"v\"}\r\n\
          [1]\n\
          {\"product_id\": \"p\", \"image_uri\": {}}\n\
          {\"product_id\": \"p\"}\n\
          {\"product_id\": \"p\", \"image_uri\": \"\xff\"}\n\
          {\"product_id\": \"p3\", \"image_uri\": \"c.jpg\"}",
        Text::Ndjson,
    );
    assert_eq!(ignored, ["stock"]);
    assert_eq!(causes(&read), [(4, "not JSON"), (5, "bad value"), (6, "missing value"), (7, "not JSON")]);
    let [first, second, third] = good(&read)[..] else { unreachable!() };
    assert_eq!((first.metadata.price, first.metadata.in_stock), (Some(59.9), Some(false)));
    assert_eq!(first.metadata.tags.as_deref().unwrap(), ["new", "sale"]);
    assert_eq!(first.area, Some(Area::Pixels([1, 2, 30, 40].into())));
    assert_eq!(first.metadata.attributes.as_ref().unwrap()["pattern"], "striped");
    assert_eq!((second.product_id.as_str(), second.uri.as_deref().unwrap()), ("17", "https://cdn.example/2.jpg"));
    assert_eq!(second.metadata.attributes.as_ref().unwrap()["neckline"], "v");
    assert_eq!((third.product_id.as_str(), read.last().unwrap().line), ("p3", 8));
}

#[test]
fn of_several_names_of_a_field_that_of_the_api_counts() {
    let line =
        br#"{"sku": "S-9", "id": "1", "path": "x.jpg", "product_id": "p1", "image_uri": "a.jpg", "file": "y.jpg"}"#;
    let (read, _) = rows(line, Text::Ndjson);
    assert_eq!(
        (good(&read)[0].product_id.as_str(), good(&read)[0].uri.as_deref().unwrap()),
        ("p1", "file:///shop/a.jpg")
    );
    let long = format!("product_id,image_uri\np,https://cdn.example/{}\n", "x".repeat(MAX_URI_BYTES));
    assert_eq!(causes(&csv(long.as_bytes())), [(2, "bad value")]);
}

#[test]
fn paths_lie_beside_a_manifest_that_was_fetched_and_nowhere_for_one_that_was_sent() {
    let uri = |base: &Base| base.url("photos/1.jpg");
    let beside = Base::Beside(Url::parse("https://shop.example/feed/all.csv").unwrap());
    assert_eq!(uri(&beside).unwrap(), "https://shop.example/feed/photos/1.jpg");
    assert!(uri(&Base::Nowhere).unwrap_err().contains("expected an http"));
}

proptest! {
    /// Whatever the bytes are: an error, or rows that are whole or say what is wrong with them.
    #[test]
    fn any_bytes_are_survived(
        head in prop::sample::select(vec!["", "product_id,image_uri\n", "id;file;price\n"]),
        is_csv: bool,
        body: Vec<u8>,
    ) {
        let bytes = [head.as_bytes(), &body].concat();
        let format = if is_csv { Text::Csv } else { Text::Ndjson };
        if let Ok(rows) = Rows::of_text(bytes.as_slice(), format, Base::Folder(PathBuf::from("/shop"))) {
            for (n, row) in rows.enumerate() {
                let row = row.unwrap();
                prop_assert_eq!(row.row, n as u64 + 1);
                match row.content {
                    Ok(content) => prop_assert!(!content.product_id.is_empty() && content.uri.as_ref().is_none_or(|uri| Url::parse(uri).is_ok())),
                    Err(fault) => prop_assert!(!fault.detail.is_empty()),
                }
            }
        }
    }
}
