//! Tokens on behalf of callers, by exchange and as assertions: what is sent, kept, refused and answered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_bearer::client::{
    AnswerFault, Assertion, AssertionAlgorithm, CallerToken, ClientAuth, ErrorCode, Grant,
    GrantBuilder, OnBehalf, OnBehalfError, OnBehalfOf, Token, TokenClient, TokenErrorKind,
    TokenExchange, TokenType, WorkloadToken,
};
use tower_bearer::jwks::Jwks;
use tower_bearer::testing::{
    Endpoint, ManualClock, ScriptedAnswer, ScriptedTransport, TestClient, TestIssuer,
    TestIssuerBuilder,
};
use tower_bearer::transport::TransportErrorKind;
use tower_bearer::{BearerAuthLayer, Secret, Validator};

use crate::support::*;

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// An issuer, and a service that its tokens are for.
struct World {
    issuer: TestIssuer,
    clock: ManualClock,
    layer: BearerAuthLayer,
}

impl World {
    async fn new() -> Self {
        Self::of(TestIssuer::builder()).await
    }

    async fn of(issuer: TestIssuerBuilder) -> Self {
        let clock = running_clock();
        let issuer = issuer
            .clock(clock.clone())
            .client(TestClient::secret(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET));
        let issuer = issuer.start().await.unwrap();
        let keys = Jwks::discover(issuer.issuer()).transport(issuer.transport());
        let validator = Validator::builder(issuer.issuer(), issuer.audience())
            .keys(keys.clock(clock.clone()))
            .clock(clock.clone())
            .leeway(Duration::ZERO)
            .build()
            .unwrap();
        validator.ready(10 * SECOND).await.unwrap();
        let layer = BearerAuthLayer::new(validator).keep_for_exchange();
        Self { issuer, clock, layer }
    }

    /// Calls the service with a token, and returns what it may use it for.
    async fn caller(&self, token: &str) -> CallerToken {
        let seen = Arc::new(Mutex::new(None));
        let place = Arc::clone(&seen);
        let service = self.layer.layer(service_fn(move |request: Request<String>| {
            *place.lock().unwrap() = CallerToken::from_extensions(request.extensions());
            async { Ok::<_, std::io::Error>(Response::new(String::new())) }
        }));
        let request = Request::get("/").header("authorization", format!("Bearer {token}"));
        let answer = service.oneshot(request.body(String::new()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let seen = seen.lock().unwrap().take();
        seen.unwrap()
    }

    async fn alice(&self) -> (String, CallerToken) {
        let token = self.issuer.token().subject("alice").sign();
        let caller = self.caller(&token).await;
        (token, caller)
    }

    fn on_behalf(
        &self,
        transport: &ScriptedTransport,
        grant: GrantBuilder,
        how: OnBehalfOf,
    ) -> OnBehalf {
        let client = TokenClient::builder().transport(transport.clone());
        client.clock(self.clock.clone()).build().unwrap().on_behalf(grant, how).unwrap()
    }

    fn exchange(&self, transport: &ScriptedTransport) -> OnBehalf {
        self.on_behalf(transport, scripted_grant(), by_exchange())
    }
}

fn by_exchange() -> OnBehalfOf {
    OnBehalfOf::token_exchange(TokenExchange::new())
}

fn exchanged(token: &str, expires_in: u64) -> ScriptedAnswer {
    answer(json!({
        "access_token": token,
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": expires_in,
    }))
}

fn answer(json: Value) -> ScriptedAnswer {
    ScriptedAnswer::json(json.to_string())
}

fn always(answer: impl Fn() -> ScriptedAnswer + Send + Sync + 'static) -> ScriptedTransport {
    ScriptedTransport::from_fn(move |_| answer())
}

/// The parameters of a request, decoded, in their order.
fn sent(request: &Request<bytes::Bytes>) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text).decode_utf8().unwrap().into_owned()
    };
    let body = str::from_utf8(request.body()).unwrap();
    let pairs = body.split('&').map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}

fn value<'a>(sent: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut values = sent.iter().filter(|(it, _)| it == name).map(|(_, value)| value.as_str());
    let value = values.next();
    assert_eq!(values.next(), None, "{name} is there twice");
    value
}

fn claims(jwt: &str) -> Value {
    let part = jwt.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

// TX1, TX2, TX3
#[tokio::test(start_paused = true)]
async fn tx1_tx2_tx3_an_exchange_is_asked_for_in_the_words_of_rfc_8693() {
    let world = World::new().await;
    let (token, caller) = world.alice().await;
    let transport = always(|| exchanged("t", 60));
    let usual = world.exchange(&transport);
    assert_eq!(usual.token(&caller).await.unwrap().expose_secret(), "t");
    let request = &transport.requests()[0];
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    };
    let grant = "urn:ietf:params:oauth:grant-type:token-exchange";
    let expected = pairs(&[
        ("grant_type", grant),
        ("subject_token", &token),
        ("subject_token_type", ACCESS_TOKEN),
    ]);
    assert_eq!(sent(request), expected);
    assert_eq!(request.headers()["authorization"], "Basic bWU6czNjcmV0");

    let actor = Secret::new(jwt("orders"));
    let actor_sent = jwt("orders");
    let actor = WorkloadToken::from_fn(move || {
        let actor = actor.clone();
        async move { Ok(actor) }
    });
    let jwt = "urn:ietf:params:oauth:token-type:jwt";
    let full = TokenExchange::new()
        .subject_token_type(TokenType::Jwt)
        .requested_token_type(TokenType::AccessToken)
        .actor(actor, TokenType::Jwt);
    let builder = scripted_grant().scope("a b").resource("https://o.test/").resource("urn:p");
    let builder = builder.audience("orders").audience("stock");
    let full = world.on_behalf(&transport, builder, OnBehalfOf::token_exchange(full));
    full.token(&caller).await.unwrap();
    let expected = pairs(&[
        ("grant_type", grant),
        ("subject_token", &token),
        ("subject_token_type", jwt),
        ("requested_token_type", ACCESS_TOKEN),
        ("actor_token", &actor_sent),
        ("actor_token_type", jwt),
        ("scope", "a b"),
        ("resource", "https://o.test/"),
        ("resource", "urn:p"),
        ("audience", "orders"),
        ("audience", "stock"),
    ]);
    assert_eq!(sent(&transport.requests()[1]), expected);
}

