use std::time::Duration;

use serde_json::json;
use tower_bearer::RejectionKind;
use tower_bearer::jwks::{EmptySet, State};

use crate::support::{Issuer, key, pass, rejected, secs};

/// The end of a grace needs nobody to watch for it, no more than that of the whole set does.
#[test]
#[allow(clippy::disallowed_methods, reason = "this runtime is real, and so is the time")]
fn a_grace_ends_in_time_though_nobody_runs_the_task() {
    let (old, new) = (key("old"), key("new"));
    let issuer = Issuer::with(&[&old]);
    let grace = Duration::from_millis(300);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (validator, _jwks) = runtime.block_on(async {
        let (validator, jwks) =
            issuer.ready(issuer.jwks().dangerous_removed_key_grace(grace)).await;
        issuer.publish(&[&new]);
        jwks.refresh().await.unwrap();
        (validator, jwks)
    });
    let begun = std::time::Instant::now();
    let validate = |token: &str| match tokio_test::task::spawn(validator.validate(token)).poll() {
        std::task::Poll::Ready(verdict) => verdict.is_ok(),
        std::task::Poll::Pending => false,
    };
    assert!(validate(&issuer.token(&old)) || begun.elapsed() > grace / 2, "it is within its grace");
    std::thread::sleep(2 * grace);
    assert!(!validate(&issuer.token(&old)), "it was seen before");
    assert!(!validate(&issuer.token_without_kid(&old)), "it wasn't");
    assert!(validate(&issuer.token(&new)));
}

