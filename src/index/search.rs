//! A query to the nearest products: an exact scan, or walks through graphs beside a scan of the rest.
//! Which of the two is a matter of cost, estimated before; a walk that comes back with too little is not believed.
//! Order is total, score down and product id up, so equal scores (the same photo twice) come the same way each time.

use super::kernel;
use super::rows::{Body, Part, RowId};
use super::segment::Segment;
use super::state::State;
use super::walk::{Effort, Near};
use super::{Hit, IndexConfig, SearchRequest};
use crate::filter::Compiled;
use half::f16;
use roaring::RoaringBitmap;
use std::cmp::Ordering;

/// Products a filter is tried on to estimate how many it lets pass.
const SAMPLE: usize = 512;
/// With fewer of the sample passing, those that pass are counted.
const SURE: usize = 16;

/// Costs in nanoseconds of rows of 256 values, as `cargo bench --bench index -- --filters` showed them with 200,000 and
/// 1,000,000 rows on a slow Xeon: a vector scanned in order, a row whose code is compared, the same on a walk (100 to 300: its
/// codes and edges lie anywhere), a filter on a product; and how many rows a walk looks at for each it keeps. They decide how
/// long a search takes, not what it finds. Most it was where a tenth passes: of 1,000,000 rows 3.3 ms, either way; 2.3 to 3.1
/// since walks fetch ahead, which these costs do not know yet. A walk from one row that passes to the next (ACORN,
/// arXiv:2403.04871) was tried there: 3.2 ms, and 0.92 of the nearest found.
const SCAN_NS: f64 = 65.0;
const CODE_NS: f64 = 40.0;
const WALK_NS: f64 = 200.0;
const FILTER_NS: f64 = 20.0;
const WALKED_PER_FOUND: f64 = 10.0;

/// Fewer rows than this bound no walk by their distance: that of the nearest alone says little.
const LEAST_WANTED: usize = 10;

/// A walk that has looked at one row in this many costs more than the scan it was to save.
const WALK_SHARE: usize = 4;

/// The best row of a product.
#[derive(Clone, Copy, Debug)]
struct Entry {
    score: f32,
    slot: u32,
    row: RowId,
}

/// The `k` best products among rows pushed in any order; bounded memory, no hashing.
struct Best<'a> {
    state: &'a State,
    k: usize,
    entries: Vec<Entry>,
    /// Rows below cannot be among the `k` best.
    floor: f32,
}

impl<'a> Best<'a> {
    fn new(state: &'a State, k: usize) -> Self {
        Self { state, k, entries: Vec::new(), floor: f32::NEG_INFINITY }
    }

    fn push(&mut self, score: f32, slot: u32, row: RowId) {
        if score >= self.floor {
            self.entries.push(Entry { score, slot, row });
            if self.entries.len() >= 2 * self.k + SAMPLE {
                self.prune();
            }
        }
    }

    /// Leaves one entry a product and the `k` best products.
    fn prune(&mut self) {
        let state = self.state;
        self.entries.sort_unstable_by(|a, b| {
            let by_score = a.slot.cmp(&b.slot).then(b.score.total_cmp(&a.score));
            by_score.then_with(|| image_rank(state, a).cmp(&image_rank(state, b)))
        });
        self.entries.dedup_by_key(|entry| entry.slot);
        if self.entries.len() > self.k {
            let worst = self.k - 1;
            self.entries.select_nth_unstable_by(worst, |a, b| better(state, a, b));
            self.floor = self.entries[worst].score;
            self.entries.truncate(self.k);
        }
    }

    fn len(&mut self) -> usize {
        self.prune();
        self.entries.len()
    }

    fn into_hits(mut self, request: &SearchRequest<'_>) -> Vec<Hit> {
        self.prune();
        let state = self.state;
        self.entries.sort_unstable_by(|a, b| better(state, a, b));
        let enough = |entry: &&Entry| request.min_score.is_none_or(|min| entry.score >= min);
        // Records lie anywhere: all are on their way before the first is read.
        self.entries.iter().for_each(|entry| state.products.fetch(entry.slot));
        let hit = |entry: &Entry| {
            let product = state.products.view(entry.slot)?;
            let (image_id, _) = product.images().find(|(_, row)| *row == entry.row)?;
            Some(Hit {
                product_id: product.id.to_owned(),
                image_id: image_id.to_owned(),
                score: entry.score,
                facets: state.facets_of(&product, request.group_only)?,
            })
        };
        self.entries.iter().filter(enough).filter_map(hit).collect()
    }
}