/// A token of some platform.
fn jwt(subject: &str) -> String {
    let claims = json!({ "iss": "https://k8s.test", "sub": subject, "exp": 1_900_000_000_u64 });
    format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()))
}

// TX3: other grants have one audience at most, and nobody sets what belongs to the grant.
#[test]
fn tx3_what_belongs_to_the_exchange_is_set_by_its_own_methods() {
    let two = || scripted_grant().audience("a").audience("b");
    assert!(two().build().unwrap_err().to_string().contains("token exchange"));
    assert!(two().on_behalf(by_exchange()).is_ok());
    assert!(two().on_behalf(OnBehalfOf::jwt_bearer()).is_err());
    for name in ["subject_token", "actor_token_type", "requested_token_type", "assertion"] {
        let error = scripted_grant().parameter(name, "x").on_behalf(by_exchange()).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

// TX4
#[tokio::test(start_paused = true)]
async fn tx4_only_what_was_asked_for_and_is_a_bearer_token_is_used() {
    let world = World::new().await;
    let (_, caller) = world.alice().await;
    let jwt = "urn:ietf:params:oauth:token-type:jwt";
    let id_token = "urn:ietf:params:oauth:token-type:id_token";
    let get = async |how: TokenExchange, issued: Option<&str>, token_type: &str| {
        let mut body = json!({ "access_token": "t", "token_type": token_type, "expires_in": 60 });
        if let Some(issued) = issued {
            body["issued_token_type"] = issued.into();
        }
        let transport = always(move || answer(body.clone()));
        let how = OnBehalfOf::token_exchange(how);
        let token = world.on_behalf(&transport, scripted_grant(), how).token(&caller).await;
        token.map(drop).map_err(|error| {
            assert_eq!(error.status(), StatusCode::SERVICE_UNAVAILABLE);
            error.token_error().kind().clone()
        })
    };
    let any = TokenExchange::new;
    let a_jwt = || any().requested_token_type(TokenType::Jwt);
    assert_eq!(get(any(), Some(ACCESS_TOKEN), "bearer").await, Ok(()));
    assert_eq!(get(any(), Some(jwt), "Bearer").await, Ok(()));
    assert_eq!(get(a_jwt(), Some(jwt), "Bearer").await, Ok(()));
    let fault = |fault| Err(TokenErrorKind::Answer(fault));
    assert_eq!(get(any(), None, "Bearer").await, fault(AnswerFault::NoIssuedTokenType));
    for (how, issued) in [(any(), id_token), (a_jwt(), ACCESS_TOKEN), (any(), "")] {
        assert_eq!(get(how, Some(issued), "Bearer").await, fault(AnswerFault::IssuedTokenType));
    }
    assert_eq!(get(any(), Some(ACCESS_TOKEN), "N_A").await, fault(AnswerFault::TokenType));
    assert!(scripted_grant().accept_token_type("N_A").on_behalf(by_exchange()).is_err());
}

#[tokio::test(start_paused = true)]
async fn tx4_a_wider_scope_is_refused_unless_the_operator_says_otherwise() {
    let world = World::new().await;
    let (_, caller) = world.alice().await;
    let get = async |grant: GrantBuilder, scope: &'static str| {
        let transport = always(move || {
            answer(json!({
                "access_token": "t",
                "issued_token_type": ACCESS_TOKEN,
                "token_type": "Bearer",
                "expires_in": 60,
                "scope": scope,
            }))
        });
        let token = world.on_behalf(&transport, grant, by_exchange()).token(&caller).await;
        token.map(drop).map_err(|error| error.token_error().kind().clone())
    };
    let wider = Err(TokenErrorKind::Answer(AnswerFault::WiderScope));
    assert_eq!(get(scripted_grant().scope("a b"), "b a").await, Ok(()));
    assert_eq!(get(scripted_grant().scope("a b"), "a").await, Ok(()));
    assert_eq!(get(scripted_grant().scope("a"), "a admin").await, wider);
    let accepting = scripted_grant().scope("a").dangerous_accept_wider_scope();
    assert_eq!(get(accepting, "a admin").await, Ok(()));
    // What wasn't asked for in words can't be too much.
    assert_eq!(get(scripted_grant(), "a").await, Ok(()));
}

// TX6
#[tokio::test(start_paused = true)]
async fn tx6_one_exchange_serves_all_requests_with_the_same_token() {
    let world = World::new().await;
    let transport = counted();
    let orders = world.exchange(&transport);
    let (token, alice) = world.alice().await;
    let calls = (0..50).map(|_| {
        let (orders, alice) = (orders.clone(), alice.clone());
        tokio::spawn(async move { orders.token(&alice).await.unwrap().expose_secret().to_owned() })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap(), "t1");
    }
    // Another request with that token is another proof of the same.
    let again = world.caller(&token).await;
    assert_eq!(orders.token(&again).await.unwrap().expose_secret(), "t1");
    // Another token of the same user isn't the same.
    let (_, other) = world.alice().await;
    assert_eq!(orders.token(&other).await.unwrap().expose_secret(), "t2");
    // Nor is another target.
    let stock = world.on_behalf(&transport, scripted_grant().audience("stock"), by_exchange());
    assert_eq!(stock.token(&alice).await.unwrap().expose_secret(), "t3");
    assert_eq!((orders.cached_callers(), stock.cached_callers()), (2, 1));
    assert_eq!(transport.requests().len(), 3);
}

/// Grants `t1`, `t2` and so on, for an hour.
fn counted() -> ScriptedTransport {
    let count = std::sync::atomic::AtomicU64::new(0);
    always(move || {
        let n = count.fetch_add(1, Ordering::Relaxed) + 1;
        exchanged(&format!("t{n}"), 3_600)
    })
}

// TX6
#[tokio::test(start_paused = true)]
async fn tx6_a_token_serves_no_longer_than_the_callers_own() {
    let world = World::new().await;
    let transport = counted();
    let orders = world.exchange(&transport);
    let token = world.issuer.token().subject("alice").expires_in(100 * SECOND).sign();
    let caller = world.caller(&token).await;
    let got = orders.token(&caller).await.unwrap();
    assert!(got.remaining() <= 100 * SECOND, "{:?}", got.remaining());
    // Until shortly before, nothing else is asked for: it would serve no longer.
    tokio::time::advance(89 * SECOND).await;
    assert_eq!(orders.token(&caller).await.unwrap().expose_secret(), "t1");
    settle().await;
    assert_eq!(transport.requests().len(), 1);
    // A handler that still has the caller's token gets nothing more for it.
    tokio::time::advance(11 * SECOND).await;
    let error = orders.token(&caller).await.unwrap_err();
    assert_eq!(*error.token_error().kind(), TokenErrorKind::CallerExpired);
    assert_eq!(error.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(transport.requests().len(), 1);
}

// TX6: as after a suspended machine wakes, during which only the wall clock went on.
#[tokio::test(start_paused = true)]
async fn tx6_a_cached_token_is_not_given_for_a_caller_whose_own_has_expired() {
    let world = World::new().await;
    let transport = counted();
    let orders = world.exchange(&transport);
    let token = world.issuer.token().subject("alice").expires_in(100 * SECOND).sign();
    let caller = world.caller(&token).await;
    orders.token(&caller).await.unwrap();
    world.clock.advance(99 * SECOND);
    assert_eq!(orders.token(&caller).await.unwrap().expose_secret(), "t1");
    world.clock.advance(SECOND);
    let error = orders.token(&caller).await.unwrap_err();
    assert_eq!(*error.token_error().kind(), TokenErrorKind::CallerExpired);
    assert_eq!(transport.requests().len(), 1);
}

// TX6: the shorter of the two.
#[tokio::test(start_paused = true)]
async fn tx6_a_token_that_ends_before_the_callers_is_replaced() {
    let world = World::new().await;
    let transport = always(|| exchanged("short", 60));
    let orders = world.exchange(&transport);
    let (_, caller) = world.alice().await;
    for _ in 0..5 {
        orders.token(&caller).await.unwrap();
        settle().await;
        tokio::time::advance(60 * SECOND).await;
    }
    assert_eq!(transport.requests().len(), 5);
}

// TX6, TX7
#[tokio::test(start_paused = true)]
async fn tx6_tx7_a_refused_caller_is_asked_for_again_after_five_seconds() {
    let world = World::new().await;
    let transport = always(|| refused(400, "invalid_grant"));
    let orders = world.exchange(&transport);
    let (_, alice) = world.alice().await;
    let (_, bob) = world.alice().await;
    for asked in [1, 2, 3, 4] {
        for _ in 0..3 {
            orders.token(&alice).await.unwrap_err();
        }
        assert_eq!(transport.requests().len(), asked);
        tokio::time::advance(5 * SECOND).await;
    }
    // It is nobody else's refusal.
    orders.token(&bob).await.unwrap_err();
    assert_eq!(transport.requests().len(), 5);
    orders.reset();
    orders.token(&bob).await.unwrap_err();
    assert_eq!(transport.requests().len(), 6);
}

// TX7, TX13
#[tokio::test(start_paused = true)]
async fn tx7_tx13_the_handler_is_told_whose_fault_it_is() {
    let world = World::new().await;
    let (_, caller) = world.alice().await;
    let refusal = async |status: u16, code: &'static str| {
        let transport = always(move || refused(status, code));
        let error = world.exchange(&transport).token(&caller).await.unwrap_err();
        for request in transport.requests() {
            // Never instead: what the service itself may have.
            let grant = sent(&request)[0].1.clone();
            assert!(grant.ends_with(":token-exchange"), "{grant}");
        }
        error
    };
    for (status, code, answer) in [
        (400, "invalid_grant", 401),
        (401, "invalid_grant", 401),
        (400, "invalid_request", 401),
        (401, "invalid_request", 401),
        (401, "access_denied", 403),
        (400, "invalid_target", 403),
        (400, "invalid_scope", 403),
        (403, "access_denied", 403),
        (400, "interaction_required", 403),
        (400, "consent_required", 403),
        (401, "invalid_client", 503),
        (400, "unauthorized_client", 503),
        (400, "unsupported_grant_type", 503),
        (400, "something_else", 503),
        (500, "invalid_grant", 503),
    ] {
        let error = refusal(status, code).await;
        assert_eq!(error.status().as_u16(), answer, "{code}: {error:?}");
    }
    let named = refusal(400, "invalid_target").await;
    let kind = TokenErrorKind::Refused(ErrorCode::InvalidTarget);
    assert_eq!(*named.token_error().kind(), kind);
    assert!(matches!(named, OnBehalfError::Forbidden(_)));
}

// TX7: a client that isn't known isn't tried for every caller.
#[tokio::test(start_paused = true)]
async fn tx7_what_the_client_is_refused_for_stands_for_all_callers() {
    let world = World::new().await;
    let transport = always(|| refused(401, "invalid_client"));
    let orders = world.exchange(&transport);
    for _ in 0..20 {
        let (_, caller) = world.alice().await;
        orders.token(&caller).await.unwrap_err();
    }
    assert_eq!(transport.requests().len(), 1);
    tokio::time::advance(5 * SECOND).await;
    let (_, caller) = world.alice().await;
    orders.token(&caller).await.unwrap_err();
    assert_eq!(transport.requests().len(), 2);
}

// TX7: who has a token is given it, whatever another caller's fetch has shown.
#[tokio::test(start_paused = true)]
async fn tx7_a_token_that_serves_is_given_while_the_client_is_refused() {
    let world = World::new().await;
    for refused_meanwhile in [true, false] {
        let transport = ScriptedTransport::new();
        transport.push(exchanged("t1", 100));
        let orders = world.exchange(&transport);
        let (_, alice) = world.alice().await;
        orders.token(&alice).await.unwrap();
        // It is due, and serves for some seconds more.
        tokio::time::advance(85 * SECOND).await;
        if refused_meanwhile {
            transport.push(refused(401, "invalid_client"));
            let (_, bob) = world.alice().await;
            assert_eq!(orders.token(&bob).await.unwrap_err().status(), 503);
        }
        transport.push(exchanged("t2", 100));
        assert_eq!(orders.token(&alice).await.unwrap().expose_secret(), "t1");
        settle().await;
        // It is replaced only if that could succeed.
        assert_eq!(transport.requests().len(), 2);
        if refused_meanwhile {
            let (_, carol) = world.alice().await;
            assert_eq!(orders.token(&carol).await.unwrap_err().status(), 503);
            tokio::time::advance(5 * SECOND).await;
            assert_eq!(transport.requests().len(), 2);
            // It serves no more, and the refusal is over.
            tokio::time::advance(SECOND).await;
        }
        assert_eq!(orders.token(&alice).await.unwrap().expose_secret(), "t2");
    }
}

// TX7: as of Entra's clients in a tenant that has disabled them.
#[tokio::test(start_paused = true)]
async fn tx7_a_client_that_one_caller_may_not_use_serves_the_others() {
    let world = World::new().await;
    let (token, alice) = world.alice().await;
    let (_, bob) = world.alice().await;
    let transport = ScriptedTransport::from_fn(move |request| {
        match value(&sent(request), "subject_token") == Some(&*token) {
            true => refused(400, "unauthorized_client"),
            false => exchanged("t", 60),
        }
    });
    let orders = world.exchange(&transport);
    for asked in [1, 2] {
        for _ in 0..3 {
            assert_eq!(orders.token(&alice).await.unwrap_err().status(), 503);
        }
        assert_eq!(transport.requests().len(), asked);
        tokio::time::advance(5 * SECOND).await;
    }
    orders.token(&alice).await.unwrap_err();
    assert_eq!(orders.token(&bob).await.unwrap().expose_secret(), "t");
}

// TX7: what an operator has put right isn't refused by what began before.
#[tokio::test(start_paused = true)]
async fn tx7_a_fetch_from_before_a_reset_refuses_nobody_after_it() {
    let world = World::new().await;
    for reset in [true, false] {
        let transport = ScriptedTransport::new();
        let (answer, gate) = refused(401, "invalid_client").gated();
        transport.push(answer);
        transport.push(exchanged("t", 60));
        let orders = world.exchange(&transport);
        let (_, alice) = world.alice().await;
        let (_, bob) = world.alice().await;
        let earlier = {
            let (orders, alice) = (orders.clone(), alice.clone());
            tokio::spawn(async move { orders.token(&alice).await })
        };
        settle().await;
        if reset {
            orders.reset();
        }
        gate.open();
        assert_eq!(earlier.await.unwrap().unwrap_err().status(), 503);
        assert_eq!(orders.token(&bob).await.is_ok(), reset);
    }
}

/// A server that can fall silent.
fn silenced(silent: &Arc<AtomicBool>) -> ScriptedTransport {
    let silent = Arc::clone(silent);
    always(move || match silent.load(Ordering::Relaxed) {
        true => ScriptedAnswer::error(TransportErrorKind::Connect),
        false => exchanged("t", 600),
    })
}

// TX15: an outage isn't multiplied by the number of callers.
#[tokio::test(start_paused = true)]
async fn tx15_a_silent_server_is_asked_once_a_second_for_all_callers() {
    let world = World::new().await;
    let silent = Arc::new(AtomicBool::new(false));
    let transport = silenced(&silent);
    let orders = world.exchange(&transport);
    let (_, alice) = world.alice().await;
    orders.token(&alice).await.unwrap();
    silent.store(true, Ordering::Relaxed);
    let fail = async || {
        let (_, caller) = world.alice().await;
        let began = tokio::time::Instant::now();
        (orders.token(&caller).await.unwrap_err(), began.elapsed())
    };
    for _ in 0..2 {
        fail().await;
    }
    assert_eq!(transport.requests().len(), 1 + 5, "five in a row");
    for _ in 0..50 {
        let (error, took) = fail().await;
        assert_eq!((error.status(), took), (StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO));
        let kind = TokenErrorKind::Transport(TransportErrorKind::Connect);
        assert_eq!(*error.token_error().kind(), kind);
        assert!(error.retry_after().is_some_and(|wait| wait <= SECOND * 5 / 4));
    }
    assert_eq!(transport.requests().len(), 1 + 5);
    // Who has a token doesn't notice.
    assert_eq!(orders.token(&alice).await.unwrap().expose_secret(), "t");
    for probes in 1..4 {
        tokio::time::advance(SECOND * 5 / 4).await;
        for _ in 0..3 {
            fail().await;
        }
        assert_eq!(transport.requests().len(), 1 + 5 + probes);
    }
    // It is back: the next probe ends the pause for all.
    silent.store(false, Ordering::Relaxed);
    tokio::time::advance(SECOND * 5 / 4).await;
    for _ in 0..10 {
        let (_, caller) = world.alice().await;
        orders.token(&caller).await.unwrap();
    }
    // So does an operator.
    silent.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        fail().await;
    }
    silent.store(false, Ordering::Relaxed);
    fail().await;
    orders.reset();
    let (_, caller) = world.alice().await;
    orders.token(&caller).await.unwrap();
}

