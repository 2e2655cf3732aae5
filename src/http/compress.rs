//! Gzip, where it pays: long lists, pages of many items and the document, for clients that ask for it. A page of 20 similar
//! products (some 4 KB) is searched in less time than it takes to compress; photos are compressed as they are.

use axum::http::{HeaderValue, header};
use axum::response::Response;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

/// Bytes of a body below which it goes as it is.
const LEAST_BYTES: u16 = 8 << 10;

/// The layer; [`weaken`] goes around it.
pub(super) fn layer() -> CompressionLayer<impl Predicate> {
    let pays = SizeAbove::new(LEAST_BYTES).and(NotForContentType::IMAGES).and(NotForContentType::SSE);
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(pays)
}

/// A strong validator is one of bytes, and these are other bytes now (RFC 9110, 8.8.1).
pub(super) async fn weaken(mut response: Response) -> Response {
    if response.headers().contains_key(header::CONTENT_ENCODING)
        && let Some(tag) = response.headers_mut().get_mut(header::ETAG)
        && !tag.as_bytes().starts_with(b"W/")
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
    {
        *tag = weak;
    }
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use axum::body::Body;

    #[tokio::test]
    async fn tags_of_compressed_bodies_are_weak() {
        for (encoding, tag, expected) in
            [(Some("gzip"), "\"a\"", "W/\"a\""), (Some("gzip"), "W/\"a\"", "W/\"a\""), (None, "\"a\"", "\"a\"")]
        {
            let mut response = Response::new(Body::empty());
            response.headers_mut().insert(header::ETAG, tag.parse().unwrap());
            if let Some(encoding) = encoding {
                response.headers_mut().insert(header::CONTENT_ENCODING, encoding.parse().unwrap());
            }
            assert_eq!(weaken(response).await.headers()[header::ETAG], expected);
        }
    }
}
