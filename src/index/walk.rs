//! Steps from row to row toward a query, over the edges of one layer: what searching and building have in common.
//! Malkov and Yashunin, arXiv:1603.09320, algorithm 2; where a search ends by distance, the rule is that of Al-Jazzazi et al.,
//! "Distance adaptive beam search for provably accurate graph-based nearest neighbor search", arXiv:2505.15636.

use super::codes::Codes;
use super::kernel::{self, int8::Block};
use super::visited::Visited;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A row and how near it is to the query: the score in the upper half, and in the lower what makes of two equals the one
/// with the lower position the greater. One comparison orders it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Near(u64);

impl Near {
    pub(super) fn new(score: i32, position: u32) -> Self {
        let ordered = (score as u32) ^ 0x8000_0000;
        Self(u64::from(ordered) << 32 | u64::from(!position))
    }

    pub(super) fn position(self) -> u32 {
        !(self.0 as u32)
    }

    /// Dot product of the codes.
    pub(super) fn score(self) -> i32 {
        ((self.0 >> 32) as u32 ^ 0x8000_0000) as i32
    }
}

/// How far a walk goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// Rows kept, at most: nothing farther than the last of them is walked from.
    pub(super) ef: usize,
    /// Rows wanted.
    pub(super) wanted: usize,
    /// Nothing is walked from whose squared distance from the query is more than this many times that of the last wanted:
    /// what stands apart is found long before `ef` rows are. At least 1.
    pub(super) reach: f32,
    /// Rows looked at, at most.
    pub(super) budget: usize,
}

impl Effort {
    /// As far as `ef` rows go.
    pub(super) fn all(ef: usize) -> Self {
        Self { ef, wanted: ef, reach: f32::INFINITY, budget: usize::MAX }
    }
}

/// What a walk needs, kept by each thread from one to the next.
#[derive(Default)]
struct Scratch {
    seen: Visited,
    open: BinaryHeap<Near>,
    found: BinaryHeap<Reverse<Near>>,
    wanted: BinaryHeap<Reverse<Near>>,
    fresh: Vec<u32>,
    scores: Vec<i32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The edges that walks go along.
pub(super) trait Adjacency {
    /// Positions of a row's neighbours.
    fn neighbours(&self, position: u32) -> &[u32];

