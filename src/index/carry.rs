//! A segment's graph carried over into the one that takes its place: rows that died are taken out, all others keep their
//! layers and edges. A row that led to a dead one gets, of what the dead one led to, what it would have chosen itself
//! (Singh et al., "FreshDiskANN", arXiv:2105.09613, algorithm 4). Where none died it costs nearly
//! nothing.

use super::codes::Codes;
use super::graph::{Graph, Layer};
use super::grow::{SHARED, nearest_first, select, shared};
use super::rows::Bits;
use super::segment::DROPPED;
use super::walk::Adjacency;
use std::sync::atomic::{AtomicBool, Ordering};

/// Candidates for the edges of a row that lost some, the nearest: three times what it can keep, not tuned.
const CANDIDATES: usize = 96;
/// Rows whose new edges are held beside the graph.
const PIECE: usize = 1 << 13;

/// A graph over some of the rows that one is to be grown over.
pub(super) struct Base<'a> {
    pub(super) graph: Graph<'a>,
    /// Where its rows are in the new graph; [`DROPPED`] for those that are not.
    pub(super) moved: Vec<u32>,
}

impl Base<'_> {
    fn members(&self, layer: &Layer<'_>) -> Vec<u32> {
        let all = 0..self.moved.len() as u32;
        let stays = |position: &u32| self.moved[*position as usize] != DROPPED;
        if layer.members.is_empty() {
            return all.filter(stays).collect();
        }
        layer.members.iter().copied().filter(stays).collect()
    }

    /// Notes which rows are in it, and on which layers.
    pub(super) fn set_levels(&self, levels: &mut [u8], carried: &mut Bits) {
        for (at, layer) in self.graph.layers.iter().enumerate() {
            for position in self.members(layer) {
                let position = self.moved[position as usize] as usize;
                levels[position] = at as u8;
                carried.insert(position);
            }
        }
    }

    /// A row of its highest layer that has one; `None` when all are dropped.
    pub(super) fn entry(&self, levels: &[u8]) -> Option<u32> {
        let stays = self.moved.iter().copied().filter(|position| *position != DROPPED);
        match self.moved[self.graph.entry as usize] {
            DROPPED => stays.max_by_key(|position| (levels[*position as usize], std::cmp::Reverse(*position))),
            entry => Some(entry),
        }
    }

    /// Hands over each row that is on the layer, and its up to `most` neighbours there; `None` when told to stop.
    pub(super) fn carry(
        &self,
        codes: &Codes<'_>,
        layer: usize,
        most: usize,
        (threads, stop): (usize, &AtomicBool),
        mut set: impl FnMut(u32, &[u32]),
    ) -> Option<()> {
        let Some(layer) = self.graph.layers.get(layer) else { return Some(()) };
        for piece in self.members(layer).chunks(PIECE) {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            let edges = shared(threads, piece, SHARED, |position| self.edges(codes, layer, *position, most));
            piece.iter().zip(edges).for_each(|(position, to)| set(self.moved[*position as usize], &to));
        }
        Some(())
    }

    fn edges(&self, codes: &Codes<'_>, layer: &Layer<'_>, position: u32, most: usize) -> Vec<u32> {
        let to = layer.neighbours(position);
        let moved = |position: &u32| self.moved[*position as usize];
        let mut edges: Vec<u32> = to.iter().map(moved).filter(|to| *to != DROPPED).collect();
        if edges.len() == to.len() && to.len() <= most {
            return edges;
        }
        let own = moved(&position);
        let dropped = to.iter().filter(|to| moved(to) == DROPPED);
        let beyond = dropped.flat_map(|dropped| layer.neighbours(*dropped)).map(moved);
        edges.extend(beyond.filter(|to| *to != DROPPED && *to != own));
        edges.sort_unstable();
        edges.dedup();
        let mut near = nearest_first(codes, own, &edges);
        near.truncate(CANDIDATES);
        select(codes, own, &near, most)
    }
}
