//! Defects that other libraries have had, and that show only in how a service behaves while its
//! issuer does what issuers do. Those that show in a single token are rows of
//! `fixtures/tokens/peers.json`.
#![cfg(all(feature = "test-util", feature = "tracing"))]

mod world;

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;
use tokio_test::{assert_pending, assert_ready};
use tower::{Layer, Service};
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::middleware::BearerAuth;
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport, TestKey};
use tower_bearer::transport::TransportErrorKind;
use tower_bearer::{BearerAuthLayer, RejectionKind, Validator};
use world::{AUDIENCE, Answer, ISSUER, Inner, bearer, get, send, sign};

fn key(kid: &str) -> TestKey {
    TestKey::generate(Algorithm::EdDSA).with_kid(kid)
}

fn set(keys: &[&TestKey]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.public_jwk()).collect();
    json!({ "keys": keys }).to_string()
}

fn keys_from(transport: &ScriptedTransport) -> Jwks {
    let url = format!("{ISSUER}/jwks");
    Jwks::url(ISSUER, url).transport(transport.clone()).build().unwrap()
}

fn protect(jwks: &Jwks) -> BearerAuth<Inner> {
    let validator = Validator::builder(ISSUER, AUDIENCE).keys(jwks.clone()).build().unwrap();
    BearerAuthLayer::new(validator).layer(Inner::default())
}

/// A service whose issuer has been asked once, and has answered with the keys.
async fn warm(transport: &ScriptedTransport, keys: &[&TestKey]) -> (Jwks, BearerAuth<Inner>) {
    transport.push(ScriptedAnswer::json(set(keys)));
    let jwks = keys_from(transport);
    jwks.ready(Duration::from_secs(5)).await.unwrap();
    (jwks.clone(), protect(&jwks))
}

fn token_of(key: &TestKey) -> String {
    bearer(&sign(key, json!({})))
}

async fn ask(service: &BearerAuth<Inner>, authorization: &str) -> Answer {
    send(service, get("/", &[("authorization", authorization)])).await
}

/// Asks, and expects the answer at once.
fn ask_at_once(service: &BearerAuth<Inner>, authorization: &str) -> StatusCode {
    let call = service.clone().call(get("/", &[("authorization", authorization)]));
    assert_ready!(tokio_test::task::spawn(call).poll()).unwrap().status()
}

