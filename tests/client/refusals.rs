//! What is asked again, when, and what isn't; and what is done about a token that servers refuse.

use std::time::Duration;

use http::StatusCode;
use http::header::AUTHORIZATION;
use tokio::time::advance;
use tower_bearer::client::{
    Assertion, AssertionAlgorithm, ClientAuth, ErrorCode, Grant, TokenErrorKind,
};
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport};
use tower_bearer::transport::TransportErrorKind;

use crate::support::*;

// R12: a wrong secret doesn't hammer the server.
#[tokio::test(start_paused = true)]
async fn r12_a_permanent_error_stands_for_ten_seconds_and_longer_each_time() {
    for code in ["invalid_client", "unauthorized_client", "invalid_scope", "unsupported_grant_type"]
    {
        let transport = ScriptedTransport::from_fn(move |_| refused(400, code));
        let source = source(&transport);
        for _ in 0..100 {
            let error = source.token().await.unwrap_err();
            assert!(error.is_permanent());
            assert!(matches!(error.kind(), TokenErrorKind::Refused(it) if it.as_str() == code));
            advance(Duration::from_millis(99)).await;
        }
        assert_eq!(transport.request_count(), 1, "{code}");
        // An hour of calls each second: ever longer rests, five minutes at most.
        for _ in 0..3_600 {
            assert!(source.token().await.is_err());
            advance(SECOND).await;
        }
        let count = transport.request_count();
        assert!((9..=21).contains(&count), "{code}: {count}");
    }
}

// R12: it passes once somebody has mended it.
#[tokio::test(start_paused = true)]
async fn r12_a_permanent_error_is_forgotten_when_it_is_over() {
    let transport = ScriptedTransport::new();
    transport.push(refused(401, "invalid_client"));
    transport.push(granted("t1", 600));
    let source = source(&transport);
    source.token().await.unwrap_err();
    advance(9 * SECOND).await;
    source.token().await.unwrap_err();
    advance(6 * SECOND).await;
    assert_eq!(token(&source).await, "t1");
}

// R12
#[tokio::test(start_paused = true)]
async fn r12_what_may_pass_is_tried_three_times() {
    let troubles: [fn() -> ScriptedAnswer; 5] = [
        || ScriptedAnswer::status(StatusCode::INTERNAL_SERVER_ERROR),
        || ScriptedAnswer::status(StatusCode::TOO_MANY_REQUESTS),
        || ScriptedAnswer::error(TransportErrorKind::Connect),
        || refused(400, "temporarily_unavailable"),
        || ScriptedAnswer::json("<html>"),
    ];
    for trouble in troubles {
        let transport = ScriptedTransport::new();
        transport.push(trouble());
        transport.push(trouble());
        transport.push(granted("t1", 600));
        let started = tokio::time::Instant::now();
        assert_eq!(token(&source(&transport)).await, "t1");
        let waited = started.elapsed();
        assert!(waited >= Duration::from_millis(300) && waited <= SECOND, "{waited:?}");

        let transport = ScriptedTransport::from_fn(move |_| trouble());
        let source = source(&transport);
        assert!(!source.token().await.unwrap_err().is_permanent());
        assert_eq!(transport.request_count(), 3);
        // For half a second it is the same error, without a request.
        advance(Duration::from_millis(490)).await;
        source.token().await.unwrap_err();
        assert_eq!(transport.request_count(), 3);
        advance(Duration::from_millis(300)).await;
        source.token().await.unwrap_err();
        assert_eq!(transport.request_count(), 6);
    }
}

// R12: backoff.
#[tokio::test(start_paused = true)]
async fn r12_an_hour_of_outage_makes_no_storm() {
    let transport = ScriptedTransport::new();
    let source = source(&transport);
    for _ in 0..36_000 {
        assert!(source.token().await.is_err());
        advance(Duration::from_millis(100)).await;
    }
    let count = transport.request_count();
    assert!((100..=300).contains(&count), "{count}");
}

// R12
#[tokio::test(start_paused = true)]
async fn r12_retry_after_is_honoured() {
    let busy = |seconds: &str| {
        ScriptedAnswer::status(StatusCode::SERVICE_UNAVAILABLE).header("retry-after", seconds)
    };
    // A short one is waited for.
    let transport = ScriptedTransport::new();
    transport.push(busy("2"));
    transport.push(granted("t1", 600));
    let started = tokio::time::Instant::now();
    assert_eq!(token(&source(&transport)).await, "t1");
    assert!(started.elapsed() >= 2 * SECOND);

    // A long one isn't, and nobody asks before it is over.
    let transport = ScriptedTransport::new();
    transport.push(busy("100"));
    transport.push(granted("t1", 600));
    let source = source(&transport);
    let error = source.token().await.unwrap_err();
    assert_eq!(error.retry_after(), Some(100 * SECOND));
    advance(99 * SECOND).await;
    source.token().await.unwrap_err();
    assert_eq!(transport.request_count(), 1);
    // Jitter, since others were asked for the same.
    advance(11 * SECOND).await;
    assert_eq!(token(&source).await, "t1");
}

// R12: it is honoured while a token serves, too, and when it doesn't any more.
#[tokio::test(start_paused = true)]
async fn r12_retry_after_is_honoured_in_the_background() {
    let transport = ScriptedTransport::new();
    transport.push(granted("t1", 100));
    let busy = ScriptedAnswer::status(StatusCode::SERVICE_UNAVAILABLE).header("retry-after", "20");
    transport.push(busy);
    let source = source(&transport);
    token(&source).await;
    advance(85 * SECOND).await;
    token(&source).await;
    settle().await;
    advance(6 * SECOND).await;
    assert_eq!(
        *source.token().await.unwrap_err().kind(),
        TokenErrorKind::Status(StatusCode::SERVICE_UNAVAILABLE)
    );
    assert_eq!(transport.request_count(), 2);
}

