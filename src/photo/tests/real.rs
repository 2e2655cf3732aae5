//! Real photos, where there are some: `VITRINE_PHOTOS` (default `../shared/data`).

use super::made::decode;
use std::path::{Path, PathBuf};

/// Up to 100 photos of each of three sets, none of which may be refused.
#[test]
fn real_photos_decode() {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let root = std::env::var_os("VITRINE_PHOTOS").map_or(default, PathBuf::from);
    for set in ["catalog", "studio", "large"] {
        let folder = root.join(set).join("images");
        let Ok(entries) = std::fs::read_dir(&folder) else {
            eprintln!("SKIPPED: no photos in {}", folder.display());
            continue;
        };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths.iter().take(100) {
            let photo = decode(&std::fs::read(path).unwrap());
            let photo = photo.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(photo.width() >= 200 && photo.alpha().is_none(), "{}", path.display());
        }
    }
}
