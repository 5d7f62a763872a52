use serde_json::json;
use tower_bearer::jose::Algorithm;
use tower_bearer::testing::TestIssuer;

use crate::{get_json, kids, read, verify, verify_with};

#[tokio::test]
async fn every_algorithm_is_good_to_another_implementation() {
    let issuer =
        TestIssuer::builder().algorithms(Algorithm::ALL.iter().copied()).start().await.unwrap();
    assert_eq!(issuer.published_keys().len(), Algorithm::ALL.len());
    assert_eq!(issuer.signing_key().algorithm(), Algorithm::RS256);
    for algorithm in Algorithm::ALL.iter().copied() {
        let token = issuer.token().algorithm(algorithm).scope("api:read").sign();
        assert_eq!(read(&token).0["alg"], algorithm.name());
        // `jsonwebtoken` has neither ES512 nor ML-DSA; the unit tests of signing have.
        if algorithm.name().parse::<jsonwebtoken::Algorithm>().is_ok() {
            let claims = verify(&issuer, &token).await.unwrap();
            assert_eq!(claims["scope"], "api:read");
            let broken = issuer.token().algorithm(algorithm).wrong_signature().sign();
            assert!(verify(&issuer, &broken).await.unwrap_err().contains("Signature"));
        }
        let key = issuer.signing_key_for(algorithm).unwrap();
        assert_eq!(key.kid(), format!("{}-1", algorithm.name().to_lowercase()));
    }
}

#[tokio::test]
#[should_panic(expected = "started without a key for EdDSA")]
async fn an_algorithm_without_a_key_ends_the_test() {
    let issuer = TestIssuer::start().await.unwrap();
    assert!(issuer.signing_key_for(Algorithm::EdDSA).is_none());
    let _ = issuer.token().algorithm(Algorithm::EdDSA);
}

#[tokio::test]
async fn keys_overlap() {
    let issuer = TestIssuer::start().await.unwrap();
    let old = issuer.token().sign();
    assert_eq!(issuer.rotate_overlapping(), "es256-2");
    assert_eq!(kids(&issuer).await, ["es256-1", "es256-2"]);
    let new = issuer.token().sign();
    assert_eq!(read(&new).0["kid"], "es256-2");
    verify(&issuer, &old).await.unwrap();
    verify(&issuer, &new).await.unwrap();
    issuer.retire_old_keys();
    assert_eq!(kids(&issuer).await, ["es256-2"]);
    assert_eq!(verify(&issuer, &old).await.unwrap_err(), "no such kid");
    verify(&issuer, &new).await.unwrap();
}

#[tokio::test]
async fn keys_are_published_ahead() {
    let issuer = TestIssuer::start().await.unwrap();
    assert_eq!(issuer.prepublish_keys(), "es256-2");
    assert_eq!(kids(&issuer).await, ["es256-1", "es256-2"]);
    assert_eq!(read(&issuer.token().sign()).0["kid"], "es256-1");
    // What is published ahead isn't old.
    issuer.retire_old_keys();
    assert_eq!(kids(&issuer).await, ["es256-1", "es256-2"]);
    issuer.activate_keys();
    assert_eq!(read(&issuer.token().sign()).0["kid"], "es256-2");
    assert_eq!(kids(&issuer).await, ["es256-1", "es256-2"]);
    issuer.activate_keys();
    assert_eq!(issuer.signing_key().kid(), "es256-2");
    // Of two that wait, the newer signs.
    issuer.prepublish_keys();
    issuer.prepublish_keys();
    issuer.activate_keys();
    assert_eq!(issuer.signing_key().kid(), "es256-4");
}

#[tokio::test]
async fn keys_are_replaced_at_once() {
    let issuer = TestIssuer::start().await.unwrap();
    let old = issuer.token().sign();
    assert_eq!(issuer.rotate_hard(), "es256-2");
    assert_eq!(kids(&issuer).await, ["es256-2"]);
    assert_eq!(verify(&issuer, &old).await.unwrap_err(), "no such kid");
    verify(&issuer, &issuer.token().sign()).await.unwrap();
    // A retired key is still at hand, for a test to sign with.
    let retired = issuer.key("es256-1").unwrap();
    let stale = issuer.token().signed_with(&retired).sign();
    assert_eq!(read(&stale).0["kid"], "es256-1");
    verify_with(&issuer, &stale, &retired.public_jwk()).unwrap();
}