// R12: a failure is as good as none after a success, and one that nobody noticed as well.
#[tokio::test(start_paused = true)]
async fn r12_the_rest_is_short_again_after_a_success() {
    let transport = ScriptedTransport::new();
    let source = source(&transport);
    // It fails until the rest has become long.
    for _ in 0..600 {
        source.token().await.unwrap_err();
        advance(SECOND / 10).await;
    }
    advance(60 * SECOND).await;
    transport.push(granted("t1", 600));
    assert_eq!(token(&source).await, "t1");
    advance(541 * SECOND).await;
    source.token().await.unwrap_err();
    transport.push(granted("t2", 600));
    advance(SECOND).await;
    assert_eq!(token(&source).await, "t2");
    // It fails in the background for almost a minute.
    advance(481 * SECOND).await;
    for _ in 0..59 {
        assert_eq!(token(&source).await, "t2");
        settle().await;
        advance(SECOND).await;
    }
    advance(SECOND).await;
    source.token().await.unwrap_err();
    transport.push(granted("t3", 600));
    advance(SECOND).await;
    assert_eq!(token(&source).await, "t3");
}

// T15: a new `jti` for every attempt.
#[tokio::test(start_paused = true)]
async fn t15_no_assertion_is_sent_twice() {
    let transport = ScriptedTransport::new();
    transport.push(ScriptedAnswer::status(StatusCode::BAD_GATEWAY));
    transport.push(ScriptedAnswer::status(StatusCode::BAD_GATEWAY));
    transport.push(granted("t1", 600));
    let key = include_str!("../../fixtures/keys/p256.pem");
    let assertion = Assertion::new(AssertionAlgorithm::ES256, key).key_id("p256");
    let auth = ClientAuth::private_key_jwt("me", assertion);
    let grant = Grant::endpoint("https://as.test/token", auth).issuer("https://as.test");
    client(&transport).token(&grant.build().unwrap()).await.unwrap();
    let mut sent: Vec<String> =
        transport.requests().iter().map(|it| form(it)["client_assertion"].clone()).collect();
    sent.dedup();
    assert_eq!(sent.len(), 3);
    // T11
    for request in transport.requests() {
        let form = form(&request);
        assert_eq!(
            form["client_assertion_type"],
            "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
        );
        assert_eq!(form["client_id"], "me");
        // T6
        assert!(!form.contains_key("client_secret"));
        assert!(!request.headers().contains_key(AUTHORIZATION));
    }
}

// L5
#[tokio::test(start_paused = true)]
async fn l5_a_refused_secret_is_not_tried_in_another_way() {
    let transport = ScriptedTransport::from_fn(|_| refused(401, "invalid_client"));
    source(&transport).token().await.unwrap_err();
    let requests = transport.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].headers().contains_key(AUTHORIZATION));
    assert!(!form(&requests[0]).contains_key("client_secret"));
}

// E10, E11
#[tokio::test(start_paused = true)]
async fn e10_a_token_is_replaced_only_if_it_is_still_the_one() {
    let transport = counting(600);
    let source = source(&transport);
    let first = source.token().await.unwrap();
    assert_eq!(renewed(&source, &first).await.unwrap(), "t2");
    assert_eq!(token(&source).await, "t2");
    // A caller that still had the first: the second is newer, and stays.
    assert_eq!(renewed(&source, &first).await.unwrap(), "t2");
    assert_eq!(token(&source).await, "t2");
    assert_eq!(transport.request_count(), 2);
}

// E11
#[tokio::test(start_paused = true)]
async fn e11_a_token_is_replaced_at_most_once_in_thirty_seconds() {
    let transport = counting(600);
    let source = source(&transport);
    for round in 1..=3 {
        let token = source.token().await.unwrap();
        assert!(renewed(&source, &token).await.is_some(), "{round}");
        // What is wrong isn't the token: all that follow are refused as well.
        for _ in 0..29 {
            let token = source.token().await.unwrap();
            assert_eq!(renewed(&source, &token).await, None);
            advance(SECOND).await;
        }
        assert_eq!(transport.request_count(), round + 1);
        advance(SECOND).await;
    }
}

// E10: two callers with the same refused token fetch one new one.
#[tokio::test(start_paused = true)]
async fn e10_all_who_had_the_refused_token_wait_for_one_fetch() {
    let transport = counting(600);
    let source = source(&transport);
    let first = source.token().await.unwrap();
    let callers = (0..10).map(|_| {
        let (source, first) = (source.clone(), first.clone());
        tokio::spawn(async move { renewed(&source, &first).await })
    });
    for caller in callers.collect::<Vec<_>>() {
        assert_eq!(caller.await.unwrap().unwrap(), "t2");
    }
    assert_eq!(transport.request_count(), 2);
}

// E11: a server that gives the same token again.
#[tokio::test(start_paused = true)]
async fn e11_a_server_that_grants_the_same_token_again_is_not_asked_in_a_loop() {
    let transport = ScriptedTransport::from_fn(|_| granted("same", 600));
    let source = source(&transport);
    for _ in 0..20 {
        let token = source.token().await.unwrap();
        assert_eq!(renewed(&source, &token).await, None, "it is no other");
    }
    assert_eq!(transport.request_count(), 2);
}

// R9
#[tokio::test(start_paused = true)]
async fn r9_an_unknown_code_is_kept() {
    let transport = ScriptedTransport::from_fn(|_| refused(400, "scope_invalid"));
    let error = source(&transport).token().await.unwrap_err();
    let expected = ErrorCode::Other("scope_invalid".into());
    assert_eq!(*error.kind(), TokenErrorKind::Refused(expected));
    assert!(error.is_permanent());
}
