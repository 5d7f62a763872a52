//! The token client against two independent authorization servers, with every way of authentication,
//! with secrets of awkward characters, and against a protected server.

#![allow(clippy::expect_used)]
#![allow(clippy::disallowed_methods, reason = "processes live in real time")]

mod support;

use std::time::{Duration, Instant};

use support::authorization_server::AuthorizationServer;
use support::resource_server::ResourceServer;
use tokio::time::sleep;
use tower_bearer::Secret;
use tower_bearer::client::{
    Assertion, AssertionAlgorithm, AttachTokenLayer, BasicEncoding, ClientAuth, Grant, TokenError,
    TokenErrorKind, TokenSource,
};

/// The secret of the clients `awkward` and `awkward-post`.
const AWKWARD: &str = "p%:+/ &=s";

fn source(server: &AuthorizationServer, auth: ClientAuth) -> TokenSource {
    let grant = Grant::discover(server.issuer(), auth).scope("api:read").allow_loopback_http();
    grant.source().expect("a good grant")
}

async fn get(server: &AuthorizationServer, auth: ClientAuth) -> Result<String, TokenError> {
    source(server, auth).token().await.map(|token| token.expose_secret().to_owned())
}

fn by_hmac() -> ClientAuth {
    let assertion = Assertion::new(AssertionAlgorithm::HS256, [AWKWARD; 4].join("-"));
    ClientAuth::client_secret_jwt("hs256", assertion)
}

fn by_key(client_id: &str, algorithm: AssertionAlgorithm, key: &str) -> ClientAuth {
    let path = format!("{}/fixtures/keys/{key}.pem", env!("CARGO_MANIFEST_DIR"));
    let pem = Secret::new(std::fs::read(path).expect("a key"));
    ClientAuth::private_key_jwt(client_id, Assertion::new(algorithm, pem).key_id(key))
}

/// Tells how a server takes a secret with awkward characters: which encoding suits it.
async fn basic(server: &AuthorizationServer) -> Vec<bool> {
    let mut results = Vec::new();
    for encoding in [BasicEncoding::Percent, BasicEncoding::Form, BasicEncoding::Raw] {
        let result = get(server, ClientAuth::basic_encoded("awkward", AWKWARD, encoding)).await;
        if let Err(error) = &result {
            assert!(matches!(error.kind(), TokenErrorKind::Refused(_)), "{error}");
            assert!(error.is_permanent());
        }
        results.push(result.is_ok());
    }
    results
}

// T7, T9, T10, T11, T13, T14: a server that decodes.
#[tokio::test(flavor = "multi_thread")]
async fn t7_t9_t10_t11_every_method_suits_oidc_provider() {
    let server = AuthorizationServer::oidc_provider();
    let api = ResourceServer::trusting(&server).await;
    assert_eq!(basic(&server).await, [true, true, false]);
    let mut good = vec![
        ClientAuth::basic("awkward", AWKWARD),
        ClientAuth::body("awkward-post", AWKWARD),
        by_hmac(),
    ];
    for (algorithm, key) in [
        (AssertionAlgorithm::RS256, "rsa2048"),
        (AssertionAlgorithm::PS256, "rsa2048"),
        (AssertionAlgorithm::ES256, "p256"),
        (AssertionAlgorithm::ES384, "p384"),
        (AssertionAlgorithm::EdDSA, "ed25519"),
        (AssertionAlgorithm::Ed25519, "ed25519"),
    ] {
        good.push(by_key(&format!("key-{algorithm}"), algorithm, key));
    }
    for auth in good {
        let described = format!("{auth:?}");
        let token = get(&server, auth).await.unwrap_or_else(|error| panic!("{described}: {error}"));
        assert_eq!(api.get("/read", &token).await, 200, "{described}");
    }
    let stolen = by_key("key-ES256", AssertionAlgorithm::ES256, "p256b");
    assert!(get(&server, stolen).await.is_err());
    assert!(get(&server, ClientAuth::body("awkward-post", "another")).await.is_err());
}

