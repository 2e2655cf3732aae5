//! Similar products to a product, a photo or a basket. Options come in the query string or, with a JSON body, in it;
//! the checks and defaults are [`crate::similar`]'s, so that commands and HTTP refuse the same things.

use super::conditional::json_or_304;
use super::extract::{Params, ProductId, boolean, bounded, some};
use super::photo_form::{Base64, BoxParam, Form, PhotoJson, PhotoMultipart, Submitted, area};
use super::problem::{Kind, Problem};
use super::state::App;
use crate::catalog::validate_id;
use crate::filter::Filter;
use crate::photo::Area;
use crate::service::{PhotoInput, PhotoSource, SimilarTo};
use crate::similar::{GroupBy, MAX_LIMIT, SimilarPage, SimilarParams, Weights};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct QueryOptions {
    /// Items a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 20)]
    limit: Option<String>,
    /// `next_cursor` of the page before, with the same query.
    #[param(min_length = 1, max_length = 4096)]
    cursor: Option<String>,
    /// Only products that pass this filter.
    #[param(value_type = Option<Object>)]
    filter: Option<String>,
    /// `group`: one item for all variants with one `group_id`.
    #[param(value_type = Option<GroupBy>)]
    group_by: Option<String>,
    /// `any`, `same` or `different` as the query's colors, a color name, or `#rrggbb`.
    #[param(min_length = 1, max_length = 64, example = "same")]
    color: Option<String>,
    /// What the score is made of: `{"embedding": 1, "color": 0.5, "attributes": 0}`.
    #[param(value_type = Option<Weights>)]
    weights: Option<String>,
    /// How much items must differ from one another: 0 not at all, 1 as much as they can.
    #[param(value_type = Option<f32>, minimum = 0, maximum = 1, default = 0)]
    diversity: Option<String>,
    /// Only items with at least this score.
    #[param(value_type = Option<f32>, minimum = -1, maximum = 1)]
    min_score: Option<String>,
    /// Say why each item is there.
    #[param(value_type = Option<bool>)]
    explain: Option<String>,
}

/// What to find similar products to, exactly one of `url`, `base64` and `product_ids`; and how. An option here wins
/// over the same one in the query string.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"product_ids": ["dress-1", "dress-2"], "limit": 10, "filter": {"in_stock": true}}))]
pub(super) struct SimilarJson {
    /// Where to fetch a photo; public addresses only, unless the host is allowed.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 2048, format = "uri")]
    url: Option<String>,
    /// A photo's bytes in base64, standard alphabet; a `data:` URL will do.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = String, required = false, min_length = 4)]
    base64: Option<Base64>,
    /// The part of the photo to look at: `[x1, y1, x2, y2]` in pixels of the upright photo.
    #[serde(default, rename = "box", deserialize_with = "some")]
    #[schema(value_type = Vec<u32>, required = false, min_items = 4, max_items = 4)]
    area: Option<Area>,
    /// Stored products: what is similar to all of them.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = Vec<String>, required = false, min_items = 1, max_items = 10)]
    product_ids: Option<Vec<String>>,
    /// Items a page; 20 unless told.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = u32, required = false, minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same query.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 4096)]
    cursor: Option<String>,
    /// Only products that pass this filter.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = Object, required = false)]
    filter: Option<Value>,
    /// `group`: one item for all variants with one `group_id`.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = GroupBy, required = false)]
    group_by: Option<GroupBy>,
    /// `any`, `same` or `different` as the query's colors, a color name, or `#rrggbb`.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 64)]
    color: Option<String>,
    /// What the score is made of; the embedding alone unless told.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = Weights, required = false)]
    weights: Option<Weights>,
    /// How much items must differ from one another: 0 not at all, 1 as much as they can; 0 unless told.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = f32, required = false, minimum = 0, maximum = 1)]
    diversity: Option<f32>,
    /// Only items with at least this score.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = f32, required = false, minimum = -1, maximum = 1)]
    min_score: Option<f32>,
    /// Say why each item is there.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = bool, required = false)]
    explain: Option<bool>,
}

