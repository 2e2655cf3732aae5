//! A look at a store that another process may be working on: no lock, no migration, nothing written.

use super::{CatalogError, CopiedTo, DATABASE, MAX_PAGE, PHOTOS, Product, ProductStates, photos, read, schema, states};
use rusqlite::Connection;
use std::path::{Path, PathBuf};

/// Reads one data directory, also while a server has it open. Each call sees the store as it is at that moment.
pub struct CatalogReader {
    conn: Connection,
    photos: PathBuf,
}

impl CatalogReader {
    /// Opens the store in `data_dir` for reading.
    ///
    /// # Errors
    /// When there is no store, or one of another schema: a server of this version migrates an older one when it opens.
    pub fn open(data_dir: &Path) -> Result<Self, CatalogError> {
        let conn = schema::open_reader(&data_dir.join(DATABASE))?;
        let (found, expected) = (schema::version(&conn)?, schema::supported_version());
        if found != expected {
            let expected = format!("a store of schema version {expected}; open it once with `vitrine serve`");
            return Err(CatalogError::invalid("data_dir", expected, format!("version {found}")));
        }
        Ok(Self { conn, photos: data_dir.join(PHOTOS) })
    }

    /// As [`Catalog::products`](super::Catalog::products), of those with a correction in force.
    pub fn corrected_products(&self, after: Option<&str>, limit: usize) -> Result<Vec<Product>, CatalogError> {
        read::corrected_products(&self.conn, after, limit.min(MAX_PAGE))
    }

    /// As [`Catalog::product_states`](super::Catalog::product_states).
    pub fn product_states(&self, copy: Option<&CopiedTo>, limit: usize) -> Result<ProductStates, CatalogError> {
        // One state of the store for all queries of it.
        let tx = self.conn.unchecked_transaction()?;
        states::states(&tx, copy, limit)
    }

    /// As [`Catalog::photo_bytes`](super::Catalog::photo_bytes).
    pub fn photo_bytes(&self, sha256: &str) -> Result<Option<Vec<u8>>, CatalogError> {
        photos::read_from(&self.photos, sha256)
    }

    /// The media type of an image's photo.
    pub fn content_type(&self, product_id: &str, image_id: &str) -> Result<Option<String>, CatalogError> {
        Ok(read::image(&self.conn, product_id, image_id)?.map(|stored| stored.content_type))
    }
}
