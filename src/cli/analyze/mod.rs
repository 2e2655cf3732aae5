//! `vitrine analyze`: what the model sees on photos, as a table, as JSON, or as a page to look at. Stores nothing.

mod html;
mod overlay;
mod table;

use super::term::Paint;
use super::{CliError, joint};
use crate::analyzer::{Analyzed, Analyzer};
use crate::config::{ModelConfig, PhotoConfig};
use crate::mask::Steps;
use crate::photo::Photo;
use clap::Args;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Options of `vitrine analyze`.
#[derive(Args, Debug)]
pub(super) struct AnalyzeArgs {
    /// Photos
    #[arg(required = true)]
    photos: Vec<PathBuf>,
    /// Print one analysis a line, as JSON
    #[arg(long)]
    json: bool,
    /// Write a page that shows photo, masks, palette and attributes side by side
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    model: ModelConfig,
    #[command(flatten)]
    limits: PhotoConfig,
}

/// Runs `vitrine analyze`. A photo that cannot be read is named on standard error and the others go on; the exit code
/// is 1 only when none could.
pub(super) fn run(args: &AnalyzeArgs) -> Result<(), CliError> {
    let analyzer = Analyzer::new(joint::load_model(&args.model, 1)?);
    let mut page = args.html.as_deref().map(|path| Page::open(path, analyzer.model().version())).transpose()?;
    let mut out = std::io::stdout().lock();
    let (paint, limits) = (Paint::stdout(), args.limits.limits());
    let mut seen = 0;
    for path in &args.photos {
        let photo = match joint::read_photo(path, &analyzer, &limits) {
            Ok(photo) => photo,
            Err(detail) => {
                eprintln!("{}: {detail}", path.display());
                continue;
            }
        };
        let fault = |source| CliError::Model { dir: args.model.bundle_dir(), source };
        let (analyzed, steps) = match page {
            Some(_) => analyzer.analyze_in_steps(&photo).map_err(fault)?,
            None => (analyzer.analyze(&photo).map_err(fault)?, Steps::default()),
        };
        seen += 1;
        if args.json {
            serde_json::to_writer(&mut out, &analyzed.analysis).map_err(std::io::Error::from)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", table::text(&path.display().to_string(), &analyzed.analysis, paint))?;
        }
        if let Some(page) = &mut page {
            page.add(path, &photo, &analyzed, &steps)?;
        }
    }
    if let Some(page) = page {
        let path = page.close()?;
        eprintln!("written: {}", path.display());
    }
    match seen {
        0 => Err(CliError::NothingDone(format!("none of {} photos could be read", args.photos.len()))),
        _ => Ok(()),
    }
}

/// The page being written: a photo at a time, so that a thousand photos need no more memory than one.
struct Page {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Page {
    fn open(path: &Path, version: &str) -> Result<Self, CliError> {
        let file = File::create(path).map_err(CliError::io("write", path))?;
        let mut page = Self { path: path.to_owned(), file: BufWriter::new(file) };
        page.write(&html::head(version))?;
        Ok(page)
    }

    fn add(&mut self, name: &Path, photo: &Photo, analyzed: &Analyzed, steps: &Steps) -> Result<(), CliError> {
        let figures =
            overlay::figures(photo, &analyzed.masks, steps).map_err(|e| CliError::table(name, e.to_string()))?;
        self.write(&html::section(&name.display().to_string(), &analyzed.analysis, &figures))
    }

    fn close(mut self) -> Result<PathBuf, CliError> {
        self.write(html::FOOT)?;
        self.file.flush().map_err(CliError::io("write", &self.path))?;
        Ok(self.path)
    }

    fn write(&mut self, text: &str) -> Result<(), CliError> {
        self.file.write_all(text.as_bytes()).map_err(CliError::io("write", &self.path))
    }
}
