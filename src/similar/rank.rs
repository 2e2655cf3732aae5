//! From the index's hits to a page: several vectors merged, weights, grouping, the cut at the cursor.
//! Every step keeps one total order, score down and product id up, so pages join without a gap or a repeat.

use super::cursor::Cursor;
use super::diversity::diversified;
use super::query::SimilarQuery;
use super::{DIVERSITY_POOL, Explain, MAX_QUERY_IMAGES, RERANK_POOL, SimilarError, SimilarItem, SimilarPage, Source};
use crate::color::BasicColor;
use crate::filter::{Facets, Filter};
use crate::index::{Hit, Index, IndexedProduct, SearchRequest};
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What a source comes to: the vectors to search with and what is left out.
struct Probe {
    vectors: Vec<Vec<f32>>,
    facets: Facets,
    own: Vec<String>,
    own_groups: Vec<String>,
}

/// A product on its way to the page.
pub(super) struct Candidate {
    pub(super) hit: Hit,
    pub(super) score: f32,
    /// See [`Explain::redundancy`].
    pub(super) redundancy: Option<f32>,
}

/// The page of products that `query` asks for.
pub fn search(index: &Index, query: &SimilarQuery) -> Result<SimilarPage, SimilarError> {
    // Read first: the searches see at least this much.
    let seq = index.seq();
    let probe = probe(index, query)?;
    let color = query.color.filter(&probe.facets)?;
    let filter = match (query.filter.clone(), color) {
        (Some(filter), Some(color)) => Some(Filter::all(vec![filter, color])),
        (filter, color) => filter.or(color),
    };
    let given = query.cursor.as_ref().map_or(0, |cursor| cursor.given as usize);
    // One more than the page, to know whether there is a next.
    let wanted = query.limit + 1;
    let through = given.saturating_add(wanted);
    let (mut k, is_fixed) = match (query.is_plain(), query.is_diverse()) {
        (true, false) => (through, false),
        (true, true) => (DIVERSITY_POOL, true),
        (false, _) => (RERANK_POOL, true),
    };
    loop {
        let (found, complete) = candidates(index, query, &probe, filter.as_ref(), k)?;
        let mut found = grouped(found, query);
        if query.is_diverse() {
            found = diverse(index, query, found, through);
        }
        let after = after_cursor(found, query);
        if after.len() >= wanted || complete || is_fixed {
            return Ok(page(index, query, &probe, after, given, seq));
        }
        // Variants of one group took places, or the catalog grew before the cursor.
        k = k.saturating_mul(2);
    }
}

fn probe(index: &Index, query: &SimilarQuery) -> Result<Probe, SimilarError> {
    let mut probe = match &query.source {
        Source::Photo { embedding, facets } => {
            Probe { vectors: vec![embedding.clone()], facets: facets.clone(), own: Vec::new(), own_groups: Vec::new() }
        }
        Source::Product(id) => {
            let IndexedProduct { images, facets, .. } = known(index, query, id)?;
            let images = images.into_iter().take(MAX_QUERY_IMAGES);
            Probe {
                vectors: images.map(|image| image.embedding).collect(),
                own_groups: facets.group_id.iter().cloned().collect(),
                facets,
                own: vec![id.clone()],
            }
        }
        Source::Basket(ids) => basket(index, query, ids)?,
    };
    if query.group_by.is_none() {
        probe.own_groups.clear();
    }
    Ok(probe)
}

/// A product of the index with at least one image, and as much of its facets as the query looks at.
fn known(index: &Index, query: &SimilarQuery, id: &str) -> Result<IndexedProduct, SimilarError> {
    let product_id = || id.to_owned();
    match index.product(id, !query.compares_facets()) {
        None => Err(SimilarError::UnknownProduct { product_id: product_id() }),
        Some(product) if product.images.is_empty() => Err(SimilarError::NoImage { product_id: product_id() }),
        Some(product) => Ok(product),
    }
}

