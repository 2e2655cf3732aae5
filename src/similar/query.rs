//! Parameters to a checked query: limits, names, weights and the cursor's claim to belong to it.
//! Whatever is wrong is said here, with the parameter's name, what was expected and what came.

use super::cursor::Cursor;
use super::{ColorMode, DEFAULT_LIMIT, GroupBy, MAX_BASKET, MAX_LIMIT, SimilarError, SimilarParams, Source, Weights};
use crate::filter::Filter;
use sha2::{Digest, Sha256};
use std::ops::RangeInclusive;

/// A checked query.
#[derive(Clone, Debug, PartialEq)]
pub struct SimilarQuery {
    pub(super) source: Source,
    pub(super) limit: usize,
    pub(super) cursor: Option<Cursor>,
    pub(super) filter: Option<Filter>,
    pub(super) group_by: Option<GroupBy>,
    pub(super) color: ColorMode,
    /// Sum to 1.
    pub(super) weights: Weights,
    /// 0 to 1.
    pub(super) diversity: f32,
    pub(super) min_score: Option<f32>,
    pub(super) explain: bool,
}

impl SimilarError {
    #[allow(clippy::needless_pass_by_value)] // Numbers and texts alike; an error is not where a copy hurts.
    pub(super) fn invalid(field: &'static str, expected: impl Into<String>, received: impl ToString) -> Self {
        Self::Invalid { field, expected: expected.into(), received: received.to_string().chars().take(100).collect() }
    }
}

impl SimilarQuery {
    /// A query for products similar to `source`, asked for with `params`.
    pub fn new(source: Source, params: &SimilarParams) -> Result<Self, SimilarError> {
        check_source(&source)?;
        let limit = match params.limit {
            None => DEFAULT_LIMIT,
            Some(limit) => usize::try_from(limit)
                .ok()
                .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                .ok_or_else(|| SimilarError::invalid("limit", "1 to 200", limit))?,
        };
        let color = params.color.as_deref().map(ColorMode::parse).transpose()?;
        let mut query = Self {
            source,
            limit,
            cursor: None,
            filter: params.filter.as_ref().map(Filter::parse).transpose()?,
            group_by: params.group_by,
            color: color.unwrap_or_default(),
            weights: normalized(params.weights.unwrap_or_default())?,
            diversity: within("diversity", params.diversity, 0.0..=1.0)?.unwrap_or_default(),
            min_score: within("min_score", params.min_score, -1.0..=1.0)?,
            explain: params.explain,
        };
        if let Some(text) = &params.cursor {
            query.cursor = Some(Cursor::decode(text, query.fingerprint())?);
        }
        Ok(query)
    }

    /// Names all that decides the order of items, so that a cursor of another query is told from this one's.
    /// `limit` and `explain` may change from page to page.
    pub(super) fn fingerprint(&self) -> [u8; 8] {
        let filter = self.filter.as_ref().map(Filter::to_json);
        let weights = self.weights.all();
        let mut hash = Sha256::new();
        match &self.source {
            Source::Product(id) => hash.update(format!("product {id:?}")),
            Source::Basket(ids) => hash.update(format!("basket {ids:?}")),
            // The embedding names the photo; its facets follow from it, and are measured only where they are asked for.
            Source::Photo { embedding, .. } => {
                hash.update("photo ");
                for value in embedding {
                    hash.update(value.to_le_bytes());
                }
            }
        }
        let (group_by, color, min_score, diversity) = (self.group_by, &self.color, self.min_score, self.diversity);
        hash.update(format!("{filter:?}{group_by:?}{color:?}{weights:?}{min_score:?}{diversity:?}"));
        let mut fingerprint = [0; 8];
        fingerprint.copy_from_slice(&hash.finalize()[..8]);
        fingerprint
    }

    /// True when the query's own colors and attributes matter.
    pub fn compares_facets(&self) -> bool {
        !self.is_plain() || self.explain || self.color.is_relative()
    }

    /// True when the answer takes one short walk through the index an image: the nearest of all products, few of them.
    pub fn is_brief(&self) -> bool {
        /// Items of this page and those before.
        const FEW: usize = 64;
        let given = self.cursor.as_ref().map_or(0, |cursor| cursor.given as usize);
        let filters = self.filter.is_some() || self.color != ColorMode::Any || self.group_by.is_some();
        let is_one = !matches!(self.source, Source::Basket(_));
        is_one
            && self.is_plain()
            && !self.is_diverse()
            && !self.explain
            && !filters
            && given.saturating_add(self.limit) <= FEW
    }

    /// True when items are put in an order of their own.
    pub(super) fn is_diverse(&self) -> bool {
        self.diversity > 0.0
    }

    /// True when the score is the embedding's alone.
    pub(super) fn is_plain(&self) -> bool {
        let [_, rest @ ..] = self.weights.all();
        rest == [0.0; 3]
    }
}

fn check_source(source: &Source) -> Result<(), SimilarError> {
    let Source::Basket(ids) = source else {
        return Ok(());
    };
    if ids.is_empty() || ids.len() > MAX_BASKET {
        let received = format!("{} ids", ids.len());
        return Err(SimilarError::invalid("product_ids", "1 to 10 ids", received));
    }
    let mut sorted: Vec<&String> = ids.iter().collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(SimilarError::invalid("product_ids", "different ids", format!("{:?} twice", pair[0]))),
        None => Ok(()),
    }
}

fn normalized(weights: Weights) -> Result<Weights, SimilarError> {
    let all = weights.all();
    let sum: f32 = all.iter().sum();
    if all.iter().any(|weight| weight.is_nan() || *weight < 0.0) || !sum.is_finite() || sum <= 0.0 {
        return Err(SimilarError::invalid(
            "weights",
            "numbers of at least 0, not all 0",
            format!("embedding {}, color {}, attributes {}, popularity {}", all[0], all[1], all[2], all[3]),
        ));
    }
    let [embedding, color, attributes, popularity] = all.map(|weight| weight / sum);
    Ok(Weights { embedding, color, attributes, popularity })
}

fn within(name: &'static str, value: Option<f32>, range: RangeInclusive<f32>) -> Result<Option<f32>, SimilarError> {
    match value {
        Some(value) if !range.contains(&value) => {
            let expected = format!("a number from {} to {}", range.start(), range.end());
            Err(SimilarError::invalid(name, expected, value))
        }
        other => Ok(other),
    }
}
