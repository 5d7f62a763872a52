//! What is counted of proofs and of the record of them, and that no label has anything of a request.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use serde_json::json;
use tower::Layer as _;
use tower_bearer::dpop::{Dpop, NonceKeys, ReplayError, ReplayFuture, ReplayStore};
use tower_bearer::jwks::Jwks;
use tower_bearer::testing::{TestIssuer, TestProof};
use tower_bearer::{BearerAuthLayer, Secret, Validator};

use crate::service::{ORIGIN, World, accept, proved, verdict};
use crate::world::{Inner, bearer, request, send};

/// What was counted since the last look, by name and labels; gauges are left out.
fn counted(snapshotter: &Snapshotter) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let key = key.key();
        if !key.name().starts_with("tower_bearer_dpop_") {
            continue;
        }
        let labels: Vec<_> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = key.name().strip_prefix("tower_bearer_dpop_").unwrap();
        match value {
            DebugValue::Counter(0) => {}
            DebugValue::Counter(count) => {
                counters.insert(format!("{name}{{{}}}", labels.join(",")), count);
            }
            _ => assert!(labels.is_empty(), "{name} {labels:?}"),
        }
    }
    counters
}

fn of(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

const ACCEPTED: &str = "proofs_total{result=accepted}";
const REFUSED: &str = "proofs_total{result=refused}";
const UNAVAILABLE: &str = "proofs_total{result=unavailable}";
const IGNORED: &str = "proofs_total{result=ignored}";

// D63: each proof that is decided about counts once, by what was decided.
#[tokio::test]
async fn d63_proofs_are_counted_by_what_was_decided_about_them() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _metrics = metrics::set_default_local_recorder(&recorder);
    let world = World::new();
    let keys = NonceKeys::new(Secret::new([1; 32])).unwrap();
    let (plain, full) = (world.service(accept()), world.service(accept().replay_bytes(16 * 1_024)));
    let strict = world.service(accept().nonces(keys));
    let token = world.bound("");
    let good = || world.proof("GET", "/", &token);
    let used = good().sign();
    for (service, proof, expected, counts) in [
        (&plain, used.clone(), "accepted", ACCEPTED),
        (&plain, used, "dpop_proof_replayed", REFUSED),
        (&plain, good().wrong_signature().sign(), "dpop_proof_bad_signature", REFUSED),
        (&plain, good().method("PUT").sign(), "dpop_proof_mismatch", REFUSED),
        (&plain, String::new(), "dpop_proof_malformed", REFUSED),
        (&strict, good().sign(), "dpop_nonce_required", REFUSED),
    ] {
        let answer = send(service, proved("GET", "/", &token, &proof)).await;
        assert_eq!(verdict(&answer), expected);
        assert_eq!(counted(&snapshotter), of(&[(counts, 1)]), "{expected}");
    }
    // A record without a place left: whether the proof was used can't be told.
    let mut seen = (0, 0);
    for _ in 0..1_000 {
        match verdict(&send(&full, proved("GET", "/", &token, &good().sign())).await) {
            "accepted" => seen.0 += 1,
            "replay_store_full" => seen.1 += 1,
            other => panic!("{other}"),
        }
    }
    assert!(seen.0 > 0 && seen.1 > 0, "{seen:?}");
    assert_eq!(counted(&snapshotter), of(&[(ACCEPTED, seen.0), (UNAVAILABLE, seen.1)]));
}

