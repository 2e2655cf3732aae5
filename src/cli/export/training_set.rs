//! `vitrine export training-set`: what people corrected, with the photos, as a folder that training reads
//! (`python -m scripts.retrain --own FOLDER`).

use super::{CliError, store};
use crate::analyzer::Analysis;
use crate::catalog::{CatalogReader, Image, Product};
use crate::config::DataConfig;
use crate::photo::{Limits, Photo, PixelBox};
use clap::Args;
use image::ImageFormat;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

/// Products read at once.
const PAGE: usize = 500;

/// Options of `vitrine export training-set`.
#[derive(Args, Debug)]
pub(super) struct TrainingSetArgs {
    /// Folder to make; its name names the set
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    data: DataConfig,
}

/// Runs `vitrine export training-set`.
pub(super) fn run(args: &TrainingSetArgs) -> Result<(), CliError> {
    let TrainingSetArgs { out, data } = args;
    let reader = CatalogReader::open(&data.data_dir).map_err(store)?;
    if out.exists() {
        return Err(CliError::Option { option: "--out", detail: format!("{} is there already", out.display()) });
    }
    let done = export(&reader, out)?;
    println!(
        "{}: {} photos of {} products, labels {}{}",
        out.display(),
        done.photos,
        done.products,
        done.names.into_iter().collect::<Vec<_>>().join(", "),
        if done.missing == 0 {
            String::new()
        } else {
            format!("; {} photos were gone meanwhile, or cannot be read", done.missing)
        }
    );
    Ok(())
}

#[derive(Default)]
struct Done {
    photos: usize,
    products: usize,
    missing: usize,
    names: BTreeSet<String>,
}

/// Writes the set beside `out` and renames it: a folder of that name is whole.
fn export(reader: &CatalogReader, out: &Path) -> Result<Done, CliError> {
    let name = out.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let staged = out.with_file_name(format!(".{name}.new"));
    let result = write(reader, &staged).and_then(|done| {
        if done.photos == 0 {
            return Err(CliError::NothingDone("nobody has corrected an attribute of a product with a photo".into()));
        }
        fs::rename(&staged, out).map_err(CliError::io("rename", &staged))?;
        Ok(done)
    });
    if result.is_err() {
        // What is left of it is removed by the next attempt.
        let _ = fs::remove_dir_all(&staged);
    }
    result
}

fn write(reader: &CatalogReader, staged: &Path) -> Result<Done, CliError> {
    let _ = fs::remove_dir_all(staged);
    fs::create_dir_all(staged.join("photos")).map_err(CliError::io("create", staged))?;
    let mut done = Done::default();
    // Which columns there are is known only after a look at all: labels are few, photos many.
    each_product(reader, |product| {
        done.names.extend(labels(product).map(|(name, _)| name.to_owned()));
        Ok(())
    })?;
    let path = staged.join("labels.csv");
    let file = File::create(&path).map_err(CliError::io("write", &path))?;
    let mut table = csv::Writer::from_writer(file);
    let fault = |e: csv::Error| CliError::io("write", path.clone())(std::io::Error::from(e));
    let head = ["file", "product_id", "image_id", "title"].into_iter().chain(done.names.iter().map(String::as_str));
    table.write_record(head).map_err(fault)?;
    let names = done.names.clone();
    each_product(reader, |product| {
        let mut seen = false;
        for image in &product.images {
            let Some(file) = photo(reader, staged, &product.product_id, image)? else {
                done.missing += 1;
                continue;
            };
            let title = product.metadata.title.as_deref().unwrap_or_default();
            let own = [file.as_str(), &product.product_id, &image.image_id, title];
            let value = |name: &String| product.corrections.get(name).and_then(|v| v.as_deref()).unwrap_or_default();
            table.write_record(own.into_iter().chain(names.iter().map(value))).map_err(fault)?;
            done.photos += 1;
            seen = true;
        }
        done.products += usize::from(seen);
        Ok(())
    })?;
    let file = table.into_inner().map_err(|e| CliError::io("write", path.clone())(e.into_error()))?;
    file.sync_all().map_err(CliError::io("write", &path))?;
    Ok(done)
}

