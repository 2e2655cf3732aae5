//! The grammar, its limits, and what must hold of any filter.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn dress() -> Facets {
    Facets {
        category: Some("Dresses".to_owned()),
        price: Some(49.5),
        currency: Some("EUR".to_owned()),
        in_stock: Some(true),
        popularity: None,
        group_id: None,
        tags: vec!["new".to_owned(), "sale".to_owned()],
        attributes: BTreeMap::from([("pattern".to_owned(), vec!["striped".to_owned(), "dotted".to_owned()])]),
        colors: vec![BasicColor::Blue, BasicColor::Grey],
        retail_colors: vec!["navy".to_owned(), "gray".to_owned(), "rose_gold".to_owned()],
    }
}

fn holds(filter: &Value) -> bool {
    Filter::parse(filter).unwrap().matches(&dress())
}

#[test]
fn what_holds_of_a_dress() {
    let cases = [
        json!({}),
        json!({"category": "Dresses"}),
        json!({"category": ["Skirts", "Dresses"]}),
        json!({"tags": "sale"}),
        json!({"attributes.pattern": ["plain", "dotted"]}),
        json!({"attributes.neckline": null}),
        json!({"group_id": null}),
        json!({"group_id": ["g1", null]}),
        json!({"in_stock": true}),
        json!({"price": 49.5}),
        json!({"price": [10, 49.5]}),
        json!({"price": {"gt": 49, "lte": 49.5}}),
        json!({"price": {"gte": 49.5}}),
        json!({"color": "blue"}),
        json!({"color": "NAVY"}),
        json!({"color": ["grey"]}),
        json!({"color": ["gray"]}),
        json!({"color": "Rose Gold"}),
        json!({"color": "rose-gold"}),
        json!({"not": {"color": "red"}}),
        json!({"not": {"in_stock": true, "category": "Skirts"}}),
        json!({"or": [{"price": {"lt": 1}}, {"currency": "EUR"}]}),
        json!({"and": [{"price": {"gt": 1}}, {"currency": "EUR"}], "in_stock": true}),
    ];
    for filter in cases {
        assert!(holds(&filter), "{filter}");
    }
}

#[test]
fn what_does_not_hold_of_a_dress() {
    let cases = [
        json!({"category": "dresses"}),
        json!({"category": null}),
        json!({"tags": null}),
        json!({"tags": ["old", null]}),
        json!({"attributes.pattern": "plain"}),
        json!({"attributes.neckline": "v-neck"}),
        json!({"in_stock": false}),
        json!({"in_stock": null}),
        json!({"price": {"lt": 49.5}}),
        json!({"price": {"gt": 49.5}}),
        json!({"price": null}),
        json!({"color": "red"}),
        json!({"color": "gold"}),
        json!({"color": null}),
        json!({"not": {}}),
        json!({"not": {"not": {"color": "red"}}}),
        json!({"or": [{"price": {"lt": 1}}, {"currency": "USD"}]}),
        json!({"category": "Dresses", "in_stock": false}),
    ];
    for filter in cases {
        assert!(!holds(&filter), "{filter}");
    }
}

#[test]
fn a_product_without_a_price_is_in_no_range() {
    let unknown = Facets::default();
    for filter in [json!({"price": {"lt": 60}}), json!({"price": {"gte": 0}}), json!({"price": 0})] {
        assert!(!Filter::parse(&filter).unwrap().matches(&unknown), "{filter}");
    }
    assert!(Filter::parse(&json!({"price": [3, null]})).unwrap().matches(&unknown));
}

