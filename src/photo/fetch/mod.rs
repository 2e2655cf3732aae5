//! A stranger's URL becomes bytes, without becoming a way into our own network.
//! The address that was checked is the address that is connected to: the check sits in the client's resolver, so
//! no second look-up can answer differently, and every redirect goes through it again.

mod address;
mod allow;
mod error;
mod post;
mod resolve;
#[cfg(test)]
mod tests;

pub use error::FetchError;
pub use post::Answer;

use allow::AllowList;
use bytes::{Bytes, BytesMut};
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, HeaderMap, IF_NONE_MATCH, LOCATION, RETRY_AFTER,
};
use reqwest::{Certificate, Client, Response, StatusCode};
use resolve::Resolver;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use url::{Host, Url};

/// Longest version of a photo that is kept.
const MAX_ETAG_BYTES: usize = 256;

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The body.
    pub bytes: Bytes,
    /// Its version, as the server calls it (RFC 9110, 8.8.3).
    pub etag: Option<String>,
}

/// What fetching may cost, and where it may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchConfig {
    /// Most bytes of a photo. Default 20 MiB, as [`super::Limits::body_bytes`].
    pub max_bytes: usize,
    /// Time to connect, TLS included, in milliseconds. Default 3,000.
    pub connect_ms: u64,
    /// Time for everything after the queue, redirects included, in milliseconds. Default 15,000.
    pub total_ms: u64,
    /// Most redirects followed. Default 3.
    pub redirects: usize,
    /// Most fetches at a time. Default 32.
    pub concurrency: usize,
    /// Longest wait for one of these places, in milliseconds. Default 2,000.
    pub queue_ms: u64,
    /// Hosts and ranges that need not be public: `host`, `host:port`, `address`, `address:port`,
    /// `address/prefix`. A named host may lead anywhere. Default none.
    pub allow_hosts: Vec<String>,
    /// PEM file of certificate authorities to trust beside the system's, for image hosts of an intranet. Default none.
    pub ca_file: Option<PathBuf>,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            max_bytes: 20 << 20,
            connect_ms: 3_000,
            total_ms: 15_000,
            redirects: 3,
            concurrency: 32,
            queue_ms: 2_000,
            allow_hosts: Vec::new(),
            ca_file: None,
        }
    }
}

/// Fetches photos by URL. Cheap to clone; clones share their connections and places.
#[derive(Clone, Debug)]
pub struct Fetcher {
    config: Arc<FetchConfig>,
    allowed: Arc<AllowList>,
    places: Arc<Semaphore>,
    /// Connects only to addresses that passed the check.
    guarded: Client,
    /// For hosts allowed by name, wherever these lead. A client of its own, so that no connection it keeps open is
    /// ever used for a host that was not allowed.
    trusting: Client,
}

/// A URL that may be asked for, as far as its text tells.
#[derive(Clone, Debug)]
struct Target {
    url: Url,
    host: Host,
    port: u16,
}

impl Target {
    fn parse(url: &str) -> Result<Self, FetchError> {
        let url = Url::parse(url).map_err(|error| FetchError::Url { detail: error.to_string() })?;
        Self::new(url)
    }

    /// The `url` crate has read numbers in any base, octal dots and brackets already (WHATWG URL, host parsing), so
    /// what looks like a name here is one.
    fn new(url: Url) -> Result<Self, FetchError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(FetchError::Scheme { expected: "http or https", received: url.scheme().to_owned() });
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(FetchError::Userinfo);
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(FetchError::Url { detail: "it has no host".to_owned() });
        };
        let host = host.to_owned();
        Ok(Self { url, host, port })
    }
}

impl Fetcher {
    /// Builds the clients. Without any certificate store on the machine, `https` will fail and `http` will work.
    ///
    /// # Errors
    /// [`FetchError::AllowHost`], [`FetchError::CaFile`], [`FetchError::Client`].
    pub fn new(config: FetchConfig) -> Result<Self, FetchError> {
        // An error means that the process has a provider already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let allowed = Arc::new(AllowList::parse(&config.allow_hosts)?);
        let authorities = config.ca_file.as_deref().map(authorities).transpose()?.unwrap_or_default();
        Ok(Self {
            guarded: client(&config, &authorities, &Resolver::guarded(Arc::clone(&allowed)))?,
            trusting: client(&config, &authorities, &Resolver::trusting())?,
            places: Arc::new(Semaphore::new(config.concurrency)),
            allowed,
            config: Arc::new(config),
        })
    }