#[tokio::test]
async fn keys_are_replaced_under_the_same_name() {
    let issuer = TestIssuer::start().await.unwrap();
    let (old, before) = (issuer.token().sign(), issuer.signing_key());
    issuer.rotate_same_kid();
    let after = issuer.signing_key();
    assert_eq!((before.kid(), after.kid()), ("es256-1", "es256-1"));
    assert_ne!(before.public_jwk(), after.public_jwk());
    assert_eq!(kids(&issuer).await, ["es256-1"]);
    assert!(verify(&issuer, &old).await.unwrap_err().contains("Signature"));
    verify(&issuer, &issuer.token().sign()).await.unwrap();
    assert_eq!(issuer.key("es256-1").unwrap().public_jwk(), after.public_jwk());
}

#[tokio::test]
async fn all_algorithms_rotate_together() {
    let builder = TestIssuer::builder().algorithms([Algorithm::ES384, Algorithm::EdDSA]);
    let issuer = builder.start().await.unwrap();
    assert_eq!(issuer.rotate_overlapping(), "es384-2");
    assert_eq!(kids(&issuer).await, ["es384-1", "eddsa-1", "es384-2", "eddsa-2"]);
    let token = issuer.token().algorithm(Algorithm::EdDSA).sign();
    assert_eq!(read(&token).0["kid"], "eddsa-2");
    issuer.rotate_hard();
    assert_eq!(kids(&issuer).await, ["es384-3", "eddsa-3"]);
}

#[tokio::test]
async fn a_single_key_is_retired() {
    let issuer = TestIssuer::start().await.unwrap();
    issuer.rotate_overlapping();
    assert!(!issuer.retire_key("nobody"));
    assert!(issuer.retire_key("es256-1"));
    assert!(!issuer.retire_key("es256-1"));
    assert_eq!(kids(&issuer).await, ["es256-2"]);
    // The key that signs goes on to sign.
    assert!(issuer.retire_key("es256-2"));
    assert_eq!(kids(&issuer).await, [""; 0]);
    assert_eq!(read(&issuer.token().sign()).0["kid"], "es256-2");
    // A key that waited to sign no longer does.
    issuer.prepublish_keys();
    assert!(issuer.retire_key("es256-3"));
    issuer.activate_keys();
    assert_eq!(issuer.signing_key().kid(), "es256-2");
}

#[tokio::test]
async fn k19_two_issuers_have_the_same_names_and_other_keys() {
    let algorithms = [Algorithm::ES256, Algorithm::RS256];
    let a = TestIssuer::builder().algorithms(algorithms).start().await.unwrap();
    let b = TestIssuer::builder().algorithms(algorithms).start().await.unwrap();
    for algorithm in algorithms {
        let key = |issuer: &TestIssuer| issuer.signing_key_for(algorithm).unwrap().public_jwk();
        assert_eq!(key(&a)["kid"], key(&b)["kid"]);
        assert_ne!(key(&a), key(&b));
        let posing = b.token().algorithm(algorithm).claim("iss", a.issuer()).sign();
        assert!(verify(&a, &posing).await.unwrap_err().contains("Signature"));
    }
}

#[tokio::test]
async fn key_sets_take_any_shape() {
    let builder = TestIssuer::builder()
        .publish_jwk(json!({ "kty": "AKP", "alg": "ML-DSA-44", "kid": "pq", "pub": "AA" }))
        .shape_jwk(|jwk| {
            jwk.remove("alg");
            jwk.remove("use");
        });
    let issuer = builder.start().await.unwrap();
    issuer.publish_jwk("not even an object");
    let set = get_json(&issuer.jwks_uri()).await;
    let names: Vec<&String> = set["keys"][0].as_object().unwrap().keys().collect();
    assert_eq!(names, ["crv", "kid", "kty", "x", "y"]);
    assert_eq!(set["keys"][1]["kty"], "AKP");
    assert_eq!(set["keys"][2], "not even an object");
}
