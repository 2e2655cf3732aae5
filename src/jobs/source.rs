//! Where photos of rows lie, and how they are asked for: few at a time of one host, again after a pause where that may help.

use crate::photo::{FetchError, Fetched, Fetcher};
use bytes::Bytes;
use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

/// Hosts that are remembered although nothing is fetched from them.
const IDLE_HOSTS: usize = 256;

/// Which files of this machine may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileAccess {
    /// All: the command that asks is its user's own.
    All,
    /// Those below these folders, wherever links lead.
    Below(Vec<PathBuf>),
}

/// How photos are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// Photos of one host under way at a time.
    pub per_host: usize,
    /// How often a photo is asked for, at least 1.
    pub attempts: u32,
    /// Pause before the second attempt; it doubles from attempt to attempt, and is drawn from half to one and a half of that.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self {
            per_host: 8,
            attempts: 5,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(20),
        }
    }
}

/// Why there are no bytes.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The URL's fault, or the server's.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The file cannot be read.
    #[error("cannot read the file: {0}")]
    File(#[from] io::Error),
    /// The file is longer than a photo may be.
    #[error("the photo has more than {limit} bytes, the limit")]
    TooLong {
        /// Most bytes of a photo.
        limit: usize,
    },
    /// Files are read below some folders only, and this is not.
    #[error("files may be read below the folders of --file-roots only, and this one is not below one")]
    NotAllowed,
    /// No place that photos can be fetched from.
    #[error("expected an http, https or file URL")]
    Scheme,
}

impl SourceError {
    /// What it counts under.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Fetch(error) => error.cause(),
            Self::File(_) => "cannot read the file",
            Self::TooLong { .. } => "file too long",
            Self::NotAllowed => "address not allowed",
            Self::Scheme => "bad value",
        }
    }

    /// Whether asking again may help: what was refused is refused again.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Fetch(error) => error.is_passing(),
            Self::File(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied),
            Self::TooLong { .. } | Self::NotAllowed | Self::Scheme => false,
        }
    }
}

/// Fetches photos of rows.
#[derive(Debug)]
pub struct Sources {
    fetcher: Fetcher,
    files: FileAccess,
    limit_bytes: usize,
    config: SourceConfig,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Sources {
    /// `limit_bytes`: most bytes of a photo that is a file; `fetcher` has its own.
    pub fn new(fetcher: Fetcher, files: FileAccess, limit_bytes: usize, config: SourceConfig) -> Self {
        Self { fetcher, files, limit_bytes, config, hosts: Mutex::default() }
    }

    /// The photo at `uri`, `None` where it still is the version `etag`; and how often it was asked for.
    pub async fn get(&self, uri: &str, etag: Option<&str>) -> (Result<Option<Fetched>, SourceError>, u32) {
        let Ok(url) = Url::parse(uri) else { return (Err(SourceError::Scheme), 1) };
        let mut attempt = 1;
        loop {
            let error = match self.once(&url, etag).await {
                Err(error) if error.is_retryable() && attempt < self.config.attempts => error,
                ended => return (ended, attempt),
            };
            tracing::debug!(uri, attempt, %error, "asked for again after a pause");
            tokio::time::sleep(self.pause(attempt)).await;
            attempt += 1;
        }
    }

    /// A manifest behind an `http` or `https` URL, piece by piece.
    ///
    /// # Errors
    /// When it cannot be fetched, or what `write` fails with.
    pub async fn manifest<E: From<FetchError>>(
        &self,
        url: &str,
        limit: u64,
        write: impl FnMut(Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        self.fetcher.fetch_into(url, usize::try_from(limit).unwrap_or(usize::MAX), write).await
    }

    fn pause(&self, attempt: u32) -> Duration {
        let doubled = self.config.first_pause.saturating_mul(1 << (attempt - 1).min(16));
        // Those that failed together are not to come again together. What is drawn decides nothing but that.
        let drawn = RandomState::new().hash_one(attempt) as f64 / u64::MAX as f64;
        doubled.min(self.config.longest_pause).mul_f64(0.5 + drawn)
    }

    async fn once(&self, url: &Url, etag: Option<&str>) -> Result<Option<Fetched>, SourceError> {
        match url.scheme() {
            "http" | "https" => {
                let _place = self.place(url.host_str().unwrap_or_default()).await;
                Ok(self.fetcher.fetch_changed(url.as_str(), etag).await?)
            }
            "file" => {
                let path = url.to_file_path().map_err(|()| SourceError::Scheme)?;
                let (files, limit) = (self.files.clone(), self.limit_bytes);
                let read = move || read(&path, &files, limit);
                let bytes = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
                Ok(Some(Fetched { bytes, etag: None }))
            }
            _ => Err(SourceError::Scheme),
        }
    }

    /// A place among those that the host has.
    async fn place(&self, host: &str) -> Option<OwnedSemaphorePermit> {
        let places = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            if hosts.len() > IDLE_HOSTS {
                hosts.retain(|_, places| Arc::strong_count(places) > 1);
            }
            let places = || Arc::new(Semaphore::new(self.config.per_host.max(1)));
            Arc::clone(hosts.entry(host.to_owned()).or_insert_with(places))
        };
        // The semaphore is never closed.
        places.acquire_owned().await.ok()
    }
}

/// Opens a file that may be read.
///
/// # Errors
/// When it is not there, or not below an allowed folder.
pub(crate) fn open(path: &Path, files: &FileAccess) -> Result<File, SourceError> {
    let path = match files {
        FileAccess::All => path.to_path_buf(),
        FileAccess::Below(roots) => {
            // Whether a file is there that may not be read is nobody's business.
            let real = path.canonicalize().map_err(|_| SourceError::NotAllowed)?;
            let below = |root: &PathBuf| root.canonicalize().is_ok_and(|root| real.starts_with(root));
            if !roots.iter().any(below) {
                return Err(SourceError::NotAllowed);
            }
            real
        }
    };
    let file = File::open(path)?;
    // A pipe or a device would never end.
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it is not a file").into());
    }
    Ok(file)
}

