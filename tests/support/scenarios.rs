//! What holds for every authorization server. `kinds` are the tokens that the server can issue.

use std::time::Duration;

use http::Method;
use tokio::time::sleep;

use crate::support::authorization_server::{AuthorizationServer, Rotation};
use crate::support::load::Load;
use crate::support::resource_server::{ResourceServer, challenge};

/// How long a load runs before and after each event.
const A_WHILE: Duration = Duration::from_millis(1200);

async fn tokens(server: &AuthorizationServer, kinds: &[&str]) -> Vec<String> {
    let mut tokens = Vec::new();
    for kind in kinds {
        tokens.push(server.token(kind, "api:read").await);
    }
    tokens
}

/// Every kind of token is accepted, and tells who was authenticated.
pub(crate) async fn tokens_are_accepted(server: &AuthorizationServer, kinds: &[&str]) {
    let api = ResourceServer::trusting(server).await;
    for kind in kinds {
        let token = server.token(kind, "api:read api:write").await;
        let response = api.send(Method::GET, "/whoami", &token).await;
        assert_eq!(response.status(), 200, "{kind}");
        let claims: serde_json::Value = response.json().await.expect("claims");
        assert_eq!(claims["issuer"], server.issuer(), "{kind}");
        assert_eq!(claims["scopes"], "api:read api:write", "{kind}");
        assert_eq!(api.send(Method::POST, "/write", &token).await.status(), 200, "{kind}");

        // Its twin: the same token with one character of the signature changed.
        let (rest, last) = token.split_at(token.len() - 10);
        let (first, others) = last.split_at(1);
        let forged = format!("{rest}{}{others}", if first == "A" { "B" } else { "A" });
        assert_eq!(api.get("/whoami", &forged).await, 401, "{kind}");
    }
    assert_eq!(server.key_set_fetches().await, 1, "no token caused a fetch");
}

