//! Trouble elsewhere, and what it may cost: scripted, under paused time.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::{Instant, advance, timeout};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_bearer::Secret;
use tower_bearer::client::{
    AttachTokenLayer, ClientAuth, Grant, ReplayBody, SecretFuture, SecretProvider, SendError,
    TokenClient, TokenErrorKind,
};
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport};

use crate::support::*;

const GOOD: &str = "https://good.test";
const HOSTILE: &str = "https://hostile.test";

/// Sends a request to a world in which `hostile.test` refuses all tokens, and all other servers only
/// those that `refuses` is true of.
async fn send(
    layer: &AttachTokenLayer,
    refuses: fn(&str) -> bool,
    request: http::request::Builder,
) -> Result<(StatusCode, HeaderMap), SendError> {
    let service = service_fn(move |request: Request<ReplayBody<Full<Bytes>>>| async move {
        let token = request.headers()[AUTHORIZATION].to_str().unwrap().to_owned();
        let hostile = request.uri().host() == Some("hostile.test");
        let mut response = Response::new(());
        if hostile || refuses(token.trim_start_matches("Bearer ")) {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        *response.headers_mut() = request.headers().clone();
        response.headers_mut().remove("www-authenticate");
        Ok::<_, Infallible>(response)
    });
    let request = request.body(Full::new(Bytes::new())).unwrap();
    let answer = layer.layer(service).oneshot(request).await?;
    Ok((answer.status(), answer.headers().clone()))
}

async fn status(layer: &AttachTokenLayer, refuses: fn(&str) -> bool, origin: &str) -> u16 {
    let request = Request::get(format!("{origin}/x"));
    send(layer, refuses, request).await.unwrap().0.as_u16()
}

fn layer(transport: &ScriptedTransport) -> AttachTokenLayer {
    AttachTokenLayer::new(source(transport), [GOOD, HOSTILE]).unwrap()
}

fn none(_: &str) -> bool {
    false
}

fn first(token: &str) -> bool {
    token == "t1"
}

#[tokio::test(start_paused = true)]
async fn fc2_a_401_from_one_origin_costs_no_call_to_another_while_the_issuer_is_in_trouble() {
    let troubles: [fn() -> ScriptedAnswer; 4] = [
        || ScriptedAnswer::error(tower_bearer::transport::TransportErrorKind::Connect),
        ScriptedAnswer::never,
        || refused(401, "invalid_client"),
        || ScriptedAnswer::status(StatusCode::TOO_MANY_REQUESTS).header("retry-after", "60"),
    ];
    for trouble in troubles {
        let transport = ScriptedTransport::from_fn(move |_| trouble());
        transport.push(granted("t1", 6_000));
        let layer = layer(&transport);
        assert_eq!(status(&layer, none, GOOD).await, 200);
        for _ in 0..100 {
            assert_eq!(status(&layer, none, HOSTILE).await, 401);
            let started = Instant::now();
            assert_eq!(status(&layer, none, GOOD).await, 200);
            assert_eq!(started.elapsed(), Duration::ZERO);
            advance(SECOND).await;
        }
        assert!(transport.request_count() < 100, "{}", transport.request_count());
    }
}

#[tokio::test(start_paused = true)]
async fn fc2_others_are_served_while_a_refused_token_is_replaced() {
    let transport = ScriptedTransport::new();
    transport.push(granted("t1", 600));
    let (answer, gate) = granted("t2", 600).gated();
    transport.push(answer);
    let layer = layer(&transport);
    assert_eq!(status(&layer, none, GOOD).await, 200);
    let hostile = layer.clone();
    let hostile = tokio::spawn(async move { status(&hostile, none, HOSTILE).await });
    transport.wait_for_requests(2).await;
    let call = timeout(Duration::ZERO, send(&layer, none, Request::get(GOOD)));
    assert_eq!(call.await.unwrap().unwrap().1[AUTHORIZATION], "Bearer t1");
    gate.open();
    assert_eq!(hostile.await.unwrap(), 401);
    let call = send(&layer, none, Request::get(GOOD)).await.unwrap();
    assert_eq!(call.1[AUTHORIZATION], "Bearer t2");
    assert_eq!(transport.request_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn fc2_an_origin_that_refuses_everything_costs_one_renewal_in_thirty_seconds() {
    let transport = counting(6_000);
    let layer = layer(&transport);
    for _ in 0..600 {
        assert_eq!(status(&layer, none, HOSTILE).await, 401);
        assert_eq!(status(&layer, none, GOOD).await, 200);
        advance(SECOND).await;
    }
    let count = transport.request_count();
    assert!((20..=21).contains(&count), "ten minutes: {count}");
}

#[tokio::test(start_paused = true)]
async fn fc2_one_origins_refusals_do_not_spend_anothers_budget() {
    let transport = counting(6_000);
    let layer = layer(&transport);
    assert_eq!(status(&layer, none, HOSTILE).await, 401);
    assert_eq!(transport.request_count(), 2);
    // Now the good one refuses what is held, for a reason.
    assert_eq!(status(&layer, |token| token == "t2", GOOD).await, 200);
    assert_eq!(transport.request_count(), 3);
    // And its own budget is spent.
    assert_eq!(status(&layer, |token| token == "t3", GOOD).await, 401);
    assert_eq!(transport.request_count(), 3);
}

// It isn't the refusal that is budgeted but the new token: when the issuer is back, so is the call.
#[tokio::test(start_paused = true)]
async fn fc2_a_renewal_that_failed_is_tried_again_when_the_issuer_is_back() {
    let transport = ScriptedTransport::new();
    transport.push(granted("t1", 6_000));
    let layer = layer(&transport);
    assert_eq!(status(&layer, none, GOOD).await, 200);
    assert_eq!(status(&layer, first, GOOD).await, 401, "there is no other");
    advance(SECOND).await;
    transport.push(granted("t2", 6_000));
    assert_eq!(status(&layer, first, GOOD).await, 200);
}

// It needs no second refusal: the next call starts it.
#[tokio::test(start_paused = true)]
async fn fc2_a_suspect_token_is_replaced_beside_other_calls() {
    let transport = ScriptedTransport::new();
    transport.push(granted("t1", 6_000));
    let source = source(&transport);
    let held = source.token().await.unwrap();
    assert_eq!(renewed(&source, &held).await, None);
    transport.push(granted("t2", 6_000));
    advance(SECOND).await;
    assert_eq!(token(&source).await, "t1");
    settle().await;
    assert_eq!(token(&source).await, "t2");
    // It serves no longer than it would have.
    transport.push(granted("t3", 100));
    let held = source.token().await.unwrap();
    advance(31 * SECOND).await;
    assert_eq!(renewed(&source, &held).await.unwrap(), "t3");
    let held = source.token().await.unwrap();
    advance(31 * SECOND).await;
    assert_eq!(renewed(&source, &held).await, None);
    assert_eq!(token(&source).await, "t3");
    advance(60 * SECOND).await;
    source.token().await.unwrap_err();
}

/// The most requests that were under way at the same time.
fn watched(delay: Duration) -> (ScriptedTransport, Arc<AtomicUsize>) {
    let count = AtomicUsize::new(0);
    let transport = ScriptedTransport::from_fn(move |_| {
        granted(&format!("t{}", count.fetch_add(1, Ordering::Relaxed)), 600).delay(delay)
    });
    let most = Arc::new(AtomicUsize::new(0));
    let (watched, seen) = (transport.clone(), Arc::clone(&most));
    tokio::spawn(async move {
        loop {
            let now = watched.request_count() - watched.completed() - watched.cancelled();
            seen.fetch_max(now, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    (transport, most)
}

fn tenant(host: &str, n: usize) -> Grant {
    let auth = ClientAuth::basic("me", "s3cret");
    let grant = Grant::endpoint(&format!("https://{host}.test/token"), auth);
    grant.tenant(&n.to_string()).scope(&n.to_string()).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn fc5_fetches_at_the_same_time_are_bounded() {
    for (bound, hosts, most) in [(8, 1, 4), (8, 100, 8), (1, 3, 1), (3, 1, 2)] {
        let (transport, seen) = watched(Duration::from_millis(100));
        let client = TokenClient::builder().transport(transport.clone());
        let client = client.concurrent_fetches(bound).build().unwrap();
        let calls: Vec<_> = (0..60)
            .map(|n| {
                let client = client.clone();
                let grant = tenant(&format!("as{}", n % hosts), n);
                tokio::spawn(async move { client.token(&grant).await.is_ok() })
            })
            .collect();
        for call in calls {
            assert!(call.await.unwrap());
        }
        assert_eq!((seen.load(Ordering::Relaxed), transport.request_count()), (most, 60));
    }
    for (bound, is_accepted) in [(0, false), (1, true), (10_000, true), (10_001, false)] {
        let builder = TokenClient::builder().transport(counting(1)).concurrent_fetches(bound);
        assert_eq!(builder.build().is_ok(), is_accepted, "{bound}");
    }
}

// Those that get no turn have an error in time, and have cost no request.
#[tokio::test(start_paused = true)]
async fn fc5_the_turn_is_waited_for_within_the_deadline() {
    let (transport, _) = watched(SECOND);
    let client = TokenClient::builder().transport(transport.clone()).concurrent_fetches(2);
    let client = client.build().unwrap();
    let started = Instant::now();
    let calls: Vec<_> = (0..50)
        .map(|n| {
            let (client, grant) = (client.clone(), tenant("as", n));
            tokio::spawn(async move { client.token(&grant).await })
        })
        .collect();
    let mut had = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => had += 1,
            Err(error) => assert_eq!(*error.kind(), TokenErrorKind::TimedOut),
        }
    }
    assert!(started.elapsed() <= 10 * SECOND);
    assert!((9..=10).contains(&had), "{had}");
    assert!(transport.request_count() <= 11, "{}", transport.request_count());
}

#[tokio::test(start_paused = true)]
async fn fc5_a_server_that_hangs_leaves_places_for_the_others() {
    let transport = ScriptedTransport::from_fn(|request| {
        let hung = request.uri().host() == Some("hung.test");
        if hung { ScriptedAnswer::never() } else { granted("t", 600) }
    });
    let client = client(&transport);
    for n in 0..200 {
        let (client, grant) = (client.clone(), tenant("hung", n));
        tokio::spawn(async move { client.token(&grant).await });
    }
    settle().await;
    let started = Instant::now();
    client.token(&tenant("as", 0)).await.unwrap();
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn fc5_callers_come_before_background_work() {
    let slow = Arc::new(AtomicBool::new(false));
    let is_slow = Arc::clone(&slow);
    let transport = ScriptedTransport::from_fn(move |_| {
        let answer = granted("t", 600);
        if is_slow.load(Ordering::Relaxed) { answer.delay(SECOND) } else { answer }
    });
    let client = TokenClient::builder().transport(transport.clone()).concurrent_fetches(1);
    let client = client.build().unwrap();
    for n in 0..20 {
        client.token(&tenant("as", n)).await.unwrap();
    }
    slow.store(true, Ordering::Relaxed);
    advance(500 * SECOND).await;
    for n in 0..20 {
        client.token(&tenant("as", n)).await.unwrap();
    }
    settle().await;
    // One is being renewed, nineteen wait for their turn.
    let started = Instant::now();
    client.token(&tenant("as", 100)).await.unwrap();
    assert!(started.elapsed() <= 2 * SECOND, "{:?}", started.elapsed());
}

fn silent() -> ScriptedTransport {
    ScriptedTransport::from_fn(|_| ScriptedAnswer::never())
}

fn is_deadline(result: &Result<(StatusCode, HeaderMap), SendError>) -> bool {
    matches!(result, Err(SendError::Token(error)) if *error.kind() == TokenErrorKind::Deadline)
}

#[tokio::test(start_paused = true)]
async fn fc6_the_layers_setting_bounds_the_wait_for_a_token() {
    let layer = layer(&silent()).token_timeout(SECOND);
    let started = Instant::now();
    let result = send(&layer, none, Request::get(GOOD)).await;
    assert!(is_deadline(&result), "{result:?}");
    assert_eq!(started.elapsed(), SECOND);
    // The twin: a token that comes within it is used.
    let transport = ScriptedTransport::new();
    transport.push(granted("t1", 600).delay(SECOND / 2));
    assert_eq!(status(&self::layer(&transport).token_timeout(SECOND), none, GOOD).await, 200);
    // After a refusal, the first answer is the answer.
    transport.push(granted("t2", 600));
    transport.push(granted("t3", 600).delay(2 * SECOND));
    let layer = self::layer(&transport).token_timeout(SECOND);
    let started = Instant::now();
    assert_eq!(status(&layer, |_| true, GOOD).await, 401);
    assert_eq!(started.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn fc6_the_fetch_goes_on_when_a_callers_time_is_over() {
    let transport = ScriptedTransport::new();
    transport.push(granted("t1", 600).delay(Duration::from_millis(2_500)));
    let layer = layer(&transport).token_timeout(SECOND);
    for _ in 0..2 {
        assert!(is_deadline(&send(&layer, none, Request::get(GOOD)).await));
    }
    assert_eq!(status(&layer, none, GOOD).await, 200);
    assert_eq!(transport.request_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn fc6_a_grpc_call_waits_no_longer_than_its_own_timeout() {
    let call = |value: &str| Request::post(GOOD).header("grpc-timeout", value.to_owned());
    for (value, waited) in [("1S", 1_000), ("250m", 250), ("0n", 0), ("nonsense", 10_000)] {
        let layer = layer(&silent());
        let started = Instant::now();
        let result = send(&layer, none, call(value)).await;
        assert_eq!(is_deadline(&result), value != "nonsense", "{result:?}");
        assert_eq!(started.elapsed(), Duration::from_millis(waited), "{value}");
    }
    // What the wait has taken, the call itself has less.
    let transport = ScriptedTransport::new();
    transport.push(granted("t1", 600).delay(Duration::from_millis(400)));
    let layer = layer(&transport);
    let (_, headers) = send(&layer, none, call("1S")).await.unwrap();
    assert_eq!(headers["grpc-timeout"], "600000u");
    // The twin: a call that hasn't waited is untouched.
    let (_, headers) = send(&layer, none, call("1S")).await.unwrap();
    assert_eq!(headers["grpc-timeout"], "1S");
}

#[tokio::test]
async fn fc6_a_request_of_reqwest_waits_no_longer_than_its_own_timeout() {
    let layer = layer(&silent());
    let http = reqwest::Client::new();
    let started = std::time::Instant::now();
    let request = http.get(GOOD).timeout(Duration::from_millis(200));
    let error = layer.send(request).await.unwrap_err();
    assert!(started.elapsed() < 2 * SECOND);
    let SendError::Token(error) = error else { panic!("{error}") };
    assert_eq!(*error.kind(), TokenErrorKind::Deadline);
    assert!(!error.is_permanent());
}

#[tokio::test(start_paused = true)]
async fn fc9_a_host_field_that_names_another_host_is_refused() {
    let transport = counting(600);
    let tokens = source(&transport);
    let origins = [GOOD, "https://[2001:db8::1]:8443", "http://127.0.0.1:80"];
    let layer = AttachTokenLayer::new(tokens.clone(), origins).unwrap();
    let layer = layer.pass_other_origins();
    let send = async |uri: &str, hosts: &[&str]| {
        let request = hosts.iter().fold(Request::get(uri), |it, host| it.header(HOST, *host));
        match send(&layer, none, request).await {
            Ok((status, _)) => status == 200,
            Err(SendError::Host(error)) => {
                assert!(error.to_string().contains("Host"));
                false
            }
            Err(other) => panic!("{other}"),
        }
    };
    for (uri, host) in [
        (GOOD, "good.test"),
        (GOOD, "GOOD.test:443"),
        (GOOD, "good.test:"),
        ("https://good.test:443/", "good.test"),
        ("https://[2001:db8::1]:8443/", "[2001:DB8::1]:8443"),
        ("http://127.0.0.1/", "127.0.0.1:80"),
    ] {
        assert!(send(uri, &[host]).await, "{uri} {host}");
    }
    assert!(send(GOOD, &[]).await);
    for host in [
        "evil.test",
        "good.test:80",
        "good.test:8443",
        "good.test.",
        "good.test.evil.test",
        "good.test@evil.test",
        "evil.test@good.test",
        "https://good.test",
        "good.test/",
        "good.test, evil.test",
        "",
    ] {
        assert!(!send(GOOD, &[host]).await, "{host:?}");
        assert!(!send(GOOD, &["good.test", host]).await, "{host:?}");
    }
    assert!(!send("https://[2001:db8::1]:8443/", &["[2001:db8::1]"]).await);
    assert!(!send("https://[2001:db8::1]:8443/", &["[2001:db8::2]:8443"]).await);
    // A request that goes without a token of ours may say what it likes.
    let request = Request::get(GOOD).header(HOST, "evil.test").header(AUTHORIZATION, "Basic x");
    assert!(self::send(&layer, none, request).await.is_ok());
    // A channel's peer has a name, too.
    let channel = AttachTokenLayer::for_channel(tokens, GOOD).unwrap();
    for (host, passes) in [("good.test", true), ("evil.test", false)] {
        let request = Request::get("/x").header(HOST, host);
        assert_eq!(self::send(&channel, none, request).await.is_ok(), passes, "{host}");
    }
}

#[tokio::test]
async fn fc9_nor_does_reqwest_send_it() {
    let layer = layer(&counting(600));
    let request = reqwest::Client::new().get(GOOD).header(HOST, "evil.test");
    assert!(matches!(layer.send(request).await.unwrap_err(), SendError::Host(_)));
}

/// What an ingress answers while there is nothing behind it.
fn ingress(status: u16, body: &'static str) -> ScriptedAnswer {
    let mut response = Response::new(Bytes::from_static(body.as_bytes()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    ScriptedAnswer::new(response)
}

#[tokio::test(start_paused = true)]
async fn fc10_what_a_proxy_answers_during_an_outage_is_over_within_a_minute() {
    for (status, body) in [
        (404, ""),
        (404, "<html>default backend</html>"),
        (404, r#"{"status":404,"error":"Not Found","path":"/token"}"#),
        (403, "Forbidden"),
        (302, ""),
        (308, ""),
        (400, "<html>"),
        (405, ""),
        (429, r#"{"error":"too_many_requests"}"#),
        (200, r#"{"status":"maintenance"}"#),
    ] {
        let up = Arc::new(AtomicBool::new(false));
        let is_up = Arc::clone(&up);
        let transport = ScriptedTransport::from_fn(move |_| {
            if is_up.load(Ordering::Relaxed) { granted("t", 600) } else { ingress(status, body) }
        });
        let source = source(&transport);
        for _ in 0..600 {
            let error = source.token().await.unwrap_err();
            assert!(!error.is_permanent(), "{status} {body}: {error}");
            advance(SECOND).await;
        }
        up.store(true, Ordering::Relaxed);
        let back = Instant::now();
        while source.token().await.is_err() {
            advance(SECOND).await;
        }
        assert!(back.elapsed() <= 61 * SECOND, "{status} {body}: {:?}", back.elapsed());
    }
    // The twin: an OAuth error lasts, whatever the status.
    for status in [400, 401, 403, 404] {
        let transport = ScriptedTransport::from_fn(move |_| refused(status, "invalid_client"));
        assert!(source(&transport).token().await.unwrap_err().is_permanent());
    }
}

#[tokio::test(start_paused = true)]
async fn fc10_an_operator_can_have_it_tried_at_once() {
    let transport = ScriptedTransport::from_fn(|_| refused(400, "invalid_scope"));
    let client = client(&transport);
    let sources: Vec<_> = (0..3).map(|n| client.source(&tenant("as", n))).collect();
    for source in &sources {
        let error = source.token().await.unwrap_err();
        assert!(error.is_permanent(), "{error:?}");
        source.token().await.unwrap_err();
    }
    assert_eq!(transport.request_count(), 3);
    sources[0].reset();
    transport.push(granted("t1", 600));
    assert_eq!(token(&sources[0]).await, "t1");
    sources[1].token().await.unwrap_err();
    assert_eq!(transport.request_count(), 4, "the others' errors stand");
    client.reset();
    transport.push(granted("t2", 600));
    transport.push(granted("t3", 600));
    assert_eq!(token(&sources[1]).await, "t2");
    assert_eq!(token(&sources[2]).await, "t3");
    assert_eq!(token(&sources[0]).await, "t1", "what serves stays");
}

/// A secret that can be changed.
#[derive(Clone)]
struct Vault(Arc<Mutex<&'static str>>);

impl SecretProvider for Vault {
    fn secret(&self) -> SecretFuture<'_> {
        let secret = *self.0.lock().unwrap();
        Box::pin(async move { Ok(Secret::new(secret)) })
    }
}

// However long the wrong one was tried before.
#[tokio::test(start_paused = true)]
async fn fc10_an_operator_who_has_fixed_the_secret_can_have_it_tried_at_once() {
    for by_client in [false, true] {
        let transport = ScriptedTransport::from_fn(|request| {
            let right = form(request)["client_secret"] == "right";
            if right { granted("t1", 600) } else { refused(401, "invalid_client") }
        });
        let vault = Vault(Arc::new(Mutex::new("wrong")));
        let auth = ClientAuth::body("me", vault.clone());
        let grant = Grant::endpoint("https://as.test/token", auth).build().unwrap();
        let client = client(&transport);
        let source = client.source(&grant);
        for _ in 0..120 {
            source.token().await.unwrap_err();
            advance(SECOND).await;
        }
        *vault.0.lock().unwrap() = "right";
        let before = transport.request_count();
        source.token().await.unwrap_err();
        if by_client {
            client.reset()
        } else {
            source.reset()
        }
        assert_eq!(token(&source).await, "t1");
        assert_eq!(transport.request_count(), before + 1);
    }
}

// It uses what was wrong: those who wait for it have its error, and nobody after them.
#[tokio::test(start_paused = true)]
async fn fc10_a_fetch_that_was_begun_before_does_not_count() {
    let transport = ScriptedTransport::from_fn(|_| refused(400, "invalid_scope").delay(2 * SECOND));
    let source = source(&transport);
    for early in [true, false] {
        let before = transport.request_count();
        let waiting = tokio::spawn({
            let source = source.clone();
            async move { source.token().await }
        });
        settle().await;
        source.reset();
        if early {
            // The next call doesn't wait for it.
            transport.push(granted("t1", 5));
            assert_eq!(token(&source).await, "t1");
        }
        waiting.await.unwrap().unwrap_err();
        if early {
            assert_eq!(token(&source).await, "t1", "what came later stays");
            advance(600 * SECOND).await;
        } else {
            transport.push(granted("t2", 600));
            assert_eq!(token(&source).await, "t2", "its error doesn't stand");
        }
        assert_eq!(transport.request_count(), before + 2);
    }
}

#[tokio::test(start_paused = true)]
async fn fc2_the_addresses_of_one_origin_share_its_budget() {
    let transport = counting(6_000);
    let source = source(&transport);
    source.token().await.unwrap();
    for n in 0..10 {
        let held = source.token().await.unwrap();
        source.renew(&held, &format!("https://orders.test/{n}?a=b")).await;
    }
    assert_eq!(transport.request_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn fc14_a_cache_that_is_too_small_forgets_neither_failures_nor_fetches() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let transport = ScriptedTransport::from_fn(move |request| {
        seen.lock().unwrap().push(request.uri().clone());
        refused(400, "invalid_scope")
    });
    let client = TokenClient::builder().transport(transport.clone());
    let client = client.capacity(4).per_tenant(2).build().unwrap();
    for _ in 0..9 {
        for n in 0..50 {
            client.token(&tenant("as", n)).await.unwrap_err();
        }
        advance(SECOND).await;
    }
    assert_eq!(client.cached_grants(), 4);
    assert_eq!(transport.request_count(), 50);

    let transport = ScriptedTransport::from_fn(|_| granted("t", 600).delay(SECOND));
    let client = TokenClient::builder().transport(transport.clone());
    let client = client.capacity(1).build().unwrap();
    let calls: Vec<_> = (0..40)
        .map(|n| {
            let (client, grant) = (client.clone(), tenant("as", n % 10));
            tokio::spawn(async move { client.token(&grant).await.is_ok() })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap());
    }
    assert_eq!(transport.request_count(), 10);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

// A runtime that is kept but not run holds up no others for longer than it takes to notice.
#[test]
fn fc14_a_runtime_that_is_not_run_blocks_no_others() {
    let transport = ScriptedTransport::new();
    let (answer, _gate) = granted("t1", 600).gated();
    transport.push(answer);
    transport.push(granted("t2", 600));
    let source = source(&transport);
    let kept = runtime();
    kept.block_on(async {
        assert!(tokio_test::task::spawn(source.token()).poll().is_pending());
        transport.wait_for_requests(1).await;
    });
    let started = std::time::Instant::now();
    let other = runtime();
    other.block_on(async {
        let (one, two) = tokio::join!(token(&source), token(&source));
        assert_eq!((one.as_str(), two.as_str()), ("t2", "t2"));
    });
    assert!(started.elapsed() < 5 * SECOND, "{:?}", started.elapsed());
    assert_eq!(transport.request_count(), 2);
    drop(kept);
    other.block_on(async { assert_eq!(token(&source).await, "t2") });
}

// The twin: one that is run is waited for.
#[test]
fn fc14_a_fetch_in_another_runtime_that_is_run_is_waited_for() {
    let transport = ScriptedTransport::new();
    transport.push(granted("t1", 600).delay(3 * SECOND));
    let source = source(&transport);
    let (first, second) = (source.clone(), source.clone());
    let one = std::thread::spawn(move || runtime().block_on(token(&first)));
    let started = std::time::Instant::now();
    while transport.request_count() == 0 && started.elapsed() < 5 * SECOND {
        std::thread::yield_now();
    }
    assert_eq!(runtime().block_on(token(&second)), "t1");
    assert_eq!(one.join().unwrap(), "t1");
    assert_eq!(transport.request_count(), 1);
}

#[test]
fn fc14_a_runtime_without_timers_is_an_error_and_no_panic() {
    let source = source(&counting(600));
    let bare = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = bare.block_on(source.token()).unwrap_err();
    assert_eq!(*error.kind(), TokenErrorKind::NoRuntime);
    assert!(error.to_string().contains("timers"), "{error}");
    // It hasn't failed for the others, and a token that is there is served there.
    assert_eq!(runtime().block_on(token(&source)), "t1");
    assert_eq!(bare.block_on(token(&source)), "t1");
    let held = bare.block_on(source.token()).unwrap();
    assert_eq!(bare.block_on(renewed(&source, &held)), None);
    assert_eq!(bare.block_on(token(&source)), "t1");
}