    /// The body behind `url`, following redirects.
    ///
    /// # Errors
    /// [`FetchError`]; its variants name each fault.
    pub async fn fetch(&self, url: &str) -> Result<Bytes, FetchError> {
        let fetched = self.fetch_changed(url, None).await?;
        // Only an answer to a condition is none, and there was no condition.
        fetched.map(|fetched| fetched.bytes).ok_or(FetchError::Status {
            expected: 200,
            received: 304,
            retry_after_s: 0,
        })
    }

    /// As [`Fetcher::fetch`], with the version that the server says it is; `None` where it still is the version `etag`.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn fetch_changed(&self, url: &str, etag: Option<&str>) -> Result<Option<Fetched>, FetchError> {
        let target = Target::parse(url)?;
        let _place = self.place().await?;
        let limit_ms = self.config.total_ms;
        timeout(Duration::from_millis(limit_ms), self.changed(target, etag))
            .await
            .unwrap_or(Err(FetchError::Timeout { limit_ms }))
    }

    /// A place among the requests under way.
    async fn place(&self) -> Result<SemaphorePermit<'_>, FetchError> {
        let FetchConfig { queue_ms, concurrency, .. } = *self.config;
        let queue = timeout(Duration::from_millis(queue_ms), self.places.acquire());
        match queue.await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(FetchError::Busy { limit: concurrency, waited_ms: queue_ms }),
        }
    }

    async fn changed(&self, target: Target, etag: Option<&str>) -> Result<Option<Fetched>, FetchError> {
        let (target, response) = self.follow(target, etag).await?;
        if etag.is_some() && response.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let version = response.headers().get(ETAG).and_then(|value| value.to_str().ok());
        let etag = version.filter(|version| version.len() <= MAX_ETAG_BYTES).map(str::to_owned);
        Ok(Some(Fetched { bytes: self.body(&target, response).await?, etag }))
    }

    /// What redirects lead to, and its answer.
    async fn follow(&self, mut target: Target, etag: Option<&str>) -> Result<(Target, Response), FetchError> {
        for _ in 0..=self.config.redirects {
            let response = self.ask(&target, etag).await?;
            match redirect(&target, &response)? {
                Some(next) => target = next,
                None => return Ok((target, response)),
            }
        }
        Err(FetchError::Redirects { limit: self.config.redirects })
    }

    /// What is behind `url`, of any kind and of at most `limit` bytes, piece by piece. The answer and each piece have the time that
    /// a photo has, all of them an hour.
    ///
    /// # Errors
    /// [`FetchError`], or what `write` fails with.
    pub async fn fetch_into<E: From<FetchError>>(
        &self,
        url: &str,
        limit: usize,
        mut write: impl FnMut(Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        /// Longest time for all pieces, in milliseconds.
        const ALL_MS: u64 = 3_600_000;
        let piece_ms = self.config.total_ms;
        let (late, too_late) = (FetchError::Timeout { limit_ms: piece_ms }, FetchError::Timeout { limit_ms: ALL_MS });
        let pieces = async {
            let piece = Duration::from_millis(piece_ms);
            let answer = timeout(piece, self.follow(Target::parse(url)?, None)).await;
            let (target, mut response) = answer.unwrap_or(Err(late.clone()))?;
            check_head(&response)?;
            let mut received = 0;
            loop {
                let next = timeout(piece, self.chunk(&target, &mut response, received)).await;
                let Some(chunk) = next.unwrap_or(Err(late.clone()))? else { return Ok(()) };
                received += chunk.len() as u64;
                if received > limit as u64 {
                    return Err(FetchError::TooLarge { limit, received }.into());
                }
                write(chunk)?;
            }
        };
        timeout(Duration::from_millis(ALL_MS), pieces).await.unwrap_or(Err(too_late.into()))
    }

    /// What asks for it.
    fn client(&self, target: &Target) -> Result<&Client, FetchError> {
        if self.allowed.host(target) {
            return Ok(&self.trusting);
        }
        // A literal address never reaches the resolver, so it is checked here.
        let literal = match target.host {
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
            Host::Domain(_) => None,
        };
        if let Some(address) = literal.filter(|&address| !self.allowed.address(address)) {
            let host = target.host.to_string();
            return Err(FetchError::AddressRefused { host, address });
        }
        Ok(&self.guarded)
    }

    async fn ask(&self, target: &Target, etag: Option<&str>) -> Result<Response, FetchError> {
        let mut request = self.client(target)?.get(target.url.clone());
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let answer = request.send().await;
        answer.map_err(|error| self.fault(target, &error))
    }

    async fn body(&self, target: &Target, mut response: Response) -> Result<Bytes, FetchError> {
        check_head(&response)?;
        let limit = self.config.max_bytes;
        let announced = response.content_length();
        let check = |received: u64| match usize::try_from(received) {
            Ok(bytes) if bytes <= limit => Ok(bytes),
            _ => Err(FetchError::TooLarge { limit, received }),
        };
        let expected = check(announced.unwrap_or(0))?;
        // A promise is no reason to allocate: at most 1 MiB before the first byte.
        let mut body = BytesMut::with_capacity(expected.min(1 << 20));
        while let Some(chunk) = self.chunk(target, &mut response, body.len() as u64).await? {
            check(body.len() as u64 + chunk.len() as u64)?;
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// The next piece of a body of which `received` bytes have come.
    async fn chunk(
        &self,
        target: &Target,
        response: &mut Response,
        received: u64,
    ) -> Result<Option<Bytes>, FetchError> {
        response.chunk().await.map_err(|error| match error.is_body() || error.is_decode() {
            true => FetchError::Incomplete { received },
            false => self.fault(target, &error),
        })
    }

    /// Finds what our resolver said in the chain of causes, else says what reqwest says.
    fn fault(&self, target: &Target, error: &reqwest::Error) -> FetchError {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        let mut detail = String::new();
        while let Some(error) = cause {
            if let Some(ours) = error.downcast_ref::<FetchError>() {
                return ours.clone();
            }
            detail = error.to_string();
            cause = error.source();
        }
        if error.is_timeout() {
            let limit_ms = self.config.connect_ms;
            return FetchError::Timeout { limit_ms };
        }
        FetchError::Connection { host: target.host.to_string(), detail }
    }
}

/// Whether a body follows, as it lies there.
fn check_head(response: &Response) -> Result<(), FetchError> {
    if response.status() != StatusCode::OK {
        let (received, retry_after_s) = (response.status().as_u16(), retry_after_s(response.headers()));
        return Err(FetchError::Status { expected: 200, received, retry_after_s });
    }
    match response.headers().get(CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(FetchError::Encoding { expected: "identity", received: encoding.as_bytes().escape_ascii().to_string() })
        }
        _ => Ok(()),
    }
}

/// Seconds a server asks to be left alone for, 0 where it does not. A date, the other form it may have, is rare enough to be a
/// pause like any other.
fn retry_after_s(headers: &HeaderMap) -> u32 {
    let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    after.and_then(|seconds| seconds.trim().parse().ok()).unwrap_or(0)
}

/// Where a redirect leads; `None` when the response is none. Its target is as much a stranger's as the first URL.
fn redirect(from: &Target, response: &Response) -> Result<Option<Target>, FetchError> {
    let status = response.status().as_u16();
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION);
    let next = location
        .and_then(|location| std::str::from_utf8(location.as_bytes()).ok())
        .and_then(|location| from.url.join(location).ok())
        .ok_or(FetchError::Location { status })?;
    Target::new(next).map(Some)
}

