use std::time::Duration;

use http::StatusCode;
use tower_bearer::RejectionKind;
use tower_bearer::jose::Algorithm;
use tower_bearer::refusal::UnavailableReason;
use tower_bearer::testing::{ScriptedAnswer, TestKey};

use crate::support::{Issuer, key, now, pass, rejected, secs, set, unavailable};

#[tokio::test(start_paused = true)]
async fn a_token_without_kid_is_tried_with_up_to_four_keys_and_never_fetched_for() {
    let keys: Vec<TestKey> = ["a", "b", "c", "d", "e"].map(key).into();
    let issuer = Issuer::with(&keys.iter().take(4).collect::<Vec<_>>());
    let (validator, jwks) = issuer.ready(issuer.jwks()).await;
    for key in &keys[..4] {
        assert!(validator.validate(&issuer.token_without_kid(key)).await.is_ok());
    }
    let stranger = issuer.token_without_kid(&keys[4]);
    assert_eq!(rejected(validator.validate(&stranger).await), RejectionKind::BadSignature);
    let ec = TestKey::generate(Algorithm::ES256);
    let unfit = issuer.token_without_kid(&ec);
    assert_eq!(rejected(validator.validate(&unfit).await), RejectionKind::UnknownKey);
    assert_eq!(issuer.requests(), 1);

    issuer.publish(&keys.iter().collect::<Vec<_>>());
    jwks.refresh().await.unwrap();
    let verdict = validator.validate(&issuer.token_without_kid(&keys[0])).await;
    assert_eq!(rejected(verdict), RejectionKind::AmbiguousKey);
    issuer.publish(&keys.iter().chain([&ec]).collect::<Vec<_>>());
    jwks.refresh().await.unwrap();
    assert!(validator.validate(&issuer.token_without_kid(&ec)).await.is_ok(), "only one fits");
}

