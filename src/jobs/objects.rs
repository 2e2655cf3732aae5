//! Photos and manifests in object stores: Amazon's S3 and all that speak it, Google's and Azure's.

use super::SourceError;
use crate::photo::Fetched;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, GetOptions, GetResult, ObjectStore, RetryConfig};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use url::Url;

/// Schemes of the stores.
pub(super) const SCHEMES: [&str; 4] = ["s3", "gs", "az", "abfs"];
/// Buckets whose clients are kept.
const MAX_STORES: usize = 64;
/// Time to connect; time for an answer, its body included.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(60);

/// Which objects may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectAccess {
    /// All that the credentials open: the command that asks is its user's own.
    All,
    /// Those below these URLs, e.g. `s3://photos/shop/`: the credentials are the service's, not the caller's.
    Below(Vec<Url>),
}

impl ObjectAccess {
    fn allows(&self, url: &Url) -> bool {
        let below = |root: &Url| {
            let (of_root, of_url) = (root.path().trim_end_matches('/'), url.path());
            let inside = of_url.strip_prefix(of_root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            root.scheme() == url.scheme() && root.host_str() == url.host_str() && inside
        };
        match self {
            Self::All => true,
            Self::Below(roots) => roots.iter().any(below),
        }
    }
}

/// The stores that were asked so far.
#[derive(Debug)]
pub(super) struct Objects {
    access: ObjectAccess,
    /// Settings by the names that the stores' own tools have for them in the environment: `AWS_ACCESS_KEY_ID`, ...
    settings: Vec<(String, String)>,
    stores: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
}

impl Objects {
    pub(super) fn new(access: ObjectAccess, settings: Vec<(String, String)>) -> Self {
        Self { access, settings, stores: Mutex::default() }
    }

    /// The object at `url`, `None` where it still is the version `etag`.
    pub(super) async fn get(
        &self,
        url: &Url,
        etag: Option<&str>,
        limit: usize,
    ) -> Result<Option<Fetched>, SourceError> {
        let options = GetOptions { if_none_match: etag.map(str::to_owned), ..GetOptions::default() };
        let answer = match self.ask(url, options).await {
            Err(SourceError::Object(object_store::Error::NotModified { .. })) => return Ok(None),
            answer => answer?,
        };
        if answer.meta.size > limit as u64 {
            return Err(SourceError::TooLong { limit });
        }
        let etag = answer.meta.e_tag.clone();
        let mut bytes = BytesMut::new();
        let mut pieces = answer.into_stream();
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece?);
            if bytes.len() > limit {
                return Err(SourceError::TooLong { limit });
            }
        }
        Ok(Some(Fetched { bytes: bytes.freeze(), etag }))
    }

    /// The object at `url`, piece by piece.
    pub(super) async fn get_into<E: From<SourceError>>(
        &self,
        url: &Url,
        limit: u64,
        mut write: impl FnMut(Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        let answer = self.ask(url, GetOptions::default()).await?;
        let mut received = 0;
        let mut pieces = answer.into_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(SourceError::from)?;
            received += piece.len() as u64;
            if received > limit {
                return Err(SourceError::TooLong { limit: usize::try_from(limit).unwrap_or(usize::MAX) }.into());
            }
            write(piece)?;
        }
        Ok(())
    }

    async fn ask(&self, url: &Url, options: GetOptions) -> Result<GetResult, SourceError> {
        if !self.access.allows(url) {
            return Err(SourceError::NotAllowed);
        }
        let path = Path::from_url_path(url.path()).map_err(object_store::Error::from)?;
        Ok(self.store(url)?.get_opts(&path, options).await?)
    }

    fn store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>, SourceError> {
        let name = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(&name) {
            return Ok(Arc::clone(store));
        }
        if stores.len() >= MAX_STORES {
            stores.clear();
        }
        let store = self.open(url.scheme(), &name)?;
        stores.insert(name, Arc::clone(&store));
        Ok(store)
    }

    fn open(&self, scheme: &str, name: &str) -> Result<Arc<dyn ObjectStore>, SourceError> {
        // Asking again is the caller's, who counts attempts.
        let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let client = ClientOptions::new().with_connect_timeout(CONNECT).with_timeout(ANSWER);
        macro_rules! open {
            ($builder:ty) => {{
                let mut builder = <$builder>::new().with_client_options(client).with_retry(retry);
                for (key, value) in &self.settings {
                    if let Ok(key) = key.to_ascii_lowercase().parse() {
                        builder = builder.with_config(key, value);
                    }
                }
                Arc::new(builder.with_url(name).build()?)
            }};
        }
        Ok(match scheme {
            "s3" => open!(AmazonS3Builder),
            "gs" => open!(GoogleCloudStorageBuilder),
            _ => open!(MicrosoftAzureBuilder),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn objects_are_read_below_their_roots_only() {
        let url = |text: &str| Url::parse(text).unwrap();
        let access = ObjectAccess::Below(vec![url("s3://photos/shop/"), url("gs://all")]);
        for allowed in ["s3://photos/shop/a.jpg", "s3://photos/shop/x/y.jpg", "gs://all/a.jpg"] {
            assert!(access.allows(&url(allowed)), "{allowed}");
        }
        for refused in [
            "s3://photos/a.jpg",
            "s3://photos/shop2/a.jpg",
            "s3://photos/shop/../a.jpg",
            "s3://other/shop/a.jpg",
            "gs://photos/shop/a.jpg",
            "s3://all/a.jpg",
        ] {
            assert!(!access.allows(&url(refused)), "{refused}");
        }
        assert!(ObjectAccess::All.allows(&url("az://any/a.jpg")));
    }
}
