//! The resolver inside the HTTP client: what it lets pass is what is connected to, and nothing is looked up twice.

use super::FetchError;
use super::allow::AllowList;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::SocketAddr;
use std::sync::Arc;

/// Looks names up with the system's resolver and refuses those that lead to a refused address.
#[derive(Clone, Debug)]
pub(super) struct Resolver {
    /// `None` lets every address pass.
    allowed: Option<Arc<AllowList>>,
}

impl Resolver {
    pub(super) fn guarded(allowed: Arc<AllowList>) -> Self {
        let allowed = Some(allowed);
        Self { allowed }
    }

    pub(super) fn trusting() -> Self {
        Self { allowed: None }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.allowed.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            // Port 0 is replaced by the URL's.
            let Ok(found) = tokio::net::lookup_host((host.as_str(), 0)).await else {
                return Err(FetchError::Resolve { host }.into());
            };
            let found: Vec<SocketAddr> = found.collect();
            if let Some(allowed) = allowed {
                check(&host, &found, &allowed)?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// One refused address refuses the name: an honest host does not mix public and private ones, and picking the
/// public ones would let a stranger probe which answer is tried first.
pub(super) fn check(host: &str, found: &[SocketAddr], allowed: &AllowList) -> Result<(), FetchError> {
    let host = host.to_owned();
    if found.is_empty() {
        return Err(FetchError::Resolve { host });
    }
    match found.iter().find(|found| !allowed.address(found.ip())) {
        Some(refused) => Err(FetchError::AddressRefused { host, address: refused.ip() }),
        None => Ok(()),
    }
}