// TX6: nor is a token given that comes after the caller's has expired.
#[tokio::test(start_paused = true)]
async fn tx6_a_token_that_comes_too_late_is_not_given() {
    let world = World::new().await;
    for (delay, expected) in [(3, Some(TokenErrorKind::CallerExpired)), (1, None)] {
        let orders = world.exchange(&always(move || exchanged("t", 3_600).delay(delay * SECOND)));
        let token = world.issuer.token().subject("alice").expires_in(2 * SECOND).sign();
        let caller = world.caller(&token).await;
        let error = orders.token(&caller).await.err();
        assert_eq!(error.map(|error| error.token_error().kind().clone()), expected);
    }
}

// TX15: who was turned away for others' sake is served as soon as they are.
#[tokio::test(start_paused = true)]
async fn tx15_a_caller_for_whom_nothing_was_sent_is_served_when_the_server_is_back() {
    let world = World::new().await;
    let silent = Arc::new(AtomicBool::new(true));
    let transport = silenced(&silent);
    let orders = world.exchange(&transport);
    let (_, bob) = world.alice().await;
    let others = async || {
        let (_, caller) = world.alice().await;
        orders.token(&caller).await.is_ok()
    };
    for _ in 0..2 {
        assert!(!others().await);
    }
    for _ in 0..30 {
        tokio::time::advance(SECOND * 5 / 4).await;
        assert!(!others().await);
        let sent = transport.requests().len();
        let error = orders.token(&bob).await.unwrap_err();
        assert!(error.retry_after().is_some_and(|wait| wait <= SECOND * 5 / 4));
        assert_eq!(transport.requests().len(), sent);
    }
    silent.store(false, Ordering::Relaxed);
    tokio::time::advance(SECOND * 5 / 4).await;
    assert!(others().await);
    assert!(orders.token(&bob).await.is_ok());
}

