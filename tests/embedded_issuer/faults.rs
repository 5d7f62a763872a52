use std::time::Duration;

use http::StatusCode;
use tower_bearer::testing::{Endpoint, Fault, TestIssuer};

use crate::{ask, get, get_json, http, kids};

async fn with(fault: Fault) -> TestIssuer {
    let issuer = TestIssuer::start().await.unwrap();
    issuer.inject(Endpoint::Jwks, fault);
    issuer
}

#[tokio::test]
async fn a_delay() {
    let issuer = with(Fault::delay(Duration::from_secs(1))).await;
    let impatient = http().get(issuer.jwks_uri()).timeout(Duration::from_millis(250));
    assert!(impatient.send().await.unwrap_err().is_timeout());
    assert_eq!(kids(&issuer).await, ["es256-1"]);
}

#[tokio::test]
async fn a_status() {
    let issuer = with(Fault::status(StatusCode::SERVICE_UNAVAILABLE)).await;
    let response = get(&issuer.jwks_uri()).await;
    assert_eq!(response.status(), 503);
    assert!(!response.headers().contains_key("retry-after"));
    let fault = Fault::status(StatusCode::TOO_MANY_REQUESTS).retry_after(Duration::from_secs(7));
    issuer.inject(Endpoint::Jwks, fault);
    let response = get(&issuer.jwks_uri()).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (429, &"7".parse().unwrap())
    );
    // The other endpoints are well.
    assert_eq!(ask(&issuer, &[("grant_type", "client_credentials")]).await.status(), 200);
    issuer.clear_faults();
    assert_eq!(kids(&issuer).await, ["es256-1"]);
}

#[tokio::test]
async fn a_fault_ends_after_its_times() {
    let issuer = with(Fault::status(StatusCode::BAD_GATEWAY).times(2)).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(get(&issuer.jwks_uri()).await.status().as_u16());
    }
    assert_eq!(statuses, [502, 502, 200, 200]);
}

#[tokio::test]
async fn every_endpoint_can_fail() {
    let issuer = TestIssuer::start().await.unwrap();
    for endpoint in Endpoint::ALL.iter().copied() {
        issuer.inject(endpoint, Fault::status(StatusCode::IM_A_TEAPOT));
    }
    let root = issuer.issuer();
    for url in [
        format!("{root}/.well-known/oauth-authorization-server"),
        format!("{root}/.well-known/openid-configuration"),
        issuer.jwks_uri(),
    ] {
        assert_eq!(get(&url).await.status(), 418, "{url}");
    }
    assert_eq!(ask(&issuer, &[]).await.status(), 418);
    let asked = http().post(issuer.introspection_endpoint()).send().await.unwrap();
    assert_eq!(asked.status(), 418);
    for endpoint in Endpoint::ALL.iter().copied() {
        assert_eq!(issuer.counters().requests(endpoint), 1);
    }
}

#[tokio::test]
async fn other_bodies() {
    let issuer = with(Fault::garbage()).await;
    let response = get(&issuer.jwks_uri()).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    assert!(std::str::from_utf8(&response.bytes().await.unwrap()).is_err());

    issuer.inject(Endpoint::Jwks, Fault::login_page());
    let response = get(&issuer.jwks_uri()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    assert!(response.text().await.unwrap().starts_with("<!DOCTYPE html>"));

    issuer.inject(Endpoint::Jwks, Fault::empty_set());
    assert_eq!(get_json(&issuer.jwks_uri()).await, serde_json::json!({ "keys": [] }));

    issuer.inject(Endpoint::Jwks, Fault::json("{\"keys\":7}"));
    assert_eq!(get_json(&issuer.jwks_uri()).await["keys"], 7);

    issuer.inject(Endpoint::Jwks, Fault::redirect("https://elsewhere.test/jwks"));
    let response = get(&issuer.jwks_uri()).await;
    assert_eq!(response.status(), 302);
    assert_eq!(response.headers()["location"], "https://elsewhere.test/jwks");

    let answer = http::Response::builder().status(200).header("content-encoding", "br");
    issuer.inject(Endpoint::Jwks, Fault::answer(answer.body("x".into()).unwrap()));
    assert_eq!(get(&issuer.jwks_uri()).await.headers()["content-encoding"], "br");
}

#[tokio::test]
async fn a_truncated_body() {
    let issuer = with(Fault::truncated()).await;
    let mut response = get(&issuer.jwks_uri()).await;
    assert_eq!(response.status(), 200);
    let promised = response.content_length().unwrap();
    let mut received = 0;
    let error = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => received += chunk.len() as u64,
            Ok(None) => panic!("the body ended as if it were whole"),
            Err(error) => break error,
        }
    };
    assert_eq!(received, promised / 2);
    assert!(error.is_decode() || error.is_body(), "{error:?}");
}

