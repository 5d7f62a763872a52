//! Nonces of the service (RFC 9449 §9).

use std::time::Duration;

use tower_bearer::Secret;
use tower_bearer::dpop::NonceKeys;

use crate::service::{World, accept, all, proved, require, verdict};
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
    let world = std::sync::Arc::new(World::new());
    let service = world.service(accept().nonces(keys(1)));
    let tasks = (0..32).map(|_| {
        let (world, service) = (std::sync::Arc::clone(&world), service.clone());
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
