//! Each proof is used once, whatever happens.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::ConnectInfo;
use tower_bearer::dpop::{Dpop, ForwardedFields, ReplayError, ReplayFuture, ReplayStore};
use tower_bearer::jose::Algorithm;

use crate::service::{NOW, ORIGIN, World, accept, proved, verdict};
use crate::world::send;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn d54_of_100_tasks_with_one_proof_exactly_one_passes() {
    let world = Arc::new(World::new());
    let service = world.service(accept());
    let token = world.bound("");
    for _ in 0..5 {
        let proof = world.proof("GET", "/", &token).sign();
        let tasks = (0..100).map(|_| {
            let (service, token, proof) = (service.clone(), token.clone(), proof.clone());
            tokio::spawn(async move {
                verdict(&send(&service, proved("GET", "/", &token, &proof)).await)
            })
        });
        let mut passed = 0;
        for task in tasks.collect::<Vec<_>>() {
            match task.await.unwrap() {
                "accepted" => passed += 1,
                other => assert_eq!(other, "dpop_proof_replayed"),
            }
        }
        assert_eq!(passed, 1);
    }
}

#[tokio::test]
async fn d46_d58_a_proof_is_refused_again_until_its_last_second() {
    let world = World::new();
    let token = world.bound("");
    let service = world.service(accept());
    for (at, ahead) in [(0, 0), (100, 5)] {
        let time = |seconds: i64| tower_bearer::UnixTime::from_secs(NOW + at + seconds);
        world.clock.set(time(0));
        let proof = world.proof("GET", "/", &token).issued_in(Duration::from_secs(ahead)).sign();
        let ahead = ahead as i64;
        let ask = || async { verdict(&send(&service, proved("GET", "/", &token, &proof)).await) };
        assert_eq!(ask().await, "accepted");
        for second in [0, 1, 59, 60, 64, 65] {
            world.clock.set(time(second + ahead));
            assert_eq!(ask().await, "dpop_proof_replayed", "{second}");
        }
        world.clock.set(time(66 + ahead));
        assert_eq!(ask().await, "dpop_proof_out_of_time");
    }
}

#[tokio::test]
async fn d57_two_keys_may_have_one_jti_and_one_key_may_not() {
    let one = World::new();
    let service = one.service(accept());
    let two = World { issuer: one.issuer, ..World::new() };
    let ask = async |world: &World, jti: &str, client: &tower_bearer::testing::TestKey| {
        let jkt = crate::service::thumbprint(client);
        let token = world.token("", serde_json::json!({ "jkt": jkt }));
        let proof = tower_bearer::testing::TestProof::by(client).now(world.now()).jti(jti);
        let proof = proof.method("GET").uri(&format!("{ORIGIN}/")).token(&token).sign();
        verdict(&send(&service, proved("GET", "/", &token, &proof)).await)
    };
    assert_eq!(ask(&two, "a", &one.client).await, "accepted");
    assert_eq!(ask(&two, "a", &two.client).await, "accepted");
    // Signed anew, it is still the same one.
    assert_eq!(ask(&two, "a", &one.client).await, "dpop_proof_replayed");
    assert_eq!(ask(&two, "b", &one.client).await, "accepted");
}

#[tokio::test]
async fn d60_a_flood_fills_the_record_and_those_within_the_bound_go_on_after_the_window() {
    let world = World::new();
    let token = world.bound("");
    let service = world.service(accept().replay_bytes(16 * 1_024));
    let ask = async || {
        let proof = world.proof("GET", "/", &token).sign();
        send(&service, proved("GET", "/", &token, &proof)).await
    };
    let (mut passed, mut full) = (0, 0);
    for _ in 0..1_100 {
        let answer = ask().await;
        match verdict(&answer) {
            "accepted" => passed += 1,
            "replay_store_full" => {
                full += 1;
                assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1")));
                assert!(answer.header("www-authenticate").is_none());
            }
            other => panic!("{other}"),
        }
    }
    // 16 KiB have places for 960 entries.
    assert!(passed <= 960 && full >= 140, "{passed} {full}");
    world.clock.advance(Duration::from_secs(72));
    assert_eq!(verdict(&ask().await), "accepted");
}

