//! `vitrine eval`: measures the model on labeled photos, through the same stages that serve.

mod color;
mod labels;
mod look;
mod masks;
mod metrics;
mod report;
mod retrieval;
#[cfg(test)]
mod tests;

use super::{CliError, joint};
use crate::analyzer::Analyzer;
use crate::config::{ModelConfig, PhotoConfig, WorkConfig};
use crate::model::{HeadKind, HeadSpec};
use clap::{Args, Subcommand};
use labels::{ColorNames, Labels, Where, normal};
use look::Seen;
use metrics::{Judged, Metrics};
use report::{ColorReport, HeadReport, Report};
use retrieval::Item;
use std::collections::HashMap;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// The head by which neighbours are of the same kind.
const KIND: &str = "category";

/// Options of `vitrine eval`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct EvalArgs {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    heads: Option<HeadsArgs>,
}

/// What else can be measured than the model's heads.
#[derive(Subcommand, Debug)]
enum Part {
    /// Measure the names of dominant colors against merchants' labels
    Color(color::ColorArgs),
    /// Measure masks and palettes against pixel truth
    Masks(masks::MasksArgs),
}

/// Options of `vitrine eval` itself.
#[derive(Args, Debug)]
struct HeadsArgs {
    /// A CSV with the column `file` or `path` and a column for each attribute, named as the model's heads; blank:
    /// unknown; several labels of one cell, of which each would be right, apart by | or ;
    labels: PathBuf,
    /// Folder of the photos [default: that of the CSV]
    #[arg(long, value_name = "FOLDER")]
    photos: Option<PathBuf>,
    /// Only rows with this value; several for one column: any of them
    #[arg(long = "where", value_name = "COLUMN=VALUE")]
    conditions: Vec<Where>,
    /// Only labels with at least this many photos, counted in the whole file (or see --min-photos-where)
    #[arg(long, default_value_t = 1)]
    min_photos: usize,
    /// Count the photos of a label in these rows only
    #[arg(long, value_name = "COLUMN=VALUE")]
    min_photos_where: Vec<Where>,
    /// Measure whether the 10 nearest photos are of the same category
    #[arg(long)]
    retrieval: bool,
    /// Measure whether photos that are re-cropped, flipped, re-compressed and brightened find themselves first; of
    /// at most N photos, spread evenly
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1000000")]
    self_retrieval: Option<NonZeroUsize>,
    /// Judge the name of the largest color: a CSV of label,accepted_names
    #[arg(long, value_name = "FILE")]
    color_names: Option<PathBuf>,
    /// Column with the merchant's word for the color
    #[arg(long, default_value = "base_color")]
    color_column: String,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    model: ModelConfig,
    #[command(flatten)]
    limits: PhotoConfig,
    #[command(flatten)]
    work: WorkConfig,
}

/// Runs `vitrine eval`.
pub(super) fn run(args: &EvalArgs) -> Result<(), CliError> {
    match (&args.part, &args.heads) {
        (Some(Part::Color(args)), _) => color::run(args),
        (Some(Part::Masks(args)), _) => masks::run(args),
        (None, Some(args)) => heads(args),
        // The parser asks for the labels file where no part is named.
        (None, None) => Err(CliError::NothingDone("expected a labels file, color or masks".into())),
    }
}

fn heads(args: &HeadsArgs) -> Result<(), CliError> {
    let table = |detail: String| CliError::table(&args.labels, detail);
    let labels = Labels::read(&args.labels, args.photos.as_deref())?;
    let selected = labels.select(&args.conditions).map_err(table)?;
    let counted = labels.select(&args.min_photos_where).map_err(table)?;
    let names = args.color_names.as_deref().map(ColorNames::read).transpose()?;
    let color_column = names.is_some().then(|| labels.color_column(&args.color_column)).transpose().map_err(table)?;
    let rows: Vec<usize> = (0..labels.rows.len()).filter(|n| selected[*n]).collect();
    if rows.is_empty() {
        return Err(table("no row is left".into()));
    }
    let analyzer = Analyzer::new(joint::load_model(&args.model, args.work.threads())?);
    let fault = |source| CliError::Model { dir: args.model.bundle_dir(), source };
    let paths: Vec<&Path> = rows.iter().map(|n| labels.rows[*n].0.as_path()).collect();
    let (limits, threads) = (args.limits.limits(), args.work.threads());
    let seen = look::each(&analyzer, &paths, &limits, threads, |photo| look::one(&analyzer, photo, names.is_some()))
        .map_err(fault)?;
    let readable = seen.iter().flatten().count();
    if readable == 0 {
        return Err(CliError::NothingDone(format!("none of {} photos could be read", paths.len())));
    }

    let eval = Eval { labels: &labels, counted: &counted, min_photos: args.min_photos, rows: &rows, seen: &seen };
    let heads = &analyzer.model().manifest().heads;
    let present = heads.iter().enumerate().filter_map(|(h, head)| Some((h, head, labels.column(&head.name)?)));
    let mut report = Report {
        model_version: analyzer.model().version().to_owned(),
        photos: readable,
        unreadable: paths.len() - readable,
        rejected_rows: labels.rejected,
        heads: present.map(|(h, head, column)| eval.head(h, head, column)).collect(),
        retrieval: None,
        self_retrieval: None,
        color: names.zip(color_column).map(|(names, column)| eval.color(&names, column)),
    };
    if args.retrieval {
        let kind = heads.iter().find(|h| h.name == KIND).and_then(|h| Some((h, labels.column(KIND)?)));
        let (head, column) = kind.ok_or_else(|| table(format!("no column `{KIND}` for --retrieval")))?;
        report.retrieval = Some(retrieval::same_kind(&eval.items(head, column), threads));
    }
    if let Some(most) = args.self_retrieval {
        let gallery: Vec<_> = seen.iter().flatten().map(|s| &s.embedding).collect();
        let readable = paths.iter().zip(&seen).filter(|(_, s)| s.is_some());
        let photos: Vec<(&Path, usize)> = readable.enumerate().map(|(place, (path, _))| (*path, place)).collect();
        let found = retrieval::itself(&analyzer, &photos, &gallery, &limits, (threads, most.get()));
        report.self_retrieval = Some(found.map_err(|e| CliError::NothingDone(e.to_string()))?);
    }
    print(&report, args.json)
}

