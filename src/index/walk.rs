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

/// The `ef` accepted rows nearest to `query` that a walk from `starts` finds, nearest first. Rows that are not accepted
/// are walked through, so a narrow filter makes the walk longer: `None` when it looked at more than `budget` rows.
pub(super) fn beam<'a>(
    codes: &Codes<'_>,
    query: &[Block],
    starts: &[Near],
    (ef, budget): (usize, usize),
    neighbours: impl Fn(u32) -> &'a [u32],
    mut accept: impl FnMut(usize) -> bool,
) -> Option<Vec<Near>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let Scratch { seen, open, found, fresh, scores } = scratch;
        seen.clear();
        open.clear();
        found.clear();
        for start in starts {
            seen.insert(start.position());
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
            fresh.extend(neighbours(next.position()).iter().copied().filter(|position| seen.insert(*position)));
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
