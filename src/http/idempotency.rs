//! `Idempotency-Key`: a write sent twice is done once. The service stores the first answer; this makes the fingerprint
//! that tells a repeated request from another one, and turns stored answers back into responses.

use super::extract::caller;
use super::problem::Problem;
use crate::catalog::IdempotencyKey;
use crate::service::Reply;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Longest key, in bytes.
const KEY_CHARS: usize = 255;

/// The request's key, `None` without one. `content` is what makes the request this one: its body, or of a multipart
/// body the hash of its parts, since clients draw a new boundary for every attempt.
///
/// # Errors
/// 400 for a key that is not 1 to 255 visible ASCII characters.
pub(super) fn of(parts: &Parts, content: &[u8]) -> Result<Option<IdempotencyKey>, Problem> {
    let mut keys = parts.headers.get_all(KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let text = key.to_str().unwrap_or_default();
    let visible = text.bytes().all(|b| b.is_ascii_graphic());
    if keys.next().is_some() || !visible || !(1..=KEY_CHARS).contains(&text.len()) {
        let received = String::from_utf8_lossy(key.as_bytes());
        return Err(Problem::invalid("Idempotency-Key", "one of 1 to 255 visible ASCII characters", received));
    }
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    Ok(Some(IdempotencyKey::new(&caller(parts), text, parts.method.as_str(), target, content)?))
}

/// A write's answer as a response: 201 when it made something, 204 without a body, else 200.
pub(super) fn answer(reply: Reply) -> Response {
    let status = match (reply.created, reply.body.is_empty()) {
        (true, _) => StatusCode::CREATED,
        (false, true) => StatusCode::NO_CONTENT,
        (false, false) => StatusCode::OK,
    };
    let mut response = status.into_response();
    if !reply.body.is_empty() {
        response = (status, [(header::CONTENT_TYPE, "application/json")], reply.body).into_response();
    }
    if reply.replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use axum::http::Request;

    fn parts(method: &str, target: &str, key: &str) -> Parts {
        Request::builder().method(method).uri(target).header(KEY, key).body(()).unwrap().into_parts().0
    }

    #[test]
    fn another_method_target_or_body_is_another_request() {
        let key = |method, target, content: &[u8]| of(&parts(method, target, "k"), content).unwrap().unwrap();
        let first = key("PUT", "/v1/products/a?x=1", b"{}");
        assert_eq!(first, key("PUT", "/v1/products/a?x=1", b"{}"));
        assert_ne!(first, key("POST", "/v1/products/a?x=1", b"{}"));
        assert_ne!(first, key("PUT", "/v1/products/a?x=2", b"{}"));
        assert_ne!(first, key("PUT", "/v1/products/a?x=1", b"{ }"));
    }

    #[test]
    fn keys_are_visible_ascii_of_at_most_255() {
        for good in ["a", &"k".repeat(255), "~!7"] {
            assert!(of(&parts("PUT", "/", good), b"").unwrap().is_some(), "{good:?}");
        }
        for bad in ["", "a b", &"k".repeat(256), "ü"] {
            assert!(of(&parts("PUT", "/", bad), b"").is_err(), "{bad:?}");
        }
        assert!(of(&Request::new(()).into_parts().0, b"").unwrap().is_none());
    }
}
