//! The fetcher against servers that redirect, stall, lie and never end; all on 127.0.0.1, allowed by host and port.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::resolve::check;
use super::*;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::stream;
use std::convert::Infallible;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Serves `router` on a free port for as long as the test's runtime lives.
async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Answers every connection with `bytes` and then closes it, or keeps it open and silent.
async fn serve_raw(bytes: &'static [u8], close: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(bytes).await;
            if !close {
                open.push(stream);
            }
        }
    });
    address
}

fn config(allowed: &[SocketAddr]) -> FetchConfig {
    FetchConfig {
        max_bytes: 100_000,
        allow_hosts: allowed.iter().map(SocketAddr::to_string).collect(),
        ..FetchConfig::default()
    }
}

async fn fetch(address: SocketAddr, path: &str) -> Result<Bytes, FetchError> {
    let fetcher = Fetcher::new(config(&[address])).unwrap();
    fetcher.fetch(&format!("http://{address}{path}")).await
}

fn redirect_to(location: &str) -> impl IntoResponse + use<> {
    let location = HeaderValue::from_str(location).unwrap();
    (StatusCode::FOUND, [(header::LOCATION, location)])
}

#[tokio::test]
async fn bytes_come_as_they_are_and_over_redirects() {
    let router = Router::new()
        .route("/photo", get(async || vec![7_u8; 1000]))
        .route("/moved", get(async || redirect_to("/photo")))
        .route("/headers", get(async |headers: HeaderMap| format!("{headers:?}")));
    let address = serve(router).await;
    assert_eq!(fetch(address, "/photo").await.unwrap(), vec![7; 1000]);
    assert_eq!(fetch(address, "/moved").await.unwrap(), vec![7; 1000]);
    let sent = fetch(address, "/headers").await.unwrap();
    let sent = std::str::from_utf8(&sent).unwrap();
    assert!(sent.contains("\"accept-encoding\": \"identity\""), "{sent}");
    assert!(!sent.contains("referer") && !sent.contains("cookie"), "{sent}");
}

/// Answers one request a connection over TLS with `certificate`, as `photo`.
async fn serve_tls(certificate: rcgen::CertifiedKey<rcgen::KeyPair>) -> SocketAddr {
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust us breaks off in the handshake.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nphoto").await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

#[tokio::test]
async fn https_needs_a_certificate_that_is_trusted_and_names_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let [trusted, other] = ["trusted.pem", "other.pem"].map(|name| folder.path().join(name));
    let here = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let elsewhere = rcgen::generate_simple_self_signed(["shop.example".to_owned()]).unwrap();
    std::fs::write(&trusted, here.cert.pem() + &elsewhere.cert.pem()).unwrap();
    std::fs::write(&other, elsewhere.cert.pem()).unwrap();
    let (here, elsewhere) = (serve_tls(here).await, serve_tls(elsewhere).await);
    let fetch = async |address: SocketAddr, ca_file: Option<&Path>| {
        let config = FetchConfig {
            allow_hosts: vec!["localhost".to_owned()],
            ca_file: ca_file.map(Path::to_owned),
            ..FetchConfig::default()
        };
        Fetcher::new(config).unwrap().fetch(&format!("https://localhost:{}/", address.port())).await
    };
    assert_eq!(fetch(here, Some(&trusted)).await.unwrap(), "photo");
    for (address, ca_file) in [(here, None), (here, Some(&*other)), (elsewhere, Some(&*trusted))] {
        let error = fetch(address, ca_file).await.unwrap_err();
        assert!(matches!(&error, FetchError::Connection { detail, .. } if detail.contains("certificate")), "{error}");
    }
}

#[test]
fn a_file_without_certificate_authorities_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let [missing, empty, broken] = ["missing", "empty", "broken"].map(|name| folder.path().join(name));
    std::fs::write(&empty, "").unwrap();
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n").unwrap();
    for ca_file in [missing, empty, broken] {
        let config = FetchConfig { ca_file: Some(ca_file.clone()), ..FetchConfig::default() };
        let error = Fetcher::new(config).unwrap_err();
        assert!(error.to_string().contains(&*ca_file.to_string_lossy()), "{error}");
    }
}

