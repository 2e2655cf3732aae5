//! Settings of the commands: one small struct a concern, each setting an option and an environment variable
//! `VITRINE_*`. The option wins over the variable, the variable over the default.

use crate::feed::JetStreamConfig;
use crate::http::HttpLimits;
use crate::index::IndexConfig;
use crate::jobs::{Access, FileAccess, ObjectAccess, SourceConfig};
use crate::model::{EngineChoice, EngineConfig, Precision, Provider};
use crate::photo::{FetchConfig, Limits};
use crate::service::{JobsConfig, WebhooksConfig};
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// Where the service answers, to whom, and for how long; the defaults are those of [`HttpLimits`].
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Server")]
pub struct ServerConfig {
    /// Address and port to listen on; any but a loopback address needs a keys file
    #[arg(long, env = "VITRINE_LISTEN", default_value_t = Self::default().listen)]
    pub listen: SocketAddr,
    /// File of API keys (`vitrine keys new` makes its lines); without it every caller may do everything
    #[arg(long, env = "VITRINE_KEYS_FILE")]
    pub keys_file: Option<PathBuf>,
    /// Connections at a time; further ones wait
    #[arg(long, env = "VITRINE_MAX_CONNECTIONS", default_value_t = Self::default().max_connections)]
    pub max_connections: NonZeroUsize,
    /// Bytes of all request bodies held at a time; beyond, the answer is 503
    #[arg(long, env = "VITRINE_MAX_BUFFERED_BYTES", default_value_t = Self::default().max_buffered_bytes)]
    pub max_buffered_bytes: usize,
    /// Longest time for a request's head to arrive, in seconds; also how long an idle connection is kept
    #[arg(long, env = "VITRINE_HEAD_TIMEOUT_S", default_value_t = Self::default().head_timeout_s, value_parser = seconds())]
    pub head_timeout_s: u64,
    /// Longest time for a body to arrive, in seconds
    #[arg(long, env = "VITRINE_BODY_TIMEOUT_S", default_value_t = Self::default().body_timeout_s, value_parser = seconds())]
    pub body_timeout_s: u64,
    /// Longest time from a request's head to its response, in seconds
    #[arg(long, env = "VITRINE_REQUEST_TIMEOUT_S", default_value_t = Self::default().request_timeout_s, value_parser = seconds())]
    pub request_timeout_s: u64,
    /// Longest time a client may take to read the next piece of a response, in seconds
    #[arg(long, env = "VITRINE_WRITE_TIMEOUT_S", default_value_t = Self::default().write_timeout_s, value_parser = seconds())]
    pub write_timeout_s: u64,
    /// Longest wait at shutdown for requests that were accepted, in seconds
    #[arg(long, env = "VITRINE_DRAIN_TIMEOUT_S", default_value_t = Self::default().drain_timeout_s, value_parser = seconds())]
    pub drain_timeout_s: u64,
}

/// Seconds a person may wait for: 1 to an hour.
fn seconds() -> clap::builder::RangedU64ValueParser {
    clap::builder::RangedU64ValueParser::new().range(1..=3600)
}

impl Default for ServerConfig {
    fn default() -> Self {
        let limits = HttpLimits::default();
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            keys_file: None,
            max_connections: NonZeroUsize::new(limits.connections).unwrap_or(NonZeroUsize::MIN),
            max_buffered_bytes: limits.buffered_bytes,
            head_timeout_s: limits.head_timeout.as_secs(),
            body_timeout_s: limits.body_timeout.as_secs(),
            request_timeout_s: limits.request_timeout.as_secs(),
            write_timeout_s: limits.write_timeout.as_secs(),
            drain_timeout_s: limits.drain_timeout.as_secs(),
        }
    }
}