/// Score down, then product id up.
fn better(state: &State, a: &Entry, b: &Entry) -> Ordering {
    b.score.total_cmp(&a.score).then_with(|| state.products.id(a.slot).cmp(state.products.id(b.slot)))
}

/// Which of its product's images a row is: of equal images the catalog's first is shown.
fn image_rank(state: &State, entry: &Entry) -> usize {
    let product = state.products.view(entry.slot);
    product.and_then(|product| product.images().position(|(_, row)| row == entry.row)).unwrap_or(usize::MAX)
}

/// Which products a search may return.
struct Allowed<'a> {
    state: &'a State,
    excluded: RoaringBitmap,
    filter: Option<Compiled<'a>>,
}

impl<'a> Allowed<'a> {
    fn new(state: &'a State, request: &SearchRequest<'a>) -> Self {
        let mut excluded: RoaringBitmap =
            request.exclude_products.iter().filter_map(|id| state.products.slot(id)).collect();
        for group in request.exclude_groups {
            excluded |= state.columns.group(group);
        }
        Self { state, excluded, filter: request.filter.map(|filter| state.columns.compile(filter)) }
    }

    /// True for a product in use.
    fn contains(&self, slot: u32) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.contains(slot)) && !self.excluded.contains(slot)
    }

    fn everything(&self) -> bool {
        self.filter.is_none() && self.excluded.is_empty()
    }

    /// Products that pass, of `filter`.
    fn select(&self, filter: &Compiled<'_>) -> RoaringBitmap {
        filter.select() - &self.excluded
    }

    /// How many products pass, from a sample spread over all; `None` when too few of it do to tell. Exclusions are few and
    /// not counted.
    fn share(&self, filter: &Compiled<'_>) -> Option<f64> {
        let slots = self.state.products.records().len();
        let step = slots.div_ceil(SAMPLE).max(1);
        let (mut tried, mut passed) = (0usize, 0usize);
        for slot in (0..slots as u32).step_by(step) {
            tried += 1;
            passed += usize::from(filter.contains(slot));
        }
        (passed >= SURE).then(|| passed as f64 / tried as f64)
    }
}

/// A query, and what it needs to be compared with vectors.
struct Query<'a> {
    vector: &'a [f32],
    /// Slot of the product whose vector it is.
    of: Option<u32>,
    /// Where a vector that is read is put.
    read: Vec<f16>,
}

impl<'a> Query<'a> {
    fn new(vector: &'a [f32], of: Option<u32>) -> Self {
        Self { vector, of, read: Vec::new() }
    }

    fn score(&mut self, part: &Part, position: usize) -> f32 {
        kernel::similarity(self.vector, part.vector(position, &mut self.read))
    }
}

/// How a search goes about it.
enum Way {
    /// Every vector is compared.
    Scan,
    /// Graphs are walked, of rows met the allowed are kept.
    Walk,
    /// The codes of the rows of these products are compared.
    Pick(RoaringBitmap),
}

/// The `request.k` products nearest to `query`, which is checked.
pub(super) fn search(state: &State, config: &IndexConfig, query: &[f32], request: &SearchRequest<'_>) -> Vec<Hit> {
    let k = request.k.min(state.products.len());
    if k == 0 {
        return Vec::new();
    }
    let allowed = Allowed::new(state, request);
    let ef = ef(state, request.ef.unwrap_or(config.ef_search), k);
    let query = &mut Query::new(query, request.of_product.and_then(|id| state.products.slot(id)));
    let way = if request.exact { Way::Scan } else { way(state, ef, &allowed) };
    let best = match way {
        Way::Scan => scan(state, query, k, &allowed),
        Way::Pick(picked) => pick(state, query, k, &picked),
        Way::Walk => walk(state, query, k, (ef, config.reach), &allowed).unwrap_or_else(|| match &allowed.filter {
            Some(filter) => pick(state, query, k, &allowed.select(filter)),
            None => scan(state, query, k, &allowed),
        }),
    };
    best.into_hits(request)
}

