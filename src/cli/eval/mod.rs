//! stub
use super::CliError; use clap::Args;
#[derive(Args, Debug)] pub(super) struct EvalArgs { labels: String }
pub(super) fn run(_a: &EvalArgs) -> Result<(), CliError> { Ok(()) }