impl ServerConfig {
    /// As the server takes them; `photo_bytes` is the limit of photos, the same whichever way they come.
    pub fn limits(&self, photo_bytes: usize) -> HttpLimits {
        HttpLimits {
            connections: self.max_connections.get(),
            photo_bytes,
            buffered_bytes: self.max_buffered_bytes,
            head_timeout: Duration::from_secs(self.head_timeout_s),
            body_timeout: Duration::from_secs(self.body_timeout_s),
            request_timeout: Duration::from_secs(self.request_timeout_s),
            write_timeout: Duration::from_secs(self.write_timeout_s),
            drain_timeout: Duration::from_secs(self.drain_timeout_s),
            ..HttpLimits::default()
        }
    }
}

/// Where the catalog lies.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Data")]
pub struct DataConfig {
    /// Folder of the catalog, its photos and index snapshots; made when it is not there
    #[arg(long, env = "VITRINE_DATA_DIR", default_value_os_t = Self::default().data_dir)]
    pub data_dir: PathBuf,
    /// Where the index keeps vectors: in memory, some 920 bytes an image, or on disk, some 410
    #[arg(long, env = "VITRINE_INDEX_VECTORS", value_enum, default_value_t = Self::default().index_vectors)]
    pub index_vectors: IndexVectors,
    /// Memory that building or merging a part of the index may take, in bytes: some 430 an image of that part
    #[arg(long, env = "VITRINE_INDEX_BUILD_BYTES", default_value_t = Self::default().index_build_bytes)]
    pub index_build_bytes: usize,
    /// Candidates kept in a search: more find more of the nearest, and take longer. Of 100,000 photos 64 find 0.9965 of the
    /// twenty nearest, 192 find 0.999 in 1.6 times the time; of millions they find less
    #[arg(long, env = "VITRINE_SEARCH_CANDIDATES", value_parser = clap::value_parser!(u16).range(16..=4096),
        default_value_t = Self::default().search_candidates)]
    pub search_candidates: u16,
    /// Days for which the feed keeps changes; consumers that are behind begin anew. 0: for ever
    #[arg(long, env = "VITRINE_FEED_RETENTION_DAYS", default_value_t = Self::default().feed_retention_days)]
    pub feed_retention_days: u32,
}

impl Default for DataConfig {
    fn default() -> Self {
        let IndexConfig { build_memory, ef_search, .. } = IndexConfig::default();
        Self {
            data_dir: PathBuf::from("./vitrine-data"),
            index_vectors: IndexVectors::Memory,
            index_build_bytes: build_memory,
            search_candidates: u16::try_from(ef_search).unwrap_or(u16::MAX),
            feed_retention_days: 90,
        }
    }
}

/// Where the index keeps the vectors that the nearest are scored by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum IndexVectors {
    /// Mapped with the rest.
    Memory,
    /// Read one by one.
    Disk,
}

/// Which model looks.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Model")]
pub struct ModelConfig {
    /// Folder of the model bundles
    #[arg(long, env = "VITRINE_MODELS_DIR", default_value_os_t = Self::default().models_dir)]
    pub models_dir: PathBuf,
    /// Bundle to start with, a folder of the models folder; a version activated later wins
    #[arg(long, env = "VITRINE_MODEL", default_value_t = Self::default().model)]
    pub model: String,
    /// What runs the bundle's graph
    #[arg(long, env = "VITRINE_ENGINE", value_enum, default_value_t = Self::default().engine)]
    pub engine: EngineChoice,
    /// How the graph computes [default: int8 where engine, bundle and processor run it fast, else f32]
    #[arg(long, env = "VITRINE_PRECISION", value_enum)]
    pub precision: Option<Precision>,
    /// Library of ONNX Runtime, 1.17 or newer [default: looked for in the linker's, the system's and Python's folders]
    #[arg(long, env = "VITRINE_ONNXRUNTIME_LIB")]
    pub onnxruntime_lib: Option<PathBuf>,
    /// Where ONNX Runtime computes, separated by commas, best first [default: on the processor]
    #[arg(long, env = "VITRINE_EXECUTION_PROVIDERS", value_enum, value_delimiter = ',')]
    pub execution_providers: Vec<Provider>,
}

