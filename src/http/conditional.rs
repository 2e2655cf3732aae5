//! Conditional requests: entity tags from content, and 304 for a client that has it already (RFC 9110, 13.1.2).

use super::problem::Problem;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Kept by the caller alone, and asked for again before every use: what is stored may change.
pub(super) const REVALIDATE: HeaderValue = HeaderValue::from_static("private, no-cache");
/// Bytes of the hash in a tag: 16 are enough that no two bodies meet.
const TAG_BYTES: usize = 16;

/// JSON with an entity tag, or 304. Bodies are deterministic, so the hash of one is a strong validator.
///
/// # Errors
/// 500 when the value does not serialize, which none of ours does.
pub(super) fn json_or_304(request: &HeaderMap, value: &impl Serialize) -> Result<Response, Problem> {
    // Room for a page of similar products: growing to it from nothing copies it over and over.
    let mut body = Vec::with_capacity(4 << 10);
    serde_json::to_writer(&mut body, value).map_err(Problem::internal)?;
    let hash = Sha256::digest(&body);
    let tag = hash.get(..TAG_BYTES).map(hex::encode).unwrap_or_default();
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok(tagged(request, &tag, (json, body)))
}

/// `response` with the entity tag, or 304 when the client has it.
pub(super) fn tagged(request: &HeaderMap, tag: &str, response: impl IntoResponse) -> Response {
    let tag = format!("\"{tag}\"");
    let known = request.get_all(header::IF_NONE_MATCH).iter().any(|value| matches(value, &tag));
    let mut response = if known { StatusCode::NOT_MODIFIED.into_response() } else { response.into_response() };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, REVALIDATE);
    response
}

/// Weak comparison, as `If-None-Match` asks for: a proxy that compresses turns our tags into weak ones.
fn matches(value: &HeaderValue, tag: &str) -> bool {
    let value = value.to_str().unwrap_or_default();
    value.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_known_tag_gets_304_with_the_tag() {
        let first = json_or_304(&HeaderMap::new(), &[1, 2]).unwrap();
        assert_eq!(first.status(), StatusCode::OK);
        let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            let request = HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_str(&known).unwrap())]);
            let again = json_or_304(&request, &[1, 2]).unwrap();
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{known}");
            assert_eq!(again.headers()[header::ETAG], tag);
            let changed = json_or_304(&request, &[1, 3]).unwrap();
            assert_eq!(changed.status() == StatusCode::OK, known != "*", "{known}");
        }
    }
}
