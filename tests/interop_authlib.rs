//! Against a small authorization server made with Authlib: an issuer with a path, metadata at
//! RFC 8414's place only, arrays as audience, key sets with `max-age` and `ETag`.

mod support;

use support::authorization_server::AuthorizationServer;
use support::resource_server::ResourceServer;
use support::scenarios;

/// `scp` is a plain JWT (EdDSA) with its scopes in an array of that name; `nokid` names no key.
const KINDS: [&str; 4] = ["es256", "rs256", "scp", "nokid"];
/// Without those whose key can't be told to be new.
const WITH_KID: [&str; 3] = ["es256", "rs256", "scp"];

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_every_kind_are_accepted() {
    scenarios::tokens_are_accepted(&AuthorizationServer::authlib(), &KINDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_are_enforced() {
    scenarios::scopes_are_enforced(&AuthorizationServer::authlib(), &KINDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_tokens_are_refused() {
    scenarios::expired_tokens_are_refused(&AuthorizationServer::authlib()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_valid_request_is_refused_while_keys_rotate_with_overlap() {
    scenarios::overlapping_rotation(&AuthorizationServer::authlib(), &WITH_KID).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_valid_request_is_refused_while_keys_are_replaced() {
    scenarios::hard_rotation(&AuthorizationServer::authlib(), &WITH_KID).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_published_ahead_are_known_when_they_sign() {
    scenarios::prepublished_rotation(&AuthorizationServer::authlib(), &KINDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_served_while_the_server_is_killed_and_started_again() {
    scenarios::restart(&mut AuthorizationServer::authlib(), &WITH_KID).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_its_keys_is_followed() {
    scenarios::restart_with_new_keys(&mut AuthorizationServer::authlib(), &WITH_KID).await;
}

// LC2: the server's 304 is an answer to the ETag it sent.
#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_key_set_keeps_its_generation() {
    let server = AuthorizationServer::authlib();
    let api = ResourceServer::trusting(&server).await;
    let jwks = api.jwks();
    let generation = jwks.status().generation;
    jwks.refresh().await.expect("a refresh");
    assert_eq!(server.key_set_fetches().await, 2);
    assert_eq!(jwks.status().generation, generation);
    assert_eq!(api.get("/read", &server.token("es256", "api:read").await).await, 200);
}
