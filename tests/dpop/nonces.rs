//! Nonces of the service (RFC 9449 §9).

use std::sync::Arc;
use std::time::Duration;

use tower_bearer::Secret;
#[cfg(any(feature = "client", feature = "introspection"))]
use tower_bearer::client::{SecretError, SecretErrorKind, SecretFuture, SecretProvider};
use tower_bearer::dpop::NonceKeys;

use crate::service::{World, accept, all, proved, require, verdict};
#[cfg(any(feature = "client", feature = "introspection"))]
use crate::world::Logs;
use crate::world::{Answer, send};

fn keys(first: u8) -> NonceKeys {
    NonceKeys::new(Secret::new(vec![first; 32])).unwrap()
}

fn nonce(answer: &Answer) -> String {
    let nonces = all(answer, "dpop-nonce");
    assert_eq!(nonces.len(), 1, "{nonces:?}");
    nonces[0].clone()
}

#[tokio::test]
async fn d64_d66_a_proof_without_a_nonce_is_refused_with_one() {
    let world = World::new();
    let service = world.service(accept().nonces(keys(1)));
    let token = world.bound("");
    let other = world.service(accept().nonces(keys(2)));
    let ask = async |service: &_, nonce: Option<&str>| {
        let proof = world.proof("GET", "/", &token);
        let proof = nonce.map_or(proof.clone(), |nonce| proof.nonce(nonce)).sign();
        send(service, proved("GET", "/", &token, &proof)).await
    };
    let foreign = nonce(&ask(&other, None).await);
    for bad in [None, Some(""), Some("made up"), Some(foreign.as_str())] {
        let answer = ask(&service, bad).await;
        assert_eq!((answer.status(), verdict(&answer)), (401, "dpop_nonce_required"), "{bad:?}");
        assert_eq!(
            all(&answer, "www-authenticate"),
            [
                r#"Bearer realm="api""#,
                r#"DPoP realm="api", error="use_dpop_nonce", error_description="The DPoP proof needs a nonce", algs="ES256 EdDSA""#
            ]
        );
        assert!(answer.body().contains(r#""error":"use_dpop_nonce""#));
        let again = ask(&service, Some(&nonce(&answer))).await;
        assert_eq!(verdict(&again), "accepted");
        assert!(again.header("dpop-nonce").is_none(), "it has the newest already");
        assert!(again.header("cache-control").is_none());
    }
}

#[tokio::test]
async fn d67_d69_an_older_nonce_is_accepted_and_replaced() {
    let world = World::new();
    let service = world.service(require().nonces(keys(1)));
    let other = world.service(require().nonces(keys(1)));
    let token = world.bound("");
    let ask = async |service: &_, nonce: &str| {
        let proof = world.proof("GET", "/", &token).nonce(nonce).sign();
        send(service, proved("GET", "/", &token, &proof)).await
    };
    let first = nonce(&ask(&service, "").await);
    // Another instance with the same key.
    assert_eq!(verdict(&ask(&other, &first).await), "accepted");
    for _ in 0..4 {
        world.clock.advance(Duration::from_secs(60));
        let answer = ask(&service, &first).await;
        assert_eq!(verdict(&answer), "accepted");
        assert_ne!(nonce(&answer), first);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(verdict(&ask(&other, &nonce(&answer)).await), "accepted");
    }
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(verdict(&ask(&service, &first).await), "dpop_nonce_required");
}

#[tokio::test]
async fn d68_the_key_is_replaced_while_requests_come() {
    let world = World::new();
    let shared = keys(1);
    let service = world.service(accept().nonces(shared.clone()));
    let token = world.bound("");
    let ask = async |nonce: &str| {
        let proof = world.proof("GET", "/", &token).nonce(nonce).sign();
        send(&service, proved("GET", "/", &token, &proof)).await
    };
    let old = nonce(&ask("").await);
    shared.replace(Secret::new(vec![2; 32])).unwrap();
    let answer = ask(&old).await;
    assert_eq!(verdict(&answer), "accepted");
    assert_eq!(verdict(&ask(&nonce(&answer)).await), "accepted");
    shared.replace(Secret::new(vec![3; 32])).unwrap();
    assert_eq!(verdict(&ask(&old).await), "dpop_nonce_required");
}

#[tokio::test]
async fn d70_whatever_else_is_wrong_outweighs_the_nonce() {
    let world = World::new();
    let service = world.service(accept().nonces(keys(1)));
    let token = world.bound("");
    let good = || world.proof("GET", "/", &token);
    for (proof, expected) in [
        (good().method("POST"), "dpop_proof_mismatch"),
        (good().uri("https://evil.example/"), "dpop_proof_mismatch"),
        (good().wrong_signature(), "dpop_proof_bad_signature"),
        (good().issued_ago(Duration::from_secs(66)), "dpop_proof_out_of_time"),
        (good().typ("JWT"), "dpop_proof_malformed"),
        (good().token("another"), "dpop_proof_mismatch"),
        (good(), "dpop_nonce_required"),
    ] {
        let answer = send(&service, proved("GET", "/", &token, &proof.sign())).await;
        assert_eq!(verdict(&answer), expected);
        assert_eq!(answer.header("dpop-nonce").is_some(), expected == "dpop_nonce_required");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn d71_a_client_gets_in_at_its_second_try_also_in_a_storm() {
    let world = Arc::new(World::new());
    let service = world.service(accept().nonces(keys(1)));
    let tasks = (0..32).map(|_| {
        let (world, service) = (Arc::clone(&world), service.clone());
        tokio::spawn(async move {
            let token = world.bound("");
            let first = world.proof("GET", "/", &token).sign();
            let refused = send(&service, proved("GET", "/", &token, &first)).await;
            let second = world.proof("GET", "/", &token).nonce(&nonce(&refused)).sign();
            verdict(&send(&service, proved("GET", "/", &token, &second)).await)
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert_eq!(task.await.unwrap(), "accepted");
    }
}

// D69: a failure of the service within is its own, and what the handler says of caching stays.
#[tokio::test]
async fn d69_only_a_good_answer_carries_a_newer_nonce() {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    let world = World::new();
    let router = Router::new()
        .route("/bad", get(async || http::StatusCode::NOT_FOUND))
        .route("/cached", get(async || ([("cache-control", "private")], "fine")))
        .layer(world.layer(accept().nonces(keys(1))));
    let token = world.bound("");
    let ask = async |path: &str, nonce: &str| {
        let proof = world.proof("GET", path, &token).nonce(nonce).sign();
        send(&router, proved("GET", path, &token, &proof).map(Body::new)).await
    };
    let old = nonce(&ask("/bad", "").await);
    world.clock.advance(Duration::from_secs(60));
    let bad = ask("/bad", &old).await;
    assert_eq!((bad.status(), bad.header("dpop-nonce")), (404, None));
    let cached = ask("/cached", &old).await;
    assert!(cached.header("dpop-nonce").is_some());
    assert_eq!(all(&cached, "cache-control"), ["private"]);
}

// For clients whose clocks are wrong: the nonce tells the time.
#[tokio::test]
async fn d48_a_nonce_can_stand_for_the_time() {
    let world = World::new();
    let token = world.bound("");
    let strict = world.service(accept().nonces(keys(1)));
    let lenient = world.service(accept().nonces(keys(1)).nonce_replaces_iat());
    let proof = || world.proof("GET", "/", &token);
    let ask = async |service: &_, proof: tower_bearer::testing::TestProof| {
        send(service, proved("GET", "/", &token, &proof.sign())).await
    };
    let newest = nonce(&ask(&lenient, proof()).await);
    let day = Duration::from_secs(86_400);
    for ahead in [false, true] {
        let wrong = |proof: tower_bearer::testing::TestProof| match ahead {
            true => proof.issued_in(day),
            false => proof.issued_ago(day),
        };
        // It isn't told that its clock is wrong before it has a nonce, which it couldn't get otherwise.
        assert_eq!(verdict(&ask(&lenient, wrong(proof())).await), "dpop_nonce_required");
        let made_up = wrong(proof()).nonce("made up");
        assert_eq!(verdict(&ask(&lenient, made_up).await), "dpop_nonce_required");
        assert_eq!(
            verdict(&ask(&strict, wrong(proof()).nonce(&newest)).await),
            "dpop_proof_out_of_time"
        );
        let good = wrong(proof()).nonce(&newest).sign();
        let good = || proved("GET", "/", &token, &good);
        assert_eq!(verdict(&send(&lenient, good()).await), "accepted");
        assert_eq!(verdict(&send(&lenient, good()).await), "dpop_proof_replayed");
    }
    // What the proof itself says of its end holds.
    let ended = proof().nonce(&newest).claim("exp", crate::service::NOW - 60);
    assert_eq!(verdict(&ask(&lenient, ended).await), "dpop_proof_out_of_time");
}

// As long as its nonce is accepted, the same proof is known.
#[tokio::test]
async fn d48_d58_such_a_proof_is_remembered_until_its_nonce_is_old() {
    let world = World::new();
    let token = world.bound("");
    let service = world.service(accept().nonces(keys(1)).nonce_replaces_iat());
    let made = nonce(
        &send(&service, proved("GET", "/", &token, &world.proof("GET", "/", &token).sign())).await,
    );
    // The clock of the instance that made it is a minute ahead.
    world.clock.set(tower_bearer::UnixTime::from_secs(crate::service::NOW - 60));
    let proof = world.proof("GET", "/", &token).nonce(&made).sign();
    let ask = async || verdict(&send(&service, proved("GET", "/", &token, &proof)).await);
    assert_eq!(ask().await, "accepted");
    for second in (0..360).step_by(20).chain([358, 359]) {
        let now = crate::service::NOW - 60 + second;
        world.clock.set(tower_bearer::UnixTime::from_secs(now));
        assert_eq!(ask().await, "dpop_proof_replayed", "{second}");
    }
    world.clock.set(tower_bearer::UnixTime::from_secs(crate::service::NOW + 300));
    assert_eq!(ask().await, "dpop_nonce_required");
}

#[test]
fn d48_without_nonces_nothing_stands_for_the_time() {
    let world = World::new();
    let keys =
        tower_bearer::jwks::Jwks::static_set(crate::world::ISSUER, &world.issuer.jwks_json());
    let builder = tower_bearer::Validator::builder(crate::world::ISSUER, "a").keys(keys.unwrap());
    let error = builder.dpop(accept().nonce_replaces_iat()).build().unwrap_err().to_string();
    assert!(error.contains(".nonces("), "{error}");
}

/// Gives this key; fails while there is none.
#[cfg(any(feature = "client", feature = "introspection"))]
#[derive(Clone)]
struct Kept(Arc<std::sync::Mutex<Option<Secret>>>);

#[cfg(any(feature = "client", feature = "introspection"))]
impl SecretProvider for Kept {
    fn secret(&self) -> SecretFuture<'_> {
        let secret = self.0.lock().unwrap().clone();
        Box::pin(async { secret.ok_or(SecretError::new(SecretErrorKind::Unavailable)) })
    }
}

#[cfg(any(feature = "client", feature = "introspection"))]
#[tokio::test(start_paused = true)]
async fn d68_the_log_says_when_the_key_is_replaced_and_once_that_it_cant_be_read() {
    let logs = Logs::capture();
    let told = |level: &str, event: &str| {
        let lines = logs.take();
        let told: Vec<&String> = lines.iter().filter(|line| line.contains(event)).collect();
        assert!(told.iter().all(|line| line.contains(level)), "{told:?}");
        told.len()
    };
    let minutes = async |count: u64| tokio::time::sleep(Duration::from_secs(60 * count)).await;
    let kept = Kept(Arc::new(std::sync::Mutex::new(Some(Secret::new(vec![1; 32])))));
    let set = |secret: Option<Secret>| *kept.0.lock().unwrap() = secret;
    let _keys = NonceKeys::from_provider(kept.clone()).await.unwrap();
    minutes(5).await;
    assert_eq!(logs.take(), Vec::<String>::new(), "nothing has happened");

    set(None);
    minutes(10).await;
    assert_eq!(told(" WARN ", "dpop_nonce_key_failed"), 1);
    set(Some(Secret::new(vec![2; 32])));
    minutes(10).await;
    assert_eq!(told(" INFO ", "dpop_nonce_key: nonces are made with another key"), 1);
    set(Some(Secret::new(vec![2; 31])));
    minutes(2).await;
    assert_eq!(told(" WARN ", "dpop_nonce_key_failed"), 1, "it was well between");
}
