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
    let validator =
        Validator::builder(issuer.issuer(), issuer.audience()).keys(keys).build().unwrap();
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
            Algorithm::ES512 => [unknown.clone(), unknown.clone()],
            _ => expected,
        };
        assert_eq!(
            verdicts(&issuer, Backend::RustCrypto, algorithm).await,
            expected,
            "{algorithm}"
        );
    }
}