// The record has room for many callers, of whom one floods it.
#[tokio::test]
async fn d59_a_flood_of_one_key_leaves_the_record_to_the_others() {
    let world = World::new();
    let (flooding, other) =
        (&world.client, &tower_bearer::testing::TestKey::generate(Algorithm::ES256));
    for (quota, goes_on) in [(None, false), (Some(64), true)] {
        let dpop = accept().replay_bytes(16 * 1_024);
        let dpop = quota.into_iter().fold(dpop, Dpop::replay_quota);
        let service = world.service(dpop);
        let ask = async |client: &tower_bearer::testing::TestKey| {
            let jkt = crate::service::thumbprint(client);
            let token = world.token("", serde_json::json!({ "jkt": jkt }));
            let proof = tower_bearer::testing::TestProof::by(client).now(world.now());
            let proof = proof.method("GET").uri(&format!("{ORIGIN}/")).token(&token).sign();
            send(&service, proved("GET", "/", &token, &proof)).await
        };
        let mut passed = 0;
        for _ in 0..4_000 {
            let answer = ask(flooding).await;
            match (quota, verdict(&answer)) {
                (_, "accepted") => passed += 1,
                (None, "replay_store_full") => {}
                (Some(_), "replay_quota_used_up") => {
                    let wait = answer.header("retry-after").unwrap().parse::<u64>().unwrap();
                    assert!(answer.status() == 503 && (1..=19).contains(&wait), "{wait}");
                }
                (_, other) => panic!("{other}"),
            }
        }
        assert!(quota.is_none_or(|quota| passed == quota), "{passed}");
        assert_eq!(verdict(&ask(other).await) == "accepted", goes_on, "{quota:?}");
        world.clock.advance(Duration::from_secs(95));
        assert_eq!(verdict(&ask(flooding).await), "accepted");
        assert_eq!(verdict(&ask(other).await), "accepted");
    }
}

#[derive(Clone, Copy)]
enum Behaviour {
    Fresh,
    Seen,
    Down,
    Hangs,
}

struct Store(Behaviour, Arc<AtomicUsize>);

impl ReplayStore for Store {
    fn record<'a>(&'a self, key: &'a str, ttl: Duration) -> ReplayFuture<'a> {
        self.1.fetch_add(1, Ordering::Relaxed);
        let hash = key.strip_prefix("tower-bearer:dpop:https://api.example:").unwrap();
        assert!(hash.len() == 64 && ttl <= Duration::from_secs(77), "{key} {ttl:?}");
        Box::pin(async move {
            match self.0 {
                Behaviour::Fresh => Ok(true),
                Behaviour::Seen => Ok(false),
                Behaviour::Down => Err(ReplayError::new("connection refused")),
                Behaviour::Hangs => std::future::pending().await,
            }
        })
    }
}

