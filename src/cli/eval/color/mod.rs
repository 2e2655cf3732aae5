//! `vitrine eval color`: the name of the dominant color against what merchants wrote, beside simpler ways to name it.

mod report;
mod stability;

use super::labels::{ColorNames, Labels, Where};
use super::look;
use super::retrieval::ChangeError;
use crate::analyzer::Analyzer;
use crate::cli::{CliError, joint};
use crate::color::{self, BasicColor};
use crate::config::{ModelConfig, PhotoConfig, WorkConfig};
use crate::photo::Photo;
use clap::Args;
use report::{Report, Ways};
use serde_json::json;
use stability::Stability;
use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Options of `vitrine eval color`.
#[derive(Args, Debug)]
pub(super) struct ColorArgs {
    /// A CSV with the column `file` or `path` and a column with the merchant's word for the color
    labels: PathBuf,
    /// Which basic names each word accepts: a CSV of label,accepted_names
    #[arg(long, value_name = "FILE")]
    color_names: PathBuf,
    /// Column with the merchant's word for the color
    #[arg(long, default_value = "base_color")]
    color_column: String,
    /// Folder of the photos [default: that of the CSV]
    #[arg(long, value_name = "FOLDER")]
    photos: Option<PathBuf>,
    /// Only rows with this value; several for one column: any of them
    #[arg(long = "where", value_name = "COLUMN=VALUE")]
    conditions: Vec<Where>,
    /// Column whose values are counted apart
    #[arg(long, default_value = "source")]
    by: String,
    /// Measure also whether a photo that is halved, compressed, mirrored or cast keeps its color
    #[arg(long)]
    stability: bool,
    /// Another tool's answers to judge beside: a CSV with the column `file` or `path` and `color` (#rrggbb, or empty)
    #[arg(long, value_name = "FILE")]
    beside: Option<PathBuf>,
    /// Write what each photo gave as a line of JSON: for scripts.fit_color_names and scripts.fit_color_vote
    #[arg(long, value_name = "FILE")]
    dump: Option<PathBuf>,
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

/// What one photo gave.
struct Named {
    ways: Ways,
    stability: Option<Stability>,
    /// Time of masks, of colors, and of the inference.
    times: [Duration; 3],
    /// The line for `--dump`.
    line: Option<serde_json::Value>,
}

/// Runs `vitrine eval color`.
pub(super) fn run(args: &ColorArgs) -> Result<(), CliError> {
    let table = |detail: String| CliError::table(&args.labels, detail);
    let labels = Labels::read(&args.labels, args.photos.as_deref())?;
    let selected = labels.select(&args.conditions).map_err(table)?;
    let names = ColorNames::read(&args.color_names)?;
    let column = labels.color_column(&args.color_column).map_err(table)?;
    let by = labels.column(&args.by);
    let judged = |n: &usize| selected[*n] && names.accepted(&labels.rows[*n].1[column]).is_some();
    let rows: Vec<usize> = (0..labels.rows.len()).filter(judged).collect();
    if rows.is_empty() {
        return Err(table("no row is left whose color can be judged".into()));
    }
    let analyzer = Analyzer::new(joint::load_model(&args.model, args.work.threads())?);
    let paths: Vec<&Path> = rows.iter().map(|row| labels.rows[*row].0.as_path()).collect();
    let seen =
        look::each(&analyzer, &paths, &args.limits.limits(), args.work.threads(), |photo| one(&analyzer, photo, args));
    let seen = seen.map_err(|e| match e {
        ChangeError::Model(source) => CliError::Model { dir: args.model.bundle_dir(), source },
        other => CliError::NothingDone(other.to_string()),
    })?;
    let beside = args.beside.as_deref().map(|path| beside(path, args.photos.as_deref())).transpose()?;
    let mut report = Report::new(analyzer.model().version(), beside.is_some());
    let mut lines = Vec::new();
    for (row, named) in rows.iter().zip(seen) {
        let (path, cells) = &labels.rows[*row];
        let Some(mut named) = named else { continue };
        named.ways.beside = beside.as_ref().and_then(|names| names.get(path).copied());
        let accepted: Vec<BasicColor> = parse(names.accepted(&cells[column]).unwrap_or_default());
        let group = by.map_or("all", |b| cells[b].as_str());
        report.add(group, &accepted, &named);
        if let Some(mut line) = named.line {
            line["file"] = json!(path);
            line["accepted"] = json!(accepted);
            for (name, at) in
                [("source", by), ("split", labels.column("split")), ("product", labels.column("product_id"))]
            {
                line[name] = json!(at.map(|at| cells[at].as_str()));
            }
            lines.push(line.to_string());
        }
    }
    if report.photos() == 0 {
        return Err(CliError::NothingDone(format!("none of {} photos could be read", rows.len())));
    }
    if let Some(path) = &args.dump {
        fs::write(path, lines.join("\n") + "\n").map_err(CliError::io("write", path))?;
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", report.json())?;
    } else {
        write!(out, "{}", report.text())?;
    }
    Ok(())
}

/// The basic name of each photo's color in a CSV of another tool's; photos that it has no color for are left out.
fn beside(path: &Path, photos: Option<&Path>) -> Result<HashMap<PathBuf, BasicColor>, CliError> {
    let table = |detail: String| CliError::table(path, detail);
    let answers = Labels::read(path, photos)?;
    let column = answers.column("color").ok_or_else(|| table("no column `color`".into()))?;
    let mut names = HashMap::new();
    for (file, cells) in answers.rows {
        let cell = cells[column].as_str();
        if !cell.is_empty() {
            let wrong = || table(format!("expected a color as #rrggbb for {}, got `{cell}`", file.display()));
            let name = color::basic_name(cell).ok_or_else(wrong)?;
            names.insert(file, name);
        }
    }
    Ok(names)
}

fn parse(words: &[String]) -> Vec<BasicColor> {
    words.iter().filter_map(|w| serde_json::from_value(json!(w)).ok()).collect()
}

fn one(analyzer: &Analyzer, photo: &Photo, args: &ColorArgs) -> Result<Named, ChangeError> {
    let begun = Instant::now();
    let prediction = analyzer.predict(photo)?;
    let inferred = begun.elapsed();
    let masks = analyzer.segment(photo, &prediction);
    let masked = begun.elapsed();
    let colors = analyzer.colors(photo, &masks, &prediction);
    let done = begun.elapsed();
    let first = |colors: &color::Colors| colors.dominant.first().map(|c| c.name);
    let prior = analyzer.color_prior(&prediction);
    let mapless = crate::mask::segment(photo, None);
    let palette = color::palette(photo, &masks, None);
    let ways = Ways {
        whole: Some(color::of_whole(photo, false)),
        without_white: Some(color::of_whole(photo, true)),
        mapless: first(&color::palette(photo, &mapless, None)),
        pixels: first(&palette),
        head: prior.as_ref().and_then(|p| p.0.iter().max_by(|a, b| a.1.total_cmp(&b.1))).map(|(name, _)| *name),
        both: first(&colors),
        beside: None,
    };
    let line = args.dump.is_some().then(|| {
        json!({
            "lab": palette.dominant.first().map(|c| c.lab), "bins": color::product_bins(&masks),
            "prior": prior.map(|p| p.0), "kind": masks.kind, "confidence": masks.confidence, "flags": masks.flags,
            "ways": ways,
        })
    });
    let stability = args.stability.then(|| Stability::of(analyzer, photo, &colors)).transpose()?;
    Ok(Named { ways, stability, times: [masked - inferred, done - masked, inferred], line })
}