/// The certificates in a PEM file, at least one.
fn authorities(path: &Path) -> Result<Vec<Certificate>, FetchError> {
    let fault = |detail: String| FetchError::CaFile { path: path.to_owned(), detail };
    let pem = std::fs::read(path).map_err(|error| fault(error.to_string()))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| fault(error.to_string()))?;
    if found.is_empty() { Err(fault("it has no certificate".to_owned())) } else { Ok(found) }
}

fn client(config: &FetchConfig, authorities: &[Certificate], resolver: &Resolver) -> Result<Client, FetchError> {
    let headers = [(ACCEPT, "image/*"), (ACCEPT_ENCODING, "identity")];
    let headers = headers.map(|(name, value)| (name, reqwest::header::HeaderValue::from_static(value)));
    let builder = || {
        Client::builder()
            .default_headers(headers.iter().cloned().collect())
            .user_agent(concat!("vitrine/", env!("CARGO_PKG_VERSION")))
            // A proxy would resolve and connect on its own, past every check.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(Duration::from_millis(config.connect_ms))
            .dns_resolver(resolver.clone())
    };
    let built = builder().tls_certs_merge(authorities.iter().cloned()).build().or_else(|error| {
        tracing::warn!(%error, "no certificate store of the system: https URLs need a CA file, http URLs work");
        builder().tls_certs_only(authorities.iter().cloned()).build()
    });
    built.map_err(|error| match &config.ca_file {
        // Certificates are read when the client is built, and nothing else of a client is ours to get wrong.
        Some(path) => FetchError::CaFile { path: path.clone(), detail: error.to_string() },
        None => FetchError::Client { detail: error.to_string() },
    })
}
