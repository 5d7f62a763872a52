//! Several processes, one store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, advance};
use tower_bearer::client::{
    ClientAuth, Grant, GrantBuilder, SecretFuture, SecretProvider, SecretSource, TokenClient,
};
use tower_bearer::testing::ScriptedTransport;
use tower_bearer::{Secret, UnixTime};

use crate::support::*;

// E8, E9: two processes, two hundred callers each, one token.
#[tokio::test(start_paused = true)]
async fn e9_processes_fetch_one_token_in_all() {
    let transport = ScriptedTransport::new();
    let (answer, gate) = granted("t1", 600).gated();
    transport.push(answer);
    let (store, clock) = (MemoryStore::default(), running_clock());
    let processes: Vec<_> = (0..3).map(|_| process(&transport, &store, &clock)).collect();
    let callers: Vec<_> = (0..600)
        .map(|n| {
            let source = processes[n % 3].clone();
            tokio::spawn(async move { token(&source).await })
        })
        .collect();
    transport.wait_for_requests(1).await;
    advance(SECOND).await;
    gate.open();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), "t1");
    }
    settle().await;
    assert_eq!(transport.request_count(), 1);
    assert_eq!((store.values().len(), store.locks()), (1, 0));
}

// E8: what lies there is of no use to others, and goes by itself.
#[tokio::test(start_paused = true)]
async fn e8_the_value_is_encrypted_and_lives_as_long_as_it_serves() {
    let (transport, store, clock) = (counting(600), MemoryStore::default(), running_clock());
    token(&process(&transport, &store, &clock)).await;
    tokio::time::sleep(SECOND).await;
    let values = store.values();
    let (key, (value, ttl)) = values.iter().next().unwrap();
    assert!(key.starts_with("tower-bearer:token:") && key.len() == 19 + 64, "{key}");
    assert!(!value.windows(2).any(|window| window == b"t1"));
    assert!(*ttl <= 540 * SECOND && *ttl > 538 * SECOND, "{ttl:?}");

    // Another key is another cache.
    let other = TokenClient::builder()
        .transport(transport.clone())
        .clock(clock)
        .shared(store.clone(), Secret::new("another key of at least 32 bytes"))
        .build()
        .unwrap();
    let other = other.source(&scripted_grant().build().unwrap());
    assert_eq!(token(&other).await, "t2");
    let short = TokenClient::builder().transport(transport).shared(store, Secret::new("short"));
    assert!(short.build().unwrap_err().to_string().contains("32"));
}

// E8: what was touched is as good as nothing.
#[tokio::test(start_paused = true)]
async fn e8_a_value_that_was_tampered_with_is_ignored() {
    let (transport, store, clock) = (counting(600), MemoryStore::default(), running_clock());
    token(&process(&transport, &store, &clock)).await;
    tokio::time::sleep(SECOND).await;
    store.edit(|values| {
        for (value, _) in values.values_mut() {
            value[30] ^= 1;
        }
    });
    assert_eq!(token(&process(&transport, &store, &clock)).await, "t2");
    tokio::time::sleep(SECOND).await;
    assert_eq!(token(&process(&transport, &store, &clock)).await, "t2");
}

// E1, E3: age counts from when the token was fetched, whoever fetched it.
#[tokio::test(start_paused = true)]
async fn e3_a_token_from_the_store_is_as_old_as_it_is() {
    let (transport, store, clock) = (counting(600), MemoryStore::default(), running_clock());
    token(&process(&transport, &store, &clock)).await;
    tokio::time::sleep(470 * SECOND).await;
    let late = process(&transport, &store, &clock);
    let held = late.token().await.unwrap();
    assert_eq!(held.expose_secret(), "t1");
    assert!(held.remaining() <= 130 * SECOND && held.remaining() > 128 * SECOND);
    advance(71 * SECOND).await;
    assert_eq!(token(&late).await, "t2");
    settle().await;
    tokio::time::sleep(SECOND).await;
    let (key, (stored, _)) = store.values().into_iter().next().unwrap();

    // By a clock that is ahead it looks older than it is, by one that is a little behind it is new.
    // By one that is far behind nobody can tell.
    for (offset, expected) in [(-59, "t2"), (-61, "t3"), (3_600, "t4")] {
        let skewed = running_clock();
        skewed.set(UnixTime::from_secs(1_800_000_000 + 541 + offset));
        let process = process(&transport, &store, &skewed);
        assert_eq!(token(&process).await, expected, "{offset}");
        // What that process has stored instead is no matter to the next.
        tokio::time::sleep(Duration::from_millis(100)).await;
        store.edit(|values| drop(values.insert(key.clone(), (stored.clone(), SECOND))));
    }
}

