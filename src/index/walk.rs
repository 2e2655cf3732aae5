//! Steps from row to row toward a query, over the edges of one layer: what searching and building have in common.
//! Malkov and Yashunin, arXiv:1603.09320, algorithm 2.

use super::codes::Codes;
use super::kernel::int8::Block;
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

/// How near a row is.
pub(super) fn near(codes: &Codes<'_>, query: &[Block], position: u32) -> Near {
    let mut scores = Vec::with_capacity(1);
    codes.dots(query, &[position], &mut scores);
    Near::new(scores[0], position)
}

/// From `here` to the nearest row that steps to ever nearer neighbours reach.
pub(super) fn greedy<'a>(
    codes: &Codes<'_>,
    query: &[Block],
    mut here: Near,
    neighbours: impl Fn(u32) -> &'a [u32],
) -> Near {
    let mut scores = Vec::new();
    loop {
        let around = neighbours(here.position());
        codes.dots(query, around, &mut scores);
        let nearest = around.iter().zip(&scores).map(|(to, score)| Near::new(*score, *to)).max();
        match nearest {
            Some(best) if best > here => here = best,
            _ => return here,
        }
    }
}

/// Rows that a walk among the accepted goes on to from one row, before it looks behind no further rejected one. Of 200,000
/// rows with a tenth accepted, 16 find 0.93 of the nearest, 24 0.97, 32 0.985, each in a tenth more time.
const WIDTH: usize = 32;
/// Marks a rejected row whose neighbours were looked at; positions stay below it.
const PASSED: u32 = 1 << 31;

/// The neighbours of a row that were not seen before.
pub(super) fn onward<'a>(neighbours: impl Fn(u32) -> &'a [u32]) -> impl FnMut(u32, &mut Visited, &mut Vec<u32>) {
    move |at, seen, fresh| {
        fresh.extend(neighbours(at).iter().copied().filter(|position| seen.insert(*position)));
    }
}

/// The accepted neighbours of a row that were not seen before, and in the place of a rejected one its own accepted
/// neighbours: no rejected row is scored (Patel et al., "ACORN", arXiv:2403.04871).
pub(super) fn among<'a>(
    neighbours: impl Fn(u32) -> &'a [u32],
    accept: impl Fn(usize) -> bool,
) -> impl FnMut(u32, &mut Visited, &mut Vec<u32>) {
    move |at, seen, fresh| {
        let around = neighbours(at);
        fresh.extend(around.iter().copied().filter(|to| accept(*to as usize) && seen.insert(*to)));
        for rejected in around.iter().filter(|to| !accept(**to as usize)) {
            if fresh.len() >= WIDTH {
                break;
            }
            if seen.insert(rejected | PASSED) {
                let beyond = neighbours(*rejected).iter().copied();
                fresh.extend(beyond.filter(|to| accept(*to as usize) && seen.insert(*to)));
            }
        }
    }
}

/// The `ef` accepted rows nearest to `query` that a walk from `starts` finds, nearest first; `expand` names the rows to go to
/// from one. Those that are not accepted are walked through all the same: `None` when it looked at more than `budget` rows.
pub(super) fn beam(
    codes: &Codes<'_>,
    query: &[Block],
    starts: &[Near],
    (ef, budget): (usize, usize),
    mut expand: impl FnMut(u32, &mut Visited, &mut Vec<u32>),
    mut accept: impl FnMut(usize) -> bool,
) -> Option<Vec<Near>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let Scratch { seen, open, found, fresh, scores } = scratch;
        seen.clear();
        open.clear();
        found.clear();
        for start in starts {
            if !seen.insert(start.position()) {
                continue;
            }
            open.push(*start);
            if accept(start.position() as usize) {
                found.push(Reverse(*start));
            }
        }
        while found.len() > ef {
            found.pop();
        }
        // Nothing as far as this is of use any more; everything is while fewer than `ef` are found.
        let last = |found: &BinaryHeap<Reverse<Near>>| match found.peek() {
            Some(least) if found.len() >= ef => least.0,
            _ => Near(0),
        };
        let mut worst = last(found);
        while let Some(next) = open.pop() {
            if next < worst {
                break;
            }
            fresh.clear();
            expand(next.position(), seen, fresh);
            codes.dots(query, fresh, scores);
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
                    worst = last(found);
                }
            }
            if seen.len() > budget {
                return None;
            }
        }
        let mut nearest: Vec<Near> = found.drain().map(|near| near.0).collect();
        nearest.sort_unstable_by(|a, b| b.cmp(a));
        Some(nearest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearer_is_greater_and_of_equals_the_lower_position() {
        let order =
            [Near::new(i32::MIN, 0), Near::new(-5, 9), Near::new(-5, 2), Near::new(0, 7), Near::new(i32::MAX, 1)];
        assert!(order.is_sorted());
        assert!(order.iter().all(|near| Near::new(near.score(), near.position()) == *near));
    }
}
