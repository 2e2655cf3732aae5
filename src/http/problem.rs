//! Everything that can go wrong with a request, as RFC 9457 problems: one [`Kind`] a cause, each with a stable URI.
//! A [`Problem`] travels as an extension of its response; [`super::observe`] writes the body, since only it knows
//! the request's id. The mapping from the rooms' errors is in [`super::faults`].

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::fmt::Display;
use utoipa::ToSchema;

/// Media type of every error.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";
/// Characters of received values that are sent back.
const SHOWN_CHARS: usize = 200;

macro_rules! kinds {
    ($($(#[doc = $meaning:literal])+ $name:ident = $slug:literal, $status:ident, $title:literal;)+) => {
        /// A cause. Its URI is `/problems/<slug>`; statuses follow one rule: 400 what cannot be read as a request,
        /// 413 and 415 bodies of the wrong size or type, 422 requests that are well formed but whose photo, URL or
        /// attribute cannot be used, 409 a conflict with what is stored.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Kind { $($(#[doc = $meaning])+ $name,)+ }

        impl Kind {
            /// Every kind, in the order of the statuses.
            pub(super) const ALL: &[Kind] = &[$(Kind::$name,)+];

            /// Last segment of the kind's URI.
            pub(super) fn slug(self) -> &'static str {
                match self { $(Kind::$name => $slug,)+ }
            }

            /// Status it is sent with.
            pub(super) fn status(self) -> StatusCode {
                match self { $(Kind::$name => StatusCode::$status,)+ }
            }

            /// Short name, the same for every occurrence.
            pub(super) fn title(self) -> &'static str {
                match self { $(Kind::$name => $title,)+ }
            }

            /// What it means, for readers of the documentation.
            pub(super) fn meaning(self) -> &'static str {
                match self { $(Kind::$name => concat!($($meaning,)+).trim_ascii(),)+ }
            }
        }
    };
}

