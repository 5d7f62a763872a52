//! Tenants whose issuers are asked for when their first token comes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;
use tower_bearer::issuers::{self, ResolveError, Tenant, Tenants};
use tower_bearer::jwks::{Jwks, JwksBuilder};
use tower_bearer::refusal::UnavailableReason;
use tower_bearer::testing::{ManualClock, ScriptedAnswer, ScriptedTransport};
use tower_bearer::transport::Limits;
use tower_bearer::{RejectionKind, Validator};

use crate::support::{A, API, Issuer, clock, kind, same, set, unavailable};

const PATTERN: &str = "https://login.test/realms/{realm}";

fn name(realm: &str) -> String {
    format!("https://login.test/realms/{realm}")
}

/// What the resolver does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Mood {
    #[default]
    Good,
    Fails,
    Hangs,
    Panics,
    Confused,
}

/// A server with realms, and what was asked of its resolver.
#[derive(Clone)]
struct World {
    clock: ManualClock,
    /// One key for all realms: whose keys are whose is told elsewhere.
    issuer: Issuer,
    transport: ScriptedTransport,
    asked: Arc<Mutex<Vec<String>>>,
    mood: Arc<Mutex<Mood>>,
    in_flight: Arc<AtomicUsize>,
    most_in_flight: Arc<AtomicUsize>,
}

impl World {
    fn new() -> Self {
        Self::slow(Duration::ZERO)
    }

    /// Whose key sets take so long.
    fn slow(delay: Duration) -> Self {
        let clock = clock();
        let issuer = Issuer::new(&name("shop"), &clock);
        let keys = set(&[&issuer.key]).to_string();
        let transport =
            ScriptedTransport::from_fn(move |_| ScriptedAnswer::json(keys.clone()).delay(delay));
        Self {
            clock,
            issuer,
            transport,
            asked: Arc::default(),
            mood: Arc::default(),
            in_flight: Arc::default(),
            most_in_flight: Arc::default(),
        }
    }

    async fn resolve(self, tenant: Tenant) -> Result<Option<issuers::Issuer>, ResolveError> {
        self.asked.lock().unwrap().push(tenant.name().to_owned());
        let mood = *self.mood.lock().unwrap();
        let now = self.in_flight.fetch_add(1, SeqCst) + 1;
        self.most_in_flight.fetch_max(now, SeqCst);
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.in_flight.fetch_sub(1, SeqCst);
        match mood {
            Mood::Good if tenant.name().starts_with("made-up") => Ok(None),
            Mood::Good => {
                let keys = Jwks::url(tenant.issuer(), format!("{}/keys", tenant.issuer()));
                Ok(Some(issuers::Issuer::new(tenant.issuer(), API).keys(keys)))
            }
            Mood::Fails => Err(ResolveError::new("the database is down")),
            Mood::Hangs => std::future::pending().await,
            Mood::Panics => panic!("as a resolver may"),
            Mood::Confused => Ok(Some(issuers::Issuer::new(name("another"), API))),
        }
    }

    fn tenants(&self) -> Tenants {
        let world = self.clone();
        Tenants::new(PATTERN, move |tenant| world.clone().resolve(tenant))
            .transport(self.transport.clone())
    }

    fn validator(&self, tenants: Tenants) -> Validator {
        Validator::issuers([]).tenants(tenants).clock(self.clock.clone()).build().unwrap()
    }

    fn token(&self, realm: &str) -> String {
        self.issuer.token_with(json!({"iss": name(realm)}))
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }
}