#[test]
fn errors_name_the_field_and_what_was_expected() {
    let cases = [
        (json!([]), "filter", "an object"),
        (json!({"colour": "red"}), "colour", "color"),
        (json!({"title": "x"}), "title", "fields are"),
        (json!({"attributes.": "x"}), "attributes.", "attributes.<name>"),
        (json!({"category": 3}), "category", "a string"),
        (json!({"category": []}), "category", "at least one"),
        (json!({"category": {"lt": 3}}), "category", "got an object"),
        (json!({"tags": ["a", ["b"]]}), "tags[1]", "a list of 1"),
        (json!({"color": "blurple"}), "color", "\"blurple\""),
        (json!({"color": ["red", "blurple"]}), "color[1]", "rose_gold"),
        (json!({"in_stock": "yes"}), "in_stock", "true, false or null"),
        (json!({"price": "12"}), "price", "a number or a range"),
        (json!({"price": {}}), "price", "at least one of lt"),
        (json!({"price": {"below": 3}}), "price.below", "lt, lte, gt or gte"),
        (json!({"price": {"lt": "3"}}), "price.lt", "a number"),
        (json!({"price": {"lt": 3, "lte": 3}}), "price", "one of lt and lte"),
        (json!({"or": []}), "or", "at least one filter"),
        (json!({"or": {}}), "or", "at least one filter"),
        (json!({"or": [{}, {"not": {"price": {"lt": null}}}]}), "or[1].not.price.lt", "a number, got null"),
        (json!({"not": []}), "not", "an object"),
    ];
    for (filter, path, says) in cases {
        let error = Filter::parse(&filter).unwrap_err();
        assert_eq!(error.path(), path, "{filter}: {error}");
        assert!(error.to_string().contains(says), "{filter}: {error}");
    }
}

#[test]
fn limits_hold_at_their_edge() {
    let nested = |depth: usize| (1..depth).fold(json!({"price": 1}), |inner, _| json!({"not": inner}));
    assert!(Filter::parse(&nested(MAX_DEPTH)).is_ok());
    let error = Filter::parse(&nested(MAX_DEPTH + 1)).unwrap_err();
    assert!(matches!(error, FilterError::TooLarge { unit: "levels", .. }), "{error}");

    let values = |count: usize| json!({"category": vec!["x"; count]});
    assert!(Filter::parse(&values(MAX_VALUES)).is_ok());
    let error = Filter::parse(&values(MAX_VALUES + 1)).unwrap_err();
    assert!(matches!(error, FilterError::TooLarge { unit: "values", received: 101, .. }), "{error}");

    let many = |count: usize| {
        let tests: serde_json::Map<String, Value> =
            (0..count).map(|i| (format!("attributes.{i}"), json!("x"))).collect();
        Value::Object(tests)
    };
    assert!(Filter::parse(&many(MAX_CONDITIONS)).is_ok());
    let error = Filter::parse(&many(MAX_CONDITIONS + 1)).unwrap_err();
    assert!(matches!(error, FilterError::TooLarge { unit: "conditions", .. }), "{error}");
    let lists: Vec<Value> = (0..100).map(|_| json!({"or": vec![json!({}); 100]})).collect();
    assert!(matches!(Filter::parse(&json!({"or": lists})), Err(FilterError::TooLarge { .. })));

    let text = |bytes: usize| json!({"category": "x".repeat(bytes)});
    assert!(Filter::parse(&text(MAX_TEXT_BYTES)).is_ok());
    assert!(Filter::parse(&text(MAX_TEXT_BYTES + 1)).is_err());
    assert!(Filter::parse_str(&" ".repeat(MAX_JSON_BYTES + 1)).is_err());
    assert!(Filter::parse_str(&"{\"not\":".repeat(2000)).is_err());
    assert!(matches!(Filter::parse_str("{"), Err(FilterError::NotJson { .. })));
}

#[test]
fn composed_filters_hold_together() {
    let red = || Filter::any_color(vec![ColorName::parse("red").unwrap()]);
    let cheap = Filter::parse(&json!({"price": {"lt": 60}})).unwrap();
    assert!(!Filter::all(vec![red(), cheap.clone()]).matches(&dress()));
    assert!(Filter::all(vec![red().negated(), cheap]).matches(&dress()));
    assert!(Filter::all(Vec::new()).matches(&dress()));
    assert!(Filter::unknown_color().matches(&Facets::default()));
    assert!(!Filter::unknown_color().matches(&dress()));
}

