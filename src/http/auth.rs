//! API keys: who calls and what they may do. Keys are kept as SHA-256 only; the file that names them is safe to back up.
//! Without keys everything is open, and [`refuse_open_listener`] lets that be so on loopback only.

use super::problem::{Kind, Problem};
use axum::http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Keys in one file; every request is compared with all of them.
const MAX_KEYS: usize = 10_000;

/// What a key may do. `admin` includes the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Write products and images; read what is stored.
    Ingest,
    /// Analyze, search; read what is stored.
    Search,
    /// Everything, metrics too.
    Admin,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingest => "ingest",
            Self::Search => "search",
            Self::Admin => "admin",
        })
    }
}

/// Who sent a request: the id of the key, empty when everything is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Caller {
    /// Id of the key, for logs and idempotency; never the key.
    pub(super) key_id: String,
}

/// One key as the file has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    sha256: String,
    scopes: Vec<Scope>,
    #[serde(default)]
    max_concurrent: Option<NonZeroU16>,
}

#[derive(Clone, Debug)]
struct Key {
    id: String,
    sha256: [u8; 32],
    scopes: Vec<Scope>,
    /// Requests that it may have under way, where that is limited, and the places left.
    places: Option<(NonZeroU16, Arc<Semaphore>)>,
}

/// A request's place among those its key may have under way; given back when dropped.
pub(super) type Place = Option<OwnedSemaphorePermit>;

/// Every key that is let in.
#[derive(Clone, Debug)]
pub struct KeyRing(Vec<Key>);

/// Why a file of keys is refused; never quotes a hash.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read keys from {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not a JSON array of keys and not a key a line.
    #[error("keys: expected JSON objects with id, sha256 and scopes: {0}")]
    Json(#[from] serde_json::Error),
    /// A key that cannot be one.
    #[error("key {id:?}: expected {expected}")]
    Invalid {
        /// Its id.
        id: String,
        /// What it had to have.
        expected: &'static str,
    },
    /// No key, or too many.
    #[error("keys: expected 1 to {MAX_KEYS}, received {received}")]
    Count {
        /// How many there are.
        received: usize,
    },
}

impl KeyRing {
    /// Reads keys from a file: a JSON array, or one object a line, of
    /// `{"id": "shop", "sha256": "<64 hex digits of the key's SHA-256>", "scopes": ["search"]}`; with
    /// `"max_concurrent": 8` at most so many of its requests are answered at a time, further ones get 429.
    ///
    /// # Errors
    /// When the file cannot be read, is no such JSON, or has a key without id, hash or scope, or an id twice.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let text = std::fs::read_to_string(path).map_err(|source| KeyError::Io { path: path.to_path_buf(), source })?;
        Self::parse(&text)
    }

    /// [`KeyRing::load`] from text.
    ///
    /// # Errors
    /// As [`KeyRing::load`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let entries: Vec<Entry> = if text.trim_start().starts_with('[') {
            serde_json::from_str(text)?
        } else {
            serde_json::Deserializer::from_str(text).into_iter().collect::<Result<_, _>>()?
        };
        if entries.is_empty() || entries.len() > MAX_KEYS {
            return Err(KeyError::Count { received: entries.len() });
        }
        let mut keys: Vec<Key> = Vec::with_capacity(entries.len());
        let mut ids = std::collections::HashSet::new();
        for Entry { id, sha256, scopes, max_concurrent } in entries {
            let mut hash = [0; 32];
            let expected = match () {
                () if id.is_empty() || id.chars().any(char::is_control) => Some("an id of visible characters"),
                () if !ids.insert(id.clone()) => Some("an id that no other key has"),
                () if hex::decode_to_slice(&sha256, &mut hash).is_err() => Some("sha256 of 64 hex digits"),
                () if scopes.is_empty() => Some("at least one scope"),
                () => None,
            };
            if let Some(expected) = expected {
                return Err(KeyError::Invalid { id, expected });
            }
            let places = max_concurrent.map(|most| (most, Arc::new(Semaphore::new(most.get().into()))));
            keys.push(Key { id, sha256: hash, scopes, places });
        }
        Ok(Self(keys))
    }

    /// Whether the request's key is known, has one of `scopes` and a place left for another request.
    ///
    /// # Errors
    /// 401 without a known key, 403 when it has none of the scopes, 429 when all its places are taken.
    pub(super) fn admit(&self, headers: &HeaderMap, scopes: &[Scope]) -> Result<(Caller, Place), Problem> {
        let key = bearer(headers).and_then(|token| self.find(token)).ok_or_else(unauthorized)?;
        let admitted = key.scopes.iter().any(|s| *s == Scope::Admin || scopes.contains(s));
        if admitted {
            return Ok((Caller { key_id: key.id.clone() }, key.place()?));
        }
        let list = |scopes: &[Scope]| scopes.iter().map(Scope::to_string).collect::<Vec<_>>();
        let needed = list(scopes).join(" or ");
        Err(Problem::new(Kind::MissingScope, format!("this route needs the scope {needed}"))
            .expected(needed)
            .received(list(&key.scopes).join(", ")))
    }

    /// Compares with every key, in a time that depends on their number alone.
    fn find(&self, token: &str) -> Option<&Key> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let (mut found, mut index) = (Choice::from(0), 0_u64);
        for (i, key) in self.0.iter().enumerate() {
            let equal = key.sha256.ct_eq(&hash);
            index.conditional_assign(&(i as u64), equal);
            found |= equal;
        }
        bool::from(found).then(|| self.0.get(index as usize)).flatten()
    }
}