// TX15: those that wait for their turn don't wait for a server that hangs.
#[tokio::test(start_paused = true)]
async fn tx15_a_server_that_hangs_is_waited_for_once_by_all() {
    let world = World::new().await;
    let transport = always(ScriptedAnswer::never);
    let orders = world.exchange(&transport);
    let mut calls = Vec::new();
    for _ in 0..200 {
        let (_, caller) = world.alice().await;
        let orders = orders.clone();
        calls.push(tokio::spawn(async move { orders.token(&caller).await }));
    }
    let began = tokio::time::Instant::now();
    for call in calls {
        call.await.unwrap().unwrap_err();
    }
    // One exchange may take five seconds.
    assert!(began.elapsed() < 7 * SECOND, "{:?}", began.elapsed());
    assert!(transport.requests().len() < 40, "{}", transport.requests().len());
}

// TX15: answers about callers aren't silence, however many there are, and few of them are logged.
#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn tx15_refusals_of_callers_do_not_fill_the_log_and_stop_no_other() {
    let world = World::new().await;
    let transport = always(|| refused(400, "invalid_grant"));
    let orders = world.exchange(&transport);
    let fail = async || {
        let (_, caller) = world.alice().await;
        assert_eq!(orders.token(&caller).await.unwrap_err().status(), 401);
    };
    let (log, guard) = Log::of_this_thread(LevelFilter::WARN);
    for _ in 0..20 {
        fail().await;
    }
    let failed = |log: String| {
        let lines = log.lines().filter(|line| line.contains("client_retrieval_failed"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(failed(log.take()).len(), 3);
    tokio::time::advance(60 * SECOND).await;
    fail().await;
    drop(guard);
    let later = failed(log.take());
    assert_eq!(later.len(), 1);
    assert!(later[0].contains("times=18"), "{later:?}");
    assert_eq!(transport.requests().len(), 21);
}

// TX14: a token that the target refuses is replaced, for that caller and not again and again.
#[tokio::test(start_paused = true)]
async fn tx14_a_token_that_is_refused_is_replaced_for_its_caller() {
    let world = World::new().await;
    let transport = counted();
    let orders = world.exchange(&transport);
    let (_, alice) = world.alice().await;
    let (_, bob) = world.alice().await;
    let text = |token: Option<Token>| token.map(|token| token.expose_secret().to_owned());
    let first = orders.token(&alice).await.unwrap();
    let of_bob = orders.token(&bob).await.unwrap();
    let renewals = (0..5).map(|_| {
        let (orders, alice, first) = (orders.clone(), alice.clone(), first.clone());
        tokio::spawn(async move { orders.renew(&alice, &first, ORIGIN).await })
    });
    for renewal in renewals.collect::<Vec<_>>() {
        assert_eq!(text(renewal.await.unwrap()).as_deref(), Some("t3"));
    }
    assert_eq!(transport.requests().len(), 3, "one for all");
    let second = orders.token(&alice).await.unwrap();
    assert_eq!(second.expose_secret(), "t3");
    assert_eq!(orders.token(&bob).await.unwrap().expose_secret(), "t2");
    // The new one is refused too, so the token isn't the cause: the rest of a URL makes no difference.
    assert_eq!(text(orders.renew(&alice, &second, &format!("{ORIGIN}/x")).await), None);
    assert_eq!(transport.requests().len(), 3);
    // Nobody gets another caller's token for his own.
    assert_eq!(text(orders.renew(&alice, &of_bob, ORIGIN).await).as_deref(), Some("t3"));
    tokio::time::advance(30 * SECOND).await;
    assert_eq!(text(orders.renew(&alice, &second, ORIGIN).await).as_deref(), Some("t4"));
}

// TX14: where there is no other, the refused one stays: another target may accept it.
#[tokio::test(start_paused = true)]
async fn tx14_a_refused_token_without_another_stays() {
    let world = World::new().await;
    let transport = ScriptedTransport::new();
    transport.push(exchanged("t1", 600));
    transport.push(exchanged("t1", 600));
    transport.push(refused(401, "invalid_client"));
    let orders = world.exchange(&transport);
    let token = world.issuer.token().subject("alice").expires_in(100 * SECOND).sign();
    let alice = world.caller(&token).await;
    let token = orders.token(&alice).await.unwrap();
    // The same again is no other.
    assert!(orders.renew(&alice, &token, "https://one.test").await.is_none());
    assert!(orders.renew(&alice, &token, "https://two.test").await.is_none());
    assert_eq!(transport.requests().len(), 3);
    assert_eq!(orders.token(&alice).await.unwrap().expose_secret(), "t1");
    // While the client is refused, nobody asks.
    assert!(orders.renew(&alice, &token, "https://three.test").await.is_none());
    // Nor for a caller whose own token has expired.
    world.clock.advance(100 * SECOND);
    tokio::time::advance(60 * SECOND).await;
    assert!(orders.renew(&alice, &token, "https://four.test").await.is_none());
    assert_eq!(transport.requests().len(), 3);
}

// TX7: nothing of the caller's token is in an error, whatever the server repeats.
#[tokio::test(start_paused = true)]
async fn tx7_the_callers_token_is_in_no_error_and_no_log() {
    let world = World::new().await;
    let (token, caller) = world.alice().await;
    let repeated = token.clone();
    let transport = always(move || {
        let body =
            json!({ "error": "invalid_grant", "error_description": format!("bad {repeated}") });
        let mut response = Response::new(bytes::Bytes::from(body.to_string()));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        ScriptedAnswer::new(response)
    });
    let orders = world.exchange(&transport);
    #[cfg(feature = "tracing")]
    let (log, guard) = Log::of_this_thread(LevelFilter::TRACE);
    let error = orders.token(&caller).await.unwrap_err();
    #[cfg(feature = "tracing")]
    drop(guard);
    let mut printed = format!("{error:?} {error} {caller:?} {orders:?} {:?}", error.token_error());
    #[cfg(feature = "tracing")]
    {
        assert!(log.text().contains("client_retrieval_failed"));
        printed.push_str(&log.text());
    }
    for part in token.split('.') {
        assert!(!printed.contains(part), "{printed}");
    }
    assert!(!printed.contains("alice"), "{printed}");
}

// TX9: the client's own assertion.
#[tokio::test(start_paused = true)]
async fn tx9_a_signed_assertion_is_the_grant() {
    let key = include_str!("../../fixtures/keys/p256.pem");
    let assertion = || Assertion::new(AssertionAlgorithm::ES256, key).key_id("k");
    let transport = counting(60);
    let grant = |assertion: Assertion| {
        let auth = ClientAuth::none("billing");
        Grant::endpoint("https://as.test/token", auth).jwt_bearer(assertion)
    };
    // The audience is the issuer, as for authentication.
    assert!(grant(assertion()).build().unwrap_err().to_string().contains(".issuer("));
    let unnamed = Assertion::new(AssertionAlgorithm::ES256, key);
    let named = grant(unnamed).issuer("https://as.test").build();
    assert!(named.unwrap_err().to_string().contains("key_id"));
    let grant = |assertion| grant(assertion).issuer("https://as.test").scope("a").build().unwrap();
    let client = TokenClient::builder().transport(transport.clone()).clock(running_clock());
    let client = client.build().unwrap();
    client.token(&grant(assertion())).await.unwrap();
    client.token(&grant(assertion().subject("alice"))).await.unwrap();
    client.token(&grant(assertion().subject("alice"))).await.unwrap();
    let requests = transport.requests();
    assert_eq!(requests.len(), 2, "equal grants share their token");
    for (request, subject) in requests.iter().zip(["billing", "alice"]) {
        let sent = sent(request);
        let grant_type = "urn:ietf:params:oauth:grant-type:jwt-bearer";
        assert_eq!(value(&sent, "grant_type"), Some(grant_type));
        assert_eq!(value(&sent, "client_id"), Some("billing"));
        assert_eq!(value(&sent, "scope"), Some("a"));
        assert_eq!(value(&sent, "client_assertion"), None);
        let assertion = value(&sent, "assertion").unwrap();
        let claims = claims(assertion);
        assert_eq!((&claims["iss"], &claims["sub"]), (&json!("billing"), &json!(subject)));
        assert_eq!(claims["aud"], "https://as.test");
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
        let header = assertion.split('.').next().unwrap();
        let header = BASE64_URL_SAFE_NO_PAD.decode(header).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(header["typ"], "authorization-grant+jwt");
    }
}

// TX9, WI10: the platform's token as the assertion, without any client.
#[tokio::test(start_paused = true)]
async fn tx9_wi10_a_workloads_token_is_the_grant() {
    let transport = counting(60);
    let token = WorkloadToken::from_fn(|| async { Ok(Secret::new(jwt("billing"))) });
    let grant = Grant::endpoint("https://as.test/token", ClientAuth::none("mcp-client"))
        .resource("https://mcp.test/mcp")
        .jwt_bearer(token)
        .build()
        .unwrap();
    let client = TokenClient::builder().transport(transport.clone()).clock(running_clock());
    client.build().unwrap().token(&grant).await.unwrap();
    let sent = sent(&transport.requests()[0]);
    assert_eq!(value(&sent, "assertion"), Some(&*jwt("billing")));
    assert_eq!(value(&sent, "resource"), Some("https://mcp.test/mcp"));
    assert_eq!(value(&sent, "client_id"), Some("mcp-client"));
}

// TX10: the form of Entra ID's documentation.
#[tokio::test(start_paused = true)]
async fn tx10_entras_on_behalf_of() {
    let world = World::new().await;
    let (token, caller) = world.alice().await;
    let transport = always(|| {
        answer(json!({
            "token_type": "Bearer",
            "scope": "https://graph.microsoft.com/user.read",
            "expires_in": 3269,
            "ext_expires_in": 0,
            "access_token": "eyJ0eXAi.eyJh.c2ln",
            "refresh_token": "OAQABAAAAAABnfiG",
        }))
    });
    let grant = Grant::endpoint(
        "https://login.microsoftonline.com/t/oauth2/v2.0/token",
        ClientAuth::body("middle", "s3cret"),
    );
    let scope = "https://graph.microsoft.com/user.read";
    let graph = world.on_behalf(&transport, grant.scope(scope), OnBehalfOf::entra());
    assert_eq!(graph.token(&caller).await.unwrap().expose_secret(), "eyJ0eXAi.eyJh.c2ln");
    let sent = sent(&transport.requests()[0]);
    for (name, expected) in [
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("assertion", &*token),
        ("scope", scope),
        ("requested_token_use", "on_behalf_of"),
        ("client_id", "middle"),
        ("client_secret", "s3cret"),
    ] {
        assert_eq!(value(&sent, name), Some(expected), "{name}");
    }
    assert_eq!(sent.len(), 6);
}

#[test]
fn a_client_that_does_not_authenticate_has_no_credentials_of_its_own() {
    let grant = |auth| Grant::endpoint("https://as.test/token", auth).build();
    let error = grant(ClientAuth::none("me")).unwrap_err().to_string();
    assert!(error.contains("authenticates"), "{error}");
    assert!(grant(ClientAuth::basic("me", "s")).is_ok());
}

// TX5: with a server that checks it all.
#[tokio::test(start_paused = true)]
async fn tx5_the_embedded_issuer_exchanges_and_says_who_acts() {
    let world = World::new().await;
    let (token, caller) = world.alice().await;
    let client = TokenClient::builder().transport(world.issuer.transport());
    let client = client.clock(world.clock.clone()).build().unwrap();
    let grant = || {
        let grant = Grant::discover(world.issuer.issuer(), usual_auth()).allow_loopback_http();
        grant.audience("https://orders.test")
    };
    let orders = client.on_behalf(grant(), by_exchange()).unwrap();
    let got = orders.token(&caller).await.unwrap();
    let claims = claims(got.expose_secret());
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!("alice"), &json!("https://orders.test")));
    assert_eq!(claims["act"], json!({ "sub": TestIssuer::CLIENT_ID }));
    // TX8: the service that it is for reads it.
    let validator = Validator::builder(world.issuer.issuer(), "https://orders.test");
    let keys = Jwks::discover(world.issuer.issuer()).transport(world.issuer.transport());
    let validator = validator.keys(keys.clock(world.clock.clone())).clock(world.clock.clone());
    let validator = validator.build().unwrap();
    validator.ready(10 * SECOND).await.unwrap();
    let token_there = validator.validate(got.expose_secret()).await.unwrap();
    assert_eq!(token_there.actor().and_then(|it| it.subject()), Some(TestIssuer::CLIENT_ID));
    let by_assertion = client.on_behalf(grant(), OnBehalfOf::jwt_bearer()).unwrap();
    let asserted = by_assertion.token(&caller).await.unwrap();
    assert_eq!(self::claims(asserted.expose_secret())["sub"], "alice");
    // A revoked token, which this service doesn't know of, gets nothing more.
    world.issuer.revoke(&token);
    let other = client.on_behalf(grant().scope("a"), by_exchange()).unwrap();
    assert_eq!(other.token(&caller).await.unwrap_err().status(), StatusCode::UNAUTHORIZED);
    let last = world.issuer.last_request(Endpoint::Token).unwrap();
    assert_eq!(last.uri().path(), "/token");
}