#[tokio::test(start_paused = true)]
async fn n23_a_tenant_is_asked_for_once_and_then_known() {
    let world = World::new();
    let validator = world.validator(world.tenants());
    let waiting: Vec<_> = (0..50)
        .map(|n| {
            let token = world.issuer.token_with(json!({"iss": name("shop"), "jti": n.to_string()}));
            let validator = validator.clone();
            tokio::spawn(async move { validator.validate(&token).await })
        })
        .collect();
    for verdict in waiting {
        assert_eq!(kind(verdict.await.unwrap()), None);
    }
    assert_eq!((world.asked(), world.transport.request_count()), (1, 1), "one for all who waited");
    let token = world.token("shop");
    let first = validator.validate(&token).now_or_never().expect("it waits").unwrap();
    assert_eq!((first.issuer(), first.configured_issuer()), (&*name("shop"), &*name("shop")));
    assert!(same(&first, &validator.validate(&token).now_or_never().unwrap().unwrap()));
    assert_eq!(world.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn n23_only_what_matches_the_pattern_reaches_the_resolver() {
    let world = World::new();
    let validator = world.validator(world.tenants());
    for iss in [
        "https://login.test/realms/",
        "https://login.test/realms/a/b",
        "https://login.test/realms/..",
        "http://login.test/realms/a",
        "https://evil.test/realms/a",
        "https://login.test/realms/a%00",
        A,
        "https://login.test/realms/{realm}",
        "https://login.test/realms/a\0",
    ] {
        let token = world.issuer.token_with(json!({ "iss": iss }));
        assert_eq!(
            kind(validator.validate(&token).await),
            Some(RejectionKind::WrongIssuer),
            "{iss}"
        );
    }
    assert_eq!((world.asked(), world.transport.request_count()), (0, 0));
    for claims in
        [json!({"iss": null}), json!({"iss": 1}), json!({"iss": ["https://login.test/realms/a"]})]
    {
        assert!(validator.validate(&world.issuer.token_with(claims)).await.is_err());
    }
    assert_eq!(world.asked(), 0);
    assert_eq!(kind(validator.validate(&world.token("shop")).await), None);
}

#[tokio::test(start_paused = true)]
async fn n25_an_unknown_tenant_is_remembered_for_a_while_and_in_bounds() {
    let world = World::new();
    let validator = world.validator(world.tenants());
    for _ in 0..3 {
        let verdict = validator.validate(&world.token("made-up")).await;
        assert_eq!(kind(verdict), Some(RejectionKind::WrongIssuer));
    }
    assert_eq!((world.asked(), world.transport.request_count()), (1, 0));
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(validator.validate(&world.token("made-up")).await.is_err());
    assert_eq!(world.asked(), 2);
    // Many others drive it out, and each is asked for.
    for n in 0..1_100 {
        assert!(validator.validate(&world.token(&format!("made-up-{n}"))).await.is_err());
    }
    assert!(validator.validate(&world.token("made-up")).await.is_err());
    assert_eq!(world.asked(), 2 + 1_100 + 1);
}

#[tokio::test(start_paused = true)]
async fn n25_a_resolver_that_fails_hangs_panics_or_errs_is_503_and_isnt_remembered() {
    for mood in [Mood::Fails, Mood::Hangs, Mood::Panics, Mood::Confused] {
        let world = World::new();
        let validator = world.validator(world.tenants());
        assert_eq!(kind(validator.validate(&world.token("live")).await), None);
        world.set(mood);
        for _ in 0..2 {
            let verdict = validator.validate(&world.token("shop")).await;
            assert_eq!(unavailable(verdict), UnavailableReason::TenantUnavailable, "{mood:?}");
            // Those that are known don't notice.
            let known = world.issuer.token_with(json!({"iss": name("live"), "jti": "2"}));
            assert_eq!(kind(validator.validate(&known).now_or_never().expect("it waits")), None);
            // A resolver that hangs goes on for its time, for all who come meanwhile.
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        assert_eq!(world.asked(), 3, "{mood:?}: it was asked again");
        world.set(Mood::Good);
        assert_eq!(kind(validator.validate(&world.token("shop")).await), None, "{mood:?}");
    }
}

#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn n25_a_resolver_that_fails_is_not_logged_for_each_token() {
    for mood in [Mood::Fails, Mood::Hangs, Mood::Confused] {
        let logs = crate::world::Logs::capture();
        let world = World::new();
        let validator = world.validator(world.tenants());
        world.set(mood);
        for realm in 0..40 {
            let verdict = validator.validate(&world.token(&format!("made-up-{realm}"))).await;
            assert_eq!(unavailable(verdict), UnavailableReason::TenantUnavailable, "{mood:?}");
        }
        let lines = logs.take().iter().filter(|line| line.contains("tenant_resolver")).count();
        assert!((1..=5).contains(&lines), "{mood:?}: {lines}");
    }
}

#[test]
fn n25_tenants_that_are_resolved_on_a_runtime_that_is_kept_and_not_run_hold_nobody_up() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
    };
    let (kept, other, world) = (runtime(), runtime(), World::new());
    let validator = world.validator(world.tenants().first_fetches(2));
    // Two that have slots, and one that waits for one.
    let mut parked: Vec<_> = ["a", "b", "c"]
        .into_iter()
        .map(|realm| {
            let (validator, token) = (validator.clone(), world.token(realm));
            tokio_test::task::spawn(async move { validator.validate(&token).await })
        })
        .collect();
    kept.block_on(async {
        for task in &mut parked {
            assert!(task.poll().is_pending());
        }
        tokio::task::yield_now().await;
    });
    assert_eq!(world.asked(), 2);
    other.block_on(async {
        for realm in ["a", "new"] {
            let verdict = validator.validate(&world.token(realm)).await;
            assert_eq!(unavailable(verdict), UnavailableReason::TenantUnavailable, "{realm}");
        }
        tokio::time::sleep(Duration::from_secs(70)).await;
        for realm in ["a", "b", "c", "new"] {
            assert_eq!(kind(validator.validate(&world.token(realm)).await), None, "{realm}");
        }
    });
}

