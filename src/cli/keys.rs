//! `vitrine keys new`: makes an API key. The key itself is shown once and kept nowhere; the file holds its hash.

use super::CliError;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::num::NonZeroU16;
use uuid::Uuid;

/// Options of `vitrine keys`.
#[derive(Args, Debug)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Subcommand, Debug)]
enum KeysCommand {
    /// Prints a fresh key once, and its line for the keys file
    New {
        /// Who will hold it; seen in logs
        #[arg(long, value_parser = id)]
        id: String,
        /// What it may do
        #[arg(long, value_delimiter = ',', required = true)]
        scopes: Vec<Scope>,
        /// Most requests that it may have under way; further ones get 429 [default: no limit of its own]
        #[arg(long)]
        max_concurrent: Option<NonZeroU16>,
    },
}

/// What a key may do; `admin` includes the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
enum Scope {
    Ingest,
    Search,
    Admin,
}

/// A line of the keys file, as the server reads it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    id: &'a str,
    sha256: String,
    scopes: &'a [Scope],
    #[serde(skip_serializing_if = "Option::is_none")]
    max_concurrent: Option<NonZeroU16>,
}

/// Runs `vitrine keys`.
pub(super) fn run(args: &KeysArgs) -> Result<(), CliError> {
    let KeysCommand::New { id, scopes, max_concurrent } = &args.command;
    let (key, line) = fresh(id, scopes, *max_concurrent)?;
    let mut out = std::io::stdout().lock();
    // The line alone on standard output: `vitrine keys new ... >> keys` never writes the key to a file.
    writeln!(out, "{line}")?;
    eprintln!("the key, shown this once; callers send `Authorization: Bearer <key>`:\n{key}");
    eprintln!("the line above goes into the file that --keys-file names");
    Ok(())
}

/// A random key and its line.
fn fresh(id: &str, scopes: &[Scope], max_concurrent: Option<NonZeroU16>) -> Result<(String, String), CliError> {
    let mut scopes = scopes.to_vec();
    scopes.sort_unstable();
    scopes.dedup();
    // Two version 4 UUIDs are 244 bits of the system's generator: nobody guesses them, so that a plain hash is enough.
    let key = format!("vitrine_{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let line = Line { id, sha256: hex::encode(Sha256::digest(&key)), scopes: &scopes, max_concurrent };
    let line = serde_json::to_string(&line).map_err(std::io::Error::from)?;
    Ok((key, line))
}

fn id(text: &str) -> Result<String, String> {
    match text.is_empty() || text.chars().any(char::is_control) {
        true => Err("expected visible characters".into()),
        false => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::http::KeyRing;

    #[test]
    fn the_line_is_what_the_server_reads_and_holds_no_key() {
        let (key, line) = fresh("the \"shop\"", &[Scope::Search, Scope::Ingest, Scope::Search], None).unwrap();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["sha256"], hex::encode(Sha256::digest(key.as_bytes())));
        assert_eq!(value["scopes"], serde_json::json!(["ingest", "search"]));
        assert!(!line.contains(&key[8..]) && !line.contains('\n'));
        KeyRing::parse(&line).unwrap();
        let again = || fresh("a", &[Scope::Admin], NonZeroU16::new(8)).unwrap();
        assert_ne!(again().0, again().0);
        KeyRing::parse(&again().1).unwrap();
    }
}
