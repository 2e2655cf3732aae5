//! Items that are like the query and unlike one another: maximal marginal relevance (Carbonell and Goldstein, "The use of
//! MMR, diversity-based reranking", 1998). Of those left, the next is that with the largest
//! `(1 - diversity) * score - diversity * redundancy`, where redundancy is the cosine similarity to the most similar item
//! before it. The first is the most similar to the query, whatever the diversity.

use super::rank::Candidate;
use crate::index::dot;

/// The first `count` of `found`, which is in order of score, by that rule; `vectors` are theirs, of unit length.
pub(super) fn diversified(found: Vec<Candidate>, vectors: &[Vec<f32>], diversity: f32, count: usize) -> Vec<Candidate> {
    let mut left: Vec<(usize, Candidate)> = found.into_iter().enumerate().collect();
    let mut chosen: Vec<Candidate> = Vec::with_capacity(count.min(left.len()));
    while chosen.len() < count && !left.is_empty() {
        let value = |of: &Candidate| match of.redundancy {
            Some(redundancy) => (1.0 - diversity) * of.score - diversity * redundancy,
            None => of.score,
        };
        // Of equals the first: `left` stays in order of score, then id.
        let mut best = 0;
        for (at, (_, candidate)) in left.iter().enumerate().skip(1) {
            if value(candidate) > value(&left[best].1) {
                best = at;
            }
        }
        let (at, next) = left.remove(best);
        for (other, candidate) in &mut left {
            let alike = dot(&vectors[at], &vectors[*other]);
            candidate.redundancy = Some(candidate.redundancy.map_or(alike, |known| known.max(alike)));
        }
        chosen.push(next);
    }
    chosen
}
