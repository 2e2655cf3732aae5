//! What an import tells at its end: to a person, or as one line of JSON.

use crate::catalog::FailedCause;
use crate::cli::term::clean;
use crate::jobs::Job;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

/// The end of an import; `--json` prints it as it is.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Report {
    /// Photos in the manifest or folder, usable or not.
    pub(super) total: u64,
    /// Analyzed, stored and indexed.
    pub(super) imported: u64,
    /// Already there.
    pub(super) unchanged: u64,
    /// Rows and photos that could not be imported.
    pub(super) failed: u64,
    /// Rows that repeat an earlier one.
    pub(super) repeated: u64,
    /// True when it was stopped before its end.
    pub(in crate::cli) stopped: bool,
    /// Wall time of the import itself, without opening the service.
    pub(super) seconds: f64,
    /// Imported photos a second.
    pub(super) photos_per_s: f64,
    /// Failures by cause.
    pub(super) causes: BTreeMap<String, Cause>,
    /// Columns that mean nothing here.
    pub(super) ignored_columns: Vec<String>,
    /// A photo that was tried, and its product: what the demo shows.
    #[serde(skip)]
    pub(in crate::cli) first: Option<(PathBuf, String)>,
    /// With `--bench`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bench: Option<Bench>,
}

/// Failures of one cause.
#[derive(Debug, Serialize)]
pub(super) struct Cause {
    pub(super) count: u64,
    /// The first few.
    pub(super) examples: Vec<String>,
}

/// The import beside the bare engine, in photos a second.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Bench {
    pub(super) threads: usize,
    pub(super) bare_before_per_s: f64,
    pub(super) bare_after_per_s: f64,
    pub(super) import_per_s: f64,
    /// Import over the mean of both bare rates.
    pub(super) ratio: f64,
}

impl Bench {
    pub(super) fn new(threads: usize, before: f64, after: f64, import_per_s: f64) -> Self {
        let ratio = import_per_s / f64::midpoint(before, after);
        Self { threads, bare_before_per_s: before, bare_after_per_s: after, import_per_s, ratio }
    }
}

impl Report {
    /// Sums up a job that took `seconds`, and may have been stopped.
    pub(super) fn new(job: Job, causes: Vec<FailedCause>, stopped: bool, seconds: f64) -> Self {
        let cause = |FailedCause { cause, count, examples }| (cause, Cause { count, examples });
        Self {
            total: job.total,
            imported: job.done,
            unchanged: job.unchanged,
            failed: job.failed,
            repeated: job.duplicate,
            stopped: stopped || job.waiting > 0,
            seconds,
            photos_per_s: job.done as f64 / seconds.max(1e-9),
            causes: causes.into_iter().map(cause).collect(),
            ignored_columns: job.ignored_columns,
            first: None,
            bench: None,
        }
    }

    /// For people.
    pub(in crate::cli) fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "imported {} of {} photos in {:.1} s ({:.1} photos/s); unchanged {}, failed {}, repeated rows {}",
            self.imported, self.total, self.seconds, self.photos_per_s, self.unchanged, self.failed, self.repeated
        );
        for (cause, Cause { count, examples }) in &self.causes {
            let _ = writeln!(out, "  {count:>6}  {cause}");
            for example in examples {
                let _ = writeln!(out, "          {}", clean(example));
            }
        }
        if let Some(b) = self.bench {
            let _ = writeln!(
                out,
                "bare engine on {} threads: {:.2} photos/s before, {:.2} after; import {:.2}: {:.3} of the bare engine",
                b.threads, b.bare_before_per_s, b.bare_after_per_s, b.import_per_s, b.ratio
            );
        }
        if self.stopped {
            out.push_str("stopped before the end; run it again to go on where it stopped\n");
        }
        out
    }
}
