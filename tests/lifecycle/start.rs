use std::time::Duration;

use futures_util::future::join_all;
use tower_bearer::jwks::{Health, Jwks, Snapshot, Start, State};
use tower_bearer::refusal::UnavailableReason;
use tower_bearer::testing::ScriptedAnswer;
use tower_bearer::{Clock, RejectionKind, UnixTime};

use crate::support::{ISSUER, Issuer, URL, key, now, pass, secs, set, unavailable};

#[tokio::test(start_paused = true)]
async fn the_first_requests_join_the_first_fetch() {
    let a = key("a");
    let issuer = Issuer::with(&[&a]);
    let set = set(&[&a]).to_string();
    issuer.fail(move || ScriptedAnswer::json(set.clone()).delay(secs(1)));
    let (validator, jwks) = issuer.validator(issuer.jwks());
    assert_eq!((jwks.health(), jwks.status().state), (Health::NotReady, State::Cold));
    let token = issuer.token(&a);
    let verdicts = join_all((0..100).map(|_| validator.validate(&token))).await;
    assert!(verdicts.iter().all(Result::is_ok));
    assert_eq!((issuer.requests(), jwks.health()), (1, Health::Ready));
}

#[tokio::test(start_paused = true)]
async fn in_backoff_nobody_waits() {
    let a = key("a");
    let issuer = Issuer::with(&[&a]);
    issuer.die();
    let (validator, _jwks) = issuer.validator(issuer.jwks());
    pass(100.0).await;
    let token = issuer.token(&a);
    for _ in 0..1_000 {
        let begun = now();
        let (reason, retry_after) = unavailable(validator.validate(&token).await);
        assert_eq!(reason, UnavailableReason::KeysNotLoaded);
        assert!(retry_after <= secs(60), "{retry_after:?}");
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
    assert!(issuer.requests() < 40, "callers cost nothing: {}", issuer.requests());
}

#[tokio::test(start_paused = true)]
async fn ready_has_a_deadline() {
    let issuer = Issuer::with(&[&key("a")]);
    issuer.die();
    let (validator, jwks) = issuer.validator(issuer.jwks());
    let begun = now();
    let unavailable = validator.ready(secs(10)).await.unwrap_err();
    assert_eq!(unavailable.reason(), UnavailableReason::KeysNotLoaded);
    assert_eq!(begun.elapsed().as_secs(), 10);
    issuer.heal();
    jwks.ready(secs(61)).await.unwrap();
    jwks.ready(Duration::ZERO).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lazy_source_waits_for_the_first_request() {
    let a = key("a");
    let issuer = Issuer::with(&[&a]);
    let (validator, jwks) = issuer.validator(issuer.jwks().start(Start::Lazy));
    pass(100.0).await;
    assert_eq!((issuer.requests(), jwks.status().state), (0, State::Cold));
    assert!(validator.validate("a.b.c").await.is_err());
    assert_eq!(issuer.requests(), 0, "a broken token needs no keys");
    assert!(validator.validate(&issuer.token(&a)).await.is_ok());
    assert_eq!(issuer.requests(), 1);
    pass(600.0).await;
    assert_eq!(issuer.requests(), 2, "from then on it refreshes like any other");

    let (_validator, jwks) = issuer.validator(issuer.jwks().start(Start::Lazy));
    jwks.ready(secs(1)).await.unwrap();
}

#[test]
fn a_source_built_outside_a_runtime_starts_with_its_first_use_inside_one() {
    let a = key("a");
    let issuer = Issuer::with(&[&a]);
    for start in [Start::Eager, Start::Lazy] {
        let (validator, jwks) = issuer.validator(issuer.jwks().start(start));
        assert_eq!(jwks.health(), Health::NotReady);
        for _ in 0..2 {
            // The second runtime takes over from the first, which is gone.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(async {
                assert!(validator.validate(&issuer.token(&a)).await.is_ok());
                let before = issuer.requests();
                jwks.refresh().await.unwrap();
                // Paused, each runtime has a time of its own, and the second one's is behind.
                pass(2_000.0).await;
                assert!(issuer.requests() > before + 1, "it is refreshed");
                assert_eq!(jwks.health(), Health::Ready);
            });
        }
    }
}

#[test]
fn outside_a_runtime_requests_are_answered_at_once() {
    let a = key("a");
    let issuer = Issuer::with(&[&a]);
    let (validator, jwks) = issuer.validator(issuer.jwks());
    let verdict = tokio_test::task::spawn(validator.validate(&issuer.token(&a))).poll();
    let std::task::Poll::Ready(verdict) = verdict else { panic!("it waits") };
    assert_eq!(unavailable(verdict).0, UnavailableReason::KeysNotLoaded);
    assert!(tokio_test::task::spawn(jwks.ready(secs(1))).poll().is_ready());
    assert!(tokio_test::task::spawn(jwks.refresh()).poll().is_ready());
}

