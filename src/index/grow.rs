//! Building the graph: HNSW (arXiv:1603.09320) over codes, in rounds.
//! A round's rows all look for their neighbours in the graph as it was before it, on as many threads as there are; then
//! their edges go in, and each row that got more than fit chooses among them once. Nothing is locked, and the graph is the
//! same for any number of threads (Dobson et al., "Scaling graph-based ANNS algorithms to billion-size datasets", 2023).
//! Rows of a round do not see one another, so they come in a shuffled order: neighbours in the catalog are alike.
//!
//! Where most rows come from one segment, its graph is where it begins: the rows that died are taken out of it
//! ([`carry`](super::carry)), and only the others are inserted.
//!
//! Of 50,000 rows of 256 values this inserts 4,750 a second and thread, hnsw_rs, which built before and is what tests
//! compare with, 750 (f32 through a pointer and a lock a row), hnswlib 4,200. As many edges as a layer holds are chosen for
//! a new row, as hnsw_rs does; with half of them, as the paper has it, 8,200 a second were inserted, and recall at 128
//! candidates was 0.955 instead of 0.976.

use super::IndexConfig;
use super::carry::Base;
use super::codes::{Codes, Encoded};
use super::graph::{Graph, Layer};
use super::rows::Bits;
use super::segment::Merged;
use super::walk::{self, Adjacency, Effort, Near};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};

/// Layers at most: with 16 connections the 8th is first reached by 4 thousand million rows.
const MAX_LAYERS: usize = 16;
/// A round has at most one row in this many of those that are in: more would miss too many neighbours among themselves.
/// Nor has it more than were inserted before: rows that come after a graph was carried over may be alike, and unlike those
/// that are in.
const ROUND: usize = 50;
/// Fewer rows are not worth a thread.
pub(super) const SHARED: usize = 32;

/// A layer that still grows: room for `most` edges a member.
struct Open {
    /// Positions that are on this layer, ascending; empty on the bottom layer, where every row is.
    members: Vec<u32>,
    most: usize,
    counts: Vec<u8>,
    edges: Vec<u32>,
}

impl Adjacency for Open {
    fn neighbours(&self, position: u32) -> &[u32] {
        let member = self.member(position);
        &self.edges[member * self.most..member * self.most + usize::from(self.counts[member])]
    }
}

impl Open {
    fn new(members: Vec<u32>, rows: usize, most: usize) -> Self {
        let room = if members.is_empty() { rows } else { members.len() };
        Self { members, most, counts: vec![0; room], edges: vec![0; room * most] }
    }

    fn member(&self, position: u32) -> usize {
        if self.members.is_empty() {
            return position as usize;
        }
        self.members.partition_point(|member| *member < position)
    }

    /// The first `most` of `to` become the neighbours.
    fn set(&mut self, position: u32, to: &[u32]) {
        let member = self.member(position);
        let to = &to[..to.len().min(self.most)];
        self.counts[member] = to.len() as u8;
        self.edges[member * self.most..member * self.most + to.len()].copy_from_slice(to);
    }

    /// Moves the edges together, where they are: a copy would be the most memory that a build takes.
    fn frozen(mut self) -> Edges {
        let mut starts = Vec::with_capacity(self.counts.len() + 1);
        let mut end = 0;
        for (member, count) in self.counts.iter().enumerate() {
            starts.push(end as u32);
            let start = member * self.most;
            self.edges.copy_within(start..start + usize::from(*count), end);
            end += usize::from(*count);
        }
        starts.push(end as u32);
        self.edges.truncate(end);
        self.edges.shrink_to_fit();
        Edges { members: self.members, starts, edges: self.edges }
    }
}

/// What a [`Layer`] lies in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Edges {
    pub(super) members: Vec<u32>,
    pub(super) starts: Vec<u32>,
    pub(super) edges: Vec<u32>,
}

/// What a [`Graph`] lies in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Grown {
    /// The bottom one first.
    pub(super) layers: Vec<Edges>,
    pub(super) entry: u32,
    pub(super) encoded: Encoded,
}

impl Grown {
    pub(super) fn graph(&self) -> Graph<'_> {
        let layers = self.layers.iter();
        let layers = layers.map(|Edges { members, starts, edges }| Layer { members, starts, edges });
        Graph { layers: layers.collect(), entry: self.entry, codes: self.encoded.codes() }
    }
}

/// The graph over `rows`, begun with that of some of them where there is one; `None` when told to stop. There is at least
/// one row.
pub(super) fn grow(
    rows: &Merged<'_>,
    base: Option<&Base<'_>>,
    config: &IndexConfig,
    stop: &AtomicBool,
) -> Option<Grown> {
    let encoded = Encoded::new(rows, config.dimension);
    let codes = encoded.codes();
    let connections = config.connections.clamp(2, 64);
    let mut rng = Pcg64::seed_from_u64(0);
    let mut levels = levels(rows.len(), connections, &mut rng);
    let mut carried = Bits::sized(rows.len());
    if let Some(base) = base {
        base.set_levels(&mut levels, &mut carried);
    }
    let mut order: Vec<u32> = (0..rows.len() as u32).filter(|position| !carried.contains(*position as usize)).collect();
    order.shuffle(&mut rng);
    let top = levels.iter().copied().max().unwrap_or(0);
    let mut layers: Vec<Open> = (0..=top)
        .map(|layer| match layer {
            0 => Open::new(Vec::new(), rows.len(), 2 * connections),
            _ => {
                let on = (0..rows.len() as u32).filter(|position| levels[*position as usize] >= layer);
                Open::new(on.collect(), rows.len(), connections)
            }
        })
        .collect();
    if let Some(base) = base {
        for (at, layer) in layers.iter_mut().enumerate() {
            let most = layer.most;
            base.carry(&codes, at, most, (config.build_threads, stop), |position, to| layer.set(position, to))?;
        }
    }
    let mut entry = base.and_then(|base| base.entry(&levels)).unwrap_or_else(|| order[0]);
    let mut done = usize::from(carried.count() == 0);
    while done < order.len() {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        let most = ((carried.count() + done) / ROUND).min(done).max(1);
        let round = &order[done..(done + most).min(order.len())];
        let grown = Growing { codes: &codes, layers: &layers, levels: &levels, entry };
        let chosen =
            shared(config.build_threads, round, SHARED, |position| grown.choose(*position, connections, config));
        for layer in (0..layers.len()).rev() {
            connect(&codes, &mut layers[layer], layer, round, &chosen, config.build_threads);
        }
        for position in round {
            if levels[*position as usize] > levels[entry as usize] {
                entry = *position;
            }
        }
        done += round.len();
    }
    Some(Grown { layers: layers.into_iter().map(Open::frozen).collect(), entry, encoded })
}

