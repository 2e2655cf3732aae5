//! Everything that can go wrong between a URL and its bytes.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// Why a URL gave no bytes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Not a URL.
    #[error("not a URL: {detail}")]
    Url {
        /// What the parser said.
        detail: String,
    },
    /// Another scheme than `http` and `https`.
    #[error("the scheme must be {expected}; received {received}")]
    Scheme {
        /// What is accepted.
        expected: &'static str,
        /// The scheme received.
        received: String,
    },
    /// User name or password in the URL.
    #[error("a URL with a user name or password is refused")]
    Userinfo,
    /// The host is, or resolves to, an address that is not on the public internet and not allowed.
    #[error("{host} leads to {address}, which is not a public address")]
    AddressRefused {
        /// Host in the URL, of the redirect if there was one.
        host: String,
        /// The first refused address of it.
        address: IpAddr,
    },
    /// The name has no address.
    #[error("{host} cannot be resolved")]
    Resolve {
        /// Host in the URL.
        host: String,
    },
    /// More redirects than [`super::FetchConfig::redirects`].
    #[error("more than {limit} redirects")]
    Redirects {
        /// Most redirects followed.
        limit: usize,
    },
    /// A redirect without a `Location` that can be read.
    #[error("status {status} without a usable Location")]
    Location {
        /// The status received.
        status: u16,
    },
    /// Another status than 200.
    #[error("the server answered with status {received}; expected {expected}")]
    Status {
        /// 200.
        expected: u16,
        /// The status received.
        received: u16,
        /// Seconds after which the server wants to be asked again; 0 where it does not say.
        retry_after_s: u32,
    },
    /// A content coding that was not asked for: photos are compressed already, and a bomb needs one.
    #[error("the server answered with content encoding {received}; expected {expected}")]
    Encoding {
        /// `identity`.
        expected: &'static str,
        /// The coding received.
        received: String,
    },
    /// More bytes than [`super::FetchConfig::max_bytes`], announced or sent.
    #[error("the photo has {received} bytes or more; the limit is {limit}")]
    TooLarge {
        /// Most bytes accepted.
        limit: usize,
        /// Bytes announced, or counted until it was too many.
        received: u64,
    },
    /// The connection ended before the announced length.
    #[error("the connection ended after {received} bytes")]
    Incomplete {
        /// Bytes received.
        received: u64,
    },
    /// Not finished within [`super::FetchConfig::total_ms`] (or connected within `connect_ms`).
    #[error("not finished within {limit_ms} ms")]
    Timeout {
        /// The limit in milliseconds.
        limit_ms: u64,
    },
    /// Too many fetches under way already, for longer than [`super::FetchConfig::queue_ms`].
    #[error("{limit} fetches are under way already; none ended within {waited_ms} ms")]
    Busy {
        /// Most fetches at a time.
        limit: usize,
        /// How long this one waited, in milliseconds.
        waited_ms: u64,
    },
    /// Connection refused, TLS failure, not HTTP, and the like.
    #[error("the connection to {host} failed: {detail}")]
    Connection {
        /// Host in the URL.
        host: String,
        /// What failed.
        detail: String,
    },
    /// An entry of [`super::FetchConfig::allow_hosts`] that cannot be read. Only from [`super::Fetcher::new`].
    #[error("allow_hosts entry {received:?} is not {expected}")]
    AllowHost {
        /// What an entry may be.
        expected: &'static str,
        /// The entry.
        received: String,
    },
    /// [`super::FetchConfig::ca_file`] cannot be used. Only from [`super::Fetcher::new`].
    #[error("certificate authorities in {}: {detail}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The HTTP client could not be built. Only from [`super::Fetcher::new`].
    #[error("the HTTP client cannot be built: {detail}")]
    Client {
        /// What failed.
        detail: String,
    },
}

impl FetchError {
    /// What it counts under, where many are counted.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::AddressRefused { .. } => "address not allowed",
            Self::TooLarge { .. } => "file too long",
            Self::Timeout { .. } | Self::Busy { .. } => "fetch timed out",
            Self::Status { .. } => "URL answered with an error",
            _ => "cannot fetch the URL",
        }
    }

    /// How long the server wants to be left alone.
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::Status { retry_after_s, .. } => Duration::from_secs((*retry_after_s).into()),
            _ => Duration::ZERO,
        }
    }

    /// Whether it may be over when one asks again.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Resolve { .. }
            | Self::Incomplete { .. }
            | Self::Timeout { .. }
            | Self::Busy { .. }
            | Self::Connection { .. } => true,
            // Request timeout, too early, too many requests, and the server's own faults; not what it does not implement.
            Self::Status { received, .. } => {
                matches!(received, 408 | 425 | 429 | 500 | 502..=504 | 507 | 520..=599)
            }
            _ => false,
        }
    }
}
