//! Merging parts and building their graph, in one background thread at a time.
//!
//! Sealed segments come first, each at least [`STEP`] times as large as all behind it together, as far as memory for builds
//! allows: few to search, and a row is inserted once for each step of the way. What the tail gathers is sealed when a search would notice the scan of it.

use super::IndexConfig;
use super::carry::Base;
use super::grow;
use super::rows::{Body, Part, Rows};
use super::segment::{self, Merged, Segment};
use super::state::State;
use half::f16;
use std::fs::File;
use std::io::BufWriter;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// How many times as large a segment is as all after it. A merge carries the larger graph over, so what it costs is inserting
/// the smaller; with 3 instead of 8 there were more segments to search, and building took as long.
const STEP: usize = 8;
/// A part is built anew when one in this many of its rows is dead: they take memory, and time of every search.
const DEAD: usize = 10;

/// What a build made.
pub(super) struct Built {
    /// Rows under a graph, unless they are few.
    pub(super) sealed: Option<Segment>,
    /// Rows that are scanned.
    pub(super) open: Rows,
}

/// Rows that a build takes at most, and so a segment has.
fn most(config: &IndexConfig) -> usize {
    // Of a row: its code, its edges, where it is from, where it was.
    let code = config.dimension.next_multiple_of(super::kernel::int8::LANES);
    let row = code + 2 * config.connections * size_of::<u32>() + 40;
    (config.build_memory / row).max(config.exact_rows)
}

/// Rows that the last part takes before another is opened, so that a build need not take more than it may.
pub(super) fn tail(config: &IndexConfig) -> usize {
    (most(config) / 4).max(config.exact_rows / 2)
}

/// A build that is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Due {
    /// The parts it merges.
    pub(super) parts: Range<usize>,
    /// With fewer rows there will be no graph: they are scanned faster than walked, or not worth one of their own.
    pub(super) least: usize,
}

/// What should be merged; `None` when nothing should.
pub(super) fn due(state: &State, config: &IndexConfig) -> Option<Due> {
    if !state.may_build() {
        return None;
    }
    let parts = &state.parts;
    let most = most(config);
    // Rows that the graph did not find are dead in it and live in the part behind it; a build would lose them again. A part
    // that is larger than may be built, by an earlier setting, waits until what lives of it fits.
    let dead = |at: usize| {
        let part = &parts[at];
        let strays = parts.get(at + 1).filter(|next| next.stray).map_or(0, Part::len);
        let dead = part.dead.count().saturating_sub(strays);
        dead > (config.exact_rows / 4).max(part.live() / DEAD) && part.live() <= most
    };
    let open = |part: &Part| matches!(part.body, Body::Open(_)) && !part.stray;
    let scanned: usize = parts.iter().filter(|part| open(part)).map(Part::len).sum();
    let first_open = parts.iter().position(open).unwrap_or(parts.len());
    let too_much_to_scan = state.live_rows() >= config.exact_rows && scanned > config.exact_rows / 2;
    let mut from = (0..parts.len()).find(|at| dead(*at));
    if too_much_to_scan {
        from = Some(from.map_or(first_open, |from| from.min(first_open)));
    }
    let mut from = from?;
    // As many as may be, and of those in front whatever is not much larger than what it is merged with.
    let live = |parts: &[Part]| parts.iter().map(Part::live).sum::<usize>();
    let mut end = from + 1;
    while end < parts.len() && live(&parts[from..=end]) <= most {
        end += 1;
    }
    while from > 0 && parts[from - 1].live() < STEP * live(&parts[from..end]) && live(&parts[from - 1..end]) <= most {
        from -= 1;
    }
    let left_open = parts[..from].iter().chain(&parts[end..]).any(|part| open(part) && part.len() > 0);
    let least = if live(&parts[from..end]) == state.live_rows() {
        config.exact_rows
    } else if left_open && too_much_to_scan {
        // Left open, they would be due again at once.
        1
    } else {
        config.exact_rows / 2
    };
    Some(Due { parts: from..end, least })
}

/// Everything live in `parts`, under one graph where it is at least so many rows; in the file `path`, or in memory without
/// one. `None` when told to stop, after a panic, or when the disk fails.
pub(super) fn build(
    parts: &[Part],
    least: usize,
    config: &IndexConfig,
    path: Option<&Path>,
    stop: &AtomicBool,
) -> Option<Built> {
    let rows = Merged::new(parts);
    if rows.len() < least.max(1) {
        return Some(Built { sealed: None, open: opened(&rows, config, 0..rows.len()) });
    }
    let started = std::time::Instant::now();
    // A panic of a thread must cost the graph, not the index.
    let base = base(parts, &rows);
    let grown = catch_unwind(AssertUnwindSafe(|| grow::grow(&rows, base.as_ref(), config, stop)));
    let Ok(grown) = grown else {
        tracing::error!(rows = rows.len(), "building the graph panicked; rows are scanned instead");
        return None;
    };
    let grown = grown?;
    let lost = grown.graph().lost(rows.len(), config.ef_search);
    let sealed = match seal(&rows, grown, config, path) {
        Ok(sealed) => sealed,
        Err(error) => {
            tracing::error!(error, ?path, "a segment could not be written; its rows are scanned instead");
            return None;
        }
    };
    tracing::info!(rows = rows.len(), lost = lost.len(), seconds = started.elapsed().as_secs_f32(), "segment sealed");
    Some(Built { sealed: Some(sealed), open: opened(&rows, config, lost) })
}

/// The largest graph of the parts, unless most of its rows are dead.
fn base<'a>(parts: &'a [Part], rows: &Merged<'_>) -> Option<Base<'a>> {
    let sealed = parts.iter().enumerate().filter(|(_, part)| part.segment().is_some() && 2 * part.live() > part.len());
    let (at, part) = sealed.max_by_key(|(_, part)| part.live())?;
    Some(Base { graph: part.segment()?.graph(), moved: rows.moved(at) })
}

/// The rows at some positions, to be scanned.
fn opened(rows: &Merged<'_>, config: &IndexConfig, positions: impl IntoIterator<Item = usize>) -> Rows {
    let mut by_id: Vec<usize> = positions.into_iter().collect();
    by_id.sort_unstable_by_key(|position| rows.id(*position));
    let mut open = Rows::new(config.dimension);
    let mut buffer: Vec<f16> = Vec::new();
    for position in by_id {
        open.push(rows.id(position), rows.owner(position), rows.vector(position, &mut buffer));
    }
    open
}

fn seal(rows: &Merged<'_>, grown: grow::Grown, config: &IndexConfig, path: Option<&Path>) -> Result<Segment, String> {
    let Some(path) = path else {
        let mut bytes = Vec::new();
        segment::write(&mut bytes, &config.model_version, config.dimension, rows, &grown).map_err(|e| e.to_string())?;
        return Segment::held(&bytes);
    };
    let write = || {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        segment::write(&mut out, &config.model_version, config.dimension, rows, &grown)?;
        // Before as much is read to be checked.
        drop(grown);
        out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        Segment::open(path, config.vectors_on_disk)
    };
    write().map_err(|error: std::io::Error| error.to_string())?
}
