//! `vitrine export`: what the catalog knows, for others to read. Works beside a running server: it only reads.

mod features;
mod training_set;

use super::CliError;
use crate::catalog::CatalogError;
use clap::{Args, Subcommand};

/// Options of `vitrine export`.
#[derive(Args, Debug)]
pub(super) struct ExportArgs {
    #[command(subcommand)]
    command: ExportCommand,
}

#[derive(Subcommand, Debug)]
enum ExportCommand {
    /// Photos whose attributes a person corrected or confirmed, and labels.csv
    TrainingSet(training_set::TrainingSetArgs),
    /// Attributes, colors and embeddings of products, for a recommender; what changed since, where there is an export already
    Features(features::FeaturesArgs),
}

/// Runs `vitrine export`.
pub(super) fn run(args: &ExportArgs) -> Result<(), CliError> {
    match &args.command {
        ExportCommand::TrainingSet(args) => training_set::run(args),
        ExportCommand::Features(args) => features::run(args),
    }
}

fn store(error: CatalogError) -> CliError {
    CliError::Service(error.into())
}
