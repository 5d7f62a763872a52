//! Requests that wait for keys, and the service that was ready before they did.
#![cfg(all(feature = "test-util", feature = "tracing"))]
#![allow(clippy::disallowed_methods, reason = "the time is paused")]

mod world;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use serde_json::json;
use tokio::time::Instant;
use tokio_test::{assert_pending, assert_ready};
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt as _};
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::middleware::{Access, BearerAuth};
use tower_bearer::testing::{Gate, ScriptedAnswer, ScriptedTransport, TestKey};
use tower_bearer::transport::TransportErrorKind;
use tower_bearer::{BearerAuthLayer, Refusal, RejectionKind, Validator};
use world::{AUDIENCE, ISSUER, Inner, Logs, bearer, get, request, send, sign};

/// An issuer that has rotated: the validator knows `old`, and the next fetch brings `new` too.
struct Rotated {
    old: TestKey,
    new: TestKey,
    transport: ScriptedTransport,
    jwks: Jwks,
    inner: Inner,
}

impl Rotated {
    async fn start() -> Self {
        let old = TestKey::generate(Algorithm::EdDSA).with_kid("old");
        let new = TestKey::generate(Algorithm::EdDSA).with_kid("new");
        let transport = ScriptedTransport::new();
        transport.push(ScriptedAnswer::json(set(&[&old])));
        let jwks = Jwks::url(ISSUER, format!("{ISSUER}/jwks")).transport(transport.clone());
        let jwks = jwks.build().unwrap();
        jwks.ready(Duration::from_secs(5)).await.unwrap();
        Self { old, new, transport, jwks, inner: Inner::default() }
    }

    /// Lets the next fetch bring both keys, once the gate is opened.
    fn next_fetch(&self) -> Gate {
        let (answer, gate) = ScriptedAnswer::json(set(&[&self.old, &self.new])).gated();
        self.transport.push(answer);
        gate
    }

    fn layer(&self) -> BearerAuthLayer {
        let validator = Validator::builder(ISSUER, AUDIENCE).keys(self.jwks.clone());
        BearerAuthLayer::new(validator.build().unwrap()).realm("api").unwrap()
    }

    fn service(&self) -> BearerAuth<Inner> {
        self.layer().layer(self.inner.clone())
    }

    fn bearer(&self, key: &TestKey) -> String {
        bearer(&sign(key, json!({ "scope": "a" })))
    }
}

fn set(keys: &[&TestKey]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.public_jwk()).collect();
    json!({ "keys": keys }).to_string()
}

// X4, X5: what isn't a b64token is refused as such, and neither waits nor fetches; its twin does both.
#[tokio::test(start_paused = true)]
async fn x4_x5_malformed_credentials_neither_wait_nor_fetch() {
    let rotated = Rotated::start().await;
    let _gate = rotated.next_fetch();
    let mut service = rotated.service();
    let unknown = rotated.bearer(&rotated.new);
    let parts: Vec<&str> = unknown.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("{unknown}") };
    for malformed in [
        format!("{header}!.{claims}.{signature}"),
        format!("{header}.{claims},.{signature}"),
        format!("{header}.{claims}.{signature}\""),
        format!("{header}.{claims}.{signature} "),
        format!("{unknown} {unknown}"),
        format!("{unknown}, {unknown}"),
        format!("{unknown}=x"),
        "Bearer ".to_owned(),
        format!("Bearer {}\"", "x".repeat(20_000)),
    ] {
        let answer = send(
            &rotated.layer().layer(rotated.inner.clone()),
            get("/", &[("authorization", &malformed)]),
        )
        .await;
        assert_eq!(answer.status(), 400, "{malformed:.20}");
        assert_eq!(answer.kind(), Some(RejectionKind::MalformedCredentials), "{malformed:.20}");
    }
    // A b64token, but no token of three segments.
    let answer = send(&service, get("/", &[("authorization", &format!("{unknown}="))])).await;
    assert_eq!(answer.kind(), Some(RejectionKind::MalformedToken));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(rotated.transport.requests().len(), 1);
    let mut waiting =
        tokio_test::task::spawn(service.call(get("/", &[("authorization", &unknown)])));
    assert_pending!(waiting.poll());
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(rotated.transport.requests().len(), 2);
}

