//! Tokens that come again: no second signature, and never a day longer than they are good for.
#![cfg(feature = "test-util")]

mod world;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tower_bearer::jose::{Algorithm, HmacAlgorithm};
use tower_bearer::jwks::{Jwks, JwksBuilder};
use tower_bearer::refusal::UnavailableReason;
use tower_bearer::testing::{ManualClock, ScriptedAnswer, ScriptedTransport, TestKey};
use tower_bearer::token::Evidence;
use tower_bearer::{AccessToken, Refusal, RejectionKind, Secret, UnixTime, Validator};
use world::{AUDIENCE, ISSUER, Issuer, now, sign};

fn set(keys: &[&TestKey]) -> String {
    json!({ "keys": keys.iter().map(|key| key.public_jwk()).collect::<Vec<_>>() }).to_string()
}

fn key(kid: &str) -> TestKey {
    TestKey::generate(Algorithm::EdDSA).with_kid(kid)
}

fn source(transport: &ScriptedTransport) -> JwksBuilder {
    Jwks::url(ISSUER, format!("{ISSUER}/jwks")).transport(transport.clone())
}

fn validator(jwks: &Jwks) -> Validator {
    Validator::builder(ISSUER, AUDIENCE).keys(jwks.clone()).build().unwrap()
}

fn same(one: &AccessToken, two: &AccessToken) -> bool {
    std::ptr::eq(one.claims(), two.claims())
}

