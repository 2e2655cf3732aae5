//! `vitrine models`: which bundles there are, whether one is sound, and the change to another version, here or in a
//! running server.

use super::term::{Paint, clean, table};
use super::{CliError, joint, runtime};
use crate::config::{ModelConfig, ServiceSettings};
use crate::model::{EngineKind, Precision, scan};
use crate::service::{ModelInfo, Service};
use clap::{Args, Subcommand};
use serde::Deserialize;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// How often a running activation is asked how far it is.
const ASKED_EVERY: Duration = Duration::from_millis(500);

/// Options of `vitrine models`.
#[derive(Args, Debug)]
pub(super) struct ModelsArgs {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(Subcommand, Debug)]
enum ModelsCommand {
    /// Bundles of the models folder, or of a running server
    List {
        #[command(flatten)]
        model: ModelConfig,
        #[command(flatten)]
        server: Remote,
    },
    /// Loads bundles as the server would: hashes, graph, outputs, golden cases
    Verify {
        /// Folders of bundles, or names of folders in the models folder
        #[arg(required = true)]
        bundles: Vec<String>,
        #[command(flatten)]
        model: ModelConfig,
    },
    /// Lets a version become live: looks at the whole catalog, then switches model and index together
    Activate {
        /// Version of the bundle, as `vitrine models list` tells it
        version: String,
        /// Only order it; a server that runs goes on with it
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        server: Remote,
        #[command(flatten)]
        service: Box<ServiceSettings>,
    },
}

/// A running server to ask instead of the files here.
#[derive(Args, Clone, Debug)]
struct Remote {
    /// A running server, e.g. http://127.0.0.1:8080
    #[arg(long, env = "VITRINE_URL")]
    url: Option<String>,
    /// API key with the scope that the call needs
    #[arg(long, env = "VITRINE_KEY", hide_env_values = true)]
    key: Option<String>,
}

/// Runs `vitrine models`.
pub(super) fn run(args: &ModelsArgs) -> Result<(), CliError> {
    match &args.command {
        ModelsCommand::List { model, server } => list(model, server),
        ModelsCommand::Verify { bundles, model } => verify(bundles, model),
        ModelsCommand::Activate { version, no_wait, server, service } => match Client::new(server)? {
            Some(client) => runtime()?.block_on(client.activate(version, *no_wait)),
            None => activate_here(version, *no_wait, service),
        },
    }
}

fn list(config: &ModelConfig, server: &Remote) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    if let Some(client) = Client::new(server)? {
        let models = runtime()?.block_on(client.models())?;
        let rows: Vec<Vec<String>> = models.iter().map(row).collect();
        write!(out, "{}", table(&["version", "name", "state", "seen", "engine"], &rows))?;
        return Ok(());
    }
    let bundles = scan(&config.models_dir);
    if bundles.is_empty() {
        return Err(CliError::NothingDone(format!("no bundle in {}", config.models_dir.display())));
    }
    let row = |(dir, m): &(PathBuf, crate::model::Manifest)| {
        let precisions = if m.files.contains_key(Precision::Int8.file()) { "f32, int8" } else { "f32" };
        let regions = if m.regions.is_some() { "yes" } else { "no" };
        let heads = m.heads.len().to_string();
        vec![clean(&m.version), clean(&dir.display().to_string()), heads, regions.into(), precisions.into()]
    };
    let rows: Vec<Vec<String>> = bundles.iter().map(row).collect();
    write!(out, "{}", table(&["version", "folder", "heads", "regions", "precisions"], &rows))?;
    Ok(())
}

fn row(model: &ModelInfo) -> Vec<String> {
    let state = match (model.live, model.activating, &model.failure) {
        (true, ..) => "live".to_owned(),
        (_, true, _) => "activating".to_owned(),
        (_, _, Some(failure)) => format!("given up: {}", clean(failure)),
        _ => "-".to_owned(),
    };
    let engine = [&model.engine, &model.precision].map(|part| clean(part.as_deref().unwrap_or_default())).join(" ");
    vec![clean(&model.version), clean(&model.name), state, percent(model.progress), engine]
}

