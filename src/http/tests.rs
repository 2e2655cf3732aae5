//! The document, which needs no service: complete, without dangling references, and in step with the routes.
//! Everything that needs a service is in `tests/api`, behind a real listener.

#![allow(clippy::unwrap_used)]

use super::auth::Scope;
use super::operations::Operations;
use super::problem::Kind;
use axum::http::Method;
use serde_json::Value;
use std::collections::HashSet;

fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |(m, o)| (path.as_str(), m.as_str(), o)))
}

fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str));
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_reference_resolves() {
    let document = super::document(true);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_operation_is_named_once_and_says_how_it_fails() {
    let document = super::document(true);
    let mut ids = HashSet::new();
    for (path, method, operation) in operations(&document) {
        let name = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{name}");
        assert!(operation["summary"].is_string() && operation["tags"][0].is_string(), "{name}");
        let responses = operation["responses"].as_object().unwrap();
        let mut expected = vec!["400", "500"];
        if path.starts_with("/v1/") {
            expected.extend(["401", "403", "503", "504"]);
        }
        if operation["requestBody"].is_object() {
            expected.extend(["408", "413", "415"]);
        }
        if path.contains("/{product_id}") && (method != "put" || path.contains("/images")) {
            expected.push("404");
        }
        for status in expected {
            let reference = responses.get(status).and_then(|r| r["$ref"].as_str());
            assert_eq!(reference, Some(format!("#/components/responses/Problem{status}").as_str()), "{name}");
        }
        assert!(responses.keys().any(|status| status.starts_with('2')), "{name}");
    }
    assert!(ids.len() >= 18);
}

#[test]
fn answers_without_a_body_have_no_content() {
    let document = super::document(true);
    for (path, _, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let content = response.get("content");
            assert!(content.is_none_or(|c| c.is_object()), "{path} {status}: content is {content:?}");
        }
    }
}

#[test]
fn every_segment_in_braces_is_a_parameter() {
    let document = super::document(true);
    for (path, method, operation) in operations(&document) {
        let parameters = operation["parameters"].as_array().unwrap();
        let names = |place: &str| -> Vec<&str> {
            let found = parameters.iter().filter(|p| p["in"] == place);
            found.map(|p| p["name"].as_str().unwrap()).collect()
        };
        let in_path = path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}')).collect::<Vec<_>>();
        assert_eq!(names("path"), in_path, "{method} {path}");
        let distinct: HashSet<_> = names("query").into_iter().collect();
        assert_eq!(distinct.len(), names("query").len(), "{method} {path}");
        for parameter in parameters {
            let schema = parameter.get("schema").or_else(|| parameter.pointer("/content/application~1json/schema"));
            assert!(schema.is_some_and(Value::is_object), "{method} {path} {parameter}");
            assert!(!parameter.to_string().contains("\"null\"") || parameter["name"] == "filter", "{parameter}");
        }
    }
}

#[test]
fn scopes_are_read_from_the_document() {
    let table = Operations::of(&super::document(true));
    let scopes = |method: Method, route: &str| table.find(&method, route).unwrap().scopes.clone();
    assert_eq!(scopes(Method::PUT, "/v1/products/{product_id}"), Some(vec![Scope::Ingest]));
    assert_eq!(scopes(Method::HEAD, "/v1/products/{product_id}"), Some(vec![Scope::Search, Scope::Ingest]));
    assert_eq!(scopes(Method::POST, "/v1/similar"), Some(vec![Scope::Search]));
    assert_eq!(scopes(Method::GET, "/metrics"), Some(vec![Scope::Admin]));
    for open in ["/health/live", "/health/ready", "/openapi.json", "/docs", "/problems/{kind}"] {
        assert_eq!(scopes(Method::GET, open), None, "{open}");
    }
    let document = super::document(true);
    for (path, method, operation) in operations(&document).filter(|(path, ..)| path.starts_with("/v1/")) {
        assert!(operation["security"][0]["key"][0].is_string(), "{method} {path} is open");
    }
}

#[test]
fn without_keys_the_document_asks_for_none() {
    let document = super::document(false);
    for (path, method, operation) in operations(&document) {
        assert!(operation.get("security").is_none_or(|s| s.as_array().is_some_and(Vec::is_empty)), "{method} {path}");
        assert!(operation["responses"].get("401").is_none(), "{method} {path}");
    }
}

#[test]
fn kinds_of_problems_have_names_of_their_own() {
    let slugs: HashSet<_> = Kind::ALL.iter().map(|kind| kind.slug()).collect();
    assert_eq!(slugs.len(), Kind::ALL.len());
    let statuses: Vec<_> = Kind::ALL.iter().map(|kind| kind.status()).collect();
    assert!(statuses.is_sorted(), "the document lists them by status");
    for kind in Kind::ALL {
        assert!(kind.slug().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{kind:?}");
        assert!(kind.meaning().len() > 10 && kind.meaning().ends_with('.'), "{kind:?}");
    }
}