/// The layer each row reaches: a share of 1 in `connections` of those of the layer below.
fn levels(rows: usize, connections: usize, rng: &mut Pcg64) -> Vec<u8> {
    let scale = 1.0 / (connections as f64).ln();
    (0..rows).map(|_| (-(1.0 - rng.random::<f64>()).ln() * scale).min(MAX_LAYERS as f64 - 1.0) as u8).collect()
}

/// The graph as a round finds it.
struct Growing<'a> {
    codes: &'a Codes<'a>,
    layers: &'a [Open],
    levels: &'a [u8],
    entry: u32,
}

impl Growing<'_> {
    /// Neighbours of a new row on each of its layers, the bottom one first.
    fn choose(&self, position: u32, connections: usize, config: &IndexConfig) -> Vec<Vec<u32>> {
        let query = self.codes.row(position);
        let (own, top) = (self.levels[position as usize], self.levels[self.entry as usize]);
        let mut starts = vec![walk::near(self.codes, query, self.entry)];
        let mut chosen = vec![Vec::new(); usize::from(own) + 1];
        for layer in (0..=usize::from(top)).rev() {
            let edges = &self.layers[layer];
            if layer > usize::from(own) {
                starts[0] = walk::greedy(self.codes, query, starts[0], edges);
                continue;
            }
            let ef = config.ef_construction.max(connections);
            let found = walk::beam(self.codes, query, &starts, Effort::all(ef), edges, |_| true);
            starts = found.unwrap_or(starts);
            chosen[layer] = select(self.codes, position, &starts, edges.most);
        }
        chosen
    }
}

/// Of candidates, nearest first, those that are nearer to the row than to any chosen before (algorithm 4 of the paper). Of
/// rows with the very code of this one only one is chosen, and does not keep the others out: they are all as near to it.
pub(super) fn select(codes: &Codes<'_>, of: u32, candidates: &[Near], most: usize) -> Vec<u32> {
    let own = walk::near(codes, codes.row(of), of).score();
    let mut chosen: Vec<u32> = Vec::with_capacity(most);
    let mut scores = Vec::with_capacity(most);
    for candidate in candidates {
        codes.dots(codes.row(candidate.position()), &chosen, &mut scores);
        let near = candidate.score();
        if scores.iter().all(|score| *score < near || *score == near && near != own) {
            chosen.push(candidate.position());
            if chosen.len() == most {
                break;
            }
        }
    }
    chosen
}

/// Rows by how near they are to one.
pub(super) fn nearest_first(codes: &Codes<'_>, to: u32, rows: &[u32]) -> Vec<Near> {
    let mut scores = Vec::new();
    codes.dots(codes.row(to), rows, &mut scores);
    let mut near: Vec<Near> = rows.iter().zip(scores).map(|(at, score)| Near::new(score, *at)).collect();
    near.sort_unstable_by(|a, b| b.cmp(a));
    near
}

/// Puts the edges of a round into one layer, both ways.
fn connect(codes: &Codes<'_>, layer: &mut Open, at: usize, round: &[u32], chosen: &[Vec<Vec<u32>>], threads: usize) {
    let mut back: Vec<(u32, u32)> = Vec::new();
    for (position, chosen) in round.iter().zip(chosen) {
        if let Some(to) = chosen.get(at) {
            layer.set(*position, to);
            back.extend(to.iter().map(|to| (*to, *position)));
        }
    }
    back.sort_unstable();
    let groups: Vec<&[(u32, u32)]> = back.chunk_by(|a, b| a.0 == b.0).collect();
    let held = &*layer;
    let merged = shared(threads, &groups, SHARED, |group| {
        let to = group[0].0;
        let mut all: Vec<u32> = held.neighbours(to).to_vec();
        all.extend(group.iter().map(|(_, from)| *from));
        if all.len() <= held.most {
            return all;
        }
        select(codes, to, &nearest_first(codes, to, &all), held.most)
    });
    for (group, to) in groups.iter().zip(merged) {
        layer.set(group[0].0, &to);
    }
}

/// What `work` makes of each item, in their order, on up to `threads` threads; on this one for fewer than `least` items.
pub(super) fn shared<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    least: usize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    if threads < 2 || items.len() < least {
        return items.iter().map(work).collect();
    }
    let work = &work;
    std::thread::scope(|scope| {
        let parts = items.chunks(items.len().div_ceil(threads));
        let running: Vec<_> =
            parts.map(|part| scope.spawn(move || part.iter().map(work).collect::<Vec<R>>())).collect();
        let done = running.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        done.collect()
    })
}
