//! However many wait, one asks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::time::{advance, timeout};
use tower_bearer::Secret;
use tower_bearer::client::{
    ClientAuth, Grant, SecretFuture, SecretProvider, TokenClient, TokenErrorKind, TokenSource,
};
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport};
use tower_bearer::transport::TransportErrorKind;

use crate::support::*;

// E4
#[tokio::test(start_paused = true)]
async fn e4_two_hundred_callers_make_one_request() {
    let transport = ScriptedTransport::new();
    let (answer, gate) = granted("t1", 600).gated();
    transport.push(answer);
    let source = source(&transport);
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let source = source.clone();
            tokio::spawn(async move { token(&source).await })
        })
        .collect();
    settle().await;
    gate.open();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), "t1");
    }
    assert_eq!(transport.request_count(), 1);
}

// E4
#[tokio::test(start_paused = true)]
async fn e4_a_caller_who_goes_away_does_not_end_the_fetch() {
    let transport = ScriptedTransport::new();
    let (answer, gate) = granted("t1", 600).gated();
    transport.push(answer);
    let source = source(&transport);
    assert!(timeout(Duration::from_millis(1), source.token()).await.is_err());
    assert_eq!((transport.request_count(), transport.cancelled()), (1, 0));
    let other = tokio::spawn({
        let source = source.clone();
        async move { token(&source).await }
    });
    settle().await;
    gate.open();
    assert_eq!(other.await.unwrap(), "t1");
    assert_eq!(transport.request_count(), 1);
    // With nobody waiting it is kept as well.
    let transport = counting(600);
    let source = self::source(&transport);
    assert!(timeout(Duration::ZERO, source.token()).await.is_err());
    settle().await;
    assert_eq!(token(&source).await, "t1");
    assert_eq!(transport.request_count(), 1);
}

// E4
#[tokio::test(start_paused = true)]
async fn e4_all_who_wait_get_the_same_error() {
    let transport = ScriptedTransport::new();
    let (answer, gate) = refused(400, "invalid_scope").gated();
    transport.push(answer);
    let source = source(&transport);
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let source = source.clone();
            tokio::spawn(async move { source.token().await.unwrap_err().to_string() })
        })
        .collect();
    settle().await;
    gate.open();
    for caller in callers {
        assert_eq!(
            caller.await.unwrap(),
            "no access token for client \"me\" from https://as.test/token: the server refused: \
             invalid_scope"
        );
    }
    assert_eq!(transport.request_count(), 1);
}

// E4, R13: waiting is bounded.
#[tokio::test(start_paused = true)]
async fn e4_r13_nobody_waits_longer_than_ten_seconds() {
    let transport = ScriptedTransport::from_fn(|_| ScriptedAnswer::never());
    let source = source(&transport);
    let started = tokio::time::Instant::now();
    let error = source.token().await.unwrap_err();
    assert_eq!(*error.kind(), TokenErrorKind::TimedOut);
    assert!(!error.is_permanent());
    assert!(started.elapsed() <= 10 * SECOND);
    assert_eq!(transport.request_count(), 2, "one exchange takes half of it");
    let limits: Vec<_> = transport
        .requests()
        .iter()
        .map(|request| *request.extensions().get::<tower_bearer::transport::Limits>().unwrap())
        .collect();
    assert!(limits.iter().all(|limits| limits.timeout == 5 * SECOND && limits.max_bytes == 65_536));
    // The next doesn't wait at all.
    assert!(timeout(Duration::ZERO, source.token()).await.unwrap().is_err());
    assert_eq!(transport.request_count(), 2);
}

// E4: a runtime that ends takes the fetch along, and no more than that.
#[test]
fn e4_a_runtime_that_ends_is_survived() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    };
    let transport = ScriptedTransport::new();
    let (answer, _gate) = granted("t1", 600).gated();
    transport.push(answer);
    transport.push(granted("t2", 600));
    let first = runtime();
    let source = first.block_on(async { source(&transport) });
    let begun = first.block_on(async { timeout(SECOND, source.token()).await.is_err() });
    assert!(begun);
    drop(first);
    assert_eq!(runtime().block_on(token(&source)), "t2");
}

