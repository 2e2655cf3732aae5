//! What the OpenAPI document says of each operation, as a table that requests are checked against: scopes and the
//! names of query parameters. So the document and the checks cannot disagree.

use super::auth::Scope;
use axum::http::Method;
use serde_json::Value;
use std::collections::HashMap;

/// One operation of the document.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Operation {
    /// The caller's key needs one of these; `None`: no key needed.
    pub(super) scopes: Option<Vec<Scope>>,
    /// Query parameters it reads.
    pub(super) query: Vec<String>,
}

/// Every operation, by path template and method.
#[derive(Clone, Debug)]
pub(super) struct Operations(HashMap<String, HashMap<String, Operation>>);

impl Operations {
    /// Reads the table out of an OpenAPI document.
    pub(super) fn of(document: &Value) -> Self {
        let paths = document["paths"].as_object().into_iter().flatten();
        let table = paths.map(|(path, item)| {
            let operations = item.as_object().into_iter().flatten();
            let operations = operations.map(|(method, operation)| (method.to_uppercase(), read(operation)));
            (path.clone(), operations.collect())
        });
        Self(table.collect())
    }

    /// The operation a request asks for; a `HEAD` asks for the `GET`.
    pub(super) fn find(&self, method: &Method, route: &str) -> Option<&Operation> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        self.0.get(route)?.get(method.as_str())
    }
}

fn read(operation: &Value) -> Operation {
    let requirement = operation["security"].get(0).and_then(|r| r.get(super::openapi::SECURITY_SCHEME));
    let query = operation["parameters"].as_array().into_iter().flatten();
    let query = query.filter(|p| p["in"] == "query").filter_map(|p| p["name"].as_str());
    Operation {
        scopes: requirement.map(|scopes| serde_json::from_value(scopes.clone()).unwrap_or_default()),
        query: query.map(str::to_owned).collect(),
    }
}