#[tokio::test(start_paused = true)]
async fn n26_keys_come_from_public_addresses_unless_it_is_allowed() {
    for (dangerous, expected) in [(false, true), (true, false)] {
        let world = World::new();
        let mut tenants = world.tenants();
        if dangerous {
            tenants = tenants.dangerous_private_addresses();
        }
        let validator = world.validator(tenants);
        assert_eq!(kind(validator.validate(&world.token("shop")).await), None);
        let request = world.transport.requests().pop().unwrap();
        let limits = request.extensions().get::<Limits>().unwrap();
        assert_eq!(limits.public_addresses_only, expected);
    }
    // Where the address itself tells, nothing is sent at all.
    let clock = clock();
    let issuer = Issuer::new(&name("shop"), &clock);
    let transport = ScriptedTransport::new();
    let tenants = Tenants::new(PATTERN, async |tenant: Tenant| {
        let keys = Jwks::url(tenant.issuer(), "http://127.0.0.1:1/keys");
        Ok(Some(issuers::Issuer::new(tenant.issuer(), API).keys(keys)))
    });
    let tenants = tenants.transport(transport.clone());
    let validator = Validator::issuers([]).tenants(tenants).clock(clock).build().unwrap();
    let verdict = validator.validate(&issuer.token()).await;
    assert_eq!(unavailable(verdict), UnavailableReason::TenantUnavailable);
    assert_eq!(transport.request_count(), 0);
}