/// Similar products to a stored product
#[utoipa::path(
    get, path = "/v1/products/{product_id}/similar", tag = "similar", operation_id = "similar_to_product",
    params(QueryOptions),
    responses(
        (status = 200, body = SimilarPage, description = "A page, most similar first"),
        (status = 304), (status = 404), (status = 422)
    ),
    security(("key" = ["search"])),
)]
pub(super) async fn similar_to_product(
    State(app): State<App>,
    ProductId(id): ProductId,
    Params(options): Params<QueryOptions>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    json_or_304(&headers, &app.service.similar(SimilarTo::Product(id), options.checked()?).await?)
}

/// Similar products to a photo or a basket
///
/// A photo in any of the forms of an upload, or JSON with `product_ids`.
#[utoipa::path(
    post, path = "/v1/similar", tag = "similar", operation_id = "similar",
    params(QueryOptions, BoxParam),
    request_body(description = "A photo, or stored products", content(
        (SimilarJson = "application/json"), (PhotoMultipart = "multipart/form-data"),
        ("image/*"), ("application/octet-stream")
    )),
    responses(
        (status = 200, body = SimilarPage, description = "A page, most similar first"),
        (status = 404), (status = 422)
    ),
    security(("key" = ["search"])),
)]
pub(super) async fn similar(
    State(app): State<App>,
    Params(options): Params<QueryOptions>,
    Params(boxed): Params<BoxParam>,
    submitted: Submitted<SimilarJson>,
) -> Result<axum::Json<SimilarPage>, Problem> {
    let mut params = options.checked()?;
    let area = area(boxed.area.as_deref())?;
    let mut to = match submitted.form {
        Form::Json(json) => json.into_query(&mut params, app.limits.photo_bytes)?,
        Form::Photo(bytes, crop) => SimilarTo::Photo(PhotoInput { source: PhotoSource::Bytes(bytes), crop }),
    };
    match &mut to {
        SimilarTo::Photo(input) => input.crop = input.crop.or(area),
        _ if area.is_some() => return Err(Problem::invalid("box", "a box with a photo only", "a basket")),
        _ => {}
    }
    Ok(axum::Json(app.service.similar(to, params).await?))
}

/// A filter from a query parameter.
///
/// # Errors
/// 400 that names the field at fault.
pub(super) fn filter_text(text: &str) -> Result<Filter, Problem> {
    Ok(Filter::parse_str(text)?)
}

impl QueryOptions {
    /// The options as [`crate::similar`] takes them.
    fn checked(self) -> Result<SimilarParams, Problem> {
        if let Some(filter) = &self.filter {
            filter_text(filter)?;
        }
        Ok(SimilarParams {
            limit: bounded("limit", self.limit.as_deref(), 1..=MAX_LIMIT as i64)?,
            cursor: self.cursor,
            filter: value("filter", self.filter.as_deref(), "a JSON object")?,
            group_by: match self.group_by.as_deref() {
                None => None,
                Some("group" | "group_id") => Some(GroupBy::Group),
                Some(other) => return Err(Problem::invalid("group_by", "group", other)),
            },
            color: self.color,
            weights: value(
                "weights",
                self.weights.as_deref(),
                "{\"embedding\": 1, \"color\": 0, \"attributes\": 0, \"popularity\": 0}",
            )?,
            diversity: bounded("diversity", self.diversity.as_deref(), 0.0..=1.0)?,
            min_score: bounded("min_score", self.min_score.as_deref(), -1.0..=1.0)?,
            explain: boolean("explain", self.explain.as_deref())?.unwrap_or_default(),
        })
    }
}

/// A parameter whose text is JSON.
fn value<T: DeserializeOwned>(name: &str, text: Option<&str>, expected: &str) -> Result<Option<T>, Problem> {
    text.map(|text| serde_json::from_str(text).map_err(|_| Problem::invalid(name, expected, text))).transpose()
}

