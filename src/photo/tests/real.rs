//! Real photos, where there are some: `VITRINE_PHOTOS` (default `../shared/data`).

use super::made::decode;
use crate::photo::{Limits, Photo};
use std::path::{Path, PathBuf};

/// The photos of a set, in order; `None` where there are none, which is said.
fn photos(set: &str) -> Option<Vec<PathBuf>> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let root = std::env::var_os("VITRINE_PHOTOS").map_or(default, PathBuf::from);
    let folder = root.join(set).join("images");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("SKIPPED: no photos in {}", folder.display());
        return None;
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    Some(paths)
}

/// Up to 100 photos of each of three sets, none of which may be refused.
#[test]
fn real_photos_decode() {
    for paths in ["catalog", "studio", "large"].into_iter().filter_map(photos) {
        for path in paths.iter().take(100) {
            let photo = decode(&std::fs::read(path).unwrap());
            let photo = photo.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(photo.width() >= 200 && photo.alpha().is_none(), "{}", path.display());
        }
    }
}

/// What a model of the usual input is shown of a photo decoded smaller, and of all its pixels.
#[test]
fn smaller_photos_show_the_model_the_same() {
    use crate::model::{InputSpec, ResizeRule, tensor};
    let spec = InputSpec {
        name: "image".to_owned(),
        width: 224,
        height: 224,
        resize: ResizeRule::StretchBilinear,
        mean: [0.0; 3],
        std: [1.0; 3],
    };
    for path in photos("large").into_iter().flatten() {
        let bytes = std::fs::read(&path).unwrap();
        let [whole, small] = [u32::MAX, spec.width].map(|side| {
            let photo = Photo::decode_scaled(&bytes, &Limits::default(), side).unwrap();
            (photo.rgb().width(), tensor(photo.rgb(), &spec))
        });
        assert!(small.0 * 2 <= whole.0, "{}: all pixels decoded", path.display());
        let squares: f32 = whole.1.iter().zip(&small.1).map(|(whole, small)| (whole - small).powi(2)).sum();
        let rms = (squares / whole.1.len() as f32).sqrt() * 255.0;
        // Measured: 0.2 to 0.6, and embeddings with a cosine of 0.9997 and more.
        assert!(rms < 1.0, "{}: off by {rms:.2} of 255", path.display());
    }
}