impl Default for ModelConfig {
    fn default() -> Self {
        let EngineConfig { choice: engine, precision, library: onnxruntime_lib, providers, .. } =
            EngineConfig::default();
        Self {
            models_dir: PathBuf::from("models"),
            model: "default".into(),
            engine,
            precision,
            onnxruntime_lib,
            execution_providers: providers,
        }
    }
}

impl ModelConfig {
    /// Folder of the bundle to start with.
    pub fn bundle_dir(&self) -> PathBuf {
        self.models_dir.join(&self.model)
    }

    /// As the room of models takes it, for `threads` photos side by side.
    pub fn engine_config(&self, threads: usize) -> EngineConfig {
        EngineConfig {
            choice: self.engine,
            precision: self.precision,
            library: self.onnxruntime_lib.clone(),
            providers: self.execution_providers.clone(),
            threads,
        }
    }
}

/// Threads and queues.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Work")]
pub struct WorkConfig {
    /// Threads that look at photos, one photo each [default: one a core]
    #[arg(long, env = "VITRINE_THREADS")]
    pub threads: Option<NonZeroUsize>,
    /// Threads that read and search, apart from those that look at photos [default: one a core]
    #[arg(long, env = "VITRINE_READ_THREADS")]
    pub read_threads: Option<NonZeroUsize>,
    /// Photos of shoppers (analyze, similar) that may wait before the answer is 503
    #[arg(long, env = "VITRINE_INTERACTIVE_QUEUE", default_value_t = Self::default().interactive_queue)]
    pub interactive_queue: usize,
    /// Photos of uploads that may wait before the answer is 503
    #[arg(long, env = "VITRINE_BULK_QUEUE", default_value_t = Self::default().bulk_queue)]
    pub bulk_queue: usize,
    /// Reads and searches that may wait before the answer is 503
    #[arg(long, env = "VITRINE_READ_QUEUE", default_value_t = Self::default().read_queue)]
    pub read_queue: usize,
    /// Writes that may wait for the one writer before the answer is 503
    #[arg(long, env = "VITRINE_WRITE_QUEUE", default_value_t = Self::default().write_queue)]
    pub write_queue: usize,
    /// Longest wait of a shopper's photo, a read or a search for a thread, in milliseconds, before the answer is 503
    #[arg(long, env = "VITRINE_INTERACTIVE_WAIT_MS", default_value_t = Self::default().interactive_wait_ms,
          value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub interactive_wait_ms: u64,
    /// Longest wait of an upload's photo or a write for a thread, in milliseconds, before the answer is 503
    #[arg(long, env = "VITRINE_BULK_WAIT_MS", default_value_t = Self::default().bulk_wait_ms,
          value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub bulk_wait_ms: u64,
    /// How much looking at photos gives way to searching, and to the machine's other work: 0 not at all, 19 the most
    #[arg(long, env = "VITRINE_PHOTO_NICE", default_value_t = Self::default().photo_nice,
          value_parser = clap::value_parser!(u8).range(0..=19))]
    pub photo_nice: u8,
}

impl Default for WorkConfig {
    /// At about 8 photos a second a core, 64 waiting photos are some seconds: longer than that a shopper is gone.
    fn default() -> Self {
        Self {
            threads: None,
            read_threads: None,
            interactive_queue: 64,
            bulk_queue: 256,
            read_queue: 512,
            write_queue: 512,
            interactive_wait_ms: 5_000,
            bulk_wait_ms: 30_000,
            photo_nice: 10,
        }
    }
}

impl WorkConfig {
    /// Threads that look at photos.
    pub fn threads(&self) -> usize {
        self.threads.unwrap_or_else(cores).get()
    }

    /// Threads that read and search.
    pub fn read_threads(&self) -> usize {
        self.read_threads.unwrap_or_else(cores).get()
    }
}

