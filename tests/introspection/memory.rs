//! What is remembered, and for how long.

use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;
use tower_bearer::issuers::Issuer;
use tower_bearer::testing::ScriptedAnswer;
use tower_bearer::{RejectionKind, Validator};

use crate::support::{NOW, World, answer, rejected, unavailable};
use crate::world::AUDIENCE;

const SECOND: Duration = Duration::from_secs(1);

// I3, I28
#[tokio::test(start_paused = true)]
async fn i3_i28_a_token_is_remembered_for_the_ttl_and_never_beyond_its_exp() {
    let world = World::new();
    let validator = world.validator();
    world.active("long", json!({}));
    world.active("short", json!({ "exp": NOW + 10 }));
    for token in ["long", "short"] {
        for _ in 0..3 {
            assert!(validator.validate(token).await.is_ok());
        }
    }
    assert_eq!(world.calls(), 2);
    tokio::time::advance(9 * SECOND).await;
    for token in ["long", "short"] {
        assert!(validator.validate(token).await.is_ok());
    }
    assert_eq!(world.calls(), 2);
    // Beyond its exp it is asked about each time, though the leeway lets it pass.
    tokio::time::advance(SECOND).await;
    for calls in [3, 4] {
        assert!(validator.validate("short").await.is_ok());
        assert_eq!(world.calls(), calls);
    }
    tokio::time::advance(19 * SECOND).await;
    assert!(validator.validate("long").await.is_ok());
    assert_eq!(world.calls(), 4);
    tokio::time::advance(SECOND).await;
    assert!(validator.validate("long").await.is_ok());
    assert_eq!(world.calls(), 5);
}

// I28: the time counts from the question. An answer that comes late is as old as that.
#[tokio::test(start_paused = true)]
async fn i28_an_answer_is_remembered_from_when_it_was_asked_for() {
    let world = World::new();
    let long = world.introspection().ttl(10 * SECOND).negative_ttl(10 * SECOND);
    let validator = world.builder(long.timeout(5 * SECOND)).build().unwrap();
    for (token, body) in [("good", answer(json!({}))), ("bad", json!({ "active": false }))] {
        let before = world.calls();
        world.answer(token, move || ScriptedAnswer::json(body.to_string()).delay(4 * SECOND));
        let told = validator.validate(token).await.is_ok();
        assert_eq!(told, token == "good");
        tokio::time::advance(5 * SECOND).await;
        assert_eq!(validator.validate(token).await.is_ok(), told);
        assert_eq!(world.calls(), before + 1, "{token}");
        tokio::time::advance(SECOND).await;
        assert_eq!(validator.validate(token).await.is_ok(), told);
        assert_eq!(world.calls(), before + 2, "{token}");
    }
}

// A token without `exp` ends with its greatest age, for a stream as well.
#[tokio::test(start_paused = true)]
async fn st1_a_token_without_exp_ends_when_it_is_too_old() {
    let world = World::new();
    let hour = 3_600 * SECOND;
    world.active("t", json!({ "exp": null }));
    let endless = world.validator().validate("t").await.unwrap();
    assert!(tokio::time::timeout(hour, endless.expired()).await.is_err());
    let validator = world.builder(world.introspection()).max_age(2 * hour).build().unwrap();
    let token = validator.validate("t").await.unwrap();
    assert!(tokio::time::timeout(hour + 59 * SECOND, token.expired()).await.is_err());
    assert!(tokio::time::timeout(3 * SECOND, token.expired()).await.is_ok());
}

// I28: zero turns it off; so does a cache of none.
#[tokio::test(start_paused = true)]
async fn i28_nothing_is_remembered_where_that_is_set() {
    let world = World::new();
    world.active("t", json!({}));
    let none = world.introspection().ttl(Duration::ZERO).negative_ttl(Duration::ZERO);
    let none = world.builder(none).build().unwrap();
    let small = world.builder(world.introspection()).cache_entries(0).build().unwrap();
    for validator in [none, small] {
        for _ in 0..2 {
            let before = world.calls();
            assert!(validator.validate("t").await.is_ok());
            assert_eq!(rejected(validator.validate("bad").await), RejectionKind::Inactive);
            assert_eq!(world.calls(), before + 2);
        }
    }
}

// I20: what names no end is remembered no longer than by default, whatever the setting.
#[tokio::test(start_paused = true)]
async fn i20_without_exp_the_ttl_is_the_default_at_most() {
    let world = World::new();
    world.active("t", json!({ "exp": null }));
    let hour = world.introspection().ttl(3_600 * SECOND);
    let validator = world.builder(hour).build().unwrap();
    assert!(validator.validate("t").await.is_ok());
    tokio::time::advance(29 * SECOND).await;
    assert!(validator.validate("t").await.is_ok());
    assert_eq!(world.calls(), 1);
    tokio::time::advance(SECOND).await;
    assert!(validator.validate("t").await.is_ok());
    assert_eq!(world.calls(), 2);
}