fn print(report: &Report, json: bool) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, report).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", report.text())?;
    }
    Ok(())
}

/// The labels beside what was seen: `seen[i]` is the photo of row `rows[i]`.
struct Eval<'a> {
    labels: &'a Labels,
    /// Which rows count toward `min_photos`.
    counted: &'a [bool],
    min_photos: usize,
    rows: &'a [usize],
    seen: &'a [Option<Seen>],
}

/// What the labels of a head's column mean.
struct Truth {
    /// One a selected row: right labels; empty where unknown, not of the taxonomy, or too rare.
    by_row: Vec<Vec<usize>>,
    /// Cells with a label the head does not know.
    unknown: usize,
    /// Photos whose label is too rare.
    rare: usize,
}

impl Eval<'_> {
    fn cell(&self, row: usize, column: usize) -> &str {
        &self.labels.rows[row].1[column]
    }

    fn truth(&self, head: &HeadSpec, column: usize) -> Truth {
        let index: HashMap<String, usize> = head.labels.iter().enumerate().map(|(i, l)| (normal(l), i)).collect();
        let parse = |row: usize| -> Option<Vec<usize>> {
            let parts = self.cell(row, column).split(['|', ';']).map(str::trim).filter(|p| !p.is_empty());
            parts.map(|p| index.get(&normal(p)).copied()).collect()
        };
        let mut photos = vec![0; head.labels.len()];
        for row in (0..self.labels.rows.len()).filter(|n| self.counted[*n]) {
            parse(row).unwrap_or_default().into_iter().for_each(|label| photos[label] += 1);
        }
        let mut truth = Truth { by_row: Vec::new(), unknown: 0, rare: 0 };
        for &row in self.rows {
            let labels = parse(row).unwrap_or_else(|| {
                truth.unknown += 1;
                Vec::new()
            });
            let rare = labels.iter().any(|l| photos[*l] < self.min_photos);
            truth.rare += usize::from(rare);
            truth.by_row.push(if rare { Vec::new() } else { labels });
        }
        truth
    }

    fn head(&self, h: usize, head: &HeadSpec, column: usize) -> HeadReport {
        let truth = self.truth(head, column);
        let judge = |(truth, seen): (&Vec<usize>, &Option<Seen>)| {
            let said = seen.as_ref()?.heads.get(h)?.clone();
            let judged =
                Judged { truth: truth.clone(), top: said.top, confidence: said.confidence, asserted: said.asserted };
            (!truth.is_empty()).then_some(judged)
        };
        let judged: Vec<Judged> = truth.by_row.iter().zip(self.seen).filter_map(judge).collect();
        HeadReport {
            head: head.name.clone(),
            metrics: Metrics::of(&judged, head.kind == HeadKind::Multi),
            unknown_labels: truth.unknown,
            rare: truth.rare,
        }
    }

    /// Photos with a known label; alternatives are a label of their own.
    fn items(&self, head: &HeadSpec, column: usize) -> Vec<Item<'_>> {
        let truth = self.truth(head, column).by_row;
        let (mut items, mut kinds) = (Vec::new(), HashMap::new());
        for (truth, seen) in truth.iter().zip(self.seen) {
            if let (Some(seen), false) = (seen, truth.is_empty()) {
                let fresh = kinds.len();
                let label = *kinds.entry(truth).or_insert(fresh);
                items.push(Item { sha256: &seen.sha256, label, embedding: &seen.embedding });
            }
        }
        items
    }

    fn color(&self, names: &ColorNames, column: usize) -> ColorReport {
        let mut report = ColorReport::default();
        for (&row, seen) in self.rows.iter().zip(self.seen) {
            let (Some(seen), Some(accepted)) = (seen, names.accepted(self.cell(row, column))) else { continue };
            report.n += 1;
            report.accepted += usize::from(seen.color.as_ref().is_some_and(|c| accepted.contains(c)));
        }
        report
    }
}