/// Cores this process may use, cgroup quotas included.
fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Bulk jobs.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Jobs")]
pub struct JobSettings {
    /// Folders below which manifests may name files, `:` between them [default: none]
    #[arg(long = "file-roots", env = "VITRINE_FILE_ROOTS", value_parser = file_access, value_name = "FOLDERS",
          default_value = "", hide_default_value = true)]
    pub file_access: FileAccess,
    /// Object stores that manifests may name, below which URLs, commas between them, e.g. `s3://photos/shop/`; credentials as the
    /// stores' own tools read them from the environment (`AWS_...`, `GOOGLE_...`, `AZURE_...`) [default: none]
    #[arg(long = "object-roots", env = "VITRINE_OBJECT_ROOTS", value_parser = object_access, value_name = "URLS",
          default_value = "", hide_default_value = true)]
    pub object_access: ObjectAccess,
    /// Photos of jobs that are fetched at a time, ahead of those that are looked at
    #[arg(long, env = "VITRINE_JOB_FETCHES", default_value_t = Self::default().job_fetches)]
    pub job_fetches: NonZeroUsize,
    /// Photos of jobs that are fetched at a time from one web server
    #[arg(long, env = "VITRINE_JOB_FETCHES_PER_HOST", default_value_t = Self::default().job_fetches_per_host)]
    pub job_fetches_per_host: NonZeroUsize,
    /// How often a photo of a job is asked for, where asking again may help
    #[arg(long, env = "VITRINE_JOB_ATTEMPTS", default_value_t = Self::default().job_attempts,
          value_parser = clap::value_parser!(u32).range(1..=20))]
    pub job_attempts: u32,
    /// Bytes of photos of jobs that are fetched and not stored yet; each counts as the longest until its length is known
    #[arg(long, env = "VITRINE_JOB_BUFFERED_BYTES", default_value_t = Self::default().job_buffered_bytes)]
    pub job_buffered_bytes: usize,
    /// Longest manifest, in bytes
    #[arg(long, env = "VITRINE_MAX_MANIFEST_BYTES", default_value_t = Self::default().max_manifest_bytes)]
    pub max_manifest_bytes: u64,
}

impl Default for JobSettings {
    fn default() -> Self {
        let SourceConfig { per_host, attempts, .. } = SourceConfig::default();
        Self {
            file_access: FileAccess::Below(Vec::new()),
            object_access: ObjectAccess::Below(Vec::new()),
            job_fetches: NonZeroUsize::MIN.saturating_add(63),
            job_fetches_per_host: NonZeroUsize::new(per_host).unwrap_or(NonZeroUsize::MIN),
            job_attempts: attempts,
            job_buffered_bytes: 1 << 30,
            max_manifest_bytes: 4 << 30,
        }
    }
}

fn replicas(text: &str) -> Result<u8, String> {
    text.parse().ok().filter(|count| [1, 3, 5].contains(count)).ok_or_else(|| "expected 1, 3 or 5".to_owned())
}

#[allow(clippy::unnecessary_wraps)] // As clap takes it.
fn file_access(folders: &str) -> Result<FileAccess, String> {
    Ok(FileAccess::Below(std::env::split_paths(folders).filter(|path| !path.as_os_str().is_empty()).collect()))
}

fn object_access(urls: &str) -> Result<ObjectAccess, String> {
    let urls = urls.split(',').map(str::trim).filter(|url| !url.is_empty());
    let parsed = urls.map(|url| match Url::parse(url) {
        Ok(root) if root.has_host() => Ok(root),
        _ => Err(format!("expected a URL such as s3://photos/shop/, received {url:?}")),
    });
    parsed.collect::<Result<_, _>>().map(ObjectAccess::Below)
}

/// A variable of the environment that says something of an object store.
fn store_setting((name, value): (OsString, OsString)) -> Option<(String, String)> {
    let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
    ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|prefix| name.starts_with(prefix)).then_some((name, value))
}