/// The direction all products of a basket have in common. The dot product with it is, up to a factor, the mean
/// similarity to them. Searching for each and taking the best would let one product of the basket fill the page.
fn basket(index: &Index, query: &SimilarQuery, ids: &[String]) -> Result<Probe, SimilarError> {
    let mut sum = vec![0.0f32; index.config().dimension];
    let mut facets = Facets::default();
    let mut own_groups = Vec::new();
    let mut first = None;
    for id in ids {
        let IndexedProduct { images, facets: of_product, .. } = known(index, query, id)?;
        let mut mean = vec![0.0f32; sum.len()];
        for image in &images {
            add(&mut mean, &image.embedding);
        }
        add(&mut sum, &unit(mean).unwrap_or_else(|| images[0].embedding.clone()));
        first = first.or(Some(images[0].embedding.clone()));
        own_groups.extend(of_product.group_id.clone());
        merge(&mut facets, &of_product);
    }
    Ok(Probe {
        // Opposite vectors have no direction in common; the first product's then stands for all.
        vectors: unit(sum).or(first).into_iter().collect(),
        facets,
        own: ids.to_vec(),
        own_groups,
    })
}

fn add(sum: &mut [f32], vector: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(vector) {
        *sum += value;
    }
}

/// `None` when it is too short to have a direction.
fn unit(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length < 1e-3 {
        return None;
    }
    vector.iter_mut().for_each(|value| *value /= length);
    Some(vector)
}

/// Colors and attributes of `more`, where they are new.
fn merge(facets: &mut Facets, more: &Facets) {
    for color in &more.colors {
        if !facets.colors.contains(color) {
            facets.colors.push(*color);
        }
    }
    for (name, values) in &more.attributes {
        let known = facets.attributes.entry(name.clone()).or_default();
        for value in values {
            if !known.contains(value) {
                known.push(value.clone());
            }
        }
    }
}

/// The `k` best products in order, and whether there are no others.
fn candidates(
    index: &Index,
    query: &SimilarQuery,
    probe: &Probe,
    filter: Option<&Filter>,
    k: usize,
) -> Result<(Vec<Candidate>, bool), SimilarError> {
    let own: Vec<&str> = probe.own.iter().map(String::as_str).collect();
    let own_groups: Vec<&str> = probe.own_groups.iter().map(String::as_str).collect();
    let request = SearchRequest {
        k,
        filter,
        exclude_products: &own,
        exclude_groups: &own_groups,
        of_product: match &query.source {
            Source::Product(id) => Some(id),
            // The direction of a basket may lie far from each of its products.
            Source::Basket(_) | Source::Photo { .. } => None,
        },
        min_score: query.min_score.filter(|_| query.is_plain()),
        exact: false,
        ef: None,
        group_only: query.is_plain() && !query.explain,
    };
    let lists = probe.vectors.iter().map(|vector| index.search(vector, &request));
    let lists = lists.collect::<Result<Vec<_>, _>>()?;
    let complete = lists.iter().all(|hits| hits.len() < k);
    let mut found: Vec<Candidate> = best_of(lists)
        .into_iter()
        .map(|hit| Candidate { score: score(query, &probe.facets, &hit), hit, redundancy: None })
        .filter(|found| query.min_score.is_none_or(|min| found.score >= min))
        .collect();
    found.sort_unstable_by(|a, b| order((a.score, &a.hit.product_id), (b.score, &b.hit.product_id)));
    if !complete {
        // Beyond the k-th, one vector's list may lack products that would stand before those of another's.
        found.truncate(k);
    }
    Ok((found, complete))
}

/// Each product once, at its best.
fn best_of(mut lists: Vec<Vec<Hit>>) -> Vec<Hit> {
    if lists.len() == 1 {
        return lists.swap_remove(0);
    }
    let mut best: HashMap<String, Hit> = HashMap::new();
    for hit in lists.into_iter().flatten() {
        match best.get_mut(&hit.product_id) {
            Some(known) if known.score >= hit.score => {}
            Some(known) => *known = hit,
            None => drop(best.insert(hit.product_id.clone(), hit)),
        }
    }
    best.into_values().collect()
}

fn order(a: (f32, &str), b: (f32, &str)) -> Ordering {
    b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1))
}

fn score(query: &SimilarQuery, facets: &Facets, hit: &Hit) -> f32 {
    if query.is_plain() {
        return hit.score;
    }
    let weights = query.weights;
    let score = weights.embedding * hit.score
        + weights.color * color_similarity(facets, &hit.facets)
        + weights.attributes * attribute_similarity(facets, &hit.facets)
        + weights.popularity * hit.facets.popularity.unwrap_or(0.0);
    score.clamp(-1.0, 1.0)
}

fn shared_colors(a: &Facets, b: &Facets) -> Vec<BasicColor> {
    let mut shared: Vec<BasicColor> = a.colors.clone();
    shared.retain(|color| b.colors.contains(color));
    shared.sort_unstable();
    shared.dedup();
    shared
}