// TX5, DC5, DC9, DC10: both the token request and the call need a proof with a nonce.
#[cfg(feature = "dpop")]
#[tokio::test(start_paused = true)]
async fn tx5_dc5_an_exchanged_token_that_is_bound_is_sent_with_a_proof() {
    use http::{HeaderMap, Method, Uri};
    use tower_bearer::client::DpopKey;
    use tower_bearer::dpop::{Dpop, NonceKeys};

    let world = World::of(TestIssuer::builder().dpop_nonces()).await;
    let (_, caller) = world.alice().await;
    let client = TokenClient::builder().transport(world.issuer.transport());
    let client = client.clock(world.clock.clone()).build().unwrap();
    let grant = || {
        let grant = Grant::discover(world.issuer.issuer(), usual_auth()).allow_loopback_http();
        grant.audience("https://orders.test")
    };
    let key = DpopKey::generate().unwrap();
    let orders = client.on_behalf(grant().dpop(key), by_exchange()).unwrap();
    let token = orders.token(&caller).await.unwrap();
    assert!(token.header_value().to_str().unwrap().starts_with("DPoP "));
    assert!(token.key_thumbprint().is_some());
    assert_eq!(world.issuer.counters().requests(Endpoint::Token), 2, "one for the nonce");

    let keys = Jwks::discover(world.issuer.issuer()).transport(world.issuer.transport());
    let dpop = Dpop::require().public_origins(["https://orders.test"]);
    let validator = Validator::builder(world.issuer.issuer(), "https://orders.test")
        .keys(keys.clock(world.clock.clone()))
        .clock(world.clock.clone())
        .dpop(dpop.nonces(NonceKeys::random().unwrap()))
        .build()
        .unwrap();
    validator.ready(10 * SECOND).await.unwrap();
    let layer = BearerAuthLayer::new(validator);
    let call = async |method: &Method, headers: &HeaderMap| {
        let service = layer.layer(service_fn(|request: Request<String>| async move {
            let token = tower_bearer::AccessToken::from_extensions(request.extensions());
            let token: tower_bearer::AccessToken = token.unwrap();
            assert_eq!(token.subject(), Some("alice"));
            Ok::<_, std::io::Error>(Response::new(String::new()))
        }));
        let mut request = Request::new(String::new());
        (*request.method_mut(), *request.uri_mut()) = (method.clone(), Uri::from_static("/a?b=c"));
        *request.headers_mut() = headers.clone();
        service.oneshot(request).await.unwrap()
    };
    let (get, url) = (Method::GET, Uri::from_static("https://orders.test/a?b=c"));
    let mut headers = HeaderMap::new();
    let mut seen = Vec::new();
    for _ in 0..3 {
        orders.authorize(&token, &get, &url, &mut headers).unwrap();
        let answer = call(&get, &headers).await;
        let again = orders.wants_nonce(&token, &url, answer.status(), answer.headers());
        seen.push((answer.status().as_u16(), again));
    }
    assert_eq!(seen, [(401, true), (200, false), (200, false)]);

    // A proof that was used, one for another method, and none.
    assert_eq!(call(&get, &headers).await.status(), 401);
    orders.authorize(&token, &Method::PUT, &url, &mut headers).unwrap();
    assert_eq!(call(&get, &headers).await.status(), 401);
    assert_eq!(call(&Method::PUT, &headers).await.status(), 200);
    for scheme in ["DPoP", "Bearer"] {
        let mut alone = HeaderMap::new();
        let value = format!("{scheme} {}", token.expose_secret());
        alone.insert("authorization", value.parse().unwrap());
        assert_eq!(call(&get, &alone).await.status(), 401, "{scheme}");
    }
    // Without a key, the same exchange yields a bearer token, which is sent alone and not enough.
    let plain = client.on_behalf(grant(), by_exchange()).unwrap();
    assert!(plain.authorize(&token, &get, &url, &mut headers).is_err());
    let bearer = plain.token(&caller).await.unwrap();
    plain.authorize(&bearer, &get, &url, &mut headers).unwrap();
    assert!(!headers.contains_key("dpop"));
    assert_eq!(headers["authorization"], bearer.header_value());
    let answer = call(&get, &headers).await;
    assert_eq!(answer.status(), 401);
    assert!(!plain.wants_nonce(&bearer, &url, answer.status(), answer.headers()));
}

