//! The feed in JetStream, with real servers that are killed on the way.

use super::server::{Server, models, start, start_over};
use async_nats::jetstream::{self, stream::Stream};
use serde_json::{Value, json as object};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use vitrine::feed::JetStreamConfig;

/// Longest wait for what must come.
const PATIENCE: Duration = Duration::from_secs(90);

/// A server of NATS that is killed when it is dropped.
struct Nats {
    name: String,
    arguments: Vec<String>,
    process: Child,
}

impl Nats {
    fn start(name: &str, arguments: Vec<String>) -> Option<Self> {
        let started = Command::new("nats-server").args(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        match started {
            Ok(process) => Some(Self { name: name.to_owned(), arguments, process }),
            Err(error) => {
                eprintln!("SKIPPED: nats-server cannot be started: {error}");
                None
            }
        }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn restart(&mut self) {
        *self = Self::start(&self.name.clone(), self.arguments.clone()).unwrap();
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn alone(dir: &Path, port: u16) -> Vec<String> {
    ["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd", &dir.to_string_lossy()].map(str::to_owned).to_vec()
}

fn config(url: String, replicas: usize) -> JetStreamConfig {
    JetStreamConfig { url, stream: "SHOP".into(), subject: "shop".into(), replicas, max_age: Duration::ZERO }
}

/// The stream, once it is there.
async fn stream(url: &str) -> Stream {
    let look = async {
        loop {
            let servers: Vec<&str> = url.split(',').collect();
            if let Ok(client) = async_nats::connect(servers).await
                && let Ok(stream) = jetstream::new(client).get_stream("SHOP").await
            {
                return stream;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("the stream is there in time")
}

/// All records of the stream, once it has as many as the feed; each once and in order, whoever died meanwhile.
async fn is_whole(server: &Server, url: &str) {
    let feed = server.get("/v1/feed?limit=10000").send().await.unwrap().text().await.unwrap();
    let records: Vec<Value> = feed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let stream = stream(url).await;
    let look = async {
        while !stream.get_info().await.is_ok_and(|info| info.state.last_sequence >= records.len() as u64) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("all is published in time");
    // Nothing comes after them either.
    assert_eq!(stream.get_info().await.unwrap().state.last_sequence, records.len() as u64);
    for (number, record) in (1..).zip(&records) {
        let message = stream.get_raw_message(number).await.unwrap();
        assert_eq!(&serde_json::from_slice::<Value>(&message.payload).unwrap(), record);
        let kind = record["type"].as_str().unwrap().strip_prefix("vitrine.").unwrap().strip_suffix(".v1").unwrap();
        assert_eq!(message.subject.as_str(), format!("shop.{kind}"));
    }
}

async fn changes(server: &Server, round: usize, count: usize) {
    for n in 0..count {
        let put = server.put(&format!("/v1/products/p{}", n % 7)).json(&object!({"title": format!("{round}/{n}")}));
        assert!(put.send().await.unwrap().status().is_success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_is_the_feed_whoever_dies() {
    let Some(server) = start().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let url = format!("nats://127.0.0.1:{port}");
    changes(&server, 0, 300).await;
    // The service is there before the server it publishes to.
    server.publish(config(url.clone(), 1));
    let Some(mut nats) = Nats::start("alone", alone(dir.path(), port)) else { return };
    is_whole(&server, &url).await;
    changes(&server, 1, 20).await;
    nats.kill();
    changes(&server, 2, 300).await;
    nats.restart();
    is_whole(&server, &url).await;
    // Another process of the service goes on where the stream ends, also where the server forgot which ids it had seen.
    let data = server.stop_keeping_data().await;
    let server = start_over(&models().unwrap(), data, false).await;
    changes(&server, 3, 10).await;
    server.publish(config(url.clone(), 1));
    is_whole(&server, &url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_loses_its_leader_loses_no_record() {
    let Some(server) = start().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
    let routes: Vec<String> = ports.iter().map(|(_, route)| format!("nats://127.0.0.1:{route}")).collect();
    let mut nodes = Vec::new();
    for (number, (port, route)) in ports.iter().enumerate() {
        let name = format!("n{number}");
        let mut arguments = alone(&dir.path().join(&name), *port);
        let cluster = format!("nats://127.0.0.1:{route}");
        let more = ["-n", &name, "--cluster_name", "shop", "--cluster", &cluster, "--routes", &routes.join(",")];
        arguments.extend(more.map(str::to_owned));
        let Some(node) = Nats::start(&name, arguments) else { return };
        nodes.push(node);
    }
    let urls: Vec<String> = ports.iter().map(|(port, _)| format!("nats://127.0.0.1:{port}")).collect();
    let url = urls.join(",");
    server.publish(config(url.clone(), 3));
    changes(&server, 0, 50).await;
    is_whole(&server, &url).await;
    for round in 1..=2 {
        let info = stream(&url).await.get_info().await.unwrap();
        let leader = info.cluster.unwrap().leader.unwrap();
        let node = nodes.iter_mut().find(|node| node.name == leader).unwrap();
        // It dies with records under way.
        tokio::join!(changes(&server, round, 200), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            node.kill();
        });
        is_whole(&server, &url).await;
        node.restart();
    }
}