fn percent(share: f32) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn verify(bundles: &[String], config: &ModelConfig) -> Result<(), CliError> {
    let paint = Paint::stdout();
    let mut failed = 0;
    for name in bundles {
        let own = PathBuf::from(name);
        let dir = if own.join("manifest.json").is_file() { own } else { config.models_dir.join(name) };
        match joint::load_model_at(&dir, &config.engine_config(1)) {
            Ok(model) => {
                let EngineKind { name: engine, precision, reason } = model.engine();
                let what = format!("{name}: version {}, {engine} {precision} ({reason})", model.version());
                println!("{} {}", paint.bold("sound"), clean(&what));
            }
            Err(error) => {
                failed += 1;
                println!("{} {}", paint.bold("refused"), error.one_line());
            }
        }
    }
    if failed > 0 {
        return Err(CliError::NothingDone(format!("{failed} of {} bundles refused", bundles.len())));
    }
    Ok(())
}

/// Activates in this process, which needs the data folder to itself.
fn activate_here(version: &str, no_wait: bool, settings: &ServiceSettings) -> Result<(), CliError> {
    let service = joint::open_service(settings, 0)?;
    let outcome = runtime()?.block_on(async {
        let ordered = service.activate(version).await?;
        if no_wait && !ordered.live {
            println!("ordered; the next `vitrine serve` goes on with it");
            return Ok(());
        }
        service.start_background()?;
        wait(version, || state_here(&service, version)).await
    });
    // Also after a failure: what was looked at stays.
    let closed = service.close().map_err(CliError::from);
    outcome.and(closed)
}

async fn state_here(service: &Service, version: &str) -> Result<Option<ModelInfo>, CliError> {
    Ok(service.models().await?.into_iter().find(|m| m.version == version))
}

/// Prints how far it is until the version is live or given up.
async fn wait<F>(version: &str, mut state: impl FnMut() -> F) -> Result<(), CliError>
where
    F: Future<Output = Result<Option<ModelInfo>, CliError>>,
{
    let mut told = String::new();
    loop {
        match state().await? {
            Some(model) if model.live => {
                println!("{}: live", clean(version));
                return Ok(());
            }
            Some(ModelInfo { failure: Some(failure), .. }) => {
                return Err(CliError::NothingDone(format!("{version} was given up: {failure}")));
            }
            Some(model) if model.activating => {
                let now = percent(model.progress);
                if now != told {
                    println!("{}: {now} of the images seen", clean(version));
                    told = now;
                }
            }
            _ => return Err(CliError::NothingDone(format!("another version was ordered in place of {version}"))),
        }
        tokio::time::sleep(ASKED_EVERY).await;
    }
}

/// A running server.
struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

#[derive(Deserialize)]
struct List {
    items: Vec<ModelInfo>,
}

/// What of a problem a person reads.
#[derive(Deserialize)]
struct Said {
    detail: String,
}

impl Client {
    /// `None` when no server was named.
    fn new(remote: &Remote) -> Result<Option<Self>, CliError> {
        let Some(url) = &remote.url else { return Ok(None) };
        // Another part of the process may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(90)).build().map_err(|e| fault(&e))?;
        Ok(Some(Self { http, base: url.trim_end_matches('/').to_owned(), key: remote.key.clone() }))
    }

    async fn send<T: for<'a> Deserialize<'a>>(&self, request: reqwest::RequestBuilder) -> Result<T, CliError> {
        let request = match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let response = request.send().await.map_err(|e| fault(&e))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|e| fault(&e))?;
        if !status.is_success() {
            let said = serde_json::from_slice::<Said>(&body).map(|s| s.detail).unwrap_or_default();
            return Err(CliError::Server(format!("{} answered {status}: {said}", self.base)));
        }
        serde_json::from_slice(&body).map_err(|e| CliError::Server(format!("{}: {e}", self.base)))
    }

    async fn models(&self) -> Result<Vec<ModelInfo>, CliError> {
        Ok(self.send::<List>(self.http.get(format!("{}/v1/models", self.base))).await?.items)
    }

    async fn activate(&self, version: &str, no_wait: bool) -> Result<(), CliError> {
        let mut url = url::Url::parse(&self.base).map_err(|e| CliError::Server(format!("{}: {e}", self.base)))?;
        // The version is a path segment, whatever characters it has.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["v1", "models", version, "activate"]);
        }
        let ordered: ModelInfo = self.send(self.http.post(url)).await?;
        if no_wait && !ordered.live {
            println!("ordered; `vitrine models list --url {}` tells how far it is", self.base);
            return Ok(());
        }
        wait(version, || async { Ok(self.models().await?.into_iter().find(|m| m.version == version)) }).await
    }
}

fn fault(error: &reqwest::Error) -> CliError {
    CliError::Server(error.to_string())
}