#[tokio::test(start_paused = true)]
async fn tx5_a_layer_that_keeps_no_tokens_hands_none_out() {
    let world = World::new().await;
    let token = world.issuer.token().sign();
    for (keeps, layer) in [(true, world.layer.clone()), (false, not_keeping(&world).await)] {
        let service = layer.layer(service_fn(move |request: Request<String>| {
            let caller = CallerToken::from_extensions(request.extensions());
            assert_eq!(caller.is_some(), keeps);
            async { Ok::<_, std::io::Error>(Response::new(String::new())) }
        }));
        let request = Request::get("/").header("authorization", format!("Bearer {token}"));
        let answer = service.oneshot(request.body(String::new()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
}

// TX3: the caller's token is that of the innermost layer, if that one keeps it, whatever is remembered.
#[tokio::test(start_paused = true)]
async fn tx3_a_layer_within_says_whether_the_token_is_kept() {
    let world = World::new().await;
    let other = not_keeping(&world).await;
    let token = world.issuer.token().subject("alice").sign();
    for (outer, inner, kept) in [
        (world.layer.clone(), other.clone(), false),
        (other.clone(), world.layer.clone(), true),
        (world.layer.clone(), world.layer.clone(), true),
    ] {
        let seen = Arc::new(Mutex::new(None));
        let place = Arc::clone(&seen);
        let service = outer.layer(inner.layer(service_fn(move |request: Request<String>| {
            *place.lock().unwrap() = CallerToken::from_extensions(request.extensions());
            async { Ok::<_, std::io::Error>(Response::new(String::new())) }
        })));
        let request = Request::get("/").header("authorization", format!("Bearer {token}"));
        let answer = service.oneshot(request.body(String::new()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let found = seen.lock().unwrap().take();
        assert_eq!(found.is_some(), kept);
        assert!(found.is_none_or(|caller| caller.subject() == Some("alice")));
    }
}

// TX5: what names this process's own actor is no good to another process, which has another.
#[tokio::test(start_paused = true)]
async fn tx5_a_token_with_an_actor_is_not_shared() {
    let world = World::new().await;
    let (_, caller) = world.alice().await;
    for (actor, shared) in [(false, true), (true, false)] {
        let (store, mut got) = (MemoryStore::default(), Vec::new());
        let transport = counted();
        for _ in 0..2 {
            let exchange = match actor {
                false => TokenExchange::new(),
                true => {
                    let own = WorkloadToken::from_fn(|| async { Ok(Secret::new(jwt("me"))) });
                    TokenExchange::new().actor(own, TokenType::Jwt)
                }
            };
            let client = TokenClient::builder().transport(transport.clone());
            let client = client.clock(world.clock.clone()).shared(store.clone(), store_key());
            let how = OnBehalfOf::token_exchange(exchange);
            let orders = client.build().unwrap().on_behalf(scripted_grant(), how).unwrap();
            got.push(orders.token(&caller).await.unwrap().expose_secret().to_owned());
            settle().await;
        }
        assert_eq!(got[0] == got[1], shared, "{got:?}");
        assert_eq!(store.values().is_empty(), !shared);
    }
}

async fn not_keeping(world: &World) -> BearerAuthLayer {
    let keys = Jwks::discover(world.issuer.issuer()).transport(world.issuer.transport());
    let validator = Validator::builder(world.issuer.issuer(), world.issuer.audience());
    let validator = validator.keys(keys.clock(world.clock.clone())).clock(world.clock.clone());
    let validator = validator.build().unwrap();
    validator.ready(10 * SECOND).await.unwrap();
    BearerAuthLayer::new(validator)
}

// TX5, TX7: what the caller is answered, in the layer's own words.
#[cfg(feature = "axum")]
#[tokio::test(start_paused = true)]
async fn tx5_tx7_a_handler_answers_with_the_layers_challenge() {
    use axum::{Router, extract::State, routing::get};
    use tower_bearer::middleware::{Authorized, TokenRejection};

    async fn handler(
        State(orders): State<OnBehalf>,
        caller: Authorized,
    ) -> Result<String, TokenRejection> {
        Ok(caller.on_behalf(&orders).await?.expose_secret().to_owned())
    }

    let world = World::new().await;
    let call = async |transport: &ScriptedTransport, layer: BearerAuthLayer| {
        let orders = world.exchange(transport);
        let app: Router = Router::new().route("/", get(handler)).layer(layer).with_state(orders);
        let token = world.issuer.token().subject("alice").sign();
        let request = Request::get("/").header("authorization", format!("Bearer {token}"));
        let request = request.body(axum::body::Body::empty()).unwrap();
        let answer = app.oneshot(request).await.unwrap();
        let challenge = answer.headers().get("www-authenticate");
        let challenge = challenge.map(|it| it.to_str().unwrap().to_owned()).unwrap_or_default();
        let retry = answer.headers().contains_key("retry-after");
        let status = answer.status().as_u16();
        let (_, body) = answer.into_parts();
        let body = axum::body::to_bytes(body, 4_096).await.unwrap();
        (status, challenge, retry, String::from_utf8(body.to_vec()).unwrap())
    };
    let keeping = || world.layer.clone();
    let (status, _, _, body) = call(&counted(), keeping()).await;
    assert_eq!((status, &*body), (200, "t1"));
    let (status, challenge, ..) = call(&always(|| refused(400, "invalid_grant")), keeping()).await;
    assert_eq!(status, 401);
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    let (status, ..) = call(&always(|| refused(400, "invalid_target")), keeping()).await;
    assert_eq!(status, 403);
    let (status, _, retry, _) = call(&always(|| refused(401, "invalid_client")), keeping()).await;
    assert_eq!((status, retry), (503, true));
    let (status, ..) = call(&counted(), not_keeping(&world).await).await;
    assert_eq!(status, 500);
}
