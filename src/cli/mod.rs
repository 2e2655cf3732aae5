//! The commands of `vitrine`: each reads its options, calls the service or the analyzer, and prints.
//! Exit codes: 0 done, 1 failed with one line that says why, 2 wrong usage, 130 broken off by a second Ctrl-C.

mod analyze;
mod bench;
mod demo;
mod error;
mod eval;
mod export;
mod import;
mod index;
mod joint;
mod keys;
mod models;
mod serve;
mod signals;
mod similar;
mod term;

pub use error::CliError;

use crate::child;
use crate::jobs;
use crate::photo::av1;
use clap::{Parser, Subcommand};
use std::io;
use std::process::ExitCode;

/// Product photos in; attributes, colors and similar products out.
#[derive(Parser, Debug)]
#[command(name = "vitrine", version, about, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Answers over HTTP until told to stop
    Serve(Box<serve::ServeArgs>),
    /// Takes a folder of photos, or a manifest, into the catalog
    Import(Box<import::ImportArgs>),
    /// Shows what the model sees on photos; stores nothing
    Analyze(analyze::AnalyzeArgs),
    /// Finds products of the catalog that are similar to a photo or a product
    Similar(Box<similar::SimilarArgs>),
    /// Measures the model on labeled photos
    Eval(Box<eval::EvalArgs>),
    /// Imports the test pictures and serves them
    Demo(Box<demo::DemoArgs>),
    /// Measures the whole service on this machine and your photos
    Bench(Box<bench::BenchArgs>),
    /// Makes API keys
    Keys(keys::KeysArgs),
    /// Lists, verifies and activates model bundles
    Models(models::ModelsArgs),
    /// Shows, checks and rebuilds the index of similar products
    Index(Box<index::IndexArgs>),
    /// Writes what the catalog knows for others to read
    Export(export::ExportArgs),
    /// Decodes one AV1 picture from standard input: the process that a hostile photo may end
    #[command(name = av1::CHILD_COMMAND, hide = true)]
    DecodeAv1,
    /// Reads the Parquet file on standard input: the process that a hostile manifest may end
    #[command(name = jobs::READ_PARQUET, hide = true)]
    ReadParquet,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // Usage errors end the process in here, with code 2.
    let cli = Cli::parse();
    // Without a path of its own the program decodes and reads in place, as libraries do.
    if let Ok(program) = std::env::current_exe() {
        child::run_by(program);
    }
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        // `vitrine eval ... | head`: the reader has what it wanted.
        Err(CliError::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.one_line());
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Command) -> Result<(), CliError> {
    match command {
        Command::Serve(args) => serve::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Analyze(args) => analyze::run(&args),
        Command::Similar(args) => similar::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Demo(args) => demo::run(*args),
        Command::Bench(args) => bench::run(&args),
        Command::Keys(args) => keys::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Index(args) => index::run(&args),
        Command::Export(args) => export::run(&args),
        Command::ReadParquet => Ok(jobs::parquet_child(io::stdout().lock())?),
        Command::DecodeAv1 => Ok(av1::child(io::stdin().lock(), io::stdout().lock())?),
    }
}

/// A runtime for one command.
fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Runtime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands_parse_as_documented() {
        let good: [&[&str]; 14] = [
            &["serve", "--listen", "0.0.0.0:80", "--keys-file", "keys"],
            &["import", "photos", "--threads", "2", "--bench", "--json"],
            &["analyze", "a.jpg", "b.png", "--html", "report.html"],
            &["similar", "p1", "--limit", "5", "--filter", r#"{"in_stock": true}"#],
            &["eval", "labels.csv", "--where", "split=val", "--where", "source=catalog", "--min-photos", "50"],
            &["eval", "labels.csv", "--retrieval", "--self-retrieval", "--color-names", "names.csv"],
            &["demo", "--testdata", "testdata"],
            &["keys", "new", "--id", "shop", "--scopes", "ingest,search"],
            &["models", "list", "--models-dir", "models"],
            &["models", "verify", "models/default", "other"],
            &["models", "activate", "2026-01-01-abc", "--url", "http://127.0.0.1:8080", "--no-wait"],
            &["index", "verify", "--data-dir", "data", "--json"],
            &["index", "rebuild", "--data-dir", "data", "--index-vectors", "disk"],
            &["export", "training-set", "--out", "corrections", "--data-dir", "data"],
        ];
        for args in good {
            if let Err(e) = Cli::try_parse_from([&["vitrine"], args].concat()) {
                panic!("{args:?}: {e}");
            }
        }
    }

    #[test]
    fn wrong_usage_is_refused() {
        let bad: [&[&str]; 6] = [
            &[],
            &["analyze"],
            &["similar", "p", "--limit", "0"],
            &["similar", "p", "--limit", "201"],
            &["eval", "labels.csv", "--where", "split"],
            &["keys", "new", "--id", "shop", "--scopes", "everything"],
        ];
        for args in bad {
            assert!(Cli::try_parse_from([&["vitrine"], args].concat()).is_err(), "{args:?}");
        }
    }
}
