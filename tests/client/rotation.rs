//! A secret that changes: without a restart, without a failed call.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::header::AUTHORIZATION;
use tokio::time::advance;
use tower_bearer::Secret;
use tower_bearer::client::{
    Assertion, AssertionAlgorithm, ClientAuth, Grant, SecretError, SecretErrorKind, SecretFuture,
    SecretProvider, SecretSource, TokenClient, TokenErrorKind, TokenSource,
};
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport};

use crate::support::*;

/// What the keeper of secrets has, and what the server accepts.
#[derive(Clone, Default)]
struct World(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    kept: Option<&'static str>,
    accepted: Vec<&'static str>,
    asked: usize,
    granted: usize,
    /// How the server puts it that a secret is wrong.
    refusal: Option<(u16, &'static str)>,
    hangs: bool,
}

impl World {
    fn new(secret: &'static str) -> Self {
        let world = Self::default();
        world.keep(Some(secret));
        world.accept(&[secret]);
        world
    }

    fn keep(&self, secret: Option<&'static str>) {
        self.0.lock().unwrap().kept = secret;
    }

    fn accept(&self, secrets: &[&'static str]) {
        self.0.lock().unwrap().accepted = secrets.to_vec();
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().asked
    }

    fn transport(&self) -> ScriptedTransport {
        let world = self.clone();
        ScriptedTransport::from_fn(move |request| {
            let header = request.headers()[AUTHORIZATION].to_str().unwrap();
            let pair = BASE64_STANDARD.decode(header.strip_prefix("Basic ").unwrap()).unwrap();
            let pair = String::from_utf8(pair).unwrap();
            let mut state = world.0.lock().unwrap();
            if !state.accepted.contains(&pair.strip_prefix("me:").unwrap()) {
                let (status, error) = state.refusal.unwrap_or((401, "invalid_client"));
                return refused(status, error);
            }
            state.granted += 1;
            granted(&format!("t{}", state.granted), 600)
        })
    }

    fn source(&self, transport: &ScriptedTransport) -> TokenSource {
        let auth = ClientAuth::basic("me", self.clone());
        let grant = Grant::endpoint("https://as.test/token", auth).build().unwrap();
        client(transport).source(&grant)
    }
}

impl SecretProvider for World {
    fn secret(&self) -> SecretFuture<'_> {
        let mut state = self.0.lock().unwrap();
        state.asked += 1;
        let (kept, hangs) = (state.kept.map(Secret::new), state.hangs);
        Box::pin(async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            kept.ok_or(SecretError::new(SecretErrorKind::Unavailable))
        })
    }
}

// The old secret ends at once: the next fetch finds the new one by itself.
#[tokio::test(start_paused = true)]
async fn a_secret_that_was_replaced_costs_one_refused_request() {
    let world = World::new("one");
    let transport = world.transport();
    let source = world.source(&transport);
    assert_eq!(token(&source).await, "t1");
    world.keep(Some("two"));
    world.accept(&["two"]);
    advance(541 * SECOND).await;
    // The provider's secret is older than 5 minutes, so that it was asked anyway …
    assert_eq!(token(&source).await, "t2");
    assert_eq!(transport.request_count(), 2);
    world.keep(Some("three"));
    world.accept(&["three"]);
    let current = source.token().await.unwrap();
    advance(2 * SECOND).await;
    // … and now it isn't, until the server refuses what it gave.
    assert_eq!(renewed(&source, &current).await.unwrap(), "t3");
    assert_eq!(transport.request_count(), 4);
}

// However lately the old one was read, be it for another tenant.
#[tokio::test(start_paused = true)]
async fn a_secret_that_is_replaced_just_after_it_was_read_costs_no_call() {
    for later in [0, 1, 500, 999, 1_000] {
        let world = World::new("one");
        let transport = world.transport();
        let secret = SecretSource::from(world.clone());
        let client = client(&transport);
        let source = |scope: &str| {
            let auth = ClientAuth::basic("me", secret.clone());
            let grant = Grant::endpoint("https://as.test/token", auth).scope(scope);
            client.source(&grant.build().unwrap())
        };
        assert_eq!(token(&source("a")).await, "t1");
        advance(Duration::from_millis(later)).await;
        world.keep(Some("two"));
        world.accept(&["two"]);
        assert_eq!(token(&source("b")).await, "t2", "{later}");
        // And once more, within the second.
        world.keep(Some("three"));
        world.accept(&["three"]);
        assert_eq!(token(&source("c")).await, "t3", "{later}");
    }
}

