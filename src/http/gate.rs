//! The gate in front of every operation: key and scope, names of query parameters, the time limit.
//! A path or method that is no operation passes, and gets its 404 or 405 behind.

use super::auth::{Caller, Place};
use super::body::discard;
use super::problem::{Kind, Problem};
use super::state::App;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Middleware: lets a request in, or answers 400, 401, 403, 429 or 504.
pub(super) async fn gate(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let (caller, _place) = match check(&app, &request) {
        Ok(admitted) => admitted,
        Err(problem) => {
            // Whoever has a key is not to see a reset instead of the time to come again.
            if problem.kind == Kind::KeyBusy {
                discard(request.into_body()).await;
            }
            return problem.into_response();
        }
    };
    request.extensions_mut().insert(caller.clone());
    let limit = app.limits.request_timeout;
    let mut response = match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(Kind::Timeout, format!("not done after {} s", limit.as_secs()))
            .limit(limit.as_secs())
            .into_response(),
    };
    response.extensions_mut().insert(caller);
    response
}

fn check(app: &App, request: &Request) -> Result<(Caller, Place), Problem> {
    let route = request.extensions().get::<MatchedPath>();
    let operation = route.and_then(|route| app.operations.find(request.method(), route.as_str()));
    let Some(operation) = operation else { return Ok((Caller::default(), None)) };
    let admitted = match (&app.keys, &operation.scopes) {
        (Some(keys), Some(scopes)) => keys.admit(request.headers(), scopes)?,
        _ => (Caller::default(), None),
    };
    let query = request.uri().query().unwrap_or_default();
    for (name, _) in url::form_urlencoded::parse(query.as_bytes()) {
        if !operation.query.iter().any(|known| *known == name) {
            let known = if operation.query.is_empty() { "none".to_owned() } else { operation.query.join(", ") };
            return Err(Problem::new(
                Kind::UnknownParameter,
                format!("no query parameter `{name}`; there are: {known}"),
            )
            .expected(known)
            .received(name));
        }
    }
    Ok(admitted)
}
