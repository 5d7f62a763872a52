use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tower_bearer::testing::{Endpoint, Fault, IssuerTransport, ManualClock, TestIssuer};
use tower_bearer::transport::{Limits, Transport as _, TransportError, TransportErrorKind};
use tower_bearer::{Clock as _, UnixTime};

const LIMITS: Limits = Limits::new(10_000, Duration::from_secs(5));

async fn fetch(
    transport: &IssuerTransport,
    url: impl AsRef<str>,
) -> Result<Response<Bytes>, TransportError> {
    let request = Request::get(url.as_ref()).body(Bytes::new()).unwrap();
    transport.send(request, LIMITS).await
}

#[tokio::test(start_paused = true)]
async fn asks_without_a_network() {
    // An address that can't be resolved, let alone reached.
    let builder = TestIssuer::builder().public_url("https://issuer.test").issuer_path("/a");
    let issuer = builder.start().await.unwrap();
    let transport = issuer.transport();
    let response = fetch(&transport, issuer.jwks_uri()).await.unwrap();
    let set: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(set["keys"][0]["kid"], "es256-1");
    assert_eq!(issuer.counters().requests(Endpoint::Jwks), 1);
    let missing = fetch(&transport, "https://issuer.test/b").await.unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    for elsewhere in ["https://other.test/a/jwks", "http://issuer.test/a/jwks", "/a/jwks"] {
        let error = fetch(&transport, elsewhere).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Connect, "{elsewhere}");
    }
}

#[tokio::test(start_paused = true)]
async fn faults_are_what_they_are_on_the_wire() {
    let issuer = TestIssuer::start().await.unwrap();
    let transport = issuer.transport();
    let stopwatch = ManualClock::running(UnixTime::from_secs(0));
    for (fault, expected) in [
        (Fault::delay(Duration::from_secs(4)), Ok(200)),
        (Fault::delay(Duration::from_secs(6)), Err(TransportErrorKind::Timeout)),
        (Fault::hang(), Err(TransportErrorKind::Timeout)),
        (Fault::status(StatusCode::BAD_GATEWAY), Ok(502)),
        (Fault::garbage(), Ok(200)),
        (Fault::truncated(), Err(TransportErrorKind::Other)),
        (Fault::endless(), Err(TransportErrorKind::TooLarge)),
        (Fault::slow(Duration::from_millis(1)), Ok(200)),
        (Fault::slow(Duration::from_secs(1)), Err(TransportErrorKind::Timeout)),
        (Fault::reset(), Err(TransportErrorKind::Other)),
    ] {
        issuer.inject(Endpoint::Jwks, fault.clone());
        let result = fetch(&transport, issuer.jwks_uri()).await;
        let result = result.map(|response| response.status().as_u16()).map_err(|e| e.kind());
        assert_eq!(result, expected, "{fault:?}");
    }
    // 4, three times 5, and a quarter for the slow body.
    assert_eq!(stopwatch.now().as_secs(), 19);
    issuer.clear_faults();
    assert!(fetch(&transport, issuer.jwks_uri()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_one_here_too() {
    let issuer = TestIssuer::start().await.unwrap();
    let transport = issuer.transport();
    issuer.stop().await;
    let error = fetch(&transport, issuer.jwks_uri()).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Connect);
    issuer.restart().await.unwrap();
    assert!(fetch(&transport, issuer.jwks_uri()).await.is_ok());
    drop(issuer);
    let gone = fetch(&transport, "http://127.0.0.1:1/jwks").await.unwrap_err();
    assert_eq!(gone.kind(), TransportErrorKind::Connect);
}
