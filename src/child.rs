//! Parts of the program that run in a process of their own, since a stranger's bytes may end it. Where no program was named
//! ([`run_by`]), as in tests and in other programs, they run in place.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// From here on `program` runs them, called with the name of the part. Called once, at the start of a program; later calls change
/// nothing.
pub(crate) fn run_by(program: PathBuf) {
    let _ = PROGRAM.set(program);
}

/// What runs the part of that name; `None`: it is run in place.
pub(crate) fn command(part: &str) -> Option<Command> {
    let mut command = Command::new(PROGRAM.get()?);
    command.arg(part);
    Some(command)
}