fn read(path: &Path, files: &FileAccess, limit: usize) -> Result<Bytes, SourceError> {
    let mut bytes = Vec::new();
    open(path, files)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit { Err(SourceError::TooLong { limit }) } else { Ok(bytes.into()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::photo::FetchConfig;

    fn sources(files: FileAccess) -> Sources {
        Sources::new(Fetcher::new(FetchConfig::default()).unwrap(), files, 10, SourceConfig::default())
    }

    #[tokio::test]
    async fn files_are_read_below_their_roots_only() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("in"), dir.path().join("out"));
        std::fs::create_dir_all(&inside).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(inside.join("a"), b"photo").unwrap();
        std::fs::write(inside.join("long"), b"longer than ten").unwrap();
        std::fs::write(outside.join("a"), b"secret").unwrap();
        let uri = |path: PathBuf| String::from(Url::from_file_path(path).unwrap());
        let below = sources(FileAccess::Below(vec![inside.clone()]));
        let got = below.get(&uri(inside.join("a")), None).await.0.unwrap().unwrap();
        assert_eq!(&got.bytes[..], b"photo");
        let mut refused = vec![outside.join("a"), inside.join("../out/a"), outside.join("none")];
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(outside.join("a"), inside.join("link")).unwrap();
            refused.push(inside.join("link"));
        }
        for path in refused {
            let (refusal, attempts) = below.get(&uri(path.clone()), None).await;
            assert!(matches!(refusal, Err(SourceError::NotAllowed)), "{}", path.display());
            assert_eq!(attempts, 1);
        }
        assert!(matches!(below.get(&uri(inside.join("long")), None).await.0, Err(SourceError::TooLong { limit: 10 })));
        let all = sources(FileAccess::All);
        assert_eq!(&all.get(&uri(outside.join("a")), None).await.0.unwrap().unwrap().bytes[..], b"secret");
        assert!(matches!(all.get(&uri(outside.clone()), None).await.0, Err(SourceError::File(_))));
        assert!(matches!(all.get("ftp://host/a", None).await.0, Err(SourceError::Scheme)));
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let sources = sources(FileAccess::All);
        for (attempt, milliseconds) in [(1, 500), (2, 1_000), (3, 2_000), (30, 20_000)] {
            let pause = sources.pause(attempt).as_millis();
            assert!((milliseconds / 2..=milliseconds * 3 / 2).contains(&pause), "{attempt}: {pause}");
        }
    }
}