#[tokio::test(start_paused = true)]
async fn a_removed_key_may_be_given_a_grace() {
    let (a, b) = (key("a"), key("b"));
    let issuer = Issuer::with(&[&a]);
    let (validator, jwks) =
        issuer.ready(issuer.jwks().dangerous_removed_key_grace(secs(300))).await;
    let of_a = issuer.token(&a);
    issuer.publish(&[&b]);
    jwks.refresh().await.unwrap();
    let status = jwks.status();
    assert_eq!(status.generation, 2);
    assert!(status.keys.iter().any(|key| key.retiring && key.kid.as_deref() == Some("a")));
    pass(299.0).await;
    assert!(validator.validate(&of_a).await.is_ok());
    assert!(validator.validate(&issuer.token(&b)).await.is_ok());
    pass(2.0).await;
    assert_eq!(jwks.status().generation, 3);
    assert_eq!(rejected(validator.validate(&of_a).await), RejectionKind::UnknownKey);
    assert!(validator.validate(&issuer.token(&b)).await.is_ok());
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_grace_isnt_prolonged_by_refreshes() {
    let (a, b) = (key("a"), key("b"));
    let issuer = Issuer::with(&[&a]);
    let (validator, jwks) =
        issuer.ready(issuer.jwks().dangerous_removed_key_grace(secs(300))).await;
    issuer.publish(&[&b]);
    for _ in 0..4 {
        jwks.refresh().await.unwrap();
        pass(90.0).await;
    }
    assert_eq!(rejected(validator.validate(&issuer.token(&a)).await), RejectionKind::UnknownKey);
}

#[tokio::test(start_paused = true)]
async fn the_same_kid_with_new_material_replaces_the_old_at_once() {
    let (old, new) = (key("default"), key("default"));
    let issuer = Issuer::with(&[&old]);
    let (validator, jwks) =
        issuer.ready(issuer.jwks().dangerous_removed_key_grace(secs(300))).await;
    issuer.publish(&[&new]);
    jwks.refresh().await.unwrap();
    assert_eq!(jwks.status().generation, 2);
    assert!(validator.validate(&issuer.token(&new)).await.is_ok());
    assert_eq!(
        rejected(validator.validate(&issuer.token(&old)).await),
        RejectionKind::BadSignature
    );
}

#[tokio::test(start_paused = true)]
async fn two_keys_with_one_kid_are_both_tried() {
    let (one, two) = (key("default"), key("default"));
    let issuer = Issuer::with(&[&one, &two]);
    let (validator, _jwks) = issuer.ready(issuer.jwks()).await;
    assert!(validator.validate(&issuer.token(&one)).await.is_ok());
    assert!(validator.validate(&issuer.token(&two)).await.is_ok());
    let other = issuer.token(&key("default"));
    assert_eq!(rejected(validator.validate(&other).await), RejectionKind::BadSignature);
}

#[tokio::test(start_paused = true)]
async fn the_same_keys_in_another_order_are_the_same_generation() {
    let (a, b) = (key("a"), key("b"));
    let issuer = Issuer::with(&[&a, &b]);
    let (_validator, jwks) = issuer.ready(issuer.jwks()).await;
    issuer.publish(&[&b, &a]);
    jwks.refresh().await.unwrap();
    let mut set = crate::support::set(&[&a, &b]);
    set["keys"][0]["x5t"] = json!("c2FtZSBrZXk");
    issuer.publish_json(set);
    jwks.refresh().await.unwrap();
    assert_eq!(jwks.status().generation, 1);
    issuer.publish(&[&a, &a]);
    jwks.refresh().await.unwrap();
    assert_eq!(jwks.status().generation, 2);
}

#[tokio::test(start_paused = true)]
async fn an_empty_set_revokes_all_only_where_that_was_declared() {
    let a = key("a");
    let issuer = Issuer::with(&[&a]);
    let (validator, jwks) = issuer.ready(issuer.jwks().empty_set(EmptySet::RevokeAll)).await;
    let unusable = json!({"keys": [{"kty": "NEW", "kid": "pq"}]});
    issuer.publish_json(unusable);
    assert!(jwks.refresh().await.is_err(), "unusable isn't empty");
    assert!(validator.validate(&issuer.token(&a)).await.is_ok());

    issuer.publish_json(json!({"keys": []}));
    jwks.refresh().await.unwrap();
    assert_eq!(rejected(validator.validate(&issuer.token(&a)).await), RejectionKind::UnknownKey);
    assert_eq!(jwks.status().state, State::Fresh);

    issuer.publish(&[&a]);
    jwks.refresh().await.unwrap();
    assert!(validator.validate(&issuer.token(&a)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_comes_back_is_accepted_again() {
    let (a, b) = (key("a"), key("b"));
    let issuer = Issuer::with(&[&a]);
    let (validator, jwks) = issuer.ready(issuer.jwks()).await;
    for keys in [[&b], [&a], [&b], [&a]] {
        issuer.publish(&keys);
        jwks.refresh().await.unwrap();
        assert!(validator.validate(&issuer.token(keys[0])).await.is_ok());
    }
    assert_eq!(jwks.status().generation, 5);
}

/// A rollback, long before the next planned refresh.
#[tokio::test(start_paused = true)]
async fn a_key_that_comes_back_is_found_after_four_cooldowns_at_the_latest() {
    let (a, b) = (key("a"), key("b"));
    let issuer = Issuer::with(&[&a]);
    issuer.header("cache-control", "max-age=3600");
    let (validator, jwks) = issuer.ready(issuer.jwks()).await;
    let token = issuer.token(&a);
    issuer.publish(&[&b]);
    jwks.refresh().await.unwrap();
    issuer.publish(&[&a, &b]);
    pass(119.0).await;
    assert_eq!(rejected(validator.validate(&token).await), RejectionKind::UnknownKey);
    assert_eq!(issuer.requests(), 2);
    pass(2.0).await;
    assert!(validator.validate(&token).await.is_ok());
    assert_eq!(issuer.requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_stays_away_costs_a_fetch_in_four_cooldowns() {
    let (a, b) = (key("a"), key("b"));
    let issuer = Issuer::with(&[&a]);
    issuer.header("cache-control", "max-age=3600");
    let (validator, jwks) = issuer.ready(issuer.jwks()).await;
    let token = issuer.token(&a);
    issuer.publish(&[&b]);
    jwks.refresh().await.unwrap();
    for _ in 0..1_150 {
        pass(1.0).await;
        assert_eq!(rejected(validator.validate(&token).await), RejectionKind::UnknownKey);
    }
    assert_eq!(issuer.requests(), 2 + 9, "in 19 minutes");
    assert!(validator.validate(&issuer.token(&b)).await.is_ok());
}

// A grace is for keys that are replaced.
#[tokio::test(start_paused = true)]
async fn there_is_no_grace_for_keys_that_are_all_revoked() {
    let (a, b) = (key("a"), key("b"));
    let issuer = Issuer::with(&[&a]);
    let builder =
        issuer.jwks().empty_set(EmptySet::RevokeAll).dangerous_removed_key_grace(secs(300));
    let (validator, jwks) = issuer.ready(builder).await;
    issuer.publish(&[&b]);
    jwks.refresh().await.unwrap();
    assert!(validator.validate(&issuer.token(&a)).await.is_ok());
    issuer.publish(&[]);
    jwks.refresh().await.unwrap();
    for key in [&a, &b] {
        let verdict = validator.validate(&issuer.token(key)).await;
        assert_eq!(rejected(verdict), RejectionKind::UnknownKey);
    }
}