// Servers have many words for it: Keycloak's, Auth0's, and none at all.
#[tokio::test(start_paused = true)]
async fn a_secret_that_was_replaced_is_read_anew_whatever_the_server_calls_it() {
    for (refusal, asked) in [
        ((401, "invalid_client"), 2),
        ((400, "invalid_client"), 2),
        ((401, "unauthorized_client"), 2),
        ((400, "unauthorized_client"), 2),
        ((401, "access_denied"), 2),
        ((400, "access_denied"), 1),
        ((400, "invalid_scope"), 1),
        ((403, "invalid_target"), 1),
    ] {
        let world = World::new("one");
        world.0.lock().unwrap().refusal = Some(refusal);
        let transport = world.transport();
        let source = world.source(&transport);
        let first = source.token().await.unwrap();
        world.keep(Some("two"));
        world.accept(&["two"]);
        assert_eq!(renewed(&source, &first).await.is_some(), asked == 2, "{refusal:?}");
        assert_eq!(world.asked(), asked, "{refusal:?}");
    }
}

// Nor if it says nothing at all.
#[tokio::test(start_paused = true)]
async fn a_refusal_without_a_reason_has_the_secret_read_anew() {
    for (status, requests) in [(401, 2), (403, 2), (400, 3), (404, 3)] {
        let world = World::new("one");
        let keeper = world.clone();
        let transport = ScriptedTransport::from_fn(move |request| {
            // "me:one" in base64.
            if request.headers()[AUTHORIZATION] != "Basic bWU6b25l" {
                return granted("t", 600);
            }
            keeper.keep(Some("two"));
            ScriptedAnswer::status(http::StatusCode::from_u16(status).unwrap())
        });
        let result = world.source(&transport).token().await;
        assert_eq!((result.is_ok(), transport.request_count()), (requests == 2, requests));
    }
}

// Tenants that share a keeper: while it hangs, all of them go on with what it gave.
#[tokio::test(start_paused = true)]
async fn tenants_do_not_wait_for_a_keeper_one_after_the_other() {
    let world = World::new("one");
    let transport = world.transport();
    let secret = SecretSource::from(world.clone());
    let client = client(&transport);
    let sources: Vec<_> = (0..10)
        .map(|tenant| {
            let auth = ClientAuth::basic("me", secret.clone());
            let grant = Grant::endpoint("https://as.test/token", auth);
            client.source(&grant.tenant(&tenant.to_string()).build().unwrap())
        })
        .collect();
    for source in &sources {
        token(source).await;
    }
    world.0.lock().unwrap().hangs = true;
    advance(541 * SECOND).await;
    let calls: Vec<_> = sources
        .into_iter()
        .map(|source| tokio::spawn(async move { source.token().await.is_ok() }))
        .collect();
    for call in calls {
        assert!(call.await.unwrap());
    }
    assert_eq!(transport.request_count(), 20);
}

// A client that is in a hurry doesn't lose the secret that it has to a keeper that isn't.
#[tokio::test(start_paused = true)]
async fn a_short_timeout_leaves_time_for_the_older_secret() {
    let world = World::new("one");
    let transport = world.transport();
    let auth = ClientAuth::basic("me", world.clone());
    let grant = Grant::endpoint("https://as.test/token", auth).build().unwrap();
    let client = TokenClient::builder().transport(transport.clone()).timeout(2 * SECOND);
    let source = client.build().unwrap().source(&grant);
    assert_eq!(token(&source).await, "t1");
    world.0.lock().unwrap().hangs = true;
    advance(541 * SECOND).await;
    assert_eq!(token(&source).await, "t2");
}

// The server has moved on by more than one secret: the keeper is asked for the third.
#[tokio::test(start_paused = true)]
async fn a_third_secret_is_found_when_two_were_refused() {
    let world = World::new("one");
    let transport = world.transport();
    let source = world.source(&transport);
    assert_eq!(token(&source).await, "t1");
    world.keep(Some("two"));
    world.accept(&["three"]);
    advance(541 * SECOND).await;
    source.token().await.unwrap_err();
    world.keep(Some("three"));
    advance(SECOND).await;
    assert_eq!(token(&source).await, "t2");
    // "one", then "two" and "one" again, then "three".
    assert_eq!(transport.request_count(), 4);
}

