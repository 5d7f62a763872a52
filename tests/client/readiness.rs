//! What a probe and the start of a service are told about a grant.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tower_bearer::client::{ErrorCode, TokenErrorKind};
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport};

use crate::support::*;

/// A server that refuses so many requests, and then grants tokens of a minute.
fn failing(times: usize, answer: fn() -> ScriptedAnswer) -> (ScriptedTransport, Arc<AtomicUsize>) {
    let left = Arc::new(AtomicUsize::new(times));
    let count = Arc::clone(&left);
    let transport = ScriptedTransport::from_fn(move |_| {
        match count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => answer(),
            Err(_) => granted("t", 60),
        }
    });
    (transport, left)
}

fn down() -> ScriptedAnswer {
    ScriptedAnswer::status(http::StatusCode::BAD_GATEWAY)
}

#[tokio::test(start_paused = true)]
async fn ready_waits_for_a_server_that_comes_up() {
    let (transport, left) = failing(10, down);
    let source = source(&transport);
    source.ready(60 * SECOND).await.unwrap();
    assert_eq!(left.load(Ordering::Relaxed), 0);
    assert!(source.health().is_serving());
}

#[tokio::test(start_paused = true)]
async fn ready_says_in_the_end_what_was_wrong_and_not_that_it_took_long() {
    let (transport, _) = failing(usize::MAX, down);
    let began = tokio::time::Instant::now();
    let error = source(&transport).ready(20 * SECOND).await.unwrap_err();
    assert_eq!(*error.kind(), TokenErrorKind::Status(http::StatusCode::BAD_GATEWAY));
    assert!(began.elapsed() <= 20 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn ready_does_not_wait_for_what_does_not_pass() {
    let (transport, _) = failing(usize::MAX, || refused(400, "invalid_scope"));
    let began = tokio::time::Instant::now();
    let error = source(&transport).ready(60 * SECOND).await.unwrap_err();
    assert_eq!(*error.kind(), TokenErrorKind::Refused(ErrorCode::InvalidScope));
    assert_eq!(began.elapsed(), std::time::Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn ready_ends_with_its_own_time_if_a_server_hangs() {
    let transport = ScriptedTransport::new();
    let (answer, _gate) = granted("t", 60).gated();
    transport.push(answer);
    let error = source(&transport).ready(SECOND).await.unwrap_err();
    assert_eq!(*error.kind(), TokenErrorKind::Deadline);
}

#[tokio::test(start_paused = true)]
async fn health_tells_a_token_that_serves_from_fetches_that_fail() {
    let broken = Arc::new(AtomicUsize::new(0));
    let is_broken = Arc::clone(&broken);
    let transport = ScriptedTransport::from_fn(move |_| match is_broken.load(Ordering::Relaxed) {
        0 => granted("t", 600),
        _ => refused(400, "invalid_scope"),
    });
    let source = source(&transport);
    let health = source.health();
    assert!(!health.is_serving() && health.last_error().is_none());
    assert!(transport.requests().is_empty(), "nothing is fetched for a probe");

    source.token().await.unwrap();
    let health = source.health();
    assert_eq!(health.serves_for(), Some(540 * SECOND));
    assert_eq!((health.last_error().is_none(), health.failures()), (true, 0));

    // It is due, and can't be replaced; it serves nevertheless.
    broken.store(1, Ordering::Relaxed);
    tokio::time::advance(530 * SECOND).await;
    source.token().await.unwrap();
    settle().await;
    let health = source.health();
    assert_eq!(health.serves_for(), Some(10 * SECOND));
    let kind = TokenErrorKind::Refused(ErrorCode::InvalidScope);
    assert_eq!(health.last_error().map(|error| error.kind()), Some(&kind));
    assert_eq!(health.failures(), 1);

    tokio::time::advance(20 * SECOND).await;
    source.token().await.unwrap_err();
    assert!(!source.health().is_serving());
    source.reset();
    assert!(source.health().last_error().is_none());
}

#[cfg(feature = "metrics")]
#[tokio::test(start_paused = true)]
async fn fetches_are_counted_by_issuer_and_tenant() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let guard = metrics::set_default_local_recorder(&recorder);
    let transport = counting(600);
    let client = client(&transport);
    for builder in [
        scripted_grant().issuer("https://counted.test").tenant("acme"),
        scripted_grant().issuer("https://counted.test"),
    ] {
        client.token(&builder.build().unwrap()).await.unwrap();
    }
    drop(guard);
    let mut seen: Vec<Vec<(String, String)>> = Vec::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let key = key.key().clone();
        if key.name() == "tower_bearer_client_fetches_total" {
            assert_eq!(value, DebugValue::Counter(1));
            let labels = key.labels().map(|it| (it.key().to_owned(), it.value().to_owned()));
            let mut labels: Vec<_> = labels.collect();
            labels.sort();
            seen.push(labels);
        }
    }
    seen.sort();
    let labels = |tenant: &str| {
        [("issuer", "https://counted.test"), ("result", "ok"), ("tenant", tenant)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    };
    assert_eq!(seen, [labels("acme"), labels("none")]);
}
