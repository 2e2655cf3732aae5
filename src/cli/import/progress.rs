//! The progress bar of an import on standard error; where that is no terminal, a plain line every ten seconds.

use crate::jobs::Job;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

const TEMPLATE: &str = "{bar:30} {pos}/{len} photos, {per_sec}, {eta} to go  {msg}";
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows how far an import is.
pub(super) struct Progress {
    bar: ProgressBar,
    /// Where there is no terminal: when the last line was written.
    plain: Option<Cell<Instant>>,
    started: Instant,
}

impl Progress {
    /// An empty bar.
    pub(super) fn new() -> Self {
        let plain = (!std::io::stderr().is_terminal()).then(|| Cell::new(Instant::now()));
        let bar = if plain.is_some() { ProgressBar::hidden() } else { ProgressBar::new(0) };
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar, plain, started: Instant::now() }
    }

    /// Shows how far `job` is.
    pub(super) fn show(&self, job: &Job) {
        let done = job.total - job.waiting;
        self.bar.set_length(job.total);
        if job.reading {
            self.bar.set_message("reading the manifest");
            return;
        }
        self.bar.set_position(done);
        self.bar.set_message(format!("unchanged {}, failed {}", job.unchanged, job.failed));
        let Some(last) = &self.plain else { return };
        if last.get().elapsed() >= LINE_EVERY {
            last.set(Instant::now());
            let rate = done as f64 / self.started.elapsed().as_secs_f64();
            eprintln!("{done}/{} photos, {rate:.1}/s, failed {}", job.total, job.failed);
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
