//! `/v1/products/{product_id}/images`: photos in, analyzed, stored and searchable when the answer comes; photos out.

use super::analyze::{AnalysisView, Include, include, view};
use super::conditional::{json_or_304, tagged};
use super::extract::{ImageId, Once, Params, ProductId, bounded};
use super::idempotency::answer;
use super::photo_form::{BoxParam, PhotoJson, PhotoMultipart, Submitted};
use super::problem::Problem;
use super::state::App;
use crate::catalog::Image;
use crate::photo::Area;
use crate::service::{PhotoInput, PhotoSource};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

/// Long side of thumbnails, in pixels.
const SIZES: std::ops::RangeInclusive<u32> = 16..=2_048;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PhotoParams {
    /// A JPEG thumbnail with a long side of so many pixels; without it the bytes as they came.
    #[param(value_type = Option<u32>, minimum = 16, maximum = 2048)]
    size: Option<String>,
    /// Instead of the photo, what is seen on it, as JSON with `embedding`, `masks`, or both with a comma between.
    #[param(pattern = "^(embedding|masks)(,(embedding|masks))?$")]
    include: Option<String>,
}

/// Upload an image
///
/// Named by the first 16 hex digits of its SHA-256, and its `box`. Answers with what is seen on it, once it can be found.
#[utoipa::path(
    post, path = "/v1/products/{product_id}/images", tag = "photos", operation_id = "post_image",
    params(BoxParam),
    request_body(description = "The photo; its bytes decide what it is", content(
        (PhotoJson = "application/json"), (PhotoMultipart = "multipart/form-data"),
        ("image/*"), ("application/octet-stream")
    )),
    responses(
        (status = 200, body = Image, description = "It was there already"),
        (
            status = 201, body = Image, description = "Stored",
            headers(("Location" = String, description = "Where the image is found"))
        ),
        (status = 404), (status = 409), (status = 422), (status = 507)
    ),
    security(("key" = ["ingest"])),
)]
pub(super) async fn post_image(
    State(app): State<App>,
    ProductId(product_id): ProductId,
    Params(boxed): Params<BoxParam>,
    submitted: Submitted<PhotoJson>,
) -> Result<Response, Problem> {
    let Submitted { form, once, _body } = submitted;
    let input = form.into_input(boxed.area.as_deref(), app.limits.photo_bytes)?;
    let reply = app.service.put_image(&product_id, None, input, once).await?;
    let location = reply.created.then(|| location(&product_id, &reply.body)).flatten();
    let mut response = answer(reply);
    if let Some(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Where a new image is found: its name is ours, so the client has to be told.
fn location(product_id: &str, body: &[u8]) -> Option<HeaderValue> {
    #[derive(Deserialize)]
    struct Named {
        image_id: String,
    }
    let Named { image_id } = serde_json::from_slice(body).ok()?;
    let mut url = url::Url::parse("http://localhost/v1/products").ok()?;
    url.path_segments_mut().ok()?.extend([product_id, "images", &image_id]);
    HeaderValue::from_str(url.path()).ok()
}

/// Upload an image under an id
///
/// Replaces an image of the same id. Answers with what is seen on it, once it can be found.
#[utoipa::path(
    put, path = "/v1/products/{product_id}/images/{image_id}", tag = "photos", operation_id = "put_image",
    params(BoxParam),
    request_body(description = "The photo; its bytes decide what it is", content(
        (PhotoJson = "application/json"), (PhotoMultipart = "multipart/form-data"),
        ("image/*"), ("application/octet-stream")
    )),
    responses(
        (status = 200, body = Image, description = "Replaced"),
        (status = 201, body = Image, description = "Stored"),
        (status = 404), (status = 409), (status = 422), (status = 507)
    ),
    security(("key" = ["ingest"])),
)]
pub(super) async fn put_image(
    State(app): State<App>,
    id: ImageId,
    Params(boxed): Params<BoxParam>,
    submitted: Submitted<PhotoJson>,
) -> Result<Response, Problem> {
    let Submitted { form, once, _body } = submitted;
    let input = form.into_input(boxed.area.as_deref(), app.limits.photo_bytes)?;
    Ok(answer(app.service.put_image(&id.product_id, Some(id.image_id), input, once).await?))
}

/// The photo, or a thumbnail of it
///
/// All of it, also where the image is a `box` of it.
#[utoipa::path(
    get, path = "/v1/products/{product_id}/images/{image_id}", tag = "photos", operation_id = "get_image",
    params(PhotoParams),
    responses(
        (status = 200, description = "The bytes as they came, a JPEG thumbnail, or with `include` an analysis", content(
            ("image/jpeg"), ("image/png"), ("image/webp"), ("image/avif"), ("image/gif"), ("image/bmp"),
            (AnalysisView = "application/json")
        )),
        (status = 304), (status = 404)
    ),
    security(("key" = ["search", "ingest"])),
)]
pub(super) async fn get_image(
    State(app): State<App>,
    id: ImageId,
    Params(params): Params<PhotoParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let size = bounded("size", params.size.as_deref(), SIZES)?;
    if params.include.is_some() {
        if size.is_some() {
            return Err(Problem::invalid("size", "no size beside include", params.size.unwrap_or_default()));
        }
        return json_or_304(&headers, &stored_view(&app, &id, include(params.include.as_deref())?).await?);
    }
    let photo = app.service.photo(&id.product_id, &id.image_id, size).await?;
    let tag = size.map_or_else(|| photo.sha256.clone(), |size| format!("{}-{size}", photo.sha256));
    let inline = [(header::CONTENT_TYPE, photo.content_type), (header::CONTENT_DISPOSITION, "inline".to_owned())];
    Ok(tagged(&headers, &tag, (inline, photo.bytes)))
}

/// The stored analysis. Masks are not stored: the photo is looked at again for them, with the live model.
async fn stored_view(app: &App, id: &ImageId, include: Include) -> Result<AnalysisView, Problem> {
    let mut stored = app.service.image(&id.product_id, &id.image_id).await?;
    let mut masks = None;
    if include.masks {
        let photo = app.service.photo(&id.product_id, &id.image_id, None).await?;
        if photo.sha256 != stored.analysis.sha256 {
            // Replaced meanwhile: its box is one of the new photo.
            stored = app.service.image(&id.product_id, &id.image_id).await?;
        }
        let crop = stored.analysis.area.map(Area::from);
        let input = PhotoInput { source: PhotoSource::Bytes(photo.bytes), crop };
        masks = Some(app.service.analyze(input).await?.masks);
    }
    view(stored.analysis, include.embedding.then_some(stored.embedding), masks.as_ref())
}

/// Delete an image
///
/// The next search does not find the product by it.
#[utoipa::path(
    delete, path = "/v1/products/{product_id}/images/{image_id}", tag = "photos", operation_id = "delete_image",
    responses((status = 204, description = "Deleted"), (status = 404), (status = 409), (status = 507)),
    security(("key" = ["ingest"])),
)]
pub(super) async fn delete_image(State(app): State<App>, id: ImageId, Once(once): Once) -> Result<Response, Problem> {
    Ok(answer(app.service.delete_image(&id.product_id, &id.image_id, once).await?))
}
