//! Snapshots and segments in a directory: which to open, how one is written so that a crash leaves the old ones whole, and
//! what becomes of a damaged one. The bytes themselves are [`format`](super::format)'s and [`segment`](super::segment)'s.
//!
//! A snapshot is named `<model>-<seq>.index`, a segment `<model>-<number>.segment`: the first 16 hex digits of the SHA-256 of
//! the model version, and 20 decimal digits. `*.new` is one being written, `*.damaged` one put aside for a person to look at.
//! A segment without a snapshot that names it is what a crash left, or what the last snapshot has no more use for.

use super::format::{self, SegmentName};
use super::segment::{Segment, mapped};
use super::state::{Image, State};
use super::{FileReport, IndexConfig, IndexError, Opened};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::time::Duration;

const SNAPSHOT: &str = ".index";
const SEGMENT: &str = ".segment";
const WRITING: &str = ".new";
const LOCK: &str = "lock";
const DAMAGED: &str = ".damaged";

fn at(path: &Path) -> impl FnOnce(io::Error) -> IndexError {
    let path = path.to_owned();
    move |source| IndexError::Io { path, source }
}

fn prefix(config: &IndexConfig) -> String {
    let hash = Sha256::digest(config.model_version.as_bytes());
    format!("{}-", hex::encode(&hash[..8]))
}

fn names(dir: &Path) -> Result<Vec<String>, IndexError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        names.extend(entry.map_err(at(dir))?.file_name().into_string());
    }
    // Digits of one length: the order of names is the order of numbers.
    names.sort_unstable();
    Ok(names)
}

/// The number in a name that begins and ends so.
fn number(name: &str, prefix: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
    (digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// The configured model version's files of a kind, the newest first.
fn list(dir: &Path, config: &IndexConfig, suffix: &str) -> Result<Vec<PathBuf>, IndexError> {
    let prefix = prefix(config);
    let of_kind = names(dir)?.into_iter().rev().filter(|name| number(name, &prefix, suffix).is_some());
    Ok(of_kind.map(|name| dir.join(name)).collect())
}

/// Keeps all others from the files of the configured model version, until it is dropped. An index that somebody is about to
/// let go of is waited for.
pub(super) fn lock(dir: &Path, config: &IndexConfig) -> Result<File, IndexError> {
    const TRIES: u32 = 200;
    const PAUSE: Duration = Duration::from_millis(50);
    fs::create_dir_all(dir).map_err(at(dir))?;
    let path = dir.join(format!("{}{LOCK}", prefix(config)));
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(at(&path))?;
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            Err(TryLockError::Error(error)) => return Err(at(&path)(error)),
        }
    }
    Err(at(&path)(io::Error::new(io::ErrorKind::ResourceBusy, "this index is still open elsewhere")))
}

/// Where the next segment is written, until [`publish`] gives it its name.
pub(super) fn next_segment(dir: &Path, config: &IndexConfig) -> Result<PathBuf, IndexError> {
    let prefix = prefix(config);
    // Also of those put aside: a name is never used twice.
    let known = |name: &String| number(name.trim_end_matches(DAMAGED), &prefix, SEGMENT);
    let last = names(dir)?.iter().filter_map(known).max();
    let next = last.map_or(0, |last| last.saturating_add(1));
    Ok(dir.join(format!("{prefix}{next:020}{SEGMENT}{WRITING}")))
}

/// Gives a written file its name: what it was called without `.new`.
pub(super) fn publish(dir: &Path, new: &Path) -> Result<PathBuf, IndexError> {
    let path = new.with_extension("");
    fs::rename(new, &path).map_err(at(new))?;
    sync(dir)?;
    Ok(path)
}

/// What was renamed or removed is so on disk only when the directory is.
fn sync(dir: &Path) -> Result<(), IndexError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(at(dir))
}

/// Renames a damaged file and says so.
fn set_aside(path: &Path, what: String, opened: &mut Opened) -> Result<(), IndexError> {
    let mut aside = path.to_owned().into_os_string();
    aside.push(DAMAGED);
    let aside = PathBuf::from(aside);
    fs::rename(path, &aside).map_err(at(path))?;
    tracing::error!(path = %aside.display(), what, "a file of the index is damaged and was set aside");
    opened.set_aside.push((aside, what));
    Ok(())
}

/// The newest whole snapshot in `dir`, or an empty state.
pub(super) fn open(dir: &Path, config: &IndexConfig) -> Result<(State, Opened), IndexError> {
    fs::create_dir_all(dir).map_err(at(dir))?;
    let prefix = prefix(config);
    for name in names(dir)? {
        // Leftovers of a write cut short.
        if name.starts_with(&prefix) && name.ends_with(WRITING) {
            fs::remove_file(dir.join(&name)).map_err(at(dir))?;
        }
    }
    let mut opened = Opened::default();
    for path in list(dir, config, SNAPSHOT)? {
        let bytes = match mapped(&path) {
            // No bytes can be mapped of an empty file.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => None,
            bytes => Some(bytes.map_err(at(&path))?.1),
        };
        let mut damaged = Vec::new();
        let segment = |name: &SegmentName| match open_segment(dir, config, name) {
            Ok(segment) => Some(segment),
            Err(what) => {
                damaged.push((dir.join(&name.file), what));
                None
            }
        };
        let read =
            format::read(bytes.as_deref().unwrap_or_default(), (&config.model_version, config.dimension), segment);
        match read {
            Ok((state, lost)) => {
                for (path, what) in damaged {
                    match path.exists() {
                        true => set_aside(&path, what, &mut opened)?,
                        false => opened.set_aside.push((path, what)),
                    }
                }
                (opened.seq, opened.snapshot, opened.lost) = (state.seq, Some(path), lost);
                return Ok((state, opened));
            }
            Err(what) => set_aside(&path, what, &mut opened)?,
        }
    }
    Ok((State::new(config.dimension), opened))
}