kinds! {
    /// The body is not JSON.
    MalformedJson = "malformed-json", BAD_REQUEST, "Malformed JSON";
    /// The body is JSON or multipart, but a field is unknown, missing, of the wrong type or out of its bounds.
    InvalidBody = "invalid-body", BAD_REQUEST, "Invalid body";
    /// The body, or the photo in it, has 0 bytes.
    EmptyBody = "empty-body", BAD_REQUEST, "Empty body";
    /// A path segment, query parameter or header is malformed or out of its bounds.
    InvalidParameter = "invalid-parameter", BAD_REQUEST, "Invalid parameter";
    /// The route has no query parameter of this name.
    UnknownParameter = "unknown-parameter", BAD_REQUEST, "Unknown parameter";
    /// The filter is not a filter, or passes a limit of filters.
    InvalidFilter = "invalid-filter", BAD_REQUEST, "Invalid filter";
    /// The cursor was not given out by this listing.
    InvalidCursor = "invalid-cursor", BAD_REQUEST, "Invalid cursor";
    /// No API key came, or none that is known.
    Unauthorized = "unauthorized", UNAUTHORIZED, "A valid API key is needed";
    /// The API key does not have a scope that the route needs.
    MissingScope = "missing-scope", FORBIDDEN, "The API key lacks a scope";
    /// There is no such route.
    UnknownRoute = "unknown-route", NOT_FOUND, "No such route";
    /// There is no such product.
    UnknownProduct = "unknown-product", NOT_FOUND, "No such product";
    /// The product has no such image.
    UnknownImage = "unknown-image", NOT_FOUND, "No such image";
    /// There is no such job, or no more.
    UnknownJob = "unknown-job", NOT_FOUND, "No such job";
    /// There is no such webhook.
    UnknownWebhook = "unknown-webhook", NOT_FOUND, "No such webhook";
    /// The change is not among those that the webhook did not take.
    UnknownDelivery = "unknown-delivery", NOT_FOUND, "No such delivery";
    /// No model bundle has this version.
    UnknownModel = "unknown-model", NOT_FOUND, "No such model version";
    /// There is no such kind of problem.
    UnknownProblem = "unknown-problem", NOT_FOUND, "No such kind of problem";
    /// The route exists, but not with this method; `Allow` has those it has.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "Method not allowed";
    /// The body did not arrive in time.
    BodyTimeout = "body-timeout", REQUEST_TIMEOUT, "The body came too slowly";
    /// The idempotency key was used before with another request.
    IdempotencyConflict = "idempotency-conflict", CONFLICT, "Idempotency key reused";
    /// The job has ended, or has not: this is not to be had of it.
    JobState = "job-state", CONFLICT, "Not in this state";
    /// There are as many webhooks as may be.
    TooManyWebhooks = "too-many-webhooks", CONFLICT, "Too many webhooks";
    /// The product has as many images as a product may have.
    TooManyImages = "too-many-images", CONFLICT, "Too many images";
    /// The log ends before this sequence number: the store is another one, or an older copy. Begin anew.
    BeyondLog = "beyond-log", GONE, "Not of this log";
    /// The log does not reach back to this sequence number any more. Begin anew with a snapshot.
    BeforeLog = "before-log", GONE, "No longer in the log";
    /// The body, or the photo in it, has more bytes than are accepted.
    BodyTooLarge = "body-too-large", PAYLOAD_TOO_LARGE, "Body too large";
    /// The content type is not one of those that the route reads.
    UnsupportedMediaType = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "Unsupported media type";
    /// The bytes are no image.
    PhotoNotAnImage = "photo-not-an-image", UNPROCESSABLE_ENTITY, "Not an image";
    /// The bytes are an image of a kind that is not decoded here.
    PhotoUnsupported = "photo-unsupported", UNPROCESSABLE_ENTITY, "Unsupported kind of image";
    /// The photo ends before its own structure says it should.
    PhotoTruncated = "photo-truncated", UNPROCESSABLE_ENTITY, "Truncated photo";
    /// The photo breaks the rules of its own format.
    PhotoDamaged = "photo-damaged", UNPROCESSABLE_ENTITY, "Damaged photo";
    /// More pixels, a longer side, more frames or more memory than are accepted.
    PhotoTooLarge = "photo-too-large", UNPROCESSABLE_ENTITY, "Photo too large";
    /// A side is shorter than accepted.
    PhotoTooSmall = "photo-too-small", UNPROCESSABLE_ENTITY, "Photo too small";
    /// The box is empty, too small or leaves the photo.
    InvalidBox = "invalid-box", UNPROCESSABLE_ENTITY, "Box not usable";
    /// The photo's URL is refused, or could not be fetched within the limits.
    FetchFailed = "fetch-failed", UNPROCESSABLE_ENTITY, "The photo could not be fetched";
    /// The model's taxonomy has no such attribute, or the attribute no such value.
    UnknownAttribute = "unknown-attribute", UNPROCESSABLE_ENTITY, "Unknown attribute or value";
    /// The model bundle does not pass its checks: a file, its hash, its outputs or a golden case.
    ModelRefused = "model-refused", UNPROCESSABLE_ENTITY, "Model bundle refused";
    /// The query is well formed, but nothing can be searched with it.
    InvalidQuery = "invalid-query", UNPROCESSABLE_ENTITY, "Query not usable";
    /// The key has as many requests under way as it may; `Retry-After` says when to come again.
    KeyBusy = "key-busy", TOO_MANY_REQUESTS, "Too many requests at a time";
    /// A fault of the service; the log has its cause under the request's id.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Internal error";
    /// A queue is full, or the wait in it too long; `Retry-After` says when to come again.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, "Overloaded";
    /// The service is starting: its catalog, model and index are being opened.
    Starting = "starting", SERVICE_UNAVAILABLE, "Starting";
    /// The service is stopping.
    Stopping = "stopping", SERVICE_UNAVAILABLE, "Shutting down";
    /// The request took longer than a request may take.
    Timeout = "timeout", GATEWAY_TIMEOUT, "Timed out";
    /// The disk is full.
    StorageFull = "storage-full", INSUFFICIENT_STORAGE, "Storage full";
}

