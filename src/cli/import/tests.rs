//! Manifests as spreadsheets and strangers write them, and folders as people keep them.
#![allow(clippy::unwrap_used)]

use super::manifest::parse;
use super::rows::{Place, Plan};
use super::{folder, manifest};
use proptest::prelude::*;
use std::fs;
use std::path::Path;

fn plan(csv: &[u8]) -> Plan {
    parse(csv, Path::new("/shop")).unwrap()
}

fn causes(plan: &Plan) -> Vec<(u64, &'static str)> {
    plan.rejected.iter().map(|r| (r.line, r.cause)).collect()
}

#[test]
fn a_manifest_of_a_spreadsheet() {
    let plan = plan(
        b"\xef\xbb\xbfproduct_id;image_id;Image URI;title;price;in_stock;tags;attributes.pattern;Notes\r\n\
          p1;front;a/1.jpg;\"Dress; \"\"red\"\"\";59.90;yes; new |sale|new;striped;x\r\n\
          p1;back;https://cdn.example/2.jpg;;;;;;\r\n\
          p2;;file:///photos/3.png;Shoe;;no;;;\r\n",
    );
    assert_eq!(plan.rejected, []);
    assert_eq!(plan.ignored_columns, ["Notes"]);
    let places: Vec<_> = plan.rows.iter().map(|r| (r.line, r.image_id.as_deref(), r.place.shown())).collect();
    let expected = [
        (2, Some("front"), "/shop/a/1.jpg".to_owned()),
        (3, Some("back"), "https://cdn.example/2.jpg".to_owned()),
        (4, None, "/photos/3.png".to_owned()),
    ];
    assert_eq!(places, expected);
    let p1 = &plan.products["p1"];
    assert_eq!((p1.title.as_deref(), p1.price, p1.in_stock), (Some("Dress; \"red\""), Some(59.9), Some(true)));
    assert_eq!(p1.tags.as_ref().unwrap(), &["new", "sale"]);
    assert_eq!(p1.attributes.as_ref().unwrap()["pattern"], "striped");
    assert_eq!(plan.products["p2"].in_stock, Some(false));
}

#[test]
fn lines_are_those_an_editor_shows() {
    for end in ["\n", "\r\n"] {
        let csv = ["product_id,image_uri", "p,1.jpg", "", "p,", "\"q\nq\",2.jpg", "q,"].join(end);
        assert_eq!(
            causes(&plan(csv.as_bytes())).iter().map(|(line, _)| *line).collect::<Vec<_>>(),
            [4, 5, 7],
            "{end:?}"
        );
    }
}

#[test]
fn bad_rows_are_rejected_one_by_one() {
    let plan = plan(
        b"product_id,image_uri,price\n\
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
          p,good.jpg,1\n",
    );
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
    assert_eq!(causes(&plan), expected);
    assert_eq!(plan.rows.len(), 1);
    assert_eq!(plan.products["p"].price, Some(1.0));
}

#[test]
fn repeated_rows_are_taken_once_and_contradictions_rejected() {
    let plan = plan(
        b"product_id,image_id,image_uri,title\np,1,a.jpg,\np,1,a.jpg,Late\np,1,b.jpg,Later\np,,c.jpg,\np,,c.jpg,\nq,1,a.jpg,\n",
    );
    assert_eq!((plan.rows.len(), plan.repeated), (3, 2));
    assert_eq!(causes(&plan), [(4, "duplicate id")]);
    assert!(plan.rejected[0].detail.contains("line 2"));
    // The first row that says something counts, whether its photo is a repetition or not.
    assert_eq!(plan.products["p"].title.as_deref(), Some("Late"));
}

#[test]
fn a_head_without_the_columns_rejects_the_file() {
    for (csv, wanted) in [
        (&b"file,price\na,1\n"[..], "product_id"),
        (b"product_id\n1\n", "image_uri"),
        (b"", "product_id, image_uri"),
        (b"\xff\xfep\0", "UTF-16"),
        (b"product_id,image_uri,\xff\n", "UTF-8"),
    ] {
        let error = parse(csv, Path::new("")).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn label_files_of_public_sets_are_manifests() {
    let plan = plan(b"file,id,gender,articleType,productDisplayName\nimages/1.jpg,1,Women,Skirts,White Skirt\n");
    assert_eq!(plan.ignored_columns, ["gender", "articleType"]);
    assert_eq!(plan.products["1"].title.as_deref(), Some("White Skirt"));
    // Windows paths have no scheme of one letter.
    let plan = parse(b"product_id,image_uri\np,C:\\photos\\a.jpg\n", Path::new("")).unwrap();
    assert!(matches!(&plan.rows[0].place, Place::File(_)));
}

#[test]
fn folders_give_products_by_stem_and_by_path_where_stems_clash() {
    let dir = tempfile::tempdir().unwrap();
    for name in
        ["a.jpg", "x/b.PNG", "x/front.jpg", "y/front.jpg", ".hidden.jpg", ".git/c.jpg", "notes.txt", "連衣裙.webp"]
    {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }
    let plan = folder::read(dir.path()).unwrap();
    let ids: Vec<_> = plan.rows.iter().map(|r| (r.product_id.as_str(), r.image_id.as_deref().unwrap())).collect();
    let expected = [
        ("a", "a.jpg"),
        ("b", "x/b.PNG"),
        ("x-front", "x/front.jpg"),
        ("y-front", "y/front.jpg"),
        ("連衣裙", "連衣裙.webp"),
    ];
    assert_eq!(ids, expected);
    assert_eq!(plan.products.len(), 5);
}

#[test]
fn a_manifest_inside_a_folder_is_used_when_it_is_one() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.jpg"), b"").unwrap();
    fs::write(dir.path().join("labels.csv"), b"file,pattern\na.jpg,solid\n").unwrap();
    assert_eq!(folder::read(dir.path()).unwrap().rows[0].product_id, "a");
    fs::write(dir.path().join("labels.csv"), b"file,id\na.jpg,77\n").unwrap();
    let plan = folder::read(dir.path()).unwrap();
    assert_eq!((plan.rows.len(), plan.rows[0].product_id.as_str()), (1, "77"));
    assert_eq!(plan.rows[0].place, Place::File(dir.path().join("a.jpg")));
    assert!(manifest::read(&dir.path().join("none.csv")).is_err());
}

proptest! {
    /// Whatever the bytes are: an error or a plan whose every row is whole.
    #[test]
    fn any_bytes_are_survived(head in prop::sample::select(vec!["", "product_id,image_uri\n", "id;file;price\n"]), body: Vec<u8>) {
        let bytes = [head.as_bytes(), &body].concat();
        if let Ok(plan) = parse(&bytes, Path::new("/shop")) {
            for row in &plan.rows {
                prop_assert!(!row.product_id.is_empty());
                prop_assert!(plan.products.contains_key(&row.product_id));
            }
        }
    }
}