/// Colors in common over colors of both; 0 when none are known.
fn color_similarity(a: &Facets, b: &Facets) -> f32 {
    let all: HashSet<BasicColor> = a.colors.iter().chain(&b.colors).copied().collect();
    shared_colors(a, b).len() as f32 / all.len().max(1) as f32
}

fn shared_attributes(query: &Facets, product: &Facets) -> BTreeMap<String, Vec<String>> {
    let mut shared = BTreeMap::new();
    for (name, values) in &query.attributes {
        let theirs = product.attributes.get(name).map_or(&[][..], Vec::as_slice);
        let common = values.iter().filter(|value| theirs.contains(value));
        let common: Vec<String> = common.cloned().collect();
        if !common.is_empty() {
            shared.insert(name.clone(), common);
        }
    }
    shared
}

/// Share of the query's attributes that the product has with a value of the query's; 0 when it has none.
fn attribute_similarity(query: &Facets, product: &Facets) -> f32 {
    let of_query = query.attributes.values().filter(|values| !values.is_empty());
    shared_attributes(query, product).len() as f32 / of_query.count().max(1) as f32
}

/// The first of each group, when asked for; products without a group stand alone.
fn grouped(mut found: Vec<Candidate>, query: &SimilarQuery) -> Vec<Candidate> {
    if query.group_by.is_some() {
        let mut seen: HashSet<String> = HashSet::new();
        found.retain(|candidate| match &candidate.hit.facets.group_id {
            Some(group) => seen.insert(group.clone()),
            None => true,
        });
    }
    found
}

/// The first `count` that diversity chooses. A product that is gone by now is left out.
fn diverse(index: &Index, query: &SimilarQuery, mut found: Vec<Candidate>, count: usize) -> Vec<Candidate> {
    found.truncate(DIVERSITY_POOL);
    let vector = |found: &Candidate| {
        let images = index.product(&found.hit.product_id, true)?.images;
        Some(images.into_iter().find(|image| image.image_id == found.hit.image_id)?.embedding)
    };
    let (found, vectors): (Vec<_>, Vec<_>) =
        found.into_iter().filter_map(|found| vector(&found).map(|vector| (found, vector))).unzip();
    diversified(found, &vectors, query.diversity, count)
}

/// What comes after the last item of the page before.
fn after_cursor(mut found: Vec<Candidate>, query: &SimilarQuery) -> Vec<Candidate> {
    let Some(cursor) = &query.cursor else { return found };
    let start = if query.is_diverse() {
        // Not in order of score: after that item, or as many as there were before, where it is gone.
        let last = found.iter().position(|found| found.hit.product_id == cursor.product_id);
        last.map_or(cursor.given as usize, |last| last + 1).min(found.len())
    } else {
        let last = (cursor.score, cursor.product_id.as_str());
        found.partition_point(|found| order((found.score, &found.hit.product_id), last) != Ordering::Greater)
    };
    found.drain(..start);
    found
}

fn page(
    index: &Index,
    query: &SimilarQuery,
    probe: &Probe,
    mut found: Vec<Candidate>,
    given: usize,
    seq: u64,
) -> SimilarPage {
    let more = found.len() > query.limit;
    found.truncate(query.limit);
    let next_cursor = found.last().filter(|_| more).map(|last| {
        let cursor = Cursor {
            fingerprint: query.fingerprint(),
            seq,
            given: u32::try_from(given + found.len()).unwrap_or(u32::MAX),
            score: last.score,
            product_id: last.hit.product_id.clone(),
        };
        cursor.encode()
    });
    let item = |Candidate { hit, score, redundancy }: Candidate| SimilarItem {
        explain: query.explain.then(|| explain(query, &probe.facets, &hit, redundancy)),
        product_id: hit.product_id,
        score,
        image_id: hit.image_id,
        group_id: hit.facets.group_id,
    };
    SimilarPage {
        items: found.into_iter().map(item).collect(),
        next_cursor,
        model_version: index.config().model_version.clone(),
        seq,
    }
}

fn explain(query: &SimilarQuery, facets: &Facets, hit: &Hit, redundancy: Option<f32>) -> Explain {
    Explain {
        embedding: hit.score,
        color: color_similarity(facets, &hit.facets),
        attributes: attribute_similarity(facets, &hit.facets),
        popularity: hit.facets.popularity.unwrap_or(0.0),
        weights: query.weights,
        redundancy,
        shared_colors: shared_colors(facets, &hit.facets),
        shared_attributes: shared_attributes(facets, &hit.facets),
    }
}