// A clock that is set back must not make what is remembered last longer.
#[tokio::test(start_paused = true)]
async fn i28_a_clock_set_back_ends_what_is_remembered() {
    let world = World::new();
    let validator = world.validator();
    world.active("t", json!({}));
    assert!(validator.validate("t").await.is_ok());
    world.clock.set(tower_bearer::UnixTime::from_secs(NOW - 3_600));
    assert!(validator.validate("t").await.is_ok());
    assert_eq!(world.calls(), 2);
}

// I29: garbage is remembered for ten seconds, apart, and drives out no good token.
#[tokio::test(start_paused = true)]
async fn i29_garbage_has_a_table_of_its_own() {
    let world = World::new();
    let validator = world.validator();
    world.active("good", json!({}));
    assert!(validator.validate("good").await.is_ok());
    for _ in 0..3 {
        assert_eq!(rejected(validator.validate("bad").await), RejectionKind::Inactive);
    }
    assert_eq!(world.calls(), 2);
    for garbage in 0..6_000 {
        rejected(validator.validate(&format!("garbage{garbage}")).await);
    }
    let before = world.calls();
    assert_eq!(before, 6_002);
    assert!(validator.validate("good").await.is_ok());
    assert_eq!(world.calls(), before, "the good one is still known");
    rejected(validator.validate("latest").await);
    rejected(validator.validate("latest").await);
    tokio::time::advance(10 * SECOND).await;
    rejected(validator.validate("latest").await);
    assert_eq!(world.calls(), before + 2);
}

// I31
#[tokio::test(start_paused = true)]
async fn i31_a_thousand_requests_with_a_new_token_make_one_call() {
    let world = World::new();
    let validator = world.validator();
    let body = answer(json!({})).to_string();
    world.answer("t", move || ScriptedAnswer::json(body.clone()).delay(SECOND));
    let ask = |token: &'static str| {
        let validator = validator.clone();
        tokio::spawn(async move { validator.validate(token).await })
    };
    let first = ask("t");
    let others: Vec<_> = (0..1_000).map(|_| ask("t")).collect();
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!(world.calls(), 1);
    first.abort();
    for other in others {
        assert!(other.await.unwrap().is_ok());
    }
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!(world.calls(), 1);
    assert!(validator.validate("t").await.is_ok());
    assert_eq!(world.calls(), 1);
}

// I31: whoever looked just before the answer came doesn't ask once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i31_an_answer_that_comes_between_the_look_and_the_question_is_taken() {
    let world = World::new();
    let validator = world.validator();
    for round in 1..=1_000 {
        let token = format!("t{round}");
        world.active(&token, json!({}));
        let requests = (0..16).map(|_| {
            let (validator, token) = (validator.clone(), token.clone());
            tokio::spawn(async move { validator.validate(&token).await.is_ok() })
        });
        for request in requests.collect::<Vec<_>>() {
            assert!(request.await.unwrap());
        }
        assert_eq!(world.calls(), round);
    }
}

// I31: also when all of them go away, what comes is remembered.
#[tokio::test(start_paused = true)]
async fn i31_a_caller_that_goes_away_leaves_the_answer_to_the_next() {
    let world = World::new();
    let validator = world.validator();
    let body = answer(json!({})).to_string();
    world.answer("t", move || ScriptedAnswer::json(body.clone()).delay(SECOND));
    let asking = tokio::time::timeout(SECOND / 10, validator.validate("t")).await;
    assert!(asking.is_err());
    tokio::time::sleep(2 * SECOND).await;
    assert!(validator.validate("t").await.is_ok());
    assert_eq!(world.calls(), 1);
}

// I35
#[tokio::test(start_paused = true)]
async fn i35_what_is_invalidated_is_asked_about_anew() {
    let world = World::new();
    let validator = world.validator();
    for token in ["one", "two"] {
        world.active(token, json!({}));
        assert!(validator.validate(token).await.is_ok());
        world.active(token, json!({ "active": false }));
    }
    validator.invalidate("one");
    assert_eq!(rejected(validator.validate("one").await), RejectionKind::Inactive);
    assert!(validator.validate("two").await.is_ok(), "another is remembered still");
    validator.invalidate_all();
    assert_eq!(rejected(validator.validate("two").await), RejectionKind::Inactive);
    // What was refused is forgotten, too.
    world.active("one", json!({}));
    validator.invalidate("one");
    assert!(validator.validate("one").await.is_ok());
}

