//! Lists that are replaced while requests are served.

use std::time::Duration;

use serde_json::json;
use tower_bearer::issuers::Readiness;
use tower_bearer::{RejectionKind, Validator};

use crate::support::{A, API, B, Issuer, clock, kind, same, two};

#[tokio::test(start_paused = true)]
async fn n14_a_removed_issuers_tokens_end_at_once_remembered_ones_too() {
    let (a, b, validator) = two().await;
    let (of_a, of_b) = (a.token(), b.token());
    let clone = validator.clone();
    for token in [&of_a, &of_b] {
        validator.validate(token).await.unwrap();
    }
    // B's source is kept by another: that keeps no token of it alive.
    let kept = validator.jwks_of(B).unwrap();
    validator.set_issuers([a.entry()]).unwrap();
    for validator in [&validator, &clone] {
        assert_eq!(kind(validator.validate(&of_a).await), None);
        for token in [&of_b, &b.token_with(json!({"jti": "new"}))] {
            let verdict = validator.validate(token).await;
            assert_eq!(kind(verdict), Some(RejectionKind::WrongIssuer));
        }
    }
    assert!(kept.health().is_ready());
    assert!(validator.jwks_of(B).is_none());
    // And they come back with it.
    validator.set_issuers([a.entry(), b.entry().keys(kept)]).unwrap();
    assert_eq!(kind(validator.validate(&of_b).await), None);
}

#[tokio::test(start_paused = true)]
async fn n14_an_issuer_that_stays_as_it_was_keeps_its_keys_and_what_is_remembered() {
    let clock = clock();
    let (a, b) = (Issuer::new(A, &clock), Issuer::new(B, &clock));
    let jwks = a.jwks().build().unwrap();
    let entry = || a.entry().keys(jwks.clone());
    let validator = Validator::issuers([entry()]).clock(clock).build().unwrap();
    let token = a.token();
    let first = validator.validate(&token).await.unwrap();
    let fetched = a.transport.request_count();
    validator.set_issuers([b.entry(), entry()]).unwrap();
    assert!(same(&first, &validator.validate(&token).await.unwrap()), "it is still remembered");
    // Other rules of the same issuer: verified anew with the same keys.
    validator.set_issuers([entry().also_audience("more")]).unwrap();
    let again = validator.validate(&token).await.unwrap();
    assert!(!same(&first, &again));
    let more = a.token_with(json!({"aud": "more"}));
    assert_eq!(kind(validator.validate(&more).await), None);
    validator.set_issuers([entry()]).unwrap();
    assert_eq!(kind(validator.validate(&more).await), Some(RejectionKind::WrongAudience));
    assert_eq!(kind(validator.validate(&token).await), None);
    assert_eq!(a.transport.request_count(), fetched, "and none were fetched");
}

#[tokio::test(start_paused = true)]
async fn n14_a_list_that_cannot_be_built_changes_nothing() {
    let (a, b, validator) = two().await;
    let token = a.token();
    let first = validator.validate(&token).await.unwrap();
    for (list, part) in [
        (vec![], "no issuer"),
        (vec![a.entry(), a.entry()], "is listed twice"),
        (vec![a.entry().leeway(Duration::from_secs(900)), b.entry()], "leeway"),
    ] {
        let error = validator.set_issuers(list).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert!(same(&first, &validator.validate(&token).await.unwrap()), "{part}");
        assert_eq!(kind(validator.validate(&b.token()).await), None);
    }
    let clock = clock();
    let named = Validator::issuers([a.entry(), b.entry()]).clock(clock.clone());
    let named = named.readiness(Readiness::of([B])).build().unwrap();
    assert!(named.set_issuers([a.entry()]).unwrap_err().to_string().contains("readiness"));
    let one = Validator::builder(A, API).keys(a.jwks()).build().unwrap();
    let error = one.set_issuers([b.entry()]).unwrap_err().to_string();
    assert!(error.contains("Validator::issuers"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn n14_a_request_that_waits_while_its_issuer_is_removed_or_changed() {
    for (entry_stays, expected) in [(true, None), (false, Some(RejectionKind::WrongIssuer))] {
        let clock = clock();
        let (a, b) = (Issuer::new(A, &clock), Issuer::new(B, &clock));
        a.be_slow(Duration::from_secs(1));
        let jwks = a.jwks().build().unwrap();
        let list = [a.entry().keys(jwks.clone()), b.entry()];
        let validator = Validator::issuers(list).clock(clock).build().unwrap();
        let waiting = tokio::spawn({
            let (validator, token) = (validator.clone(), a.token());
            async move { validator.validate(&token).await }
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!waiting.is_finished());
        let mut next = vec![b.entry()];
        if entry_stays {
            next.push(a.entry().keys(jwks.clone()).leeway(Duration::ZERO));
        }
        validator.set_issuers(next).unwrap();
        assert_eq!(kind(waiting.await.unwrap()), expected);
    }
}
