//! The index against a brute-force model, under threads, and with broken files.

mod durability;
mod model;
mod recall;
mod reference;

use super::{Hit, Index, IndexConfig, IndexedImage, IndexedProduct, SearchRequest, inspect};
use crate::filter::Facets;
use half::f16;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// An index that builds graphs from `exact_rows` rows on.
fn config(dimension: usize, exact_rows: usize) -> IndexConfig {
    IndexConfig { dimension, exact_rows, model_version: "test".to_owned(), ..IndexConfig::default() }
}

/// Of unit length, and of values that half precision holds: the index gives back what it was given.
#[allow(clippy::needless_pass_by_value)] // Of vectors that are made for it.
fn unit(vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter().map(|value| f16::from_f32(value / length).to_f32()).collect()
}

/// Nearly normal, from three uniform numbers.
fn gauss(rng: &mut Pcg64) -> f32 {
    (0..3).map(|_| rng.random::<f32>() * 2.0 - 1.0).sum()
}

/// Unit vectors in clusters of intrinsic dimension 16 or so, as photo embeddings are; same seed, same vectors.
fn clustered(seed: u64, count: usize, dimension: usize) -> Vec<Vec<f32>> {
    let mut rng = Pcg64::seed_from_u64(seed);
    let mut random = |scale: f32| -> Vec<f32> { (0..dimension).map(|_| gauss(&mut rng) * scale).collect() };
    let centers: Vec<Vec<f32>> = (0..50).map(|_| random(1.0)).collect();
    let axes: Vec<Vec<f32>> = (0..16).map(|_| random(1.0)).collect();
    let mut rng = Pcg64::seed_from_u64(seed + 1);
    (0..count)
        .map(|_| {
            let mut vector = centers[rng.random_range(0..centers.len())].clone();
            for axis in &axes {
                let along = gauss(&mut rng) * 0.3;
                vector.iter_mut().zip(axis).for_each(|(value, axis)| *value += along * axis);
            }
            vector.iter_mut().for_each(|value| *value += gauss(&mut rng) * 0.05);
            unit(vector)
        })
        .collect()
}

fn product(product_id: &str, images: &[(&str, Vec<f32>)]) -> IndexedProduct {
    let image =
        |(id, embedding): &(&str, Vec<f32>)| IndexedImage { image_id: (*id).to_owned(), embedding: embedding.clone() };
    IndexedProduct {
        product_id: product_id.to_owned(),
        facets: Facets::default(),
        images: images.iter().map(image).collect(),
    }
}

/// Product `p<i>` for vector `i`; its price is `i`.
fn fill(index: &Index, vectors: &[Vec<f32>]) {
    for (i, vector) in vectors.iter().enumerate() {
        let id = format!("p{i}");
        let mut product = product(&id, &[("a", vector.clone())]);
        product.facets.price = Some(i as f64);
        index.apply(i as u64 + 1, &id, Some(product)).unwrap();
    }
}

fn top(index: &Index, query: &[f32], k: usize) -> Vec<Hit> {
    index.search(query, &SearchRequest { k, ..SearchRequest::default() }).unwrap()
}

fn ids(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| &*hit.product_id).collect()
}