// I35: an answer to a question from before isn't remembered.
#[tokio::test(start_paused = true)]
async fn i35_what_is_under_way_is_not_remembered() {
    for all in [false, true] {
        let world = World::new();
        let validator = world.validator();
        let body = answer(json!({})).to_string();
        world.answer("t", move || ScriptedAnswer::json(body.clone()).delay(SECOND));
        let asking = validator.clone();
        let asking = tokio::spawn(async move { asking.validate("t").await });
        tokio::time::sleep(SECOND / 2).await;
        if all {
            validator.invalidate_all();
        } else {
            validator.invalidate("t");
        }
        world.active("t", json!({ "active": false }));
        assert_eq!(rejected(validator.validate("t").await), RejectionKind::Inactive);
        assert!(asking.await.unwrap().is_ok(), "it came before");
        assert_eq!(rejected(validator.validate("t").await), RejectionKind::Inactive);
        assert_eq!(world.calls(), 2);
    }
}

// I36
#[tokio::test(start_paused = true)]
async fn i36_a_token_in_use_is_renewed_ahead_and_nobody_waits() {
    let world = World::new();
    let validator = world.builder(world.introspection().refresh_ahead()).build().unwrap();
    let plain = world.validator();
    world.active("t", json!({}));
    for validator in [&validator, &plain] {
        assert!(validator.validate("t").await.is_ok());
    }
    tokio::time::advance(23 * SECOND).await;
    assert!(validator.validate("t").await.is_ok());
    tokio::time::sleep(SECOND / 10).await;
    assert_eq!(world.calls(), 2, "not before the last fifth");
    tokio::time::advance(2 * SECOND).await;
    for validator in [&validator, &plain] {
        for _ in 0..5 {
            assert!(validator.validate("t").await.is_ok());
        }
    }
    tokio::time::sleep(SECOND / 10).await;
    assert_eq!(world.calls(), 3, "one asks ahead, and only where that is set");
    tokio::time::advance(20 * SECOND).await;
    assert!(validator.validate("t").await.is_ok());
    assert_eq!(world.calls(), 3, "the new answer has a time of its own");
    // One that was revoked ends with the answer that says so.
    world.active("t", json!({ "active": false }));
    tokio::time::advance(5 * SECOND).await;
    assert!(validator.validate("t").await.is_ok());
    tokio::time::sleep(SECOND / 10).await;
    assert_eq!(rejected(validator.validate("t").await), RejectionKind::Inactive);
}

// I32
#[tokio::test(start_paused = true)]
async fn i32_max_stale_bridges_an_outage_and_never_beyond_exp() {
    let world = World::new();
    let strict = world.validator();
    let stale = world.builder(world.introspection().max_stale(60 * SECOND)).build().unwrap();
    world.active("long", json!({}));
    world.active("short", json!({ "exp": NOW + 50 }));
    for validator in [&strict, &stale] {
        for token in ["long", "short"] {
            assert!(validator.validate(token).await.is_ok());
            world.status(token, 500, "");
        }
        for token in ["long", "short"] {
            world.active(
                token,
                json!({ "exp": if token == "long" { NOW + 600 } else { NOW + 50 } }),
            );
        }
    }
    for token in ["long", "short"] {
        world.status(token, 500, "");
    }
    tokio::time::advance(31 * SECOND).await;
    for token in ["long", "short"] {
        unavailable(strict.validate(token).await);
        assert!(stale.validate(token).await.is_ok(), "{token}");
    }
    tokio::time::advance(20 * SECOND).await;
    assert!(stale.validate("long").await.is_ok());
    unavailable(stale.validate("short").await);
    tokio::time::advance(40 * SECOND).await;
    unavailable(stale.validate("long").await);
    // An answer that ends it is believed at once.
    world.active("long", json!({ "active": false }));
    tokio::time::advance(2 * SECOND).await;
    assert_eq!(rejected(stale.validate("long").await), RejectionKind::Inactive);
}

