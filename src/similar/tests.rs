//! Pages against what the definition says: order, paging, grouping, colors, weights, sources, errors.

use super::*;
use crate::filter::Filter;
use crate::index::{Index, IndexConfig, IndexedImage, IndexedProduct};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::json;

const DIMENSION: usize = 16;

fn vector(seed: u64) -> Vec<f32> {
    let mut rng = Pcg64::seed_from_u64(seed);
    let vector: Vec<f32> = (0..DIMENSION).map(|_| rng.random::<f32>() - 0.5).collect();
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter().map(|value| value / length).collect()
}

/// The unit vector at `angle` degrees from the first axis.
fn at(angle: f32) -> Vec<f32> {
    let mut vector = vec![0.0; DIMENSION];
    (vector[1], vector[0]) = angle.to_radians().sin_cos();
    vector
}

fn empty(exact_rows: usize) -> Index {
    let model_version = "m1".to_owned();
    Index::in_memory(IndexConfig { dimension: DIMENSION, model_version, exact_rows, ..IndexConfig::default() })
}

fn put(index: &Index, id: &str, facets: Facets, vectors: &[Vec<f32>]) {
    let image = |(i, embedding): (usize, &Vec<f32>)| IndexedImage {
        image_id: format!("{id}-{i}"),
        embedding: embedding.clone(),
    };
    let images = vectors.iter().enumerate().map(image).collect();
    let product = IndexedProduct { product_id: id.to_owned(), facets, images };
    index.apply(index.seq() + 1, id, Some(product)).unwrap();
}

fn colored(colors: &[BasicColor]) -> Facets {
    Facets { colors: colors.to_vec(), ..Facets::default() }
}

fn in_group(group: &str) -> Facets {
    Facets { group_id: Some(group.to_owned()), ..Facets::default() }
}

fn photo(embedding: Vec<f32>) -> Source {
    Source::Photo { embedding, facets: Facets::default() }
}

fn ask(index: &Index, source: Source, params: &SimilarParams) -> SimilarPage {
    search(index, &SimilarQuery::new(source, params).unwrap()).unwrap()
}

fn ids(page: &SimilarPage) -> Vec<&str> {
    page.items.iter().map(|item| item.product_id.as_str()).collect()
}

/// All pages of a query, each of `limit` items.
fn pages(index: &Index, source: &Source, params: &SimilarParams, limit: i64) -> Vec<SimilarItem> {
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let params = SimilarParams { limit: Some(limit), cursor: cursor.take(), ..params.clone() };
        let page = ask(index, source.clone(), &params);
        assert!(page.items.len() <= limit as usize);
        all.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return all;
        }
    }
}

#[test]
fn by_product_the_nearest_come_first_and_the_product_itself_does_not() {
    let index = empty(1000);
    for (id, angle) in [("self", 0.0), ("far", 80.0), ("near", 10.0), ("opposite", 180.0)] {
        put(&index, id, Facets::default(), &[at(angle)]);
    }
    let page = ask(&index, Source::Product("self".to_owned()), &SimilarParams::default());
    assert_eq!(ids(&page), ["near", "far", "opposite"]);
    // Vectors are kept in half precision.
    assert!((page.items[0].score - 10f32.to_radians().cos()).abs() < 1e-4);
    assert_eq!((page.seq, page.model_version.as_str(), page.next_cursor), (4, "m1", None));
    let json = serde_json::to_value(&page.items[0]).unwrap();
    assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), ["image_id", "product_id", "score"]);
}

#[test]
fn of_several_images_the_best_pair_counts() {
    let index = empty(1000);
    put(&index, "self", Facets::default(), &[at(0.0), at(90.0)]);
    put(&index, "a", Facets::default(), &[at(200.0), at(95.0), at(300.0)]);
    put(&index, "b", Facets::default(), &[at(10.0), at(180.0)]);
    let page = ask(&index, Source::Product("self".to_owned()), &SimilarParams::default());
    assert_eq!(ids(&page), ["a", "b"], "one item a product");
    assert_eq!(page.items[0].image_id, "a-1");
    assert_eq!(page.items[1].image_id, "b-0");
}

