//! The OpenAPI document: what utoipa gathers from the handlers, and one pass that adds what holds for every operation
//! (problems, request id, keys), so that no handler repeats it.

use super::problem::{Kind, PROBLEM_JSON, ProblemBody};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;

/// Name of the one way to prove who one is.
pub(super) const SECURITY_SCHEME: &str = "key";
/// Where the grammar of filters is written down as a schema.
const FILTER: &str = "#/components/schemas/Filter";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Vitrine",
        description = "Product photos in; attributes, colors and similar products out.\n\n\
            Errors are RFC 9457 problems; `type` can be opened. Writes may carry an `Idempotency-Key`: a repeat within \
            a day gets the first answer, with `Idempotency-Replayed: true`, and changes nothing. JSON bodies are \
            deterministic; timings go into `Server-Timing`."
    ),
    tags(
        (name = "photos", description = "Photos: looked at, stored, given back"),
        (name = "products", description = "The catalog: metadata, corrections, records"),
        (name = "similar", description = "Similar products"),
        (name = "jobs", description = "Bulk import"),
        (name = "webhooks", description = "Changes, sent to URLs"),
        (name = "feed", description = "The change log"),
        (name = "models", description = "Model bundles"),
        (name = "operations", description = "Probes, metrics, this document")
    ),
    components(schemas(ProblemBody))
)]
struct Base;

/// What the operations are added to.
pub(super) fn base() -> Document {
    Base::openapi()
}

/// The whole document. `keys`: whether requests need keys; without them the document does not ask for any.
pub fn document(keys: bool) -> Value {
    let gathered = super::operations().into_openapi();
    let mut document = serde_json::to_value(gathered).unwrap_or_default();
    complete(&mut document, keys);
    document
}

fn complete(document: &mut Value, keys: bool) {
    if let Some(info) = document["info"].as_object_mut() {
        info.remove("contact");
    }
    let components = &mut document["components"];
    components["securitySchemes"][SECURITY_SCHEME] = json!({
        "type": "http", "scheme": "bearer",
        "description": "An API key. Scopes: `ingest` writes, `search` analyzes and searches, `admin` does everything."
    });
    components["headers"]["RequestId"] = json!({
        "description": "The request's id: the client's `X-Request-Id`, or a new one", "schema": {"type": "string"}
    });
    components["schemas"]["Filter"] = filter_schema();
    one_of(&mut components["schemas"]["PhotoJson"], &["url", "base64"]);
    one_of(&mut components["schemas"]["SimilarJson"], &["url", "base64", "product_ids"]);
    one_of(&mut components["schemas"]["PhotoMultipart"], &["image", "file"]);
    components["schemas"]["PhotoMultipart"]["additionalProperties"] = json!(false);
    components["schemas"]["SimilarJson"]["properties"]["filter"] = json!({"$ref": FILTER});
    for status in problem_statuses() {
        components["responses"][format!("Problem{status}")] = problem_response(status);
    }
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            describe(path, method, operation, keys);
        }
    }
}

/// Adds to one operation what follows from its method, path and body.
fn describe(path: &str, method: &str, operation: &mut Value, keys: bool) {
    let mut parameters = path_parameters(path);
    for mut parameter in operation["parameters"].take().as_array().cloned().unwrap_or_default() {
        // Gathered from handlers that take `Path` themselves; those above say more.
        if parameter["in"] == "path" {
            continue;
        }
        if ["filter", "weights"].contains(&parameter["name"].as_str().unwrap_or_default()) {
            as_json(&mut parameter);
        }
        without_null(&mut parameter["schema"]);
        parameters.push(parameter);
    }
    if method != "get" && (path.starts_with("/v1/products") || path == "/v1/jobs") {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "Makes the write repeatable for a day",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
        }));
    }
    let named = operation["responses"].as_object().cloned().unwrap_or_default();
    let mut responses = Map::new();
    let mut statuses = vec![400, 500];
    if path.starts_with("/v1/") || path.starts_with("/metrics") {
        statuses.extend([503, 504]);
    }
    if operation.get("requestBody").is_some() {
        statuses.extend([408, 413, 415]);
        operation["requestBody"]["required"] = json!(true);
        binary(&mut operation["requestBody"]["content"]);
    }
    if operation.get("security").is_some() {
        if keys {
            statuses.extend([401, 403, 429]);
        } else if let Some(operation) = operation.as_object_mut() {
            operation.remove("security");
        }
    } else {
        operation["security"] = json!([]);
    }
    for status in statuses {
        responses.insert(status.to_string(), problem_ref(status));
    }
    for (status, mut response) in named {
        let code = status.parse().unwrap_or(500);
        if response.get("content").is_none() && code >= 400 {
            response = problem_ref(code);
        } else {
            if code == 304 {
                response["description"] = json!("Not changed since the entity tag in `If-None-Match`");
            }
            // Only where there is one: indexing would write `null` into answers without a body.
            if let Some(content) = response.get_mut("content") {
                binary(content);
            }
            response["headers"]["X-Request-Id"] = json!({"$ref": "#/components/headers/RequestId"});
        }
        responses.insert(status, response);
    }
    operation["parameters"] = Value::Array(parameters);
    operation["responses"] = Value::Object(responses);
}

