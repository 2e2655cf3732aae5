//! Writes of images: storing, replacing, deleting, and seeing one again with another model version.

use super::codec::{embedding_to_blob, from_json, to_i64, to_json};
use super::ids::{MAX_LABEL_CHARS, validate_text};
use super::photos::is_hash;
use super::{CatalogError, ChangeKind, Image, NewImage, Payload, Tx, models, read};
use crate::analyzer::Analysis;
use crate::photo::Area;
use rusqlite::params;

/// Most images of one product: a record is read and sent whole.
pub const MAX_IMAGES: usize = 256;

impl Tx<'_> {
    /// Stores an image of a product, replacing one of the same id, and returns it. The photo is in its place, on
    /// disk, before the transaction commits. A replaced image keeps its place among the product's images.
    pub fn put_image(&mut self, product_id: &str, new: NewImage<'_>) -> Result<Image, CatalogError> {
        let NewImage { image_id, photo, content_type, area, analysis, embedding, also } = new;
        super::validate_id("image_id", image_id)?;
        validate_content_type(content_type)?;
        let also = also.filter(|(other, _)| other.model_version != analysis.model_version);
        for seen in [Some(&analysis), also.as_ref().map(|(other, _)| other)].into_iter().flatten() {
            if seen.sha256 != photo.sha256() {
                return Err(CatalogError::invalid("analysis.sha256", photo.sha256(), seen.sha256.clone()));
            }
        }
        let own = Row::new(&analysis, embedding)?;
        let second = also.as_ref().map(|(other, embedding)| Row::new(other, embedding)).transpose()?;
        // Between the look and this write, another version may have become current.
        let shown = match models::current(self.conn())? {
            Some(current) if current == analysis.model_version => analysis.clone(),
            Some(current) => match &also {
                Some((other, _)) if other.model_version == current => other.clone(),
                _ => {
                    let received = analysis.model_version;
                    return Err(CatalogError::OtherModel { expected: current, received });
                }
            },
            None => analysis.clone(),
        };
        let product = self.expect_product(product_id)?;
        let old = product.images.iter().find(|image| image.image_id == image_id);
        if old.is_none() && product.images.len() >= MAX_IMAGES {
            let product_id = product_id.into();
            return Err(CatalogError::TooManyImages { product_id, limit: MAX_IMAGES });
        }
        if let Some(old) = old {
            self.touch_photo(&old.analysis.sha256);
        }
        self.touch_photo(photo.sha256());
        let size_bytes = to_i64(photo.size_bytes());
        self.place_photo(photo)?;
        let image = Image {
            image_id: image_id.into(),
            created_at: old.map_or_else(|| self.now().into(), |old| old.created_at.clone()),
            analysis: shown,
        };
        self.atomically(|tx| {
            let key: i64 = tx
                .conn()
                .prepare_cached(
                    "INSERT INTO images (product_id, image_id, sha256, content_type, size_bytes, created_at, area)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                     ON CONFLICT (product_id, image_id)
                         DO UPDATE SET sha256 = ?3, content_type = ?4, size_bytes = ?5, area = ?7
                     RETURNING image_key",
                )?
                .query_row(
                    params![
                        product_id,
                        image_id,
                        image.analysis.sha256,
                        content_type,
                        size_bytes,
                        image.created_at,
                        area.map(|area| area.to_string())
                    ],
                    |row| row.get(0),
                )?;
            tx.conn().prepare_cached("DELETE FROM analyses WHERE image_key = ?1")?.execute([key])?;
            for row in [Some(&own), second.as_ref()].into_iter().flatten() {
                row.store(tx, key)?;
            }
            tx.image_changed(ChangeKind::ImageUpserted, product_id, &image)
        })?;
        Ok(image)
    }

    /// Deletes an image of a product; returns the change's sequence number. Its photo goes with its last reference.
    pub fn delete_image(&mut self, product_id: &str, image_id: &str) -> Result<u64, CatalogError> {
        let product = self.expect_product(product_id)?;
        let Some(image) = product.images.iter().find(|image| image.image_id == image_id) else {
            return Err(CatalogError::UnknownImage { product_id: product_id.into(), image_id: image_id.into() });
        };
        self.atomically(|tx| {
            tx.conn()
                .prepare_cached("DELETE FROM images WHERE product_id = ?1 AND image_id = ?2")?
                .execute([product_id, image_id])?;
            tx.touch_photo(&image.analysis.sha256);
            let kind = ChangeKind::ImageDeleted;
            let product = tx.product_changed(kind, product_id, Some(image_id), Payload::default())?;
            Ok(product.seq)
        })
    }

    /// Adds what a model version saw on an image, beside what others saw. `analysis.sha256` and `area` say what was seen:
    /// when the image is gone or shows something else by now, nothing happens and `None` comes back. It is a change of
    /// the image only where the version is the current one (or none is): else nobody is shown it yet.
    pub fn add_analysis(
        &mut self,
        product_id: &str,
        image_id: &str,
        area: Option<Area>,
        analysis: &Analysis,
        embedding: &[f32],
    ) -> Result<Option<Image>, CatalogError> {
        let row = Row::new(analysis, embedding)?;
        let Some(stored) = read::image(self.conn(), product_id, image_id)? else {
            return Ok(None);
        };
        if stored.image.analysis.sha256 != analysis.sha256 || stored.area != area {
            return Ok(None);
        }
        let is_shown = models::current(self.conn())?.is_none_or(|current| current == analysis.model_version);
        let image = Image { analysis: analysis.clone(), ..stored.image };
        self.atomically(|tx| {
            let key: i64 = tx
                .conn()
                .prepare_cached("SELECT image_key FROM images WHERE product_id = ?1 AND image_id = ?2")?
                .query_row([product_id, image_id], |row| row.get(0))?;
            row.store(tx, key)?;
            if is_shown { tx.image_changed(ChangeKind::AnalysisReplaced, product_id, &image) } else { Ok(()) }
        })?;
        Ok(Some(image))
    }

    /// Deletes up to `limit` analyses of versions other than `keep`; returns how many.
    pub fn drop_analyses(&mut self, keep: &[String], limit: usize) -> Result<usize, CatalogError> {
        let keep = to_json("keep", &keep)?;
        Ok(self
            .conn()
            .prepare_cached(
                "DELETE FROM analyses WHERE analysis_key IN (SELECT analysis_key FROM analyses
                     WHERE model_version NOT IN (SELECT value FROM json_each(?1)) LIMIT ?2)",
            )?
            .execute(params![keep, to_i64(limit as u64)])?)
    }

    fn image_changed(&mut self, kind: ChangeKind, product_id: &str, image: &Image) -> Result<(), CatalogError> {
        let payload = Payload { image: Some(image.clone()), ..Payload::default() };
        self.product_changed(kind, product_id, Some(&image.image_id), payload)?;
        Ok(())
    }
}

