//! Products in the order of their last changes, and those that are gone: for those who keep a copy of all of them.

use super::codec::to_i64;
use super::{CatalogError, IndexRecord, changes, models, read, schema};
use rusqlite::{Connection, params};

/// What a copy has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedTo {
    /// The model version it was seen by.
    pub model_version: String,
    /// Products whose last change is not after this one, as they were then.
    pub seq: u64,
    /// No product that was deleted by a change up to this one.
    pub deleted_seq: u64,
}

/// What became of a product.
#[derive(Clone, Debug, PartialEq)]
pub enum ProductState {
    /// It is so.
    Present(Box<IndexRecord>),
    /// It was deleted.
    Deleted {
        /// Which it was.
        product_id: String,
        /// The change that deleted it.
        seq: u64,
        /// RFC 3339, UTC: when.
        at: String,
    },
}

impl ProductState {
    /// The change it comes from.
    pub fn seq(&self) -> u64 {
        match self {
            Self::Present(record) => record.product.seq,
            Self::Deleted { seq, .. } => *seq,
        }
    }
}

/// Some products, in the order of their last changes.
#[derive(Clone, Debug, PartialEq)]
pub struct ProductStates {
    /// Which catalog they are of.
    pub catalog_id: String,
    /// What became of them.
    pub states: Vec<ProductState>,
    /// What a copy has that takes them in.
    pub copied_to: CopiedTo,
    /// Whether there may be more.
    pub more: bool,
    /// Of the first change that is kept: of products that were deleted before, nothing is known.
    pub first: u64,
    /// Of the last change there is: a copy beyond it is of a catalog that was put back since.
    pub last: u64,
}

/// States that a copy lacks, some `limit` of them; of an empty one where there is none. Where another model's analyses are shown
/// than the copy's, of all products.
pub(super) fn states(conn: &Connection, copy: Option<&CopiedTo>, limit: usize) -> Result<ProductStates, CatalogError> {
    let model_version = models::current(conn)?.unwrap_or_default();
    let last = changes::last_seq(conn)?;
    let (since, deleted_seq) = match copy {
        None => (0, last),
        Some(copy) if copy.model_version != model_version => (0, copy.deleted_seq),
        Some(copy) => (copy.seq, copy.deleted_seq),
    };
    let limit = limit.clamp(1, read::MAX_PAGE);
    let records = read::index_records(conn, &model_version, since, limit)?;
    let gone = deleted(conn, since.max(deleted_seq), limit)?;
    // Both lists are whole up to here.
    let end_of = |list: &[ProductState]| list.last().filter(|_| list.len() == limit).map(ProductState::seq);
    let mut states: Vec<ProductState> = records.into_iter().map(Box::new).map(ProductState::Present).collect();
    let end = [end_of(&states), end_of(&gone)].into_iter().flatten().min();
    states.extend(gone);
    let through = end.unwrap_or(last);
    states.retain(|state| state.seq() <= through);
    states.sort_by_key(ProductState::seq);
    let copied_to = CopiedTo { model_version, seq: through, deleted_seq: deleted_seq.max(through) };
    Ok(ProductStates {
        catalog_id: schema::catalog_id(conn)?,
        states,
        copied_to,
        more: end.is_some(),
        first: changes::first_seq(conn)?,
        last,
    })
}

fn deleted(conn: &Connection, after: u64, limit: usize) -> Result<Vec<ProductState>, CatalogError> {
    let mut statement = conn.prepare_cached(
        "SELECT product_id, seq, at FROM changes INDEXED BY changes_deleted
         WHERE kind = 'product_deleted' AND seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let rows = statement.query_map(params![to_i64(after), read::page(limit)], |row| {
        let seq = row.get(1).map(super::codec::to_u64)?;
        Ok(ProductState::Deleted { product_id: row.get(0)?, seq, at: row.get(2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