impl JobSettings {
    /// As the service takes them, for `in_flight` photos that are looked at.
    pub fn jobs_config(&self, in_flight: usize) -> JobsConfig {
        JobsConfig {
            access: Access {
                files: self.file_access.clone(),
                objects: self.object_access.clone(),
                settings: std::env::vars_os().filter_map(store_setting).collect(),
            },
            sources: SourceConfig {
                per_host: self.job_fetches_per_host.get(),
                attempts: self.job_attempts,
                ..SourceConfig::default()
            },
            fetches: self.job_fetches.get(),
            in_flight,
            buffered_bytes: self.job_buffered_bytes,
            manifest_bytes: self.max_manifest_bytes,
        }
    }
}

/// Webhooks.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Webhooks")]
pub struct WebhookSettings {
    /// Time that a webhook may take to answer, in seconds
    #[arg(long, env = "VITRINE_WEBHOOK_TIMEOUT_S", default_value_t = Self::default().webhook_timeout_s, value_parser = seconds())]
    pub webhook_timeout_s: u64,
    /// Pause before a change that a webhook did not take is sent again, in seconds; it doubles, up to an hour
    #[arg(long, env = "VITRINE_WEBHOOK_RETRY_S", default_value_t = Self::default().webhook_retry_s, value_parser = seconds())]
    pub webhook_retry_s: u64,
    /// Time for which it is sent again, in seconds; then it is listed as dead, and sent again when somebody asks for it
    #[arg(long, env = "VITRINE_WEBHOOK_GIVE_UP_S", default_value_t = Self::default().webhook_give_up_s,
          value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub webhook_give_up_s: u64,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        let WebhooksConfig { timeout, first_pause, give_up_after, .. } = WebhooksConfig::default();
        Self {
            webhook_timeout_s: timeout.as_secs(),
            webhook_retry_s: first_pause.as_secs(),
            webhook_give_up_s: give_up_after.as_secs(),
        }
    }
}

impl WebhookSettings {
    /// As the service takes them.
    pub fn webhooks_config(&self) -> WebhooksConfig {
        let first_pause = Duration::from_secs(self.webhook_retry_s);
        let default = WebhooksConfig::default();
        WebhooksConfig {
            timeout: Duration::from_secs(self.webhook_timeout_s),
            first_pause,
            longest_pause: default.longest_pause.max(first_pause),
            give_up_after: Duration::from_secs(self.webhook_give_up_s),
        }
    }
}

/// The feed into NATS JetStream.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "JetStream")]
pub struct NatsSettings {
    /// Servers of NATS to publish the feed to, e.g. `nats://user:password@nats-1:4222,nats://nats-2:4222` [default: none]
    #[arg(long, env = "VITRINE_NATS_URL", hide_env_values = true)]
    pub nats_url: Option<String>,
    /// Stream of JetStream; made where it is not there, and nobody else's
    #[arg(long, env = "VITRINE_NATS_STREAM", default_value_t = Self::default().nats_stream)]
    pub nats_stream: String,
    /// What subjects begin with; the kind of the change follows, as in `vitrine.image_upserted`
    #[arg(long, env = "VITRINE_NATS_SUBJECT", default_value_t = Self::default().nats_subject)]
    pub nats_subject: String,
    /// Servers that keep the stream, where it is made
    #[arg(long, env = "VITRINE_NATS_REPLICAS", default_value_t = Self::default().nats_replicas,
          value_parser = replicas)]
    pub nats_replicas: u8,
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self { nats_url: None, nats_stream: "VITRINE".to_owned(), nats_subject: "vitrine".to_owned(), nats_replicas: 1 }
    }
}

impl NatsSettings {
    /// As the service takes them, where the feed is to be published; the stream keeps messages as long as the log keeps changes.
    pub fn jetstream_config(&self, log_days: u32) -> Option<JetStreamConfig> {
        Some(JetStreamConfig {
            url: self.nats_url.clone()?,
            stream: self.nats_stream.clone(),
            subject: self.nats_subject.clone(),
            replicas: self.nats_replicas.into(),
            max_age: Duration::from_secs(u64::from(log_days) * 86_400),
        })
    }
}