/// Rows a walk must return for `k` products: more where products have several images.
fn ef(state: &State, least: usize, k: usize) -> usize {
    least.max(rows_for(state, k))
}

/// Rows that `k` products are likely to be among: more than the mean, and little more where most have one.
fn rows_for(state: &State, k: usize) -> usize {
    let (rows, products) = (state.live_rows(), state.products.len().max(1));
    if rows <= products { k + k / 8 } else { k.saturating_mul(rows.div_ceil(products) + 1) }
}

/// Rows scored by their vectors, of those nearest by codes: some more than are wanted. Codes rank nearly as vectors do.
fn rescored(state: &State, k: usize) -> usize {
    2 * rows_for(state, k) + 16
}

/// What is likely to take least.
fn way(state: &State, ef: usize, allowed: &Allowed<'_>) -> Way {
    let sealed = state.parts.iter().filter(|part| part.segment().is_some());
    let (parts, rows) = sealed.fold((0usize, 0usize), |(n, rows), part| (n + 1, rows + part.len()));
    let walked = |share: f64| (parts * ef) as f64 * WALKED_PER_FOUND / share;
    let walkable = ef <= rows / WALK_SHARE;
    let Some(filter) = &allowed.filter else {
        let walks = walkable && walked(1.0) * WALK_NS < rows as f64 * SCAN_NS;
        return if walks { Way::Walk } else { Way::Scan };
    };
    if rows == 0 {
        return Way::Scan;
    }
    if walkable
        && let Some(share) = allowed.share(filter)
        && walked(share) * (WALK_NS + FILTER_NS) < rows as f64 * share * CODE_NS
    {
        return Way::Walk;
    }
    Way::Pick(allowed.select(filter))
}

/// Graphs walked, the rest scanned; `None` when that found too little. Of a segment that is too small to walk, or in which a
/// walk went on too long, all codes are compared.
fn walk<'a>(
    state: &'a State,
    query: &mut Query<'_>,
    k: usize,
    (ef, reach): (usize, f32),
    allowed: &Allowed<'_>,
) -> Option<Best<'a>> {
    let mut best = Best::new(state, k);
    let (wanted, rescored) = (rows_for(state, k).max(LEAST_WANTED), rescored(state, k));
    let everything = allowed.everything();
    let mut was_bounded = false;
    for part in &state.parts {
        let Body::Sealed(segment) = &part.body else {
            scan_part(part, query, |slot| allowed.contains(slot), &mut best);
            continue;
        };
        let (owners, budget) = (segment.owners(), segment.len() / WALK_SHARE);
        let accept =
            |position: usize| !part.dead.contains(position) && (everything || allowed.contains(owners[position]));
        let is_walkable = ef as f64 * WALKED_PER_FOUND < budget as f64;
        let effort = Effort { ef, wanted, reach, budget };
        let walked = is_walkable.then(|| {
            let own = query.of.map_or(0..0, |slot| segment.rows_of(slot));
            match everything && part.dead.count() == 0 {
                true => segment.graph().search(query.vector, own, effort, |_| true),
                false => segment.graph().search(query.vector, own, effort, accept),
            }
        });
        match walked.flatten() {
            Some(found) => {
                was_bounded |= reach.is_finite() && found.len() >= wanted;
                rescore(part, segment, &found[..found.len().min(rescored)], query, &mut best);
            }
            None => compare(part, segment, (0..segment.len()).filter(|at| accept(*at)), rescored, query, &mut best),
        }
    }
    match best.len() >= k {
        true => Some(best),
        // The nearest rows were images of few products, and the walk ended with them.
        false if was_bounded => {
            query.of = None;
            walk(state, query, k, (ef, f32::INFINITY), allowed)
        }
        false => None,
    }
}

fn rescore(part: &Part, segment: &Segment, nearest: &[Near], query: &mut Query<'_>, best: &mut Best<'_>) {
    let (owners, ids) = (segment.owners(), segment.ids());
    nearest.iter().for_each(|near| segment.fetch(near.position() as usize));
    for near in nearest {
        let position = near.position() as usize;
        best.push(query.score(part, position), owners[position], ids[position]);
    }
}