#[test]
fn every_color_name_is_read_back() {
    for name in ColorName::all() {
        assert_eq!(ColorName::parse(name).unwrap().as_str(), name);
        assert_eq!(ColorName::parse(&name.to_uppercase()).unwrap().as_str(), name);
    }
    assert_eq!(ColorName::all().count(), 19, "the 12 basic names and 7 more are Shopify's 19, with grey for gray");
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop::sample::select(vec!["Dresses", "Skirts"]).prop_map(|c| json!({"category": c})),
        prop::sample::select(vec!["red", "navy", "gray"]).prop_map(|c| json!({"color": [c, null]})),
        (0i32..100).prop_map(|p| json!({"price": {"lt": p, "gte": p / 2}})),
        (0i32..100).prop_map(|p| json!({"price": [p, null, 49.5]})),
        any::<Option<bool>>().prop_map(|s| json!({"in_stock": s})),
        "[a-z]{0,6}".prop_map(|v| json!({"attributes.pattern": [v, "striped"], "tags": "sale"})),
        Just(json!({})),
    ]
}

fn filter() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|f| json!({"not": f})),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|f| json!({"or": f})),
            prop::collection::vec(inner, 1..4).prop_map(|f| json!({"and": f, "in_stock": true})),
        ]
    })
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,10}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("price".to_owned()),
        Just("or".to_owned()),
        Just("and".to_owned()),
        Just("not".to_owned()),
        Just("color".to_owned()),
        Just("lt".to_owned()),
        Just("attributes.x".to_owned()),
        ".{0,8}",
    ];
    leaf.prop_recursive(12, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6).prop_map(|map| json!(map)),
        ]
    })
}

fn facets() -> impl Strategy<Value = Facets> {
    let word = |words: &'static [&'static str]| prop::sample::select(words).prop_map(str::to_owned);
    let attributes = prop::collection::btree_map(
        word(&["pattern", "neckline"]),
        prop::collection::vec(word(&["striped", "dotted", ""]), 1..3),
        0..3,
    );
    let price = prop_oneof![
        Just(None),
        Just(Some(49.5)),
        Just(Some(f64::NAN)),
        (0i32..100).prop_map(|price| Some(f64::from(price)))
    ];
    let merchant = (
        prop::option::of(word(&["Dresses", "Skirts"])),
        prop::option::of(word(&["EUR", "USD"])),
        any::<Option<bool>>(),
        prop::option::of(word(&["g1", "g2"])),
        prop::collection::vec(word(&["sale", "new"]), 0..3),
    );
    let colors = prop::collection::vec(prop::sample::select(vec![BasicColor::Red, BasicColor::Grey]), 0..3);
    let retail = prop::collection::vec(word(&["gray", "Rose gold", "navy", "teal"]), 0..2);
    let popularity = prop::option::of(0.0f32..=1.0);
    let all = (price, popularity, merchant, attributes, colors, retail);
    all.prop_map(|(price, popularity, merchant, attributes, colors, retail_colors)| {
        let (category, currency, in_stock, group_id, tags) = merchant;
        Facets { category, price, popularity, currency, in_stock, group_id, tags, attributes, colors, retail_colors }
    })
}

/// Columns of the products, those that do not stay taken out again, and the numbers of those that do.
fn columns(products: &[(Facets, bool)]) -> (Columns, Vec<(u32, Coded)>) {
    let mut columns = Columns::default();
    let coded: Vec<Coded> = (0u32..).zip(products).map(|(slot, (facets, _))| columns.insert(slot, facets)).collect();
    let mut kept = Vec::new();
    for (slot, (coded, (_, stays))) in (0u32..).zip(coded.into_iter().zip(products)) {
        match stays {
            true => kept.push((slot, coded)),
            false => columns.remove(slot, &coded),
        }
    }
    (columns, kept)
}