    /// A row may be walked from soon: brings into the cache what says where its edges are, without waiting for it.
    fn expect(&self, _position: u32) {}
}

/// How near a row is.
pub(super) fn near(codes: &Codes<'_>, query: &[Block], position: u32) -> Near {
    let mut scores = Vec::with_capacity(1);
    codes.dots(query, &[position], &mut scores);
    Near::new(scores[0], position)
}

/// From `here` to the nearest row that steps to ever nearer neighbours reach.
pub(super) fn greedy(codes: &Codes<'_>, query: &[Block], mut here: Near, edges: &impl Adjacency) -> Near {
    let mut scores = Vec::new();
    loop {
        let around = edges.neighbours(here.position());
        codes.dots(query, around, &mut scores);
        let nearest = around.iter().zip(&scores).map(|(to, score)| Near::new(*score, *to)).max();
        match nearest {
            Some(best) if best > here => here = best,
            _ => return here,
        }
    }
}

/// The worst of `count` and more rows; nothing is worse while there are fewer.
fn last(rows: &BinaryHeap<Reverse<Near>>, count: usize) -> Near {
    match rows.peek() {
        Some(worst) if rows.len() >= count => worst.0,
        _ => Near(0),
    }
}

/// Takes in a row where fewer than `count` are held, or one of them is worse.
fn keep(rows: &mut BinaryHeap<Reverse<Near>>, count: usize, near: Near) {
    if rows.len() < count {
        rows.push(Reverse(near));
    } else if let Some(mut worst) = rows.peek_mut()
        && near > worst.0
    {
        *worst = Reverse(near);
    }
}

/// The accepted rows nearest to `query` that a walk from `starts` finds, nearest first. Rows that are not accepted are
/// walked through, so a narrow filter makes the walk longer: `None` when it looked at more rows than it may.
pub(super) fn beam(
    codes: &Codes<'_>,
    query: &[Block],
    starts: &[Near],
    effort: Effort,
    edges: &impl Adjacency,
    mut accept: impl FnMut(usize) -> bool,
) -> Option<Vec<Near>> {
    let Effort { ef, wanted: count, reach, budget } = effort;
    let is_bounded = reach.is_finite() && count < ef;
    // Vectors are of unit length: squared distances are twice what their products lack of 1.
    let own = codes.unit();
    let beyond = |score: i32| {
        let bound = own - reach * (own - score as f32);
        Near::new((bound as i32).min(score), u32::MAX)
    };
    SCRATCH.with_borrow_mut(|scratch| {
        let Scratch { seen, open, found, wanted, fresh, scores } = scratch;
        seen.clear();
        open.clear();
        found.clear();
        wanted.clear();
        let mut worst = Near(0);
        let mut take = |near: Near, worst: &mut Near| {
            keep(found, ef, near);
            *worst = (*worst).max(last(found, ef));
            if is_bounded && near > last(wanted, count) {
                keep(wanted, count, near);
                if wanted.len() == count {
                    *worst = (*worst).max(beyond(last(wanted, count).score()));
                }
            }
        };
        for start in starts {
            seen.insert(start.position());
            open.push(*start);
            if accept(start.position() as usize) {
                take(*start, &mut worst);
            }
        }
        while let Some(next) = open.pop() {
            if next < worst {
                break;
            }
            fresh.clear();
            // A page table walk and a miss of the cache each: the more of them are under way at once, the better. All of
            // them took a fifth off the walk over 1,000,000 rows that eight at a time, as `dots` has them, left.
            for position in edges.neighbours(next.position()).iter().copied().filter(|position| seen.insert(*position))
            {
                kernel::fetch(codes.row(position));
                edges.expect(position);
                fresh.push(position);
            }
            // Unless a nearer one is found, the next step goes from there.
            if let Some(after) = open.peek() {
                kernel::fetch(edges.neighbours(after.position()));
            }
            codes.dots(query, fresh, scores);
            for (&position, &score) in fresh.iter().zip(scores.iter()) {
                let candidate = Near::new(score, position);
                if candidate < worst {
                    continue;
                }
                // Most likely the next step goes from there.
                if open.peek().is_none_or(|nearest| candidate > *nearest) {
                    kernel::fetch(edges.neighbours(position));
                }
                open.push(candidate);
                if accept(position as usize) {
                    take(candidate, &mut worst);
                }
            }
            if seen.len() > budget {
                return None;
            }
        }
        // What was met before the bound closed in counts as little as what was met after: nearer rows may have been passed by.
        let within = found.drain().map(|near| near.0).filter(|near| *near >= worst);
        let mut nearest: Vec<Near> = within.collect();
        nearest.sort_unstable_by(|a, b| b.cmp(a));
        Some(nearest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::kernel::int8;

    #[test]
    fn nearer_is_greater_and_of_equals_the_lower_position() {
        let order =
            [Near::new(i32::MIN, 0), Near::new(-5, 9), Near::new(-5, 2), Near::new(0, 7), Near::new(i32::MAX, 1)];
        assert!(order.is_sorted());
        assert!(order.iter().all(|near| Near::new(near.score(), near.position()) == *near));
    }

    #[test]
    fn a_walk_by_distance_ends_where_the_wanted_stand_apart() {
        // Points on an arc, each beside the next: twelve together, the others spread, farther and farther.
        let angle = |i: usize| if i < 12 { i as f32 * 0.02 } else { 0.8 + (i - 12) as f32 * 0.01 };
        let code = |angle: f32| {
            let mut block = Block([0; int8::LANES]);
            block.0[..2].copy_from_slice(&[(127.0 * angle.cos()) as i8, (127.0 * angle.sin()) as i8]);
            block
        };
        let blocks: Vec<Block> = (0..200).map(|i| code(angle(i))).collect();
        let codes = Codes::new(127.0, 2, &blocks);
        let edges: Vec<[u32; 4]> = (0..200u32).map(|i| [1, 2, 198, 199].map(|step| (i + step) % 200)).collect();
        let query = [code(0.0)];
        struct Counted<'a>(&'a [[u32; 4]], std::cell::Cell<usize>);
        impl Adjacency for Counted<'_> {
            fn neighbours(&self, position: u32) -> &[u32] {
                self.1.set(self.1.get() + 1);
                &self.0[position as usize]
            }
        }
        let walk = |effort: Effort| {
            let edges = Counted(&edges, std::cell::Cell::default());
            let start = near(&codes, &query, 20);
            let found = beam(&codes, &query, &[start], effort, &edges, |row| row != 3).unwrap_or_default();
            (found, edges.1.get())
        };
        let (all, far) = walk(Effort::all(100));
        let (found, steps) = walk(Effort { wanted: 10, reach: 1.3, ..Effort::all(100) });
        assert_eq!(found[..10], all[..10]);
        assert!(found.len() < all.len() && 2 * steps < far, "{steps} of {far}");
        // Everything as near as the query itself: nothing better can come.
        let (found, _) = walk(Effort { wanted: 1, reach: 1.0, ..Effort::all(100) });
        assert_eq!(found[0], all[0]);
    }
}
