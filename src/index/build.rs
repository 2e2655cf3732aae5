//! Merging parts and building their graph, in one background thread at a time: the only code that touches hnsw_rs.
//! What it is spared: more than 256 connections (it ends the process), values that are not finite (it panics), its
//! own files (they are read without a check), and parallel insertion (rows get lost, and no two graphs are alike).
//! One thread inserts, in order, with hnsw_rs's fixed seed: the same rows give the same graph.

use super::IndexConfig;
use super::graph::{Graph, Layer};
use super::rows::{Part, RowId, Rows};
use super::state::State;
use hnsw_rs::prelude::{DistL2, Hnsw, Point};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// hnsw_rs's own limit of layers; with 16 connections the 8th is first reached by 4 thousand million rows.
const MAX_LAYERS: usize = 16;

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

/// Everything live in `parts` as one part. `None` when told to stop, or when hnsw_rs panicked.
pub(super) fn build(parts: &[Part], dimension: usize, config: &IndexConfig, stop: &AtomicBool) -> Option<Built> {
    let rows = merged(parts, dimension);
    let mut lost = Rows::new(dimension);
    if rows.len() < config.exact_rows {
        return Some((rows, None, lost));
    }
    let started = std::time::Instant::now();
    // hnsw_rs asserts here and there; a panic must cost the graph, not the index.
    let graph = catch_unwind(AssertUnwindSafe(|| grow(&rows, config, stop)));
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

fn grow(rows: &Rows, config: &IndexConfig, stop: &AtomicBool) -> Option<Graph> {
    // L2 orders unit vectors as the dot product does; hnsw_rs's DistDot asserts that it is never above 1.
    let hnsw: Hnsw<'_, f32, DistL2> = Hnsw::new(
        config.connections.clamp(2, 64),
        rows.len(),
        MAX_LAYERS,
        config.ef_construction.max(config.connections),
        DistL2,
    );
    for (position, vector) in rows.vectors().enumerate() {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        hnsw.insert_slice((vector, position));
    }
    let (layers, entry) = freeze(&hnsw, rows.len());
    Some(Graph::new(layers, entry, rows))
}

/// The edges of a built graph, as flat arrays, and its entry.
fn freeze(hnsw: &Hnsw<'_, f32, DistL2>, rows: usize) -> (Vec<Layer>, u32) {
    let mut points: Vec<Option<Arc<Point<'_, f32>>>> = vec![None; rows];
    for point in hnsw.get_point_indexation() {
        let position = point.get_origin_id();
        points[position] = Some(point);
    }
    let levels: Vec<u8> = points.iter().map(|point| point.as_ref().map_or(0, |point| point.get_point_id().0)).collect();
    let top = levels.iter().copied().max().unwrap_or(0);
    // hnsw_rs enters at the first row that reached the top.
    let entry = levels.iter().position(|level| *level == top).unwrap_or(0);
    let mut layers = vec![Layer::default(); usize::from(top) + 1];
    for (position, point) in points.iter().enumerate() {
        let edges = point.as_ref().map(|point| point.get_neighborhood_id());
        for (l, layer) in layers.iter_mut().enumerate() {
            if usize::from(levels[position]) < l {
                break;
            }
            if l > 0 {
                layer.members.push(position as u32);
            }
            let neighbours = edges.as_ref().and_then(|edges| edges.get(l));
            let to = neighbours.into_iter().flatten().map(|to| to.get_origin_id());
            // Above its level hnsw_rs keeps edges for its own use; a walk must stay on its layer.
            layer.push(to.filter(|to| usize::from(levels[*to]) >= l).map(|to| to as u32));
        }
    }
    (layers, entry as u32)
}
