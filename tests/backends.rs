//! Two crypto backends in one process, and `jsonwebtoken` with both of its own: nobody panics.
#![cfg(all(feature = "aws-lc-rs", feature = "rust-crypto", feature = "test-util"))]

use std::panic::catch_unwind;

use tower_bearer::jose::{Algorithm, Backend};
use tower_bearer::jwks::Jwks;
use tower_bearer::testing::TestIssuer;
use tower_bearer::{RejectionKind, Validator};

/// What the validator says of a good token and of a forged one, with this backend.
async fn verdicts(issuer: &TestIssuer, backend: Backend, algorithm: Algorithm) -> [String; 2] {
    let keys: Vec<_> = issuer.published_keys().iter().map(|key| key.public_jwk()).collect();
    let keys = serde_json::json!({ "keys": keys }).to_string();
    let keys = Jwks::static_set_with(issuer.issuer(), &keys, backend).unwrap();
    let validator = Validator::builder(issuer.issuer(), issuer.audience()).keys(keys);
    // ML-DSA is accepted only where it is named.
    let named = Algorithm::ALL.iter().copied().filter(|it| backend.supports(*it));
    let validator = validator.algorithms(named).build().unwrap();
    let good = issuer.token().algorithm(algorithm).sign();
    let forged = issuer.token().algorithm(algorithm).wrong_signature().sign();
    let mut verdicts = [String::new(), String::new()];
    for (verdict, token) in verdicts.iter_mut().zip([good, forged]) {
        *verdict = match validator.validate(&token).await {
            Ok(_) => "accepted".to_owned(),
            Err(refusal) => refusal.code().to_owned(),
        };
    }
    verdicts
}

// `jsonwebtoken` chooses a provider for the whole process from its features, and panics if both are
// on. It is never asked to choose.
#[tokio::test]
async fn both_backends_work_where_the_process_wide_default_panics() {
    let key = jsonwebtoken::EncodingKey::from_secret(b"secret").unwrap();
    let left_to_itself =
        catch_unwind(|| jsonwebtoken::crypto::sign(b"", &key, jsonwebtoken::Algorithm::HS256));
    assert!(left_to_itself.is_err(), "both features are on, and nothing was installed");

    let issuer =
        TestIssuer::builder().algorithms(Algorithm::ALL.iter().copied()).start().await.unwrap();
    let unknown = RejectionKind::UnsupportedAlgorithm.code().to_owned();
    for algorithm in Algorithm::ALL.iter().copied() {
        let expected = ["accepted".to_owned(), "bad_signature".to_owned()];
        assert_eq!(verdicts(&issuer, Backend::AwsLcRs, algorithm).await, expected, "{algorithm}");
        let expected = match algorithm {
            _ if Backend::RustCrypto.supports(algorithm) => expected,
            _ => [unknown.clone(), unknown.clone()],
        };
        assert_eq!(
            verdicts(&issuer, Backend::RustCrypto, algorithm).await,
            expected,
            "{algorithm}"
        );
    }
}

/// What a validator of this issuer says of a token, with the algorithms named or left to the default.
async fn verdict(issuer: &TestIssuer, named: &[Algorithm], token: &str) -> String {
    let keys: Vec<_> = issuer.published_keys().iter().map(|key| key.public_jwk()).collect();
    let keys = serde_json::json!({ "keys": keys }).to_string();
    let keys = Jwks::static_set_with(issuer.issuer(), &keys, Backend::AwsLcRs).unwrap();
    let builder = Validator::builder(issuer.issuer(), issuer.audience()).keys(keys);
    let builder = match named {
        [] => builder,
        named => builder.algorithms(named.iter().copied()),
    };
    match builder.build().unwrap().validate(token).await {
        Ok(_) => "accepted".to_owned(),
        Err(refusal) => refusal.code().to_owned(),
    }
}

const ML_DSA: [Algorithm; 3] = [Algorithm::MlDsa44, Algorithm::MlDsa65, Algorithm::MlDsa87];

#[tokio::test]
async fn ml_dsa_is_accepted_only_where_it_is_named() {
    let issuer = TestIssuer::builder().algorithms(ML_DSA).start().await.unwrap();
    for algorithm in ML_DSA {
        let token = issuer.token().algorithm(algorithm).sign();
        assert_eq!(verdict(&issuer, &[], &token).await, "unsupported_algorithm", "{algorithm}");
        let others: Vec<_> = ML_DSA.into_iter().filter(|it| *it != algorithm).collect();
        assert_eq!(verdict(&issuer, &others, &token).await, "unsupported_algorithm");
        assert_eq!(verdict(&issuer, &[algorithm], &token).await, "accepted", "{algorithm}");
    }
}

#[tokio::test]
async fn an_ml_dsa_signature_is_whole_and_of_its_own_parameter_set() {
    let issuer = TestIssuer::builder().algorithms(ML_DSA).start().await.unwrap();
    for algorithm in ML_DSA {
        let forged = issuer.token().algorithm(algorithm).wrong_signature().sign();
        let token = issuer.token().algorithm(algorithm).sign();
        let (message, signature) = token.rsplit_once('.').unwrap();
        // Too short, and too long.
        let shorter = format!("{message}.{}", "A".repeat(signature.len() / 4 * 4 - 4));
        for bad in [forged.as_str(), &shorter, &format!("{token}AAAA")] {
            assert_eq!(verdict(&issuer, &ML_DSA, bad).await, "bad_signature", "{algorithm}");
        }
    }
    // The header names one set, the key with that `kid` is of another: no key fits.
    let key = issuer.signing_key_for(Algorithm::MlDsa44).unwrap();
    let confused = issuer.token().header("alg", "ML-DSA-65").header("kid", key.kid()).sign();
    assert_ne!(verdict(&issuer, &ML_DSA, &confused).await, "accepted");
}

#[test]
fn an_ml_dsa_key_says_its_parameter_set_and_keeps_its_seed() {
    let good = tower_bearer::testing::TestKey::generate(Algorithm::MlDsa65).public_jwk();
    let reason = |change: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>)| {
        let mut jwk = good.clone();
        change(jwk.as_object_mut().unwrap());
        // A set without a usable key is an error, so that there is another one.
        let other = tower_bearer::testing::TestKey::generate(Algorithm::EdDSA).public_jwk();
        let set = serde_json::json!({ "keys": [jwk, other] }).to_string();
        let status = Jwks::static_set("https://issuer.test", &set).unwrap().status();
        status.keys.iter().find_map(|key| key.ignored).map(|reason| reason.code())
    };
    assert_eq!(reason(&|_| {}), None);
    assert_eq!(reason(&|jwk| drop(jwk.remove("alg"))), Some("malformed"));
    assert_eq!(reason(&|jwk| drop(jwk.remove("pub"))), Some("malformed"));
    let put = |name: &'static str, value: &'static str| {
        reason(&move |jwk| drop(jwk.insert(name.into(), value.into())))
    };
    assert_eq!(put("priv", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), Some("private_key"));
    assert_eq!(put("alg", "ML-DSA-44"), Some("invalid_key"));
    assert_eq!(put("alg", "ES256"), Some("unsupported_algorithm"));
    assert_eq!(put("kty", "EC"), Some("malformed"));
    assert_eq!(put("pub", "AAAA"), Some("invalid_key"));
}
