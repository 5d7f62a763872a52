//! Requests that wait for keys, and the service that was ready before they did.
#![cfg(all(feature = "test-util", feature = "tracing"))]
#![allow(clippy::disallowed_methods, reason = "the time is paused")]

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use serde_json::json;
use tokio::time::Instant;
use tokio_test::{assert_pending, assert_ready};
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::middleware::BearerAuth;
use tower_bearer::refusal::UnavailableReason;
use tower_bearer::testing::{Gate, ManualClock, ScriptedAnswer, ScriptedTransport, TestKey};
use tower_bearer::transport::TransportErrorKind;
use tower_bearer::{
    Access, AccessToken, BearerAuthLayer, Refusal, RejectionKind, Requirement, ScopeGuardLayer,
    UnixTime, Validator,
};
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

// FA4: neither the waiting request nor the service that took it keeps a place in the queue.
#[tokio::test(start_paused = true)]
async fn fa4_a_request_that_waits_leaves_its_place_to_others() {
    for buffered in [false, true] {
        let rotated = Rotated::start().await;
        let gate = rotated.next_fetch();
        let limited = ServiceBuilder::new()
            .layer(ConcurrencyLimitLayer::new(1))
            .service(rotated.inner.clone());
        let unknown = rotated.bearer(&rotated.new);
        let known = rotated.bearer(&rotated.old);
        let unknown = get("/", &[("authorization", &unknown)]);
        let known = || get("/", &[("authorization", &known)]);
        if buffered {
            let service = rotated.layer().layer(tower::buffer::Buffer::new(limited, 1));
            others_pass_meanwhile(service, unknown, known, gate).await;
        } else {
            let service = rotated.layer().layer(limited);
            others_pass_meanwhile(service, unknown, known, gate).await;
        }
        assert_eq!(rotated.inner.calls(), 4);
    }
}

async fn others_pass_meanwhile<S>(
    mut service: S,
    unknown: http::Request<Empty<Bytes>>,
    known: impl Fn() -> http::Request<Empty<Bytes>>,
    gate: Gate,
) where
    S: Service<http::Request<Empty<Bytes>>, Response = http::Response<Body>> + Clone,
    S::Error: std::fmt::Debug,
{
    let waiting = service.ready().await.unwrap().call(unknown);
    let mut waiting = tokio_test::task::spawn(waiting);
    assert_pending!(waiting.poll());
    // A clone first, while the service that took the other request is idle.
    let mut clone = service.clone();
    assert_eq!(call_at_once(&mut clone, known()).await, 200);
    assert_eq!(call_at_once(&mut service, known()).await, 200);
    assert_eq!(call_at_once(&mut clone, known()).await, 200);
    assert_pending!(waiting.poll());
    gate.open();
    assert_eq!(waiting.await.unwrap().status(), 200);
}

async fn call_at_once<S>(service: &mut S, request: http::Request<Empty<Bytes>>) -> u16
where
    S: Service<http::Request<Empty<Bytes>>, Response = http::Response<Body>>,
    S::Error: std::fmt::Debug,
{
    let begun = Instant::now();
    let called = async { service.ready().await.unwrap().call(request).await.unwrap().status() };
    let status = tokio::time::timeout(Duration::from_secs(1), called).await.expect("held up");
    assert_eq!(begun.elapsed(), Duration::ZERO);
    status.as_u16()
}

type Body = tower_bearer::middleware::ResponseBody<http_body_util::Full<Bytes>>;

