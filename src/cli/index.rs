//! `vitrine index`: what the files of the index are, whether they are whole, and making them anew from the catalog.

use super::term::{Paint, clean, table};
use super::{CliError, joint};
use crate::config::{DataConfig, ServiceSettings};
use crate::index::{FileReport, IndexError, inspect};
use clap::{Args, Subcommand};
use std::io::Write;
use std::time::Instant;

/// Options of `vitrine index`.
#[derive(Args, Debug)]
pub(super) struct IndexArgs {
    #[command(subcommand)]
    command: IndexCommand,
}

#[derive(Subcommand, Debug)]
enum IndexCommand {
    /// Lists the files of the index and what they hold; works beside a running server
    Stats {
        #[command(flatten)]
        options: Look,
    },
    /// Holds every byte of the index against its checksums; works beside a running server. Ends with 1 when a file is not
    /// whole: the next start puts it aside and brings back what it held
    Verify {
        #[command(flatten)]
        options: Look,
    },
    /// Removes the index and makes it anew from the catalog, which must not be in use
    Rebuild {
        #[command(flatten)]
        service: Box<ServiceSettings>,
    },
}

#[derive(Args, Debug)]
struct Look {
    #[command(flatten)]
    data: DataConfig,
    /// Print one file a line, as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `vitrine index`.
pub(super) fn run(args: &IndexArgs) -> Result<(), CliError> {
    match &args.command {
        IndexCommand::Stats { options } => print(options, &files(options)?),
        IndexCommand::Verify { options } => {
            let files = files(options)?;
            let damaged: Vec<&FileReport> = files.iter().filter(|file| file.problem.is_some()).collect();
            match (options.json, damaged.len()) {
                (true, _) => print(options, &files)?,
                (false, 0) => println!("{} {} files", Paint::stdout().bold("whole"), files.len()),
                (false, _) => {}
            }
            let told: Vec<String> = damaged.iter().map(|file| format!("{}: {}", name(file), problem(file))).collect();
            if told.is_empty() { Ok(()) } else { Err(CliError::NothingDone(told.join("; "))) }
        }
        IndexCommand::Rebuild { service } => rebuild(service),
    }
}

fn files(options: &Look) -> Result<Vec<FileReport>, CliError> {
    let dir = options.data.data_dir.join("index");
    inspect(&dir).map_err(|error| match error {
        IndexError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            CliError::NothingDone(format!("there is no index in {}", options.data.data_dir.display()))
        }
        error => CliError::Service(error.into()),
    })
}

fn name(file: &FileReport) -> String {
    file.path.file_name().map_or_else(String::new, |name| clean(&name.to_string_lossy()))
}

fn problem(file: &FileReport) -> String {
    clean(file.problem.as_deref().unwrap_or("whole"))
}

fn print(options: &Look, files: &[FileReport]) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    if options.json {
        for file in files {
            serde_json::to_writer(&mut out, file).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
        return Ok(());
    }
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let row = |file: &FileReport| {
        vec![
            name(file),
            clean(&file.model_version),
            number(file.products.map(|products| products as u64)),
            file.rows.to_string(),
            number(file.seq),
            format!("{:.1}", file.bytes as f64 / 1e6),
            problem(file),
        ]
    };
    let rows: Vec<Vec<String>> = files.iter().map(row).collect();
    write!(out, "{}", table(&["file", "model", "products", "rows", "seq", "MB", "state"], &rows))?;
    Ok(())
}

fn rebuild(settings: &ServiceSettings) -> Result<(), CliError> {
    let begun = Instant::now();
    let service = joint::open_with_new_index(settings)?;
    service.settle_index();
    let stats = service.index_stats();
    service.close()?;
    println!(
        "{} images of {} products, in {} segments and {} rows beside, in {:.1} s",
        stats.images,
        stats.products,
        stats.segments,
        stats.scanned_rows,
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}
