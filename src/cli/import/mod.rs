//! `vitrine import`: a folder of photos or a manifest into the catalog, in this process and on all cores.
//! Can be stopped and run again: what is there with the same bytes and model version is not looked at twice.

mod columns;
mod folder;
mod manifest;
mod progress;
mod pump;
mod report;
mod rows;
#[cfg(test)]
mod tests;

use super::bench::BareEngine;
use super::{CliError, joint, runtime, signals};
use crate::catalog::Metadata;
use crate::config::ServiceSettings;
use crate::photo::Fetcher;
use crate::service::{PhotoInput, PhotoSource, Service, ServiceError};
use bytes::Bytes;
use clap::Args;
use futures_util::StreamExt;
use progress::Progress;
use pump::{Outcome, Tally, outcomes};
use report::{Bench, Report};
use rows::{Place, Plan, Row};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use tokio::sync::OnceCell;

/// Photos in flight a thread: one that is looked at, one that is read, hashed and waits for it.
const IN_FLIGHT_PER_THREAD: usize = 2;

/// Options of `vitrine import`.
///
/// Failed rows do not fail the import: the exit code is 0 unless nothing at all succeeded.
#[derive(Args, Debug)]
pub(super) struct ImportArgs {
    /// Folder of photos (the file's stem is the product id), or a manifest: a CSV with at least `product_id` and
    /// `image_uri`, and optionally `image_id`, title, category, price, currency, `in_stock`, `group_id`, url, tags
    /// (separated by | or ;) and `attributes.<name>`
    source: PathBuf,
    /// Measure the bare engine before and after on the same threads, and print the import's share of it
    #[arg(long)]
    bench: bool,
    /// Print the end as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    service: ServiceSettings,
}

/// Runs `vitrine import`.
pub(super) fn run(args: &ImportArgs) -> Result<(), CliError> {
    let plan = read_plan(&args.source)?;
    let report = import(&args.service, plan, args.bench)?;
    print(&report, args.json)?;
    match report.imported + report.unchanged {
        0 if !report.stopped => {
            Err(CliError::NothingDone(format!("none of {} photos could be imported", report.total)))
        }
        _ => Ok(()),
    }
}

/// Imports `source` and prints nothing but progress: what `vitrine demo` begins with.
pub(super) fn quietly(settings: &ServiceSettings, source: &Path) -> Result<Report, CliError> {
    import(settings, read_plan(source)?, false)
}

/// The photos of `source` that are files here, at most `limit`.
pub(super) fn local_photos(source: &Path, limit: usize) -> Result<Vec<PathBuf>, CliError> {
    Ok(local(&read_plan(source)?.rows).take(limit).map(Path::to_path_buf).collect())
}

fn local(rows: &[Row]) -> impl Iterator<Item = &Path> {
    rows.iter().filter_map(|row| if let Place::File(path) = &row.place { Some(path.as_path()) } else { None })
}

fn read_plan(source: &Path) -> Result<Plan, CliError> {
    let plan = if source.is_dir() { folder::read(source)? } else { manifest::read(source)? };
    if !plan.ignored_columns.is_empty() {
        eprintln!("columns without a meaning here, ignored: {}", plan.ignored_columns.join(", "));
    }
    if plan.rows.is_empty() && plan.rejected.is_empty() {
        return Err(CliError::NothingDone(format!("{}: no photo found", source.display())));
    }
    Ok(plan)
}

fn import(settings: &ServiceSettings, plan: Plan, bench: bool) -> Result<Report, CliError> {
    let threads = settings.work.threads();
    let in_flight = IN_FLIGHT_PER_THREAD * threads;
    // Only this import fills the lanes: they are never full, and no photo has to be tried again.
    let service = joint::open_service(settings, in_flight)?;
    let model = || service.analyzer().model().clone();
    let limits = settings.photo.limits();
    let bare = bench.then(|| BareEngine::new(model(), &limits, threads, local(&plan.rows))).transpose()?;
    let rate = |bare: &BareEngine| bare.photos_per_s().map_err(ServiceError::from);
    let before = bare.as_ref().map(rate).transpose()?;
    let fetcher = joint::fetcher(settings)?;
    let result = runtime()?.block_on(pump(Importer::new(&service, fetcher, limits.body_bytes), plan, in_flight));
    // Also after a failure: the index's snapshot makes the next start quick.
    let closed = service.close().map_err(CliError::from);
    let mut report = result?;
    closed?;
    if let (Some(bare), Some(before)) = (&bare, before) {
        report.bench = Some(Bench::new(threads, before, rate(bare)?, report.photos_per_s));
    }
    Ok(report)
}