// Habit 1, LC20: only the token with the unknown key waits, and then it is let through.
#[tokio::test(start_paused = true)]
async fn the_first_request_after_a_rotation_waits_and_succeeds() {
    let rotated = Rotated::start().await;
    let gate = rotated.next_fetch();
    let mut service = rotated.service();
    let unknown = rotated.bearer(&rotated.new);
    let known = rotated.bearer(&rotated.old);

    let waiting = service.call(get("/", &[("authorization", &unknown)]));
    let mut waiting = tokio_test::task::spawn(waiting);
    assert_pending!(waiting.poll());
    rotated.transport.wait_for_requests(2).await;
    assert_pending!(waiting.poll());
    // Meanwhile nobody else waits.
    let other = service.call(get("/", &[("authorization", &known)]));
    assert_ready!(tokio_test::task::spawn(other).poll()).unwrap();

    gate.open();
    assert_eq!(waiting.await.unwrap().status(), 200);
    assert_eq!(rotated.inner.calls(), 2);
    assert_eq!(rotated.inner.subject().as_deref(), Some("alice"));
}

// Habit 2: the service that is called after the wait is the one that was ready before it.
#[tokio::test(start_paused = true)]
async fn the_service_that_was_ready_is_called_after_the_wait() {
    for buffered in [false, true] {
        let rotated = Rotated::start().await;
        let gate = rotated.next_fetch();
        let limited = ServiceBuilder::new()
            .layer(ConcurrencyLimitLayer::new(1))
            .service(rotated.inner.clone());
        let field = rotated.bearer(&rotated.new);
        let request = get("/", &[("authorization", &field)]);
        let status = if buffered {
            call_after_wait(
                rotated.layer().layer(tower::buffer::Buffer::new(limited, 1)),
                request,
                gate,
            )
            .await
        } else {
            call_after_wait(rotated.layer().layer(limited), request, gate).await
        };
        assert_eq!(status, 200);
    }
}

async fn call_after_wait<S>(mut service: S, request: http::Request<Empty<Bytes>>, gate: Gate) -> u16
where
    S: Service<http::Request<Empty<Bytes>>, Response = http::Response<Body>>,
    S::Error: std::fmt::Debug,
{
    let waiting = service.ready().await.unwrap().call(request);
    let mut waiting = tokio_test::task::spawn(waiting);
    assert_pending!(waiting.poll());
    gate.open();
    waiting.await.unwrap().status().as_u16()
}

type Body = tower_bearer::middleware::ResponseBody<http_body_util::Full<Bytes>>;

#[tokio::test(start_paused = true)]
async fn a_refused_request_gives_its_place_in_the_queue_back() {
    let rotated = Rotated::start().await;
    let mut service = rotated.layer().layer(
        ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(1)).service(rotated.inner.clone()),
    );
    for _ in 0..3 {
        assert_eq!(call(&mut service, get("/", &[])).await.status(), 401);
    }
    let field = rotated.bearer(&rotated.old);
    let valid = get("/", &[("authorization", &field)]);
    assert_eq!(call(&mut service, valid).await.status(), 200);
}

/// Calls this very service, not a clone of it.
async fn call<S>(service: &mut S, request: http::Request<Empty<Bytes>>) -> S::Response
where
    S: Service<http::Request<Empty<Bytes>>>,
    S::Error: std::fmt::Debug,
{
    service.ready().await.unwrap().call(request).await.unwrap()
}

