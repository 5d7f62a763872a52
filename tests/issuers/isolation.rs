//! What happens to one issuer's tokens is nothing to the others'.

use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;
use tower_bearer::refusal::UnavailableReason;
use tower_bearer::{RejectionKind, Validator};

use crate::support::{A, B, Issuer, clock, kind, same, two, unavailable};

#[tokio::test(start_paused = true)]
async fn n6_an_issuer_that_is_down_at_start_costs_its_own_tokens_503() {
    let clock = clock();
    let (a, b) = (Issuer::new(A, &clock), Issuer::new(B, &clock));
    a.be_slow(Duration::from_secs(4));
    let validator = Validator::issuers([a.entry(), b.entry()]).clock(clock).build().unwrap();
    assert_eq!(kind(validator.validate(&b.token()).await), None);
    // The others' tokens don't wait meanwhile, new or known.
    let waiting = tokio::spawn({
        let (validator, token) = (validator.clone(), a.token_with(json!({"jti": "w"})));
        async move { validator.validate(&token).await }
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
    for jti in ["2", "2", "3"] {
        let at_once = validator.validate(&b.token_with(json!({"jti": jti}))).now_or_never();
        assert_eq!(kind(at_once.expect("it waits")), None);
    }
    assert!(!waiting.is_finished());
    assert_eq!(unavailable(waiting.await.unwrap()), UnavailableReason::RefreshTimedOut);
    // Broken tokens of the issuer are still 401, and it recovers alone.
    let other = validator.validate(&a.token_with(json!({"aud": "other"}))).await;
    assert_eq!(kind(other), Some(RejectionKind::WrongAudience));
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(kind(validator.validate(&a.token()).await), None);
}

#[tokio::test(start_paused = true)]
async fn n6_an_outage_later_ends_the_trust_in_that_issuers_keys_alone() {
    let (a, b, validator) = two().await;
    let (of_a, of_b) = (a.token(), b.token());
    a.die();
    tokio::time::sleep(Duration::from_secs(3 * 3_600)).await;
    for _ in 0..2 {
        assert_eq!(unavailable(validator.validate(&of_a).await), UnavailableReason::KeysExpired);
        assert_eq!(kind(validator.validate(&of_b).now_or_never().expect("it waits")), None);
    }
}

#[tokio::test(start_paused = true)]
async fn n7_made_up_kids_at_one_issuer_use_up_its_own_fetches_only() {
    let (a, b, validator) = two().await;
    let fetched = b.transport.request_count();
    for n in 0..200 {
        let made_up = a.key.clone().with_kid(&format!("made-up-{n}"));
        let token = a.token_by(&made_up, json!({}));
        let validator = validator.clone();
        tokio::spawn(async move { validator.validate(&token).await });
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(b.transport.request_count(), fetched, "no fetch for another's flood");
    // B rotates within the flood: its first token of the new key succeeds.
    let made_up = a.key.clone().with_kid("once more");
    let flooding = validator.validate(&a.token_by(&made_up, json!({}))).await;
    assert!(flooding.is_err());
    let new = tower_bearer::testing::TestKey::generate(tower_bearer::jose::Algorithm::EdDSA);
    b.publish(&[&new]);
    assert_eq!(kind(validator.validate(&b.token_by(&new, json!({}))).await), None);
    assert_eq!(b.transport.request_count(), fetched + 1);
}

/// Tokens of an issuer that differ in their `jti`.
fn tokens(issuer: &Issuer, count: usize, more: &str) -> Vec<String> {
    (0..count).map(|n| issuer.token_with(json!({ "jti": format!("{n}{more}") }))).collect()
}

#[tokio::test(start_paused = true)]
async fn n7_a_flood_of_good_tokens_never_drives_out_another_issuers() {
    let clock = clock();
    let (a, b) = (Issuer::new(A, &clock), Issuer::new(B, &clock));
    // What a set of the cache has room for is half A's and half B's, wherever B's tokens happen to lie; and
    // so are the bytes.
    for (entries, bytes) in [(64, 32 * 1_024 * 1_024), (4_096, 64 * 1_024)] {
        let list = [a.entry(), b.entry()];
        let builder = Validator::issuers(list).clock(clock.clone());
        let validator = builder.cache_entries(entries).cache_bytes(bytes).build().unwrap();
        let of_b = tokens(&b, 8, "");
        let mut remembered = Vec::new();
        for token in &of_b {
            remembered.push(validator.validate(token).await.unwrap());
        }
        // Each is used again, so that it is no less in use than B's.
        for token in &tokens(&a, 400, "") {
            for _ in 0..3 {
                assert_eq!(kind(validator.validate(token).await), None);
            }
        }
        for (token, first) in of_b.iter().zip(&remembered) {
            let again = validator.validate(token).now_or_never().expect("it waits").unwrap();
            assert!(same(first, &again), "{entries} entries, {bytes} bytes: it was driven out");
        }
        // The newest of those who flood is remembered, too: only it has driven out its own.
        let newest = a.token_with(json!({"jti": "newest"}));
        let first = validator.validate(&newest).await.unwrap();
        assert!(same(&first, &validator.validate(&newest).await.unwrap()));
    }
}

#[tokio::test(start_paused = true)]
async fn n7_a_lone_issuer_has_the_whole_cache_and_makes_room_when_another_comes() {
    let clock = clock();
    let (a, b) = (Issuer::new(A, &clock), Issuer::new(B, &clock));
    let builder = Validator::issuers([a.entry(), b.entry()]).clock(clock.clone());
    let validator = builder.cache_entries(16).build().unwrap();
    let of_a = tokens(&a, 16, "");
    let mut first = Vec::new();
    for token in &of_a {
        first.push(validator.validate(token).await.unwrap());
    }
    for (token, first) in of_a.iter().zip(&first) {
        assert!(same(first, &validator.validate(token).await.unwrap()), "all of it is A's");
    }
    let of_b = tokens(&b, 8, "");
    let mut others = Vec::new();
    for token in &of_b {
        others.push(validator.validate(token).await.unwrap());
    }
    for (token, first) in of_b.iter().zip(&others) {
        assert!(same(first, &validator.validate(token).await.unwrap()), "B has its half");
    }
    // What A lost to B, it doesn't take back.
    for token in &of_a {
        validator.validate(token).await.unwrap();
    }
    for (token, first) in of_b.iter().zip(&others) {
        assert!(same(first, &validator.validate(token).await.unwrap()));
    }
}

#[tokio::test(start_paused = true)]
async fn n7_what_no_longer_holds_makes_room_first() {
    let clock = clock();
    let (a, b) = (Issuer::new(A, &clock), Issuer::new(B, &clock));
    let keys = a.jwks().build().unwrap();
    let list = || [a.entry().keys(keys.clone()), b.entry()];
    let builder = Validator::issuers(list()).clock(clock.clone());
    let validator = builder.cache_entries(16).build().unwrap();
    for token in &tokens(&b, 8, "") {
        validator.validate(token).await.unwrap();
    }
    for token in &tokens(&a, 8, "") {
        validator.validate(token).await.unwrap();
    }
    // B is removed: what it held is free at once, whatever its part was.
    validator.set_issuers([a.entry().keys(keys.clone())]).unwrap();
    let more = tokens(&a, 8, "more");
    let mut first = Vec::new();
    for token in &more {
        first.push(validator.validate(token).await.unwrap());
    }
    for token in tokens(&a, 8, "").iter().chain(&more) {
        let one = validator.validate(token).await.unwrap();
        assert!(same(&one, &validator.validate(token).await.unwrap()));
    }
    for (token, first) in more.iter().zip(&first) {
        assert!(same(first, &validator.validate(token).await.unwrap()));
    }
}

#[tokio::test(start_paused = true)]
async fn n7_a_flood_of_forged_tokens_never_drives_out_what_is_known_of_anothers() {
    let (a, b, validator) = two().await;
    let forge = |issuer: &Issuer, n: usize| {
        let key = tower_bearer::testing::TestKey::generate(issuer.key.algorithm()).with_kid("1");
        issuer.token_by(&key, json!({ "jti": n.to_string() }))
    };
    let good = b.token();
    let first = validator.validate(&good).await.unwrap();
    let forged = forge(&b, 0);
    assert_eq!(kind(validator.validate(&forged).await), Some(RejectionKind::BadSignature));
    for n in 0..1_500 {
        let told = validator.validate(&forge(&a, n)).now_or_never().expect("it waits");
        assert_eq!(kind(told), Some(RejectionKind::BadSignature));
        if n % 100 == 0 {
            let new = b.token_with(json!({ "jti": format!("new{n}") }));
            assert_eq!(kind(validator.validate(&new).now_or_never().expect("it waits")), None);
        }
    }
    assert!(same(&first, &validator.validate(&good).await.unwrap()));
    assert_eq!(kind(validator.validate(&forged).await), Some(RejectionKind::BadSignature));
}
