//! The three forms a photo comes in: raw bytes, `multipart/form-data`, JSON with `url` or `base64`.
//! The bytes decide what the photo is; the content type only decides which form it is.

use super::body;
use super::extract::some;
use super::idempotency;
use super::problem::{Kind, Problem};
use super::state::App;
use crate::catalog::IdempotencyKey;
use crate::photo::{Area, ParseAreaError};
use crate::service::{PhotoInput, PhotoSource};
use axum::body::Body;
use axum::extract::multipart::{Field, Multipart};
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Visitor};
use sha2::{Digest, Sha256};
use std::fmt;
use utoipa::{IntoParams, ToSchema};

/// What the photo routes read, as 415 names it.
const EXPECTED: &str = "image/*, application/octet-stream, multipart/form-data or application/json";
/// Longest URL, in bytes.
const MAX_URL: usize = 2_048;
/// Room for the other fields of a JSON or multipart body, and for the parts' headers.
const FORM_BYTES: usize = 64 << 10;
/// Standard alphabet; clients disagree on padding, so either will do.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Base64 of a JSON body, decoded while the JSON is read: once, without a copy of the text, and off the runtime's
/// threads. What is wrong with it is told when the photo is asked for.
#[derive(Clone, Debug)]
pub(super) struct Base64(Result<Bytes, String>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Base64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string of base64")
            }

            fn visit_str<E>(self, text: &str) -> Result<Base64, E> {
                let data = text.strip_prefix("data:").and_then(|data| data.split_once(";base64,"));
                let decoded = BASE64.decode(data.map_or(text, |(_, data)| data));
                Ok(Base64(decoded.map(Bytes::from).map_err(|error| error.to_string())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl Base64 {
    /// # Errors
    /// 400 when it was none or is empty, 413 when there are more than `limit` bytes in it.
    fn bytes(self, limit: usize) -> Result<Bytes, Problem> {
        let bytes = self.0.map_err(|error| {
            Problem::new(Kind::InvalidBody, format!("base64: {error}")).expected("base64, standard alphabet")
        })?;
        if bytes.len() > limit {
            let problem = Problem::new(Kind::BodyTooLarge, format!("the photo has {} bytes", bytes.len()));
            return Err(problem.limit(limit as u64).received(format!("{} bytes", bytes.len())));
        }
        not_empty(bytes)
    }
}

/// A photo as JSON: exactly one of `url` and `base64`.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"url": "https://shop.example/dress.jpg", "box": [120, 80, 620, 980]}))]
pub(super) struct PhotoJson {
    /// Where to fetch it; public addresses only, unless the host is allowed.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 2048, format = "uri")]
    pub(super) url: Option<String>,
    /// Its bytes in base64, standard alphabet, with or without padding; a `data:` URL will do.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = String, required = false, min_length = 4)]
    pub(super) base64: Option<Base64>,
    /// The part to look at: `[x1, y1, x2, y2]` in pixels of the upright photo, or in shares of its sides (0 to 1).
    #[serde(default, rename = "box", deserialize_with = "some")]
    #[schema(value_type = Vec<f64>, required = false, min_items = 4, max_items = 4)]
    pub(super) area: Option<Area>,
}

/// A photo as `multipart/form-data`: exactly one of the two files.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(super) struct PhotoMultipart {
    /// The photo's bytes.
    #[schema(value_type = String, format = Binary, required = false)]
    image: Vec<u8>,
    /// The same under another name.
    #[schema(value_type = String, format = Binary, required = false)]
    file: Vec<u8>,
    /// The part to look at, as the parameter `box`.
    #[serde(rename = "box")]
    #[schema(value_type = String, required = false, pattern = "^[0-9.]{1,12}(,[0-9.]{1,12}){3}$")]
    area: String,
}

#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct BoxParam {
    /// The part to look at: `x1,y1,x2,y2` in pixels of the upright photo, or in shares of its sides (0 to 1); one in the body wins.
    #[serde(rename = "box")]
    #[param(pattern = "^[0-9.]{1,12}(,[0-9.]{1,12}){3}$")]
    pub(super) area: Option<String>,
}

/// A body that may carry a photo; `J` is what it is when it is JSON.
pub(super) enum Form<J> {
    /// JSON, not looked at yet.
    Json(J),
    /// Bytes, raw or from a multipart file, never empty; and the multipart's `box`.
    Photo(Bytes, Option<Area>),
}

/// A [`Form`] with the key that makes the write repeatable, and its share of the memory for bodies.
pub(super) struct Submitted<J> {
    pub(super) form: Form<J>,
    pub(super) once: Option<IdempotencyKey>,
    /// The body as it came: its memory counts until the handler is done, also where the form is a copy of it.
    pub(super) _body: Bytes,
}

impl<J: DeserializeOwned + Send + 'static> FromRequest<App> for Submitted<J> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let photo_bytes = app.limits.photo_bytes;
        let media_type = body::media_type(&parts.headers);
        if media_type == "multipart/form-data" {
            let bytes = body::read(app, body, photo_bytes + FORM_BYTES).await?;
            return multipart(parts, bytes, photo_bytes).await;
        }
        let json = body::is_json(&media_type);
        if !json && !is_photo(&media_type) {
            return Err(body::unsupported(EXPECTED, &media_type));
        }
        let limit =
            if json { base64::encoded_len(photo_bytes, true).unwrap_or(photo_bytes) + FORM_BYTES } else { photo_bytes };
        let bytes = body::read(app, body, limit).await?;
        body::off_worker(bytes.len(), move || {
            let once = idempotency::of(&parts, &bytes)?;
            let form =
                if json { Form::Json(body::json(&bytes)?) } else { Form::Photo(not_empty(bytes.clone())?, None) };
            Ok(Self { form, once, _body: bytes })
        })
        .await
    }
}