async fn pump(mut importer: Importer<'_>, mut plan: Plan, in_flight: usize) -> Result<Report, CliError> {
    let products = std::mem::take(&mut plan.products).into_iter();
    importer.products = products.map(|(id, metadata)| (id, Product::new(metadata))).collect();
    let importer = &importer;
    let mut tally = Tally::default();
    for r in plan.rejected.drain(..) {
        let detail = if r.line > 0 { format!("line {}: {}", r.line, r.detail) } else { r.detail };
        tally.add(Outcome::Failed { cause: r.cause, detail });
    }
    let rows = std::mem::take(&mut plan.rows);
    let first = rows.iter().find_map(|row| match &row.place {
        Place::File(path) => Some((path.clone(), row.product_id.clone())),
        Place::Url(_) => None,
    });
    let total = rows.len() as u64 + tally.failed;
    let progress = Progress::new(total, tally.failed);
    let stop = AtomicBool::new(false);
    let mut interrupted = pin!(signals::stop_then_interrupt(&stop));
    let started = Instant::now();
    {
        let mut stream = pin!(outcomes(rows, in_flight, &stop, |row| importer.one(row)));
        loop {
            tokio::select! {
                next = stream.next() => match next {
                    Some(outcome) => {
                        tally.add(outcome);
                        progress.show(&tally);
                    }
                    None => break,
                },
                result = &mut interrupted => return Err(result.err().map_or(CliError::Interrupted, CliError::Runtime)),
            }
        }
    }
    progress.finish();
    let stopped = tally.good() + tally.failed < total;
    let report = Report::new(&plan, total, &tally, started.elapsed().as_secs_f64(), stopped);
    Ok(Report { first, ..report })
}

/// What a row needs to get into the catalog.
struct Importer<'a> {
    service: &'a Service,
    fetcher: Fetcher,
    limit_bytes: usize,
    products: HashMap<String, Product>,
}

/// A product of the manifest, written once, before the first of its photos.
struct Product {
    metadata: Metadata,
    written: OnceCell<()>,
}

impl Product {
    fn new(metadata: Metadata) -> Self {
        Self { metadata, written: OnceCell::new() }
    }
}

impl<'a> Importer<'a> {
    fn new(service: &'a Service, fetcher: Fetcher, limit_bytes: usize) -> Self {
        Self { service, fetcher, limit_bytes, products: HashMap::new() }
    }

    async fn one(&self, row: Row) -> Outcome {
        let place = row.place.shown();
        match self.put(row).await {
            Ok(outcome) => outcome,
            Err((cause, detail)) => Outcome::Failed { cause, detail: format!("{place}: {detail}") },
        }
    }

    async fn put(&self, row: Row) -> Result<Outcome, (&'static str, String)> {
        let fault = |e: ServiceError| (joint::cause(&e), e.to_string());
        let bytes = self.bytes(row.place).await?;
        let (bytes, sha256) = hashed(bytes).await?;
        if let Some(product) = self.products.get(&row.product_id) {
            let write = || async {
                self.service.put_product(&row.product_id, product.metadata.clone().into(), None).await.map(drop)
            };
            product.written.get_or_try_init(write).await.map_err(fault)?;
        }
        let image_id = row.image_id.as_deref();
        if joint::is_current(self.service, &row.product_id, image_id, &sha256).await.map_err(fault)? {
            return Ok(Outcome::Unchanged);
        }
        let input = PhotoInput { source: PhotoSource::Bytes(bytes), crop: None };
        self.service.put_image(&row.product_id, row.image_id, input, None).await.map_err(fault)?;
        Ok(Outcome::Imported)
    }

    async fn bytes(&self, place: Place) -> Result<Bytes, (&'static str, String)> {
        match place {
            Place::Url(url) => self.fetcher.fetch(&url).await.map_err(|e| {
                let e = ServiceError::from(e);
                (joint::cause(&e), e.to_string())
            }),
            Place::File(path) => {
                let limit = self.limit_bytes;
                let read = move || joint::read_bytes(&path, limit);
                tokio::task::spawn_blocking(read).await.map_err(|e| ("internal", e.to_string()))?
            }
        }
    }
}

/// SHA-256 in hex, off the runtime's workers: 20 MiB take some 20 ms.
async fn hashed(bytes: Bytes) -> Result<(Bytes, String), (&'static str, String)> {
    use sha2::{Digest, Sha256};
    let hash = move || {
        let sha256 = hex::encode(Sha256::digest(&bytes));
        (bytes, sha256)
    };
    tokio::task::spawn_blocking(hash).await.map_err(|e| ("internal", e.to_string()))
}

fn print(report: &Report, json: bool) -> Result<(), CliError> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, report).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", report.text())?;
    }
    Ok(())
}
