//! A folder of photos as rows. Every picture below it counts, sub-folders included, hidden ones and links to folders not.
//! Its product id is the file's stem: `dresses/sku-1.jpg` is product `sku-1`. Where several files share a stem
//! (`sku-1/front.jpg`, `sku-2/front.jpg`), the ids of all of them are their paths below the folder, `/` as `-`:
//! `sku-1-front`. The image's id is its path below the folder, so that a second run finds it again.

use crate::catalog::{Metadata, NewRow, RowContent, RowFault, validate_id};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use url::Url;

/// Extensions of pictures; the bytes decide later what a file is.
const PICTURES: [&str; 8] = ["jpg", "jpeg", "jpe", "png", "webp", "avif", "gif", "bmp"];
/// Deepest sub-folder.
const MAX_DEPTH: usize = 32;

/// A folder that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {source}", path.display())]
pub struct FolderError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// The pictures below `dir`, in the order of their paths.
///
/// # Errors
/// When a folder cannot be read.
pub fn photos_of(dir: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let mut files = Vec::new();
    pictures(dir, 0, &mut files)?;
    // The order of a folder differs from one file system to the next.
    files.sort();
    Ok(files)
}

fn pictures(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), FolderError> {
    let fault = |path: &Path| {
        let path = path.to_path_buf();
        move |source| FolderError { path, source }
    };
    for entry in fs::read_dir(dir).map_err(fault(dir))? {
        let entry = entry.map_err(fault(dir))?;
        let (path, name) = (entry.path(), entry.file_name());
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let kind = entry.file_type().map_err(fault(&path))?;
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

/// The pictures below `dir`, which is absolute, as rows.
///
/// # Errors
/// When a folder cannot be read.
pub fn rows_of(dir: &Path) -> Result<Vec<NewRow>, FolderError> {
    let files = photos_of(dir)?;
    let below: Vec<Option<(String, String)>> = files.iter().map(|f| names(dir, f)).collect();
    let mut stems: HashMap<&str, usize> = HashMap::new();
    for (_, stem) in below.iter().flatten() {
        *stems.entry(stem).or_default() += 1;
    }
    let rows = files.iter().zip(&below).zip(1..).map(|((file, names), row)| {
        let fault = |detail| RowFault {
            cause: "bad file name".into(),
            detail: format!("{}: {detail}", file.display()),
            attempts: 0,
            retryable: false,
        };
        NewRow { row, line: 0, content: content(file, names.as_ref(), &stems).map_err(fault) }
    });
    Ok(rows.collect())
}

fn content(file: &Path, names: Option<&(String, String)>, stems: &HashMap<&str, usize>) -> Result<RowContent, String> {
    let (image_id, stem) = names.ok_or("the name is not UTF-8")?;
    let product_id = match stems.get(stem.as_str()) {
        Some(1) => stem.clone(),
        _ => Path::new(image_id).with_extension("").to_string_lossy().replace('/', "-"),
    };
    validate_id("product_id", &product_id).map_err(|e| e.to_string())?;
    validate_id("image_id", image_id).map_err(|e| e.to_string())?;
    let uri = Url::from_file_path(file).map_err(|()| "the path is not absolute")?;
    let image_id = Some(image_id.clone());
    Ok(RowContent { product_id, image_id, uri: Some(uri.into()), area: None, metadata: Metadata::default() })
}

/// Path below `dir` with `/` between folders, and stem.
fn names(dir: &Path, file: &Path) -> Option<(String, String)> {
    let below = file.strip_prefix(dir).ok()?;
    let parts: Option<Vec<&str>> = below.iter().map(|p| p.to_str()).collect();
    Some((parts?.join("/"), file.file_stem()?.to_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn products_are_named_by_stem_and_by_path_where_stems_clash() {
        let dir = tempfile::tempdir().unwrap();
        for name in
            ["a.jpg", "x/b.PNG", "x/front.jpg", "y/front.jpg", ".hidden.jpg", ".git/c.jpg", "notes.txt", "連衣裙.webp"]
        {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
        let rows: Vec<RowContent> = rows_of(dir.path()).unwrap().into_iter().map(|row| row.content.unwrap()).collect();
        let ids: Vec<_> = rows.iter().map(|row| (row.product_id.as_str(), row.image_id.as_deref().unwrap())).collect();
        let expected = [
            ("a", "a.jpg"),
            ("b", "x/b.PNG"),
            ("x-front", "x/front.jpg"),
            ("y-front", "y/front.jpg"),
            ("連衣裙", "連衣裙.webp"),
        ];
        assert_eq!(ids, expected);
        assert!(
            rows.iter().all(|row| Url::parse(row.uri.as_deref().unwrap()).unwrap().to_file_path().unwrap().is_file())
        );
        assert!(rows_of(&dir.path().join("none")).is_err());
    }
}
