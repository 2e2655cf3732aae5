//! Merging parts and building their graph, in one background thread at a time.

use super::IndexConfig;
use super::graph::Graph;
use super::grow;
use super::rows::{Part, RowId, Rows};
use super::state::State;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;

/// What a build made: rows, their graph unless they are few, and rows that the graph does not find.
pub(super) type Built = (Rows, Option<Graph>, Rows);

/// Whether `state` has too much to scan, or too much that is dead.
pub(super) fn is_due(state: &State, config: &IndexConfig) -> bool {
    if !state.may_build() {
        return false;
    }
    let (mut scanned, mut dead) = (0, 0);
    for part in &state.parts {
        dead += part.dead.count();
        if part.graph.is_none() {
            scanned += part.rows.len();
        }
    }
    let live = state.live_rows();
    let too_much_to_scan = live >= config.exact_rows && scanned > (config.exact_rows / 2).max(live / 10);
    let too_much_dead = dead > (config.exact_rows / 4).max(live / 3);
    too_much_to_scan || too_much_dead
}

/// Everything live in `parts` as one part. `None` when told to stop, or after a panic.
pub(super) fn build(parts: &[Part], dimension: usize, config: &IndexConfig, stop: &AtomicBool) -> Option<Built> {
    let rows = merged(parts, dimension);
    let mut lost = Rows::new(dimension);
    if rows.len() < config.exact_rows {
        return Some((rows, None, lost));
    }
    let started = std::time::Instant::now();
    // A panic of a thread must cost the graph, not the index.
    let graph = catch_unwind(AssertUnwindSafe(|| grow::grow(&rows, config, stop)));
    let Ok(graph) = graph else {
        tracing::error!(rows = rows.len(), "building the graph panicked; rows are scanned instead");
        return None;
    };
    let graph = graph?;
    for position in graph.lost(rows.len(), config.ef_search) {
        lost.push(rows.id(position), rows.owner(position), rows.vector(position));
    }
    tracing::info!(rows = rows.len(), lost = lost.len(), seconds = started.elapsed().as_secs_f32(), "graph built");
    Some((rows, Some(graph), lost))
}

/// Live rows of all parts, in the order of their ids.
pub(super) fn merged(parts: &[Part], dimension: usize) -> Rows {
    let mut order: Vec<(RowId, u32, u32)> = Vec::new();
    for (p, part) in parts.iter().enumerate() {
        let live = (0..part.rows.len()).filter(|position| !part.dead.contains(*position));
        order.extend(live.map(|position| (part.rows.id(position), p as u32, position as u32)));
    }
    order.sort_unstable();
    let mut rows = Rows::new(dimension);
    for (id, part, position) in order {
        let from = &parts[part as usize].rows;
        let position = position as usize;
        rows.push(id, from.owner(position), from.vector(position));
    }
    rows
}
