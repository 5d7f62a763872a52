//! Opaque tokens of two authorization servers in other languages: `oidc-provider`, which also signs its
//! answers, and `django-oauth-toolkit`, whose answers name neither issuer nor audience.

#![allow(clippy::expect_used)]
#![allow(clippy::disallowed_methods, reason = "servers live in real time")]

mod support;

use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;
use support::authorization_server::{AUDIENCE, AuthorizationServer};
use support::load::Load;
use support::resource_server::{ResourceServer, challenge};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tower_bearer::client::ClientAuth;
use tower_bearer::introspection::Introspection;
use tower_bearer::{Validator, ValidatorBuilder};

const TTL: Duration = Duration::from_secs(1);

fn asking() -> Introspection {
    Introspection::discover(ClientAuth::basic("svc", "svc-secret")).ttl(TTL)
}

fn builder(server: &AuthorizationServer, introspection: Introspection) -> ValidatorBuilder {
    Validator::builder(server.issuer(), AUDIENCE)
        .introspection(introspection)
        .leeway(Duration::ZERO)
}

async fn api(server: &AuthorizationServer, introspection: Introspection) -> ResourceServer {
    ResourceServer::start(builder(server, introspection).build().expect("a validator")).await
}

/// What holds of opaque tokens, whoever grants them.
async fn check(server: &AuthorizationServer, introspection: Introspection) {
    let api = api(server, introspection).await;
    let token = server.token("opaque", "api:read").await;
    assert!(!token.contains('.'), "{token}");
    for _ in 0..2 {
        assert_eq!(api.get("/read", &token).await, 200);
    }
    let whoami = api.send(Method::GET, "/whoami", &token).await;
    let whoami: Value = whoami.json().await.expect("JSON");
    assert_eq!(whoami["issuer"], server.issuer());
    assert_eq!(whoami["scopes"], "api:read");
    let refused = api.send(Method::POST, "/write", &token).await;
    assert_eq!(refused.status().as_u16(), 403);
    assert!(challenge(&refused).contains("insufficient_scope"));

    for garbage in ["garbage", "a.b.c", "a.b.c.d.e"] {
        let refused = api.send(Method::GET, "/read", garbage).await;
        assert_eq!(refused.status().as_u16(), 401, "{garbage}");
        assert!(challenge(&refused).contains("invalid_token"));
    }

    server.revoke(&token).await;
    sleep(TTL * 2).await;
    assert_eq!(api.get("/read", &token).await, 401, "revoked");

    let short = server.token("opaque-short", "api:read").await;
    assert_eq!(api.get("/read", &short).await, 200);
    sleep(Duration::from_secs(7)).await;
    assert_eq!(api.get("/read", &short).await, 401, "expired");
}

/// 1 000 requests at once with a token that nobody has seen.
async fn one_call_for_many(server: &AuthorizationServer, introspection: Introspection) {
    let introspection = introspection.ttl(Duration::from_secs(60));
    let validator = builder(server, introspection).build().expect("a validator");
    // Discovery and a connection are there.
    let first = server.token("opaque", "api:read").await;
    assert!(validator.validate(&first).await.is_ok());
    let before = server.introspections().await;
    let token = server.token("opaque", "api:read").await;
    let mut requests = JoinSet::new();
    for _ in 0..1_000 {
        let (validator, token) = (validator.clone(), token.clone());
        requests.spawn(async move { validator.validate(&token).await.is_ok() });
    }
    assert_eq!(requests.join_all().await, vec![true; 1_000]);
    assert_eq!(server.introspections().await, before + 1);
}

