use std::task::Poll;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;
use tower_bearer::RejectionKind;
use tower_bearer::jwks::{FetchErrorKind, Health, Jwks, State};
use tower_bearer::refusal::UnavailableReason;
use tower_bearer::testing::ScriptedAnswer;
use tower_bearer::transport::TransportErrorKind;

use crate::flood::forged;
use crate::support::{Issuer, key, now, pass, rejected, secs, unavailable};

// LC1
#[tokio::test(start_paused = true)]
async fn lc1_refreshes_at_four_fifths_of_the_lifetime() {
    let issuer = Issuer::with(&[&key("a")]);
    let (_validator, _jwks) = issuer.ready(issuer.jwks()).await;
    pass(24.0 * 3_600.0).await;
    let gaps = issuer.gaps();
    assert!(gaps.len() > 150, "{gaps:?}");
    // 80 % of ten minutes, ±10 %; a paused clock counts in milliseconds.
    assert!(gaps.iter().all(|gap| (431.9..528.1).contains(gap)), "{gaps:?}");
    let (least, most) =
        gaps.iter().fold((f64::MAX, 0.0_f64), |(l, m), gap| (l.min(*gap), m.max(*gap)));
    assert!(most - least > 30.0, "no jitter: {least} to {most}");
}

// LC2
#[tokio::test(start_paused = true)]
async fn lc2_a_304_renews_freshness_and_keeps_the_generation() {
    let a = key("a");
    let issuer = Issuer::with(&[&a]);
    issuer.etag("\"1\"");
    issuer.header("cache-control", "max-age=100");
    let (validator, jwks) = issuer.ready(issuer.jwks()).await;
    let before = jwks.status();
    assert!(!issuer.last_headers().contains_key("if-none-match"));
    pass(95.0).await;
    assert_eq!(issuer.requests(), 2);
    assert_eq!(issuer.last_headers()["if-none-match"], "\"1\"");
    assert!(!issuer.last_headers().contains_key("cache-control"));
    let after = jwks.status();
    assert_eq!((before.generation, after.generation), (1, 1));
    assert!(after.fresh_until > before.fresh_until && after.age < Some(secs(30)), "{after:?}");
    assert!(validator.validate(&issuer.token(&a)).await.is_ok());

    issuer.etag("\"2\"");
    issuer.publish(&[&a, &key("b")]);
    pass(100.0).await;
    assert_eq!(jwks.status().generation, 2, "a new set is a new generation");
}

// LC3
#[tokio::test(start_paused = true)]
async fn lc3_max_age_is_clamped_both_ways() {
    for (cache_control, from, to) in
        [("max-age=86400", 2_591.0, 3_169.0), ("max-age=1", 43.1, 52.9), ("no-store", 43.1, 52.9)]
    {
        let issuer = Issuer::with(&[&key("a")]);
        issuer.header("cache-control", cache_control);
        let (_validator, _jwks) = issuer.ready(issuer.jwks()).await;
        pass(3_200.0).await;
        let first = issuer.gaps()[0];
        assert!((from..to).contains(&first), "{cache_control}: {first}");
    }
}

// LC4
#[tokio::test(start_paused = true)]
async fn lc4_backoff_is_bounded_and_reset_by_a_success() {
    let issuer = Issuer::with(&[&key("a")]);
    issuer.die();
    let (_validator, jwks) = issuer.validator(issuer.jwks());
    pass(3_600.0).await;
    let gaps = issuer.gaps();
    for (failures, gap) in gaps.iter().enumerate() {
        let most = f64::from(1_u32 << failures.min(6)).min(60.0);
        assert!((0.099..=most + 0.002).contains(gap), "{gap} after {failures} failures");
    }
    assert!(gaps.len() > 60, "every 30 s on average: {}", gaps.len());
    assert_eq!(jwks.status().consecutive_failures as usize, gaps.len() + 1);
    assert_eq!(jwks.status().last_error, Some(FetchErrorKind::Connect.into()));

    issuer.heal();
    pass(61.0).await;
    assert_eq!((jwks.health(), jwks.status().consecutive_failures), (Health::Ready, 0));
    let asked = issuer.requests();
    issuer.die();
    pass(528.1).await;
    let after_success = &issuer.gaps()[asked..];
    assert!(after_success[0] <= 1.002, "one second again: {after_success:?}");
}