/// What a photo may cost before it is refused; the defaults are those of [`Limits`].
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Limits of photos")]
pub struct PhotoConfig {
    /// Longest request body and longest photo, in bytes
    #[arg(long, env = "VITRINE_MAX_BODY_BYTES", default_value_t = Self::default().max_body_bytes)]
    pub max_body_bytes: usize,
    /// Most pixels of a photo, as its header says
    #[arg(long, env = "VITRINE_MAX_PIXELS", default_value_t = Self::default().max_pixels)]
    pub max_pixels: u64,
    /// Longest side of a photo, in pixels
    #[arg(long, env = "VITRINE_MAX_SIDE_PX", default_value_t = Self::default().max_side_px)]
    pub max_side_px: u32,
    /// Shortest side of a photo, in pixels
    #[arg(long, env = "VITRINE_MIN_SIDE_PX", default_value_t = Self::default().min_side_px)]
    pub min_side_px: u32,
    /// Most memory a decoder may take for one photo, in bytes
    #[arg(long, env = "VITRINE_MAX_DECODE_BYTES", default_value_t = Self::default().max_decode_bytes)]
    pub max_decode_bytes: u64,
    /// Most frames of an animation, of which only the first is looked at
    #[arg(long, env = "VITRINE_MAX_FRAMES", default_value_t = Self::default().max_frames)]
    pub max_frames: u32,
}

impl Default for PhotoConfig {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            max_body_bytes: limits.body_bytes,
            max_pixels: limits.pixels,
            max_side_px: limits.side,
            min_side_px: limits.min_side,
            max_decode_bytes: limits.decode_bytes,
            max_frames: limits.frames,
        }
    }
}

impl PhotoConfig {
    /// As the room of photos takes them.
    pub fn limits(&self) -> Limits {
        Limits {
            body_bytes: self.max_body_bytes,
            pixels: self.max_pixels,
            side: self.max_side_px,
            min_side: self.min_side_px,
            decode_bytes: self.max_decode_bytes,
            frames: self.max_frames,
        }
    }
}

/// How photos are fetched by URL; the defaults are those of [`FetchConfig`].
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Photos by URL")]
pub struct FetchSettings {
    /// Hosts and ranges that may be fetched from although they are not public, separated by commas: `host`,
    /// `host:port`, `address`, `address/prefix`
    #[arg(long, env = "VITRINE_FETCH_ALLOW_HOSTS", value_delimiter = ',')]
    pub fetch_allow_hosts: Vec<String>,
    /// Longest time to connect, in milliseconds
    #[arg(long, env = "VITRINE_FETCH_CONNECT_MS", default_value_t = Self::default().fetch_connect_ms,
          value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub fetch_connect_ms: u64,
    /// Longest time of one fetch, redirects included, in milliseconds
    #[arg(long, env = "VITRINE_FETCH_TOTAL_MS", default_value_t = Self::default().fetch_total_ms,
          value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub fetch_total_ms: u64,
    /// Most redirects followed
    #[arg(long, env = "VITRINE_FETCH_MAX_REDIRECTS", default_value_t = Self::default().fetch_max_redirects)]
    pub fetch_max_redirects: usize,
    /// Most fetches at a time
    #[arg(long, env = "VITRINE_FETCH_CONCURRENCY", default_value_t = Self::default().fetch_concurrency)]
    pub fetch_concurrency: NonZeroUsize,
    /// PEM file of certificate authorities to trust beside the system's
    #[arg(long, env = "VITRINE_FETCH_CA_FILE")]
    pub fetch_ca_file: Option<PathBuf>,
}

impl Default for FetchSettings {
    fn default() -> Self {
        let config = FetchConfig::default();
        Self {
            fetch_allow_hosts: config.allow_hosts,
            fetch_connect_ms: config.connect_ms,
            fetch_total_ms: config.total_ms,
            fetch_max_redirects: config.redirects,
            fetch_concurrency: NonZeroUsize::new(config.concurrency).unwrap_or(NonZeroUsize::MIN),
            fetch_ca_file: config.ca_file,
        }
    }
}

