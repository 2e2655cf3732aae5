//! Metrics against values computed by hand, and labels files as people write them.
#![allow(clippy::unwrap_used)]

use super::labels::{ColorNames, Labels, Where, normal};
use super::look::{HeadSaid, Seen, in_parallel};
use super::metrics::{Judged, Metrics, mean, precision_at};
use super::*;

fn judged(truth: usize, top: usize, confidence: f32, asserted: bool) -> Judged {
    Judged { truth: vec![truth], top, confidence, asserted: if asserted { vec![top] } else { vec![] } }
}

fn close(value: Option<f64>, expected: f64) {
    assert!((value.unwrap() - expected).abs() < 1e-6, "{value:?}, expected {expected}");
}

#[test]
fn metrics_are_those_computed_by_hand() {
    let all = [
        judged(0, 0, 0.95, true),
        judged(0, 0, 0.85, true),
        judged(0, 1, 0.55, false),
        judged(1, 1, 0.95, true),
        judged(2, 1, 0.75, true),
    ];
    let m = Metrics::of(&all, false);
    assert_eq!((m.n, m.labels), (5, 3));
    close(m.accuracy, 3.0 / 5.0);
    // Label 0: 2 hits, 1 missed, 0 false: 4/5. Label 1: 1 hit, 2 false: 2/4. Label 2: never: 0.
    close(m.macro_f1, (0.8 + 0.5 + 0.0) / 3.0);
    close(m.coverage, 4.0 / 5.0);
    close(m.precision_asserted, 3.0 / 4.0);
    // Bins of a tenth: the two of 0.95 share the last (1.9 of 2), the others stand alone.
    close(m.ece, (0.1 + 0.15 + 0.55 + 0.75) / 5.0);
}

#[test]
fn heads_with_several_labels_count_what_is_asserted() {
    let all = [
        Judged { truth: vec![0, 1], top: 0, confidence: 1.0, asserted: vec![0] },
        Judged { truth: vec![1], top: 1, confidence: 1.0, asserted: vec![0, 1] },
    ];
    let m = Metrics::of(&all, true);
    close(m.accuracy, 1.0);
    close(m.macro_f1, 2.0 / 3.0);
    close(m.precision_asserted, 2.0 / 3.0);
    close(m.ece, 0.0);
}

#[test]
fn of_alternatives_any_is_right_and_labels_never_right_have_no_f1() {
    let all = [
        Judged { truth: vec![0, 1], top: 1, confidence: 1.0, asserted: vec![1] },
        Judged { truth: vec![0, 1], top: 2, confidence: 1.0, asserted: vec![] },
    ];
    let m = Metrics::of(&all, false);
    close(m.accuracy, 0.5);
    // Truth is 1, then 0; predicted 1, then 2.
    close(m.macro_f1, (1.0 + 0.0) / 2.0);
}

#[test]
fn nothing_judged_gives_no_figures() {
    let m = Metrics::of(&[], false);
    assert_eq!(m, Metrics::default());
    close(Metrics::of(&[judged(0, 0, 0.0, false)], false).coverage, 0.0);
    assert_eq!(Metrics::of(&[judged(0, 0, 0.5, false)], false).precision_asserted, None);
    assert_eq!(mean([]), None);
}

#[test]
fn precision_of_the_first() {
    close(precision_at(2, 7, &[7, 8, 7]), 0.5);
    close(precision_at(10, 7, &[7, 8, 7]), 2.0 / 3.0);
    assert_eq!(precision_at(10, 7, &[]), None);
}

#[test]
fn labels_files_as_people_write_them() {
    let csv = b"\xef\xbb\xbfcategory,file,split\r\ndress,\"a,b.jpg\",val\r\n,c.jpg,val\r\nshoe\r\nshoe,\xff.jpg,val\r\nshoe,,val\r\nshoe,d.jpg,train\r\n";
    let labels = Labels::parse(csv, Path::new("/set")).unwrap();
    assert_eq!(labels.rejected, 3);
    let paths: Vec<_> = labels.rows.iter().map(|(p, _)| p.to_str().unwrap()).collect();
    assert_eq!(paths, ["/set/a,b.jpg", "/set/c.jpg", "/set/d.jpg"]);
    let select =
        |conditions: &[&str]| labels.select(&conditions.iter().map(|c| c.parse().unwrap()).collect::<Vec<Where>>());
    assert_eq!(select(&["split=val"]).unwrap(), [true, true, false]);
    assert_eq!(select(&["split=val", "category=dress"]).unwrap(), [true, false, false]);
    assert_eq!(select(&["category=dress", "category=shoe"]).unwrap(), [true, false, true]);
    assert!(select(&["kind=dress"]).unwrap_err().contains("kind"));
    assert!(Labels::parse(b"category,photo\n", Path::new("")).unwrap_err().contains("file"));
    assert!("split".parse::<Where>().is_err());
}

#[test]
fn accepted_color_names() {
    let names = ColorNames::parse(b"label,accepted_names\nNavy Blue,blue\nGold,yellow brown beige\n").unwrap();
    assert_eq!(names.accepted("navy_blue").unwrap(), ["blue"]);
    assert_eq!(names.accepted("Gold").unwrap().len(), 3);
    assert_eq!(names.accepted("Multi"), None);
    assert!(ColorNames::parse(b"a,b\n").is_err());
    assert_eq!(normal(" Casual  Shoes-2 "), "casual_shoes_2");
}

#[test]
fn results_come_in_the_order_of_the_items_and_the_first_error_wins() {
    let items: Vec<usize> = (0..200).collect();
    assert_eq!(in_parallel(&items, 4, |n| Ok::<_, ()>(n * 2)).unwrap()[199], 398);
    let failed = in_parallel(&items, 1, |n| if *n >= 5 { Err(*n) } else { Ok(()) });
    assert_eq!(failed.unwrap_err(), 5);
}

fn head() -> HeadSpec {
    serde_json::from_value(serde_json::json!({"name": "category", "kind": "single", "output": "c",
        "labels": ["dresses", "casual_shoes", "watches"], "temperature": 1.0, "threshold": 0.5}))
    .unwrap()
}

#[test]
fn rare_unknown_and_blank_labels_are_not_judged_and_are_told() {
    let csv =
        b"file,category,split\na,Dresses,val\nb,Casual Shoes,val\nc,,val\nd,hats,val\ne,dresses,train\nf,watches,val\n";
    let labels = Labels::parse(csv, Path::new("")).unwrap();
    let seen = |top, color: &str| {
        let said = HeadSaid { top, confidence: 0.9, asserted: vec![top] };
        Some(Seen { sha256: String::new(), heads: vec![said], embedding: vec![1.0], color: Some(color.into()) })
    };
    let (counted, rows) = (vec![true; 6], [0, 1, 2, 3, 5]);
    let seen = [seen(0, "red"), seen(0, "red"), seen(0, "red"), seen(0, "red"), None];
    let eval = Eval { labels: &labels, counted: &counted, min_photos: 1, rows: &rows, seen: &seen };
    let report = eval.head(0, &head(), 1);
    assert_eq!(eval.items(&head(), 1).len(), 2);
    assert_eq!((report.metrics.n, report.unknown_labels, report.rare), (2, 1, 0));
    close(report.metrics.accuracy, 0.5);
    let rare = Eval { min_photos: 2, ..eval }.head(0, &head(), 1);
    assert_eq!((rare.metrics.n, rare.rare), (1, 2));
    close(rare.metrics.accuracy, 1.0);
}