// LC5
#[tokio::test(start_paused = true)]
async fn lc5_a_thousand_concurrent_misses_are_one_fetch() {
    let (a, b) = (key("a"), key("b"));
    let issuer = Issuer::with(&[&a]);
    let (validator, _jwks) = issuer.ready(issuer.jwks()).await;
    let set = crate::support::set(&[&b]).to_string();
    issuer.fail(move || ScriptedAnswer::json(set.clone()).delay(secs(1)));
    let token = issuer.token(&b);
    let verdicts = join_all((0..1_000).map(|_| validator.validate(&token))).await;
    assert!(verdicts.iter().all(Result::is_ok));
    assert_eq!(issuer.requests(), 2);

    let other = Issuer::with(&[&a]);
    let (validator, _jwks) = other.ready(other.jwks()).await;
    let tokens: Vec<_> = (0..1_000).map(|n| other.token_of(&a, &n.to_string())).collect();
    let verdicts = join_all(tokens.iter().map(|token| validator.validate(token))).await;
    for verdict in verdicts {
        assert_eq!(rejected(verdict), RejectionKind::UnknownKey);
    }
    assert_eq!(other.requests(), 2, "of a thousand kids");
}

// LC6
#[tokio::test(start_paused = true)]
async fn lc6_ten_thousand_kids_in_thirty_seconds_are_ten_fetches_at_most() {
    let (a, b) = (key("a"), key("b"));
    for rotates_at in [0, 3_000, 6_000] {
        let issuer = Issuer::with(&[&a]);
        let (validator, _jwks) = issuer.ready(issuer.jwks()).await;
        let (of_a, valid) = (issuer.token(&a), issuer.token(&b));
        let (mut rotated, mut known) = (None, None);
        for n in 0..10_000 {
            if n == rotates_at {
                issuer.publish(&[&a, &b]);
                rotated = Some(now());
            }
            let token = forged(&format!("made-up-{n}"), &of_a);
            let waits = tokio_test::task::spawn(validator.validate(&token)).poll();
            if let Poll::Ready(verdict) = waits {
                assert_eq!(unavailable(verdict).0, UnavailableReason::RateLimited);
            }
            if let (Some(rotated), None) = (rotated, known) {
                match validator.validate(&valid).await {
                    Ok(_) => known = Some(rotated.elapsed()),
                    verdict => assert_eq!(unavailable(verdict).0, UnavailableReason::RateLimited),
                }
            }
            pass(0.002_9).await;
        }
        assert!(known.unwrap() <= secs(10), "{known:?}");
        let in_time = rotates_at < 3_000 && known > Some(secs(2));
        assert!(!in_time, "not at once in the first ten seconds: {known:?}");
        assert!(issuer.requests() <= 1 + 10, "{}", issuer.requests());
    }
}

// LC7
#[tokio::test(start_paused = true)]
async fn lc7_a_flood_of_kids_costs_a_dead_issuer_less() {
    let a = key("a");
    let issuer = Issuer::with(&[&a]);
    let (validator, _jwks) = issuer.ready(issuer.jwks()).await;
    issuer.die();
    let begun = now();
    let known = issuer.token(&a);
    while begun.elapsed() < secs(30) {
        let token = issuer.token_of(&a, &format!("made-up-{}", begun.elapsed().as_nanos()));
        unavailable(validator.validate(&token).await);
        assert!(validator.validate(&known).await.is_ok());
        pass(0.029).await;
    }
    assert!(issuer.requests() <= 1 + 6, "{}", issuer.requests());
}

// LC8
#[tokio::test(start_paused = true)]
async fn lc8_a_removed_key_verifies_nothing_after_the_swap() {
    let (a, b) = (key("a"), key("b"));
    let issuer = Issuer::with(&[&a, &b]);
    let (validator, jwks) = issuer.ready(issuer.jwks()).await;
    let (of_a, of_b) = (issuer.token(&a), issuer.token(&b));
    // Twice, for a cache to remember it.
    for token in [&of_a, &of_b, &of_a, &of_b] {
        assert!(validator.validate(token).await.is_ok());
    }
    issuer.publish(&[&b]);
    jwks.refresh().await.unwrap();
    assert_eq!(rejected(validator.validate(&of_a).await), RejectionKind::UnknownKey);
    assert!(validator.validate(&of_b).await.is_ok());
    assert_eq!(issuer.requests(), 2, "a removed kid is a tombstone: nobody asks for it");
}

