//! How long a token serves, and when it is replaced.

use std::time::Duration;

use http::StatusCode;
use tokio::time::advance;
use tower_bearer::UnixTime;
use tower_bearer::client::{TokenClient, TokenErrorKind};
use tower_bearer::testing::{ManualClock, ScriptedAnswer, ScriptedTransport};
use tower_bearer::transport::TransportErrorKind;

use crate::support::*;

// E1: a fixed margin of a minute would never let these serve.
#[tokio::test(start_paused = true)]
async fn e1_a_token_of_three_seconds_is_kept_as_well_as_one_of_a_day() {
    for lifetime in [1_u64, 3, 45, 60, 600, 86_400] {
        let transport = counting(lifetime);
        let source = source(&transport);
        assert_eq!(token(&source).await, "t1", "{lifetime}");
        // Jitter or not, it is fresh for seven tenths, and gone for good at nine (or a minute
        // before its end).
        let lifetime = Duration::from_secs(lifetime);
        advance(lifetime.mul_f64(0.69)).await;
        assert_eq!(token(&source).await, "t1", "{lifetime:?}");
        settle().await;
        assert_eq!(transport.request_count(), 1, "{lifetime:?}");
        let margin = lifetime.mul_f64(0.1).min(60 * SECOND);
        advance(lifetime.mul_f64(0.31) - margin).await;
        assert_eq!(token(&source).await, "t2", "{lifetime:?}");
        assert_eq!(transport.request_count(), 2, "{lifetime:?}");
    }
}

// E1: jitter.
#[tokio::test(start_paused = true)]
async fn e1_not_all_processes_come_at_once() {
    let transport = counting(1_000);
    let sources: Vec<_> = (0..60).map(|_| source(&transport)).collect();
    for source in &sources {
        token(source).await;
    }
    // Soft expiry lies between 740 and 840 seconds.
    advance(735 * SECOND).await;
    for source in &sources {
        token(source).await;
    }
    settle().await;
    assert_eq!(transport.request_count(), 60);
    advance(55 * SECOND).await;
    for source in &sources {
        token(source).await;
    }
    settle().await;
    let at_half = transport.request_count() - 60;
    assert!((5..=55).contains(&at_half), "{at_half}");
}

// E2
#[tokio::test(start_paused = true)]
async fn e2_between_soft_and_hard_expiry_nobody_waits() {
    let transport = ScriptedTransport::new();
    transport.push(granted("t1", 100));
    let (answer, gate) = granted("t2", 100).gated();
    transport.push(answer);
    let source = source(&transport);
    assert_eq!(token(&source).await, "t1");
    advance(85 * SECOND).await;
    for _ in 0..10 {
        assert_eq!(token(&source).await, "t1");
        settle().await;
    }
    assert_eq!(transport.request_count(), 2);
    gate.open();
    settle().await;
    assert_eq!(token(&source).await, "t2");
}

// E2: the server is down between soft and hard expiry.
#[tokio::test(start_paused = true)]
async fn e2_an_outage_between_soft_and_hard_expiry_is_not_noticed() {
    let transport = ScriptedTransport::new();
    transport.push(granted("t1", 600));
    let source = source(&transport);
    assert_eq!(token(&source).await, "t1");
    advance(485 * SECOND).await;
    // Fifty seconds of "no connection": not one failed call, and no storm.
    for _ in 0..50 {
        assert_eq!(token(&source).await, "t1");
        advance(SECOND).await;
        settle().await;
    }
    let during = transport.request_count() - 1;
    assert!((3..=30).contains(&during), "{during}");
    // Back just before the end, when the next attempt may be a minute away.
    transport.push(granted("t2", 600));
    advance(6 * SECOND).await;
    assert_eq!(token(&source).await, "t2");
}

// E2: at hard expiry the call waits, and fails if there is nothing to be had.
#[tokio::test(start_paused = true)]
async fn e2_after_hard_expiry_an_old_token_is_not_served() {
    let transport = ScriptedTransport::new();
    transport.push(granted("t1", 600));
    let source = source(&transport);
    assert_eq!(token(&source).await, "t1");
    advance(541 * SECOND).await;
    let error = source.token().await.unwrap_err();
    assert_eq!(*error.kind(), TokenErrorKind::Transport(TransportErrorKind::Connect));
}

// E3
#[tokio::test(start_paused = true)]
async fn e3_the_wall_clock_may_jump() {
    let transport = counting(600);
    let clock = ManualClock::new(UnixTime::from_secs(1_800_000_000));
    let client =
        TokenClient::builder().transport(transport.clone()).clock(clock.clone()).build().unwrap();
    let source = client.source(&scripted_grant().build().unwrap());
    assert_eq!(token(&source).await, "t1");
    for at in [0, 4_000_000_000, 1_799_999_000] {
        clock.set(UnixTime::from_secs(at));
        assert_eq!(token(&source).await, "t1");
    }
    clock.set(UnixTime::from_secs(1_800_000_000));
    advance(541 * SECOND).await;
    assert_eq!(token(&source).await, "t2");
}