// The server takes the new secret later than the keeper has it.
#[tokio::test(start_paused = true)]
async fn while_the_server_does_not_know_the_new_secret_the_old_one_is_used() {
    let world = World::new("one");
    let transport = world.transport();
    let source = world.source(&transport);
    assert_eq!(token(&source).await, "t1");
    world.keep(Some("two"));
    advance(541 * SECOND).await;
    assert_eq!(token(&source).await, "t2");
    assert_eq!(transport.request_count(), 3);
    world.accept(&["one", "two"]);
    advance(541 * SECOND).await;
    assert_eq!(token(&source).await, "t3");
    assert_eq!(transport.request_count(), 4);
}

// The keeper has the new secret later than the server: nothing can be had, until it can.
#[tokio::test(start_paused = true)]
async fn a_new_secret_ends_the_rest_after_a_refusal() {
    let world = World::new("one");
    let transport = world.transport();
    let source = world.source(&transport);
    world.accept(&["two"]);
    for _ in 0..40 {
        source.token().await.unwrap_err();
        advance(Duration::from_millis(100)).await;
    }
    assert_eq!(transport.request_count(), 1, "the same secret isn't sent again");
    assert!((2..=6).contains(&world.asked()), "{}", world.asked());
    world.keep(Some("two"));
    advance(SECOND).await;
    assert_eq!(token(&source).await, "t1");
    assert_eq!(transport.request_count(), 2);
}

// Several secrets, all of them refused: none is sent again for the sake of another.
#[tokio::test(start_paused = true)]
async fn refused_secrets_are_not_tried_in_turn() {
    let world = World::new("one");
    let transport = world.transport();
    let source = world.source(&transport);
    assert_eq!(token(&source).await, "t1");
    world.accept(&[]);
    advance(541 * SECOND).await;
    for secret in ["two", "three"] {
        world.keep(Some(secret));
        for _ in 0..8 {
            source.token().await.unwrap_err();
            advance(SECOND).await;
        }
    }
    // "two" and "one" at first, "three" when it came, and one attempt after the rest of ten seconds.
    let sent = transport.request_count() - 1;
    assert!((3..=5).contains(&sent), "{sent}");
}

// A keeper that has another secret each time: so many are worth a request, and no more.
#[tokio::test(start_paused = true)]
async fn a_fetch_tries_three_secrets_at_most() {
    struct Fickle(AtomicUsize);
    impl SecretProvider for Fickle {
        fn secret(&self) -> SecretFuture<'_> {
            let n = self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move { Ok(Secret::new(format!("secret {n}"))) })
        }
    }
    let transport = ScriptedTransport::from_fn(|_| refused(401, "invalid_client"));
    let auth = ClientAuth::basic("me", Fickle(AtomicUsize::new(0)));
    let grant = Grant::endpoint("https://as.test/token", auth).build().unwrap();
    client(&transport).token(&grant).await.unwrap_err();
    assert_eq!(transport.request_count(), 3);
}

// Three refused secrets are remembered, while there is no token: the fourth that was refused makes
// room for the first, which may be the right one by now.
#[tokio::test(start_paused = true)]
async fn a_secret_that_is_put_back_after_three_others_is_tried_again() {
    let world = World::new("one");
    world.accept(&[]);
    let transport = world.transport();
    let source = world.source(&transport);
    for (kept, sent) in [
        ("one", 1),
        ("two", 2),
        ("three", 3),
        ("one", 3),
        ("two", 3),
        ("three", 3),
        ("four", 4),
        ("two", 4),
        ("three", 4),
        ("one", 5),
        ("three", 5),
        ("four", 5),
        ("two", 6),
    ] {
        world.keep(Some(kept));
        source.token().await.unwrap_err();
        assert_eq!(transport.request_count(), sent, "{kept}");
        advance(SECOND).await;
    }
    world.keep(Some("three"));
    world.accept(&["three"]);
    assert_eq!(token(&source).await, "t1");
}

// While a token serves, nobody notices.
#[tokio::test(start_paused = true)]
async fn a_rotation_between_soft_and_hard_expiry_is_not_noticed() {
    let world = World::new("one");
    let transport = world.transport();
    let source = world.source(&transport);
    assert_eq!(token(&source).await, "t1");
    advance(481 * SECOND).await;
    world.accept(&["two"]);
    for second in 0..70 {
        if second == 30 {
            world.keep(Some("two"));
        }
        token(&source).await;
        advance(SECOND).await;
        settle().await;
    }
    assert_eq!(token(&source).await, "t2");
}

