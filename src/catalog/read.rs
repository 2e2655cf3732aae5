//! Queries. Each runs in a read transaction of its own, so that a record and its images are of one moment, and sees
//! every write that was acknowledged before it began. Every list is bounded and goes on from a key, never an offset.

use super::codec::{embedding_from_blob, from_json, to_i64, to_u64};
use super::{CatalogError, Counts, Image, ImageRef, IndexRecord, Metadata, Product, StoredImage};
use crate::analyzer::Analysis;
use crate::model::Embedding;
use crate::photo::Area;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;

/// Most products, records or references read at once.
pub const MAX_PAGE: usize = 1_000;

/// Of `images i`, joined to the analysis `a` to show: that of the wanted version `?1`, else the newest there is.
const SHOWN: &str = "FROM images i JOIN analyses a ON a.analysis_key = coalesce(
    (SELECT analysis_key FROM analyses WHERE image_key = i.image_key AND model_version = ?1),
    (SELECT max(analysis_key) FROM analyses WHERE image_key = i.image_key))";

/// A product with its images and their analyses by the current model version.
pub(super) fn product(conn: &Connection, id: &str) -> Result<Option<Product>, CatalogError> {
    let current = super::models::current(conn)?.unwrap_or_default();
    product_by(conn, id, &current)
}

/// A product with its images and their analyses by `version`, or by another where it has not looked.
fn product_by(conn: &Connection, id: &str, version: &str) -> Result<Option<Product>, CatalogError> {
    let sql = "SELECT product_id, title, category, price, currency, in_stock, group_id, url, tags, attributes,
                      corrections, created_at, updated_at, seq, popularity FROM products WHERE product_id = ?1";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([id])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let mut product = product_row(row)?;
    product.images = images(conn, id, version)?;
    Ok(Some(product))
}

/// Whether there is such a product.
pub(super) fn is_product(conn: &Connection, id: &str) -> Result<bool, CatalogError> {
    Ok(conn
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM products WHERE product_id = ?1)")?
        .query_row([id], |row| row.get(0))?)
}

/// Products after the id `after`, in the order of their ids, at most `limit`.
pub(super) fn products(conn: &Connection, after: Option<&str>, limit: usize) -> Result<Vec<Product>, CatalogError> {
    // No id is empty, so every id is after "".
    let sql = "SELECT product_id FROM products WHERE product_id > ?1 ORDER BY product_id LIMIT ?2";
    let ids = ids(conn, sql, params![after.unwrap_or_default(), page(limit)])?;
    ids.iter().filter_map(|id| product(conn, id).transpose()).collect()
}