/// All that a service needs to open.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ServiceSettings {
    #[command(flatten)]
    pub data: DataConfig,
    #[command(flatten)]
    pub model: ModelConfig,
    #[command(flatten)]
    pub work: WorkConfig,
    #[command(flatten)]
    pub photo: PhotoConfig,
    #[command(flatten)]
    pub fetch: FetchSettings,
    #[command(flatten)]
    pub jobs: JobSettings,
    #[command(flatten)]
    pub webhooks: WebhookSettings,
}

impl ServiceSettings {
    /// As the fetcher takes them; a fetched photo may be as long as an uploaded one.
    pub fn fetch_config(&self) -> FetchConfig {
        let fetch = &self.fetch;
        FetchConfig {
            max_bytes: self.photo.max_body_bytes,
            connect_ms: fetch.fetch_connect_ms,
            total_ms: fetch.fetch_total_ms,
            redirects: fetch.fetch_max_redirects,
            concurrency: fetch.fetch_concurrency.get(),
            allow_hosts: fetch.fetch_allow_hosts.clone(),
            ca_file: fetch.fetch_ca_file.clone(),
            ..FetchConfig::default()
        }
    }
}

/// What is written to standard error while the service runs.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Log")]
pub struct LogConfig {
    /// Text for people, JSON for machines
    #[arg(long, env = "VITRINE_LOG_FORMAT", value_enum, default_value_t = Self::default().log_format)]
    pub log_format: LogFormat,
    /// Which events are logged: `info`, `warn`, `vitrine=debug,info`, ...
    #[arg(long, env = "VITRINE_LOG", default_value_t = Self::default().log)]
    pub log: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { log_format: LogFormat::Text, log: "info".into() }
    }
}

/// Shape of a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser, Debug, PartialEq)]
    struct All {
        #[command(flatten)]
        server: ServerConfig,
        #[command(flatten)]
        service: ServiceSettings,
        #[command(flatten)]
        log: LogConfig,
    }

    fn defaults() -> All {
        All { server: ServerConfig::default(), service: ServiceSettings::default(), log: LogConfig::default() }
    }

    #[test]
    fn no_options_give_the_defaults() {
        assert_eq!(All::try_parse_from(["vitrine"]).unwrap(), defaults());
        assert!(ServerConfig::default().listen.ip().is_loopback());
    }

    #[test]
    fn limits_pass_through() {
        let mut settings = ServiceSettings::default();
        assert_eq!((settings.photo.limits(), settings.fetch_config()), (Limits::default(), FetchConfig::default()));
        let photo_bytes = settings.photo.max_body_bytes;
        assert_eq!(ServerConfig::default().limits(photo_bytes), HttpLimits::default());
        settings.photo.max_body_bytes = 5;
        assert_eq!(settings.fetch_config().max_bytes, 5);
    }

    #[test]
    fn every_setting_has_its_variable() {
        use clap::CommandFactory;
        for arg in All::command().get_arguments() {
            let long = arg.get_long().unwrap();
            let expected = format!("VITRINE_{}", long.replace('-', "_").to_uppercase());
            assert_eq!(arg.get_env().and_then(|e| e.to_str()), Some(expected.as_str()), "--{long}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for bad in [["--threads", "0"], ["--request-timeout-s", "0"], ["--listen", "8080"], ["--log-format", "xml"]] {
            assert!(All::try_parse_from(["vitrine", bad[0], bad[1]]).is_err(), "{bad:?}");
        }
        let parsed = All::try_parse_from(["vitrine", "--fetch-allow-hosts", "a.shop,b.shop"]).unwrap();
        assert_eq!(parsed.service.fetch.fetch_allow_hosts, ["a.shop", "b.shop"]);
    }
}