async fn refused(validator: &Validator, token: &str) -> RejectionKind {
    match validator.validate(token).await {
        Err(Refusal::Rejection(rejection)) => rejection.kind(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_that_comes_again_has_the_same_claims_at_the_same_place() {
    let issuer = Issuer::new();
    let validator = issuer.validator();
    let (one, two) = (issuer.token("a"), issuer.token("b"));
    let first = validator.validate(&one).await.unwrap();
    let other = validator.validate(&two).await.unwrap();
    assert!(same(&first, &validator.validate(&one).await.unwrap()));
    assert!(same(&first, &validator.clone().validate(&one).await.unwrap()), "clones share it");
    assert!(same(&other, &validator.validate(&two).await.unwrap()));
    assert!(!same(&first, &other));
    assert_eq!((first.scopes().as_str(), other.scopes().as_str()), ("a", "b"));
}

#[tokio::test]
async fn one_setter_switches_it_off() {
    let issuer = Issuer::new();
    let keys = || Jwks::static_set(ISSUER, &issuer.jwks_json()).unwrap();
    let token = issuer.token("a");
    for (entries, remembered) in [(0, false), (1, true), (1_000_000, true)] {
        let validator = Validator::builder(ISSUER, AUDIENCE).keys(keys()).cache_entries(entries);
        let validator = validator.build().unwrap();
        let first = validator.validate(&token).await.unwrap();
        let again = validator.validate(&token).await.unwrap();
        assert_eq!(same(&first, &again), remembered, "{entries}");
    }
    // Each counts twice its own length and some 600 bytes, if nothing is read beyond its claims.
    let enough = 2 * token.len() + 700;
    for (bytes, remembered) in [(0, false), (enough - 200, false), (enough, true)] {
        let validator = Validator::builder(ISSUER, AUDIENCE).keys(keys()).cache_bytes(bytes);
        let validator = validator.build().unwrap();
        let first = validator.validate(&token).await.unwrap();
        let again = validator.validate(&token).await.unwrap();
        assert_eq!(same(&first, &again), remembered, "{bytes}");
    }
    for (entries, bytes) in [(0, enough), (1, 0)] {
        let validator = Validator::builder(ISSUER, AUDIENCE).keys(keys()).cache_entries(entries);
        let validator = validator.cache_bytes(bytes).claims::<Value>().build().unwrap();
        let first = validator.validate(&token).await.unwrap();
        let again = validator.validate(&token).await.unwrap();
        assert!(!std::ptr::eq(first.claims(), again.claims()), "claims of another type");
    }
    let many = Validator::builder(ISSUER, AUDIENCE).keys(keys()).cache_entries(1_000_001);
    assert!(many.build().unwrap_err().to_string().contains("at most 1000000"));
}

#[tokio::test]
async fn a_token_with_the_end_of_a_known_one_is_another_token() {
    let issuer = Issuer::new();
    let validator = issuer.validator();
    let token = issuer.token("a");
    validator.validate(&token).await.unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    for at in 0..signed.len() {
        let mut changed = signed.to_owned().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = format!("{}.{signature}", String::from_utf8(changed).unwrap());
        assert!(validator.validate(&changed).await.is_err(), "{at}");
    }
    assert!(validator.validate(&token).await.is_ok());
}

#[tokio::test]
async fn expiry_ends_it_and_a_clock_set_back_too() {
    let issuer = Issuer::new();
    let start = i64::try_from(now()).unwrap();
    let clock = ManualClock::new(UnixTime::from_secs(start));
    let keys = Jwks::static_set(ISSUER, &issuer.jwks_json()).unwrap();
    let builder = Validator::builder(ISSUER, AUDIENCE).keys(keys).clock(clock.clone());
    let validator = builder.leeway(Duration::ZERO).max_age(Duration::from_secs(100));
    let validator = validator.build().unwrap();
    let token = |nbf: i64, iat: i64, exp: i64| {
        issuer.token_with(json!({ "nbf": start + nbf, "iat": start + iat, "exp": start + exp }))
    };
    // With a greatest age, both `nbf` and `iat` must have come.
    for (token, last, reason) in [
        (token(0, -5, 50), 49, RejectionKind::Expired),
        (token(0, -5, 500), 94, RejectionKind::TooOld),
        (token(-5, 0, 50), 49, RejectionKind::Expired),
        (token(-5, 0, 500), 99, RejectionKind::TooOld),
    ] {
        clock.set(UnixTime::from_secs(start));
        let first = validator.validate(&token).await.unwrap();
        clock.set(UnixTime::from_secs(start + last));
        assert!(same(&first, &validator.validate(&token).await.unwrap()));
        clock.set(UnixTime::from_secs(start - 1));
        assert_eq!(refused(&validator, &token).await, RejectionKind::NotYetValid);
        clock.set(UnixTime::from_secs(start + last + 2));
        assert_eq!(refused(&validator, &token).await, reason);
    }
}

/// Whatever ends first, the token's times or the keys', ends it.
#[tokio::test(start_paused = true)]
async fn keys_that_serve_for_long_let_no_token_live_longer() {
    let key = key("k");
    let transport = ScriptedTransport::new();
    transport.push(ScriptedAnswer::json(set(&[&key])));
    let jwks = source(&transport).build().unwrap();
    jwks.ready(Duration::from_secs(5)).await.unwrap();
    let clock = ManualClock::new(UnixTime::from_secs(i64::try_from(now()).unwrap()));
    let builder = Validator::builder(ISSUER, AUDIENCE).keys(jwks).clock(clock.clone());
    let validator = builder.leeway(Duration::ZERO).build().unwrap();
    let token = sign(&key, json!({}));
    let first = validator.validate(&token).await.unwrap();
    clock.advance(Duration::from_secs(590));
    assert!(same(&first, &validator.validate(&token).await.unwrap()));
    clock.advance(Duration::from_secs(15));
    assert_eq!(refused(&validator, &token).await, RejectionKind::Expired);
}

/// What is remembered just while its key goes isn't found afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_key_that_goes_while_its_tokens_come_ends_them_all() {
    let (old, new) = (key("old"), key("new"));
    let transport = ScriptedTransport::new();
    transport.push(ScriptedAnswer::json(set(&[&old, &new])));
    let jwks = source(&transport).build().unwrap();
    jwks.ready(Duration::from_secs(5)).await.unwrap();
    let validator = validator(&jwks);
    for round in 0..30 {
        let tokens: Vec<String> =
            (0..150).map(|n| sign(&old, json!({ "jti": format!("{round}-{n}") }))).collect();
        let tokens = Arc::new(tokens);
        let tasks = (0..3).map(|part| {
            let (validator, tokens) = (validator.clone(), Arc::clone(&tokens));
            tokio::spawn(async move {
                for token in tokens.iter().skip(part).step_by(3) {
                    let _ = validator.validate(token).await;
                }
            })
        });
        let tasks: Vec<_> = tasks.collect();
        for _ in 0..round * 4 {
            tokio::task::yield_now().await;
        }
        transport.push(ScriptedAnswer::json(set(&[&new])));
        jwks.refresh().await.unwrap();
        for task in tasks {
            task.await.unwrap();
        }
        for token in tokens.iter() {
            assert!(validator.validate(token).await.is_err(), "{round}");
        }
        transport.push(ScriptedAnswer::json(set(&[&old, &new])));
        jwks.refresh().await.unwrap();
        assert!(validator.validate(&tokens[0]).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_removed_key_ends_its_tokens_and_the_same_keys_end_none() {
    let (old, new) = (key("old"), key("new"));
    let transport = ScriptedTransport::new();
    let jwks = source(&transport).build().unwrap();
    transport.push(ScriptedAnswer::json(set(&[&old])));
    jwks.ready(Duration::from_secs(5)).await.unwrap();
    let validator = validator(&jwks);
    let token = sign(&old, json!({}));
    let first = validator.validate(&token).await.unwrap();

    transport.push(ScriptedAnswer::json(set(&[&old])));
    jwks.refresh().await.unwrap();
    assert!(same(&first, &validator.validate(&token).await.unwrap()), "the same keys");

    transport.push(ScriptedAnswer::json(set(&[&old, &new])));
    jwks.refresh().await.unwrap();
    let again = validator.validate(&token).await.unwrap();
    assert!(!same(&first, &again), "other keys: it is checked again");
    assert!(same(&again, &validator.validate(&token).await.unwrap()));

    transport.push(ScriptedAnswer::json(set(&[&new])));
    jwks.refresh().await.unwrap();
    assert_eq!(refused(&validator, &token).await, RejectionKind::UnknownKey);
    assert!(validator.validate(&sign(&new, json!({}))).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_key_replaced_under_its_kid_ends_its_tokens_and_the_refusals_of_the_next_ones() {
    let (old, new) = (key("k"), key("k"));
    let transport = ScriptedTransport::new();
    let jwks = source(&transport).build().unwrap();
    transport.push(ScriptedAnswer::json(set(&[&old])));
    jwks.ready(Duration::from_secs(5)).await.unwrap();
    let validator = validator(&jwks);
    let (by_old, by_new) = (sign(&old, json!({})), sign(&new, json!({})));
    for _ in 0..2 {
        validator.validate(&by_old).await.unwrap();
        assert_eq!(refused(&validator, &by_new).await, RejectionKind::BadSignature);
    }
    transport.push(ScriptedAnswer::json(set(&[&new])));
    jwks.refresh().await.unwrap();
    for _ in 0..2 {
        validator.validate(&by_new).await.unwrap();
        assert_eq!(refused(&validator, &by_old).await, RejectionKind::BadSignature);
    }
}

#[tokio::test(start_paused = true)]
async fn a_removed_keys_grace_ends_its_tokens() {
    let (old, new) = (key("old"), key("new"));
    let transport = ScriptedTransport::new();
    let jwks =
        source(&transport).dangerous_removed_key_grace(Duration::from_secs(60)).build().unwrap();
    transport.push(ScriptedAnswer::json(set(&[&old])));
    jwks.ready(Duration::from_secs(5)).await.unwrap();
    let validator = validator(&jwks);
    let token = sign(&old, json!({}));
    transport.push(ScriptedAnswer::json(set(&[&new])));
    jwks.refresh().await.unwrap();
    let graced = validator.validate(&token).await.unwrap();
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert!(same(&graced, &validator.validate(&token).await.unwrap()));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(refused(&validator, &token).await, RejectionKind::UnknownKey);
}

#[tokio::test(start_paused = true)]
async fn expired_keys_end_all_tokens_until_there_are_new_ones() {
    let key = key("k");
    let transport = ScriptedTransport::from_fn(|_| ScriptedAnswer::status(503.try_into().unwrap()));
    transport.push(ScriptedAnswer::json(set(&[&key])));
    let jwks = source(&transport)
        .ttl(Duration::from_secs(60))
        .max_stale(Duration::from_secs(60))
        .build()
        .unwrap();
    jwks.ready(Duration::from_secs(5)).await.unwrap();
    let validator = validator(&jwks);
    let token = sign(&key, json!({}));
    let first = validator.validate(&token).await.unwrap();
    tokio::time::sleep(Duration::from_secs(110)).await;
    assert!(same(&first, &validator.validate(&token).await.unwrap()), "stale, within bounds");
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert!(matches!(validator.validate(&token).await, Err(Refusal::Unavailable(_))));
    transport.push(ScriptedAnswer::json(set(&[&key])));
    jwks.refresh().await.unwrap();
    assert!(same(&first, &validator.validate(&token).await.unwrap()), "the same keys are back");
}

/// The task that would notice that keys expire needs a runtime that is run.
#[test]
#[allow(clippy::disallowed_methods, reason = "the validator's clock is ahead of the system's")]
fn nobody_need_watch_for_keys_to_end_in_time() {
    let key = key("k");
    let transport = ScriptedTransport::new();
    transport.push(ScriptedAnswer::json(set(&[&key])));
    let clock = ManualClock::new(UnixTime::from_secs(i64::try_from(now()).unwrap()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (validator, jwks) = runtime.block_on(async {
        let jwks = source(&transport).ttl(Duration::from_secs(60));
        let jwks = jwks.max_stale(Duration::from_secs(60)).build().unwrap();
        jwks.ready(Duration::from_secs(5)).await.unwrap();
        let builder = Validator::builder(ISSUER, AUDIENCE).keys(jwks.clone());
        (builder.clock(clock.clone()).build().unwrap(), jwks)
    });
    // From here on the runtime is there, and nobody runs it.
    let validate = |token: &str| futures_util::FutureExt::now_or_never(validator.validate(token));
    let token = sign(&key, json!({}));
    let first = validate(&token).unwrap().unwrap();
    clock.advance(Duration::from_secs(110));
    assert!(same(&first, &validate(&token).unwrap().unwrap()));
    clock.advance(Duration::from_secs(15));
    assert!(!same(&first, &validate(&token).unwrap().unwrap()), "the key source is asked again");
    drop(jwks);
}

/// Where the task ended with its runtime, nobody watches over the keys until another one begins.
#[test]
#[allow(clippy::disallowed_methods, reason = "the validator's clock is the system's")]
fn a_runtime_that_ends_ends_the_memory_until_there_is_another() {
    let key = key("k");
    let transport = ScriptedTransport::new();
    transport.push(ScriptedAnswer::json(set(&[&key])));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (one, two) = (runtime(), runtime());
    let (validator, token) = one.block_on(async {
        let jwks = source(&transport).build().unwrap();
        jwks.ready(Duration::from_secs(5)).await.unwrap();
        (validator(&jwks), sign(&key, json!({})))
    });
    let validate = || futures_util::FutureExt::now_or_never(validator.validate(&token));
    let first = validate().unwrap().unwrap();
    assert!(same(&first, &validate().unwrap().unwrap()));
    drop(one);
    let second = validate().unwrap().unwrap();
    assert!(!same(&first, &second), "the key source is asked again");
    two.block_on(async {
        validator.validate(&token).await.unwrap();
        tokio::task::yield_now().await;
        let third = validator.validate(&token).await.unwrap();
        assert!(same(&third, &validator.validate(&token).await.unwrap()), "watched again");
    });
}

#[tokio::test]
async fn shutdown_ends_all_tokens() {
    let issuer = Issuer::new();
    let validator = issuer.validator();
    let token = issuer.token("a");
    validator.validate(&token).await.unwrap();
    validator.jwks().unwrap().shutdown().await;
    let Err(Refusal::Unavailable(unavailable)) = validator.validate(&token).await else {
        panic!("accepted after the end");
    };
    assert_eq!(unavailable.reason(), UnavailableReason::ShutDown);

    let key = key("k");
    let transport = ScriptedTransport::new();
    transport.push(ScriptedAnswer::json(set(&[&key])));
    let jwks = source(&transport).build().unwrap();
    jwks.ready(Duration::from_secs(5)).await.unwrap();
    let validator = self::validator(&jwks);
    let token = sign(&key, json!({}));
    validator.validate(&token).await.unwrap();
    jwks.shutdown().await;
    assert!(matches!(validator.validate(&token).await, Err(Refusal::Unavailable(_))));
}

#[tokio::test]
async fn another_policy_is_another_memory() {
    let issuer = Issuer::new();
    let jwks = Jwks::static_set(ISSUER, &issuer.jwks_json()).unwrap();
    let token = issuer.token("a");
    let lax = validator(&jwks);
    lax.validate(&token).await.unwrap();
    let other = Validator::builder(ISSUER, "https://other.example").keys(jwks.clone());
    let other = other.build().unwrap();
    assert_eq!(refused(&other, &token).await, RejectionKind::WrongAudience);
    let strict = Validator::builder(ISSUER, AUDIENCE).keys(jwks).algorithms([Algorithm::ES256]);
    let strict = strict.build().unwrap();
    assert_eq!(refused(&strict, &token).await, RejectionKind::UnsupportedAlgorithm);
    assert!(lax.validate(&token).await.is_ok());
}

#[tokio::test]
async fn a_shared_secrets_tokens_are_remembered_as_well() {
    let secret = b"0123456789abcdef0123456789abcdef";
    let validator = Validator::builder(ISSUER, AUDIENCE)
        .dangerous_shared_secret(HmacAlgorithm::HS256, Secret::new(*secret))
        .build()
        .unwrap();
    let claims = |sub: &str| -> Value {
        json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": sub, "exp": now() + 600 })
    };
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    let signed = |key: &[u8], sub: &str| {
        let key = jsonwebtoken::EncodingKey::from_secret(key).unwrap();
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        jsonwebtoken::encode(&header, &claims(sub), &key).unwrap()
    };
    let good = signed(secret, "alice");
    let first = validator.validate(&good).await.unwrap();
    assert_eq!(first.evidence(), Evidence::SharedSecret { algorithm: HmacAlgorithm::HS256 });
    assert!(same(&first, &validator.validate(&good).await.unwrap()));
    let bad = signed(b"another secret of thirty-two byt", "mallory");
    for _ in 0..2 {
        assert_eq!(refused(&validator, &bad).await, RejectionKind::BadSignature);
    }
}
