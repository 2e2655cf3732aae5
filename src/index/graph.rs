//! A navigable small world graph (HNSW, Malkov and Yashunin, arXiv:1603.09320) frozen into flat arrays.
//! 140 bytes a row with 16 connections, and the rows' codes. [`grow`](super::grow) makes it.

use super::codes::Codes;
use super::kernel::{self, int8::Block};
use super::rows::Bits;
use super::walk::{self, Adjacency, Effort, Near};
use std::ops::Range;

/// Edges of one layer, in compressed rows: those of member `i` are `edges[starts[i]..starts[i + 1]]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Layer<'a> {
    /// Positions that are on this layer, ascending; empty on the bottom layer, where every row is.
    pub(super) members: &'a [u32],
    pub(super) starts: &'a [u32],
    /// Positions of neighbours.
    pub(super) edges: &'a [u32],
}

impl Adjacency for Layer<'_> {
    fn neighbours(&self, position: u32) -> &[u32] {
        let member = if self.members.is_empty() {
            position as usize
        } else {
            match self.member(position) {
                Some(member) => member,
                None => return &[],
            }
        };
        let (start, end) = (self.starts[member], self.starts[member + 1]);
        &self.edges[start as usize..end as usize]
    }

    fn expect(&self, position: u32) {
        // Of higher layers a search would say where; they are small, and in the cache.
        if self.members.is_empty() {
            kernel::fetch(&self.starts[position as usize..][..1]);
        }
    }
}

impl Layer<'_> {
    /// Where a row is among the members, which a lot chose: near where its number says. From there it is searched for in
    /// doubling steps.
    fn member(&self, position: u32) -> Option<usize> {
        let members = self.members;
        let (count, last) = (members.len(), *members.last()?);
        let guess = u64::from(position.min(last)) * (count as u64 - 1) / u64::from(last).max(1);
        let (mut low, mut high) = (guess as usize, guess as usize);
        let mut step = 1;
        while members[low] > position && low > 0 {
            (low, high) = (low.saturating_sub(step), low);
            step *= 2;
        }
        while members[high] < position && high < count - 1 {
            (low, high) = (high, (high + step).min(count - 1));
            step *= 2;
        }
        members[low..=high].binary_search(&position).ok().map(|at| low + at)
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
            && self.members.iter().chain(self.edges).all(|to| (*to as usize) < rows)
    }
}

/// Layers, the bottom one first, where a search enters the top, and what rows are compared by.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Graph<'a> {
    pub(super) layers: Vec<Layer<'a>>,
    pub(super) entry: u32,
    pub(super) codes: Codes<'a>,
}

impl Graph<'_> {
    /// True when no search can step outside of the arrays.
    pub(super) fn is_sound(&self, rows: usize) -> bool {
        let layers = &self.layers;
        (self.entry as usize) < rows
            && !layers.is_empty()
            && (layers.iter().enumerate()).all(|(i, layer)| layer.is_sound(rows, i == 0))
    }

    /// The accepted rows nearest to `query` that a walk finds, nearest by their codes first; `None` when it looked at more
    /// rows than it may.
    ///
    /// One of the rows `own` that has the query's very code is where the walk begins; without such a one it begins at the entry.
    pub(super) fn search(
        &self,
        query: &[f32],
        mut own: Range<usize>,
        effort: Effort,
        mut accept: impl FnMut(usize) -> bool,
    ) -> Option<Vec<Near>> {
        let query = self.codes.encode(query);
        if let Some(row) = own.find(|row| self.codes.row(*row as u32) == &query[..]) {
            let found = self.beam(&query, walk::near(&self.codes, &query, row as u32), effort, &mut accept)?;
            // Copies of one photo may lead to one another and nowhere else.
            if found.len() >= effort.wanted {
                return Some(found);
            }
        }
        self.walk(&query, effort, accept)
    }

    fn walk(&self, query: &[Block], effort: Effort, accept: impl FnMut(usize) -> bool) -> Option<Vec<Near>> {
        let mut here = walk::near(&self.codes, query, self.entry);
        for layer in self.layers.iter().skip(1).rev() {
            here = walk::greedy(&self.codes, query, here, layer);
        }
        self.beam(query, here, effort, accept)
    }

    fn beam(
        &self,
        query: &[Block],
        start: Near,
        effort: Effort,
        accept: impl FnMut(usize) -> bool,
    ) -> Option<Vec<Near>> {
        walk::beam(&self.codes, query, &[start], effort, &self.layers[0], accept)
    }

    /// Rows that a walk over the bottom layer cannot reach, or does not find when it looks for just them.
    /// Only rows with few edges towards them are looked for: the others have too many ways in to be lost.
    pub(super) fn lost(&self, rows: usize, ef: usize) -> Vec<usize> {
        const FEW: u32 = 2;
        let bottom = &self.layers[0];
        let mut ways_in = vec![0u32; rows];
        for to in bottom.edges {
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

    /// True when a search for a row finds it, or as many as it looks for that are just as near.
    fn finds(&self, position: usize, ef: usize) -> bool {
        let position = position as u32;
        let own = walk::near(&self.codes, self.codes.row(position), position);
        let found = self.walk(self.codes.row(position), Effort::all(ef), |_| true).unwrap_or_default();
        found.contains(&own) || found.len() >= ef && found.iter().all(|near| near.score() >= own.score())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_member_is_found_and_nothing_else(members in prop::collection::btree_set(0u32..400, 1..60), spread in 1u32..9) {
            let members: Vec<u32> = members.into_iter().map(|m| m * m / spread).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
            let layer = Layer { members: &members, starts: &[], edges: &[] };
            for position in (0..=160_000 / spread + 1).step_by(7).chain(members.iter().copied()) {
                prop_assert_eq!(layer.member(position), members.binary_search(&position).ok());
            }
        }
    }
}
