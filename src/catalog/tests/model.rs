//! The store against a model of it: any sequence of writes leaves what a plain map would hold, also after a reopen,
//! and the change log alone leads to the same state.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
enum Op {
    Upsert(u8, Option<Option<u32>>, bool),
    Delete(u8),
    Put(u8, u8, u8),
    DeleteImage(u8, u8),
    Correct(u8, u8, Option<u8>),
    Replace(u8, u8, u8),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let (p, i, b) = (0..4u8, 0..3u8, 0..4u8);
    prop_oneof![
        4 => (p.clone(), any::<Option<Option<u32>>>(), any::<bool>()).prop_map(|(p, c, t)| Op::Upsert(p, c, t)),
        1 => p.clone().prop_map(Op::Delete),
        5 => (p.clone(), i.clone(), b.clone()).prop_map(|(p, i, b)| Op::Put(p, i, b)),
        2 => (p.clone(), i.clone()).prop_map(|(p, i)| Op::DeleteImage(p, i)),
        2 => (p.clone(), 0..2u8, any::<Option<u8>>()).prop_map(|(p, n, v)| Op::Correct(p, n, v)),
        2 => (p, i, b).prop_map(|(p, i, b)| Op::Replace(p, i, b)),
        1 => Just(Op::Reopen),
    ]
}

/// What a product should be: metadata, corrections, and images in order.
#[derive(Clone, Debug, Default, PartialEq)]
struct Expected {
    metadata: Metadata,
    corrections: BTreeMap<String, Option<String>>,
    images: Vec<(String, Analysis)>,
}

type State = BTreeMap<String, Expected>;

fn patch(cents: Option<Option<u32>>, tag: bool) -> MetadataPatch {
    let tags = Some(vec!["naïve \u{1F9E5} \"quoted\"".to_owned()]);
    MetadataPatch {
        price: cents.map(|c| c.map(|c| f64::from(c) / 100.0)),
        tags: Some(tags.filter(|_| tag)),
        ..MetadataPatch::default()
    }
}

/// Does `op` to both; they must agree on whether it can be done.
fn apply(catalog: &Catalog, state: &mut State, op: &Op) {
    let product = |p: &u8| format!("p{p}é");
    match op {
        Op::Upsert(p, cents, tag) => {
            let patch = patch(*cents, *tag);
            patch.apply(&mut state.entry(product(p)).or_default().metadata);
            catalog.write(|tx| tx.upsert_product(&product(p), &patch)).unwrap();
        }
        Op::Delete(p) => {
            let done = catalog.write(|tx| tx.delete_product(&product(p)));
            assert_eq!(done.is_ok(), state.remove(&product(p)).is_some());
        }
        Op::Put(p, i, b) => {
            let done = put(catalog, &product(p), &i.to_string(), &[*b]);
            let expected = state.get_mut(&product(p));
            assert_eq!(done.is_ok(), expected.is_some());
            let Some(expected) = expected else { return };
            let seen = analysis(&[*b], "v1", "dress", 0.9);
            match expected.images.iter_mut().find(|(id, _)| *id == i.to_string()) {
                Some(old) => old.1 = seen,
                None => expected.images.push((i.to_string(), seen)),
            }
        }
        Op::DeleteImage(p, i) => {
            let done = catalog.write(|tx| tx.delete_image(&product(p), &i.to_string()));
            let images = state.get_mut(&product(p)).map(|e| &mut e.images);
            let at = images.as_ref().and_then(|all| all.iter().position(|(id, _)| *id == i.to_string()));
            assert_eq!(done.is_ok(), at.is_some());
            images.into_iter().zip(at).for_each(|(all, at)| drop(all.remove(at)));
        }
        Op::Correct(p, name, value) => {
            let made = BTreeMap::from([(format!("n{name}"), value.map(|v| v.to_string()))]);
            let done = catalog.write(|tx| tx.correct_attributes(&product(p), &made));
            let expected = state.get_mut(&product(p));
            assert_eq!(done.is_ok(), expected.is_some());
            expected.into_iter().for_each(|e| e.corrections.extend(made.clone()));
        }
        Op::Replace(p, i, b) => {
            let seen = analysis(&[*b], "v2", "skirt", 0.5);
            let done = catalog.write(|tx| tx.add_analysis(&product(p), &i.to_string(), None, &seen, &embedding(*b)));
            let images = state.get_mut(&product(p)).into_iter().flat_map(|e| &mut e.images);
            let mut hit = images.filter(|(id, a)| *id == i.to_string() && a.sha256 == seen.sha256);
            let hit = hit.next();
            assert_eq!(done.unwrap().value.is_some(), hit.is_some());
            hit.into_iter().for_each(|(_, a)| *a = seen.clone());
        }
        Op::Reopen => {}
    }
}

fn stored(catalog: &Catalog) -> State {
    let all = catalog.products(None, MAX_PAGE).unwrap();
    let expected = |p: Product| Expected {
        metadata: p.metadata,
        corrections: p.corrections,
        images: p.images.into_iter().map(|i| (i.image_id, i.analysis)).collect(),
    };
    all.into_iter().map(|p| (p.product_id.clone(), expected(p))).collect()
}

/// The state that the change log alone leads to.
fn replayed(catalog: &Catalog) -> State {
    let mut state = State::new();
    let mut last = 0;
    for change in catalog.changes_after(0, MAX_CHANGES).unwrap() {
        assert!(change.seq > last);
        last = change.seq;
        let id = change.product_id.unwrap();
        if change.kind == ChangeKind::ProductDeleted {
            state.remove(&id);
            continue;
        }
        let product = state.entry(id).or_default();
        product.metadata = change.payload.metadata.unwrap_or(product.metadata.clone());
        product.corrections = change.payload.corrections.unwrap_or(product.corrections.clone());
        if change.kind == ChangeKind::ImageDeleted {
            product.images.retain(|(id, _)| Some(id) != change.image_id.as_ref());
        }
        if let Some(image) = change.payload.image {
            match product.images.iter_mut().find(|(id, _)| *id == image.image_id) {
                Some(old) => old.1 = image.analysis,
                None => product.images.push((image.image_id, image.analysis)),
            }
        }
    }
    assert_eq!(last, catalog.last_seq().unwrap());
    state
}

proptest! {
    // Every write is a real commit on a real file; more cases cost seconds and found nothing more.
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_a_map_that_survives(ops in proptest::collection::vec(op(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::new();
        let mut catalog = Some(Catalog::open(dir.path()).unwrap());
        for op in &ops {
            if matches!(op, Op::Reopen) {
                drop(catalog.take());
                catalog = Some(Catalog::open(dir.path()).unwrap());
            }
            apply(catalog.as_ref().unwrap(), &mut state, op);
        }
        drop(catalog.take());
        let catalog = Catalog::open(dir.path()).unwrap();
        prop_assert_eq!(stored(&catalog), state.clone());
        prop_assert_eq!(replayed(&catalog), state.clone());
        let hashes = state.values().flat_map(|e| &e.images).map(|(_, a)| a.sha256.clone());
        let hashes: BTreeSet<String> = hashes.collect();
        prop_assert_eq!(photo_files(dir.path()), hashes.into_iter().collect::<Vec<_>>());
    }
}