// LC9
#[tokio::test(start_paused = true)]
async fn lc9_keys_outlive_the_issuer_until_max_stale() {
    let a = key("a");
    let issuer = Issuer::with(&[&a]);
    let (validator, jwks) = issuer.ready(issuer.jwks().ttl(secs(60)).max_stale(secs(100))).await;
    let token = issuer.token(&a);
    issuer.die();
    pass(59.0).await;
    assert_eq!(jwks.health(), Health::Ready);
    pass(2.0).await;
    assert_eq!((jwks.health(), jwks.status().state), (Health::Degraded, State::Stale));
    pass(98.0).await;
    assert!(validator.validate(&token).await.is_ok(), "a second before the end");
    pass(2.0).await;
    assert_eq!((jwks.health(), jwks.status().state), (Health::NotReady, State::Expired));
    let (reason, retry_after) = unavailable(validator.validate(&token).await);
    assert!(
        matches!(reason, UnavailableReason::KeysExpired | UnavailableReason::RefreshTimedOut),
        "{reason:?}"
    );
    assert!(retry_after <= secs(60));

    issuer.heal();
    pass(61.0).await;
    assert!(validator.validate(&token).await.is_ok());
    assert_eq!(jwks.status().generation, 1, "the same keys are the same generation");
}

// LC10
#[tokio::test(start_paused = true)]
async fn lc10_a_set_without_usable_keys_replaces_nothing() {
    let a = key("a");
    let symmetric = json!({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}]});
    for set in [json!({"keys": []}), json!({}), json!([]), json!({"keys": {}}), symmetric] {
        let issuer = Issuer::with(&[&a]);
        let (validator, jwks) = issuer.ready(issuer.jwks()).await;
        issuer.publish_json(set.clone());
        let error = jwks.refresh().await.unwrap_err();
        assert!(
            matches!(error.kind(), FetchErrorKind::NoUsableKey | FetchErrorKind::NotAKeySet),
            "{set}"
        );
        assert!(validator.validate(&issuer.token(&a)).await.is_ok(), "{set}");
        assert_eq!((jwks.status().generation, jwks.status().last_error), (1, Some(error)));
    }
}