// E8: gone, slow, full: never a failed call, and no long wait.
#[tokio::test(start_paused = true)]
async fn e8_a_store_in_trouble_costs_a_bounded_delay() {
    for (mode, longest) in [
        (Mode::Gone, Duration::from_millis(2)),
        (Mode::Hangs, Duration::from_millis(201)),
        (Mode::Full, Duration::from_millis(5)),
    ] {
        let (transport, store, clock) = (counting(600), MemoryStore::default(), running_clock());
        store.set(mode);
        let source = process(&transport, &store, &clock);
        let started = Instant::now();
        assert_eq!(token(&source).await, "t1");
        assert!(started.elapsed() <= longest, "{:?}", started.elapsed());
        // It is left alone for a second: the next fetch loses no time at all.
        let again = source.token().await.unwrap();
        let started = Instant::now();
        assert_eq!(renewed(&source, &again).await.unwrap(), "t2");
        assert!(started.elapsed() <= Duration::from_millis(5), "{:?}", started.elapsed());
        // And used again when it is well.
        store.set(Mode::Works);
        advance(541 * SECOND).await;
        assert_eq!(token(&source).await, "t3");
        tokio::time::sleep(SECOND).await;
        assert_eq!(token(&process(&transport, &store, &clock)).await, "t3");
    }
}

// E8: what a full store has, it has.
#[tokio::test(start_paused = true)]
async fn e8_a_full_store_is_read_nevertheless() {
    let (transport, store, clock) = (counting(600), MemoryStore::default(), running_clock());
    token(&process(&transport, &store, &clock)).await;
    tokio::time::sleep(SECOND).await;
    store.set(Mode::Full);
    let client = TokenClient::builder().transport(transport).clock(clock);
    let client = client.shared(store, store_key()).build().unwrap();
    let source = |builder: GrantBuilder| client.source(&builder.build().unwrap());
    assert_eq!(token(&source(scripted_grant().scope("another"))).await, "t2");
    assert_eq!(token(&source(scripted_grant())).await, "t1");
}

// E8: it fails midway.
#[tokio::test(start_paused = true)]
async fn e8_a_store_that_stops_during_the_fetch_is_no_matter() {
    let (transport, store, clock) =
        (ScriptedTransport::new(), MemoryStore::default(), running_clock());
    let (answer, gate) = granted("t1", 600).gated();
    transport.push(answer);
    let source = process(&transport, &store, &clock);
    let waiting = tokio::spawn({
        let source = source.clone();
        async move { token(&source).await }
    });
    transport.wait_for_requests(1).await;
    store.set(Mode::Hangs);
    let started = Instant::now();
    gate.open();
    assert_eq!(waiting.await.unwrap(), "t1");
    assert_eq!(started.elapsed(), Duration::ZERO, "nobody waits for the store's sake");
}

// E9: a process that died with the lock.
#[tokio::test(start_paused = true)]
async fn e9_a_lock_that_nobody_releases_is_waited_for_only_so_long() {
    let (transport, store, clock) = (counting(600), MemoryStore::default(), running_clock());
    token(&process(&transport, &store, &clock)).await;
    tokio::time::sleep(SECOND).await;
    store.lock_all();
    store.edit(|values| values.clear());
    let started = Instant::now();
    assert_eq!(token(&process(&transport, &store, &clock)).await, "t2");
    let waited = started.elapsed();
    assert!(waited >= 5 * SECOND && waited <= 6 * SECOND, "{waited:?}");
    assert_eq!(store.locks(), 1, "another's lock isn't released");
}