#[test]
fn diversity_puts_what_is_unlike_the_items_before_first() {
    let index = empty(1000);
    // Two clusters on either side of the query, one a little nearer.
    for (id, angle) in [("a1", 10.0), ("a2", 11.0), ("a3", 12.0), ("b1", -14.0), ("b2", -15.0)] {
        put(&index, id, Facets::default(), &[at(angle)]);
    }
    let ask = |diversity| {
        let params = SimilarParams { diversity, explain: true, ..SimilarParams::default() };
        ask(&index, photo(at(0.0)), &params)
    };
    assert_eq!(ids(&ask(None)), ["a1", "a2", "a3", "b1", "b2"]);
    assert_eq!(ids(&ask(Some(0.0))), ids(&ask(None)));
    let page = ask(Some(0.3));
    assert_eq!(ids(&page)[..2], ["a1", "b1"]);
    // The score stays what it was, and the explanation says how near the nearest item before is.
    assert!((page.items[1].score - 14f32.to_radians().cos()).abs() < 1e-3);
    let redundancy = page.items.iter().map(|item| item.explain.as_ref().unwrap().redundancy).collect::<Vec<_>>();
    assert_eq!(redundancy[0], None);
    assert!((redundancy[1].unwrap() - 24f32.to_radians().cos()).abs() < 1e-3);
}

#[test]
fn diverse_pages_are_the_whole_in_pieces_and_agree_with_the_definition() {
    let index = empty(1000);
    let vectors: Vec<Vec<f32>> = (0..60).map(vector).collect();
    for (i, vector) in vectors.iter().enumerate() {
        put(&index, &format!("p{i:02}"), Facets::default(), std::slice::from_ref(vector));
    }
    let (query, diversity) = (vector(1000), 0.4f32);
    let params = SimilarParams { diversity: Some(diversity), ..SimilarParams::default() };
    let whole: Vec<String> =
        pages(&index, &photo(query.clone()), &params, 200).into_iter().map(|item| item.product_id).collect();
    for limit in [1, 7, 59] {
        let pieces = pages(&index, &photo(query.clone()), &params, limit);
        assert_eq!(pieces.into_iter().map(|item| item.product_id).collect::<Vec<_>>(), whole);
    }
    let dot = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let mut left: Vec<usize> = (0..60).collect();
    let mut chosen: Vec<usize> = Vec::new();
    while !left.is_empty() {
        let value = |i: usize| {
            let score = dot(&query, &vectors[i]);
            let redundancy = chosen.iter().map(|c| dot(&vectors[*c], &vectors[i])).fold(f32::NEG_INFINITY, f32::max);
            if chosen.is_empty() { score } else { (1.0 - diversity) * score - diversity * redundancy }
        };
        let best = *left.iter().max_by(|a, b| value(**a).total_cmp(&value(**b))).unwrap();
        left.retain(|i| *i != best);
        chosen.push(best);
    }
    let chosen: Vec<String> = chosen.iter().map(|i| format!("p{i:02}")).collect();
    // Half precision may swap what is all but equal, once in a while at most.
    let same = chosen.iter().zip(&whole).filter(|(a, b)| a == b).count();
    assert!(same >= 56, "{chosen:?} {whole:?}");
}

#[test]
fn a_basket_finds_what_lies_between() {
    let index = empty(1000);
    for (id, angle) in [("x", 0.0), ("y", 60.0), ("between", 30.0), ("like_x", -5.0), ("like_y", 65.0)] {
        put(&index, id, Facets::default(), &[at(angle)]);
    }
    let basket = |ids: &[&str]| Source::Basket(ids.iter().map(|id| (*id).to_owned()).collect());
    let page = ask(&index, basket(&["x", "y"]), &SimilarParams::default());
    assert_eq!(page.items[0].product_id, "between");
    assert_eq!(page.items.len(), 3, "the basket itself is left out");
    // Opposite products have no direction in common; that is no error.
    put(&index, "anti", Facets::default(), &[at(180.0)]);
    assert_eq!(ask(&index, basket(&["x", "anti"]), &SimilarParams::default()).items.len(), 4);
}

#[test]
fn variants_are_grouped_when_asked_for() {
    let index = empty(1000);
    put(&index, "self", in_group("mine"), &[at(0.0)]);
    put(&index, "mine2", in_group("mine"), &[at(1.0)]);
    put(&index, "a2", in_group("a"), &[at(20.0)]);
    put(&index, "a1", in_group("a"), &[at(10.0)]);
    put(&index, "lone1", Facets::default(), &[at(15.0)]);
    put(&index, "lone2", Facets::default(), &[at(25.0)]);
    let source = Source::Product("self".to_owned());
    let all = ask(&index, source.clone(), &SimilarParams::default());
    assert_eq!(ids(&all), ["mine2", "a1", "lone1", "a2", "lone2"]);
    let params = SimilarParams { group_by: Some(GroupBy::Group), ..SimilarParams::default() };
    let grouped = ask(&index, source.clone(), &params);
    assert_eq!(ids(&grouped), ["a1", "lone1", "lone2"]);
    assert_eq!(grouped.items[0].group_id.as_deref(), Some("a"));
    let paged = pages(&index, &source, &params, 1);
    assert_eq!(paged, grouped.items);
}

