//! A person's corrections: what is in force lies with the product; every one ever made is kept beside it, with what
//! the model said then, as training data.

use super::codec::{from_json, to_i64, to_json, to_u64};
use super::ids::{MAX_LABEL_CHARS, validate_text};
use super::metadata::validate_count;
use super::{CatalogError, ChangeKind, Correction, Observed, Payload, Product, Tx};
use rusqlite::{Connection, params};
use std::collections::BTreeMap;

impl Tx<'_> {
    /// Corrects attributes of a product and returns it. A value wins over merchant and model; `None` says that the
    /// attribute does not apply to the product and takes it away. Corrections of other names stay in force; what
    /// already stands so is not recorded again.
    pub fn correct_attributes(
        &mut self,
        product_id: &str,
        corrections: &BTreeMap<String, Option<String>>,
    ) -> Result<Product, CatalogError> {
        for (name, value) in corrections {
            validate_text("corrections", name, 1, MAX_LABEL_CHARS)?;
            if let Some(value) = value {
                validate_text("corrections", value, 1, MAX_LABEL_CHARS)?;
            }
        }
        let before = self.expect_product(product_id)?;
        let mut after = before.corrections.clone();
        after.extend(corrections.clone());
        validate_count("corrections", after.len())?;
        if after == before.corrections {
            return Ok(before);
        }
        self.atomically(|tx| {
            tx.conn()
                .prepare_cached("UPDATE products SET corrections = ?2 WHERE product_id = ?1")?
                .execute(params![product_id, to_json("corrections", &after)?])?;
            let payload = Payload { corrections: Some(after.clone()), ..Payload::default() };
            let kind = ChangeKind::AttributesCorrected;
            let product = tx.product_changed(kind, product_id, None, payload)?;
            let made = corrections.iter().filter(|(name, value)| before.corrections.get(*name) != Some(*value));
            for (name, value) in made {
                tx.keep_correction(&product, name, value.as_deref())?;
            }
            Ok(product)
        })
    }

    fn keep_correction(&self, product: &Product, name: &str, value: Option<&str>) -> Result<(), CatalogError> {
        let observed = to_json("observed", &observed(product, name))?;
        self.conn()
            .prepare_cached(
                "INSERT INTO corrections (seq, at, product_id, name, value, observed)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![to_i64(product.seq), product.updated_at, product.product_id, name, value, observed])?;
        Ok(())
    }
}

/// What the model says of attribute `name` on each image.
fn observed(product: &Product, name: &str) -> Vec<Observed> {
    let observe = |image: &super::Image| {
        let said = image.analysis.attributes.iter().find(|a| a.name == name);
        Observed {
            image_id: image.image_id.clone(),
            sha256: image.analysis.sha256.clone(),
            area: image.analysis.area,
            model_version: image.analysis.model_version.clone(),
            value: said.and_then(|a| a.value.clone()),
            confidence: said.map_or(0.0, |a| a.confidence),
            candidates: said.map(|a| a.candidates.clone()).unwrap_or_default(),
        }
    };
    product.images.iter().map(observe).collect()
}

/// Corrections after `correction_id`, oldest first, at most `limit` (and at most [`MAX_PAGE`](super::MAX_PAGE)).
pub(super) fn after(conn: &Connection, correction_id: u64, limit: usize) -> Result<Vec<Correction>, CatalogError> {
    let mut statement = conn.prepare_cached(
        "SELECT correction_id, seq, at, product_id, name, value, observed FROM corrections
         WHERE correction_id > ?1 ORDER BY correction_id LIMIT ?2",
    )?;
    let limit = to_i64(limit.min(super::MAX_PAGE) as u64);
    let mut rows = statement.query(params![to_i64(correction_id), limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let correction_id = to_u64(row.get(0)?);
        let observed: String = row.get(6)?;
        found.push(Correction {
            correction_id,
            seq: to_u64(row.get(1)?),
            at: row.get(2)?,
            product_id: row.get(3)?,
            name: row.get(4)?,
            value: row.get(5)?,
            observed: from_json(&observed, || format!("correction {correction_id}"))?,
        });
    }
    Ok(found)
}