async fn snapshot(issuer: &Issuer) -> Snapshot {
    let (_validator, jwks) = issuer.ready(issuer.jwks()).await;
    jwks.snapshot().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_serves_as_stale_until_the_first_fetch() {
    let a = key("a");
    let issuer = Issuer::with(&[&a]);
    issuer.etag("\"1\"");
    let taken = snapshot(&issuer).await;
    let taken = Snapshot::from_json(&taken.to_json()).unwrap();
    assert_eq!((taken.issuer(), taken.url()), (ISSUER, URL));
    pass(1_800.0).await;

    let asked = issuer.requests();
    let set = set(&[&a]).to_string();
    issuer.fail(move || ScriptedAnswer::json(set.clone()).delay(secs(1)));
    let (validator, jwks) = issuer.validator(issuer.jwks().start(Start::Seeded(taken)));
    let status = jwks.status();
    assert_eq!((status.state, status.health), (State::Stale, Health::Degraded));
    assert_eq!(status.age.map(|age| age.as_secs()), Some(1_800));
    assert!(validator.validate(&issuer.token(&a)).await.is_ok());
    pass(0.5).await;
    assert_eq!(issuer.requests(), asked + 1, "refreshed at once");
    assert_eq!(issuer.last_headers()["if-none-match"], "\"1\"");
    pass(1.0).await;
    assert_eq!((jwks.status().state, jwks.status().generation), (State::Fresh, 1));
}

#[tokio::test(start_paused = true)]
async fn a_304_is_enough_for_a_snapshot() {
    let a = key("a");
    let issuer = Issuer::with(&[&a]);
    issuer.etag("\"1\"");
    let taken = snapshot(&issuer).await;
    pass(1_800.0).await;
    let (validator, jwks) = issuer.validator(issuer.jwks().start(Start::Seeded(taken)));
    pass(1.0).await;
    assert_eq!(jwks.status().state, State::Fresh);
    assert!(validator.validate(&issuer.token(&a)).await.is_ok());
    assert!(jwks.snapshot().unwrap().fetched_at() > issuer.clock.now().minus(secs(2)));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_expires_like_any_set() {
    let a = key("a");
    let issuer = Issuer::with(&[&a]);
    let taken = snapshot(&issuer).await;
    pass(1_800.0).await;
    issuer.die();
    let (validator, jwks) = issuer.validator(issuer.jwks().start(Start::Seeded(taken.clone())));
    pass(1_799.0).await;
    assert!(validator.validate(&issuer.token(&a)).await.is_ok());
    pass(2.0).await;
    assert_eq!(jwks.status().state, State::Expired);
    unavailable(validator.validate(&issuer.token(&a)).await);

    let (_validator, jwks) = issuer.validator(issuer.jwks().start(Start::Seeded(taken)));
    assert_eq!(jwks.status().state, State::Cold, "too old to start with");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_doesnt_fit_is_refused() {
    let issuer = Issuer::with(&[&key("a")]);
    let taken = snapshot(&issuer).await;
    let seeded = |builder, snapshot: &Snapshot| {
        issuer.prepare(builder).start(Start::Seeded(snapshot.clone())).build()
    };
    assert!(seeded(Jwks::url(ISSUER, URL), &taken).is_ok());
    assert!(seeded(Jwks::discover(ISSUER), &taken).is_ok());
    let other = "https://other.test";
    let error = seeded(Jwks::url(other, URL), &taken).unwrap_err().to_string();
    assert!(error.contains(other) && error.contains(ISSUER), "{error}");
    assert!(seeded(Jwks::url(ISSUER, "https://issuer.test/keys"), &taken).is_err());

    let json = |from: &str, to: &str| {
        let json = taken.to_json();
        assert!(json.contains(from), "{json}");
        Snapshot::from_json(&json.replace(from, to)).unwrap()
    };
    for unusable in [json("OKP", "oct"), json("\\\"keys\\\"", "\\\"kees\\\"")] {
        let jwks = seeded(Jwks::url(ISSUER, URL), &unusable).unwrap();
        assert_eq!(jwks.status().state, State::Cold);
    }
    issuer.clock.set(UnixTime::from_secs(1_700_000_000));
    let jwks = seeded(Jwks::url(ISSUER, URL), &taken).unwrap();
    assert_eq!(jwks.status().state, State::Cold, "a snapshot from the future");
    for broken in ["", "{}", "[]", r#"{"issuer":"a","url":"b","fetched_at":1e99,"jwks":""}"#] {
        assert!(Snapshot::from_json(broken).is_err(), "{broken}");
    }
}

#[tokio::test(start_paused = true)]
async fn static_keys_are_there_at_once_and_for_ever() {
    let (a, b) = (key("a"), key("b"));
    let issuer = Issuer::with(&[]);
    for jwks in [
        Jwks::static_set(ISSUER, &set(&[&a]).to_string()).unwrap(),
        Jwks::pem(ISSUER, [(Some("a"), &*a.public_pem())]).unwrap(),
    ] {
        let validator = tower_bearer::Validator::builder(ISSUER, crate::support::AUDIENCE)
            .keys(jwks.clone())
            .clock(issuer.clock.clone())
            .build()
            .unwrap();
        jwks.ready(Duration::ZERO).await.unwrap();
        jwks.refresh().await.unwrap();
        let token = issuer.token(&a);
        pass(400_000.0).await;
        assert!(validator.validate(&token).await.is_ok());
        let unknown = validator.validate(&issuer.token(&b)).await;
        assert_eq!(crate::support::rejected(unknown), RejectionKind::UnknownKey);
        assert_eq!((jwks.health(), jwks.status().state), (Health::Ready, State::Static));
        assert!(jwks.snapshot().is_none());
    }
    for unusable in ["", "[]", "{}", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#] {
        assert!(Jwks::static_set(ISSUER, unusable).is_err(), "{unusable}");
    }
    assert!(Jwks::pem(ISSUER, []).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_status_serializes() {
    let a = key("a");
    let issuer = Issuer::with(&[&a]);
    issuer.publish_json(serde_json::json!({"keys": [a.public_jwk(), {"kty": "NEW"}]}));
    let (_validator, jwks) = issuer.ready(issuer.jwks()).await;
    pass(7.0).await;
    issuer.fail(|| ScriptedAnswer::status(http::StatusCode::BAD_GATEWAY));
    let _ = jwks.refresh().await;
    let mut status = serde_json::to_value(jwks.status()).unwrap();
    let next = status["next_refresh"].take();
    assert!(next.as_i64().is_some_and(|next| next > 1_800_000_430), "{next}");
    assert_eq!(
        status,
        serde_json::json!({
            "state": "fresh",
            "health": "ready",
            "generation": 1,
            "age": 7,
            "fresh_until": 1_800_000_600,
            "stale_until": 1_800_004_200,
            "last_attempt": 1_800_000_007,
            "last_success": 1_800_000_000,
            "consecutive_failures": 1,
            "last_error": "http_error 502",
            "clock_offset": null,
            "next_refresh": null,
            "keys": [
                {"kid": "a", "kty": "OKP", "alg": "EdDSA", "algorithms": ["EdDSA"],
                 "ignored": null, "retiring": false},
                {"kid": null, "kty": "NEW", "alg": null, "algorithms": [],
                 "ignored": "unsupported_key_type", "retiring": false},
            ],
        })
    );
}

#[test]
fn a_password_in_an_address_is_not_repeated() {
    for url in ["https://user:hunter2@issuer.test/jwks", "https://user:hunter2@issuer.test/#f"] {
        for builder in [Jwks::url(ISSUER, url), Jwks::discover(url)] {
            assert!(!format!("{builder:?}").contains("hunter2"));
            let error = builder.build().unwrap_err();
            assert!(error.to_string().contains("can't be used"), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}

/// Compose, or a cluster that starts cold: the issuer comes up after the service.
#[tokio::test(start_paused = true)]
async fn fa15_keys_are_there_within_three_seconds_of_the_issuers_first_answer() {
    for down_for in [0.5, 2.0, 4.0, 9.0, 20.0, 45.0, 59.0] {
        for per_second in [0, 10] {
            let a = key("a");
            let issuer = Issuer::with(&[&a]);
            issuer.die();
            let (validator, jwks) = issuer.validator(issuer.jwks());
            let token = issuer.token(&a);
            let begun = now();
            let step = if per_second == 0 { 0.05 } else { 0.1 };
            while begun.elapsed().as_secs_f64() < down_for {
                if per_second > 0 {
                    unavailable(validator.validate(&token).await);
                }
                pass(step).await;
            }
            issuer.heal();
            let back = now();
            while jwks.health() != Health::Ready {
                if per_second > 0 {
                    let _ = validator.validate(&token).await;
                }
                pass(step).await;
            }
            let late = back.elapsed();
            assert!(late < secs(3), "{late:?} after {down_for} s, {per_second} a second");
            let gaps = issuer.gaps();
            assert!(gaps.iter().all(|gap| *gap <= 2.002), "{gaps:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn fa15_after_a_minute_or_once_there_were_keys_an_outage_is_waited_out_as_usual() {
    let issuer = Issuer::with(&[&key("a")]);
    issuer.die();
    let (_validator, _jwks) = issuer.validator(issuer.jwks());
    pass(62.0).await;
    let early = issuer.requests();
    assert!((30..40).contains(&early), "{early}");
    pass(600.0).await;
    assert!(issuer.requests() - early < 60, "{}", issuer.requests() - early);
}

/// Suspend: the wall clock goes on, and the monotonic one doesn't.
#[tokio::test(start_paused = true)]
async fn fa10_keys_from_before_a_suspend_are_stale_and_refreshed_at_once() {
    for asleep in [600, 3_600, 172_800] {
        for probe in ["a known token", "a new token", "health", "nothing"] {
            let (a, b) = (key("a"), key("b"));
            let issuer = Issuer::with(&[&a]);
            let (validator, jwks) = issuer.ready(issuer.jwks()).await;
            let [known, new] = [0, 1].map(|_| issuer.token(&a));
            assert!(validator.validate(&known).await.is_ok());
            pass(300.0).await;
            issuer.publish(&[&b]);
            let generation = jwks.status().generation;
            issuer.clock.advance(secs(asleep));
            match probe {
                "a known token" => drop(validator.validate(&known).await),
                "a new token" => drop(validator.validate(&new).await),
                "health" => assert_eq!(jwks.health(), Health::Degraded),
                _ => pass(31.0).await,
            }
            if probe != "nothing" {
                assert_eq!(jwks.status().state, State::Stale, "{probe}");
                assert!(jwks.status().age >= Some(secs(asleep)), "{:?}", jwks.status().age);
            }
            pass(0.01).await;
            assert_eq!(jwks.status().state, State::Fresh, "{asleep} {probe}");
            assert_eq!((issuer.requests(), jwks.status().generation), (2, generation + 1));
            let verdict = validator.validate(&known).await;
            assert_eq!(crate::support::rejected(verdict), RejectionKind::UnknownKey);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn fa10_a_wall_clock_that_is_set_expires_nothing() {
    let a = key("a");
    let issuer = Issuer::with(&[&a]);
    let (validator, jwks) = issuer.ready(issuer.jwks()).await;
    issuer.die();
    let token = issuer.token(&a);
    // A small step, and one back, are nothing.
    for step in [30, -7_200] {
        issuer.clock.set(UnixTime::from_secs(issuer.clock.now().as_secs() + step));
        assert_eq!(jwks.status().state, State::Fresh, "{step}");
        pass(31.0).await;
        assert_eq!((jwks.status().state, issuer.requests()), (State::Fresh, 1), "{step}");
    }
    let before = jwks.status();
    // Four days: the token is good for a week.
    issuer.clock.advance(secs(345_600));
    assert!(validator.validate(&token).await.is_ok());
    assert_eq!(jwks.status().state, State::Stale);
    pass(3_000.0).await;
    assert!(issuer.requests() > 20, "{}", issuer.requests());
    assert!(validator.validate(&token).await.is_ok(), "stale keys serve");
    let left = |status: &tower_bearer::jwks::Status, now: UnixTime| {
        status.stale_until.unwrap().saturating_since(now).as_secs()
    };
    let ends_in = left(&jwks.status(), issuer.clock.now());
    assert!(ends_in.abs_diff(600 + 3_600 - 3_062) <= 1, "{before:?}: {ends_in}");
    issuer.heal();
    pass(61.0).await;
    assert_eq!(jwks.status().state, State::Fresh);
    assert_eq!(jwks.status().generation, 1, "the same keys");
}

/// A validator with a clock of its own, which is far ahead, costs no refresh.
#[tokio::test(start_paused = true)]
async fn fa10_the_key_source_trusts_its_own_clock_alone() {
    let a = key("a");
    let issuer = Issuer::with(&[&a]);
    let jwks = issuer.jwks().build().unwrap();
    let ahead = tower_bearer::testing::ManualClock::running(UnixTime::from_secs(1_800_400_000));
    let validator = tower_bearer::Validator::builder(ISSUER, crate::support::AUDIENCE)
        .keys(jwks.clone())
        .clock(ahead)
        .build()
        .unwrap();
    jwks.ready(secs(9)).await.unwrap();
    for _ in 0..3 {
        assert!(validator.validate(&issuer.token(&a)).await.is_ok());
        pass(1.0).await;
    }
    assert_eq!((jwks.status().state, issuer.requests()), (State::Fresh, 1));
}