#[test]
fn a_page_is_full_though_variants_take_places() {
    let index = empty(10_000);
    for i in 0..300u16 {
        put(&index, &format!("v{i:03}"), in_group("one"), &[at(f32::from(i) * 0.01)]);
    }
    for i in 0..10u16 {
        put(&index, &format!("w{i}"), in_group(&format!("g{i}")), &[at(40.0 + f32::from(i))]);
    }
    let params = SimilarParams { group_by: Some(GroupBy::Group), limit: Some(5), ..SimilarParams::default() };
    assert_eq!(ids(&ask(&index, photo(at(0.0)), &params)), ["v000", "w0", "w1", "w2", "w3"]);
}

#[test]
fn color_modes() {
    use BasicColor::{Blue, Green, Red};
    let index = empty(1000);
    put(&index, "self", colored(&[Red, Blue]), &[at(0.0)]);
    put(&index, "red", colored(&[Red]), &[at(1.0)]);
    put(&index, "green", colored(&[Green]), &[at(2.0)]);
    put(&index, "both", colored(&[Green, Blue]), &[at(3.0)]);
    put(&index, "unknown", colored(&[]), &[at(4.0)]);
    let with = |color: &str| {
        let params = SimilarParams { color: Some(color.to_owned()), ..SimilarParams::default() };
        let page = ask(&index, Source::Product("self".to_owned()), &params);
        ids(&page).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(with("any"), ["red", "green", "both", "unknown"]);
    assert_eq!(with("same"), ["red", "both"]);
    assert_eq!(with("different"), ["green"]);
    assert_eq!(with("green"), ["green", "both"]);
    assert_eq!(with("#0a7d1e"), ["green", "both"]);
    assert_eq!(with("navy"), Vec::<String>::new());
    let params = SimilarParams { color: Some("same".to_owned()), ..SimilarParams::default() };
    let query = SimilarQuery::new(Source::Product("unknown".to_owned()), &params).unwrap();
    assert!(matches!(search(&index, &query), Err(SimilarError::Invalid { field: "color", .. })));
}

#[test]
fn weights_reorder_and_explain_says_why() {
    use BasicColor::{Blue, Red};
    let index = empty(1000);
    let facets = |colors: &[BasicColor], pattern: &str| {
        let mut facets = colored(colors);
        facets.attributes.insert("pattern".to_owned(), vec![pattern.to_owned()]);
        facets
    };
    put(&index, "self", facets(&[Red], "plain"), &[at(0.0)]);
    put(&index, "near", facets(&[Blue], "striped"), &[at(10.0)]);
    put(&index, "alike", facets(&[Red, Blue], "plain"), &[at(40.0)]);
    let source = || Source::Product("self".to_owned());
    assert_eq!(ids(&ask(&index, source(), &SimilarParams::default())), ["near", "alike"]);
    let weights = Some(Weights { embedding: 2.0, color: 1.0, attributes: 1.0, ..Weights::default() });
    let params = SimilarParams { weights, explain: true, ..SimilarParams::default() };
    let page = ask(&index, source(), &params);
    assert_eq!(ids(&page), ["alike", "near"]);
    let explain = page.items[0].explain.as_ref().unwrap();
    assert_eq!((explain.color, explain.attributes), (0.5, 1.0));
    assert_eq!(explain.shared_colors, [Red]);
    assert_eq!(explain.shared_attributes["pattern"], ["plain"]);
    let sum = 0.5 * explain.embedding + 0.25 * 0.5 + 0.25;
    assert!((page.items[0].score - sum).abs() < 1e-6);
    assert_eq!(pages(&index, &source(), &params, 1), page.items);
}

#[test]
fn min_score_and_filter_cut_and_nothing_else_does() {
    let index = empty(1000);
    for i in 0..50u16 {
        let facets = Facets { price: Some(f64::from(i)), ..Facets::default() };
        put(&index, &format!("p{i:02}"), facets, &[at(f32::from(i) * 3.0)]);
    }
    let all = pages(&index, &photo(at(0.0)), &SimilarParams::default(), 7);
    assert_eq!(all.len(), 50);
    let params = SimilarParams { min_score: Some(0.5), ..SimilarParams::default() };
    let near = pages(&index, &photo(at(0.0)), &params, 7);
    assert_eq!(near, all.iter().filter(|item| item.score >= 0.5).cloned().collect::<Vec<_>>());
    let filter = json!({"price": {"gte": 20}});
    let params = SimilarParams { filter: Some(filter), ..SimilarParams::default() };
    assert_eq!(pages(&index, &photo(at(0.0)), &params, 200), all[20..]);
}

#[test]
fn pages_join_without_gap_or_repeat_through_a_graph_too() {
    let index = empty(500);
    for i in 0..1500 {
        // Few different vectors: ties stand on every page border.
        put(&index, &format!("p{i:04}"), Facets::default(), &[vector(i % 400)]);
    }
    index.settle();
    assert!(index.stats().graph_rows > 0);
    let source = photo(vector(7));
    let all = pages(&index, &source, &SimilarParams::default(), 200);
    assert_eq!(all.len(), 1500);
    let mut seen: Vec<&str> = all.iter().map(|item| item.product_id.as_str()).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 1500);
    let ordered =
        |a: &SimilarItem, b: &SimilarItem| a.score > b.score || a.score == b.score && a.product_id < b.product_id;
    assert!(all.windows(2).all(|pair| ordered(&pair[0], &pair[1])));
}