// T7, T9, T10, T11, T13: a server that decodes otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn t7_t9_t10_t11_every_method_suits_authlib() {
    let server = AuthorizationServer::authlib();
    let api = ResourceServer::trusting(&server).await;
    assert_eq!(basic(&server).await, [true, false, true]);
    for auth in [
        ClientAuth::basic_encoded("awkward", AWKWARD, BasicEncoding::Percent),
        ClientAuth::body("awkward-post", AWKWARD),
        by_hmac(),
        by_key("key-rsa2048", AssertionAlgorithm::RS256, "rsa2048"),
        by_key("key-p256", AssertionAlgorithm::ES256, "p256"),
    ] {
        let described = format!("{auth:?}");
        let token = get(&server, auth).await.unwrap_or_else(|error| panic!("{described}: {error}"));
        assert_eq!(api.get("/read", &token).await, 200, "{described}");
    }
    let stolen = by_key("key-p256", AssertionAlgorithm::ES256, "p256b");
    assert!(get(&server, stolen).await.is_err());
    // Authlib reads assertions of RS256, ES256 and HS256 only; the rest is `oidc-provider`'s part.
    let unread = by_key("key-rsa2048", AssertionAlgorithm::PS256, "rsa2048");
    let error = get(&server, unread).await.expect_err("Authlib doesn't read PS256");
    assert!(error.is_permanent(), "{error}");
    assert!(get(&server, ClientAuth::body("awkward-post", "another")).await.is_err());
}

// E1: `oidc-provider` has a resource whose tokens live for three seconds.
#[tokio::test(flavor = "multi_thread")]
async fn e1_tokens_of_three_seconds_are_kept_and_replaced_in_time() {
    let server = AuthorizationServer::oidc_provider();
    let api = ResourceServer::trusting(&server).await;
    let tokens = Grant::discover(server.issuer(), ClientAuth::basic("svc", "svc-secret"))
        .scope("api:read")
        .resource("https://api.example/short")
        .allow_loopback_http()
        .source()
        .expect("a good grant");
    let origin = api.url("");
    let layer = AttachTokenLayer::new(tokens.clone(), [&origin]).expect("an origin");
    let http = reqwest::Client::new();
    let began = Instant::now();
    let mut seen = std::collections::BTreeSet::new();
    let mut calls = 0;
    while began.elapsed() < Duration::from_secs(8) {
        let answer = layer.send(http.get(api.url("/read"))).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        let token = tokens.token().await.expect("a token");
        seen.insert(token.expose_secret().to_owned());
        calls += 1;
        sleep(Duration::from_millis(20)).await;
    }
    assert!(calls > 100);
    assert!((3..=6).contains(&seen.len()), "{} tokens in eight seconds", seen.len());
}

// E2, E10: the server dies while a token serves, and comes back with other keys.
#[tokio::test(flavor = "multi_thread")]
async fn e2_e10_a_dead_server_is_not_noticed_and_new_keys_cost_one_retry() {
    let mut server = AuthorizationServer::oidc_provider();
    let api = ResourceServer::trusting(&server).await;
    let tokens = source(&server, ClientAuth::basic("awkward", AWKWARD));
    let layer = AttachTokenLayer::new(tokens.clone(), [api.url("")]).expect("an origin");
    let http = reqwest::Client::new();
    let call = async || layer.send(http.get(api.url("/read"))).await.expect("an answer").status();
    assert_eq!(call().await, 200);
    server.kill();
    for _ in 0..20 {
        assert_eq!(call().await, 200);
    }
    server.start_again_with_new_keys();
    let newer = get(&server, ClientAuth::basic("awkward", AWKWARD)).await.expect("a token");
    assert_eq!(api.get("/read", &newer).await, 200, "the API has the new keys");
    assert_eq!(call().await, 200, "the old token was refused, and replaced");
}
