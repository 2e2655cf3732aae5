//! A navigable small world graph (HNSW, Malkov and Yashunin, arXiv:1603.09320) frozen into flat arrays.
//! hnsw_rs builds it and is then thrown away: searching its heap of locked points takes 3.5 KB a vector and can
//! panic under a filter, these arrays take 110 bytes a row with 16 connections and cannot. [`build`](super::build) makes them.

use super::kernel::similarity;
use super::rows::{Bits, Rows};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Edges of one layer, in compressed rows: those of member `i` are `edges[starts[i]..starts[i + 1]]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Layer {
    /// Positions that are on this layer, ascending; empty on the bottom layer, where every row is.
    pub(super) members: Vec<u32>,
    pub(super) starts: Vec<u32>,
    /// Positions of neighbours.
    pub(super) edges: Vec<u32>,
}

impl Layer {
    fn neighbours(&self, position: u32) -> &[u32] {
        let member = if self.members.is_empty() {
            position as usize
        } else {
            match self.members.binary_search(&position) {
                Ok(member) => member,
                Err(_) => return &[],
            }
        };
        let (start, end) = (self.starts[member], self.starts[member + 1]);
        &self.edges[start as usize..end as usize]
    }

    /// Appends the edges of the next member.
    pub(super) fn push(&mut self, edges: impl IntoIterator<Item = u32>) {
        if self.starts.is_empty() {
            self.starts.push(0);
        }
        self.edges.extend(edges);
        self.starts.push(self.edges.len() as u32);
    }

    /// True when every number points where there is something; `rows` is how many rows there are.
    fn is_sound(&self, rows: usize, bottom: bool) -> bool {
        let members = if bottom { rows } else { self.members.len() };
        self.members.is_empty() == (bottom || members == 0)
            && self.members.is_sorted()
            && self.starts.len() == members + 1
            && self.starts.is_sorted()
            && self.starts.first() == Some(&0)
            && self.starts.last().map(|last| *last as usize) == Some(self.edges.len())
            && self.members.iter().chain(&self.edges).all(|to| (*to as usize) < rows)
    }
}

/// Layers, the bottom one first, and where a search enters the top.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Graph {
    pub(super) layers: Vec<Layer>,
    pub(super) entry: u32,
}

/// A row and how near it is to the query; the nearer is the greater, of equals the one with the lower position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Near {
    pub(super) score: f32,
    pub(super) position: u32,
}

impl Eq for Near {}

impl Ord for Near {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.total_cmp(&other.score);
        by_score.then(other.position.cmp(&self.position))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Graph {
    /// True when no search can step outside of the arrays.
    pub(super) fn is_sound(&self, rows: usize) -> bool {
        let layers = &self.layers;
        (self.entry as usize) < rows
            && !layers.is_empty()
            && (layers.iter().enumerate()).all(|(i, layer)| layer.is_sound(rows, i == 0))
    }

    pub(super) fn bytes(&self) -> usize {
        let count = |layer: &Layer| layer.members.len() + layer.starts.len() + layer.edges.len();
        self.layers.iter().map(count).sum::<usize>() * size_of::<u32>()
    }

    /// The `ef` accepted rows nearest to `query` that a walk finds, in no order. Rows that are not accepted are
    /// walked through, so a narrow filter makes the walk longer: `None` when it looked at more than `budget` rows.
    pub(super) fn search(
        &self,
        rows: &Rows,
        query: &[f32],
        ef: usize,
        budget: usize,
        mut accept: impl FnMut(usize) -> bool,
    ) -> Option<Vec<Near>> {
        let near = |position: u32| Near { score: similarity(query, rows.vector(position as usize)), position };
        let start = self.descend(near);
        let mut seen = Bits::sized(rows.len());
        seen.insert(start.position as usize);
        let mut open = BinaryHeap::from([start]);
        let mut found: BinaryHeap<Reverse<Near>> = BinaryHeap::with_capacity(ef + 1);
        if accept(start.position as usize) {
            found.push(Reverse(start));
        }
        while let Some(next) = open.pop() {
            let worst = |found: &BinaryHeap<Reverse<Near>>| {
                let full = found.len() >= ef;
                full.then(|| found.peek().map(|worst| worst.0)).flatten()
            };
            if worst(&found).is_some_and(|worst| next < worst) {
                break;
            }
            for &position in self.layers[0].neighbours(next.position) {
                if !seen.insert(position as usize) {
                    continue;
                }
                let candidate = near(position);
                if worst(&found).is_some_and(|worst| candidate < worst) {
                    continue;
                }
                open.push(candidate);
                if accept(position as usize) {
                    found.push(Reverse(candidate));
                    if found.len() > ef {
                        found.pop();
                    }
                }
            }
            if seen.count() > budget {
                return None;
            }
        }
        Some(found.into_iter().map(|near| near.0).collect())
    }

    /// From the entry down to the bottom layer, on each to the nearest row that greedy steps reach.
    fn descend(&self, near: impl Fn(u32) -> Near) -> Near {
        let mut here = near(self.entry);
        for layer in self.layers.iter().skip(1).rev() {
            loop {
                let neighbours = layer.neighbours(here.position).iter();
                match neighbours.map(|to| near(*to)).max() {
                    Some(best) if best > here => here = best,
                    _ => break,
                }
            }
        }
        here
    }

    /// Rows that a walk over the bottom layer cannot reach, or does not find when it looks for just them.
    /// Only rows with few edges towards them are looked for: the others have too many ways in to be lost.
    pub(super) fn lost(&self, rows: &Rows, ef: usize) -> Vec<usize> {
        const FEW: u32 = 2;
        let bottom = &self.layers[0];
        let mut ways_in = vec![0u32; rows.len()];
        for to in &bottom.edges {
            ways_in[*to as usize] += 1;
        }
        let mut reached = Bits::sized(rows.len());
        reached.insert(self.entry as usize);
        let mut open = vec![self.entry];
        while let Some(position) = open.pop() {
            let neighbours = bottom.neighbours(position).iter();
            open.extend(neighbours.filter(|to| reached.insert(**to as usize)));
        }
        let is_lost = |position: &usize| {
            !reached.contains(*position) || ways_in[*position] <= FEW && !self.finds(rows, *position, ef)
        };
        (0..rows.len()).filter(is_lost).collect()
    }

    fn finds(&self, rows: &Rows, position: usize, ef: usize) -> bool {
        self.search(rows, rows.vector(position), ef, usize::MAX, |_| true)
            .is_some_and(|found| found.iter().any(|near| near.position as usize == position))
    }
}