/// One occurrence of a [`Kind`].
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) kind: Kind,
    detail: String,
    expected: Option<String>,
    received: Option<String>,
    limit: Option<u64>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The body of every error response.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "/problems/photo-too-large", "title": "Photo too large", "status": 422,
    "detail": "the photo has 30000x30000 pixels; the limit is 50000000 pixels",
    "instance": "/requests/6f9619ff-8b86-4d01-b42d-00cf4fc964ff",
    "request_id": "6f9619ff-8b86-4d01-b42d-00cf4fc964ff",
    "received": "30000x30000", "limit": 50_000_000
}))]
pub(super) struct ProblemBody {
    /// URI of the kind of problem; stable, and it can be opened.
    #[serde(rename = "type")]
    #[schema(pattern = "^/problems/[a-z-]+$")]
    pub(super) kind: String,
    /// Short name of the kind.
    pub(super) title: &'static str,
    /// HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub(super) status: u16,
    /// What went wrong this time, for a person.
    pub(super) detail: String,
    /// URI of this occurrence; it ends in the request's id.
    pub(super) instance: String,
    /// The request's id, as in `X-Request-Id` and in the log.
    pub(super) request_id: String,
    /// What would have been accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub(super) expected: Option<String>,
    /// What came, shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub(super) received: Option<String>,
    /// The limit that was passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64, required = false)]
    pub(super) limit: Option<u64>,
}

impl Problem {
    /// A problem with a sentence for a person.
    pub(super) fn new(kind: Kind, detail: impl Display) -> Self {
        let detail = detail.to_string();
        Self { kind, detail, expected: None, received: None, limit: None, headers: Vec::new() }
    }

    /// A fault of ours: the cause goes to the log, the client gets the request's id.
    pub(super) fn internal(cause: impl Display) -> Self {
        tracing::error!(%cause, "internal error");
        Self::new(Kind::Internal, "the service failed; its log has the cause under this request's id")
    }

    /// `name` had to be `expected` and was `received`.
    pub(super) fn invalid(name: &str, expected: impl Display, received: impl Display) -> Self {
        let received = shortened(&received.to_string());
        Self::new(Kind::InvalidParameter, format!("{name}: expected {expected}, received `{received}`"))
            .expected(expected)
            .received(received)
    }

    /// Says what would have been accepted.
    #[must_use]
    pub(super) fn expected(mut self, expected: impl Display) -> Self {
        self.expected = Some(expected.to_string());
        self
    }

    /// Says what came, shortened.
    #[must_use]
    pub(super) fn received(mut self, received: impl Display) -> Self {
        self.received = Some(shortened(&received.to_string()));
        self
    }

    /// Names the limit that was passed.
    #[must_use]
    pub(super) fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Adds `Retry-After`.
    #[must_use]
    pub(super) fn retry_after(self, seconds: u64) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Adds a header to the response.
    #[must_use]
    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The body, for the request of this id.
    pub(super) fn body(&self, request_id: &str) -> ProblemBody {
        ProblemBody {
            kind: format!("/problems/{}", self.kind.slug()),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: self.detail.clone(),
            instance: format!("/requests/{}", encoded(request_id)),
            request_id: request_id.to_owned(),
            expected: self.expected.clone(),
            received: self.received.clone(),
            limit: self.limit,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        response.headers_mut().extend(self.headers.iter().cloned());
        response.extensions_mut().insert(self);
        response
    }
}

/// The first [`SHOWN_CHARS`] characters.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A path segment; ids of requests are visible ASCII.
fn encoded(segment: &str) -> String {
    url::form_urlencoded::byte_serialize(segment.as_bytes()).collect()
}
