//! Where photos of rows lie, and how they are asked for: few at a time of one host, again after a pause where that may help.

use super::objects::{self, ObjectAccess, Objects};
use crate::backoff;
use crate::photo::{FetchError, Fetched, Fetcher};
use bytes::Bytes;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

/// Hosts that are remembered although nothing is fetched from them.
const IDLE_HOSTS: usize = 256;
/// Longest pause that a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(120);
/// Photos in a row that did not come, after which a host is not waited for any more.
const DEAD_AFTER: u32 = 20;

/// Whether anything is fetched from URLs of this scheme.
pub fn is_fetched(scheme: &str) -> bool {
    ["http", "https", "file"].contains(&scheme) || objects::SCHEMES.contains(&scheme)
}

/// Which files of this machine may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileAccess {
    /// All: the command that asks is its user's own.
    All,
    /// Those below these folders, wherever links lead.
    Below(Vec<PathBuf>),
}

/// What may be read beside what the fetcher may fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Files of this machine.
    pub files: FileAccess,
    /// Objects of object stores.
    pub objects: ObjectAccess,
    /// Settings of object stores, by the names that their own tools have for them in the environment.
    pub settings: Vec<(String, String)>,
}

/// How photos are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// Photos of one web server under way at a time; of an object store as many as there may be.
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
    #[error("only what lies below --file-roots, --object-roots may be read, and this does not")]
    NotAllowed,
    /// The object store refused, or does not answer.
    #[error("object store: {0}")]
    Object(#[from] object_store::Error),
    /// No place that photos can be fetched from.
    #[error("expected an http, https, file, s3, gs, az or abfs URL")]
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
            Self::Object(object_store::Error::NotFound { .. }) => "no such object",
            Self::Object(
                object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. },
            ) => "object store refused",
            Self::Object(_) => "object store failed",
            Self::Scheme => "bad value",
        }
    }

    /// Whether asking again may help: what was refused is refused again.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Fetch(error) => error.is_passing(),
            Self::File(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied),
            Self::Object(error) => {
                matches!(error, object_store::Error::Generic { .. } | object_store::Error::JoinError { .. })
            }
            Self::TooLong { .. } | Self::NotAllowed | Self::Scheme => false,
        }
    }
}

/// A photo that came, and its share of the memory for photos that are fetched and not stored yet.
#[derive(Debug)]
pub struct Got {
    /// Its bytes and version.
    pub fetched: Fetched,
    /// Given back when it is dropped.
    pub memory: Option<OwnedSemaphorePermit>,
}

/// Fetches photos of rows.
#[derive(Debug)]
pub struct Sources {
    fetcher: Fetcher,
    files: FileAccess,
    objects: Objects,
    limit_bytes: usize,
    config: SourceConfig,
    /// KiB that may still be fetched.
    memory: Arc<Semaphore>,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
}

/// A host that photos are fetched from, or a bucket.
#[derive(Debug)]
struct Host {
    places: Arc<Semaphore>,
    /// Photos in a row that did not come although they were asked for often enough.
    failures: AtomicU32,
}

impl Sources {
    /// `limit_bytes`: most bytes of a photo that is a file or an object; `fetcher` has its own. `buffered_bytes`: of all photos
    /// that are under way, each counted as the longest there may be until its length is known.
    pub fn new(
        fetcher: Fetcher,
        access: Access,
        limit_bytes: usize,
        buffered_bytes: usize,
        config: SourceConfig,
    ) -> Self {
        let Access { files, objects, settings } = access;
        let objects = Objects::new(objects, settings);
        let kib = buffered_bytes.max(limit_bytes).div_ceil(1024).min(Semaphore::MAX_PERMITS);
        let memory = Arc::new(Semaphore::new(kib));
        Self { fetcher, files, objects, limit_bytes, config, memory, hosts: Mutex::default() }
    }

    /// The photo at `uri`, `None` where it still is the version `etag`; and how often it was asked for. Of a host that gave
    /// nothing for long, each is asked for once.
    pub async fn get(&self, uri: &str, etag: Option<&str>) -> (Result<Option<Got>, SourceError>, u32) {
        let Ok(url) = Url::parse(uri) else { return (Err(SourceError::Scheme), 1) };
        let host = self.host(&url);
        let mut attempt = 1;
        loop {
            let is_dead = host.failures.load(Ordering::Relaxed) >= DEAD_AFTER;
            let attempts = if is_dead { 1 } else { self.config.attempts };
            match self.once(&url, etag, &host).await {
                Err(error) if attempt < attempts && self.pause_after(attempt, &error).await => {
                    tracing::debug!(uri, attempt, %error, "asked for again after a pause");
                }
                ended => {
                    match &ended {
                        Err(error) if error.is_retryable() => drop(host.failures.fetch_add(1, Ordering::Relaxed)),
                        _ => host.failures.store(0, Ordering::Relaxed),
                    }
                    return (ended, attempt);
                }
            }
            attempt += 1;
        }
    }