#[tokio::test]
async fn an_endless_body() {
    let issuer = with(Fault::endless()).await;
    let mut response = get(&issuer.jwks_uri()).await;
    assert_eq!(response.content_length(), None);
    let mut received = Vec::new();
    while received.len() < 1_000_000 {
        received.extend_from_slice(&response.chunk().await.unwrap().unwrap());
    }
    // What was cut off would be a good answer.
    let set: serde_json::Value = serde_json::from_slice(&received).unwrap();
    assert_eq!(set["keys"][0]["kid"], "es256-1");
}

#[tokio::test]
async fn a_slow_body() {
    let issuer = with(Fault::slow(Duration::from_millis(10))).await;
    // Some 220 bytes take at least 2.2 s.
    let impatient = http().get(issuer.jwks_uri()).timeout(Duration::from_secs(1));
    assert!(impatient.send().await.unwrap().bytes().await.unwrap_err().is_timeout());
    assert_eq!(kids(&issuer).await, ["es256-1"]);
    issuer.inject(Endpoint::Jwks, Fault::slow(Duration::from_secs(60)));
    let short = http().get(issuer.jwks_uri()).timeout(Duration::from_secs(1));
    let error = short.send().await.unwrap().bytes().await.unwrap_err();
    assert!(error.is_timeout());
}

#[tokio::test]
async fn a_reset() {
    let issuer = with(Fault::reset()).await;
    let error = http().get(issuer.jwks_uri()).send().await.unwrap_err();
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    let mut kinds = Vec::new();
    while let Some(error) = source {
        kinds.extend(error.downcast_ref::<std::io::Error>().map(std::io::Error::kind));
        source = error.source();
    }
    assert!(kinds.contains(&std::io::ErrorKind::ConnectionReset), "{error:?}");
    issuer.clear_faults();
    assert_eq!(kids(&issuer).await, ["es256-1"]);
}

#[tokio::test]
async fn a_hang_ends_with_the_fault() {
    let issuer = with(Fault::hang()).await;
    let short = http().get(issuer.jwks_uri()).timeout(Duration::from_secs(1));
    assert!(short.send().await.unwrap_err().is_timeout());
    let url = issuer.jwks_uri();
    let waiting = tokio::spawn(async move { get(&url).await.status().as_u16() });
    issuer.wait_for_requests(Endpoint::Jwks, 2).await;
    assert!(!waiting.is_finished());
    issuer.clear_faults();
    assert_eq!(waiting.await.unwrap(), 200);
}

#[tokio::test]
async fn requests_are_counted_and_kept() {
    let issuer = TestIssuer::start().await.unwrap();
    assert_eq!(issuer.counters().total(), 0);
    assert!(issuer.last_request(Endpoint::Jwks).is_none());
    http().get(issuer.jwks_uri()).header("cache-control", "no-cache").send().await.unwrap();
    ask(&issuer, &[("grant_type", "client_credentials")]).await;
    let counters = issuer.counters();
    assert_eq!(counters.requests(Endpoint::Jwks), 1);
    assert_eq!(counters.requests(Endpoint::Token), 1);
    assert_eq!(counters.requests(Endpoint::OAuthMetadata), 0);
    assert_eq!(counters.total(), 2);
    let request = issuer.last_request(Endpoint::Jwks).unwrap();
    assert_eq!(request.headers()["cache-control"], "no-cache");
    let request = issuer.last_request(Endpoint::Token).unwrap();
    assert!(request.body().starts_with(b"grant_type="));
    issuer.reset_counters();
    assert_eq!(issuer.counters().total(), 0);
}