/// No content type is as good as `application/octet-stream` (RFC 9110, 8.3): the bytes decide.
fn is_photo(media_type: &str) -> bool {
    media_type.is_empty() || media_type.starts_with("image/") || media_type == "application/octet-stream"
}

async fn multipart<J: Send + 'static>(parts: Parts, bytes: Bytes, limit: usize) -> Result<Submitted<J>, Problem> {
    let malformed = |error: String| Problem::new(Kind::InvalidBody, error).expected("multipart/form-data");
    // Read once more by axum's parser, whose own limit is for bodies that were not measured yet.
    let mut request = Request::from_parts(parts.clone(), Body::from(bytes.clone()));
    DefaultBodyLimit::disable().apply(&mut request);
    let mut fields = Multipart::from_request(request, &()).await.map_err(|error| malformed(error.body_text()))?;
    let (mut photo, mut area) = (None, None);
    while let Some(field) = fields.next_field().await.map_err(|error| malformed(error.body_text()))? {
        let name = field.name().unwrap_or_default().to_owned();
        let slot = match name.as_str() {
            "image" | "file" => &mut photo,
            "box" => &mut area,
            _ => return Err(malformed(format!("no field {name:?}")).expected("image or file, and box").received(name)),
        };
        if slot.is_some() {
            return Err(malformed(format!("a second {name:?}")).expected("one of image and file, and at most one box"));
        }
        *slot = Some(content(field).await.map_err(malformed)?);
    }
    let photo = photo.ok_or_else(|| malformed("no photo".to_owned()).expected("a field image or file"))?;
    if photo.len() > limit {
        let problem = Problem::new(Kind::BodyTooLarge, format!("the photo has {} bytes", photo.len()));
        return Err(problem.limit(limit as u64).received(format!("{} bytes", photo.len())));
    }
    body::off_worker(bytes.len(), move || {
        let hash = Sha256::digest(&photo).into_iter().chain(area.iter().flatten().copied());
        let once = idempotency::of(&parts, &hash.collect::<Vec<u8>>())?;
        let area = area.map(|text| String::from_utf8_lossy(&text).into_owned());
        let form = Form::Photo(not_empty(photo)?, self::area(area.as_deref())?);
        Ok(Submitted { form, once, _body: bytes })
    })
    .await
}

async fn content(field: Field<'_>) -> Result<Bytes, String> {
    field.bytes().await.map_err(|error| error.body_text())
}

fn not_empty(bytes: Bytes) -> Result<Bytes, Problem> {
    if bytes.is_empty() {
        return Err(Problem::new(Kind::EmptyBody, "the photo is empty").expected("its bytes").received("0 bytes"));
    }
    Ok(bytes)
}

