//! The original bytes of photos, by their SHA-256: `photos/ab/cd/<sha256>`, one file however many images show it.
//! A file is whole and on disk before the transaction that refers to it commits, and goes after the one that drops
//! its last reference; what a crash left between the two is swept at the next start.

use super::CatalogError;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Folder of files that are being written, inside the store so that a rename never crosses file systems.
const STAGING: &str = "tmp";

/// The folder of photos.
pub(super) struct PhotoStore {
    root: PathBuf,
    next: AtomicU64,
}

/// A photo's bytes, written and synced under a temporary name. It becomes part of the catalog with
/// [`Tx::put_image`](super::Tx::put_image); dropped before that, it is removed.
#[derive(Debug)]
pub struct StagedPhoto {
    path: PathBuf,
    sha256: String,
    size_bytes: u64,
    placed: bool,
}

impl StagedPhoto {
    /// SHA-256 of the bytes, hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Length of the bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

impl Drop for StagedPhoto {
    fn drop(&mut self) {
        if !self.placed {
            // What cannot be removed now is removed at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl PhotoStore {
    /// Opens the folder, creating it when it is not there.
    pub(super) fn open(root: PathBuf) -> Result<Self, CatalogError> {
        let staging = root.join(STAGING);
        fs::create_dir_all(&staging).map_err(CatalogError::io("create", &staging))?;
        sync_dir(&root)?;
        if let Some(parent) = root.parent() {
            sync_dir(parent)?;
        }
        Ok(Self { root, next: AtomicU64::new(0) })
    }

    /// Writes photos to temporary files and syncs them: the slow part of storing a photo, done before the writer's turn so that
    /// several uploads can do it at once. All are written before the first is synced, which then takes most of the others along.
    pub(super) fn stage(&self, photos: &[&[u8]]) -> Result<Vec<StagedPhoto>, CatalogError> {
        let mut staged = Vec::with_capacity(photos.len());
        for bytes in photos {
            // Unique while the data directory's lock is held; leftovers of other runs are swept before the first use.
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let path = self.root.join(STAGING).join(number.to_string());
            let photo = StagedPhoto {
                path,
                sha256: hex::encode(Sha256::digest(bytes)),
                size_bytes: bytes.len() as u64,
                placed: false,
            };
            let write = || -> io::Result<File> {
                let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&photo.path)?;
                file.write_all(bytes)?;
                Ok(file)
            };
            let file = write().map_err(CatalogError::io("write", &photo.path))?;
            staged.push((photo, file));
        }
        let sync = |(photo, file): (StagedPhoto, File)| match file.sync_all() {
            Ok(()) => Ok(photo),
            Err(error) => Err(CatalogError::io("sync", &photo.path)(error)),
        };
        staged.into_iter().map(sync).collect()
    }

    /// Gives a staged photo its lasting name. Called in the writer's turn, before the commit, which must wait until the folders put
    /// into `unsynced` are on disk. An older file of the same hash is replaced, which mends it should it have been damaged.
    pub(super) fn place(&self, mut staged: StagedPhoto, unsynced: &mut BTreeSet<PathBuf>) -> Result<(), CatalogError> {
        let target = self.path_of(&staged.sha256);
        let inner = target.parent().unwrap_or(&self.root);
        let outer = inner.parent().unwrap_or(&self.root);
        // A folder made just now is an entry of the one above: that one must be on disk too.
        if !outer.is_dir() {
            unsynced.insert(self.root.clone());
        }
        if !inner.is_dir() {
            unsynced.insert(outer.to_owned());
        }
        fs::create_dir_all(inner).map_err(CatalogError::io("create", inner))?;
        fs::rename(&staged.path, &target).map_err(CatalogError::io("rename to", &target))?;
        staged.placed = true;
        unsynced.insert(inner.to_owned());
        Ok(())
    }

    /// The bytes of a photo; `None` when there is none of that hash, or it is no hash.
    pub(super) fn read(&self, sha256: &str) -> Result<Option<Vec<u8>>, CatalogError> {
        read_from(&self.root, sha256)
    }

    /// Removes a photo that nothing refers to any more. A failure is logged, not returned: the write that dropped
    /// the reference is committed, and the next start tries again.
    pub(super) fn remove(&self, sha256: &str) {
        let path = self.path_of(sha256);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "photo not removed; the next start tries again");
        }
    }

    /// Removes what writes that were cut short left in the folder of temporary files.
    pub(super) fn clear_staging(&self) -> Result<(), CatalogError> {
        for path in entries(&self.root.join(STAGING))? {
            fs::remove_file(&path).map_err(CatalogError::io("remove", &path))?;
        }
        Ok(())
    }

    /// Whether any photo is there.
    pub(super) fn is_empty(&self) -> Result<bool, CatalogError> {
        let mut empty = true;
        self.visit(&mut |_| {
            empty = false;
            Ok(false)
        })?;
        Ok(empty)
    }

    /// Calls `each` with the hashes of every folder's photos, until it returns false. Files that are not named by a hash are
    /// not ours.
    pub(super) fn visit(
        &self,
        each: &mut dyn FnMut(&[String]) -> Result<bool, CatalogError>,
    ) -> Result<(), CatalogError> {
        for outer in entries(&self.root)?.iter().filter(|path| is_shard(path)) {
            for inner in entries(outer)?.iter().filter(|path| is_shard(path)) {
                let is_photo = |path: &PathBuf| {
                    let name = path.file_name()?.to_str().filter(|name| is_hash(name))?;
                    (self.path_of(name) == *path).then(|| name.to_owned())
                };
                let photos: Vec<String> = entries(inner)?.iter().filter_map(is_photo).collect();
                if !photos.is_empty() && !each(&photos)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Where the photo of a checked hash lies.
    fn path_of(&self, sha256: &str) -> PathBuf {
        path_below(&self.root, sha256)
    }
}

/// A photo's bytes in the folder `root`, which another process may own.
pub(super) fn read_from(root: &Path, sha256: &str) -> Result<Option<Vec<u8>>, CatalogError> {
    if !is_hash(sha256) {
        return Ok(None);
    }
    let path = path_below(root, sha256);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CatalogError::io("read", &path)(error)),
    }
}

fn path_below(root: &Path, sha256: &str) -> PathBuf {
    let outer = sha256.get(0..2).unwrap_or_default();
    let inner = sha256.get(2..4).unwrap_or_default();
    root.join(outer).join(inner).join(sha256)
}

/// Whether `text` is a SHA-256 in lower-case hex; nothing else ever becomes part of a path.
pub(super) fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_shard(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.len() == 2) && path.is_dir()
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, CatalogError> {
    fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| entry.map(|e| e.path())).collect())
        .map_err(CatalogError::io("list", dir))
}

/// Puts a folder's entries on disk: a rename is not durable before.
pub(super) fn sync_dir(dir: &Path) -> Result<(), CatalogError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(CatalogError::io("sync", dir))
}