proptest! {
    #[test]
    fn columns_pass_what_filters_pass(
        products in prop::collection::vec((facets(), any::<bool>()), 0..80),
        filters in prop::collection::vec(filter(), 1..6),
    ) {
        let (columns, kept) = columns(&products);
        let terms: Vec<Option<Term>> = columns.terms().iter().map(|term| term.cloned()).collect();
        let restored = Columns::restored(terms, kept.iter().cloned()).unwrap();
        for value in &filters {
            let filter = Filter::parse(value).unwrap();
            let expected: Vec<u32> =
                kept.iter().map(|(slot, _)| *slot).filter(|slot| filter.matches(&products[*slot as usize].0)).collect();
            for columns in [&columns, &restored] {
                let compiled = columns.compile(&filter);
                prop_assert_eq!(compiled.select().iter().collect::<Vec<_>>(), expected.clone(), "{}", value);
                for (slot, _) in &kept {
                    prop_assert_eq!(compiled.contains(*slot), expected.contains(slot), "{}", value);
                }
            }
        }
        for (slot, coded) in &kept {
            let (back, facets) = (columns.facets(coded), &products[*slot as usize].0);
            // A price that is no number is not equal to itself.
            prop_assert_eq!(format!("{back:?}"), format!("{facets:?}"));
        }
    }

    #[test]
    fn of_products_that_are_gone_nothing_is_left(products in prop::collection::vec(facets(), 0..40)) {
        let mut columns = Columns::default();
        let mut most = 0;
        for round in 0..3 {
            let coded: Vec<Coded> = (0u32..).zip(&products).map(|(slot, facets)| columns.insert(slot, facets)).collect();
            // Numbers are given again.
            most = if round == 0 { columns.terms().iter().count() } else { most };
            prop_assert_eq!(columns.terms().iter().count(), most);
            (0u32..).zip(&coded).for_each(|(slot, coded)| columns.remove(slot, coded));
            prop_assert!(columns.terms().iter().all(|term| term.is_none()));
            prop_assert!(columns.compile(&Filter::everything()).select().is_empty());
        }
    }

    #[test]
    fn no_json_and_no_text_makes_the_parser_panic(value in any_json(), text in ".{0,200}") {
        if let Ok(filter) = Filter::parse(&value) {
            filter.matches(&dress());
        }
        let _ = Filter::parse_str(&text);
        let _ = Filter::parse_str(&value.to_string());
    }

    #[test]
    fn not_not_is_the_filter_and_not_is_its_opposite(value in filter()) {
        let filter = Filter::parse(&value).unwrap();
        prop_assert_eq!(filter.clone().negated().matches(&dress()), !filter.matches(&dress()));
        let twice = Filter::parse(&json!({"not": {"not": value}}));
        if let Ok(twice) = twice {
            prop_assert_eq!(&twice, &filter);
        }
    }

    #[test]
    fn json_and_back_is_the_same_filter(value in filter()) {
        let filter = Filter::parse(&value).unwrap();
        let again = Filter::parse(&filter.to_json());
        // `and` that stood beside other keys takes a level and a condition more.
        if let Ok(again) = again {
            prop_assert_eq!(again.matches(&dress()), filter.matches(&dress()));
            prop_assert_eq!(again.to_json(), filter.to_json());
        }
    }

    #[test]
    fn de_morgan(a in filter(), b in filter()) {
        let both = Filter::parse(&json!({"not": {"and": [a, b]}}));
        let either = Filter::parse(&json!({"or": [{"not": a}, {"not": b}]}));
        if let (Ok(both), Ok(either)) = (both, either) {
            prop_assert_eq!(both.matches(&dress()), either.matches(&dress()));
        }
    }
}
