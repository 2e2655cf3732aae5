//! `vitrine bench`: the whole service under load, on this machine and these photos. Starts a server of its own on an empty
//! data folder, or asks a running one (or another program with the same routes), and takes the server's memory from outside.
//!
//! | part | what is measured |
//! | --- | --- |
//! | `engine` | the bare engine on all threads: what uploads are a share of |
//! | `upload` | photos a second when uploads never stop |
//! | `idle` | one upload at a time: latency, and where it goes |
//! | `similar` | similar products to a product, over 1 and 32 connections |
//! | `storefront` | similar products while uploads never stop, and what uploads lose by it |
//! | `overload` | five times as many photos to analyze as can be: who is refused, how fast, and how soon all is well again |

mod engine;
mod figures;
mod load;
mod parts;
mod report;
mod target;

pub(super) use engine::BareEngine;

use super::{CliError, import, joint};
use crate::config::{ModelConfig, PhotoConfig, WorkConfig};
use clap::{Args, ValueEnum};
use figures::Figures;
use parts::Bench;
use std::path::{Path, PathBuf};
use std::time::Duration;
use target::Target;

/// Options of `vitrine bench`.
#[derive(Args, Debug)]
pub(super) struct BenchArgs {
    /// Folder of photos, or a manifest
    source: PathBuf,
    /// What to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::ALL)]
    parts: Vec<Part>,
    /// Photos of the source that are used
    #[arg(long, default_value_t = 500)]
    photos: usize,
    /// How long each rate is measured, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// How often each rate is measured; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,
    /// How long the overload lasts, in seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    overload_seconds: u64,
    /// A running server, e.g. http://127.0.0.1:8080 (not https), instead of one of its own; products `bench-…` are written to it
    #[arg(long, env = "VITRINE_URL")]
    url: Option<String>,
    /// API key for it, with the scopes ingest and search
    #[arg(long, env = "VITRINE_KEY", hide_env_values = true, requires = "url")]
    key: Option<String>,
    /// Its process, whose memory is told
    #[arg(long, requires = "url")]
    pid: Option<u32>,
    /// Search for products like these, an id a line, instead of like those that were uploaded
    #[arg(long, value_name = "FILE", requires = "url")]
    ids: Option<PathBuf>,
    /// Where the server of its own keeps its data meanwhile: a disk like that of the real one [default: the system's
    /// temporary folder]
    #[arg(long, value_name = "FOLDER", conflicts_with = "url")]
    scratch: Option<PathBuf>,
    /// Write the figures here, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a drawing of them here
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    model: ModelConfig,
    #[command(flatten)]
    work: WorkConfig,
    #[command(flatten)]
    limits: PhotoConfig,
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Engine,
    Upload,
    Idle,
    Similar,
    Storefront,
    Overload,
}

impl Part {
    const ALL: [Self; 6] = [Self::Engine, Self::Upload, Self::Idle, Self::Similar, Self::Storefront, Self::Overload];
}

/// Runs `vitrine bench`.
pub(super) fn run(args: &BenchArgs) -> Result<(), CliError> {
    let paths = import::local_photos(&args.source, args.photos.max(1))?;
    let limit = args.limits.limits().body_bytes;
    let read = paths.iter().map(|path| {
        let fault = |(cause, detail): (&str, String)| CliError::table(path, format!("{cause}: {detail}"));
        joint::read_bytes(path, limit).map_err(fault)
    });
    let photos = read.collect::<Result<Vec<_>, _>>()?;
    let threads = args.work.threads();
    let mut figures = Figures::new(&photos, threads);
    // Before the server starts, which would take memory and a core of it.
    if args.parts.contains(&Part::Engine) {
        eprintln!("engine");
        let model = joint::load_model(&args.model, threads)?;
        let kind = model.engine();
        figures.engine = Some(format!("{} {}: {}", kind.name, kind.precision, kind.reason));
        let photos = paths.iter().map(PathBuf::as_path);
        let bare = BareEngine::new(model, &args.limits.limits(), threads, photos)?;
        let rate = || bare.photos_per_s().map_err(|source| CliError::Model { dir: args.model.bundle_dir(), source });
        figures.engine_per_s = (0..args.rounds).map(|_| rate()).collect::<Result<_, _>>()?;
    }
    let target = match &args.url {
        Some(url) => Target::running(url, args.pid),
        None => Target::start(args.scratch.as_deref(), &args.model, &args.work, &args.limits)?,
    };
    let bench = Bench {
        client: load::Client::new(target.url(), args.key.as_deref())?,
        target: &target,
        photos: &photos,
        window: Duration::from_secs(args.seconds),
        ids: args.ids.as_deref().map(read_ids).transpose()?,
        rounds: args.rounds,
        overload: Duration::from_secs(args.overload_seconds),
        threads,
    };
    // One thread: a client that is woken on another core takes it from the server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime)?;
    runtime.block_on(bench.run(&args.parts, &mut figures))?;
    print!("{}", report::text(&figures));
    if let Some(path) = &args.json {
        let json = serde_json::to_vec_pretty(&figures).map_err(std::io::Error::from)?;
        std::fs::write(path, json).map_err(CliError::io("write", path))?;
    }
    if let Some(path) = &args.svg {
        std::fs::write(path, report::svg(&figures)).map_err(CliError::io("write", path))?;
    }
    Ok(())
}

fn read_ids(path: &Path) -> Result<Vec<String>, CliError> {
    let text = std::fs::read_to_string(path).map_err(CliError::io("read", path))?;
    let ids: Vec<_> = text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if ids.is_empty() { Err(CliError::table(path, "no id")) } else { Ok(ids) }
}
