//! One validator in several runtimes, as in a suite of `#[tokio::test]`s that share a `static` one.
#![cfg(feature = "test-util")]
#![allow(clippy::disallowed_methods, reason = "these runtimes are real, and so is the time")]

use std::convert::Infallible;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use http::{Request, Response};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport, TestKey};
use tower_bearer::{AccessToken, BearerAuthLayer, Refusal, Validator};

const ISSUER: &str = "https://issuer.test";
const AUDIENCE: &str = "https://api.test";

fn key(kid: &str) -> TestKey {
    TestKey::generate(Algorithm::EdDSA).with_kid(kid)
}

fn set(keys: &[&TestKey]) -> ScriptedAnswer {
    let keys: Vec<_> = keys.iter().map(|key| key.public_jwk()).collect();
    ScriptedAnswer::json(json!({ "keys": keys }).to_string())
}

fn token(key: &TestKey) -> String {
    let header = json!({"alg": "EdDSA", "kid": key.kid(), "typ": "at+jwt"});
    let claims = json!({"iss": ISSUER, "aud": AUDIENCE, "exp": 32_503_680_000_u64});
    key.sign(header.to_string(), claims.to_string())
}

fn validator(transport: &ScriptedTransport) -> Validator {
    let jwks = Jwks::url(ISSUER, "https://issuer.test/jwks").transport(transport.clone());
    Validator::builder(ISSUER, AUDIENCE).keys(jwks).build().unwrap()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Validates in a runtime of its own, in a thread of its own.
fn elsewhere(validator: &Validator, token: String) -> Waiting {
    let (validator, (begun, begins)) = (validator.clone(), mpsc::channel());
    let thread = thread::spawn(move || {
        runtime().block_on(async {
            let mut request = tokio_test::task::spawn(validator.validate(&token));
            assert!(request.poll().is_pending(), "it doesn't wait");
            begun.send(()).unwrap();
            request.await
        })
    });
    begins.recv().unwrap();
    Waiting(thread)
}

struct Waiting(thread::JoinHandle<Result<AccessToken, Refusal>>);

impl Waiting {
    #[track_caller]
    fn end(self) -> Result<AccessToken, Refusal> {
        self.0.join().unwrap()
    }
}

#[test]
fn who_waits_for_the_first_keys_gets_them_though_the_runtime_that_fetched_them_ends() {
    let a = key("a");
    let transport = ScriptedTransport::new();
    transport.push(ScriptedAnswer::never());
    let validator = validator(&transport);
    let first = runtime();
    first.block_on(async {
        let _ = tokio_test::task::spawn(validator.validate(&token(&a))).poll();
        transport.wait_for_requests(1).await;
    });
    transport.push(set(&[&a]));
    let waiting = elsewhere(&validator, token(&a));
    drop(first);
    waiting.end().unwrap();
}

#[test]
fn who_waits_for_a_new_key_gets_it_though_the_runtime_that_fetched_it_ends() {
    let (a, b) = (key("a"), key("b"));
    let transport = ScriptedTransport::new();
    transport.push(set(&[&a]));
    let validator = validator(&transport);
    let first = runtime();
    first.block_on(async {
        validator.validate(&token(&a)).await.unwrap();
        transport.push(ScriptedAnswer::never());
        let _ = tokio_test::task::spawn(validator.validate(&token(&b))).poll();
        transport.wait_for_requests(2).await;
    });
    transport.push(set(&[&a, &b]));
    let waiting = elsewhere(&validator, token(&b));
    drop(first);
    waiting.end().unwrap();
}

// It was 401 `UnknownKey`: the fetch that never ended counted as the one that the cooldown allows.
#[test]
fn a_fetch_that_ended_with_its_runtime_is_made_in_the_next_one() {
    let (a, b) = (key("a"), key("b"));
    let transport = ScriptedTransport::new();
    transport.push(set(&[&a]));
    let validator = validator(&transport);
    runtime().block_on(async {
        validator.validate(&token(&a)).await.unwrap();
        transport.push(ScriptedAnswer::never());
        let _ = tokio_test::task::spawn(validator.validate(&token(&b))).poll();
        transport.wait_for_requests(2).await;
    });
    transport.push(set(&[&a, &b]));
    runtime().block_on(async { validator.validate(&token(&b)).await.unwrap() });
}

#[test]
fn a_refresh_goes_on_in_the_next_runtime() {
    let a = key("a");
    let transport = ScriptedTransport::new();
    transport.push(set(&[&a]));
    let validator = validator(&transport);
    let first = runtime();
    first.block_on(async {
        validator.validate(&token(&a)).await.unwrap();
    });
    transport.push(ScriptedAnswer::never());
    let jwks = validator.jwks().unwrap().clone();
    let (sender, receiver) = mpsc::channel();
    let second = thread::spawn(move || {
        runtime().block_on(async {
            let mut refresh = tokio_test::task::spawn(jwks.refresh());
            assert!(refresh.poll().is_pending());
            sender.send(()).unwrap();
            tokio::time::timeout(Duration::from_secs(10), refresh).await
        })
    });
    receiver.recv().unwrap();
    first.block_on(transport.wait_for_requests(2));
    transport.push(set(&[&a]));
    drop(first);
    second.join().unwrap().expect("it ends").unwrap();
}

#[test]
fn getting_ready_goes_on_in_the_next_runtime() {
    let a = key("a");
    let transport = ScriptedTransport::new();
    transport.push(ScriptedAnswer::never());
    let validator = validator(&transport);
    let first = runtime();
    first.block_on(async {
        let _ = tokio_test::task::spawn(validator.validate(&token(&a))).poll();
        transport.wait_for_requests(1).await;
    });
    transport.push(set(&[&a]));
    let (sender, receiver) = mpsc::channel();
    let second = thread::spawn(move || {
        runtime().block_on(async {
            let mut ready = tokio_test::task::spawn(validator.ready(Duration::from_secs(3)));
            assert!(ready.poll().is_pending());
            sender.send(()).unwrap();
            ready.await
        })
    });
    receiver.recv().unwrap();
    drop(first);
    second.join().unwrap().unwrap();
}

/// A waker that does nothing: an executor which isn't tokio's.
fn poll_outside<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let begun = Instant::now();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    while begun.elapsed() < Duration::from_secs(1) {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Some(value);
        }
        thread::sleep(Duration::from_millis(5));
    }
    None
}