    /// A manifest that is no file here, piece by piece.
    ///
    /// # Errors
    /// When it cannot be fetched, or what `write` fails with.
    pub async fn manifest<E: From<FetchError> + From<SourceError>>(
        &self,
        uri: &str,
        limit: u64,
        write: impl FnMut(Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        let url = Url::parse(uri).map_err(|_| SourceError::Scheme)?;
        match url.scheme() {
            scheme if objects::SCHEMES.contains(&scheme) => self.objects.get_into(&url, limit, write).await,
            _ => self.fetcher.fetch_into(uri, usize::try_from(limit).unwrap_or(usize::MAX), write).await,
        }
    }

    /// Waits before the next attempt, where there is one and it may help: at least as long as the server asked for, where that
    /// is not too long. False where there is none.
    pub async fn pause_after(&self, attempt: u32, error: &SourceError) -> bool {
        let again = error.is_retryable() && attempt < self.config.attempts;
        if again {
            let asked = match error {
                SourceError::Fetch(error) => error.retry_after().min(LONGEST_ASKED),
                _ => Duration::ZERO,
            };
            let pause = backoff::pause(attempt, self.config.first_pause, self.config.longest_pause);
            tokio::time::sleep(pause.max(asked)).await;
        }
        again
    }

    /// Asks once. A host's place first, memory then: a host that does not answer holds nothing that others need but what its
    /// places hold.
    async fn once(&self, url: &Url, etag: Option<&str>, host: &Host) -> Result<Option<Got>, SourceError> {
        // Neither semaphore is ever closed.
        let _place = Arc::clone(&host.places).acquire_owned().await.ok();
        let most = u32::try_from(self.limit_bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let mut memory = Arc::clone(&self.memory).acquire_many_owned(most).await.ok();
        let fetched = match url.scheme() {
            "http" | "https" => self.fetcher.fetch_changed(url.as_str(), etag).await?,
            "file" => {
                let path = url.to_file_path().map_err(|()| SourceError::Scheme)?;
                let (files, limit) = (self.files.clone(), self.limit_bytes);
                let read = move || read(&path, &files, limit);
                let bytes = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
                Some(Fetched { bytes, etag: None })
            }
            scheme if objects::SCHEMES.contains(&scheme) => self.objects.get(url, etag, self.limit_bytes).await?,
            _ => return Err(SourceError::Scheme),
        };
        Ok(fetched.map(|fetched| {
            let used = fetched.bytes.len().div_ceil(1024);
            if let Some(memory) = &mut memory {
                drop(memory.split((most as usize).saturating_sub(used)));
            }
            Got { fetched, memory }
        }))
    }

    fn host(&self, url: &Url) -> Arc<Host> {
        let name = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
        // Object stores and disks are made to be asked for much at a time: how much the job asks for is the bound.
        let is_one_server = matches!(url.scheme(), "http" | "https");
        let most = if is_one_server { self.config.per_host.max(1) } else { Semaphore::MAX_PERMITS };
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() > IDLE_HOSTS {
            hosts.retain(|_, host| Arc::strong_count(host) > 1);
        }
        let host = || {
            let places = Arc::new(Semaphore::new(most));
            Arc::new(Host { places, failures: AtomicU32::new(0) })
        };
        Arc::clone(hosts.entry(name).or_insert_with(host))
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
    // Before it is opened: a pipe that nobody writes to would never be.
    if !path.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it is not a file").into());
    }
    Ok(File::open(path)?)
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
        let access = Access { files, objects: ObjectAccess::All, settings: Vec::new() };
        Sources::new(Fetcher::new(FetchConfig::default()).unwrap(), access, 10, 1 << 20, SourceConfig::default())
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
        assert_eq!(&got.fetched.bytes[..], b"photo");
        let mut refused = vec![outside.join("a"), inside.join("../out/a"), outside.join("none")];
        #[cfg(unix)]
        {
            // A pipe that nobody writes to.
            let pipe = inside.join("pipe");
            assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            assert!(matches!(below.get(&uri(pipe), None).await.0, Err(SourceError::File(_))));
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
        assert_eq!(&all.get(&uri(outside.join("a")), None).await.0.unwrap().unwrap().fetched.bytes[..], b"secret");
        assert!(matches!(all.get(&uri(outside.clone()), None).await.0, Err(SourceError::File(_))));
        assert!(matches!(all.get("ftp://host/a", None).await.0, Err(SourceError::Scheme)));
    }
}