/// The server is killed while requests run, and started again.
async fn outage(server: &mut AuthorizationServer, introspection: Introspection) {
    let api = api(server, introspection.ttl(Duration::from_secs(60))).await;
    let known = server.token("opaque", "api:read").await;
    let mut new = Vec::new();
    for _ in 0..20 {
        new.push(server.token("opaque", "api:read").await);
    }
    assert_eq!(api.get("/read", &known).await, 200);
    let load = Load::start(api.url("/read"), vec![known]);
    sleep(Duration::from_millis(300)).await;
    server.kill();
    for token in &new {
        let refused = api.send(Method::GET, "/read", token).await;
        assert_eq!(refused.status().as_u16(), 503);
        assert!(refused.headers().contains_key("retry-after"));
    }
    server.start_again();
    let token = server.token("opaque", "api:read").await;
    let back = Instant::now();
    while api.get("/read", &token).await != 200 {
        assert!(back.elapsed() < Duration::from_secs(10), "it doesn't recover");
        sleep(Duration::from_millis(50)).await;
    }
    // None was answered anything but 200, all the time.
    load.stop().await.assert_no_valid_request_refused(100);
}

// I1, I12, I25, I28
#[tokio::test(flavor = "multi_thread")]
async fn i1_opaque_tokens_of_oidc_provider() {
    let server = AuthorizationServer::oidc_provider();
    check(&server, asking()).await;
    let api = api(&server, asking()).await;
    let other = server.token("opaque-other", "api:read").await;
    assert_eq!(api.get("/read", &other).await, 401, "for another audience");
    // I39: its JWTs are checked by their signatures, and it isn't asked about them.
    let before = server.introspections().await;
    let jwt = server.token("ES256", "api:read").await;
    assert_eq!(api.get("/read", &jwt).await, 200);
    assert_eq!(api.get("/read", &format!("{jwt}A")).await, 401);
    assert_eq!(server.introspections().await, before);
}

// I44, I45, I47
#[tokio::test(flavor = "multi_thread")]
async fn i44_signed_answers_of_oidc_provider() {
    check(&AuthorizationServer::oidc_provider(), asking().signed()).await;
}

// I17, I42
#[tokio::test(flavor = "multi_thread")]
async fn i17_oidc_provider_introspects_no_jwts() {
    let server = AuthorizationServer::oidc_provider();
    let api = api(&server, asking().introspect_jwts()).await;
    let jwt = server.token("ES256", "api:read").await;
    assert_eq!(api.get("/read", &jwt).await, 503);
    let opaque = server.token("opaque", "api:read").await;
    assert_eq!(api.get("/read", &opaque).await, 200);
}

// I12, I21, I22
#[tokio::test(flavor = "multi_thread")]
async fn i21_i22_opaque_tokens_of_django_oauth_toolkit() {
    let server = AuthorizationServer::django_oauth_toolkit();
    let strict = api(&server, asking()).await;
    let token = server.token("opaque", "api:read").await;
    assert_eq!(strict.get("/read", &token).await, 401, "they name no audience");
    check(&server, asking().dangerous_accept_missing_aud()).await;
}

// I7
#[tokio::test(flavor = "multi_thread")]
async fn i7_wrong_credentials_of_ours_are_503() {
    for server in
        [AuthorizationServer::oidc_provider(), AuthorizationServer::django_oauth_toolkit()]
    {
        let wrong = Introspection::discover(ClientAuth::basic("svc", "wrong"));
        let api = api(&server, wrong.dangerous_accept_missing_aud()).await;
        let token = server.token("opaque", "api:read").await;
        assert_eq!(api.get("/read", &token).await, 503, "{server:?}");
    }
}

// I31
#[tokio::test(flavor = "multi_thread")]
async fn i31_a_thousand_requests_with_one_new_token_make_one_call() {
    one_call_for_many(&AuthorizationServer::oidc_provider(), asking()).await;
    let liberal = asking().dangerous_accept_missing_aud();
    one_call_for_many(&AuthorizationServer::django_oauth_toolkit(), liberal).await;
}

// I33, I34
#[tokio::test(flavor = "multi_thread")]
async fn i34_oidc_provider_is_killed_under_load() {
    outage(&mut AuthorizationServer::oidc_provider(), asking()).await;
}

// I33, I34
#[tokio::test(flavor = "multi_thread")]
async fn i34_django_oauth_toolkit_is_killed_under_load() {
    let liberal = asking().dangerous_accept_missing_aud();
    outage(&mut AuthorizationServer::django_oauth_toolkit(), liberal).await;
}
