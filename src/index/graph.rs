//! A navigable small world graph (HNSW, Malkov and Yashunin, arXiv:1603.09320) frozen into flat arrays.
//! hnsw_rs builds it and is then thrown away: searching its heap of locked points takes 3.5 KB a vector and can
//! panic under a filter, these arrays take 140 bytes a row with 16 connections and cannot. Walks compare codes. [`build`](super::build) makes them.

use super::codes::{Codes, Query};
use super::rows::{Bits, Rows};
use super::visited::Visited;
use std::cell::RefCell;
use std::cmp::Reverse;
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

/// Layers, the bottom one first, where a search enters the top, and what rows are compared by.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Graph {
    pub(super) layers: Vec<Layer>,
    pub(super) entry: u32,
    codes: Codes,
}

/// A row and how near it is to the query: the score in the upper half, and in the lower what makes of two equals the one
/// with the lower position the greater. One comparison orders it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Near(u64);

impl Near {
    fn new(score: i32, position: u32) -> Self {
        let ordered = (score as u32) ^ 0x8000_0000;
        Self(u64::from(ordered) << 32 | u64::from(!position))
    }

    fn position(self) -> u32 {
        !(self.0 as u32)
    }
}

/// What a walk needs, kept by each thread from one to the next.
#[derive(Default)]
struct Scratch {
    seen: Visited,
    open: BinaryHeap<Near>,
    found: BinaryHeap<Reverse<Near>>,
    fresh: Vec<u32>,
    scores: Vec<i32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Graph {
    /// A graph over `rows`.
    pub(super) fn new(layers: Vec<Layer>, entry: u32, rows: &Rows) -> Self {
        Self { layers, entry, codes: Codes::new(rows) }
    }

    /// True when no search can step outside of the arrays.
    pub(super) fn is_sound(&self, rows: usize) -> bool {
        let layers = &self.layers;
        (self.entry as usize) < rows
            && !layers.is_empty()
            && (layers.iter().enumerate()).all(|(i, layer)| layer.is_sound(rows, i == 0))
    }

    pub(super) fn bytes(&self) -> usize {
        let count = |layer: &Layer| layer.members.len() + layer.starts.len() + layer.edges.len();
        self.layers.iter().map(count).sum::<usize>() * size_of::<u32>() + self.codes.bytes()
    }

    /// Positions of the `ef` accepted rows nearest to `query` that a walk finds, nearest by their codes first. Rows that
    /// are not accepted are walked through, so a narrow filter makes the walk longer: `None` when it looked at more than
    /// `budget` rows.
    pub(super) fn search(
        &self,
        query: &[f32],
        ef: usize,
        budget: usize,
        accept: impl FnMut(usize) -> bool,
    ) -> Option<Vec<u32>> {
        self.walk(&self.codes.query(query), ef, budget, accept)
    }

    fn walk(&self, query: &Query, ef: usize, budget: usize, mut accept: impl FnMut(usize) -> bool) -> Option<Vec<u32>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let start = self.descend(query, scratch);
            let Scratch { seen, open, found, fresh, scores } = scratch;
            seen.clear();
            open.clear();
            found.clear();
            seen.insert(start.position());
            open.push(start);
            if accept(start.position() as usize) {
                found.push(Reverse(start));
            }
            // Nothing as far as this is of use any more; everything is while fewer than `ef` are found.
            let mut worst = Near(0);
            while let Some(next) = open.pop() {
                if next < worst {
                    break;
                }
                fresh.clear();
                let neighbours = self.layers[0].neighbours(next.position()).iter();
                fresh.extend(neighbours.copied().filter(|position| seen.insert(*position)));
                self.codes.dots(query, fresh, scores);
                for (&position, &score) in fresh.iter().zip(scores.iter()) {
                    let candidate = Near::new(score, position);
                    if candidate < worst {
                        continue;
                    }
                    open.push(candidate);
                    if accept(position as usize) {
                        found.push(Reverse(candidate));
                        if found.len() > ef {
                            found.pop();
                        }
                        if found.len() == ef {
                            worst = found.peek().map_or(worst, |least| least.0);
                        }
                    }
                }
                if seen.len() > budget {
                    return None;
                }
            }
            let mut nearest: Vec<Near> = found.drain().map(|near| near.0).collect();
            nearest.sort_unstable_by(|a, b| b.cmp(a));
            Some(nearest.into_iter().map(Near::position).collect())
        })
    }

    /// From the entry down to the bottom layer, on each to the nearest row that greedy steps reach.
    fn descend(&self, query: &Query, Scratch { scores, .. }: &mut Scratch) -> Near {
        self.codes.dots(query, &[self.entry], scores);
        let mut here = Near::new(scores[0], self.entry);
        for layer in self.layers.iter().skip(1).rev() {
            loop {
                let neighbours = layer.neighbours(here.position());
                self.codes.dots(query, neighbours, scores);
                let nearest = neighbours.iter().zip(scores.iter()).map(|(to, score)| Near::new(*score, *to)).max();
                match nearest {
                    Some(best) if best > here => here = best,
                    _ => break,
                }
            }
        }
        here
    }

    /// Rows that a walk over the bottom layer cannot reach, or does not find when it looks for just them.
    /// Only rows with few edges towards them are looked for: the others have too many ways in to be lost.
    pub(super) fn lost(&self, rows: usize, ef: usize) -> Vec<usize> {
        const FEW: u32 = 2;
        let bottom = &self.layers[0];
        let mut ways_in = vec![0u32; rows];
        for to in &bottom.edges {
            ways_in[*to as usize] += 1;
        }
        let mut reached = Bits::sized(rows);
        reached.insert(self.entry as usize);
        let mut open = vec![self.entry];
        while let Some(position) = open.pop() {
            let neighbours = bottom.neighbours(position).iter();
            open.extend(neighbours.filter(|to| reached.insert(**to as usize)));
        }
        let is_lost =
            |position: &usize| !reached.contains(*position) || ways_in[*position] <= FEW && !self.finds(*position, ef);
        (0..rows).filter(is_lost).collect()
    }

    fn finds(&self, position: usize, ef: usize) -> bool {
        self.walk(&self.codes.row(position), ef, usize::MAX, |_| true)
            .is_some_and(|found| found.contains(&(position as u32)))
    }
}
