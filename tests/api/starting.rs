//! A server that listens before it is open.

use super::server::{is_problem, json, start_slowly};

#[tokio::test(flavor = "multi_thread")]
async fn it_says_that_it_lives_and_when_to_come_again_until_it_is_open() {
    let Some((server, open)) = start_slowly().await else { return };
    assert_eq!(json(server.get("/health/live"), 200).await["live"], true);
    let status = json(server.get("/health/ready"), 503).await;
    assert_eq!((&status["ready"], &status["reason"]), (&false.into(), &"starting".into()));
    for path in ["/v1/models", "/metrics", "/nowhere"] {
        let refused = server.get(path).send().await.unwrap();
        assert_eq!(
            (&refused.headers()["retry-after"], &refused.headers()["connection"]),
            (&"1".parse().unwrap(), &"close".parse().unwrap())
        );
        is_problem(refused, 503, "starting").await;
    }
    open.send(()).unwrap();
    while server.get("/health/ready").send().await.unwrap().status() != 200 {
        tokio::task::yield_now().await;
    }
    assert!(json(server.get("/v1/models"), 200).await["items"].is_array());
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_stopped_before_it_is_open() {
    let Some((server, _never)) = start_slowly().await else { return };
    json(server.get("/health/live"), 200).await;
    server.stop().await.unwrap();
}