#[tokio::test]
async fn urls_are_refused_by_their_text() {
    let fetcher = Fetcher::new(FetchConfig::default()).unwrap();
    for url in ["", "photo.jpg", "http://", "http://[::1", "//host/a"] {
        let error = fetcher.fetch(url).await.unwrap_err();
        assert!(matches!(error, FetchError::Url { .. }), "{url}: {error}");
    }
    for url in ["file:///etc/passwd", "ftp://host/a", "gopher://127.0.0.1", "data:image/png,x", "javascript:1"] {
        let error = fetcher.fetch(url).await.unwrap_err();
        assert!(matches!(error, FetchError::Scheme { .. }), "{url}: {error}");
    }
    for url in ["http://user@8.8.8.8/", "http://u:p@8.8.8.8/", "http://:p@8.8.8.8/"] {
        assert_eq!(fetcher.fetch(url).await.unwrap_err(), FetchError::Userinfo, "{url}");
    }
}

#[tokio::test]
async fn every_spelling_of_an_inner_address_is_refused() {
    let fetcher = Fetcher::new(FetchConfig::default()).unwrap();
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "2130706433",
        "017700000001",
        "127.0.0.1.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "0",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "10.0.0.1",
        "１２７.０.０.１",
        "localhost",
    ] {
        for scheme in ["http", "https"] {
            let error = fetcher.fetch(&format!("{scheme}://{host}/")).await.unwrap_err();
            assert!(matches!(error, FetchError::AddressRefused { .. }), "{host}: {error}");
        }
    }
}

#[tokio::test]
async fn redirects_into_the_inside_are_refused() {
    let inner = serve(Router::new().route("/", get(async || "secret"))).await;
    let to_inner = format!("http://{inner}/");
    let to_name = format!("http://localhost:{}/", inner.port());
    let router = Router::new()
        .route("/inner", get(async move || redirect_to(&to_inner)))
        .route("/name", get(async move || redirect_to(&to_name)))
        .route("/metadata", get(async || redirect_to("http://169.254.169.254/latest/meta-data/")))
        .route("/file", get(async || redirect_to("file:///etc/passwd")))
        .route("/userinfo", get(async || redirect_to("http://a:b@8.8.8.8/")))
        .route("/nowhere", get(async || StatusCode::FOUND));
    let outer = serve(router).await;
    for (path, refused) in [("/inner", "127.0.0.1"), ("/metadata", "169.254.169.254")] {
        let (host, address) = (refused.to_owned(), refused.parse().unwrap());
        let expected = FetchError::AddressRefused { host, address };
        assert_eq!(fetch(outer, path).await.unwrap_err(), expected);
    }
    // A name goes through the resolver inside the client, and the refusal comes back through its errors.
    let error = fetch(outer, "/name").await.unwrap_err();
    assert!(matches!(&error, FetchError::AddressRefused { host, .. } if host == "localhost"), "{error}");
    assert!(matches!(fetch(outer, "/file").await.unwrap_err(), FetchError::Scheme { .. }));
    assert_eq!(fetch(outer, "/userinfo").await.unwrap_err(), FetchError::Userinfo);
    let expected = FetchError::Location { status: 302 };
    assert_eq!(fetch(outer, "/nowhere").await.unwrap_err(), expected);
}

#[tokio::test]
async fn hosts_allowed_by_name_or_range_are_reached_inside() {
    let inner = serve(Router::new().route("/", get(async || "photo"))).await;
    let url = format!("http://localhost:{}/", inner.port());
    for entry in ["localhost", &format!("localhost:{}", inner.port()), "127.0.0.0/8"] {
        // `localhost` may have an IPv6 address too, which a range of IPv4 does not cover.
        let allow_hosts = vec![entry.to_owned(), "::1".to_owned()];
        let fetcher = Fetcher::new(FetchConfig { allow_hosts, ..FetchConfig::default() }).unwrap();
        assert_eq!(fetcher.fetch(&url).await.unwrap(), "photo", "{entry}");
    }
    let allow_hosts = vec!["localhost:1".to_owned()];
    let fetcher = Fetcher::new(FetchConfig { allow_hosts, ..FetchConfig::default() }).unwrap();
    let error = fetcher.fetch(&url).await.unwrap_err();
    assert!(matches!(error, FetchError::AddressRefused { .. }), "{error}");
}

#[test]
fn one_inner_address_refuses_the_name() {
    let mixed: Vec<SocketAddr> = vec!["8.8.8.8:0".parse().unwrap(), "[::1]:0".parse().unwrap()];
    let expected = FetchError::AddressRefused { host: "x".to_owned(), address: "::1".parse().unwrap() };
    assert_eq!(check("x", &mixed, &AllowList::default()).unwrap_err(), expected);
    assert_eq!(check("x", &mixed[..1], &AllowList::default()), Ok(()));
    let expected = FetchError::Resolve { host: "x".to_owned() };
    assert_eq!(check("x", &[], &AllowList::default()).unwrap_err(), expected);
}