/// Labels that a person gave; an attribute that does not apply is no label.
fn labels(product: &Product) -> impl Iterator<Item = (&str, &str)> {
    product.corrections.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)))
}

fn each_product(
    reader: &CatalogReader,
    mut visit: impl FnMut(&Product) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut after: Option<String> = None;
    loop {
        let products = reader.corrected_products(after.as_deref(), PAGE).map_err(store)?;
        let Some(last) = products.last() else { return Ok(()) };
        after = Some(last.product_id.clone());
        products.iter().filter(|p| labels(p).next().is_some()).try_for_each(&mut visit)?;
    }
}

/// Copies a photo, or what was looked at of it; its name below the set, or `None` when the server has deleted it meanwhile, or it
/// cannot be read.
fn photo(reader: &CatalogReader, staged: &Path, product_id: &str, image: &Image) -> Result<Option<String>, CliError> {
    let Image { image_id, analysis: Analysis { sha256, area, .. }, .. } = image;
    let media = reader.content_type(product_id, image_id).map_err(store)?;
    let (Some(media), Some(mut bytes)) = (media, reader.photo_bytes(sha256).map_err(store)?) else { return Ok(None) };
    let name = match *area {
        None => format!("photos/{sha256}-{}.{}", slug(image_id), extension(&media)),
        Some(area) => {
            // Not the photo with a box beside it: training would have to cut it as the service does.
            match part(&bytes, area) {
                Ok(png) => bytes = png,
                Err(error) => {
                    tracing::warn!(product_id, image_id, error, "photo left out");
                    return Ok(None);
                }
            }
            // Parts of a photo may have one name, in several products.
            let PixelBox { x1, y1, x2, y2 } = area;
            format!("photos/{sha256}-{x1}-{y1}-{x2}-{y2}-{}.png", slug(image_id))
        }
    };
    let path = staged.join(&name);
    let written = File::create(&path).and_then(|mut file| file.write_all(&bytes));
    written.map_err(CliError::io("write", &path))?;
    Ok(Some(name))
}

/// A part of a photo as PNG.
fn part(bytes: &[u8], area: PixelBox) -> Result<Vec<u8>, String> {
    // The server took it, by limits of its own.
    let limits = Limits {
        body_bytes: usize::MAX,
        pixels: u64::MAX,
        side: u32::MAX,
        min_side: 1,
        decode_bytes: u64::MAX,
        frames: u32::MAX,
    };
    let photo = Photo::decode(bytes, &limits).and_then(|photo| photo.crop(area)).map_err(|e| e.to_string())?;
    let mut png = Cursor::new(Vec::new());
    photo.rgb().write_to(&mut png, ImageFormat::Png).map_err(|e| e.to_string())?;
    Ok(png.into_inner())
}

/// An image id as part of a file name: two images may show one photo, and each is a row of its own.
fn slug(id: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let shortened: String = id.chars().take(40).map(safe).collect();
    use sha2::{Digest, Sha256};
    format!("{shortened}-{}", hex::encode(&Sha256::digest(id.as_bytes())[..4]))
}

fn extension(media: &str) -> &str {
    match media {
        "image/jpeg" => "jpg",
        other => other.strip_prefix("image/").filter(|s| s.bytes().all(|b| b.is_ascii_alphanumeric())).unwrap_or("bin"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nothing_is_written_where_nobody_corrected_anything() {
        let dir = tempfile::tempdir().unwrap();
        drop(crate::catalog::Catalog::open(&dir.path().join("data")).unwrap());
        let reader = CatalogReader::open(&dir.path().join("data")).unwrap();
        let out = dir.path().join("set");
        assert!(matches!(export(&reader, &out), Err(CliError::NothingDone(_))));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_of_files_are_safe_and_apart() {
        assert_ne!(slug("a/b"), slug("a?b"));
        assert!(slug("../../etc/passwd").starts_with("______etc_passwd-"));
        assert_eq!((extension("image/jpeg"), extension("image/avif"), extension("text/../x")), ("jpg", "avif", "bin"));
    }
}