/// Every vector of an allowed product.
fn scan<'a>(state: &'a State, query: &mut Query<'_>, k: usize, allowed: &Allowed<'_>) -> Best<'a> {
    let mut best = Best::new(state, k);
    state.parts.iter().for_each(|part| scan_part(part, query, |slot| allowed.contains(slot), &mut best));
    best
}

/// Every vector of a product that `allows`.
fn scan_part(part: &Part, query: &mut Query<'_>, allows: impl Fn(u32) -> bool, best: &mut Best<'_>) {
    // Rows of a product mostly stand side by side, so its filter is evaluated once.
    let mut last = None;
    for (position, (&slot, &id)) in part.owners().iter().zip(part.ids()).enumerate() {
        if part.dead.contains(position) {
            continue;
        }
        let pass = match last {
            Some((last_slot, pass)) if last_slot == slot => pass,
            _ => allows(slot),
        };
        last = Some((slot, pass));
        if pass {
            best.push(query.score(part, position), slot, id);
        }
    }
}

/// Every row of the picked products: by its code where it is sealed, the nearest of them by their vectors.
fn pick<'a>(state: &'a State, query: &mut Query<'_>, k: usize, picked: &RoaringBitmap) -> Best<'a> {
    let mut best = Best::new(state, k);
    let rescored = rescored(state, k);
    for part in &state.parts {
        let Body::Sealed(segment) = &part.body else {
            scan_part(part, query, |slot| picked.contains(slot), &mut best);
            continue;
        };
        let live = positions(segment.owners(), picked).filter(|position| !part.dead.contains(*position));
        compare(part, segment, live, rescored, query, &mut best);
    }
    best
}

/// Compares the codes of the rows at `positions`, and the vectors of the `rescored` nearest.
fn compare(
    part: &Part,
    segment: &Segment,
    mut positions: impl Iterator<Item = usize>,
    rescored: usize,
    query: &mut Query<'_>,
    best: &mut Best<'_>,
) {
    /// Rows whose codes are compared at once.
    const BATCH: usize = 1024;
    let codes = segment.codes();
    let code = codes.encode(query.vector);
    let mut nearest: Vec<Near> = Vec::new();
    let (mut batch, mut scores) = (Vec::with_capacity(BATCH), Vec::new());
    loop {
        batch.clear();
        batch.extend(positions.by_ref().take(BATCH).map(|position| position as u32));
        if batch.is_empty() {
            break;
        }
        codes.dots(&code, &batch, &mut scores);
        nearest.extend(batch.iter().zip(&scores).map(|(position, score)| Near::new(*score, *position)));
        if nearest.len() > 4 * rescored + BATCH {
            nearest.select_nth_unstable_by(rescored, |a, b| b.cmp(a));
            nearest.truncate(rescored);
        }
    }
    nearest.sort_unstable_by(|a, b| b.cmp(a));
    nearest.truncate(rescored);
    rescore(part, segment, &nearest, query, best);
}

/// Positions of the rows of `picked`, ascending. Owners ascend, too: the way from one to the next is searched in doubling
/// steps (Bentley and Yao, "An almost optimal algorithm for unbounded searching", 1976).
fn positions<'a>(owners: &'a [u32], picked: &'a RoaringBitmap) -> impl Iterator<Item = usize> + 'a {
    let mut at = 0;
    picked.iter().flat_map(move |slot| {
        let mut step = 1;
        while owners.get(at + step).is_some_and(|owner| *owner < slot) {
            at += step;
            step *= 2;
        }
        let within = &owners[at..(at + step + 1).min(owners.len())];
        at += within.partition_point(|owner| *owner < slot);
        let start = at;
        while owners.get(at) == Some(&slot) {
            at += 1;
        }
        start..at
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn positions_are_those_of_the_picked(mut owners in prop::collection::vec(0u32..500, 0..300), picked in prop::collection::btree_set(0u32..520, 0..80)) {
            owners.sort_unstable();
            let expected: Vec<usize> = (0..owners.len()).filter(|at| picked.contains(&owners[*at])).collect();
            let found: Vec<usize> = positions(&owners, &picked.iter().copied().collect()).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
