//! Extractors that answer with problems: ids of the path, query parameters, JSON bodies, `Idempotency-Key`.
//! What comes out of them is checked; handlers do not look again.

use super::auth::Caller;
use super::body;
use super::idempotency;
use super::problem::{Kind, Problem};
use super::state::App;
use crate::catalog::{IdempotencyKey, validate_id};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// `{product_id}` of the path, percent-decoded and checked.
pub(super) struct ProductId(pub(super) String);

/// `{product_id}` and `{image_id}` of the path, percent-decoded and checked.
pub(super) struct ImageId {
    pub(super) product_id: String,
    pub(super) image_id: String,
}

impl FromRequestParts<App> for ProductId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Path(id) = Path::<String>::from_request_parts(parts, app).await.map_err(bad_path)?;
        validate_id("product_id", &id)?;
        Ok(Self(id))
    }
}

impl FromRequestParts<App> for ImageId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let path = Path::<(String, String)>::from_request_parts(parts, app).await;
        let Path((product_id, image_id)) = path.map_err(bad_path)?;
        validate_id("product_id", &product_id)?;
        validate_id("image_id", &image_id)?;
        Ok(Self { product_id, image_id })
    }
}

#[allow(clippy::needless_pass_by_value)]
fn bad_path(error: impl Display) -> Problem {
    Problem::new(Kind::InvalidParameter, format!("path: {error}")).expected("percent-encoded UTF-8")
}

/// Query parameters. Names were checked by [`super::gate`]; a `T` is made of `Option<String>`, whose values the
/// handler checks with [`bounded`] and its like, so that messages name the parameter and its bounds.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        let Query(params) = Query::try_from_uri(&parts.uri)
            .map_err(|error| Problem::new(Kind::InvalidParameter, error).expected("each parameter once"))?;
        Ok(Self(params))
    }
}

/// A whole number within `range`, or `None` when the parameter is absent.
///
/// # Errors
/// 400 that names the parameter, the range and what came.
pub(super) fn bounded<T: FromStr + PartialOrd + Display>(
    name: &str,
    text: Option<&str>,
    range: RangeInclusive<T>,
) -> Result<Option<T>, Problem> {
    let Some(text) = text else { return Ok(None) };
    match text.parse() {
        Ok(value) if range.contains(&value) => Ok(Some(value)),
        _ => Err(Problem::invalid(name, format!("a number from {} to {}", range.start(), range.end()), text)),
    }
}

/// `true` or `false`, or `None` when the parameter is absent.
///
/// # Errors
/// 400 for anything else.
pub(super) fn boolean(name: &str, text: Option<&str>) -> Result<Option<bool>, Problem> {
    text.map(|text| text.parse().map_err(|_| Problem::invalid(name, "true or false", text))).transpose()
}

/// A JSON body and the key that makes the write repeatable.
pub(super) struct Write<T> {
    pub(super) value: T,
    pub(super) once: Option<IdempotencyKey>,
}

impl<T: DeserializeOwned + Send> FromRequest<App> for Write<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let media_type = body::media_type(&parts.headers);
        if !body::is_json(&media_type) {
            return Err(body::unsupported("application/json", &media_type));
        }
        let received = body::read(app, body, app.limits.json_bytes).await?;
        let once = idempotency::of(&parts, &received)?;
        Ok(Self { value: body::json(&received)?, once })
    }
}

/// The key that makes a write without a body repeatable.
pub(super) struct Once(pub(super) Option<IdempotencyKey>);

impl FromRequestParts<App> for Once {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        idempotency::of(parts, b"").map(Self)
    }
}

/// Who sent the request.
pub(super) fn caller(parts: &Parts) -> String {
    parts.extensions.get::<Caller>().map(|caller| caller.key_id.clone()).unwrap_or_default()
}

/// For `#[serde(default, deserialize_with)]`: the field may be absent, but `null` is no value of it.
pub(super) fn some<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
