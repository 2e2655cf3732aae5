//! `/openapi.json`, `/docs` and the pages of problems.

use super::server::{json, problem, start};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_problem_can_be_opened() {
    let Some(server) = start().await else { return };
    let document = json(server.get("/openapi.json"), 200).await;
    let parameters = &document["paths"]["/problems/{kind}"]["get"]["parameters"];
    let kinds: Vec<String> = serde_json::from_value(parameters[0]["schema"]["enum"].clone()).unwrap();
    assert!(kinds.len() > 20);
    for kind in kinds {
        let page = json(server.get(&format!("/problems/{kind}")), 200).await;
        assert_eq!(page["type"], format!("/problems/{kind}"));
    }
    problem(server.get("/problems/nothing"), 404, "unknown-problem").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_loads_nothing_from_elsewhere() {
    let Some(server) = start().await else { return };
    for (path, kind) in [("/docs", "text/html"), ("/docs/page.js", "text/javascript"), ("/docs/page.css", "text/css")] {
        let response = server.get(path).send().await.unwrap();
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with(kind));
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(!response.text().await.unwrap().contains("https://"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_what_there_is() {
    let Some(server) = start().await else { return };
    assert_eq!(json(server.get("/health/live"), 200).await["live"], true);
    let ready = json(server.get("/health/ready"), 200).await;
    assert_eq!((&ready["ready"], &ready["products"]), (&Value::Bool(true), &Value::from(0)));
    let models = json(server.get("/v1/models"), 200).await;
    assert!(models["items"].as_array().unwrap().iter().any(|model| model["live"] == true), "{models}");
}