impl SimilarJson {
    /// What to look for; its options go over those in `params`.
    fn into_query(self, params: &mut SimilarParams, photo_bytes: usize) -> Result<SimilarTo, Problem> {
        if self.limit.is_some_and(|limit| !(1..=MAX_LIMIT as i64).contains(&limit)) {
            let received = self.limit.unwrap_or_default();
            return Err(Problem::invalid("limit", format!("a number from 1 to {MAX_LIMIT}"), received));
        }
        params.limit = self.limit.or(params.limit);
        params.cursor = self.cursor.or(params.cursor.take());
        params.filter = self.filter.or(params.filter.take());
        params.group_by = self.group_by.or(params.group_by);
        params.color = self.color.or(params.color.take());
        params.weights = self.weights.or(params.weights);
        params.diversity = self.diversity.or(params.diversity);
        params.min_score = self.min_score.or(params.min_score);
        params.explain = self.explain.unwrap_or(params.explain);
        let photo = PhotoJson { url: self.url, base64: self.base64, area: self.area };
        match self.product_ids {
            None if photo.is_some() => Ok(SimilarTo::Photo(photo.into_input(photo_bytes)?)),
            Some(ids) if !photo.is_some() && photo.area.is_none() => basket(ids),
            _ => Err(Problem::new(Kind::InvalidBody, "expected exactly one of url, base64 and product_ids")
                .expected("exactly one of url, base64 and product_ids; box with a photo only")),
        }
    }
}

fn basket(ids: Vec<String>) -> Result<SimilarTo, Problem> {
    for id in &ids {
        validate_id("product_ids", id)?;
    }
    Ok(SimilarTo::Basket(ids))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn query(json: &str, params: &mut SimilarParams) -> Result<SimilarTo, Problem> {
        serde_json::from_str::<SimilarJson>(json).unwrap().into_query(params, 100)
    }

    #[test]
    fn options_of_the_body_win() {
        let options = QueryOptions { limit: Some("5".into()), color: Some("red".into()), ..QueryOptions::default() };
        let mut params = options.checked().unwrap();
        let to = query(r#"{"product_ids": ["a"], "limit": 7, "explain": true}"#, &mut params).unwrap();
        assert!(matches!(to, SimilarTo::Basket(ids) if ids == ["a"]));
        let expected = SimilarParams { limit: Some(7), color: Some("red".into()), explain: true, ..Default::default() };
        assert_eq!(params, expected);
    }

    #[test]
    fn exactly_one_of_the_three_sources() {
        for bad in [
            "{}",
            r#"{"product_ids": ["a"], "url": "https://a.example/"}"#,
            r#"{"url": "https://a.example/", "base64": "AAEC"}"#,
            r#"{"product_ids": ["a"], "box": [1, 2, 3, 4]}"#,
            r#"{"product_ids": ["\u0000"]}"#,
            r#"{"product_ids": ["a"], "limit": 0}"#,
        ] {
            assert!(query(bad, &mut SimilarParams::default()).is_err(), "{bad}");
        }
    }

    #[test]
    fn parameters_out_of_bounds_are_named() {
        let with = |name: &str, value: &str| {
            let query = url::form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
            let uri = format!("http://localhost/?{query}").parse().unwrap();
            let axum::extract::Query(options) = axum::extract::Query::<QueryOptions>::try_from_uri(&uri).unwrap();
            options.checked()
        };
        for (name, bad) in [
            ("limit", "0"),
            ("limit", "201"),
            ("limit", "ten"),
            ("filter", "red"),
            ("filter", r#"{"colour": "red"}"#),
            ("group_by", "color"),
            ("weights", "1"),
            ("weights", r#"{"colour": 1}"#),
            ("diversity", "1.5"),
            ("diversity", "-0.1"),
            ("min_score", "2"),
            ("min_score", "NaN"),
            ("explain", "yes"),
        ] {
            let problem = with(name, bad).unwrap_err();
            assert!(problem.body("id").detail.contains(name), "{name}={bad}");
        }
        assert!(with("filter", r#"{"color": ["red"]}"#).is_ok());
    }
}
