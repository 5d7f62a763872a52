//! What happens to one issuer's tokens is nothing to the others'.

use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;
use tower_bearer::refusal::UnavailableReason;
use tower_bearer::{RejectionKind, Validator};

use crate::support::{A, B, Issuer, clock, kind, two, unavailable};

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
