//! The models directory and the engine that runs what lies in it.

use super::ServiceError;
use crate::model::{EngineConfig, Manifest, Model, scan};
use std::path::PathBuf;

/// Bundles by version.
#[derive(Clone, Debug)]
pub(super) struct Bundles {
    /// Folder of the bundles.
    pub(super) dir: PathBuf,
    /// What runs them.
    pub(super) engine: EngineConfig,
}

impl Bundles {
    /// The manifests of all.
    pub(super) fn scan(&self) -> Vec<Manifest> {
        scan(&self.dir).into_iter().map(|(_, manifest)| manifest).collect()
    }

    /// Folder of the bundle of `version`.
    pub(super) fn find(&self, version: &str) -> Option<PathBuf> {
        scan(&self.dir).into_iter().find(|(_, m)| m.version == version).map(|(dir, _)| dir)
    }

    /// Loads and self-tests the bundle of `version`.
    ///
    /// # Errors
    /// When there is none, or it does not pass.
    pub(super) fn load(&self, version: &str) -> Result<Model, ServiceError> {
        let unknown = |known: Vec<String>| ServiceError::UnknownModel { version: version.to_owned(), known };
        let Some(dir) = self.find(version) else {
            return Err(unknown(self.scan().into_iter().map(|m| m.version).collect()));
        };
        let model = Model::load(&dir, &self.engine)?;
        if model.version() != version {
            // Replaced between the listing and the reading.
            return Err(unknown(vec![model.version().to_owned()]));
        }
        Ok(model)
    }
}