#[allow(clippy::disallowed_methods, reason = "the time is paused")]
#[tokio::test(start_paused = true)]
async fn d61_a_store_that_fails_is_our_trouble_and_not_the_callers() {
    for (behaviour, open, status, expected) in [
        (Behaviour::Fresh, false, 200, "accepted"),
        (Behaviour::Seen, false, 401, "dpop_proof_replayed"),
        (Behaviour::Down, false, 503, "replay_store_failed"),
        (Behaviour::Hangs, false, 503, "replay_store_failed"),
        (Behaviour::Down, true, 200, "accepted"),
        (Behaviour::Hangs, true, 200, "accepted"),
        (Behaviour::Seen, true, 401, "dpop_proof_replayed"),
    ] {
        let (world, calls) = (World::new(), Arc::new(AtomicUsize::new(0)));
        let dpop = accept().replay_store(Store(behaviour, Arc::clone(&calls)));
        let dpop = if open { dpop.dangerous_replay_fail_open() } else { dpop };
        let service = world.service(dpop);
        let token = world.bound("");
        let proof = world.proof("GET", "/", &token).sign();
        let began = tokio::time::Instant::now();
        let answer = send(&service, proved("GET", "/", &token, &proof)).await;
        assert!(began.elapsed() <= Duration::from_millis(110), "{:?}", began.elapsed());
        assert_eq!((answer.status(), verdict(&answer)), (status, expected));
        assert_eq!(answer.header("retry-after"), (status == 503).then_some("1"));
        // D55: nothing is asked of the store for a bad proof.
        let bad = world.proof("GET", "/", &token).wrong_signature().sign();
        assert_eq!(send(&service, proved("GET", "/", &token, &bad)).await.status(), 401);
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn d62_only_by_its_name_is_there_no_record() {
    let world = World::new();
    let token = world.bound("");
    let service = world.service(accept().dangerous_no_replay_check());
    let proof = world.proof("GET", "/", &token).sign();
    for _ in 0..2 {
        let answer = send(&service, proved("GET", "/", &token, &proof)).await;
        assert_eq!(verdict(&answer), "accepted");
    }
}

/// Believes these fields of proxies in one network.
fn trusting(dpop: Dpop, fields: ForwardedFields) -> Dpop {
    let address = |peer: &ConnectInfo<SocketAddr>| Some(peer.0.ip());
    dpop.trusted_proxies(fields, ["10.0.0.0/24"], address).unwrap()
}

// D41: with no proxy listed, none is believed, and no request is refused for want of an address.
#[tokio::test]
async fn d41_a_list_of_no_proxies_changes_nothing() {
    let world = World::new();
    let token = world.bound("");
    let address = |peer: &ConnectInfo<SocketAddr>| Some(peer.0.ip());
    let none: [&str; 0] = [];
    let dpop = accept().trusted_proxies(ForwardedFields::XForwarded, none, address).unwrap();
    let service = world.service(dpop);
    let proof = world.proof("GET", "/", &token).sign();
    let mut request = proved("GET", "/", &token, &proof);
    request.headers_mut().insert("x-forwarded-host", "evil.example".parse().unwrap());
    assert_eq!(verdict(&send(&service, request).await), "accepted");
}

#[test]
fn d62_settings_that_contradict_each_other_are_errors() {
    let world = World::new();
    let store = || Store(Behaviour::Fresh, Arc::default());
    for (dpop, word) in [
        (Dpop::accept(), "public_origins"),
        (accept().dangerous_replay_fail_open(), "replay store"),
        (accept().replay_store(store()).dangerous_no_replay_check(), "leave one out"),
        (accept().replay_store(store()).replay_bytes(16 * 1_024), "leave one"),
        (accept().replay_bytes(0), "replay_bytes"),
        (accept().replay_quota(63), "replay_quota"),
        (accept().replay_quota(1_000_001), "replay_quota"),
        (accept().replay_quota(100).replay_store(store()), "leave it out"),
        (accept().replay_quota(100).dangerous_no_replay_check(), "leave it out"),
        (accept().max_age(Duration::from_secs(4)), "max_age"),
        (accept().max_age(Duration::from_secs(301)), "max_age"),
        (accept().clock_skew(Duration::from_secs(61)), "clock_skew"),
        (accept().replay_timeout(Duration::ZERO), "replay_timeout"),
        (accept().algorithms([]), "algorithm"),
        (
            trusting(trusting(accept(), ForwardedFields::Forwarded), ForwardedFields::XForwarded),
            "name one",
        ),
    ] {
        let keys =
            tower_bearer::jwks::Jwks::static_set(crate::world::ISSUER, &world.issuer.jwks_json());
        let builder = tower_bearer::Validator::builder(crate::world::ISSUER, "a");
        let error = builder.keys(keys.unwrap()).dpop(dpop).build().unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    world.validator(accept().max_age(Duration::from_secs(300)).clock_skew(Duration::ZERO));
}