#[tokio::test(start_paused = true)]
async fn a_keeper_that_is_away_is_no_matter_once_it_has_answered() {
    let world = World::new("one");
    let transport = world.transport();
    let source = world.source(&transport);
    world.keep(None);
    let error = source.token().await.unwrap_err();
    assert_eq!(*error.kind(), TokenErrorKind::Credentials(SecretErrorKind::Unavailable));
    assert!(!error.is_permanent());
    assert_eq!(transport.request_count(), 0);
    world.keep(Some("one"));
    advance(2 * SECOND).await;
    assert_eq!(token(&source).await, "t1");
    world.keep(None);
    advance(541 * SECOND).await;
    assert_eq!(token(&source).await, "t2");
}

struct Hanging;

impl SecretProvider for Hanging {
    fn secret(&self) -> SecretFuture<'_> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_keeper_that_hangs_is_waited_for_only_so_long() {
    let auth = ClientAuth::basic("me", Hanging);
    let grant = Grant::endpoint("https://as.test/token", auth).build().unwrap();
    let started = tokio::time::Instant::now();
    let error = client(&counting(600)).token(&grant).await.unwrap_err();
    assert_eq!(*error.kind(), TokenErrorKind::Credentials(SecretErrorKind::Unavailable));
    assert!(started.elapsed() <= 5 * SECOND);
}

// T16: keys rotate in the same way; as JWKs, they bring their `kid` along.
#[tokio::test(start_paused = true)]
async fn t16_a_private_key_can_be_replaced() {
    let world = World::default();
    world.keep(Some(include_str!("keys/p256.jwk.json")));
    let transport = counting(600);
    let auth =
        ClientAuth::private_key_jwt("me", Assertion::new(AssertionAlgorithm::ES256, world.clone()));
    let grant = Grant::endpoint("https://as.test/token", auth).issuer("https://as.test");
    let source = client(&transport).source(&grant.build().unwrap());
    token(&source).await;
    let rotated =
        include_str!("keys/p256.jwk.json").replace(r#""kid": "p256""#, r#""kid": "next""#);
    world.keep(Some(rotated.leak()));
    advance(541 * SECOND).await;
    token(&source).await;
    let kids: Vec<String> = transport
        .requests()
        .iter()
        .map(|request| {
            let assertion = form(request)["client_assertion"].clone();
            let header = assertion.split('.').next().unwrap();
            let header = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(header).unwrap();
            let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
            header["kid"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(kids, ["p256", "next"]);
    // One that is no key is no better than one that the server refuses: the last good one serves.
    world.keep(Some("nonsense"));
    advance(541 * SECOND).await;
    assert_eq!(token(&source).await, "t3");
    let auth = ClientAuth::private_key_jwt("me", Assertion::new(AssertionAlgorithm::ES256, world));
    let grant = Grant::endpoint("https://as.test/token", auth).issuer("https://as.test");
    let error = client(&transport).token(&grant.build().unwrap()).await.unwrap_err();
    assert_eq!(*error.kind(), TokenErrorKind::Credentials(SecretErrorKind::Malformed));
    assert!(error.is_permanent());
    assert_eq!(transport.request_count(), 3);
}

// FC14: with a wrong secret, neither the server nor the provider is asked again and again.
#[tokio::test(start_paused = true)]
async fn fc14_with_a_wrong_secret_the_provider_is_asked_ever_more_seldom() {
    let world = World::new("right");
    world.keep(Some("wrong"));
    let transport = world.transport();
    let source = world.source(&transport);
    for _ in 0..600 {
        source.token().await.unwrap_err();
        advance(SECOND).await;
        settle().await;
    }
    assert!((3..=60).contains(&world.asked()), "{}", world.asked());
    assert!((2..=20).contains(&transport.request_count()), "{}", transport.request_count());
    // The good case: the right one is found soon after it is there.
    world.keep(Some("right"));
    let mut seconds = 0;
    while source.token().await.is_err() {
        seconds += 1;
        advance(SECOND).await;
        settle().await;
    }
    assert!(seconds <= 32, "{seconds}");
}