#[tokio::test]
async fn loops_and_chains_end() {
    let router = Router::new()
        .route("/loop", get(async || redirect_to("/loop")))
        .route("/1", get(async || redirect_to("/2")))
        .route("/2", get(async || redirect_to("/3")))
        .route("/3", get(async || redirect_to("/4")))
        .route("/4", get(async || "photo"));
    let address = serve(router).await;
    assert_eq!(fetch(address, "/loop").await.unwrap_err(), FetchError::Redirects { limit: 3 });
    assert_eq!(fetch(address, "/1").await.unwrap(), "photo");
}

#[tokio::test]
async fn statuses_and_encodings_are_refused() {
    let router = Router::new()
        .route("/gone", get(async || StatusCode::GONE))
        .route("/empty", get(async || StatusCode::NO_CONTENT))
        .route("/gzip", get(async || ([(header::CONTENT_ENCODING, "gzip")], "not gzip at all")));
    let address = serve(router).await;
    for (path, received) in [("/missing", 404), ("/gone", 410), ("/empty", 204)] {
        let expected = FetchError::Status { expected: 200, received, retry_after_s: 0 };
        assert_eq!(fetch(address, path).await.unwrap_err(), expected);
    }
    let expected = FetchError::Encoding { expected: "identity", received: "gzip".to_owned() };
    assert_eq!(fetch(address, "/gzip").await.unwrap_err(), expected);
}

#[tokio::test]
async fn sizes_are_capped_as_announced_and_as_sent() {
    let endless = async || {
        let chunks = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[0; 10_000])));
        Body::from_stream(chunks)
    };
    let router = Router::new()
        .route("/large", get(async || vec![0_u8; 100_001]))
        .route("/fits", get(async || vec![0_u8; 100_000]))
        .route("/endless", get(endless));
    let address = serve(router).await;
    let expected = FetchError::TooLarge { limit: 100_000, received: 100_001 };
    assert_eq!(fetch(address, "/large").await.unwrap_err(), expected);
    assert_eq!(fetch(address, "/fits").await.unwrap().len(), 100_000);
    let error = fetch(address, "/endless").await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { received: 100_001.., .. }), "{error}");
}

#[tokio::test]
async fn broken_servers_are_told_apart() {
    let cut = serve_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf", true).await;
    assert_eq!(fetch(cut, "/").await.unwrap_err(), FetchError::Incomplete { received: 4 });
    for bytes in [&b""[..], b"SSH-2.0-OpenSSH_9.2\r\n"] {
        let address = serve_raw(bytes, true).await;
        let error = fetch(address, "/").await.unwrap_err();
        assert!(matches!(error, FetchError::Connection { .. }), "{error}");
    }
    let huge = b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n";
    let address = serve_raw(huge, false).await;
    let error = fetch(address, "/").await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { .. } | FetchError::Connection { .. }), "{error}");
}

#[tokio::test]
async fn slow_servers_and_full_queues_end_in_time() {
    for bytes in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nslow"] {
        let address = serve_raw(bytes, false).await;
        let fetcher = Fetcher::new(FetchConfig { total_ms: 100, ..config(&[address]) }).unwrap();
        let error = fetcher.fetch(&format!("http://{address}/")).await.unwrap_err();
        assert_eq!(error, FetchError::Timeout { limit_ms: 100 });
    }
    let silent = serve_raw(b"", false).await;
    let config = FetchConfig { concurrency: 1, queue_ms: 10, total_ms: 60_000, ..config(&[silent]) };
    let fetcher = Fetcher::new(config).unwrap();
    let url = format!("http://{silent}/");
    // The first takes the only place before the second is polled, and never ends.
    let error = tokio::select! {
        biased;
        first = fetcher.fetch(&url) => first,
        second = fetcher.fetch(&url) => second,
    };
    assert_eq!(error.unwrap_err(), FetchError::Busy { limit: 1, waited_ms: 10 });
}

#[test]
fn mistakes_in_the_configuration_are_reported() {
    let allow_hosts = vec!["http://host".to_owned()];
    let error = Fetcher::new(FetchConfig { allow_hosts, ..FetchConfig::default() }).unwrap_err();
    assert!(matches!(error, FetchError::AllowHost { .. }), "{error}");
}
