//! Parquet read in a process of its own, with bounds of memory and time: a kilobyte can ask for gigabytes, or nest without end, and
//! the library finds out too late. See `crate::child` for who runs it.
//!
//! The child has the file as its input and writes lines of JSON: an array of the columns' names, then for each row an object, or an
//! array of what is wrong with it; at the end null, or a text, where the file cannot be read further.

use super::{JsonRow, ManifestError, Reader, broken};
use serde::Serialize;
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::process::{ChildStdout, Stdio};

/// What a child is called with.
pub const CHILD_COMMAND: &str = "read-parquet";
/// Memory of a child, its own code included.
const MEMORY_BYTES: u64 = 2 << 30;
/// Processor time of a child: a hundred million rows take some minutes.
const SECONDS: u64 = 3_600;
/// Longest line: a text of JSON takes up to six bytes for one.
const LINE_BYTES: u64 = 8 << 20;

/// The child's part: the file that is its input, to `output`.
///
/// # Errors
/// When a pipe breaks, or its input is no file.
pub fn child(output: impl Write) -> io::Result<()> {
    let mut output = BufWriter::new(output);
    let end = match rows(input()?, &mut output) {
        Ok(()) => Value::Null,
        Err(ManifestError::Io(error)) => return Err(error),
        Err(ManifestError::Parquet { detail }) => detail.into(),
        Err(other) => other.to_string().into(),
    };
    write(&mut output, &end)?;
    output.flush()
}

fn rows(input: File, output: &mut impl Write) -> Result<(), ManifestError> {
    let mut reader = Reader::open(input)?;
    write(output, &reader.names)?;
    while let Some(row) = reader.next()? {
        match row {
            Ok(row) => write(output, &row)?,
            Err(fault) => write(output, &fault)?,
        }
    }
    Ok(())
}

fn write(output: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *output, line)?;
    output.write_all(b"\n")
}

/// The input as a file, with the child's bounds set.
#[cfg(unix)]
fn input() -> io::Result<File> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    use std::os::fd::AsFd;
    for (resource, most) in [(Resource::As, MEMORY_BYTES), (Resource::Cpu, SECONDS), (Resource::Core, 0)] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
}

#[cfg(not(unix))]
fn input() -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A child that reads a file; it ends when this is dropped.
pub(super) struct Child {
    process: std::process::Child,
    lines: BufReader<ChildStdout>,
    line: Vec<u8>,
}

/// A child that reads `file`, and the names of its columns; none where there is no program for it.
pub(super) fn start(file: &File) -> Result<Option<(Child, Vec<String>)>, ManifestError> {
    let Some(mut command) = crate::child::command(CHILD_COMMAND).filter(|_| cfg!(unix)) else { return Ok(None) };
    command.stdin(file.try_clone()?).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = command.spawn()?;
    let output = process.stdout.take().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
    let mut child = Child { process, lines: BufReader::new(output), line: Vec::new() };
    let names = serde_json::from_value(child.read()?).map_err(|_| broken("its columns cannot be read"))?;
    Ok(Some((child, names)))
}

impl Child {
    pub(super) fn next(&mut self) -> Result<Option<JsonRow>, ManifestError> {
        Ok(match self.read()? {
            Value::Null => None,
            Value::Object(row) => Some(Ok(row)),
            fault => Some(Err(told(&fault))),
        })
    }

    /// The next line, where it is not the child's last word that the file cannot be read.
    fn read(&mut self) -> Result<Value, ManifestError> {
        self.line.clear();
        self.lines.by_ref().take(LINE_BYTES).read_until(b'\n', &mut self.line)?;
        // A line that does not end is no line: it is too long, or the child died over it.
        let line = self.line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice(line).ok());
        match line {
            Some(Value::String(detail)) => Err(broken(detail)),
            Some(line) => Ok(line),
            None => Err(broken("reading it takes too much memory or time, or a part of it is broken")),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What is wrong with a row, as the child wrote it.
fn told(fault: &Value) -> super::Fault {
    /// What rows of Parquet can have wrong.
    const CAUSES: [&str; 3] = ["bad value", "not UTF-8", "row too long"];
    let [cause, detail] = [0, 1].map(|at| fault.get(at).and_then(Value::as_str).unwrap_or_default());
    let cause = CAUSES.into_iter().find(|known| *known == cause).unwrap_or(CAUSES[0]);
    (cause, detail.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn faults_come_as_they_were_written() {
        for fault in [super::super::too_long(), super::super::bad_value("x".into()), ("not UTF-8", String::new())] {
            assert_eq!(told(&serde_json::to_value(&fault).unwrap()), fault);
        }
        assert_eq!(told(&json!(["lost", 1])), ("bad value", String::new()));
        assert_eq!(told(&json!(7)).0, "bad value");
    }
}