#[tokio::test(start_paused = true)]
async fn fb6_the_status_says_why_no_key_of_a_set_is_usable() {
    let a = key("a");
    let padded = format!("{}=", a.public_jwk()["x"].as_str().unwrap());
    let mut bad = vec![
        json!({"kty": "oct", "k": "c2VjcmV0", "kid": "secret"}),
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "padded", "x": padded}),
        json!("nonsense"),
    ];
    bad.extend(vec![json!({"kty": "NEW"}); 20]);
    let issuer = Issuer::with(&[&a]);
    let (_validator, jwks) = issuer.ready(issuer.jwks()).await;
    assert!(jwks.status().refused_keys.is_empty());
    issuer.publish_json(json!({ "keys": bad.clone() }));
    assert_eq!(jwks.refresh().await, Err(FetchErrorKind::NoUsableKey.into()));
    let status = jwks.status();
    let refused = &status.refused_keys;
    let reasons: Vec<_> =
        refused.iter().map(|key| (key.kid.as_deref(), key.ignored.unwrap().code())).collect();
    assert_eq!(
        reasons[..4],
        [
            (Some("secret"), "symmetric_key"),
            (Some("padded"), "padded_base64url"),
            (None, "malformed"),
            (None, "unsupported_key_type"),
        ]
    );
    assert_eq!((refused.len(), status.keys.len()), (8, 1), "the first ones; the old key serves");
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["refused_keys"][1]["ignored"], "padded_base64url");
    // Another failure, or success, takes their place.
    issuer.die();
    jwks.refresh().await.unwrap_err();
    assert!(jwks.status().refused_keys.is_empty());
    issuer.heal();
    issuer.publish_json(json!({ "keys": bad }));
    jwks.refresh().await.unwrap_err();
    assert_eq!(jwks.status().refused_keys.len(), 8);
    issuer.publish_json(json!({ "keys": [] }));
    assert_eq!(jwks.refresh().await, Err(FetchErrorKind::NoUsableKey.into()));
    assert!(jwks.status().refused_keys.is_empty(), "it has none");
    issuer.publish(&[&a]);
    jwks.refresh().await.unwrap();
    assert!(jwks.status().refused_keys.is_empty());
    // A configured set says so at once.
    let set = json!({ "keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "secret"}, 1] }).to_string();
    let error = Jwks::static_set("https://issuer.test", &set).unwrap_err().to_string();
    assert!(error.contains("symmetric_key (\"secret\"), malformed"), "{error}");
}

// LC11
#[tokio::test(start_paused = true)]
async fn lc11_one_bad_key_spoils_nothing() {
    let a = key("a");
    let issuer = Issuer::with(&[]);
    issuer.publish_json(json!({"keys": [
        {"kty": "AKP", "alg": "ML-DSA-65", "kid": "short", "pub": "AAAA"},
        {"kty": "AKP", "alg": "SLH-DSA-SHA2-128s", "kid": "pq", "pub": "AAAA"},
        {"kty": "EC", "crv": "P-256", "kid": "broken"},
        "nonsense",
        a.public_jwk(),
    ]}));
    let (validator, jwks) = issuer.ready(issuer.jwks()).await;
    assert!(validator.validate(&issuer.token(&a)).await.is_ok());
    let keys = jwks.status().keys;
    let ignored = keys.iter().filter(|key| key.ignored.is_some()).count();
    assert_eq!((keys.len(), ignored), (5, 4), "{keys:?}");
}

// LC14: through the whole source; `tests/transport.rs` has it over a socket.
#[tokio::test(start_paused = true)]
async fn lc14_a_redirect_is_refused() {
    let issuer = Issuer::with(&[&key("a")]);
    issuer.fail(|| {
        ScriptedAnswer::status(StatusCode::FOUND).header("location", "https://issuer.test/other")
    });
    let (_validator, jwks) = issuer.validator(issuer.jwks());
    assert_eq!(jwks.refresh().await, Err(FetchErrorKind::Redirect.into()));
    assert!(issuer.transport.requests().iter().all(|request| request.uri().path() == "/jwks"));
}

// LC17
#[tokio::test(start_paused = true)]
async fn lc17_a_cancelled_request_cancels_no_fetch() {
    let (a, b) = (key("a"), key("b"));
    let issuer = Issuer::with(&[&a]);
    let (validator, _jwks) = issuer.ready(issuer.jwks()).await;
    let (answer, gate) = ScriptedAnswer::json(crate::support::set(&[&b]).to_string()).gated();
    issuer.transport.push(answer);
    let token = issuer.token(&b);
    let request = tokio::spawn({
        let (validator, token) = (validator.clone(), token.clone());
        async move { validator.validate(&token).await }
    });
    issuer.transport.wait_for_requests(2).await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    gate.open();
    assert!(validator.validate(&token).await.is_ok());
    assert_eq!((issuer.requests(), issuer.transport.cancelled()), (2, 0));
}

// LC18
#[tokio::test(start_paused = true)]
async fn lc18_the_last_drop_ends_the_task() {
    let issuer = Issuer::with(&[&key("a")]);
    let (validator, jwks) = issuer.ready(issuer.jwks()).await;
    let alive = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    issuer.fail(ScriptedAnswer::never);
    issuer.transport.wait_for_requests(2).await;
    drop(jwks);
    pass(1.0).await;
    assert_eq!(issuer.transport.cancelled(), 0, "the validator still needs it");
    drop(validator);
    pass(1.0).await;
    assert_eq!(issuer.transport.cancelled(), 1);
    let left = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!((alive, left), (1, 0));
    pass(10_000.0).await;
    assert_eq!(issuer.requests(), 2);
}

// LC19
#[tokio::test(start_paused = true)]
async fn lc19_cold_and_a_dead_issuer_is_503_and_never_401() {
    let a = key("a");
    for fault in [TransportErrorKind::Connect, TransportErrorKind::Timeout] {
        let issuer = Issuer::with(&[&a]);
        issuer.fail(move || ScriptedAnswer::error(fault));
        let (validator, jwks) = issuer.validator(issuer.jwks());
        for token in [issuer.token(&a), issuer.token_without_kid(&a), issuer.token_of(&a, "x")] {
            let (reason, _) = unavailable(validator.validate(&token).await);
            assert_eq!(reason, UnavailableReason::KeysNotLoaded);
            pass(7.0).await;
        }
        assert_eq!((jwks.health(), jwks.status().state), (Health::NotReady, State::Cold));
    }
}

// LC20
#[tokio::test(start_paused = true)]
async fn lc20_the_first_request_after_a_rotation_succeeds() {
    let mut keys = vec![key("0")];
    let issuer = Issuer::with(&[&keys[0]]);
    let (validator, jwks) = issuer.ready(issuer.jwks()).await;
    for n in 1..=20 {
        let new = key(&n.to_string());
        issuer.publish(&[&new]);
        assert!(validator.validate(&issuer.token(&new)).await.is_ok(), "rotation {n}");
        let old = issuer.token(&keys[0]);
        assert_eq!(rejected(validator.validate(&old).await), RejectionKind::UnknownKey);
        keys = vec![new];
        pass(15.1).await;
    }
    assert_eq!((jwks.status().generation, issuer.requests()), (21, 21));
}