// N7: what issuers have answered is shared out among them.
#[tokio::test(start_paused = true)]
async fn n7_a_flood_of_one_issuers_opaque_tokens_costs_another_no_question() {
    let (one, two) = (World::new(), World::new());
    let issuer = |name: &str, world: &World, prefix: &str| {
        Issuer::new(name, AUDIENCE).keys(world.introspection().token_prefix(prefix))
    };
    let list =
        [issuer("https://one.example", &one, "1_"), issuer("https://two.example", &two, "2_")];
    let validator =
        Validator::issuers(list).clock(one.clock.clone()).cache_entries(32).build().unwrap();
    let good: Vec<_> = (0..8).map(|n| format!("2_good{n}")).collect();
    for token in &good {
        two.active(token, json!({ "iss": "https://two.example" }));
        assert!(validator.validate(token).await.is_ok());
    }
    let bad: Vec<_> = (0..8).map(|n| format!("2_bad{n}")).collect();
    for token in &bad {
        assert_eq!(rejected(validator.validate(token).await), RejectionKind::Inactive);
    }
    let calls = two.calls();
    // Good ones, each used again; and more garbage than is remembered of all together.
    for n in 0..200 {
        let token = format!("1_good{n}");
        one.active(&token, json!({ "iss": "https://one.example" }));
        for _ in 0..2 {
            assert!(validator.validate(&token).await.is_ok());
        }
    }
    for n in 0..6_000 {
        rejected(validator.validate(&format!("1_bad{n}")).await);
    }
    for token in &good {
        assert!(validator.validate(token).now_or_never().expect("it is asked about").is_ok());
    }
    for token in &bad {
        let told = validator.validate(token).now_or_never().expect("it is asked about");
        assert_eq!(rejected(told), RejectionKind::Inactive);
    }
    assert_eq!(two.calls(), calls);
}

// N7: nor does one that hangs, or is overrun, hold up the other.
#[tokio::test(start_paused = true)]
async fn n7_an_endpoint_that_is_overrun_holds_up_its_own_tokens_only() {
    let (one, two) = (World::new(), World::new());
    let issuer = |name: &str, world: &World, prefix: &str| {
        Issuer::new(name, AUDIENCE).keys(world.introspection().token_prefix(prefix).concurrent(4))
    };
    let list =
        [issuer("https://one.example", &one, "1_"), issuer("https://two.example", &two, "2_")];
    let validator = Validator::issuers(list).clock(one.clock.clone()).build().unwrap();
    for n in 0..500 {
        let token = format!("1_{n}");
        one.answer(&token, ScriptedAnswer::never);
        let validator = validator.clone();
        tokio::spawn(async move { validator.validate(&token).await.is_ok() });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(one.calls(), 4);
    for n in 0..20 {
        let token = format!("2_{n}");
        two.active(&token, json!({ "iss": "https://two.example" }));
        let began = tokio::time::Instant::now();
        assert!(validator.validate(&token).await.is_ok());
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
    assert!(!validator.introspection_status("https://two.example").unwrap().circuit_open);
}

// I38: what is remembered is bounded by what the answers hold, and handed out without a copy.
#[tokio::test(start_paused = true)]
async fn i38_memory_is_bounded_by_entries_and_by_bytes_and_claims_are_kept_once() {
    let world = World::new();
    let asking = world.introspection();
    let validator = world.builder(asking).cache_bytes(256 * 1_024).build().unwrap();
    let large = |len: usize| json!({ "sub": "s".repeat(len) });
    for n in 0..100 {
        let token = format!("large{n}");
        world.active(&token, large(16 * 1_024));
        assert!(validator.validate(&token).await.is_ok());
    }
    let last = validator.validate("large99").now_or_never().expect("it is asked about").unwrap();
    let again = validator.validate("large99").now_or_never().unwrap().unwrap();
    assert!(std::ptr::eq(last.claims(), again.claims()), "the claims are kept once");
    let mut remembered = 0;
    for n in 0..100 {
        remembered +=
            usize::from(validator.validate(&format!("large{n}")).now_or_never().is_some());
    }
    assert!((1..=15).contains(&remembered), "{remembered} of 16 KiB each in 256 KiB");
    // What is larger than all there is room for is accepted, and never remembered.
    let world = World::new();
    let small = world.builder(world.introspection()).cache_bytes(8 * 1_024).build().unwrap();
    world.active("huge", large(32 * 1_024));
    for _ in 0..2 {
        let before = world.calls();
        assert!(small.validate("huge").await.is_ok());
        assert_eq!(world.calls(), before + 1);
    }
    // And by their number.
    let world = World::new();
    let few = world.builder(world.introspection()).cache_entries(16).build().unwrap();
    for n in 0..100 {
        let token = format!("t{n}");
        world.active(&token, json!({}));
        assert!(few.validate(&token).await.is_ok());
    }
    let mut remembered = 0;
    for n in 0..100 {
        remembered += usize::from(few.validate(&format!("t{n}")).now_or_never().is_some());
    }
    assert_eq!(remembered, 16);
}
