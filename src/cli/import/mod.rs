//! `vitrine import`: a folder of photos or a manifest into the catalog, in this process and on all cores: a bulk job as the
//! server runs them, of files that its user may read. Can be stopped and run again: what is there with the same bytes and
//! model version is not looked at twice.

mod progress;
mod report;

use super::bench::BareEngine;
use super::{CliError, joint, runtime, signals};
use crate::config::ServiceSettings;
use crate::jobs::{self, FileAccess, Job, JobSource, ObjectAccess};
use crate::service::{Service, ServiceError};
use clap::Args;
use progress::Progress;
use report::{Bench, Report};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use url::Url;

/// Names of manifests that a folder may hold, in the order they are looked for.
const MANIFESTS: [&str; 2] = ["manifest.csv", "labels.csv"];
/// How often progress is shown.
const SHOWN_EVERY: Duration = Duration::from_millis(250);

/// Options of `vitrine import`.
///
/// Failed rows do not fail the import: the exit code is 0 unless nothing at all succeeded.
#[derive(Args, Debug)]
pub(super) struct ImportArgs {
    /// Folder of photos (the file's stem is the product id), or a manifest: a CSV with at least `product_id` and
    /// `image_uri`, and optionally `image_id`, title, category, price, currency, `in_stock`, `group_id`, url, tags
    /// (separated by | or ;) and `attributes.<name>`; lines of JSON with the same fields (.ndjson, .jsonl); or a CSV for
    /// Google's Product Search
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
    let report = import(&args.service, &args.source, args.bench)?;
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
    import(settings, source, false)
}

/// The photos of `source` that are files here, at most `limit`.
pub(super) fn local_photos(source: &Path, limit: usize) -> Result<Vec<PathBuf>, CliError> {
    Ok(local(&job_source(source)?)?.take(limit).map(|(path, _)| path).collect())
}

/// What a job is about that imports `source`.
fn job_source(source: &Path) -> Result<JobSource, CliError> {
    let path = std::path::absolute(source).map_err(CliError::io("read", source))?;
    if !path.is_dir() {
        return Ok(JobSource::File { path });
    }
    let inside = MANIFESTS.iter().map(|name| path.join(name)).find(|inside| jobs::is_manifest(inside));
    Ok(inside.map_or(JobSource::Folder { path }, |path| JobSource::File { path }))
}

/// Photos of a source that are files here, with their products.
fn local(source: &JobSource) -> Result<Box<dyn Iterator<Item = (PathBuf, String)>>, CliError> {
    let path = match source {
        JobSource::Folder { path } => {
            let rows = jobs::rows_of(path).map_err(ServiceError::from)?;
            return Ok(Box::new(rows.into_iter().filter_map(|row| row.content.ok()).filter_map(file)));
        }
        JobSource::File { path } => path,
        JobSource::Body { .. } | JobSource::Uri { .. } => return Ok(Box::new(std::iter::empty())),
    };
    let rows = jobs::open_file(path).map_err(|e| CliError::table(path, e.to_string()))?;
    Ok(Box::new(rows.map_while(Result::ok).filter_map(|row| row.content.ok()).filter_map(file)))
}

fn file(row: crate::catalog::RowContent) -> Option<(PathBuf, String)> {
    let path = Url::parse(row.uri.as_deref()?).ok().filter(|url| url.scheme() == "file")?.to_file_path().ok()?;
    Some((path, row.product_id))
}

fn import(settings: &ServiceSettings, source: &Path, bench: bool) -> Result<Report, CliError> {
    let threads = settings.work.threads();
    let job = job_source(source)?;
    // What is wrong with the head is said before the model takes its seconds to load.
    let first = local(&job)?.next();
    let mut settings = settings.clone();
    settings.jobs.file_access = FileAccess::All;
    settings.jobs.object_access = ObjectAccess::All;
    // Only this import fills the lanes: they are never full, and no photo has to be tried again.
    let service = joint::open_service(&settings, joint::IN_FLIGHT_PER_THREAD * threads)?;
    let model = || service.analyzer().model().clone();
    let limits = settings.photo.limits();
    let paths: Vec<PathBuf> = if bench { local(&job)?.map(|(path, _)| path).collect() } else { Vec::new() };
    let paths = paths.iter().map(PathBuf::as_path);
    let bare = bench.then(|| BareEngine::new(model(), &limits, threads, paths)).transpose()?;
    let rate = |bare: &BareEngine| bare.photos_per_s().map_err(ServiceError::from);
    let before = bare.as_ref().map(rate).transpose()?;
    let result = runtime()?.block_on(run_job(&service, job));
    // Also after a failure: the index's snapshot makes the next start quick.
    let closed = service.close().map_err(CliError::from);
    let mut report = result?;
    closed?;
    report.first = first;
    if let (Some(bare), Some(before)) = (&bare, before) {
        report.bench = Some(Bench::new(threads, before, rate(bare)?, report.photos_per_s));
    }
    Ok(report)
}

async fn run_job(service: &Service, source: JobSource) -> Result<Report, CliError> {
    let started = Instant::now();
    let named = match &source {
        JobSource::File { path } | JobSource::Folder { path } => path.clone(),
        JobSource::Body { .. } | JobSource::Uri { .. } => PathBuf::new(),
    };
    let id = service.create_local_job(source).await?;
    let stop = AtomicBool::new(false);
    let mut interrupted = pin!(signals::stop_then_interrupt(&stop));
    let progress = Progress::new();
    {
        let mut ran = pin!(service.run_job_alone(&id));
        let mut tick = tokio::time::interval(SHOWN_EVERY);
        loop {
            tokio::select! {
                ran = &mut ran => break ran?,
                result = &mut interrupted => return Err(result.err().map_or(CliError::Interrupted, CliError::Runtime)),
                _ = tick.tick() => {
                    progress.show(&service.job(&id).await?);
                    if stop.load(Ordering::Relaxed) {
                        service.end_waits();
                    }
                }
            }
        }
    }
    progress.finish();
    let job = service.end_local_job(&id).await?;
    if let Some(failure) = &job.failure {
        return Err(CliError::table(&named, failure));
    }
    ignored(&job);
    let stopped = stop.load(Ordering::Relaxed);
    if job.total == 0 && !stopped {
        return Err(CliError::NothingDone(format!("{}: no photo found", named.display())));
    }
    let causes = service.failed_causes(&id).await?;
    Ok(Report::new(job, causes, stopped, started.elapsed().as_secs_f64()))
}

fn ignored(job: &Job) {
    if !job.ignored_columns.is_empty() {
        eprintln!("columns without a meaning here, ignored: {}", job.ignored_columns.join(", "));
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    #[test]
    fn a_manifest_inside_a_folder_is_used_when_it_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let first = || local(&job_source(dir.path()).unwrap()).unwrap().next().unwrap();
        fs::write(dir.path().join("a.jpg"), b"").unwrap();
        fs::write(dir.path().join("labels.csv"), b"file,pattern\na.jpg,solid\n").unwrap();
        assert_eq!(first().1, "a");
        fs::write(dir.path().join("labels.csv"), b"file,id\na.jpg,77\n").unwrap();
        assert_eq!(first(), (dir.path().join("a.jpg"), "77".to_owned()));
        let none = job_source(&dir.path().join("none.csv")).unwrap();
        assert!(local(&none).is_err());
    }
}
