//! Snapshots in a directory: which to open, how one is written so that a crash leaves the old ones whole, and
//! what becomes of a damaged one. The bytes themselves are [`format`](super::format)'s.
//!
//! A snapshot is named `<model>-<seq>.index`: the first 16 hex digits of the SHA-256 of the model version, and 20
//! decimal digits. `*.new` is one being written, `*.damaged` one put aside for a person to look at.

use super::format::{self, Unreadable};
use super::state::{Image, State};
use super::{IndexConfig, IndexError, Opened};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter};
use std::path::{Path, PathBuf};

const SUFFIX: &str = ".index";
const WRITING: &str = "new";
const DAMAGED: &str = "damaged";

fn at(path: &Path) -> impl FnOnce(io::Error) -> IndexError {
    let path = path.to_owned();
    move |source| IndexError::Io { path, source }
}

fn prefix(config: &IndexConfig) -> String {
    let hash = Sha256::digest(config.model_version.as_bytes());
    format!("{}-", hex::encode(&hash[..8]))
}

/// The snapshots of the configured model version, newest first. Leftovers of a write cut short are removed.
fn list(dir: &Path, config: &IndexConfig) -> Result<Vec<PathBuf>, IndexError> {
    let prefix = prefix(config);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        let path = entry.map_err(at(dir))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let Some(rest) = name.strip_prefix(&prefix) else { continue };
        match rest.strip_suffix(SUFFIX) {
            Some(seq) if seq.len() == 20 && seq.bytes().all(|digit| digit.is_ascii_digit()) => found.push(path),
            _ if rest.ends_with(&format!("{SUFFIX}.{WRITING}")) => fs::remove_file(&path).map_err(at(&path))?,
            _ => {}
        }
    }
    // Digits of one length: the order of names is the order of seqs.
    found.sort_unstable();
    found.reverse();
    Ok(found)
}

/// The newest whole snapshot in `dir`, or an empty state.
pub(super) fn open(dir: &Path, config: &IndexConfig) -> Result<(State, Opened), IndexError> {
    fs::create_dir_all(dir).map_err(at(dir))?;
    let mut opened = Opened::default();
    for path in list(dir, config)? {
        match read(&path, config) {
            Ok(image) => {
                opened.seq = image.seq;
                opened.snapshot = Some(path);
                return Ok((State::restored(config.dimension, image), opened));
            }
            Err(Unreadable::Io(source)) => return Err(IndexError::Io { path, source }),
            Err(Unreadable::Damaged(what)) => {
                let mut aside = path.clone().into_os_string();
                aside.push(format!(".{DAMAGED}"));
                let aside = PathBuf::from(aside);
                fs::rename(&path, &aside).map_err(at(&path))?;
                tracing::error!(path = %aside.display(), what, "index snapshot is damaged and was set aside");
                opened.set_aside.push((aside, what));
            }
        }
    }
    Ok((State::new(config.dimension), opened))
}

fn read(path: &Path, config: &IndexConfig) -> Result<Image, Unreadable> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    // Twice through the file, the second time from the page cache: nothing is parsed before it is known whole.
    format::verify(&mut file, length)?;
    let input = BufReader::with_capacity(1 << 20, File::open(path)?);
    format::read(input, length - format::CHECKSUM, &config.model_version, config.dimension)
}

/// Writes a snapshot beside the others, and removes those beyond the number to keep.
pub(super) fn write(dir: &Path, config: &IndexConfig, image: &Image) -> Result<(), IndexError> {
    let name = format!("{}{:020}{SUFFIX}", prefix(config), image.seq);
    let path = dir.join(&name);
    let new = dir.join(format!("{name}.{WRITING}"));
    let file = File::create(&new).map_err(at(&new))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    format::write(&mut out, &config.model_version, config.dimension, image).map_err(at(&new))?;
    let file = out.into_inner().map_err(|error| at(&new)(error.into_error()))?;
    file.sync_all().map_err(at(&new))?;
    fs::rename(&new, &path).map_err(at(&path))?;
    // The rename itself is on disk only when the directory is.
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(at(dir))?;
    for old in list(dir, config)?.iter().skip(config.keep_snapshots.max(1)) {
        fs::remove_file(old).map_err(at(old))?;
    }
    Ok(())
}
