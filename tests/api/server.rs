//! A server of a test's own: a fresh data directory, any free port, stopped when the test ends.

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use vitrine::feed::JetStreamConfig;
use vitrine::http::{AppConfig, HttpLimits, KeyRing};
use vitrine::jobs::{Access, FileAccess, ObjectAccess, SourceConfig};
use vitrine::model::EngineConfig;
use vitrine::photo::FetchConfig;
use vitrine::scheduler::{LaneConfig, SchedulerConfig};
use vitrine::service::{JobsConfig, Service, ServiceConfig, WebhooksConfig};

pub struct Server {
    pub base: String,
    client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<std::io::Result<()>>,
    background: Arc<Mutex<Vec<JoinHandle<()>>>>,
    service: Arc<Service>,
    data: Option<TempDir>,
}

/// Starts a server, or `None`, loudly, when there is no model bundle to start one with.
pub async fn start() -> Option<Server> {
    start_with(None, HttpLimits::default()).await
}

pub async fn start_with(keys: Option<KeyRing>, limits: HttpLimits) -> Option<Server> {
    let data = tempfile::tempdir().unwrap();
    let service = open(data.path(), &models()?, 64).await;
    Some(serve(service, data, keys, limits).await)
}

/// A server in which so many uploads may wait.
pub async fn start_with_bulk_queue(queue: usize) -> Option<Server> {
    let data = tempfile::tempdir().unwrap();
    let service = open(data.path(), &models()?, queue).await;
    Some(serve(service, data, None, HttpLimits::default()).await)
}

/// A server that may send to `host`, and gives up after that time.
pub async fn start_giving_up(host: &str, give_up_after: Duration) -> Option<Server> {
    let data = tempfile::tempdir().unwrap();
    let fetch = FetchConfig { allow_hosts: vec![host.to_owned()], ..FetchConfig::default() };
    let config = ServiceConfig {
        webhooks: WebhooksConfig { give_up_after, ..impatient() },
        ..config(data.path(), &models()?, 64, (fetch, Vec::new()))
    };
    Some(serve(open_with(config).await, data, None, HttpLimits::default()).await)
}

/// As [`start_fetching`], over the data directory of another server.
pub async fn start_fetching_over(host: &str, data: TempDir) -> Server {
    let fetch = FetchConfig { allow_hosts: vec![host.to_owned()], ..FetchConfig::default() };
    let service = open_fetching(data.path(), &models().unwrap(), 64, (fetch, Vec::new())).await;
    serve(service, data, None, HttpLimits::default()).await
}

/// A server that may fetch from `host`, and waits so long for an answer.
pub async fn start_fetching(host: &str, total_ms: u64) -> Option<Server> {
    let data = tempfile::tempdir().unwrap();
    let fetch = FetchConfig { allow_hosts: vec![host.to_owned()], total_ms, ..FetchConfig::default() };
    let service = open_fetching(data.path(), &models()?, 64, (fetch, Vec::new())).await;
    Some(serve(service, data, None, HttpLimits::default()).await)
}

/// A server that knows an object store by these settings.
pub async fn start_with_store(settings: &[(&str, &str)]) -> Option<Server> {
    let data = tempfile::tempdir().unwrap();
    let stores = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let service = open_fetching(data.path(), &models()?, 64, (FetchConfig::default(), stores)).await;
    Some(serve(service, data, None, HttpLimits::default()).await)
}

/// A server over bundles of the test's own and a data directory that may be another server's; `background` is what goes
/// on behind its requests.
pub async fn start_over(models_dir: &Path, data: TempDir, background: bool) -> Server {
    let service = open(data.path(), models_dir, 64).await;
    if background {
        service.start_background().unwrap();
    }
    serve(service, data, None, HttpLimits::default()).await
}

/// A server that listens, and opens when it is told to.
pub async fn start_slowly() -> Option<(Server, oneshot::Sender<()>)> {
    let data = tempfile::tempdir().unwrap();
    let service = open(data.path(), &models()?, 64).await;
    let (open, told) = oneshot::channel();
    let told = async move { told.await.unwrap() };
    Some((serve_when(told, service, data, None, HttpLimits::default()).await, open))
}

async fn serve(service: Arc<Service>, data: TempDir, keys: Option<KeyRing>, limits: HttpLimits) -> Server {
    serve_when(std::future::ready(()), service, data, keys, limits).await
}

async fn serve_when(
    told: impl Future<Output = ()> + Send + 'static,
    service: Arc<Service>,
    data: TempDir,
    keys: Option<KeyRing>,
    limits: HttpLimits,
) -> Server {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Somebody else may have been first; the provider is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let background = Arc::new(Mutex::new(Vec::new()));
    let (runner, running) = (Arc::clone(&service), Arc::clone(&background));
    let config = AppConfig { service: Arc::clone(&service), keys: keys.map(Arc::new), limits };
    let opening = async move {
        told.await;
        let webhooks = tokio::spawn(Arc::clone(&runner).run_webhooks());
        let jobs = tokio::spawn(async move { runner.run_jobs().await });
        running.lock().unwrap().extend([jobs, webhooks]);
        Ok(config)
    };
    let served = tokio::spawn(vitrine::http::run(listener, limits, opening, async {
        let _ = stopped.await;
    }));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    Server { base, client, stop: Some(stop), served, background, service, data: Some(data) }
}

