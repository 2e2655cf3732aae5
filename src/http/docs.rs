//! The OpenAPI document, a page that shows it, and a page for every kind of problem. The page loads nothing from
//! elsewhere: its script and style are in the binary, and its content security policy allows no others.

use super::problem::{Kind, Problem};
use super::state::App;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Changes with the program only, but nobody should see an old page for long after an update.
const CACHE: &str = "public, max-age=300";

/// A kind of problem.
#[derive(Serialize, ToSchema)]
pub(super) struct ProblemKind {
    /// Its URI, as in `type` of problems.
    r#type: String,
    title: &'static str,
    /// HTTP status it is sent with.
    status: u16,
    /// What it means.
    description: &'static str,
}

/// This document
#[utoipa::path(
    get, path = "/openapi.json", tag = "operations", operation_id = "openapi",
    responses((status = 200, body = Object, description = "OpenAPI 3.1")),
)]
pub(super) async fn openapi_json(State(app): State<App>) -> Json<Value> {
    Json(super::document(app.keys.is_some()))
}

/// A page that shows this document
#[utoipa::path(
    get, path = "/docs", tag = "operations", operation_id = "docs",
    responses((status = 200, description = "HTML", content(("text/html")))),
)]
pub(super) async fn page() -> Response {
    file("text/html; charset=utf-8", include_str!("docs/page.html"))
}

/// The page's script
#[utoipa::path(
    get, path = "/docs/page.js", tag = "operations", operation_id = "docs_script",
    responses((status = 200, description = "JavaScript", content(("text/javascript")))),
)]
pub(super) async fn script() -> Response {
    file("text/javascript; charset=utf-8", include_str!("docs/page.js"))
}

/// The page's style
#[utoipa::path(
    get, path = "/docs/page.css", tag = "operations", operation_id = "docs_style",
    responses((status = 200, description = "CSS", content(("text/css")))),
)]
pub(super) async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("docs/page.css"))
}

/// What a kind of problem means
#[utoipa::path(
    get, path = "/problems/{kind}", tag = "operations", operation_id = "problem_kind",
    responses((status = 200, body = ProblemKind, description = "The kind"), (status = 404)),
)]
pub(super) async fn problem(Path(slug): Path<String>) -> Result<Json<ProblemKind>, Problem> {
    let kind = Kind::ALL.iter().find(|kind| kind.slug() == slug);
    let kind = kind.ok_or_else(|| Problem::new(Kind::UnknownProblem, "no such kind of problem").received(&slug))?;
    Ok(Json(ProblemKind {
        r#type: format!("/problems/{}", kind.slug()),
        title: kind.title(),
        status: kind.status().as_u16(),
        description: kind.meaning(),
    }))
}

fn file(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, CACHE),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, text).into_response()
}