/// The task ends while it is told to.
#[test]
fn a_shutdown_ends_however_the_two_meet() {
    let runtime = Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
    runtime.block_on(async {
        let transport = ScriptedTransport::from_fn(|_| ScriptedAnswer::never());
        for _ in 0..20_000 {
            let jwks = Jwks::url(ISSUER, "https://issuer.test/jwks").transport(transport.clone());
            let jwks = jwks.build().unwrap();
            let shutdown = tokio::time::timeout(Duration::from_secs(20), jwks.shutdown());
            shutdown.await.expect("it ends");
        }
    });
}

// It panicked: there is a task, in a runtime, but the request isn't in one.
#[test]
fn a_request_outside_of_all_runtimes_is_unavailable_and_no_panic() {
    let (a, b) = (key("a"), key("b"));
    let transport = ScriptedTransport::new();
    transport.push(ScriptedAnswer::never());
    let validator = validator(&transport);
    let first = runtime();
    first.block_on(async {
        let _ = tokio_test::task::spawn(validator.validate(&token(&a))).poll();
        transport.wait_for_requests(1).await;
    });
    let verdict = poll_outside(validator.validate(&token(&b))).expect("it ends");
    assert!(matches!(verdict, Err(Refusal::Unavailable(_))), "{verdict:?}");
    let ready = poll_outside(validator.ready(Duration::from_secs(1))).expect("it ends");
    assert!(ready.is_err());

    // As a gRPC call that bounds its wait by itself, too.
    let service = BearerAuthLayer::new(validator).layer(service_fn(|_: Request<String>| async {
        Ok::<_, Infallible>(Response::new(String::new()))
    }));
    let request = |request: http::request::Builder| {
        let request = request.header("authorization", format!("Bearer {}", token(&b)));
        let answer = poll_outside(service.clone().oneshot(request.body(String::new()).unwrap()));
        answer.expect("it ends").unwrap()
    };
    assert_eq!(request(Request::post("/")).status(), 503);
    let call = Request::post("/s.S/M").header("content-type", "application/grpc");
    let answer = request(call.header("grpc-timeout", "1S"));
    assert_eq!(answer.headers()["grpc-status"], "14");
}