/// As [`products`], of those with a correction in force.
pub(super) fn corrected_products(
    conn: &Connection,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Product>, CatalogError> {
    let sql = "SELECT product_id FROM products WHERE product_id > ?1 AND corrections <> '{}'
               ORDER BY product_id LIMIT ?2";
    let ids = ids(conn, sql, params![after.unwrap_or_default(), page(limit)])?;
    ids.iter().filter_map(|id| product(conn, id).transpose()).collect()
}

/// What the index of `version` needs of the products whose last change is after `since`, in the order of those changes.
pub(super) fn index_records(
    conn: &Connection,
    version: &str,
    since: u64,
    limit: usize,
) -> Result<Vec<IndexRecord>, CatalogError> {
    let sql = "SELECT product_id FROM products WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    let ids = ids(conn, sql, params![to_i64(since), page(limit)])?;
    ids.iter().filter_map(|id| index_record(conn, version, id).transpose()).collect()
}

/// What the index of `version` needs of one product.
pub(super) fn index_record(conn: &Connection, version: &str, id: &str) -> Result<Option<IndexRecord>, CatalogError> {
    let Some(product) = product_by(conn, id, version)? else {
        return Ok(None);
    };
    let embeddings = embeddings(conn, id, version)?;
    let embeddings = embeddings.into_iter().map(|(_, embedding)| embedding).collect();
    Ok(Some(IndexRecord { product, embeddings }))
}

/// Product ids, the first column of a query.
fn ids(conn: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<Vec<String>, CatalogError> {
    let mut statement = conn.prepare_cached(sql)?;
    let ids = statement.query_map(params, |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

pub(super) fn page(limit: usize) -> i64 {
    to_i64(limit.min(MAX_PAGE) as u64)
}

fn product_row(row: &Row<'_>) -> Result<Product, CatalogError> {
    let product_id: String = row.get(0)?;
    let whose = |part: &str| format!("{part} of product {product_id:?}");
    let tags: Option<String> = row.get(8)?;
    let attributes: Option<String> = row.get(9)?;
    let corrections: String = row.get(10)?;
    let metadata = Metadata {
        title: row.get(1)?,
        category: row.get(2)?,
        price: row.get(3)?,
        currency: row.get(4)?,
        in_stock: row.get(5)?,
        group_id: row.get(6)?,
        url: row.get(7)?,
        tags: tags.map(|t| from_json(&t, || whose("tags"))).transpose()?,
        attributes: attributes.map(|a| from_json(&a, || whose("attributes"))).transpose()?,
        popularity: row.get(14)?,
    };
    Ok(Product {
        metadata,
        corrections: from_json(&corrections, || whose("corrections"))?,
        images: Vec::new(),
        created_at: row.get(11)?,
        updated_at: row.get(12)?,
        seq: to_u64(row.get(13)?),
        product_id,
    })
}

fn images(conn: &Connection, product_id: &str, version: &str) -> Result<Vec<Image>, CatalogError> {
    let sql =
        format!("SELECT i.image_id, a.analysis, i.created_at {SHOWN} WHERE i.product_id = ?2 ORDER BY i.image_key");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query([version, product_id])?;
    let mut images = Vec::new();
    while let Some(row) = rows.next()? {
        images.push(image_row(row, product_id)?);
    }
    Ok(images)
}

/// A column with a part of a photo, as [`Area`] writes it.
pub(super) fn area_of(row: &Row<'_>, column: usize) -> Result<Option<Area>, CatalogError> {
    let text: Option<String> = row.get(column)?;
    let damaged = |text: &String| CatalogError::corrupt(format!("{text:?} is no part of a photo"));
    text.map(|text| text.parse().map_err(|_| damaged(&text))).transpose()
}

/// Columns: image_id, analysis, created_at.
fn image_row(row: &Row<'_>, product_id: &str) -> Result<Image, CatalogError> {
    let image_id: String = row.get(0)?;
    let analysis: String = row.get(1)?;
    Ok(Image {
        analysis: from_json(&analysis, || format!("analysis of image {image_id:?} of product {product_id:?}"))?,
        created_at: row.get(2)?,
        image_id,
    })
}

/// One image of a product.
pub(super) fn image(conn: &Connection, product_id: &str, image_id: &str) -> Result<Option<StoredImage>, CatalogError> {
    let current = super::models::current(conn)?.unwrap_or_default();
    let sql = format!(
        "SELECT i.image_id, a.analysis, i.created_at, i.content_type, i.size_bytes, i.area {SHOWN}
         WHERE i.product_id = ?2 AND i.image_id = ?3"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query([&current, product_id, image_id])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some(StoredImage {
        image: image_row(row, product_id)?,
        content_type: row.get(3)?,
        size_bytes: to_u64(row.get(4)?),
        area: area_of(row, 5)?,
    }))
}

/// The embeddings of a product's images by image id, in the order of its images; versions as in [`product_by`].
pub(super) fn embeddings(
    conn: &Connection,
    product_id: &str,
    version: &str,
) -> Result<Vec<(String, Embedding)>, CatalogError> {
    let sql = format!("SELECT i.image_id, a.embedding {SHOWN} WHERE i.product_id = ?2 ORDER BY i.image_key");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query([version, product_id])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let image_id: String = row.get(0)?;
        let embedding = embedding_from_blob(row.get_ref(1)?.as_blob().unwrap_or_default(), || {
            format!("image {image_id:?} of product {product_id:?}")
        })?;
        found.push((image_id, embedding));
    }
    Ok(found)
}

/// The embedding of one image.
pub(super) fn embedding(
    conn: &Connection,
    product_id: &str,
    image_id: &str,
) -> Result<Option<Embedding>, CatalogError> {
    let current = super::models::current(conn)?.unwrap_or_default();
    let sql = format!("SELECT a.embedding {SHOWN} WHERE i.product_id = ?2 AND i.image_id = ?3");
    let mut statement = conn.prepare_cached(&sql)?;
    let blob: Option<Vec<u8>> = statement.query_row([&current, product_id, image_id], |row| row.get(0)).optional()?;
    blob.map(|blob| embedding_from_blob(&blob, || format!("image {image_id:?} of product {product_id:?}"))).transpose()
}

/// Images that `version` has not seen, after `after`, in the order they came, at most `limit`.
pub(super) fn images_not_of_model(
    conn: &Connection,
    version: &str,
    after: Option<&ImageRef>,
    limit: usize,
) -> Result<Vec<ImageRef>, CatalogError> {
    let mut statement = conn.prepare_cached(
        "SELECT product_id, image_id, sha256, image_key, area FROM images i
         WHERE image_key > ?2 AND NOT EXISTS
             (SELECT 1 FROM analyses WHERE image_key = i.image_key AND model_version = ?1)
         ORDER BY image_key LIMIT ?3",
    )?;
    let after = after.map_or(-1, |a| a.image_key);
    let mut rows = statement.query(params![version, after, page(limit)])?;
    let mut images = Vec::new();
    while let Some(row) = rows.next()? {
        images.push(ImageRef {
            product_id: row.get(0)?,
            image_id: row.get(1)?,
            sha256: row.get(2)?,
            image_key: row.get(3)?,
            area: area_of(row, 4)?,
        });
    }
    Ok(images)
}

/// What model `version` saw on that part of the photo of this hash, where any image shows it.
pub(super) fn seen(
    conn: &Connection,
    version: &str,
    sha256: &str,
    area: Option<Area>,
) -> Result<Option<(Analysis, Embedding, String)>, CatalogError> {
    let mut statement = conn.prepare_cached(
        // In this order: else it walks all that the model has seen.
        "SELECT a.analysis, a.embedding, i.content_type FROM images i CROSS JOIN analyses a USING (image_key)
         WHERE i.sha256 = ?2 AND i.area IS ?3 AND a.model_version = ?1 LIMIT 1",
    )?;
    let mut rows = statement.query(params![version, sha256, area.map(|area| area.to_string())])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (analysis, whose): (String, _) = (row.get(0)?, || format!("analysis of photo {sha256}"));
    let embedding = embedding_from_blob(row.get_ref(1)?.as_blob().unwrap_or_default(), whose)?;
    Ok(Some((from_json(&analysis, whose)?, embedding, row.get(2)?)))
}

/// Whether any image shows the photo of this hash.
pub(super) fn is_photo_referenced(conn: &Connection, sha256: &str) -> Result<bool, CatalogError> {
    Ok(conn
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM images WHERE sha256 = ?1)")?
        .query_row([sha256], |row| row.get(0))?)
}

/// How much there is. Counts walk an index: milliseconds a million rows.
pub(super) fn counts(conn: &Connection) -> Result<Counts, CatalogError> {
    let products = conn.query_row("SELECT count(*) FROM products", [], |row| row.get(0))?;
    let mut statement = conn.prepare_cached("SELECT model_version, count(*) FROM analyses GROUP BY model_version")?;
    let by_model = statement.query_map([], |row| Ok((row.get(0)?, to_u64(row.get(1)?))))?;
    Ok(Counts {
        products: to_u64(products),
        images: to_u64(conn.query_row("SELECT count(*) FROM images", [], |row| row.get(0))?),
        images_by_model: by_model.collect::<Result<BTreeMap<_, _>, _>>()?,
        last_seq: super::changes::last_seq(conn)?,
    })
}
