//! A query to the nearest products: an exact scan, or walks through graphs beside a scan of the rest.
//! Which of the two is a matter of cost, estimated before; a walk that comes back with too little is not believed.
//! Order is total, score down and product id up, so equal scores (the same photo twice) come the same way each time.

use super::rows::{Part, RowId};
use super::state::{Product, State};
use super::{Hit, IndexConfig, SearchRequest, kernel};
use std::cmp::Ordering;
use std::sync::Arc;

/// Products a filter is tried on to estimate how many it lets pass.
const SAMPLE: usize = 512;

/// Costs in nanoseconds with 256-d vectors on a Zen 4 core: a vector read in order (measured), one met on a walk (a
/// cache miss more), a filter on a product, and how many vectors a walk looks at for each it returns. The last three
/// are estimates: they decide how long a search takes, not what it finds.
const SCAN_NS: f64 = 40.0;
const WALK_NS: f64 = 150.0;
const FILTER_NS: f64 = 60.0;
const WALKED_PER_FOUND: f64 = 12.0;

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

    fn into_hits(mut self, min_score: Option<f32>) -> Vec<Hit> {
        self.prune();
        let state = self.state;
        self.entries.sort_unstable_by(|a, b| better(state, a, b));
        let enough = |entry: &&Entry| min_score.is_none_or(|min| entry.score >= min);
        let hit = |entry: &Entry| {
            let product = product(state, entry.slot)?;
            let (image_id, _) = product.images.get(image_rank(state, entry))?;
            Some(Hit {
                product_id: product.id.clone(),
                image_id: image_id.clone(),
                score: entry.score,
                facets: product.facets.clone(),
            })
        };
        self.entries.iter().filter(enough).filter_map(hit).collect()
    }
}

fn product(state: &State, slot: u32) -> Option<&Arc<Product>> {
    state.slots.get(slot as usize)?.as_ref()
}

/// Score down, then product id up.
fn better(state: &State, a: &Entry, b: &Entry) -> Ordering {
    let id = |entry: &Entry| product(state, entry.slot).map(|product| &product.id);
    b.score.total_cmp(&a.score).then_with(|| id(a).cmp(&id(b)))
}

/// Which of its product's images a row is: of equal images the catalog's first is shown.
fn image_rank(state: &State, entry: &Entry) -> usize {
    let images = product(state, entry.slot).map_or(&[][..], |product| &product.images);
    let mut images = images.iter();
    images.position(|(_, row)| *row == entry.row).unwrap_or(usize::MAX)
}

/// Which products a search may return.
struct Allowed<'a> {
    state: &'a State,
    request: &'a SearchRequest<'a>,
    excluded: Vec<u32>,
    everything: bool,
}

impl<'a> Allowed<'a> {
    fn new(state: &'a State, request: &'a SearchRequest<'a>) -> Self {
        let excluded = request.exclude_products.iter();
        let mut excluded: Vec<u32> = excluded.filter_map(|id| state.slot(id)).collect();
        excluded.sort_unstable();
        Self {
            everything: excluded.is_empty() && request.exclude_groups.is_empty() && request.filter.is_none(),
            state,
            request,
            excluded,
        }
    }

    fn contains(&self, slot: u32) -> bool {
        if self.everything {
            return true;
        }
        let Some(product) = product(self.state, slot) else {
            return false;
        };
        let in_group = |group: &String| self.request.exclude_groups.contains(&group.as_str());
        self.excluded.binary_search(&slot).is_err()
            && !product.facets.group_id.as_ref().is_some_and(in_group)
            && (self.request.filter).is_none_or(|filter| filter.matches(&product.facets))
    }

    /// Share of products that pass, from a sample spread over all; exclusions are few and not counted.
    fn share(&self) -> f64 {
        let Some(filter) = self.request.filter else {
            return 1.0;
        };
        let step = self.state.slots.len().div_ceil(SAMPLE).max(1);
        let (mut tried, mut passed) = (0u32, 0u32);
        for product in self.state.slots.iter().step_by(step).flatten() {
            tried += 1;
            passed += u32::from(filter.matches(&product.facets));
        }
        f64::from(passed) / f64::from(tried.max(1))
    }
}

/// The `request.k` products nearest to `query`, which is checked.
pub(super) fn search(state: &State, config: &IndexConfig, query: &[f32], request: &SearchRequest<'_>) -> Vec<Hit> {
    let k = request.k.min(state.products());
    if k == 0 {
        return Vec::new();
    }
    let allowed = Allowed::new(state, request);
    let ef = ef(state, request.ef.unwrap_or(config.ef_search), k);
    let mut best = None;
    if !request.exact && is_walk_cheaper(state, ef, &allowed) {
        best = walk(state, query, k, ef, &allowed);
    }
    let best = best.unwrap_or_else(|| {
        let mut best = Best::new(state, k);
        for part in &state.parts {
            scan(part, query, &allowed, &mut best);
        }
        best
    });
    best.into_hits(request.min_score)
}

/// Rows a walk must return for `k` products: more where products have several images.
fn ef(state: &State, least: usize, k: usize) -> usize {
    least.max(rows_for(state, k))
}

/// Rows that `k` products are likely to be among.
fn rows_for(state: &State, k: usize) -> usize {
    let images = state.live_rows().div_ceil(state.products().max(1));
    k.saturating_mul(images + 1)
}

fn is_walk_cheaper(state: &State, ef: usize, allowed: &Allowed<'_>) -> bool {
    let graphed = state.parts.iter().filter(|part| part.graph.is_some());
    let rows = graphed.map(|part| part.rows.len()).sum::<usize>();
    if rows == 0 || ef > rows / WALK_SHARE {
        return false;
    }
    let share = allowed.share();
    let (per_row, rows) = (f64::from(u8::from(!allowed.everything)) * FILTER_NS, rows as f64);
    let walked = ef as f64 * WALKED_PER_FOUND / share;
    walked * (WALK_NS + per_row) < rows * (per_row + share * SCAN_NS)
}

/// Graphs walked, the rest scanned; `None` when a walk went on too long or found too little.
fn walk<'a>(state: &'a State, query: &[f32], k: usize, ef: usize, allowed: &Allowed<'_>) -> Option<Best<'a>> {
    let mut best = Best::new(state, k);
    let rescored = 2 * rows_for(state, k) + 16;
    for part in &state.parts {
        let Some(graph) = &part.graph else {
            scan(part, query, allowed, &mut best);
            continue;
        };
        let rows = &part.rows;
        let accept = |position: usize| !part.dead.contains(position) && allowed.contains(rows.owner(position));
        let found = graph.search(query, ef, rows.len() / WALK_SHARE, accept)?;
        // Codes rank nearly as vectors do: of the nearest by codes some more than are wanted, the order by vectors.
        for position in found.into_iter().take(rescored) {
            let position = position as usize;
            best.push(kernel::similarity(query, rows.vector(position)), rows.owner(position), rows.id(position));
        }
    }
    (best.len() >= k).then_some(best)
}

fn scan(part: &Part, query: &[f32], allowed: &Allowed<'_>, best: &mut Best<'_>) {
    let rows = &part.rows;
    // Rows of a product mostly stand side by side, so its filter is evaluated once.
    let mut last = None;
    for (position, (vector, &slot)) in rows.vectors().zip(rows.owners()).enumerate() {
        if part.dead.contains(position) {
            continue;
        }
        let pass = match last {
            Some((last_slot, pass)) if last_slot == slot => pass,
            _ => allowed.contains(slot),
        };
        last = Some((slot, pass));
        if pass {
            best.push(kernel::similarity(query, vector), slot, rows.id(position));
        }
    }
}