impl Key {
    fn place(&self) -> Result<Place, Problem> {
        let Some((most, places)) = &self.places else { return Ok(None) };
        Arc::clone(places).try_acquire_owned().map(Some).map_err(|_| {
            Problem::new(Kind::KeyBusy, format!("the key {} has {most} requests under way, as many as it may", self.id))
                .limit(most.get().into())
                .retry_after(1)
        })
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized() -> Problem {
    Problem::new(Kind::Unauthorized, "no known API key in `Authorization`")
        .expected("Authorization: Bearer <key>")
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"vitrine\""))
}

/// An address other machines can reach, and no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refusing to listen on {addr} without keys: give a keys file, or listen on 127.0.0.1")]
pub struct OpenListener {
    /// The address.
    pub addr: SocketAddr,
}

/// Without keys only loopback may be listened on.
///
/// # Errors
/// [`OpenListener`] for any other address without keys.
pub fn refuse_open_listener(addr: SocketAddr, keys: Option<&KeyRing>) -> Result<(), OpenListener> {
    if keys.is_some() || addr.ip().to_canonical().is_loopback() { Ok(()) } else { Err(OpenListener { addr }) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ring() -> KeyRing {
        let line = |id: &str, key: &str, scopes: &str| {
            format!(r#"{{"id": "{id}", "sha256": "{}", "scopes": {scopes}}}"#, hex::encode(Sha256::digest(key)))
        };
        let text = [line("shop", "s3cret", r#"["search"]"#), line("ops", "r00t", r#"["admin"]"#)].join("\n");
        KeyRing::parse(&text).unwrap()
    }

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_known_key_is_admitted_for_its_scopes() {
        let ring = ring();
        assert_eq!(ring.admit(&headers("Bearer s3cret"), &[Scope::Search]).unwrap().0.key_id, "shop");
        assert_eq!(ring.admit(&headers("bearer r00t"), &[Scope::Ingest]).unwrap().0.key_id, "ops");
        let refused = ring.admit(&headers("Bearer s3cret"), &[Scope::Ingest]).unwrap_err();
        assert_eq!(refused.kind, Kind::MissingScope);
    }

    #[test]
    fn a_key_has_no_more_requests_under_way_than_it_may() {
        let hash = hex::encode(Sha256::digest("s3cret"));
        let text = format!(r#"{{"id": "shop", "sha256": "{hash}", "scopes": ["search"], "max_concurrent": 2}}"#);
        // A clone is the same ring: limits are the key's, not the handler's.
        let ring = KeyRing::parse(&text).unwrap();
        let (admit, again) = (|ring: &KeyRing| ring.admit(&headers("Bearer s3cret"), &[Scope::Search]), ring.clone());
        let (first, second) = (admit(&ring).unwrap(), admit(&again).unwrap());
        let refused = admit(&ring).unwrap_err();
        assert_eq!((refused.kind, refused.kind.status().as_u16()), (Kind::KeyBusy, 429));
        drop(first);
        assert!(admit(&ring).is_ok());
        drop(second);
    }

    #[test]
    fn anything_else_is_unauthorized() {
        let ring = ring();
        for value in ["Bearer nope", "Bearer ", "Basic s3cret", "s3cret", "Bearer s3cret2"] {
            let refused = ring.admit(&headers(value), &[Scope::Search]).unwrap_err();
            assert_eq!(refused.kind, Kind::Unauthorized, "{value}");
        }
        assert_eq!(ring.admit(&HeaderMap::new(), &[Scope::Search]).unwrap_err().kind, Kind::Unauthorized);
    }

    #[test]
    fn files_that_are_no_keys_are_refused() {
        let hash = hex::encode([7; 32]);
        let bad = [
            String::new(),
            "[]".to_owned(),
            "shop s3cret".to_owned(),
            r#"[{"id": "a", "sha256": "zz", "scopes": ["search"]}]"#.to_owned(),
            format!(r#"[{{"id": "a", "sha256": "{hash}", "scopes": []}}]"#),
            format!(r#"[{{"id": "a", "sha256": "{hash}", "scopes": ["all"]}}]"#),
            format!(r#"[{{"id": "a", "key": "plain", "sha256": "{hash}", "scopes": ["search"]}}]"#),
            format!(r#"{{"id": "a", "sha256": "{hash}", "scopes": ["search"]}}"#).repeat(2),
        ];
        for text in bad {
            assert!(KeyRing::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_loopback_may_be_open() {
        for (addr, open) in [
            ("127.0.0.1:80", true),
            ("[::1]:80", true),
            ("[::ffff:127.0.0.1]:80", true),
            ("0.0.0.0:80", false),
            ("10.0.0.1:80", false),
        ] {
            let addr = addr.parse().unwrap();
            assert_eq!(refuse_open_listener(addr, None).is_ok(), open, "{addr}");
            assert!(refuse_open_listener(addr, Some(&ring())).is_ok());
        }
    }
}