// E9: every taker has a name of its own, so that a lock which ran out, and which another process has
// taken since, is left to that process.
#[tokio::test(start_paused = true)]
async fn e9_a_lock_that_another_process_has_by_now_is_not_released() {
    let (store, clock) = (MemoryStore::default(), running_clock());
    let begin = |name: &'static str| {
        let transport = ScriptedTransport::new();
        let (answer, gate) = granted(name, 600).gated();
        transport.push(answer);
        let source = process(&transport, &store, &clock);
        (transport, gate, tokio::spawn(async move { token(&source).await }))
    };
    let (transport, first_gate, first) = begin("t1");
    transport.wait_for_requests(1).await;
    store.expire_locks();
    let (transport, second_gate, second) = begin("t2");
    transport.wait_for_requests(1).await;
    assert_eq!(store.locks(), 1, "the second has it");

    first_gate.open();
    assert_eq!(first.await.unwrap(), "t1");
    tokio::time::sleep(SECOND).await;
    assert!(store.calls().contains(&"unlock"), "the first has tried");
    assert_eq!(store.locks(), 1, "and the second has it still");

    second_gate.open();
    assert_eq!(second.await.unwrap(), "t2");
    tokio::time::sleep(SECOND).await;
    assert_eq!(store.locks(), 0, "its owner releases it");
}

// E9: the other is done just before one has the lock: the lock isn't kept.
#[tokio::test(start_paused = true)]
async fn e9_a_lock_that_is_not_needed_is_released() {
    let (transport, store, clock) = (counting(600), MemoryStore::default(), running_clock());
    token(&process(&transport, &store, &clock)).await;
    tokio::time::sleep(SECOND).await;
    let values = store.values();
    store.edit(|values| values.clear());
    store.calls();
    let late = tokio::spawn({
        let late = process(&transport, &store, &clock);
        async move { token(&late).await }
    });
    while store.calls() != ["lock"] {
        advance(Duration::from_micros(100)).await;
        settle().await;
    }
    store.edit(|there| *there = values);
    assert_eq!(late.await.unwrap(), "t1");
    tokio::time::sleep(SECOND).await;
    assert_eq!((transport.request_count(), store.locks()), (1, 0));
}

// E9: whatever else took its time before, there is some left for a fetch of one's own.
#[tokio::test(start_paused = true)]
async fn e9_waiting_for_another_leaves_time_for_a_fetch_of_ones_own() {
    struct Slow;
    impl SecretProvider for Slow {
        fn secret(&self) -> SecretFuture<'_> {
            Box::pin(async {
                tokio::time::sleep(4 * SECOND).await;
                Ok(Secret::new("s3cret"))
            })
        }
    }
    let transport = ScriptedTransport::from_fn(|_| granted("t1", 600).delay(4 * SECOND));
    let store = MemoryStore::default();
    store.lock_everything();
    let client = TokenClient::builder().transport(transport).shared(store, store_key());
    let grant = Grant::endpoint("https://as.test/token", ClientAuth::basic("me", Slow));
    let started = Instant::now();
    assert_eq!(token(&client.build().unwrap().source(&grant.build().unwrap())).await, "t1");
    assert!(started.elapsed() <= 10 * SECOND);
}

// E9: the lock's holder fails; the next tries itself.
#[tokio::test(start_paused = true)]
async fn e9_a_holder_that_fails_hands_over() {
    let transport = ScriptedTransport::new();
    let (answer, gate) = refused(400, "invalid_scope").gated();
    transport.push(answer);
    transport.push(granted("t1", 600));
    let (store, clock) = (MemoryStore::default(), running_clock());
    let first = process(&transport, &store, &clock);
    let failing = tokio::spawn(async move { first.token().await.is_err() });
    transport.wait_for_requests(1).await;
    let second = process(&transport, &store, &clock);
    let waiting = tokio::spawn(async move { token(&second).await });
    advance(SECOND).await;
    gate.open();
    assert!(failing.await.unwrap());
    assert_eq!(waiting.await.unwrap(), "t1");
}

// E10: a refused token is taken out for all, unless it was replaced.
#[tokio::test(start_paused = true)]
async fn e10_a_refused_token_leaves_the_store() {
    let (transport, store, clock) = (counting(600), MemoryStore::default(), running_clock());
    let (a, b) = (process(&transport, &store, &clock), process(&transport, &store, &clock));
    assert_eq!(token(&a).await, "t1");
    tokio::time::sleep(SECOND).await;
    let refused = b.token().await.unwrap();
    assert_eq!(refused.expose_secret(), "t1");
    let held = a.token().await.unwrap();
    assert_eq!(renewed(&a, &held).await.unwrap(), "t2");
    tokio::time::sleep(SECOND).await;
    // The other process had the same token; it takes the newer one from the store.
    assert_eq!(renewed(&b, &refused).await.unwrap(), "t2");
    assert_eq!(transport.request_count(), 2);
    // One that came from the store is replaced there in the same way.
    advance(31 * SECOND).await;
    let held = b.token().await.unwrap();
    store.calls();
    assert_eq!(renewed(&b, &held).await.unwrap(), "t3");
    tokio::time::sleep(SECOND).await;
    assert_eq!(store.calls(), ["get", "lock", "get", "put", "unlock"]);
    assert_eq!(token(&process(&transport, &store, &clock)).await, "t3");
}