/// The repository's bundles; `None`, loudly, when there are none.
pub fn models() -> Option<PathBuf> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    if !models.join("default/manifest.json").exists() {
        eprintln!("SKIPPED: no model bundle at {}", models.display());
        return None;
    }
    Some(models)
}

/// The one place that knows how a service is opened.
async fn open(data: &Path, models_dir: &Path, bulk_queue: usize) -> Arc<Service> {
    open_fetching(data, models_dir, bulk_queue, (FetchConfig::default(), Vec::new())).await
}

async fn open_fetching(
    data: &Path,
    models_dir: &Path,
    bulk_queue: usize,
    fetch: (FetchConfig, Vec<(String, String)>),
) -> Arc<Service> {
    open_with(config(data, models_dir, bulk_queue, fetch)).await
}

async fn open_with(config: ServiceConfig) -> Arc<Service> {
    // Loading a model takes a second of a core: not on the runtime.
    let service = tokio::task::spawn_blocking(move || Service::open(config)).await.unwrap();
    Arc::new(service.expect("the service opens"))
}

/// Webhooks that are tried again every second.
fn impatient() -> WebhooksConfig {
    let pause = Duration::from_millis(10);
    WebhooksConfig { first_pause: pause, longest_pause: pause, ..WebhooksConfig::default() }
}

fn config(
    data: &Path,
    models_dir: &Path,
    bulk_queue: usize,
    (fetch, stores): (FetchConfig, Vec<(String, String)>),
) -> ServiceConfig {
    let lane = LaneConfig { queue: 64, max_wait: None };
    let lanes = SchedulerConfig { threads: 1, interactive: lane, bulk: lane, nice: 0 };
    ServiceConfig {
        vectors_on_disk: false,
        index_build_memory: 1 << 30,
        search_candidates: 192,
        log_days: 0,
        jobs: JobsConfig {
            access: Access {
                files: FileAccess::Below(vec![data.join("files")]),
                objects: ObjectAccess::Below(vec!["s3://photos/shop/".parse().unwrap()]),
                settings: stores,
            },
            sources: SourceConfig { first_pause: Duration::from_millis(10), attempts: 3, ..SourceConfig::default() },
            fetches: 8,
            in_flight: 2,
            buffered_bytes: 64 << 20,
            manifest_bytes: 1 << 20,
        },
        webhooks: impatient(),
        rebuild_index: false,
        data_dir: data.to_path_buf(),
        models_dir: models_dir.to_path_buf(),
        model: "default".to_owned(),
        // Answers alike on every machine.
        engine: EngineConfig::tract(),
        limits: Default::default(),
        fetch,
        photos: SchedulerConfig { bulk: LaneConfig { queue: bulk_queue, ..lane }, ..lanes },
        reads: lanes,
        writes: lane,
    }
}

impl Server {
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// `path` with query parameters.
    pub fn get_with(&self, path: &str, parameters: &[(&str, &str)]) -> RequestBuilder {
        self.get(&with_query(path, parameters))
    }

    pub fn put(&self, path: &str) -> RequestBuilder {
        self.request(Method::PUT, path)
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    pub fn post_photo(&self, path: &str, bytes: Vec<u8>) -> RequestBuilder {
        self.post(path).header("content-type", "image/jpeg").body(bytes)
    }

    /// Publishes the feed from now on.
    pub fn publish(&self, config: JetStreamConfig) {
        let service = Arc::clone(&self.service);
        let publisher = tokio::spawn(async move { service.run_publisher(config).await });
        self.background.lock().unwrap().push(publisher);
    }

    /// Stores a product without images.
    pub async fn product(&self, id: &str) {
        let response = self.put(&format!("/v1/products/{id}")).json(&serde_json::json!({})).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
    }

    /// Asks for shutdown and waits until the server has ended.
    pub async fn stop(mut self) -> std::io::Result<()> {
        drop(self.stop.take());
        let served = self.served.await.unwrap();
        // They hold the service, and with it the data directory.
        let background = std::mem::take(&mut *self.background.lock().unwrap());
        for task in background {
            task.await.unwrap();
        }
        served
    }

    /// Where the server keeps its data.
    pub fn data(&self) -> &Path {
        self.data.as_ref().unwrap().path()
    }

    /// As [`Server::stop`]; the data directory is left for another server.
    pub async fn stop_keeping_data(mut self) -> TempDir {
        let data = self.data.take().unwrap();
        self.stop().await.unwrap();
        data
    }
}

pub fn with_query(path: &str, parameters: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    format!("{path}?{query}")
}

/// The response's JSON, after a look at its status.
pub async fn json(request: RequestBuilder, status: u16) -> Value {
    let response = request.send().await.unwrap();
    let received = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(received.as_u16(), status, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// A problem of this status and kind, well formed.
pub async fn problem(request: RequestBuilder, status: u16, kind: &str) -> Value {
    is_problem(request.send().await.unwrap(), status, kind).await
}

pub async fn is_problem(response: Response, status: u16, kind: &str) -> Value {
    assert_eq!(response.headers()["content-type"], "application/problem+json", "{response:?}");
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let received = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert_eq!((received, body["type"].as_str().unwrap()), (status, format!("/problems/{kind}").as_str()), "{body}");
    assert_eq!(body["status"], status);
    assert_eq!(body["request_id"], id);
    assert!(body["instance"].as_str().unwrap().starts_with("/requests/"));
    assert!(!body["title"].as_str().unwrap().is_empty() && !body["detail"].as_str().unwrap().is_empty());
    body
}
