use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use tower_bearer::testing::{Endpoint, Fault, TestIssuer};

use crate::{get, http, kids};

#[tokio::test]
async fn an_outage_and_its_end() {
    let issuer = TestIssuer::start().await.unwrap();
    let address = issuer.address();
    let client = http();
    assert_eq!(client.get(issuer.jwks_uri()).send().await.unwrap().status(), 200);
    for round in 1..=3 {
        issuer.stop().await;
        issuer.stop().await;
        // A kept connection is broken, and a new one is refused.
        assert!(client.get(issuer.jwks_uri()).send().await.is_err());
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        issuer.token().sign();
        issuer.restart().await.unwrap();
        issuer.restart().await.unwrap();
        assert_eq!(issuer.address(), address);
        assert_eq!(client.get(issuer.jwks_uri()).send().await.unwrap().status(), 200);
        assert_eq!(issuer.counters().requests(Endpoint::Jwks), round + 1);
    }
}

#[tokio::test]
async fn an_outage_breaks_what_is_under_way() {
    let issuer = TestIssuer::start().await.unwrap();
    issuer.inject(Endpoint::Jwks, Fault::hang());
    let url = issuer.jwks_uri();
    let waiting = tokio::spawn(async move { http().get(url).send().await });
    issuer.wait_for_requests(Endpoint::Jwks, 1).await;
    issuer.stop().await;
    assert!(waiting.await.unwrap().is_err());
}

#[tokio::test]
async fn dropping_it_frees_the_port() {
    let issuer = TestIssuer::start().await.unwrap();
    let address = issuer.address();
    issuer.inject(Endpoint::Jwks, Fault::hang());
    let mut open = TcpStream::connect(address).unwrap();
    open.write_all(b"GET /jwks HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    issuer.wait_for_requests(Endpoint::Jwks, 1).await;
    drop(issuer);
    assert_eq!(open.read(&mut [0]).unwrap_or_default(), 0);
    assert!(TcpStream::connect(address).is_err());
    std::net::TcpListener::bind(address).unwrap();
}

#[tokio::test]
async fn dropping_it_while_stopped_frees_the_port() {
    let issuer = TestIssuer::start().await.unwrap();
    let address = issuer.address();
    issuer.stop().await;
    drop(issuer);
    std::net::TcpListener::bind(address).unwrap();
}

#[tokio::test]
async fn many_at_once() {
    let mut issuers = Vec::new();
    for _ in 0..20 {
        issuers.push(TestIssuer::start().await.unwrap());
    }
    let mut addresses: Vec<_> = issuers.iter().map(TestIssuer::address).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 20);
    for issuer in &issuers {
        assert_eq!(kids(issuer).await, ["es256-1"]);
    }
}

// A runtime without drivers, one with workers, and none that lasts: the issuer needs nothing of
// the one it is started in.
#[test]
fn works_in_any_runtime_and_outlives_it() {
    let bare = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let issuer = bare.block_on(TestIssuer::start()).unwrap();
    drop(bare);
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    threads.block_on(async { assert_eq!(kids(&issuer).await, ["es256-1"]) });
    // The test's own thread blocks, and the issuer serves all the same.
    let mut stream = TcpStream::connect(issuer.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"GET /jwks HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\"kid\":\"es256-1\""), "{answer}");
}

#[tokio::test]
async fn listens_where_it_is_told() {
    let v6 = TestIssuer::builder().listen("[::1]:0".parse().unwrap()).start().await;
    // A machine without IPv6 has nothing to show here.
    if let Ok(issuer) = v6 {
        assert!(issuer.issuer().starts_with("http://[::1]:"));
        assert_eq!(get(&issuer.jwks_uri()).await.status(), 200);
        issuer.stop().await;
        issuer.restart().await.unwrap();
        assert_eq!(get(&issuer.jwks_uri()).await.status(), 200);
    }
    let first = TestIssuer::start().await.unwrap();
    let address = first.address();
    drop(first);
    let second = TestIssuer::builder().listen(address).start().await.unwrap();
    assert_eq!(second.address(), address);
}

#[tokio::test]
async fn a_request_that_is_too_long_is_cut_off() {
    let issuer = TestIssuer::start().await.unwrap();
    let body = "a".repeat(1_000_000);
    let _ = http().post(issuer.token_endpoint()).body(body).send().await;
    assert_eq!(issuer.counters().requests(Endpoint::Token), 0);
    assert_eq!(kids(&issuer).await, ["es256-1"]);
}

#[test]
fn l1_debug_shows_no_secrets() {
    let client = tower_bearer::testing::TestClient::secret("c", "sentinel-secret");
    let builder = TestIssuer::builder().client(client);
    assert!(!format!("{builder:?}").contains("sentinel"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let issuer = runtime.block_on(builder.start()).unwrap();
    assert!(!format!("{issuer:?} {:?}", issuer.token()).contains("sentinel"));
}
