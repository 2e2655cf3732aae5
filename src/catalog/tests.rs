//! The store under test on real files: what is acknowledged is there after a reopen, and nothing else is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod durability;
mod model;
mod photos;
mod reads;

use super::*;
use crate::analyzer::Analysis;
use crate::attributes::{Attribute, Candidate, Source};
use crate::color::{BasicColor, ColorSource, Colors, NamedColor};
use crate::mask::BackgroundKind;
use crate::model::EMBEDDING_DIM;
use sha2::{Digest, Sha256};

/// An analysis of `bytes` by model `version` that is sure of `category` (empty: unsure).
pub(crate) fn analysis(bytes: &[u8], version: &str, category: &str, confidence: f32) -> Analysis {
    let sure = !category.is_empty();
    let candidate = Candidate { value: "dress".into(), confidence };
    Analysis {
        sha256: hex::encode(Sha256::digest(bytes)),
        width: 640,
        height: 480,
        area: None,
        model_version: version.into(),
        attributes: vec![Attribute {
            name: "category".into(),
            value: sure.then(|| category.into()),
            confidence,
            source: Source::Model,
            candidates: if sure { Vec::new() } else { vec![candidate] },
        }],
        colors: Colors {
            dominant: vec![NamedColor {
                hex: "#c81e28".into(),
                lab: [43.07, 64.12, 39.9],
                name: BasicColor::Red,
                retail_name: "red".into(),
                shade: "vivid red".into(),
                share: 0.97,
                source: ColorSource::Both,
            }],
            background: Vec::new(),
            background_kind: BackgroundKind::Plain,
            product_share: 0.41,
            skin_share: 0.0,
            multicolor: false,
            confidence: 0.9,
            flags: Vec::new(),
        },
    }
}

/// An embedding that differs by `seed`.
fn embedding(seed: u8) -> Vec<f32> {
    let mut values = vec![0.0; EMBEDDING_DIM];
    values[usize::from(seed)] = 1.0;
    values
}

fn title(title: &str) -> MetadataPatch {
    MetadataPatch { title: Some(Some(title.into())), ..MetadataPatch::default() }
}

fn upsert(catalog: &Catalog, id: &str) -> Committed<Product> {
    catalog.write(|tx| tx.upsert_product(id, &title("t"))).unwrap()
}

/// Stores `bytes` as an image, seen as a dress by model v1.
fn put(catalog: &Catalog, product: &str, image: &str, bytes: &[u8]) -> Result<Committed<Image>, CatalogError> {
    put_seen(catalog, product, image, bytes, analysis(bytes, "v1", "dress", 0.9))
}

/// A whole photo as an image.
fn new_image<'a>(image_id: &'a str, photo: StagedPhoto, analysis: Analysis, embedding: &'a [f32]) -> NewImage<'a> {
    NewImage { image_id, photo, content_type: "image/jpeg", area: None, analysis, embedding, also: None }
}

/// Stores `bytes` as an image; its embedding is the axis that the first byte numbers.
pub(crate) fn put_seen(
    catalog: &Catalog,
    product: &str,
    image: &str,
    bytes: &[u8],
    analysis: Analysis,
) -> Result<Committed<Image>, CatalogError> {
    let photo = catalog.stage_photo(bytes)?;
    let embedding = embedding(bytes.first().copied().unwrap_or_default());
    let new = new_image(image, photo, analysis, &embedding);
    catalog.write(|tx| tx.put_image(product, new))
}

/// The hashes of all photo files, sorted.
fn photo_files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![dir.join(PHOTOS)];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                found.push(path.file_name().unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