fn open_segment(dir: &Path, config: &IndexConfig, name: &SegmentName) -> Result<Segment, String> {
    // A name leads nowhere but into the directory.
    if number(&name.file, &prefix(config), SEGMENT).is_none() {
        return Err("its name is not a segment's".to_owned());
    }
    let opened = Segment::open(&dir.join(&name.file), config.vectors_on_disk);
    let segment = opened.map_err(|error| error.to_string())??;
    let fits = segment.model_version() == config.model_version && segment.dimension() == config.dimension;
    match fits && segment.checksum() == name.crc32 {
        true => Ok(segment),
        false => Err("it is not the segment that the snapshot names".to_owned()),
    }
}

/// The last change of the newest snapshot, by its name.
pub(super) fn newest(dir: &Path, config: &IndexConfig) -> Result<Option<u64>, IndexError> {
    if !dir.exists() {
        return Ok(None);
    }
    let newest = list(dir, config, SNAPSHOT)?.into_iter().next();
    Ok(newest.and_then(|path| number(path.file_name()?.to_str()?, &prefix(config), SNAPSHOT)))
}

/// Removes all files of the configured model version; they stay removed.
pub(super) fn remove(dir: &Path, config: &IndexConfig) -> Result<(), IndexError> {
    let _alone = lock(dir, config)?;
    let prefix = prefix(config);
    let (snapshots, others): (Vec<String>, Vec<String>) = names(dir)?
        .into_iter()
        .filter(|name| name.starts_with(&prefix) && !name.ends_with(LOCK))
        .partition(|name| name.ends_with(SNAPSHOT));
    // A segment that is missing would look like damage.
    for name in snapshots.iter().chain(&others) {
        let path = dir.join(name);
        fs::remove_file(&path).map_err(at(&path))?;
    }
    sync(dir)
}

/// Writes a snapshot beside the others, and removes those beyond the number to keep, and segments that none of them names.
pub(super) fn write(dir: &Path, config: &IndexConfig, image: &Image) -> Result<(), IndexError> {
    let name = format!("{}{:020}{SNAPSHOT}", prefix(config), image.seq);
    let new = dir.join(format!("{name}{WRITING}"));
    let file = File::create(&new).map_err(at(&new))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    format::write(&mut out, &config.model_version, config.dimension, image).map_err(at(&new))?;
    let file = out.into_inner().map_err(|error| at(&new)(error.into_error()))?;
    file.sync_all().map_err(at(&new))?;
    publish(dir, &new)?;
    let snapshots = list(dir, config, SNAPSHOT)?;
    let (kept, old) = snapshots.split_at(config.keep_snapshots.max(1).min(snapshots.len()));
    for old in old {
        fs::remove_file(old).map_err(at(old))?;
    }
    let mut named: HashSet<String> = image.parts.iter().filter_map(|part| file_name(part.segment()?.path()?)).collect();
    for path in kept {
        let (_, bytes) = mapped(path).map_err(at(path))?;
        if let Ok((header, _)) = format::header(&bytes) {
            named.extend(header.parts.into_iter().filter_map(|part| Some(part.segment?.file)));
        }
    }
    for path in list(dir, config, SEGMENT)? {
        if file_name(&path).is_none_or(|name| !named.contains(&name)) {
            fs::remove_file(&path).map_err(at(&path))?;
        }
    }
    Ok(())
}

fn file_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.to_owned())
}

/// Looks at every file of an index directory, of all model versions; changes nothing.
pub(super) fn inspect(dir: &Path) -> Result<Vec<FileReport>, IndexError> {
    let mut reports = Vec::new();
    for name in names(dir)?.into_iter().filter(|name| !name.ends_with(LOCK)) {
        let path = dir.join(&name);
        let bytes = fs::metadata(&path).map_err(at(&path))?.len();
        let mut report = FileReport { path: path.clone(), bytes, ..FileReport::default() };
        let problem = if name.ends_with(SNAPSHOT) {
            look_at_snapshot(&path, &mut report)
        } else if name.ends_with(SEGMENT) {
            look_at_segment(&path, &mut report)
        } else if name.ends_with(DAMAGED) {
            Err("put aside as damaged".to_owned())
        } else if name.ends_with(WRITING) {
            Err("left by a write that was cut short".to_owned())
        } else {
            Err("no file of an index".to_owned())
        };
        report.problem = problem.err();
        reports.push(report);
    }
    Ok(reports)
}

fn look_at_snapshot(path: &Path, report: &mut FileReport) -> Result<(), String> {
    let (_, bytes) = mapped(path).map_err(|error| error.to_string())?;
    format::verify(&bytes)?;
    let (header, _) = format::header(&bytes)?;
    report.model_version = header.model_version;
    report.seq = Some(header.seq);
    report.products = Some(header.products);
    report.rows = header.parts.iter().map(|part| part.rows - part.dead.min(part.rows)).sum();
    let missing = header.parts.iter().filter_map(|part| part.segment.as_ref());
    match missing.map(|name| &name.file).find(|name| !path.with_file_name(name).exists()) {
        Some(name) => Err(format!("its segment {name} is missing")),
        None => Ok(()),
    }
}

fn look_at_segment(path: &Path, report: &mut FileReport) -> Result<(), String> {
    let segment = Segment::open(path, true).map_err(|error| error.to_string())??;
    report.model_version = segment.model_version().to_owned();
    report.rows = segment.len();
    Ok(())
}