/// The text form of a box, `x1,y1,x2,y2`.
///
/// # Errors
/// 400 for anything else; whether it lies in the photo is seen when the photo is.
pub(super) fn area(text: Option<&str>) -> Result<Option<Area>, Problem> {
    let parsed = |text: &str| text.parse().map_err(|expected: ParseAreaError| Problem::invalid("box", expected, text));
    text.map(parsed).transpose()
}

impl PhotoJson {
    /// True when it names a photo, by either way.
    pub(super) fn is_some(&self) -> bool {
        self.url.is_some() || self.base64.is_some()
    }

    /// The photo it names.
    ///
    /// # Errors
    /// 400 when it names none or two, or no base64; 413 when there are more than `limit` bytes in it.
    pub(super) fn into_input(self, limit: usize) -> Result<PhotoInput, Problem> {
        let source = match (self.url, self.base64) {
            (Some(url), None) => PhotoSource::Url(checked_url(url)?),
            (None, Some(base64)) => PhotoSource::Bytes(base64.bytes(limit)?),
            (None, None) => return Err(one_of("none")),
            (Some(_), Some(_)) => return Err(one_of("both")),
        };
        Ok(PhotoInput { source, crop: self.area })
    }
}

impl Form<PhotoJson> {
    /// The photo; `area` is the query's box, which one in the body overrules.
    ///
    /// # Errors
    /// As [`PhotoJson::into_input`].
    pub(super) fn into_input(self, area: Option<&str>, limit: usize) -> Result<PhotoInput, Problem> {
        let area = self::area(area)?;
        let mut input = match self {
            Self::Json(json) => json.into_input(limit)?,
            Self::Photo(bytes, crop) => PhotoInput { source: PhotoSource::Bytes(bytes), crop },
        };
        input.crop = input.crop.or(area);
        Ok(input)
    }
}

fn one_of(received: &str) -> Problem {
    Problem::new(Kind::InvalidBody, format!("expected exactly one of url and base64, received {received}"))
        .expected("exactly one of url and base64")
        .received(received)
}

fn checked_url(url: String) -> Result<String, Problem> {
    if (1..=MAX_URL).contains(&url.len()) {
        return Ok(url);
    }
    let problem = Problem::new(Kind::InvalidBody, format!("url: expected 1 to {MAX_URL} bytes"));
    Err(problem.limit(MAX_URL as u64).received(format!("{} bytes", url.len())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn boxes_are_four_numbers() {
        assert_eq!(area(Some("1,2, 30,40")).unwrap(), Some(Area::Pixels([1, 2, 30, 40].into())));
        assert_eq!(area(None).unwrap(), None);
        for bad in ["", "1,2,3", "1,2,3,4,5", "1,2,3,4,", "-1,2,3,4", "a,b,c,d", "1;2;3;4", "1,2,3,4.5", "1,,3,4"] {
            assert!(area(Some(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn json_names_exactly_one_photo() {
        let input = |json: &str| serde_json::from_str::<PhotoJson>(json).unwrap().into_input(4);
        assert!(matches!(input(r#"{"base64": "AAEC"}"#).unwrap().source, PhotoSource::Bytes(b) if b[..] == [0, 1, 2]));
        for text in ["AAECAw==", "AAECAw", "data:image/png;base64,AAECAw=="] {
            assert!(input(&format!(r#"{{"base64": "{text}"}}"#)).is_ok(), "{text}");
        }
        assert_eq!(input(r#"{"base64": "AAECAwQ="}"#).unwrap_err().kind, Kind::BodyTooLarge);
        assert_eq!(input(r#"{"base64": ""}"#).unwrap_err().kind, Kind::EmptyBody);
        for bad in ["{}", r#"{"url": "a", "base64": "AAEC"}"#, r#"{"base64": "A*"}"#, r#"{"url": ""}"#] {
            assert_eq!(input(bad).unwrap_err().kind, Kind::InvalidBody, "{bad}");
        }
        for bad in [
            r#"{"url": null}"#,
            r#"{"uri": "x"}"#,
            r#"{"url": "a", "box": [1, 2, 3]}"#,
            r#"{"url": "a", "box": [-1, 2, 3, 4]}"#,
        ] {
            assert!(serde_json::from_str::<PhotoJson>(bad).is_err(), "{bad}");
        }
    }
}