#[tokio::test(start_paused = true)]
async fn a_kid_that_the_issuer_hasnt_got_is_asked_for_once_per_cooldown() {
    let a = key("a");
    let issuer = Issuer::with(&[&a]);
    let (validator, _jwks) = issuer.ready(issuer.jwks()).await;
    let token = issuer.token_of(&a, "made-up");
    for _ in 0..10 {
        assert_eq!(rejected(validator.validate(&token).await), RejectionKind::UnknownKey);
        pass(2.9).await;
    }
    assert_eq!(issuer.requests(), 2);
    pass(1.1).await;
    assert_eq!(rejected(validator.validate(&token).await), RejectionKind::UnknownKey);
    assert_eq!(issuer.requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_made_up_kid_doesnt_keep_a_rotation_from_being_seen() {
    let (a, b) = (key("a"), key("b"));
    let issuer = Issuer::with(&[&a]);
    issuer.etag("\"1\"");
    let (validator, _jwks) = issuer.ready(issuer.jwks()).await;
    rejected(validator.validate(&issuer.token_of(&a, "made-up")).await);
    let first = issuer.last_headers();
    assert_eq!(
        (&first["cache-control"], &first["if-none-match"]),
        (&"no-cache".parse().unwrap(), &"\"1\"".parse().unwrap())
    );

    // A cache on the way would go on to say 304, so the second fetch isn't conditional.
    issuer.publish(&[&b]);
    assert!(validator.validate(&issuer.token(&b)).await.is_ok());
    let second = issuer.last_headers();
    assert_eq!(second["cache-control"], "no-cache");
    assert!(!second.contains_key("if-none-match"));
    assert_eq!(issuer.requests(), 3);

    let begun = now();
    let verdict = validator.validate(&issuer.token_of(&a, "third")).await;
    assert_eq!(rejected(verdict), RejectionKind::UnknownKey);
    assert_eq!(issuer.requests(), 4, "only a fetch since can tell");
    assert!(begun.elapsed() > secs(1) && begun.elapsed() < secs(2), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_about_a_token_whose_key_couldnt_be_asked_for() {
    let a = key("a");
    let issuer = Issuer::with(&[&a]);
    let (validator, _jwks) = issuer.ready(issuer.jwks()).await;
    issuer.die();
    let token = issuer.token_of(&a, "b");
    let (reason, _) = unavailable(validator.validate(&token).await);
    assert_eq!(reason, UnavailableReason::RefreshFailed);
    let (reason, _) = unavailable(validator.validate(&token).await);
    assert_eq!(reason, UnavailableReason::RefreshFailed, "the place was near enough to wait for");
    assert_eq!(issuer.requests(), 3, "the same token may ask again");
    let (reason, retry_after) = unavailable(validator.validate(&token).await);
    assert_eq!(reason, UnavailableReason::RateLimited);
    assert!(retry_after > secs(2) && retry_after < secs(3), "{retry_after:?}");
    assert_eq!(issuer.requests(), 3);

    issuer.heal();
    issuer.publish(&[&a, &key("b")]);
    pass(30.0).await;
    let token = issuer.token_of(&a, "b");
    assert_eq!(rejected(validator.validate(&token).await), RejectionKind::BadSignature);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_no_longer_than_it_may_and_the_fetch_goes_on() {
    let (a, b) = (key("a"), key("b"));
    let issuer = Issuer::with(&[&a]);
    let (validator, _jwks) = issuer.ready(issuer.jwks()).await;
    let set = set(&[&a, &b]).to_string();
    issuer.fail(move || ScriptedAnswer::json(set.clone()).delay(secs(3)));
    let token = issuer.token(&b);
    let begun = now();
    let (reason, _) = unavailable(validator.validate(&token).await);
    assert_eq!(reason, UnavailableReason::RefreshTimedOut);
    assert_eq!(begun.elapsed().as_millis() / 10, 200);
    // The next one joins what is left of the fetch.
    assert!(validator.validate(&token).await.is_ok());
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_planned_fetch_under_way_is_joined_and_asked_past_if_it_came_too_soon() {
    let (a, b, c) = (key("a"), key("b"), key("c"));
    let issuer = Issuer::with(&[&a]);
    let (validator, _jwks) = issuer.ready(issuer.jwks()).await;
    for (new, published, requests) in [(&b, &[&b][..], 2), (&c, &[&b, &c], 4)] {
        let (answer, gate) = ScriptedAnswer::json(set(&[&b]).to_string()).gated();
        issuer.transport.push(answer);
        let before = issuer.requests();
        issuer.transport.wait_for_requests(before + 1).await;
        let token = issuer.token(new);
        let request = tokio::spawn({
            let validator = validator.clone();
            async move { validator.validate(&token).await }
        });
        pass(0.1).await;
        assert_eq!(issuer.requests(), before + 1, "one flight at a time");
        issuer.publish(published);
        gate.open();
        assert!(request.await.unwrap().is_ok());
        assert_eq!(issuer.requests(), requests);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_comes_meanwhile_is_used_whatever_becomes_of_the_fetch_that_was_asked_for() {
    let (a, b) = (key("a"), key("b"));
    let issuer = Issuer::with(&[&a]);
    let (validator, _jwks) = issuer.ready(issuer.jwks()).await;
    let (answer, gate) = ScriptedAnswer::json(set(&[&a, &b]).to_string()).gated();
    issuer.transport.push(answer);
    issuer.transport.wait_for_requests(2).await;
    issuer.fail(ScriptedAnswer::never);
    let [made_up, new] = [issuer.token_of(&a, "made-up"), issuer.token(&b)].map(|token| {
        let validator = validator.clone();
        tokio::spawn(async move { validator.validate(&token).await })
    });
    pass(0.1).await;
    gate.open();
    assert!(new.await.unwrap().is_ok());
    assert!(!made_up.is_finished());
    assert_eq!(unavailable(made_up.await.unwrap()).0, UnavailableReason::RefreshTimedOut);
}

/// A planned fetch that came too soon, and whoever asks first doesn't decide about the next.
#[tokio::test(start_paused = true)]
async fn a_forced_fetch_is_made_whatever_a_planned_one_brought() {
    for made_up in [false, true] {
        let (old, new) = (key("old"), key("new"));
        let issuer = Issuer::with(&[&old]);
        let (validator, _jwks) = issuer.ready(issuer.jwks()).await;
        let (too_soon, gate) = ScriptedAnswer::json(set(&[&old]).to_string()).gated();
        issuer.transport.push(too_soon);
        issuer.transport.wait_for_requests(2).await;
        issuer.publish(&[&old, &new]);
        // Its `kid` is known, but no key of that `kid` is for its `alg`.
        let other = issuer.token(&TestKey::generate(Algorithm::ES256).with_kid("old"));
        let mut other = tokio_test::task::spawn(validator.validate(&other));
        if made_up {
            assert!(other.poll().is_pending());
        }
        let token = issuer.token(&new);
        let mut request = tokio_test::task::spawn(validator.validate(&token));
        assert!(request.poll().is_pending());
        gate.open();
        assert!(request.await.is_ok(), "{made_up}");
        assert_eq!(issuer.requests(), 3);
        if made_up {
            assert_eq!(rejected(other.await), RejectionKind::UnknownKey);
        }
    }
}

/// The same, where the key changes under its `kid`.
#[tokio::test(start_paused = true)]
async fn another_kind_of_key_under_a_known_kid_is_waited_for_whatever_else_changes() {
    let (old, third) = (key("same"), key("third"));
    let new = TestKey::generate(Algorithm::ES256).with_kid("same");
    for too_soon in [set(&[&old]), set(&[&old, &third])] {
        let issuer = Issuer::with(&[&old]);
        let (validator, _jwks) = issuer.ready(issuer.jwks()).await;
        let (too_soon, gate) = ScriptedAnswer::json(too_soon.to_string()).gated();
        issuer.transport.push(too_soon);
        issuer.transport.wait_for_requests(2).await;
        issuer.publish(&[&new]);
        let token = issuer.token(&new);
        let mut request = tokio_test::task::spawn(validator.validate(&token));
        assert!(request.poll().is_pending());
        gate.open();
        assert!(request.await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_known_kid_with_another_kind_of_key_is_a_miss() {
    let old = key("same");
    let new = TestKey::generate(Algorithm::ES256).with_kid("same");
    let issuer = Issuer::with(&[&old]);
    let (validator, _jwks) = issuer.ready(issuer.jwks()).await;
    issuer.publish(&[&new]);
    assert!(validator.validate(&issuer.token(&new)).await.is_ok());
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_bad_signature_with_a_known_kid_costs_nothing() {
    let a = key("a");
    let issuer = Issuer::with(&[&a]);
    let (validator, _jwks) = issuer.ready(issuer.jwks()).await;
    let forged = issuer.token_of(&key("other"), "a");
    assert_eq!(rejected(validator.validate(&forged).await), RejectionKind::BadSignature);
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_asks_for_rest_gets_it_from_forced_fetches_too() {
    let (a, b) = (key("a"), key("b"));
    let issuer = Issuer::with(&[&a]);
    let (validator, _jwks) = issuer.ready(issuer.jwks()).await;
    issuer
        .fail(|| ScriptedAnswer::status(StatusCode::TOO_MANY_REQUESTS).header("retry-after", "90"));
    unavailable(validator.validate(&issuer.token_of(&a, "x")).await);
    issuer.heal();
    issuer.publish(&[&b]);
    pass(45.0).await;
    let (reason, retry_after) = unavailable(validator.validate(&issuer.token(&b)).await);
    assert_eq!(reason, UnavailableReason::RateLimited);
    assert!(retry_after > secs(44) && retry_after <= secs(45), "{retry_after:?}");
    assert_eq!(issuer.requests(), 2);
    pass(45.1).await;
    assert!(validator.validate(&issuer.token(&b)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn fa5_a_predicted_kid_isnt_held_against_the_key_that_comes() {
    for ahead in [0.0, 0.5, 1.5, 5.0, 20.0] {
        let (old, new) = (key("old"), key("new"));
        let issuer = Issuer::with(&[&old]);
        let (validator, _jwks) = issuer.ready(issuer.jwks()).await;
        let predicted = issuer.token_of(&old, "new");
        for _ in 0..2 {
            let verdict = validator.validate(&predicted).await;
            assert_eq!(rejected(verdict), RejectionKind::UnknownKey);
        }
        assert_eq!(issuer.requests(), 2, "the same token is told at once");
        pass(ahead).await;
        issuer.publish(&[&old, &new]);
        assert!(validator.validate(&issuer.token(&new)).await.is_ok(), "{ahead}");
        assert_eq!(rejected(validator.validate(&predicted).await), RejectionKind::BadSignature);
    }
}

#[tokio::test(start_paused = true)]
async fn fa5_two_made_up_kids_every_thirty_seconds_make_no_rotation_a_401() {
    let mut newest = key("0");
    let issuer = Issuer::with(&[&newest]);
    let (validator, _jwks) = issuer.ready(issuer.jwks().ttl(secs(86_400))).await;
    for n in 1..=60_u32 {
        let stranger = issuer.token_of(&newest, &format!("made-up-{n}"));
        let waiting = tokio::spawn({
            let validator = validator.clone();
            async move { validator.validate(&stranger).await }
        });
        pass(f64::from(n % 15)).await;
        newest = key(&n.to_string());
        issuer.publish(&[&newest]);
        let rotated = now();
        while let Err(refusal) = validator.validate(&issuer.token(&newest)).await {
            unavailable(Err(refusal));
            pass(0.5).await;
        }
        assert!(rotated.elapsed() <= secs(10), "{n}: {:?}", rotated.elapsed());
        assert!(waiting.await.unwrap().is_err());
        pass(15.0 - f64::from(n % 15)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn fa5_what_comes_under_way_may_have_the_key_though_only_the_next_can_tell() {
    let (a, b) = (key("a"), key("b"));
    let issuer = Issuer::with(&[&a]);
    let builder = issuer.jwks().request_wait(secs(1));
    let (validator, _jwks) = issuer.ready(builder).await;
    for has in [false, true] {
        let published = if has { set(&[&a, &b]) } else { set(&[&a]) };
        let (answer, gate) = ScriptedAnswer::json(published.to_string()).gated();
        issuer.transport.push(answer);
        let made_up = issuer.token_of(&a, &format!("made-up-{has}"));
        let mut first = tokio_test::task::spawn(validator.validate(&made_up));
        assert!(first.poll().is_pending());
        pass(0.1).await;
        let token = issuer.token(&b);
        let mut second = tokio_test::task::spawn(validator.validate(&token));
        assert!(second.poll().is_pending());
        gate.open();
        let verdict = second.await;
        assert_eq!(rejected(first.await), RejectionKind::UnknownKey);
        if has {
            assert!(verdict.is_ok());
        } else {
            assert_eq!(unavailable(verdict).0, UnavailableReason::RateLimited);
        }
        pass(31.0).await;
    }
}

/// An issuer that limits the rate, and the same that is only slow.
#[tokio::test(start_paused = true)]
async fn fa5_who_waits_for_a_place_is_rate_limited_and_who_waits_for_the_issuer_is_not() {
    let a = key("a");
    let issuer = Issuer::with(&[&a]);
    let (validator, _jwks) = issuer.ready(issuer.jwks()).await;
    issuer.fail(ScriptedAnswer::never);
    let verdict = validator.validate(&issuer.token_of(&a, "1")).await;
    assert_eq!(unavailable(verdict).0, UnavailableReason::RefreshTimedOut);
    let set = set(&[&a]).to_string();
    issuer.fail(move || ScriptedAnswer::json(set.clone()).delay(Duration::from_millis(1_500)));
    pass(40.0).await;
    assert!(validator.validate(&issuer.token_of(&a, "2")).await.is_err());
    let verdict = validator.validate(&issuer.token_of(&a, "3")).await;
    assert_eq!(rejected(verdict), RejectionKind::UnknownKey);
    let two = ["4", "5"].map(|kid| issuer.token_of(&a, kid));
    let mut first = tokio_test::task::spawn(validator.validate(&two[0]));
    assert!(first.poll().is_pending());
    pass(0.2).await;
    let verdict = validator.validate(&two[1]).await;
    assert_eq!(unavailable(verdict).0, UnavailableReason::RateLimited);
}