// FC2: what one server refuses is the others' token still, and that of processes that start.
#[tokio::test(start_paused = true)]
async fn fc2_a_refused_token_stays_in_the_store_until_there_is_another() {
    let transport = ScriptedTransport::new();
    transport.push(granted("t1", 600));
    let (store, clock) = (MemoryStore::default(), running_clock());
    let source = process(&transport, &store, &clock);
    let held = source.token().await.unwrap();
    tokio::time::sleep(SECOND).await;
    // The authorization server is down.
    assert_eq!(renewed(&source, &held).await, None);
    assert_eq!(token(&source).await, "t1");
    assert_eq!(token(&process(&transport, &store, &clock)).await, "t1");
    tokio::time::sleep(100 * SECOND).await;
    transport.push(granted("t2", 600));
    assert_eq!(renewed(&source, &held).await.unwrap(), "t2");
    tokio::time::sleep(SECOND).await;
    assert_eq!(token(&process(&transport, &store, &clock)).await, "t2");
}

// FC2: the secret was replaced as well, so that the new token lies elsewhere.
#[tokio::test(start_paused = true)]
async fn fc2_a_refused_token_leaves_the_store_if_the_new_one_does_not_take_its_place() {
    struct Keeper(Arc<AtomicUsize>);
    impl SecretProvider for Keeper {
        fn secret(&self) -> SecretFuture<'_> {
            let secret = format!("secret {}", self.0.load(Ordering::Relaxed));
            Box::pin(async move { Ok(Secret::new(secret)) })
        }
    }
    let (transport, version) = (counting(600), Arc::new(AtomicUsize::new(0)));
    let (store, clock) = (MemoryStore::default(), running_clock());
    let client = TokenClient::builder().transport(transport).clock(clock);
    let client = client.shared(store.clone(), store_key()).build().unwrap();
    let secret = SecretSource::from(Keeper(Arc::clone(&version))).max_age(SECOND);
    let auth = ClientAuth::basic("me", secret);
    let grant = Grant::endpoint("https://as.test/token", auth).build().unwrap();
    let source = client.source(&grant);
    let held = source.token().await.unwrap();
    tokio::time::sleep(2 * SECOND).await;
    let before: Vec<String> = store.values().into_keys().collect();
    version.store(1, Ordering::Relaxed);
    assert_eq!(renewed(&source, &held).await.unwrap(), "t2");
    tokio::time::sleep(SECOND).await;
    let after: Vec<String> = store.values().into_keys().collect();
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_ne!(before, after);
}

// E10: it isn't taken from there again, even if it couldn't be taken out.
#[tokio::test(start_paused = true)]
async fn e10_a_refused_token_is_not_taken_from_the_store_again() {
    let (transport, store, clock) = (counting(600), MemoryStore::default(), running_clock());
    let source = process(&transport, &store, &clock);
    let refused = source.token().await.unwrap();
    tokio::time::sleep(SECOND).await;
    store.remove_nothing();
    store.calls();
    assert_eq!(renewed(&source, &refused).await.unwrap(), "t2");
    assert_eq!(store.calls()[..3], ["get", "lock", "get"]);
}

// E5: under the secret that was good, not under the one that was tried first.
#[tokio::test(start_paused = true)]
async fn e5_a_token_is_shared_among_those_with_the_secret_that_it_was_granted_for() {
    struct Keeper(Arc<AtomicUsize>);
    impl SecretProvider for Keeper {
        fn secret(&self) -> SecretFuture<'_> {
            let secret = if self.0.load(Ordering::Relaxed) == 0 { "one" } else { "two" };
            Box::pin(async move { Ok(Secret::new(secret)) })
        }
    }
    // It is replaced while the old one is on its way.
    let version = Arc::new(AtomicUsize::new(0));
    let (replaced, count) = (Arc::clone(&version), AtomicUsize::new(0));
    let transport = ScriptedTransport::from_fn(move |request| {
        // "me:one" in base64.
        if request.headers()["authorization"] == "Basic bWU6b25l" {
            replaced.store(1, Ordering::Relaxed);
            return refused(401, "invalid_client");
        }
        granted(&format!("t{}", count.fetch_add(1, Ordering::Relaxed) + 1), 600)
    });
    let (store, clock) = (MemoryStore::default(), running_clock());
    let process = |secret: SecretSource| {
        let client = TokenClient::builder().transport(transport.clone()).clock(clock.clone());
        let client = client.shared(store.clone(), store_key()).build().unwrap();
        let auth = ClientAuth::basic("me", secret);
        client.source(&Grant::endpoint("https://as.test/token", auth).build().unwrap())
    };
    assert_eq!(token(&process(Keeper(version).into())).await, "t1");
    tokio::time::sleep(SECOND).await;
    // One with the new secret finds it, one with the old secret must not.
    assert_eq!(token(&process("two".into())).await, "t1");
    process("one".into()).token().await.unwrap_err();
}