// D21: counted where a proof makes no difference, and not where a bound token is sent without the scheme.
#[tokio::test]
async fn d21_d63_a_proof_is_ignored_only_beside_a_token_that_is_accepted_without() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _metrics = metrics::set_default_local_recorder(&recorder);
    let world = World::new();
    let service = world.service(accept());
    let (bound, unbound) = (world.bound(""), world.unbound(""));
    let expired = world.issuer.token_with(json!({ "exp": 1 }));
    for (token, scheme, proofs, expected, counts) in [
        (&unbound, "Bearer", 1, "accepted", &[(IGNORED, 1)][..]),
        (&unbound, "Bearer", 2, "accepted", &[(IGNORED, 1)]),
        (&unbound, "Bearer", 0, "accepted", &[]),
        (&bound, "Bearer", 1, "sender_constrained", &[]),
        (&expired, "Bearer", 1, "expired", &[]),
        // Refused before any proof is read.
        (&unbound, "DPoP", 1, "token_not_bound", &[]),
        (&expired, "DPoP", 1, "expired", &[]),
        (&bound, "DPoP", 0, "dpop_proof_missing", &[]),
        (&bound, "DPoP", 2, "dpop_proof_missing", &[]),
        (&bound, "DPoP", 1, "accepted", &[(ACCEPTED, 1)]),
    ] {
        let proof = world.proof("GET", "/", token).sign();
        let authorization = format!("{scheme} {token}");
        let mut fields = vec![("authorization", &*authorization)];
        fields.extend((0..proofs).map(|_| ("dpop", &*proof)));
        let answer = send(&service, request("GET", "/", &fields)).await;
        assert_eq!(verdict(&answer), expected, "{scheme} {proofs}");
        assert_eq!(counted(&snapshotter), of(counts), "{scheme} {proofs} {expected}");
    }
}

// The same where the verdict comes after a wait.
#[tokio::test]
async fn d21_d63_an_ignored_proof_counts_once_the_keys_are_there() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _metrics = metrics::set_default_local_recorder(&recorder);
    let issuer = TestIssuer::start().await.unwrap();
    let client = tower_bearer::testing::TestKey::generate(tower_bearer::jose::Algorithm::ES256);
    for (token, expected, counts) in [
        (issuer.token().sign(), 200, &[(IGNORED, 1)][..]),
        (issuer.token().bound_to(&client).sign(), 401, &[]),
    ] {
        let keys = Jwks::discover(issuer.issuer()).transport(issuer.transport());
        let validator = Validator::builder(issuer.issuer(), issuer.audience()).keys(keys);
        let validator = validator.dpop(accept()).build().unwrap();
        let service = BearerAuthLayer::new(validator).layer(Inner::default());
        let proof = TestProof::by(&client).method("GET").uri(ORIGIN).token(&token).sign();
        let fields = [("authorization", &*bearer(&token)), ("dpop", &proof)];
        let answer = send(&service, request("GET", "/", &fields)).await;
        assert_eq!(answer.status(), expected);
        assert_eq!(counted(&snapshotter), of(counts), "{expected}");
    }
}

struct Broken {
    hangs: bool,
}

impl ReplayStore for Broken {
    fn record<'a>(&'a self, _: &'a str, _: Duration) -> ReplayFuture<'a> {
        let hangs = self.hangs;
        Box::pin(async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            Err(ReplayError::new("connection refused"))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn d61_d63_failures_of_the_store_are_counted_by_their_kind() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _metrics = metrics::set_default_local_recorder(&recorder);
    let world = World::new();
    let token = world.bound("");
    for (hangs, error) in [
        (false, "replay_failures_total{error=failed}"),
        (true, "replay_failures_total{error=timeout}"),
    ] {
        for (fails_open, result) in [(false, UNAVAILABLE), (true, ACCEPTED)] {
            let dpop = accept().replay_store(Broken { hangs });
            let dpop = if fails_open { Dpop::dangerous_replay_fail_open(dpop) } else { dpop };
            let service = world.service(dpop);
            let proof = world.proof("GET", "/", &token).sign();
            let answer = send(&service, proved("GET", "/", &token, &proof)).await;
            assert_eq!(answer.status(), if fails_open { 200 } else { 503 });
            assert_eq!(counted(&snapshotter), of(&[(result, 1), (error, 1)]));
            // Nothing is asked of the store for a bad one.
            let bad = world.proof("GET", "/", &token).wrong_signature().sign();
            send(&service, proved("GET", "/", &token, &bad)).await;
            assert_eq!(counted(&snapshotter), of(&[(REFUSED, 1)]));
        }
    }
}