#[test]
fn pages_go_on_where_they_were_though_the_catalog_changes() {
    let index = empty(1000);
    for i in 0..20u16 {
        put(&index, &format!("p{i:02}"), Facets::default(), &[at(f32::from(i) * 4.0)]);
    }
    let params = SimilarParams { limit: Some(10), ..SimilarParams::default() };
    let first = ask(&index, photo(at(0.0)), &params);
    // One in front and one behind the border go, three in front come.
    for (seq, id) in [(100, "p03"), (101, "p12")] {
        index.apply(seq, id, None).unwrap();
    }
    for id in ["new1", "new2", "new3"] {
        put(&index, id, Facets::default(), &[at(1.0)]);
    }
    let params = SimilarParams { cursor: first.next_cursor, ..params };
    let second = ask(&index, photo(at(0.0)), &params);
    assert_eq!(ids(&second), ["p10", "p11", "p13", "p14", "p15", "p16", "p17", "p18", "p19"]);
    assert_eq!(second.next_cursor, None);
}

#[test]
fn parameters_out_of_bounds_are_named() {
    let refused = |params: SimilarParams| match SimilarQuery::new(photo(at(0.0)), &params) {
        Err(SimilarError::Invalid { field, .. }) => field,
        Err(SimilarError::Filter(_)) => "filter",
        other => panic!("{other:?}"),
    };
    let default = SimilarParams::default;
    for limit in [0, -1, 201, i64::MAX, i64::MIN] {
        assert_eq!(refused(SimilarParams { limit: Some(limit), ..default() }), "limit");
    }
    assert_eq!(refused(SimilarParams { filter: Some(json!([])), ..default() }), "filter");
    assert_eq!(refused(SimilarParams { color: Some("redd".to_owned()), ..default() }), "color");
    for diversity in [f32::NAN, 1.1, -0.1] {
        assert_eq!(refused(SimilarParams { diversity: Some(diversity), ..default() }), "diversity");
    }
    for min_score in [f32::NAN, 1.1, -2.0] {
        assert_eq!(refused(SimilarParams { min_score: Some(min_score), ..default() }), "min_score");
    }
    for (embedding, color) in [(0.0, 0.0), (-1.0, 2.0), (f32::NAN, 1.0), (f32::INFINITY, 0.0), (f32::MAX, f32::MAX)] {
        let weights = Some(Weights { embedding, color, attributes: 0.0, popularity: 0.0 });
        assert_eq!(refused(SimilarParams { weights, ..default() }), "weights");
    }
    let basket = |count: usize| Source::Basket((0..count).map(|i| format!("p{i}")).collect());
    for source in [basket(0), basket(11), Source::Basket(vec!["p".to_owned(), "p".to_owned()])] {
        let error = SimilarQuery::new(source, &default()).unwrap_err();
        assert!(matches!(error, SimilarError::Invalid { field: "product_ids", .. }));
    }
    assert!(SimilarQuery::new(basket(10), &default()).is_ok());
}

#[test]
fn a_product_that_is_not_there_or_has_no_image_is_named() {
    let index = empty(100);
    put(&index, "bare", Facets::default(), &[]);
    let error = |id: &str| {
        let query = SimilarQuery::new(Source::Product(id.to_owned()), &SimilarParams::default()).unwrap();
        search(&index, &query).unwrap_err()
    };
    assert!(matches!(error("none"), SimilarError::UnknownProduct { product_id } if product_id == "none"));
    assert!(matches!(error("bare"), SimilarError::NoImage { product_id } if product_id == "bare"));
    let query = SimilarQuery::new(photo(vec![1.0]), &SimilarParams::default()).unwrap();
    assert!(matches!(search(&index, &query), Err(SimilarError::Index(_))));
}