/// A built source is the resolver's own: nothing makes it safe afterwards.
#[tokio::test(start_paused = true)]
async fn n26_a_built_source_that_may_dial_any_address_is_refused() {
    type Build = fn(&str) -> JwksBuilder;
    let loopback: Build = |issuer| Jwks::url(issuer, "http://127.0.0.1:1/keys");
    let named: Build = |issuer| Jwks::url(issuer, format!("{issuer}/keys"));
    let public: Build =
        |issuer| Jwks::url(issuer, format!("{issuer}/keys")).public_addresses_only();
    for (build, dangerous, requests) in [
        (loopback, false, 0),
        (named, false, 0),
        (loopback, true, 1),
        (named, true, 1),
        (public, false, 1),
    ] {
        #[cfg(feature = "tracing")]
        let logs = crate::world::Logs::capture();
        let world = World::new();
        let (clock, transport) = (world.clock.clone(), world.transport.clone());
        let mut tenants = Tenants::new(PATTERN, move |tenant: Tenant| {
            let keys = build(tenant.issuer()).transport(transport.clone()).clock(clock.clone());
            let issuer = issuers::Issuer::new(tenant.issuer(), API).keys(keys.build().unwrap());
            async move { Ok(Some(issuer)) }
        });
        if dangerous {
            tenants = tenants.dangerous_private_addresses();
        }
        let validator = world.validator(tenants);
        let verdict = validator.validate(&world.token("shop")).await;
        if requests == 0 {
            assert_eq!(unavailable(verdict), UnavailableReason::TenantUnavailable);
        } else {
            assert_eq!(kind(verdict), None);
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(world.transport.request_count(), requests);
        #[cfg(feature = "tracing")]
        {
            let told = logs.take().join("\n");
            let is_told =
                told.contains("tenant_resolver") && told.contains(".public_addresses_only()");
            assert_eq!(is_told, requests == 0, "{told}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn n27_a_tenant_whose_keys_dont_come_is_503_and_the_others_dont_wait() {
    let world = World::slow(Duration::from_secs(4));
    let validator = world.validator(world.tenants());
    let verdict = validator.validate(&world.token("shop")).await;
    assert!(matches!(
        unavailable(verdict),
        UnavailableReason::TenantUnavailable | UnavailableReason::RefreshTimedOut
    ));
    tokio::time::sleep(Duration::from_secs(4)).await;
    let known = validator.validate(&world.token("shop")).now_or_never().expect("it is live");
    assert_eq!(kind(known), None);
    let waiting = tokio::spawn({
        let (validator, token) = (validator.clone(), world.token("other"));
        async move { validator.validate(&token).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let new = world.issuer.token_with(json!({"iss": name("shop"), "jti": "2"}));
    assert_eq!(kind(validator.validate(&new).now_or_never().expect("it waits")), None);
    assert!(!waiting.is_finished());
    assert!(waiting.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn n28_at_most_so_many_are_resolved_and_fetched_at_a_time() {
    let world = World::slow(Duration::from_millis(100));
    let tenants = world.tenants().first_fetches(3).wait(Duration::from_secs(30));
    let validator = world.validator(tenants);
    let waiting: Vec<_> = (0..30)
        .map(|n| {
            let (validator, token) = (validator.clone(), world.token(&format!("t{n}")));
            tokio::spawn(async move { validator.validate(&token).await })
        })
        .collect();
    let mut most = 0;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(7)).await;
        most = most.max(world.transport.request_count() - world.transport.completed());
    }
    for verdict in waiting {
        assert_eq!(kind(verdict.await.unwrap()), None);
    }
    assert_eq!((most, world.asked()), (3, 30));
    assert!(world.most_in_flight.load(SeqCst) <= 3);
}

#[tokio::test(start_paused = true)]
async fn n28_first_fetches_that_hang_keep_their_places() {
    let world = World::new();
    let keys = set(&[&world.issuer.key]).to_string();
    // Every other tenant's keys never come.
    let transport = ScriptedTransport::from_fn(move |request| {
        let hangs = request.uri().path().contains("hangs");
        if hangs { ScriptedAnswer::never() } else { ScriptedAnswer::json(keys.clone()) }
    });
    let tenants = world.tenants().transport(transport.clone()).max_live(1_000);
    let validator = world.validator(tenants);
    for n in 0..40 {
        let (validator, token) = (validator.clone(), world.token(&format!("hangs{n}")));
        tokio::spawn(async move { validator.validate(&token).await.is_err() });
    }
    // Longer than a request waits, and as long as none of the fetches has timed out.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!((transport.request_count(), transport.completed()), (8, 0), "the default is 8");
    let told = validator.validate(&world.token("good")).await;
    assert_eq!(unavailable(told), UnavailableReason::TenantUnavailable);
    // Once they have, others get their places.
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(kind(validator.validate(&world.token("good")).await), None);
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn n24_ten_thousand_tenants_leave_no_task_and_no_more_than_so_many_live() {
    let world = World::new();
    let validator = world.validator(world.tenants().max_live(16));
    let before = tasks();
    for n in 0..10_000 {
        let token = world.token(&format!("t{n}"));
        assert_eq!(kind(validator.validate(&token).await), None);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(tasks() <= before + 16, "{} tasks", tasks() - before);
    // The last one is live, the first one isn't, and comes back.
    assert_eq!(world.asked(), 10_000);
    assert_eq!(kind(validator.validate(&world.token("t9999")).await), None);
    assert_eq!(world.asked(), 10_000);
    assert_eq!(kind(validator.validate(&world.token("t0")).await), None);
    assert_eq!(world.asked(), 10_001);
    drop(validator);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(tasks(), before, "all of them end with the validator");
}

#[tokio::test(start_paused = true)]
async fn n24_the_least_recently_used_goes_and_remembered_tokens_count_as_use() {
    let world = World::new();
    let validator = world.validator(world.tenants().max_live(2));
    let (a, b, c) = (world.token("a"), world.token("b"), world.token("c"));
    for token in [&a, &b] {
        validator.validate(token).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // A remembered token of the older one.
    validator.validate(&a).now_or_never().expect("it is remembered").unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    validator.validate(&c).await.unwrap();
    let mut asked = world.asked();
    assert_eq!(asked, 3);
    validator.validate(&a).now_or_never().expect("it is live").unwrap();
    assert!(validator.validate(&b).now_or_never().is_none(), "it was evicted");
    validator.validate(&b).await.unwrap();
    asked += 1;
    assert_eq!(world.asked(), asked);
}

#[tokio::test(start_paused = true)]
async fn n24_an_idle_tenant_goes_and_its_task_with_it() {
    let world = World::new();
    let validator = world.validator(world.tenants().idle(Duration::from_secs(600)));
    let before = tasks();
    let idle = world.token("idle");
    validator.validate(&idle).await.unwrap();
    for n in 0..20 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let busy = world.issuer.token_with(json!({"iss": name("busy"), "jti": n.to_string()}));
        validator.validate(&busy).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(tasks() <= before + 1, "{} tasks", tasks() - before);
    assert!(validator.validate(&idle).now_or_never().is_none(), "it is asked for anew");
}

#[tokio::test(start_paused = true)]
async fn n14_a_forgotten_tenants_tokens_end_at_once() {
    let world = World::new();
    let validator = world.validator(world.tenants());
    let token = world.token("shop");
    validator.validate(&token).await.unwrap();
    world.set(Mood::Fails);
    validator.validate(&token).now_or_never().expect("it is remembered").unwrap();
    validator.forget_tenant(&name("shop"));
    assert_eq!(unavailable(validator.validate(&token).await), UnavailableReason::TenantUnavailable);
    // One that wasn't there is asked for anew as well.
    world.set(Mood::Good);
    assert!(validator.validate(&world.token("made-up")).await.is_err());
    let asked = world.asked();
    validator.forget_tenant(&name("made-up"));
    assert!(validator.validate(&world.token("made-up")).await.is_err());
    assert_eq!(world.asked(), asked + 1);
}

#[tokio::test(start_paused = true)]
async fn n14_a_tenant_forgotten_on_its_way_never_comes_to_life() {
    // While the resolver is asked, and while the keys are fetched.
    for (moment, keys_take) in [(5, Duration::ZERO), (500, Duration::from_secs(1))] {
        let world = World::slow(keys_take);
        let validator = world.validator(world.tenants());
        let token = world.token("shop");
        let waiting = tokio::spawn({
            let (validator, token) = (validator.clone(), token.clone());
            async move { validator.validate(&token).await }
        });
        tokio::time::sleep(Duration::from_millis(moment)).await;
        assert!(!waiting.is_finished());
        validator.forget_tenant(&name("shop"));
        let told = unavailable(waiting.await.unwrap());
        assert_eq!(told, UnavailableReason::TenantUnavailable, "{moment}");
        assert!(validator.jwks_of(&name("shop")).is_none(), "{moment}");
        let asked = world.asked();
        assert_eq!(kind(validator.validate(&token).await), None);
        assert_eq!(world.asked(), asked + 1, "{moment}: the resolver is asked anew");
    }
    // That there is none isn't remembered either; and a newer question isn't disturbed by an older one.
    let world = World::new();
    let validator = world.validator(world.tenants());
    let token = world.token("made-up");
    let ask = || {
        let (validator, token) = (validator.clone(), token.clone());
        tokio::spawn(async move { validator.validate(&token).await })
    };
    let first = ask();
    tokio::time::sleep(Duration::from_millis(5)).await;
    validator.forget_tenant(&name("made-up"));
    let second = ask();
    assert_eq!(unavailable(first.await.unwrap()), UnavailableReason::TenantUnavailable);
    assert_eq!(kind(second.await.unwrap()), Some(RejectionKind::WrongIssuer));
    assert_eq!(world.asked(), 2);
    assert_eq!(kind(ask().await.unwrap()), Some(RejectionKind::WrongIssuer));
    assert_eq!(world.asked(), 2, "the newer answer is remembered");
}

#[tokio::test(start_paused = true)]
async fn n14_a_tenant_that_made_room_can_still_be_forgotten() {
    let world = World::new();
    // Keys that the resolver keeps: they outlive the tenant's time.
    let keys = set(&[&world.issuer.key]).to_string();
    let sources: HashMap<_, _> =
        ["a", "b"].map(|realm| (name(realm), Jwks::static_set(name(realm), &keys).unwrap())).into();
    let asked = Arc::new(AtomicUsize::new(0));
    let tenants = Tenants::new(PATTERN, {
        let asked = Arc::clone(&asked);
        move |tenant: Tenant| {
            asked.fetch_add(1, SeqCst);
            let keys = sources[tenant.issuer()].clone();
            async move { Ok(Some(issuers::Issuer::new(tenant.issuer(), API).keys(keys))) }
        }
    });
    let validator = world.validator(tenants.max_live(1));
    let (a, b) = (world.token("a"), world.token("b"));
    validator.validate(&a).await.unwrap();
    validator.validate(&b).await.unwrap();
    assert!(validator.jwks_of(&name("a")).is_none(), "it made room");
    // It is remembered as long as its keys are good, and no longer than the tenant.
    validator.validate(&a).now_or_never().expect("it is remembered").unwrap();
    assert_eq!(asked.load(SeqCst), 2);
    validator.forget_tenant(&name("a"));
    assert!(validator.validate(&a).now_or_never().is_none(), "it is remembered all the same");
    validator.validate(&b).now_or_never().expect("the other is remembered").unwrap();
    validator.validate(&a).await.unwrap();
    assert_eq!(asked.load(SeqCst), 3, "it is asked for anew");
}

#[cfg(all(feature = "introspection", feature = "tracing"))]
#[tokio::test(start_paused = true)]
async fn n23_a_tenant_that_is_asked_about_tokens_is_our_own_trouble() {
    use tower_bearer::client::ClientAuth;
    use tower_bearer::introspection::Introspection;

    let logs = crate::world::Logs::capture();
    let world = World::new();
    let transport = ScriptedTransport::new();
    let asking = {
        let transport = transport.clone();
        move || {
            let client = ClientAuth::basic("me", "secret");
            Introspection::endpoint("https://login.test/introspect", client)
                .transport(transport.clone())
        }
    };
    let tenants = Tenants::new(PATTERN, move |tenant: Tenant| {
        let issuer = issuers::Issuer::new(tenant.issuer(), API);
        let issuer = match tenant.name() {
            "beside" => issuer.introspection(asking()),
            "in-place" => issuer.keys(asking()),
            other => panic!("{other}"),
        };
        async move { Ok(Some(issuer)) }
    });
    let validator = world.validator(tenants);
    for realm in ["beside", "in-place"] {
        let told = unavailable(validator.validate(&world.token(realm)).await);
        assert_eq!(told, UnavailableReason::TenantUnavailable, "{realm}");
    }
    assert_eq!(transport.request_count(), 0);
    let told = logs.take().join("\n");
    assert!(told.contains("tenant_resolver") && told.contains("asked about tokens"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn n3_tenants_keys_never_cross_and_the_list_comes_first() {
    let clock = clock();
    let (one, two) = (Issuer::new(&name("one"), &clock), Issuer::new(&name("two"), &clock));
    let listed = Issuer::new(&name("listed"), &clock);
    let both: HashMap<String, Issuer> =
        [&one, &two].map(|issuer| (issuer.name.clone(), issuer.clone())).into();
    let tenants = Tenants::new(PATTERN, move |tenant: Tenant| {
        let found = both.get(tenant.issuer()).map(Issuer::entry);
        async move { Ok(found) }
    });
    let validator =
        Validator::issuers([listed.entry()]).tenants(tenants).clock(clock).build().unwrap();
    for issuer in [&one, &two, &listed] {
        assert_eq!(kind(validator.validate(&issuer.token()).await), None, "{}", issuer.name);
    }
    let crossed = one.token_by(&two.key, json!({}));
    assert_eq!(kind(validator.validate(&crossed).await), Some(RejectionKind::BadSignature));
    let nobody = one.token_with(json!({"iss": name("nobody")}));
    assert_eq!(kind(validator.validate(&nobody).await), Some(RejectionKind::WrongIssuer));
    assert!(validator.health().is_ready());
}

#[test]
fn n23_settings_that_cannot_work_are_configuration_errors() {
    let tenants = |pattern: &str| Tenants::new(pattern, async |_| Ok(None));
    let error =
        |tenants: Tenants| Validator::issuers([]).tenants(tenants).build().unwrap_err().to_string();
    assert!(error(tenants("https://login.test/realms/shop")).contains("placeholder"));
    assert!(error(tenants("http://login.test/{realm}")).contains("https"));
    assert!(error(tenants(PATTERN).max_live(0)).contains("max_live"));
    assert!(error(tenants(PATTERN).idle(Duration::ZERO)).contains("idle"));
    assert!(error(tenants(PATTERN).wait(Duration::ZERO)).contains("wait"));
    assert!(error(tenants(PATTERN).first_fetches(0)).contains("first_fetches"));
    assert!(error(tenants(PATTERN).remember_unknown(Duration::ZERO)).contains("remember_unknown"));
    assert!(Validator::issuers([]).tenants(tenants(PATTERN)).build().is_ok());
}