/// A token without the scopes of a route is refused there, and told which ones it takes.
pub(crate) async fn scopes_are_enforced(server: &AuthorizationServer, kinds: &[&str]) {
    let api = ResourceServer::trusting(server).await;
    for kind in kinds {
        let reader = server.token(kind, "api:read").await;
        assert_eq!(api.get("/read", &reader).await, 200, "{kind}");
        let refused = api.send(Method::POST, "/write", &reader).await;
        assert_eq!(refused.status(), 403, "{kind}"); // W7
        let challenge = challenge(&refused);
        assert!(challenge.contains(r#"error="insufficient_scope""#), "{challenge}");
        assert!(challenge.contains(r#"scope="api:read api:write""#), "{challenge}");

        // A grant without any scope: the claim is absent from some servers, empty from others.
        let nothing = server.token(kind, "").await;
        assert_eq!(api.get("/whoami", &nothing).await, 200, "{kind}");
        assert_eq!(api.get("/read", &nothing).await, 403, "{kind}");
    }
}

/// A token is accepted until its time is over.
pub(crate) async fn expired_tokens_are_refused(server: &AuthorizationServer) {
    let api = ResourceServer::trusting(server).await;
    let short = server.token("short", "api:read").await;
    assert_eq!(api.get("/read", &short).await, 200);
    sleep(Duration::from_millis(3200)).await;
    let refused = api.send(Method::GET, "/read", &short).await;
    assert_eq!(refused.status(), 401); // W5, C5
    assert!(challenge(&refused).contains(r#"error="invalid_token""#));
}

/// New keys beside the old ones: the tokens of both are accepted, from the first request on.
pub(crate) async fn overlapping_rotation(server: &AuthorizationServer, kinds: &[&str]) {
    let api = ResourceServer::trusting(server).await;
    let load = Load::start(api.url("/read"), tokens(server, kinds).await);
    sleep(A_WHILE).await;
    for _ in 0..2 {
        server.rotate(Rotation::Overlap).await;
        load.add(tokens(server, kinds).await); // LC20
        sleep(A_WHILE).await;
    }
    load.stop().await.assert_no_valid_request_refused(100);
    assert_eq!(server.key_set_fetches().await, 3, "one fetch at the start and one a rotation");
}

/// New keys in place of the old ones: the tokens of the new are accepted from the first request
/// on, those of the old no longer once the new set is there.
pub(crate) async fn hard_rotation(server: &AuthorizationServer, kinds: &[&str]) {
    let api = ResourceServer::trusting(server).await;
    let mut old = tokens(server, kinds).await;
    let load = Load::start(api.url("/read"), old.clone());
    sleep(A_WHILE).await;
    for _ in 0..2 {
        load.retire();
        server.rotate(Rotation::Hard).await;
        let new = tokens(server, kinds).await;
        load.add(new.clone()); // LC20
        sleep(A_WHILE).await;
        for token in &old {
            assert_eq!(api.get("/read", token).await, 401); // LC8
        }
        old = new;
    }
    let outcome = load.stop().await;
    outcome.assert_no_valid_request_refused(100);
    let statuses: Vec<u16> = outcome.retired.keys().copied().collect();
    assert_eq!(statuses, [200, 401], "a retired token is accepted, then refused: {outcome:?}");
    // The tokens of the old keys, sent all the time, caused no fetch.
    assert_eq!(server.key_set_fetches().await, 3, "one fetch at the start and one a rotation");
}

/// Keys that were published ahead are known when they begin to sign.
pub(crate) async fn prepublished_rotation(server: &AuthorizationServer, kinds: &[&str]) {
    let api = ResourceServer::trusting(server).await;
    let load = Load::start(api.url("/read"), tokens(server, kinds).await);
    server.rotate(Rotation::Prepublish).await;
    api.jwks().refresh().await.expect("a refresh");
    let fetches = server.key_set_fetches().await;
    server.rotate(Rotation::Promote).await;
    load.add(tokens(server, kinds).await);
    sleep(A_WHILE).await;
    load.stop().await.assert_no_valid_request_refused(100);
    assert_eq!(server.key_set_fetches().await, fetches, "the new keys were known");
}

/// The authorization server dies and comes back: requests are served throughout, and a rotation
/// afterwards is noticed as ever.
pub(crate) async fn restart(server: &mut AuthorizationServer, kinds: &[&str]) {
    let api = ResourceServer::trusting(server).await;
    let load = Load::start(api.url("/read"), tokens(server, kinds).await);
    sleep(A_WHILE).await;
    server.kill();
    // The keys are asked for while nobody answers, too.
    api.jwks().refresh().await.expect_err("the authorization server is dead");
    sleep(A_WHILE).await;
    server.start_again();
    load.add(tokens(server, kinds).await);
    sleep(A_WHILE).await;
    server.rotate(Rotation::Overlap).await;
    load.add(tokens(server, kinds).await);
    sleep(A_WHILE).await;
    load.stop().await.assert_no_valid_request_refused(100);
}

/// The authorization server dies and comes back with other keys, as one does that keeps none.
pub(crate) async fn restart_with_new_keys(server: &mut AuthorizationServer, kinds: &[&str]) {
    let api = ResourceServer::trusting(server).await;
    let old = tokens(server, kinds).await;
    let load = Load::start(api.url("/read"), old.clone());
    sleep(A_WHILE).await;
    server.kill();
    sleep(A_WHILE).await;
    load.retire();
    server.start_again_with_new_keys();
    load.add(tokens(server, kinds).await);
    sleep(A_WHILE).await;
    for token in &old {
        assert_eq!(api.get("/read", token).await, 401);
    }
    let outcome = load.stop().await;
    outcome.assert_no_valid_request_refused(100);
    let statuses: Vec<u16> = outcome.retired.keys().copied().collect();
    assert_eq!(statuses, [200, 401], "a retired token is accepted, then refused: {outcome:?}");
}