#[test]
fn a_cursor_of_another_query_is_refused_and_a_new_limit_is_not() {
    let index = empty(100);
    for i in 0..9u16 {
        put(&index, &format!("p{i}"), Facets::default(), &[at(f32::from(i))]);
    }
    let params = SimilarParams { limit: Some(2), ..SimilarParams::default() };
    let cursor = ask(&index, photo(at(0.0)), &params).next_cursor;
    let next = SimilarParams { cursor: cursor.clone(), limit: Some(3), explain: true, ..SimilarParams::default() };
    assert_eq!(ids(&ask(&index, photo(at(0.0)), &next)), ["p2", "p3", "p4"]);
    let filter = Some(json!({"in_stock": true}));
    for (source, params) in [
        (photo(at(1.0)), next.clone()),
        (Source::Product("p1".to_owned()), next.clone()),
        (photo(at(0.0)), SimilarParams { filter, ..next.clone() }),
        (photo(at(0.0)), SimilarParams { min_score: Some(0.0), ..next.clone() }),
        (photo(at(0.0)), SimilarParams { group_by: Some(GroupBy::Group), ..next.clone() }),
        (photo(at(0.0)), SimilarParams { color: Some("red".to_owned()), ..next.clone() }),
    ] {
        let error = SimilarQuery::new(source, &params).unwrap_err();
        assert!(matches!(error, SimilarError::Invalid { field: "cursor", .. }), "{error}");
    }
}

proptest! {
    #[test]
    fn no_text_is_a_cursor_by_chance(text in "[A-Za-z0-9_=-]{0,80}|.{0,60}") {
        let params = SimilarParams { cursor: Some(text), ..SimilarParams::default() };
        let query = SimilarQuery::new(photo(at(0.0)), &params);
        prop_assert!(matches!(query, Err(SimilarError::Invalid { field: "cursor", .. })), "{:?}", query);
    }

    #[test]
    fn a_cursor_is_read_back(seq: u64, given: u32, score in -1.0f32..1.0, product_id in ".{0,40}", fingerprint: [u8; 8]) {
        let cursor = cursor::Cursor { fingerprint, seq, given, score, product_id };
        let again = cursor::Cursor::decode(&cursor.encode(), fingerprint).unwrap();
        prop_assert_eq!(again, cursor);
    }

    /// The whole of paging, filtering and grouping against its definition, for a product with several images.
    #[test]
    fn pages_agree_with_the_definition(limit in 1i64..20, below in 0u64..60, group: bool, images in 1u64..4) {
        let index = empty(10_000);
        for i in 0..60u64 {
            let mut facets = Facets { price: Some(i as f64), ..Facets::default() };
            facets.group_id = (i % 3 > 0).then(|| format!("g{}", i % 7));
            let vectors: Vec<_> = (0..=i % images).map(|image| vector(i * 10 + image)).collect();
            put(&index, &format!("p{i:02}"), facets, &vectors);
        }
        let filter = json!({"price": {"lt": below}});
        let checked = Filter::parse(&filter).unwrap();
        let group_by = group.then_some(GroupBy::Group);
        let params = SimilarParams { filter: Some(filter), group_by, ..SimilarParams::default() };
        let all = pages(&index, &Source::Product("p02".to_owned()), &params, limit);
        let queries = index.product("p02", true).unwrap().images;
        let own_group = index.product("p02", true).unwrap().facets.group_id;
        let mut expected: Vec<(String, f32, Option<String>)> = Vec::new();
        for i in 0..60 {
            let id = format!("p{i:02}");
            let facets = index.product(&id, false).unwrap().facets;
            if id == "p02" || !checked.matches(&facets) || group && facets.group_id == own_group {
                continue;
            }
            let theirs = index.product(&id, true).unwrap().images;
            let pairs = queries.iter().flat_map(|a| theirs.iter().map(move |b| (a, b)));
            let score = pairs.map(|(a, b)| a.embedding.iter().zip(&b.embedding).map(|(a, b)| a * b).sum::<f32>());
            expected.push((id, score.fold(-1.0, f32::max), facets.group_id.clone()));
        }
        expected.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let mut groups = std::collections::HashSet::new();
        expected.retain(|(_, _, of)| !group || of.clone().is_none_or(|of| groups.insert(of)));
        prop_assert_eq!(all.len(), expected.len());
        for (item, (id, score, _)) in all.iter().zip(&expected) {
            prop_assert_eq!(&item.product_id, id);
            prop_assert!((item.score - score).abs() < 1e-5);
        }
    }
}
