//! The token client against two independent authorization servers, with every way of authentication,
//! with secrets of awkward characters, and against a protected server.

#![allow(clippy::expect_used)]
#![allow(clippy::disallowed_methods, reason = "processes live in real time")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Request, Response};
use support::authorization_server::{AUDIENCE, AuthorizationServer, Rotation};
use support::resource_server::{ResourceServer, validator_for};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_bearer::client::{
    Assertion, AssertionAlgorithm, AttachTokenLayer, BasicEncoding, CallerToken, ClientAuth,
    DpopKey, ErrorCode, Grant, OnBehalfOf, TokenError, TokenErrorKind, TokenExchange, TokenSource,
};
use tower_bearer::dpop::{Dpop, NonceKeys};
use tower_bearer::{BearerAuthLayer, Secret, Validator};

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
    assert!(calls > 50, "{calls}");
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

// DC4, DC5, DC9, DC10: with and without nonces, at the token endpoint and at our own resource server.
#[tokio::test(flavor = "multi_thread")]
async fn dc9_dc10_oidc_provider_binds_tokens_that_our_server_accepts() {
    for nonces in [false, true] {
        let server = match nonces {
            true => AuthorizationServer::oidc_provider_with_nonces(),
            false => AuthorizationServer::oidc_provider(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let mut dpop = Dpop::require().public_origins([&origin]);
        if nonces {
            dpop = dpop.nonces(NonceKeys::random().expect("random numbers"));
        }
        let validator = validator_for(&server).dpop(dpop).build().expect("a validator");
        validator.ready(Duration::from_secs(10)).await.expect("keys");
        let api = ResourceServer::start_on(listener, validator);
        let http = reqwest::Client::new();
        // The server refuses an assertion that it has seen.
        let by_key = by_key("key-ES256", AssertionAlgorithm::ES256, "p256");
        for (auth, algorithm) in [
            (ClientAuth::basic("svc", "svc-secret"), AssertionAlgorithm::ES256),
            (ClientAuth::basic("svc", "svc-secret"), AssertionAlgorithm::EdDSA),
            (by_key, AssertionAlgorithm::Ed25519),
        ] {
            let key = DpopKey::generate_for(algorithm).expect("a key");
            let tokens = Grant::discover(server.issuer(), auth)
                .scope("api:read")
                .dpop(key)
                .allow_loopback_http()
                .source()
                .expect("a good grant");
            let layer = AttachTokenLayer::new(tokens.clone(), [&origin]).expect("an origin");
            for _ in 0..3 {
                let answer = layer.send(http.get(api.url("/read"))).await.expect("an answer");
                assert_eq!(answer.status(), 200, "{nonces} {algorithm}");
            }
            // Without its key it is of no use.
            let token = tokens.token().await.expect("a token");
            assert_eq!(api.get("/read", token.expose_secret()).await, 401);
        }
        // A key for an algorithm that the metadata doesn't list.
        let key = DpopKey::generate_for(AssertionAlgorithm::ES384).expect("a key");
        let grant = Grant::discover(server.issuer(), ClientAuth::basic("svc", "svc-secret"));
        let tokens = grant.dpop(key).allow_loopback_http().source().expect("a good grant");
        let error = tokens.token().await.expect_err("no common algorithm");
        assert!(matches!(error.kind(), TokenErrorKind::Discovery(_)), "{error}");
    }
}

// DC5, DC10, DC13: the provider's own protected resource checks the proofs.
#[tokio::test(flavor = "multi_thread")]
async fn dc5_dc10_oidc_provider_takes_our_proofs_at_its_protected_resource() {
    for nonces in [false, true] {
        let server = match nonces {
            true => AuthorizationServer::oidc_provider_with_nonces(),
            false => AuthorizationServer::oidc_provider(),
        };
        let endpoint = format!("{}/control/userinfo-token", server.issuer());
        let tokens = Grant::endpoint(&endpoint, ClientAuth::basic("svc", "svc-secret"))
            .dpop(DpopKey::generate().expect("a key"))
            .allow_loopback_http()
            .source()
            .expect("a good grant");
        let layer = AttachTokenLayer::new(tokens.clone(), [server.issuer()]).expect("an origin");
        let (http, me) = (reqwest::Client::new(), format!("{}/me", server.issuer()));
        for _ in 0..3 {
            let answer = layer.send(http.get(&me)).await.expect("an answer");
            let status = answer.status();
            let body = answer.text().await.expect("a body");
            assert_eq!((status.as_u16(), &*body), (200, r#"{"sub":"user"}"#), "{nonces}");
        }
        let token = tokens.token().await.expect("a token");
        let stolen = http.get(&me).bearer_auth(token.expose_secret()).send().await;
        assert_eq!(stolen.expect("an answer").status(), 401);
    }
}

/// A service that the server's tokens are for.
async fn service(server: &AuthorizationServer) -> Validator {
    let validator = Validator::builder(server.issuer(), AUDIENCE).build().expect("a validator");
    validator.ready(Duration::from_secs(10)).await.expect("the server's keys");
    validator
}

/// Calls a service with a token, and returns what the service may use it for.
async fn caller(validator: &Validator, token: &str) -> CallerToken {
    let seen = Arc::new(Mutex::new(None));
    let place = Arc::clone(&seen);
    let layer = BearerAuthLayer::new(validator.clone()).keep_for_exchange();
    let service = layer.layer(service_fn(move |request: Request<String>| {
        *place.lock().expect("a place") = CallerToken::from_extensions(request.extensions());
        async { Ok::<_, std::io::Error>(Response::new(String::new())) }
    }));
    let request = Request::get("/").header("authorization", format!("Bearer {token}"));
    let request = request.body(String::new()).expect("a request");
    assert_eq!(service.oneshot(request).await.expect("an answer").status(), 200);
    let seen = seen.lock().expect("a place").take();
    seen.expect("the token was kept")
}

fn by_exchange() -> OnBehalfOf {
    OnBehalfOf::token_exchange(TokenExchange::new())
}

// TX1, TX5, TX7, TX8, TX9
#[tokio::test(flavor = "multi_thread")]
async fn tx1_tx5_tx9_oidc_provider_grants_on_behalf_of_callers() {
    let server = AuthorizationServer::oidc_provider();
    let validator = service(&server).await;
    let alice = caller(&validator, &server.token("ES256", "api:read api:write").await).await;
    let grant = |resource: &str, scope: &str| {
        let grant = Grant::discover(server.issuer(), ClientAuth::basic("svc", "svc-secret"));
        grant.resource(&format!("{AUDIENCE}/{resource}")).scope(scope).allow_loopback_http()
    };
    for how in [by_exchange(), OnBehalfOf::jwt_bearer()] {
        let target = grant("RS256", "api:read").on_behalf(how.clone()).expect("a good grant");
        let token = target.token(&alice).await.unwrap_or_else(|error| panic!("{how:?}: {error:?}"));
        let there = validator.validate(token.expose_secret()).await.expect("a good token");
        assert_eq!(there.subject(), alice.subject());
        assert!(there.has_scope("api:read") && !there.has_scope("api:write"));
        let actor = there.actor().and_then(|actor| actor.subject());
        let expected = format!("{how:?}").contains("exchange").then_some("svc");
        assert_eq!(actor, expected, "{how:?}");
    }
    for (resource, scope, code) in [
        ("none", "api:read", ErrorCode::InvalidTarget),
        ("RS256", "api:none", ErrorCode::InvalidScope),
    ] {
        let target = grant(resource, scope).on_behalf(by_exchange()).expect("a good grant");
        let error = target.token(&alice).await.expect_err("it isn't granted");
        assert_eq!(*error.token_error().kind(), TokenErrorKind::Refused(code));
        assert_eq!(error.status(), 403);
    }
    // The server forgets its keys: the token is none of its own any more.
    server.rotate(Rotation::Hard).await;
    for how in [by_exchange(), OnBehalfOf::jwt_bearer()] {
        let target = grant("ES256", "api:read").on_behalf(how).expect("a good grant");
        let error = target.token(&alice).await.expect_err("it isn't granted");
        assert_eq!(error.status(), 401, "{error:?}");
    }
}

// TX1, TX5, TX7
#[tokio::test(flavor = "multi_thread")]
async fn tx1_tx5_authlib_exchanges_the_callers_token() {
    let server = AuthorizationServer::authlib();
    let validator = service(&server).await;
    let alice = caller(&validator, &server.token("es256", "api:read").await).await;
    let grant = |scope: &str| {
        let auth = ClientAuth::basic("svc-rs256", "svc-rs256-secret");
        let grant = Grant::discover(server.issuer(), auth).scope(scope).allow_loopback_http();
        grant.on_behalf(by_exchange()).expect("a good grant")
    };
    let token = grant("api:read").token(&alice).await.expect("a token");
    let there = validator.validate(token.expose_secret()).await.expect("a good token");
    assert_eq!((there.subject(), there.client_id()), (Some("svc-es256"), Some("svc-rs256")));
    let error = grant("api:none").token(&alice).await.expect_err("it isn't granted");
    assert_eq!(error.status(), 403, "{error:?}");
    server.rotate(Rotation::Hard).await;
    let error = grant("api:read").token(&alice).await.expect_err("it isn't granted");
    assert_eq!(error.status(), 401, "{error:?}");
}

// TX9: Authlib's own grant, which checks what the client has signed.
#[tokio::test(flavor = "multi_thread")]
async fn tx9_authlib_takes_a_signed_assertion() {
    let server = AuthorizationServer::authlib();
    let validator = service(&server).await;
    let get = async |key: &str, subject: &str| {
        let path = format!("{}/fixtures/keys/{key}.pem", env!("CARGO_MANIFEST_DIR"));
        let pem = Secret::new(std::fs::read(path).expect("a key"));
        let assertion = Assertion::new(AssertionAlgorithm::ES256, pem).key_id("p256");
        let grant = Grant::discover(server.issuer(), ClientAuth::none("key-p256"));
        let grant = grant.jwt_bearer(assertion.subject(subject)).scope("api:read");
        grant.allow_loopback_http().source().expect("a good grant").token().await
    };
    let token = get("p256", "alice").await.expect("a token");
    let there = validator.validate(token.expose_secret()).await.expect("a good token");
    assert_eq!((there.subject(), there.client_id()), (Some("alice"), Some("key-p256")));
    let forged = get("p256b", "alice").await.expect_err("it is another's key");
    assert_eq!(*forged.kind(), TokenErrorKind::Refused(ErrorCode::InvalidGrant));
    get("p256", "mallory").await.expect_err("the client may not act for that user");
}