/// Ids in paths: 1 to 128 characters, none of them a control character (the category Cc).
fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let parameter = |name: &str| match name {
        "kind" => {
            let slugs: Vec<&str> = Kind::ALL.iter().map(|kind| kind.slug()).collect();
            json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "enum": slugs}})
        }
        "job_id" => json!({
            "name": name, "in": "path", "required": true, "description": "The job's id",
            "schema": {"type": "string", "format": "uuid"}
        }),
        _ => json!({
            "name": name, "in": "path", "required": true,
            "description": if name == "version" { "Version of the bundle" } else { "The merchant's id, percent-encoded" },
            "schema": {
                "type": "string", "minLength": 1, "maxLength": 128,
                "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]+$"
            }
        }),
    };
    names.map(parameter).collect()
}

/// A parameter whose text is JSON.
fn as_json(parameter: &mut Value) {
    let schema = match parameter["name"].as_str() {
        Some("filter") => json!({"$ref": FILTER}),
        _ => json!({"$ref": "#/components/schemas/Weights"}),
    };
    if let Some(parameter) = parameter.as_object_mut() {
        parameter.remove("schema");
    }
    parameter["content"] = json!({"application/json": {"schema": schema}});
}

/// `Option` is "may be absent" in a query string, which has no null.
fn without_null(schema: &mut Value) {
    if let Some(kinds) = schema["type"].as_array() {
        let kind = kinds.iter().find(|kind| *kind != "null").cloned();
        schema["type"] = kind.unwrap_or_default();
    }
    if let Some(real) = schema["oneOf"].as_array().and_then(|all| all.iter().find(|s| s["type"] != "null")).cloned() {
        *schema = real;
    }
    if schema.is_null() {
        *schema = json!({});
    }
}

/// Bodies without a schema are bytes.
fn binary(content: &mut Value) {
    for (kind, media) in content.as_object_mut().into_iter().flatten() {
        if media.get("schema").is_none() {
            let text = kind.starts_with("text/") || kind.contains("openmetrics");
            *media = if text {
                json!({"schema": {"type": "string"}})
            } else {
                json!({"schema": {"type": "string", "format": "binary"}})
            };
        }
    }
}

/// Exactly one of the properties.
fn one_of(schema: &mut Value, names: &[&str]) {
    let mut choices: Vec<Value> = names.iter().map(|name| json!({"required": [name]})).collect();
    // A box is part of a photo.
    if let Some(basket) = choices.iter_mut().find(|choice| choice["required"][0] == "product_ids") {
        basket["not"] = json!({"required": ["box"]});
    }
    schema["oneOf"] = Value::Array(choices);
}

fn problem_statuses() -> Vec<u16> {
    let mut statuses: Vec<u16> = Kind::ALL.iter().map(|kind| kind.status().as_u16()).collect();
    statuses.dedup();
    statuses
}

fn problem_ref(status: u16) -> Value {
    json!({"$ref": format!("#/components/responses/Problem{status}")})
}

fn problem_response(status: u16) -> Value {
    let kinds = Kind::ALL.iter().filter(|kind| kind.status().as_u16() == status);
    let titles: Vec<String> = kinds.map(|kind| format!("{} (`{}`)", kind.title(), kind.slug())).collect();
    let mut headers = json!({"X-Request-Id": {"$ref": "#/components/headers/RequestId"}});
    if [429, 503].contains(&status) {
        headers["Retry-After"] = json!({"description": "Seconds to wait", "schema": {"type": "integer", "minimum": 1}});
    }
    if status == 401 {
        headers["WWW-Authenticate"] = json!({"schema": {"type": "string"}});
    }
    json!({
        "description": titles.join("; "), "headers": headers,
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    })
}

/// The grammar of [`crate::filter`].
fn filter_schema() -> Value {
    let scalar = json!({"type": ["string", "null"], "maxLength": 512});
    let text = json!({"oneOf": [scalar, {"type": "array", "minItems": 1, "maxItems": 100, "items": scalar}]});
    let color =
        json!({"enum": crate::filter::ColorName::all().map(Value::from).chain([Value::Null]).collect::<Vec<_>>()});
    let colors = json!({"oneOf": [color, {"type": "array", "minItems": 1, "maxItems": 100, "items": color}]});
    let number = json!({"type": ["number", "null"]});
    let bound = json!({"type": "number"});
    json!({
        "description": "Every entry must hold. A list holds when any of its values does; `null` stands for no value.",
        "type": "object", "additionalProperties": false,
        "patternProperties": {"^attributes\\..{1,128}$": text},
        "properties": {
            "category": text, "currency": text, "group_id": text, "tags": text, "color": colors,
            "in_stock": {"type": ["boolean", "null"]},
            "price": {"oneOf": [
                number,
                {"type": "array", "minItems": 1, "maxItems": 100, "items": number},
                {
                    "type": "object", "additionalProperties": false, "minProperties": 1,
                    "properties": {"lt": bound, "lte": bound, "gt": bound, "gte": bound},
                    "not": {"anyOf": [{"required": ["lt", "lte"]}, {"required": ["gt", "gte"]}]}
                }
            ]},
            "not": {"$ref": FILTER},
            "and": {"type": "array", "minItems": 1, "items": {"$ref": FILTER}},
            "or": {"type": "array", "minItems": 1, "items": {"$ref": FILTER}}
        },
        "example": {"in_stock": true, "price": {"lt": 60}, "attributes.category": ["dresses", "skirts"]}
    })
}