// R5
#[tokio::test(start_paused = true)]
async fn r5_without_expires_in_a_token_serves_five_minutes() {
    let transport = ScriptedTransport::from_fn(|_| {
        ScriptedAnswer::json(r#"{"access_token":"t","token_type":"Bearer"}"#)
    });
    let grant = scripted_grant().build().unwrap();
    for (grant, seconds) in
        [(grant, 300), (scripted_grant().default_lifetime(60 * SECOND).build().unwrap(), 60)]
    {
        let source = client(&transport).source(&grant);
        let before = transport.request_count();
        let first = source.token().await.unwrap();
        assert_eq!(first.remaining(), seconds * SECOND);
        advance((seconds * SECOND).mul_f64(0.69)).await;
        token(&source).await;
        settle().await;
        assert_eq!(transport.request_count() - before, 1);
        advance((seconds * SECOND).mul_f64(0.31)).await;
        token(&source).await;
        assert_eq!(transport.request_count() - before, 2);
        assert_eq!(first.remaining(), Duration::ZERO);
    }
}

// R5: the JWT's own expiry, if one wants to know it.
#[tokio::test(start_paused = true)]
async fn r5_a_jwt_expires_no_later_than_it_says() {
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
    let payload = BASE64_URL_SAFE_NO_PAD.encode(r#"{"exp":1800000050}"#);
    let transport =
        ScriptedTransport::from_fn(move |_| granted(&format!("e30.{payload}.c2ln"), 600));
    let clock = ManualClock::running(UnixTime::from_secs(1_800_000_000));
    let client = TokenClient::builder().transport(transport).clock(clock).build().unwrap();
    let usual = client.source(&scripted_grant().build().unwrap());
    let bounded = client.source(&scripted_grant().bounded_by_jwt_expiry().build().unwrap());
    assert_eq!(usual.token().await.unwrap().remaining(), 600 * SECOND);
    assert_eq!(bounded.token().await.unwrap().remaining(), 50 * SECOND);

    // It says that it lives on: that is no longer than the server said.
    let payload = BASE64_URL_SAFE_NO_PAD.encode(r#"{"exp":1900000000}"#);
    let transport =
        ScriptedTransport::from_fn(move |_| granted(&format!("e30.{payload}.c2ln"), 600));
    let grant = scripted_grant().bounded_by_jwt_expiry().build().unwrap();
    let clock = ManualClock::running(UnixTime::from_secs(1_800_000_000));
    let client = TokenClient::builder().transport(transport).clock(clock).build().unwrap();
    assert_eq!(client.token(&grant).await.unwrap().remaining(), 600 * SECOND);
}

// R6
#[tokio::test(start_paused = true)]
async fn r6_what_expires_at_once_is_used_once() {
    for expires_in in ["0", "-5", "\"soon\"", "0.3"] {
        let answer =
            format!(r#"{{"access_token":"t","token_type":"Bearer","expires_in":{expires_in}}}"#);
        let transport = ScriptedTransport::from_fn(move |_| ScriptedAnswer::json(answer.clone()));
        let source = source(&transport);
        // All who wait for it get it …
        let (a, b) = tokio::join!(source.token(), source.token());
        assert_eq!(a.unwrap().expose_secret(), "t", "{expires_in}");
        assert_eq!(b.unwrap().expose_secret(), "t", "{expires_in}");
        assert_eq!(transport.request_count(), 1, "{expires_in}");
        // … and those who come later another.
        token(&source).await;
        assert_eq!(transport.request_count(), 2, "{expires_in}");
    }
}

// R6
#[tokio::test(start_paused = true)]
async fn r6_no_token_serves_longer_than_a_year() {
    let transport = counting(u64::MAX);
    let source = source(&transport);
    let year = 365 * 24 * 3_600 * SECOND;
    assert_eq!(source.token().await.unwrap().remaining(), year);
    advance(year).await;
    assert_eq!(token(&source).await, "t2");
}

// R7
#[tokio::test(start_paused = true)]
async fn r7_less_scope_than_asked_for_is_recorded_or_refused() {
    let answer = |scope: &str| {
        ScriptedAnswer::json(format!(
            r#"{{"access_token":"t","token_type":"Bearer","scope":"{scope}"}}"#
        ))
    };
    let get = async |scope: &str, strict: bool| {
        let transport = ScriptedTransport::new();
        transport.push(answer(scope));
        let builder = scripted_grant().scope("a b");
        let builder = if strict { builder.require_all_scopes() } else { builder };
        client(&transport).token(&builder.build().unwrap()).await
    };
    let scopes = |token: tower_bearer::client::Token| token.granted_scopes().unwrap().to_string();
    assert_eq!(scopes(get("a", false).await.unwrap()), "a");
    assert_eq!(scopes(get("", false).await.unwrap()), "");
    assert_eq!(scopes(get("c b a", true).await.unwrap()), "c b a");
    let error = get("a", true).await.unwrap_err();
    assert!(
        matches!(error.kind(), TokenErrorKind::MissingScopes(missing) if missing.to_string() == "b")
    );
    assert!(error.is_permanent());
}

// The time that the answer took counts.
#[tokio::test(start_paused = true)]
async fn a_lifetime_runs_from_when_it_was_asked_for() {
    let transport = ScriptedTransport::new();
    transport.push(granted("t1", 10).delay(4 * SECOND));
    let source = source(&transport);
    assert_eq!(source.token().await.unwrap().remaining(), 6 * SECOND);
    // It serves until a tenth of its lifetime is left.
    transport.push(granted("t2", 10));
    advance(4_900 * SECOND / 1_000).await;
    assert_eq!(token(&source).await, "t1");
    advance(SECOND / 5).await;
    assert_eq!(token(&source).await, "t2");
    transport.push(ScriptedAnswer::status(StatusCode::OK));
}