// E4: a transport that panics takes those who wait along, and nobody after them: it has failed.
#[tokio::test(start_paused = true)]
async fn e4_a_fetch_that_panics_is_an_error_to_who_waits_and_no_more() {
    let (transport, requests) = panicking(|n| n == 0);
    let source = source(&transport);
    let (a, b) = tokio::join!(source.token(), source.token());
    for error in [a.unwrap_err(), b.unwrap_err(), source.token().await.unwrap_err()] {
        assert_eq!(*error.kind(), TokenErrorKind::NoRuntime);
    }
    assert_eq!(requests.load(Ordering::Relaxed), 1);
    advance(Duration::from_millis(750)).await;
    assert_eq!(token(&source).await, "t1");
}

// R12: after every failure there is a rest, and the next is longer.
#[tokio::test(start_paused = true)]
async fn r12_a_transport_that_always_panics_is_asked_less_and_less_often() {
    let (transport, requests) = panicking(|_| true);
    let source = source(&transport);
    for _ in 0..600 {
        source.token().await.unwrap_err();
        advance(Duration::from_millis(100)).await;
    }
    let requests = requests.load(Ordering::Relaxed);
    assert!((6..=7).contains(&requests), "{requests} in a minute");
}

// R12, E2: nor does it panic for each call that a token serves.
#[tokio::test(start_paused = true)]
async fn r12_a_renewal_that_panics_rests_too() {
    let (transport, requests) = panicking(|n| (1..4).contains(&n));
    let source = source(&transport);
    assert_eq!(token(&source).await, "t0");
    advance(481 * SECOND).await;
    for _ in 0..20 {
        assert_eq!(token(&source).await, "t0");
        settle().await;
        advance(Duration::from_millis(10)).await;
    }
    assert_eq!(requests.load(Ordering::Relaxed), 2);
    for _ in 0..10 {
        advance(SECOND).await;
        token(&source).await;
        settle().await;
    }
    assert_eq!(token(&source).await, "t4");
}

// R12: a provider of the secret that panics is asked no more often.
#[tokio::test(start_paused = true)]
async fn r12_a_provider_that_panics_rests_too() {
    struct Broken(Arc<AtomicUsize>);
    impl SecretProvider for Broken {
        fn secret(&self) -> SecretFuture<'_> {
            let n = self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                assert!(n > 0, "it breaks");
                Ok(Secret::new("s3cret"))
            })
        }
    }
    let asked = Arc::new(AtomicUsize::new(0));
    let auth = ClientAuth::basic("me", Broken(Arc::clone(&asked)));
    let grant = Grant::endpoint("https://as.test/token", auth).build().unwrap();
    let source = client(&counting(600)).source(&grant);
    for _ in 0..4 {
        source.token().await.unwrap_err();
        advance(Duration::from_millis(100)).await;
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    advance(Duration::from_millis(350)).await;
    assert_eq!(token(&source).await, "t1");
}

// E4: what a destructor fetches while its thread unwinds hasn't failed for that.
#[test]
fn e4_a_token_can_be_had_while_a_thread_panics() {
    struct Cleanup(TokenSource, mpsc::Sender<bool>);
    impl Drop for Cleanup {
        fn drop(&mut self) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let result = runtime.unwrap().block_on(self.0.token());
            self.1.send(result.is_ok()).unwrap();
        }
    }
    let (sender, had) = mpsc::channel();
    let cleanup = Cleanup(source(&counting(600)), sender);
    let thread = std::thread::spawn(move || {
        let _cleanup = cleanup;
        panic!("it breaks");
    });
    thread.join().unwrap_err();
    assert!(had.recv().unwrap());
}

/// A transport that panics at these requests, counted from 0, and what counts them.
fn panicking(
    panics: impl Fn(usize) -> bool + Send + Sync + 'static,
) -> (ScriptedTransport, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let transport = ScriptedTransport::from_fn(move |_| {
        let n = count.fetch_add(1, Ordering::Relaxed);
        assert!(!panics(n), "it breaks");
        granted(&format!("t{n}"), 600)
    });
    (transport, requests)
}

