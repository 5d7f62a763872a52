//! Lines of the validation that could be deleted without any other test noticing.
#![cfg(feature = "test-util")]
#![allow(clippy::disallowed_methods, reason = "tokens for validators with the system\'s clock")]

mod world;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::testing::TestKey;
use tower_bearer::{Refusal, RejectionKind, Validator};
use world::{AUDIENCE, ISSUER, Issuer};

fn why_not(jwk: &Value) -> String {
    match Jwks::static_set(ISSUER, &json!({ "keys": [jwk] }).to_string()) {
        Ok(_) => "used".to_owned(),
        Err(error) => error.to_string(),
    }
}

// K19: keys of issuer A never verify a token of issuer B.
#[test]
fn k19_a_validator_takes_the_keys_of_its_own_issuer_only() {
    let issuer = Issuer::new();
    for (keys_of, built) in
        [(ISSUER, true), ("https://other.example", false), ("https://issuer.example/", false)]
    {
        let keys = Jwks::static_set(keys_of, &issuer.jwks_json()).unwrap();
        let built_with = Validator::builder(ISSUER, AUDIENCE).keys(keys).build();
        assert_eq!(built_with.is_ok(), built, "{keys_of}");
        if let Err(error) = built_with {
            assert!(error.to_string().contains(keys_of), "{error}");
        }
    }
    let other = Jwks::url("https://other.example", "https://other.example/jwks");
    assert!(Validator::builder(ISSUER, AUDIENCE).keys(other).build().is_err());
}

#[test]
fn an_audience_that_no_token_can_have_is_found_when_the_validator_is_built() {
    let issuer = Issuer::new();
    for audience in ["", " ", " orders", "orders\n"] {
        let keys = Jwks::static_set(ISSUER, &issuer.jwks_json()).unwrap();
        assert!(Validator::builder(ISSUER, audience).keys(keys.clone()).build().is_err());
        let also = Validator::builder(ISSUER, AUDIENCE).also_audience(audience).keys(keys);
        assert!(also.build().is_err(), "{audience:?}");
    }
}

// J13, K3, K12: a key whose `alg` is for another kind of key is never used, least of all for that.
#[test]
fn k12_a_key_with_an_alg_that_does_not_fit_it_is_ignored() {
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA] {
        let mut jwk = TestKey::generate(algorithm).public_jwk();
        assert_eq!(why_not(&jwk), "used");
        for other in ["RS256", "PS512", "ES384", "ES512"] {
            jwk["alg"] = other.into();
            assert!(why_not(&jwk).contains("algorithm_mismatch"), "{algorithm} {other}");
        }
    }
}

// Section 7 of the lifecycle: bounds of one key.
#[test]
fn a_key_or_kid_that_is_too_long_is_ignored() {
    let jwk = TestKey::generate(Algorithm::EdDSA).public_jwk();
    for (len, expected) in [(256, "used"), (257, "too_large")] {
        let mut jwk = jwk.clone();
        jwk["kid"] = "k".repeat(len).into();
        assert!(why_not(&jwk).contains(expected), "{len}");
    }
    let rest = {
        let mut jwk = jwk.clone();
        jwk["x-more"] = "".into();
        jwk.to_string().len()
    };
    for (len, expected) in [(16 * 1_024, "used"), (16 * 1_024 + 1, "too_large")] {
        let mut jwk = jwk.clone();
        jwk["x-more"] = "x".repeat(len - rest).into();
        assert!(why_not(&jwk).contains(expected), "{len}");
    }
}

// C9: the leeway is for `max_age` too, as its documentation says.
#[tokio::test]
async fn c9_the_leeway_is_added_to_the_greatest_age() {
    let issuer = Issuer::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for (leeway, age, accepted) in [(60, 130, true), (0, 130, false), (60, 190, false)] {
        let keys = Jwks::static_set(ISSUER, &issuer.jwks_json()).unwrap();
        let validator = Validator::builder(ISSUER, AUDIENCE)
            .keys(keys)
            .max_age(Duration::from_secs(100))
            .leeway(Duration::from_secs(leeway))
            .build()
            .unwrap();
        let verdict = validator.validate(&issuer.token_with(json!({ "iat": now - age }))).await;
        match verdict {
            Ok(_) => assert!(accepted, "{leeway} {age}"),
            Err(Refusal::Rejection(rejection)) => {
                assert_eq!((rejection.kind(), accepted), (RejectionKind::TooOld, false));
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}