/// An analysis as it is stored.
struct Row<'a> {
    model_version: &'a str,
    json: String,
    embedding: Vec<u8>,
}

impl<'a> Row<'a> {
    fn new(analysis: &'a Analysis, embedding: &[f32]) -> Result<Self, CatalogError> {
        let (json, embedding) = (checked_json(analysis)?, embedding_to_blob(embedding)?);
        Ok(Self { model_version: &analysis.model_version, json, embedding })
    }

    /// A version that looks again replaces what it had said.
    fn store(&self, tx: &Tx<'_>, image_key: i64) -> Result<(), CatalogError> {
        tx.conn()
            .prepare_cached(
                "INSERT OR REPLACE INTO analyses (image_key, model_version, analysis, embedding)
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![image_key, self.model_version, self.json, self.embedding])?;
        Ok(())
    }
}

/// JSON of an analysis that is sure to be read back: a NaN would become `null` and make the product unreadable.
fn checked_json(analysis: &Analysis) -> Result<String, CatalogError> {
    validate_text("analysis.model_version", &analysis.model_version, 1, MAX_LABEL_CHARS)?;
    if !is_hash(&analysis.sha256) {
        let received = analysis.sha256.chars().take(64).collect::<String>();
        return Err(CatalogError::invalid("analysis.sha256", "64 lower-case hex digits", received));
    }
    let json = to_json("analysis", analysis)?;
    match from_json::<Analysis>(&json, || "analysis".into()) {
        Ok(_) => Ok(json),
        Err(error) => Err(CatalogError::invalid("analysis", "finite numbers", error.to_string())),
    }
}

/// A media type goes out again as a header: printable ASCII only.
fn validate_content_type(content_type: &str) -> Result<(), CatalogError> {
    let printable = content_type.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if printable && (1..=100).contains(&content_type.len()) {
        return Ok(());
    }
    let received: String = content_type.chars().take(100).collect();
    let expected = "1 to 100 printable ASCII characters";
    Err(CatalogError::invalid("content_type", expected, format!("{received:?}")))
}