/// What an issuer, or what stands before it, may answer in place of a key set.
fn bad_answers() -> Vec<(&'static str, ScriptedAnswer)> {
    let full = set(&[&key("stranger")]);
    let error_page = http::Response::builder().status(500).body(full.clone().into()).unwrap();
    let redirect = http::Response::builder()
        .status(302)
        .header("location", "https://mallory.example/jwks")
        .body(full.clone().into())
        .unwrap();
    vec![
        ("nothing at all", ScriptedAnswer::error(TransportErrorKind::Connect)),
        ("nothing for ever", ScriptedAnswer::never()),
        ("an empty 500", ScriptedAnswer::status(StatusCode::INTERNAL_SERVER_ERROR)),
        ("a 500 with a key set in it", ScriptedAnswer::new(error_page)),
        ("a 404", ScriptedAnswer::status(StatusCode::NOT_FOUND)),
        ("a 204", ScriptedAnswer::status(StatusCode::NO_CONTENT)),
        ("a 304 that nobody asked for", ScriptedAnswer::status(StatusCode::NOT_MODIFIED)),
        ("a redirect with a key set in it", ScriptedAnswer::new(redirect)),
        ("no text", ScriptedAnswer::json(&b"\x00\xff"[..])),
        ("a login page", ScriptedAnswer::json("<!DOCTYPE html><title>Log in</title>")),
        ("half of a set", ScriptedAnswer::json(full[..full.len() / 2].to_owned())),
        ("an empty object", ScriptedAnswer::json("{}")),
        ("an empty set", ScriptedAnswer::json(r#"{"keys":[]}"#)),
        ("a set without a usable key", ScriptedAnswer::json(r#"{"keys":[{"kty":"NEW"}]}"#)),
        ("a set of 300 KiB", ScriptedAnswer::json(format!("{full}{}", " ".repeat(300_000)))),
    ]
}

// A failed or empty answer became a 500, or a 401 that made clients throw good tokens away.
#[tokio::test(start_paused = true)]
async fn whatever_the_issuer_answers_at_first_requests_get_a_503() {
    for (what, answer) in bad_answers() {
        let key = key("k");
        let transport = ScriptedTransport::new();
        transport.push(answer);
        let service = protect(&keys_from(&transport));
        let refused = ask(&service, &token_of(&key)).await;
        assert_eq!(refused.status(), 503, "{what}");
        assert!(refused.header("retry-after").is_some(), "{what}");
        assert_eq!(refused.challenge(), "", "{what}");

        // And its twin: a set.
        transport.push(ScriptedAnswer::json(set(&[&key])));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(ask(&service, &token_of(&key)).await.status(), 200, "{what}");
    }
}

// An empty set replaced the good keys; an error page with a set in it was taken for one.
#[tokio::test(start_paused = true)]
async fn whatever_the_issuer_answers_later_the_good_keys_stay() {
    for (what, answer) in bad_answers() {
        let key = key("k");
        let transport = ScriptedTransport::new();
        let (jwks, service) = warm(&transport, &[&key]).await;
        transport.push(answer);
        assert!(jwks.refresh().await.is_err(), "{what}");
        assert_eq!(ask_at_once(&service, &token_of(&key)), 200, "{what}");
    }
}

// One hung connection ended refreshing for the life of the process.
#[tokio::test(start_paused = true)]
async fn a_fetch_that_hangs_does_not_end_the_refreshing() {
    let (old, new) = (key("old"), key("new"));
    let transport = ScriptedTransport::new();
    let (_jwks, service) = warm(&transport, &[&old]).await;
    transport.push(ScriptedAnswer::never());
    transport.push(ScriptedAnswer::json(set(&[&new])));
    transport.wait_for_requests(3).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(ask_at_once(&service, &token_of(&new)), 200);
    assert_eq!(ask_at_once(&service, &token_of(&old)), 401);
}

// The token's kid was sent to the issuer, in the address that is fetched.
#[tokio::test(start_paused = true)]
async fn nothing_of_a_token_reaches_the_issuer() {
    let (known, stranger) = (key("known"), key("SENTINEL-kid&x=/../"));
    let transport = ScriptedTransport::new();
    let (_jwks, service) = warm(&transport, &[&known]).await;
    transport.push(ScriptedAnswer::json(set(&[&known])));
    let refused = ask(&service, &token_of(&stranger)).await;
    assert_eq!(refused.kind(), Some(RejectionKind::UnknownKey));

    let requests = transport.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request.uri().to_string(), format!("{ISSUER}/jwks"));
        assert!(request.headers().get("authorization").is_none());
        assert!(!format!("{request:?}").contains("SENTINEL"), "{request:?}");
        assert!(request.body().is_empty());
    }
}

// The first request on a runtime of one thread panicked.
#[test]
fn the_first_request_on_a_runtime_of_one_thread_is_answered() {
    let key = key("k");
    let transport = ScriptedTransport::new();
    transport.push(ScriptedAnswer::json(set(&[&key])));
    // Built before there is a runtime at all.
    let service = protect(&keys_from(&transport));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(ask(&service, &token_of(&key)));
    assert_eq!(answer.status(), 200);
}

// X8: a token in the query, not even UTF-8 when decoded, panicked the server.
#[tokio::test]
async fn a_token_in_the_query_is_never_read() {
    let key = key("k");
    let jwks = Jwks::static_set(ISSUER, &set(&[&key])).unwrap();
    let service = protect(&jwks);
    let good = sign(&key, json!({}));
    for query in ["token=%FF", "access_token=%FF", &format!("access_token={good}")] {
        let answer = send(&service, get(&format!("/?{query}"), &[])).await;
        assert_eq!(answer.kind(), Some(RejectionKind::NoCredentials), "{query}");
    }
    let token = token_of(&key);
    let both = get(&format!("/?access_token={good}"), &[("authorization", &token)]);
    assert_eq!(send(&service, both).await.status(), 200);
}

// A lost wake-up left some of those who waited for the keys waiting for good.
#[tokio::test(start_paused = true)]
async fn all_who_wait_for_one_fetch_are_answered() {
    let (old, new) = (key("old"), key("new"));
    let transport = ScriptedTransport::new();
    let (_jwks, service) = warm(&transport, &[&old]).await;
    let (answer, gate) = ScriptedAnswer::json(set(&[&old, &new])).gated();
    transport.push(answer);
    let token = token_of(&new);
    let waiting = join_all((0..500).map(|_| ask(&service, &token)));
    let (answers, ()) = tokio::join!(waiting, async {
        transport.wait_for_requests(2).await;
        gate.open();
    });
    assert!(answers.iter().all(|answer| answer.status() == 200));
    assert_eq!(transport.request_count(), 2);
}

// While discovery failed, each request tried it again.
#[tokio::test(start_paused = true)]
async fn requests_do_not_hammer_an_issuer_that_is_down() {
    let transport = ScriptedTransport::new();
    let jwks = Jwks::discover(ISSUER).transport(transport.clone()).build().unwrap();
    let service = protect(&jwks);
    let token = token_of(&key("k"));
    for second in 0..60 {
        let answers = join_all((0..100).map(|_| ask(&service, &token))).await;
        assert!(answers.iter().all(|answer| answer.status() == 503), "{second}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // Backoff alone decides, however many ask: two seconds in the first minute, less the jitter, and
    // then up to sixty.
    let first_minute = transport.request_count();
    assert!(first_minute <= 36, "{first_minute}");
    for minute in 0..20 {
        let answers = join_all((0..100).map(|_| ask(&service, &token))).await;
        assert!(answers.iter().all(|answer| answer.status() == 503), "{minute}");
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    // Rediscovery asks in three places: 30 s apart on average.
    let later = transport.request_count() - first_minute;
    assert!(later <= 240, "{later}");
}

// Twenty random kids were five fetches back to back, and a known key waited for them.
#[tokio::test(start_paused = true)]
async fn random_kids_cost_two_fetches_and_delay_nobody() {
    let known = key("known");
    let transport = ScriptedTransport::new();
    let (_jwks, service) = warm(&transport, &[&known]).await;
    let (answer, gate) = ScriptedAnswer::json(set(&[&known])).gated();
    transport.push(answer);
    transport.push(ScriptedAnswer::json(set(&[&known])));
    let strangers: Vec<String> = (0..20).map(|n| token_of(&key(&format!("random-{n}")))).collect();
    let mut waiting = tokio_test::task::spawn(join_all(strangers.iter().map(|t| ask(&service, t))));
    assert_pending!(waiting.poll());
    transport.wait_for_requests(2).await;
    assert_eq!(ask_at_once(&service, &token_of(&known)), 200);
    gate.open();
    for answer in waiting.await {
        assert_eq!(answer.kind(), Some(RejectionKind::UnknownKey));
    }
    assert!(transport.request_count() <= 3, "{}", transport.request_count());
    assert_eq!(ask_at_once(&service, &token_of(&known)), 200);
}

// The request that came at the end of the keys' time paid for the refresh, and its cancellation
// cost it.
#[tokio::test(start_paused = true)]
async fn no_request_pays_for_a_refresh_nor_is_one_needed() {
    let key = key("k");
    let transport = ScriptedTransport::new();
    let (_jwks, service) = warm(&transport, &[&key]).await;
    let (answer, gate) = ScriptedAnswer::json(set(&[&key])).gated();
    transport.push(answer);
    // Nobody asks anything, and yet:
    transport.wait_for_requests(2).await;
    assert_eq!(ask_at_once(&service, &token_of(&key)), 200);
    gate.open();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(ask_at_once(&service, &token_of(&key)), 200);
}

// One odd key in a later set failed the refresh.
#[tokio::test(start_paused = true)]
async fn a_rotation_to_a_set_with_odd_keys_in_it_works() {
    let (old, new) = (key("old"), key("new"));
    let transport = ScriptedTransport::new();
    let (_jwks, service) = warm(&transport, &[&old]).await;
    let odd = include_str!("../fixtures/jwks/odd_keys.json");
    let mut odd: serde_json::Value = serde_json::from_str(odd).unwrap();
    odd["keys"].as_array_mut().unwrap().push(new.public_jwk());
    transport.push(ScriptedAnswer::json(odd.to_string()));
    assert_eq!(ask(&service, &token_of(&new)).await.status(), 200);
    assert_eq!(ask_at_once(&service, &token_of(&old)), 401);
}

// The client that was given was used for the metadata only, and the addresses of the metadata
// were tried in whatever order the hash map had.
#[tokio::test(start_paused = true)]
async fn the_given_transport_fetches_everything_always_in_one_order() {
    for _ in 0..5 {
        let key = key("k");
        let keys = set(&[&key]);
        let transport = ScriptedTransport::from_fn(move |request| match request.uri().path() {
            "/.well-known/openid-configuration" => ScriptedAnswer::json(
                json!({ "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/keys") }).to_string(),
            ),
            "/keys" => ScriptedAnswer::json(keys.clone()),
            _ => ScriptedAnswer::status(StatusCode::NOT_FOUND),
        });
        let jwks = Jwks::discover(ISSUER).transport(transport.clone()).build().unwrap();
        let service = protect(&jwks);
        assert_eq!(ask(&service, &token_of(&key)).await.status(), 200);
        let requests = transport.requests();
        let paths: Vec<&str> = requests.iter().map(|request| request.uri().path()).collect();
        assert_eq!(
            paths,
            [
                "/.well-known/oauth-authorization-server",
                "/.well-known/openid-configuration",
                "/keys"
            ]
        );
    }
}
