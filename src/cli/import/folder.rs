//! A folder of photos to a [`Plan`].
//!
//! - A `manifest.csv` or `labels.csv` directly inside, with the columns of a manifest, is used and nothing else.
//! - Else every picture below the folder counts, sub-folders included, hidden ones and links to folders not. Its
//!   product id is the file's stem: `dresses/sku-1.jpg` is product `sku-1`. Where several files share a stem
//!   (`sku-1/front.jpg`, `sku-2/front.jpg`), the ids of all of them are their paths below the folder, `/` as `-`:
//!   `sku-1-front`. The image's id is its path below the folder, so that a second run finds it again.

use super::manifest;
use super::rows::{Place, Plan, Rejected, Row};
use crate::catalog::{Metadata, validate_id};
use crate::cli::CliError;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Names of manifests that a folder may hold, in the order they are looked for.
const MANIFESTS: [&str; 2] = ["manifest.csv", "labels.csv"];
/// Extensions of pictures; the bytes decide later what a file is.
const PICTURES: [&str; 7] = ["jpg", "jpeg", "jpe", "png", "webp", "gif", "bmp"];
/// Deepest sub-folder.
const MAX_DEPTH: usize = 32;

/// Reads the folder at `dir`.
///
/// # Errors
/// When it cannot be read or its manifest is broken.
pub(super) fn read(dir: &Path) -> Result<Plan, CliError> {
    if let Some(path) = MANIFESTS.iter().map(|name| dir.join(name)).find(|path| manifest::is_manifest(path)) {
        return manifest::read(&path);
    }
    let mut files = Vec::new();
    pictures(dir, 0, &mut files)?;
    // The order of a folder differs from one file system to the next.
    files.sort();
    Ok(plan(dir, &files))
}

fn pictures(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), CliError> {
    for entry in fs::read_dir(dir).map_err(CliError::io("read", dir))? {
        let entry = entry.map_err(CliError::io("read", dir))?;
        let (path, name) = (entry.path(), entry.file_name());
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let kind = entry.file_type().map_err(CliError::io("read", &path))?;
        if kind.is_dir() && depth < MAX_DEPTH {
            pictures(&path, depth + 1, files)?;
        } else if !kind.is_dir() && is_picture(&path) && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    PICTURES.iter().any(|p| p.eq_ignore_ascii_case(extension))
}

/// `files` (sorted) below `dir` as products.
fn plan(dir: &Path, files: &[PathBuf]) -> Plan {
    let mut plan = Plan::default();
    let below: Vec<Option<(String, String)>> = files.iter().map(|f| names(dir, f)).collect();
    let mut stems: HashMap<&str, usize> = HashMap::new();
    for (_, stem) in below.iter().flatten() {
        *stems.entry(stem).or_default() += 1;
    }
    for (file, names) in files.iter().zip(&below) {
        let Some((image_id, stem)) = names else {
            plan.rejected.push(reject(file, "the name is not UTF-8"));
            continue;
        };
        let product_id = match stems.get(stem.as_str()) {
            Some(1) => stem.clone(),
            _ => Path::new(image_id).with_extension("").to_string_lossy().replace('/', "-"),
        };
        match validate_id("product_id", &product_id).and_then(|()| validate_id("image_id", image_id)) {
            Err(e) => plan.rejected.push(reject(file, &e.to_string())),
            Ok(()) => {
                plan.products.insert(product_id.clone(), Metadata::default());
                let place = Place::File(file.clone());
                plan.rows.push(Row { line: 0, product_id, image_id: Some(image_id.clone()), place });
            }
        }
    }
    plan
}

/// Path below `dir` with `/` between folders, and stem.
fn names(dir: &Path, file: &Path) -> Option<(String, String)> {
    let below = file.strip_prefix(dir).ok()?;
    let parts: Option<Vec<&str>> = below.iter().map(|p| p.to_str()).collect();
    Some((parts?.join("/"), file.file_stem()?.to_str()?.to_owned()))
}

fn reject(file: &Path, detail: &str) -> Rejected {
    Rejected { line: 0, cause: "bad file name", detail: format!("{}: {detail}", file.display()) }
}
