//! Against `oidc-provider`, a certified authorization server in another language: its tokens, its
//! discovery, its rotations, its death.

#![allow(clippy::expect_used)]

mod support;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use support::authorization_server::{AuthorizationServer, Rotation};
use support::resource_server::{ResourceServer, challenge, validator_for};
use support::scenarios;
use tokio::time::sleep;

const KINDS: [&str; 5] = ["RS256", "PS256", "ES256", "EdDSA", "Ed25519"];

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_every_algorithm_are_accepted() {
    scenarios::tokens_are_accepted(&AuthorizationServer::oidc_provider(), &KINDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_are_enforced() {
    scenarios::scopes_are_enforced(&AuthorizationServer::oidc_provider(), &["ES256"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_tokens_are_refused() {
    scenarios::expired_tokens_are_refused(&AuthorizationServer::oidc_provider()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_another_audience_is_refused() {
    let server = AuthorizationServer::oidc_provider();
    let api = ResourceServer::trusting(&server).await;
    let token = server.token("other", "api:read").await;
    let refused = api.send(http::Method::GET, "/read", &token).await;
    assert_eq!(refused.status(), 401); // W23, C2
    assert!(challenge(&refused).contains(r#"error="invalid_token""#));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_issuer_is_refused() {
    let server = AuthorizationServer::oidc_provider();
    let other = AuthorizationServer::oidc_provider();
    let api = ResourceServer::trusting(&server).await;
    assert_eq!(api.get("/read", &other.token("ES256", "api:read").await).await, 401); // C1, K19
    assert_eq!(api.get("/read", &server.token("ES256", "api:read").await).await, 200);
    assert_eq!(server.key_set_fetches().await, 1, "the other issuer's key wasn't looked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_found_by_every_form_of_discovery() {
    // With `login-page`, RFC 8414's place answers 200 with HTML, as LemonLDAP::NG does.
    for metadata in ["both", "oauth", "openid", "login-page"] {
        let server = AuthorizationServer::oidc_provider_with_metadata(metadata);
        let api = ResourceServer::trusting(&server).await;
        let token = server.token("ES256", "api:read").await;
        assert_eq!(api.get("/read", &token).await, 200, "{metadata}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_valid_request_is_refused_while_keys_rotate_with_overlap() {
    scenarios::overlapping_rotation(&AuthorizationServer::oidc_provider(), &KINDS).await;
}

// LC20: the answer that is on its way was given before there were new keys.
#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_under_way_does_not_hide_new_keys() {
    for forced in [false, true] {
        let server = AuthorizationServer::oidc_provider();
        let api = ResourceServer::trusting(&server).await;
        let old = server.token("ES256", "api:read").await;
        server.delay_key_set(Duration::from_millis(300)).await;
        let fetch = async {
            if forced {
                api.get("/read", &with_kid(&old, "made-up")).await;
            } else {
                api.jwks().refresh().await.expect("a refresh");
            }
        };
        let rotation = async {
            while server.key_set_fetches().await < 2 {
                sleep(Duration::from_millis(10)).await;
            }
            server.rotate(Rotation::Overlap).await;
            let new = server.token("ES256", "api:read").await;
            assert_eq!(api.get("/read", &new).await, 200, "forced: {forced}");
        };
        tokio::join!(fetch, rotation);
        assert_eq!(server.key_set_fetches().await, 3, "forced: {forced}");
    }
}

/// Returns the token with another `kid`, which makes it a forgery.
fn with_kid(token: &str, kid: &str) -> String {
    let (header, rest) = token.split_once('.').expect("a compact JWS");
    let header = URL_SAFE_NO_PAD.decode(header).expect("base64url");
    let mut header: Value = serde_json::from_slice(&header).expect("JSON");
    header["kid"] = kid.into();
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_valid_request_is_refused_while_keys_are_replaced() {
    scenarios::hard_rotation(&AuthorizationServer::oidc_provider(), &KINDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_published_ahead_are_known_when_they_sign() {
    scenarios::prepublished_rotation(&AuthorizationServer::oidc_provider(), &KINDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_served_while_the_server_is_killed_and_started_again() {
    scenarios::restart(&mut AuthorizationServer::oidc_provider(), &KINDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_its_keys_is_followed() {
    scenarios::restart_with_new_keys(&mut AuthorizationServer::oidc_provider(), &KINDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_server_that_started_first_recovers_by_itself() {
    let mut server = AuthorizationServer::oidc_provider();
    let token = server.token("ES256", "api:read").await;
    server.kill();
    let api = ResourceServer::start(validator_for(&server).build().expect("a validator")).await;
    assert_eq!(api.get("/public", &token).await, 200);
    let refused = api.send(http::Method::GET, "/read", &token).await;
    assert_eq!(refused.status(), 503); // W24, LC19
    assert!(refused.headers().contains_key("retry-after"));
    assert!(!refused.headers().contains_key("www-authenticate"));

    server.start_again();
    api.jwks().ready(Duration::from_secs(10)).await.expect("keys within ten seconds");
    assert_eq!(api.get("/read", &token).await, 200);
}