// FA4: strangers with forged tokens of made-up keys against callers with known ones. The issuer
// went silent.
#[tokio::test(start_paused = true)]
async fn fa4_strangers_hold_up_no_known_token() {
    const LIMIT: usize = 10;
    const LASTS: Duration = Duration::from_secs(120);
    let rotated = Rotated::start().await;
    let gates: Vec<_> = (0..200).map(|_| rotated.next_fetch()).collect();
    let service = rotated.layer().layer(
        ServiceBuilder::new()
            .layer(ConcurrencyLimitLayer::new(LIMIT))
            .service(rotated.inner.clone()),
    );
    let known = rotated.bearer(&rotated.old);
    let end = Instant::now() + LASTS;
    let waited = Arc::new(AtomicUsize::new(0));

    let mut strangers = Vec::new();
    for stranger in 0..4 * LIMIT {
        let mut service = service.clone();
        let waited = Arc::clone(&waited);
        strangers.push(tokio::spawn(async move {
            for number in 0.. {
                let key = TestKey::generate(Algorithm::EdDSA);
                let forged =
                    bearer(&sign(&key.with_kid(&format!("{stranger}-{number}")), json!({})));
                let begun = Instant::now();
                let answer = call(&mut service, get("/", &[("authorization", &forged)])).await;
                assert!(matches!(answer.status().as_u16(), 401 | 503), "{}", answer.status());
                waited.fetch_add(usize::from(begun.elapsed().as_secs() > 0), Ordering::SeqCst);
                if Instant::now() >= end {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }));
    }
    let (mut held_up, mut calls) = (Duration::ZERO, 0_usize);
    while Instant::now() < end {
        let begun = Instant::now();
        let answer = send(&service, get("/", &[("authorization", &known)])).await;
        assert_eq!(answer.status(), 200);
        held_up += begun.elapsed();
        calls += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for stranger in strangers {
        stranger.await.unwrap();
    }
    println!("held up for {held_up:?} of {LASTS:?}; {calls} known, {waited:?} strangers waited");
    assert_eq!(held_up, Duration::ZERO);
    assert!(waited.load(Ordering::SeqCst) > 4 * LIMIT, "strangers no longer wait: {waited:?}");
    assert_eq!(rotated.inner.calls(), calls);
    drop(gates);
}

/// A service that insists on being ready when it is called, and counts what is ready and idle.
#[derive(Default)]
struct Strict {
    is_ready: bool,
    idle: Arc<AtomicUsize>,
    inner: Inner,
}

impl Strict {
    fn leave(&mut self) {
        if std::mem::take(&mut self.is_ready) {
            self.idle.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { is_ready: false, idle: Arc::clone(&self.idle), inner: self.inner.clone() }
    }
}

impl Drop for Strict {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<B> Service<http::Request<B>> for Strict {
    type Response = <Inner as Service<http::Request<B>>>::Response;
    type Error = <Inner as Service<http::Request<B>>>::Error;
    type Future = <Inner as Service<http::Request<B>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if !std::mem::replace(&mut self.is_ready, true) {
            self.idle.fetch_add(1, Ordering::SeqCst);
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        assert!(self.is_ready, "called without being ready");
        self.leave();
        self.inner.call(request)
    }
}

// FA4: what is called is what was polled, on both sides, and nothing is left ready.
#[tokio::test(start_paused = true)]
async fn fa4_both_sides_go_on_with_services_that_are_not_ready() {
    let rotated = Rotated::start().await;
    let gate = rotated.next_fetch();
    let mut strict = Strict::default();
    strict.inner.clone_from(&rotated.inner);
    let idle = Arc::clone(&strict.idle);
    let mut service = rotated.layer().layer(strict);
    let idle = move || idle.load(Ordering::SeqCst);
    let unknown = rotated.bearer(&rotated.new);
    let unknown = || get("/", &[("authorization", &unknown)]);

    let ready = ServiceExt::<http::Request<Empty<Bytes>>>::ready(&mut service).await.unwrap();
    assert_eq!(idle(), 1);
    let mut waiting = tokio_test::task::spawn(ready.call(unknown()));
    assert_eq!(idle(), 0);
    assert_pending!(waiting.poll());
    // One that goes away, one whose service goes away.
    let gone = begin(&mut service, unknown()).await;
    let mut gone = tokio_test::task::spawn(gone);
    assert_pending!(gone.poll());
    drop(gone);
    let mut other = service.clone();
    let orphan = begin(&mut other, unknown()).await;
    drop(other);
    assert_eq!(idle(), 0);

    let known = rotated.bearer(&rotated.old);
    assert_eq!(call(&mut service, get("/", &[("authorization", &known)])).await.status(), 200);
    assert_eq!(idle(), 0);
    gate.open();
    assert_eq!(waiting.await.unwrap().status(), 200);
    assert_eq!(orphan.await.unwrap().status(), 200);
    assert_eq!((rotated.inner.calls(), idle()), (3, 0));
}

// FA4: nor does a guard keep what it doesn't need.
#[tokio::test(start_paused = true)]
async fn fa4_a_guard_that_refuses_gives_readiness_back() {
    let rotated = Rotated::start().await;
    for (scope, status) in [("a", 200), ("b", 403)] {
        let strict = Strict::default();
        let idle = Arc::clone(&strict.idle);
        let guard = ScopeGuardLayer::new(Requirement::scope(scope).unwrap());
        let mut service = ServiceBuilder::new().layer(rotated.layer()).layer(guard).service(strict);
        let known = rotated.bearer(&rotated.old);
        let answer = call(&mut service, get("/", &[("authorization", &known)])).await;
        assert_eq!((answer.status().as_u16(), idle.load(Ordering::SeqCst)), (status, 0));
    }
}

type Mock = tower_test::mock::Mock<http::Request<Empty<Bytes>>, http::Response<Empty<Bytes>>>;
type Handle = tower_test::mock::Handle<http::Request<Empty<Bytes>>, http::Response<Empty<Bytes>>>;

/// A request that waits for keys in front of a service that is ready once, and not again.
struct Behind {
    rotated: Rotated,
    gate: Gate,
    service: BearerAuth<Mock>,
    handle: Handle,
}

impl Behind {
    async fn start(layer: impl Fn(&Rotated) -> BearerAuthLayer) -> Self {
        let rotated = Rotated::start().await;
        let gate = rotated.next_fetch();
        let (mock, mut handle) = tower_test::mock::pair();
        handle.allow(1);
        let mut service = layer(&rotated).layer(mock);
        service.ready().await.unwrap();
        // What made it ready is taken by another.
        handle.allow(0);
        Self { rotated, gate, service, handle }
    }

    fn unknown(&self, fields: &[(&str, &str)]) -> http::Request<Empty<Bytes>> {
        let field = self.rotated.bearer(&self.rotated.new);
        let fields = [&[("authorization", &*field)], fields].concat();
        request("POST", "/s.S/M", &fields)
    }
}

// FA4: after the wait for keys comes that for the service.
#[tokio::test(start_paused = true)]
async fn fa4_an_accepted_request_waits_until_the_service_is_ready() {
    let Behind { gate, mut service, mut handle, rotated } = Behind::start(Rotated::layer).await;
    let field = rotated.bearer(&rotated.new);
    let unknown = get("/", &[("authorization", &field)]);
    let mut waiting = tokio_test::task::spawn(service.call(unknown));
    assert_pending!(waiting.poll());
    gate.open();
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(waiting.is_woken());
    assert_pending!(waiting.poll());
    assert_pending!(handle.poll_request());
    handle.allow(1);
    assert!(waiting.is_woken());
    assert_pending!(waiting.poll());
    let (request, respond) = handle.next_request().await.unwrap();
    let token: AccessToken = AccessToken::from_extensions(request.extensions()).unwrap();
    assert_eq!(token.subject(), Some("alice"));
    respond.send_response(http::Response::default());
    assert_eq!(waiting.await.unwrap().status(), 200);
}

// FA4: a forged token is refused though the service isn't ready.
#[tokio::test(start_paused = true)]
async fn fa4_a_refused_request_does_not_wait_for_the_service() {
    let mut behind = Behind::start(Rotated::layer).await;
    let stranger = TestKey::generate(Algorithm::EdDSA).with_kid("new");
    let field = behind.rotated.bearer(&stranger);
    let forged = get("/", &[("authorization", &field)]);
    let mut waiting = tokio_test::task::spawn(behind.service.call(forged));
    assert_pending!(waiting.poll());
    behind.gate.open();
    assert_eq!(waiting.await.unwrap().status(), 401);
    assert_pending!(behind.handle.poll_request());
}

// FA4: what fails on the way to readiness is an error of the service, as it is from `poll_ready`.
#[tokio::test(start_paused = true)]
async fn fa4_an_error_of_the_service_after_the_wait_is_passed_on() {
    let mut behind = Behind::start(Rotated::layer).await;
    let unknown = behind.unknown(&[]);
    let waiting = behind.service.call(unknown);
    behind.handle.send_error("the worker died");
    behind.gate.open();
    assert_eq!(waiting.await.unwrap_err().to_string(), "the worker died");
}

// FA4, G9: a gRPC call's deadline is for both waits.
#[tokio::test(start_paused = true)]
async fn fa4_a_grpc_deadline_bounds_the_wait_for_the_service() {
    let mut behind = Behind::start(Rotated::layer).await;
    let fields = [("content-type", "application/grpc"), ("grpc-timeout", "10S")];
    let unknown = behind.unknown(&fields);
    let begun = Instant::now();
    let mut waiting = tokio_test::task::spawn(behind.service.call(unknown));
    assert_pending!(waiting.poll());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_pending!(waiting.poll());
    behind.gate.open();
    let answer = waiting.await.unwrap();
    let elapsed = begun.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(10)).contains(&elapsed), "{elapsed:?}");
    assert_eq!(answer.headers()["grpc-status"], "14");
    let Some(Refusal::Unavailable(unavailable)) = answer.extensions().get() else {
        panic!("{answer:?}");
    };
    assert_eq!(unavailable.reason(), UnavailableReason::ServiceNotReady);
    assert_pending!(behind.handle.poll_request());
}

// FA4: the token is looked at again when the service took its time.
#[tokio::test(start_paused = true)]
async fn fa4_a_token_that_expires_while_the_service_is_busy_is_refused() {
    for (busy, status) in [(30, 200), (120, 401)] {
        let clock = ManualClock::new(UnixTime::from_secs(1_000));
        let mut behind = Behind::start(|rotated| {
            let validator = Validator::builder(ISSUER, AUDIENCE).keys(rotated.jwks.clone());
            BearerAuthLayer::new(validator.clock(clock.clone()).build().unwrap())
        })
        .await;
        let claims = json!({ "iat": 1_000, "exp": 1_060 });
        let field = bearer(&sign(&behind.rotated.new, claims));
        let unknown = get("/", &[("authorization", &field)]);
        let mut waiting = tokio_test::task::spawn(behind.service.call(unknown));
        assert_pending!(waiting.poll());
        behind.gate.open();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_pending!(waiting.poll());
        clock.advance(Duration::from_secs(busy));
        behind.handle.allow(1);
        if status == 200 {
            assert_pending!(waiting.poll());
            let (_, respond) = behind.handle.next_request().await.unwrap();
            respond.send_response(http::Response::default());
        }
        assert_eq!(waiting.await.unwrap().status(), status, "{busy}");
    }
}

// A wait for keys excuses no token from its times.
#[tokio::test(start_paused = true)]
async fn a_token_that_expires_while_its_key_is_fetched_is_refused() {
    for (fetched_after, status) in [(30, 200), (120, 401)] {
        let rotated = Rotated::start().await;
        let gate = rotated.next_fetch();
        let clock = ManualClock::new(UnixTime::from_secs(1_000));
        let validator = Validator::builder(ISSUER, AUDIENCE).keys(rotated.jwks.clone());
        let layer = BearerAuthLayer::new(validator.clock(clock.clone()).build().unwrap());
        let mut service = layer.layer(rotated.inner.clone());
        let field = bearer(&sign(&rotated.new, json!({ "iat": 1_000, "exp": 1_060 })));
        let unknown = get("/", &[("authorization", &field)]);
        let mut waiting = tokio_test::task::spawn(service.call(unknown));
        assert_pending!(waiting.poll());
        clock.advance(Duration::from_secs(fetched_after));
        gate.open();
        let answer = waiting.await.unwrap();
        assert_eq!(answer.status(), status, "{fetched_after}");
        if status == 401 {
            let Some(Refusal::Rejection(rejection)) = answer.extensions().get() else {
                panic!("{answer:?}")
            };
            assert_eq!(rejection.kind(), RejectionKind::Expired);
        }
    }
}

// Of those who wait with the same token, one checks its signature, and all get in.
#[tokio::test(start_paused = true)]
async fn all_who_wait_with_one_token_share_what_was_verified() {
    let rotated = Rotated::start().await;
    let gate = rotated.next_fetch();
    let validator =
        Validator::builder(ISSUER, AUDIENCE).keys(rotated.jwks.clone()).build().unwrap();
    let token = sign(&rotated.new, json!({}));
    let mut waiting: Vec<_> =
        (0..3).map(|_| tokio_test::task::spawn(validator.validate(&token))).collect();
    for waiting in &mut waiting {
        assert_pending!(waiting.poll());
    }
    gate.open();
    let mut accepted: Vec<AccessToken> = Vec::new();
    for waiting in waiting {
        accepted.push(waiting.await.unwrap());
    }
    let [first, others @ ..] = &accepted[..] else { panic!("nobody waited") };
    assert!(others.iter().all(|other| std::ptr::eq(first.claims(), other.claims())));
}

// FA4: who goes away while the service is busy leaves no place taken behind.
#[tokio::test(start_paused = true)]
async fn fa4_a_cancelled_request_leaves_the_queue() {
    let rotated = Rotated::start().await;
    let gate = rotated.next_fetch();
    let limited = tower::limit::ConcurrencyLimit::new(rotated.inner.clone(), 1);
    let mut busy = limited.clone();
    let mut service = rotated.layer().layer(limited);
    let field = rotated.bearer(&rotated.new);
    let unknown = || get("/", &[("authorization", &field)]);
    let gone = begin(&mut service, unknown()).await;
    let mut gone = tokio_test::task::spawn(gone);
    assert_pending!(gone.poll());
    let running = begin(&mut busy, get("/", &[])).await;
    gate.open();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_pending!(gone.poll());
    drop(gone);
    drop(running);
    assert_eq!(call_at_once(&mut service, unknown()).await, 200);
}

// FA4: a service that refused and is idle keeps no place either.
#[tokio::test(start_paused = true)]
async fn fa4_a_refused_request_gives_its_place_in_the_queue_back() {
    let rotated = Rotated::start().await;
    let mut service = rotated.layer().layer(
        ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(1)).service(rotated.inner.clone()),
    );
    for _ in 0..3 {
        assert_eq!(call(&mut service, get("/", &[])).await.status(), 401);
    }
    let field = rotated.bearer(&rotated.old);
    let valid = || get("/", &[("authorization", &field)]);
    assert_eq!(call_at_once(&mut service.clone(), valid()).await, 200);
    assert_eq!(call_at_once(&mut service, valid()).await, 200);
}

async fn begin<S>(service: &mut S, request: http::Request<Empty<Bytes>>) -> S::Future
where
    S: Service<http::Request<Empty<Bytes>>>,
    S::Error: std::fmt::Debug,
{
    service.ready().await.unwrap().call(request)
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
        let service = rotated.layer().fallback(access).unwrap().layer(rotated.inner.clone());
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
    // A warning for each request would fill the log: the summary is one.
    assert!(lines.iter().any(|line| line.contains("keys_not_loaded")), "{lines:#?}");
    assert!(lines.iter().all(|line| line.contains("DEBUG")), "{lines:#?}");

    let fields = [("authorization", &*field), ("content-type", "application/grpc+proto")];
    let answer = send(&service, request("POST", "/s.S/M", &fields)).await;
    assert_eq!(answer.header("grpc-status"), Some("14"));

    // What is refused anyway is refused without keys too.
    assert_eq!(send(&service, get("/", &[])).await.status(), 401);
    let expired = bearer(&sign(&key, json!({ "exp": 1 })));
    assert_eq!(send(&service, get("/", &[("authorization", &expired)])).await.status(), 401);
}