// What a route needs is needed after the wait as well.
#[tokio::test(start_paused = true)]
async fn after_the_wait_the_same_rules_hold() {
    for (access, status) in [
        (Access::scope("a"), 200),
        (Access::scope("b"), 403),
        (Access::scope("b").hide_existence(), 404),
        (Access::denied(), 403),
    ] {
        let rotated = Rotated::start().await;
        rotated.next_fetch().open();
        let service = rotated.layer().access(access).unwrap().layer(rotated.inner.clone());
        let field = rotated.bearer(&rotated.new);
        let answer = send(&service, get("/", &[("authorization", &field)])).await;
        assert_eq!(answer.status(), status);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_does_not_come_is_401_after_the_wait() {
    let rotated = Rotated::start().await;
    rotated.next_fetch().open();
    let stranger = TestKey::generate(Algorithm::EdDSA).with_kid("stranger");
    let field = rotated.bearer(&stranger);
    let answer = send(&rotated.service(), get("/", &[("authorization", &field)])).await;
    assert_eq!((answer.status(), answer.kind()), (401, Some(RejectionKind::UnknownKey)));
    assert_eq!(rotated.inner.calls(), 0);
}

// G8: who goes away leaves the fetch to the others.
#[tokio::test(start_paused = true)]
async fn g8_a_cancelled_request_does_not_cancel_the_fetch() {
    let rotated = Rotated::start().await;
    let gate = rotated.next_fetch();
    let mut service = rotated.service();
    let field = rotated.bearer(&rotated.new);
    let mut gone = tokio_test::task::spawn(service.call(get("/", &[("authorization", &field)])));
    assert_pending!(gone.poll());
    rotated.transport.wait_for_requests(2).await;
    drop(gone);
    assert_eq!(rotated.transport.cancelled(), 0);

    let mut patient = tokio_test::task::spawn(service.call(get("/", &[("authorization", &field)])));
    assert_pending!(patient.poll());
    gate.open();
    assert_eq!(patient.await.unwrap().status(), 200);
    assert_eq!(rotated.transport.request_count(), 2);
    assert_eq!(rotated.inner.calls(), 1);
}

// G9, W24: a gRPC call is answered before its client gives up; others wait for what is configured.
#[tokio::test(start_paused = true)]
#[allow(clippy::disallowed_methods, reason = "time is paused")]
async fn g9_a_grpc_timeout_bounds_the_wait() {
    for (timeout, longest) in
        [(Some("100m"), 100), (Some("1S"), 1000), (Some("5S"), 2001), (None, 2001)]
    {
        let rotated = Rotated::start().await;
        let _gate = rotated.next_fetch();
        let field = rotated.bearer(&rotated.new);
        let mut fields = vec![("authorization", &*field), ("content-type", "application/grpc")];
        fields.extend(timeout.map(|timeout| ("grpc-timeout", timeout)));
        let begun = Instant::now();
        let answer = send(&rotated.service(), request("POST", "/s.S/M", &fields)).await;
        assert!(
            begun.elapsed() < Duration::from_millis(longest),
            "{timeout:?} {:?}",
            begun.elapsed()
        );
        assert!(begun.elapsed() >= Duration::from_millis(longest / 2), "{timeout:?}");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.header("grpc-status"), Some("14"));
        assert!(matches!(answer.refusal(), Some(Refusal::Unavailable(_))));
    }
    // Only gRPC has such a field.
    let rotated = Rotated::start().await;
    let _gate = rotated.next_fetch();
    let field = rotated.bearer(&rotated.new);
    let fields = [("authorization", &*field), ("grpc-timeout", "100m")];
    let begun = Instant::now();
    let answer = send(&rotated.service(), get("/", &fields)).await;
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(answer.status(), 503);
}

// W24, LC19, habit 3: no keys at all are a response, and our trouble, not the caller's.
#[tokio::test(start_paused = true)]
async fn w24_no_keys_are_503_and_the_service_stays_ready() {
    let logs = Logs::capture();
    let transport =
        ScriptedTransport::from_fn(|_| ScriptedAnswer::error(TransportErrorKind::Connect));
    let jwks = Jwks::url(ISSUER, format!("{ISSUER}/jwks")).transport(transport).build().unwrap();
    let validator = Validator::builder(ISSUER, AUDIENCE).keys(jwks).build().unwrap();
    let layer = BearerAuthLayer::new(validator).realm("api").unwrap();
    let service = layer.layer(Inner::default());
    let key = TestKey::generate(Algorithm::EdDSA);
    let field = bearer(&sign(&key, json!({})));

    let mut ready = tokio_test::task::spawn(service.clone());
    assert_ready!(ready.enter(|cx, mut service| {
        Service::<http::Request<Empty<Bytes>>>::poll_ready(&mut *service, cx)
    }))
    .unwrap();

    let answer = send(&service, get("/", &[("authorization", &field)])).await;
    assert_eq!((answer.status(), answer.challenge()), (503, ""));
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(
        answer.body().starts_with(r#"{"error":"temporarily_unavailable","#),
        "{}",
        answer.body()
    );
    let lines = logs.take();
    assert!(lines.iter().any(|line| line.contains("WARN")), "{lines:#?}");

    let fields = [("authorization", &*field), ("content-type", "application/grpc+proto")];
    let answer = send(&service, request("POST", "/s.S/M", &fields)).await;
    assert_eq!(answer.header("grpc-status"), Some("14"));

    // What is refused anyway is refused without keys too.
    assert_eq!(send(&service, get("/", &[])).await.status(), 401);
    let expired = bearer(&sign(&key, json!({ "exp": 1 })));
    assert_eq!(send(&service, get("/", &[("authorization", &expired)])).await.status(), 401);
}