// E2, E9: the first process to notice renews for all.
#[tokio::test(start_paused = true)]
async fn e9_a_renewal_in_the_background_is_shared_too() {
    let (transport, store, clock) = (counting(600), MemoryStore::default(), running_clock());
    let sources: Vec<_> = (0..5).map(|_| process(&transport, &store, &clock)).collect();
    for source in &sources {
        assert_eq!(token(source).await, "t1");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Past everybody's soft expiry.
    advance(500 * SECOND).await;
    for source in &sources {
        assert_eq!(token(source).await, "t1");
    }
    tokio::time::sleep(SECOND).await;
    for source in &sources {
        assert_eq!(token(source).await, "t2");
    }
    assert_eq!(transport.request_count(), 2);
}

// E8: an older record that somebody put back doesn't take the place of a newer token.
#[tokio::test(start_paused = true)]
async fn e8_an_older_record_does_not_replace_a_newer_token_that_is_due() {
    let transport = ScriptedTransport::new();
    for (token, lifetime) in [("t1", 3_600), ("t2", 60), ("t3", 600)] {
        transport.push(granted(token, lifetime));
    }
    let (store, clock) = (MemoryStore::default(), running_clock());
    assert_eq!(token(&process(&transport, &store, &clock)).await, "t1");
    tokio::time::sleep(SECOND).await;
    let old = store.values();
    store.edit(|values| values.clear());
    let source = process(&transport, &store, &clock);
    assert_eq!(token(&source).await, "t2");
    tokio::time::sleep(SECOND).await;
    store.edit(|values| values.clone_from(&old));
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(token(&source).await, "t3");
}

// E10: the store fails as one token is refused, which then lies there still when another is.
#[tokio::test(start_paused = true)]
async fn e10_a_token_that_was_refused_before_the_last_one_is_not_taken_from_the_store() {
    let (transport, store, clock) = (counting(600), MemoryStore::default(), running_clock());
    let source = process(&transport, &store, &clock);
    let first = source.token().await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(store.values().len(), 1);
    store.set(Mode::Gone);
    let second = source.renew(&first, ORIGIN).await.unwrap();
    assert_eq!(second.expose_secret(), "t2");
    settle().await;
    store.set(Mode::Works);
    advance(31 * SECOND).await;
    assert_eq!(renewed(&source, &second).await.unwrap(), "t3");
    assert_eq!(token(&source).await, "t3");
}

// FC7: a token that came by a certificate may be bound to it, and each process may have its own.
#[tokio::test(start_paused = true)]
async fn fc7_tokens_that_came_by_a_certificate_are_not_shared() {
    let grant = |auth| Grant::endpoint("https://as.test/token", auth);
    for (grant, shares) in [
        (grant(ClientAuth::tls("me")), false),
        (grant(ClientAuth::basic("me", "s")).certificate_bound(), false),
        (grant(ClientAuth::basic("me", "s")), true),
    ] {
        let grant = grant.build().unwrap();
        let (transport, store) = (counting(600), MemoryStore::default());
        let clock = running_clock();
        let mut tokens = Vec::new();
        for _ in 0..2 {
            let client = TokenClient::builder()
                .transport(transport.clone())
                .clock(clock.clone())
                .shared(store.clone(), store_key())
                .build()
                .unwrap();
            let source = client.source(&grant);
            tokens.push((token(&source).await, token(&source).await));
            tokio::time::sleep(SECOND).await;
        }
        let second = if shares { "t1" } else { "t2" };
        assert_eq!(tokens[0], ("t1".into(), "t1".into()));
        assert_eq!(tokens[1], (second.into(), second.into()));
        assert_eq!(store.values().len(), usize::from(shares));
    }
}