// E4
#[test]
fn e4_without_a_runtime_there_is_an_error_and_no_panic() {
    let source = source(&counting(600));
    let mut future = tokio_test::task::spawn(source.token());
    let error = match future.poll() {
        std::task::Poll::Ready(result) => result.unwrap_err(),
        std::task::Poll::Pending => panic!("it waits for nothing"),
    };
    assert_eq!(*error.kind(), TokenErrorKind::NoRuntime);
}

// P8: a token that is there is there at once.
#[tokio::test(start_paused = true)]
async fn p8_a_kept_token_is_ready_at_the_first_poll() {
    let source = source(&counting(600));
    token(&source).await;
    assert!(tokio_test::task::spawn(source.token()).poll().is_ready());
    advance(500 * SECOND).await;
    assert!(tokio_test::task::spawn(source.token()).poll().is_ready(), "while it is replaced too");
}

// E4: threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn e4_threads_share_one_fetch() {
    for _ in 0..50 {
        let transport = counting(600);
        let source = source(&transport);
        let start = Arc::new(tokio::sync::Barrier::new(8));
        let callers: Vec<_> = (0..8)
            .map(|_| {
                let (source, start) = (source.clone(), Arc::clone(&start));
                tokio::spawn(async move {
                    start.wait().await;
                    token(&source).await
                })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap(), "t1");
        }
        assert_eq!(transport.request_count(), 1);
    }
}

// The runtime of the current thread is dropped while that unwinds, for a reason that isn't the fetch's.
#[test]
fn e4_a_fetch_that_ends_with_the_runtime_of_a_thread_that_panics_has_not_failed() {
    let transport = ScriptedTransport::new();
    transport.push(ScriptedAnswer::never());
    transport.push(granted("t2", 600));
    let source = source(&transport);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let other = source.clone();
    let watched = transport.clone();
    let thread = std::thread::spawn(move || {
        runtime().block_on(async {
            assert!(tokio_test::task::spawn(other.token()).poll().is_pending());
            watched.wait_for_requests(1).await;
            panic!("something else breaks");
        });
    });
    thread.join().unwrap_err();
    assert_eq!(runtime().block_on(token(&source)), "t2");
}

// The fetch is in a runtime, and who waits for it isn't in one.
#[test]
fn a_call_outside_of_all_runtimes_is_an_error_and_no_panic() {
    let transport = ScriptedTransport::from_fn(|_| ScriptedAnswer::never());
    let source = source(&transport);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for begun in [false, true] {
        if begun {
            runtime.block_on(async {
                assert!(tokio_test::task::spawn(source.token()).poll().is_pending());
            });
        }
        let error = match tokio_test::task::spawn(source.token()).poll() {
            std::task::Poll::Ready(result) => result.unwrap_err(),
            std::task::Poll::Pending => panic!("it waits"),
        };
        assert_eq!(*error.kind(), TokenErrorKind::NoRuntime, "{begun}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_ones_own_is_kept() {
    let transport = ScriptedTransport::from_fn(|_| ScriptedAnswer::never());
    let client =
        TokenClient::builder().transport(transport.clone()).timeout(SECOND).build().unwrap();
    let started = tokio::time::Instant::now();
    client.token(&scripted_grant().build().unwrap()).await.unwrap_err();
    assert!(started.elapsed() <= SECOND);
    let gone = ScriptedTransport::from_fn(|_| ScriptedAnswer::error(TransportErrorKind::Connect));
    assert!(source(&gone).token().await.is_err());
    let builder = || TokenClient::builder().transport(counting(1));
    for (timeout, is_accepted) in [
        (Duration::ZERO, false),
        (Duration::from_millis(1), true),
        (3_600 * SECOND, true),
        (3_601 * SECOND, false),
        (Duration::MAX, false),
    ] {
        assert_eq!(builder().timeout(timeout).build().is_ok(), is_accepted, "{timeout:?}");
    }
    assert!(builder().capacity(0).build().is_err());
    assert!(builder().per_tenant(0).build().is_err());
    assert!(builder().build().is_ok());
}
