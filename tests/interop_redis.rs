//! The shared cache against a real Redis: every operation, and a Redis that is gone, frozen, slow,
//! full, busy, read-only, locked or behind TLS.

#![allow(clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "processes live in real time")]

#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "support/log.rs"]
mod log;
#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "support/process.rs"]
mod process;
#[path = "support/redis_server.rs"]
mod redis_server;

use std::fs;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use log::Log;
use process::free_port;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use redis_server::RedisServer;
use tokio::time::sleep;
use tower_bearer::client::{Redis, RedisStore, StoreError, StoreErrorKind, TokenStore};

const TTL: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(1);

/// What a request may take at most: the timeout, and what a busy machine adds.
const BOUND: Duration = Duration::from_secs(4);

/// How long a Redis that is there again may go unused: the longest pause, and then some.
const RECOVERY: Duration = Duration::from_secs(15);

const KEY: &str = "tower-bearer:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

fn store(server: &RedisServer) -> RedisStore {
    RedisStore::new(server.url()).unwrap().timeout(TIMEOUT)
}

/// Awaits a request that must fail in time, and returns why it did.
async fn failure<T: std::fmt::Debug>(
    request: impl Future<Output = Result<T, StoreError>>,
) -> StoreErrorKind {
    let began = Instant::now();
    let kind = request.await.expect_err("the request fails").kind();
    let took = began.elapsed();
    assert!(took < BOUND, "{kind:?} after {took:?}");
    kind
}

/// Asks until the store answers again.
async fn until_back(store: &RedisStore) {
    let began = Instant::now();
    while let Err(error) = store.get(KEY).await {
        assert!(began.elapsed() < RECOVERY, "not back: {error}");
        sleep(Duration::from_millis(50)).await;
    }
}

// E8
#[tokio::test]
async fn e8_a_value_is_kept_until_its_time_is_over() {
    let server = RedisServer::start();
    let store = store(&server);
    assert_eq!(store.get(KEY).await, Ok(None));

    let value: Vec<u8> = (0..=255).collect();
    store.put(KEY, value.clone(), TTL).await.unwrap();
    assert_eq!(store.get(KEY).await, Ok(Some(value)));
    let left: u64 = server.cli(&["pttl", KEY]).parse().unwrap();
    assert!((50_000..=60_000).contains(&left), "{left}");

    store.put(KEY, b"another".to_vec(), Duration::from_secs(1)).await.unwrap();
    assert_eq!(store.get(KEY).await, Ok(Some(b"another".to_vec())));
    sleep(Duration::from_millis(1_200)).await;
    assert_eq!(store.get(KEY).await, Ok(None));
}

// E8
#[tokio::test]
async fn e8_times_that_redis_would_refuse_are_taken() {
    let server = RedisServer::start();
    let store = store(&server);
    store.put(KEY, b"forever".to_vec(), Duration::MAX).await.unwrap();
    assert_eq!(store.get(KEY).await, Ok(Some(b"forever".to_vec())));
    store.put(KEY, b"never".to_vec(), Duration::ZERO).await.unwrap();
    sleep(Duration::from_millis(5)).await;
    assert_eq!(store.get(KEY).await, Ok(None));
    assert_eq!(store.lock(KEY, "a", Duration::ZERO).await, Ok(true));
}

#[tokio::test]
async fn only_the_value_that_is_meant_is_removed() {
    let server = RedisServer::start();
    let store = store(&server);
    store.remove(KEY, b"old").await.unwrap();
    store.put(KEY, b"new".to_vec(), TTL).await.unwrap();
    store.remove(KEY, b"old").await.unwrap();
    assert_eq!(store.get(KEY).await, Ok(Some(b"new".to_vec())));
    store.remove(KEY, b"new").await.unwrap();
    assert_eq!(store.get(KEY).await, Ok(None));
}

// E9
#[tokio::test]
async fn e9_a_lock_has_one_owner_who_alone_can_release_it() {
    let server = RedisServer::start();
    let (one, other) = (store(&server), store(&server));
    assert_eq!(one.lock(KEY, "one", TTL).await, Ok(true));
    assert_eq!(other.lock(KEY, "other", TTL).await, Ok(false));
    // Nor is it taken twice by the same one.
    assert_eq!(one.lock(KEY, "one", TTL).await, Ok(false));
    other.unlock(KEY, "other").await.unwrap();
    assert_eq!(other.lock(KEY, "other", TTL).await, Ok(false));
    one.unlock(KEY, "one").await.unwrap();
    assert_eq!(other.lock(KEY, "other", TTL).await, Ok(true));
}

// E9
#[tokio::test]
async fn e9_a_lock_that_outlived_its_owner_is_taken_and_not_given_back_by_the_old_one() {
    let server = RedisServer::start();
    let (one, other) = (store(&server), store(&server));
    assert_eq!(one.lock(KEY, "one", Duration::from_millis(100)).await, Ok(true));
    sleep(Duration::from_millis(150)).await;
    assert_eq!(other.lock(KEY, "other", TTL).await, Ok(true));
    one.unlock(KEY, "one").await.unwrap();
    assert_eq!(server.cli(&["get", KEY]), "other");
}

// E9
#[tokio::test]
async fn e9_of_many_who_want_a_lock_at_once_one_has_it() {
    let server = RedisServer::start();
    let stores = [store(&server), store(&server), store(&server), store(&server)];
    let takers = (0..200).map(|taker| {
        let store = stores[taker % stores.len()].clone().timeout(Duration::from_secs(5));
        tokio::spawn(async move { store.lock(KEY, &taker.to_string(), TTL).await.unwrap() })
    });
    let takers: Vec<_> = takers.collect();
    let mut taken = 0;
    for taker in takers {
        taken += usize::from(taker.await.unwrap());
    }
    assert_eq!(taken, 1);
}

#[tokio::test]
async fn one_connection_carries_all_and_ends_with_the_last_handle() {
    let server = RedisServer::start();
    let store = store(&server).timeout(Duration::from_secs(5));
    assert_eq!(server.connections(), 0, "nothing connects before it must");
    let requests: Vec<_> = (0..500_u32)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let key = format!("{KEY}{n}");
                let value = n.to_be_bytes().repeat(500);
                store.put(&key, value.clone(), TTL).await.unwrap();
                assert_eq!(store.get(&key).await, Ok(Some(value)));
            })
        })
        .collect();
    for request in requests {
        request.await.unwrap();
    }
    assert_eq!(server.connections(), 1);
    drop(store);
    let began = Instant::now();
    while server.connections() > 0 {
        assert!(began.elapsed() < Duration::from_secs(5), "it is still there");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn requests_that_nobody_waits_for_any_more_harm_no_other() {
    let server = RedisServer::start();
    let store = store(&server);
    store.put(KEY, b"value".to_vec(), TTL).await.unwrap();
    server.freeze();
    for _ in 0..100 {
        // Given up at once: after a while, it would speak against the connection.
        let mut asked = tokio_test::task::spawn(store.get("other"));
        assert!(asked.poll().is_pending());
        drop(asked);
        // What was asked is sent.
        tokio::task::yield_now().await;
    }
    server.thaw();
    assert_eq!(store.get(KEY).await, Ok(Some(b"value".to_vec())));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_connection_is_left_when_who_asked_gave_up_on_a_redis_that_hangs() {
    let server = RedisServer::start();
    let store = store(&server).timeout(Duration::from_secs(60));
    store.put(KEY, b"value".to_vec(), TTL).await.unwrap();
    server.freeze();
    let gave_up = tokio::time::timeout(Duration::from_millis(200), store.get(KEY)).await;
    assert!(gave_up.is_err());
    assert_eq!(failure(store.get(KEY)).await, StoreErrorKind::Timeout);
    server.thaw();
    until_back(&store).await;
    assert_eq!(store.get(KEY).await, Ok(Some(b"value".to_vec())));
}

#[test]
fn a_store_outlives_the_runtimes_that_it_is_used_from() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = RedisServer::start();
    let store = store(&server);
    // One ends with a connection, one while it makes one.
    runtime().block_on(store.put(KEY, b"value".to_vec(), TTL)).unwrap();
    assert_eq!(runtime().block_on(store.get(KEY)), Ok(Some(b"value".to_vec())));
    server.freeze();
    assert_eq!(runtime().block_on(failure(store.get(KEY))), StoreErrorKind::Timeout);
    server.thaw();
    runtime().block_on(until_back(&store));
    assert_eq!(runtime().block_on(store.get(KEY)), Ok(Some(b"value".to_vec())));
}

#[tokio::test]
async fn a_value_may_be_large_but_not_endless() {
    let server = RedisServer::start();
    let store = store(&server).timeout(Duration::from_secs(5));
    let largest = vec![7; 256 * 1024];
    store.put(KEY, largest.clone(), TTL).await.unwrap();
    assert_eq!(store.get(KEY).await, Ok(Some(largest.clone())));

    let too_large = [largest, vec![7]].concat();
    assert_eq!(failure(store.put(KEY, too_large, TTL)).await, StoreErrorKind::Other);
    // What another program has put there.
    server.cli(&["setrange", KEY, "100000000", "x"]);
    assert_eq!(failure(store.get(KEY)).await, StoreErrorKind::Other);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn what_is_no_value_is_an_error_and_costs_no_connection() {
    let server = RedisServer::start();
    let store = store(&server);
    server.cli(&["rpush", KEY, "a", "b"]);
    assert_eq!(failure(store.get(KEY)).await, StoreErrorKind::Other);
    assert_eq!(failure(store.remove(KEY, b"a")).await, StoreErrorKind::Other);
    assert_eq!(server.cli(&["llen", KEY]), "2");
    // A value takes its place.
    store.put(KEY, b"value".to_vec(), TTL).await.unwrap();
    assert_eq!(store.get(KEY).await, Ok(Some(b"value".to_vec())));
    assert_eq!(server.connections(), 1);
}

// E8
#[tokio::test]
async fn e8_a_redis_that_is_gone_fails_at_once_and_is_used_when_it_is_back() {
    let mut server = RedisServer::start();
    server.kill();
    let store = store(&server);
    assert_eq!(failure(store.get(KEY)).await, StoreErrorKind::Unavailable);

    // While it is known to be gone, nothing is waited for.
    let began = Instant::now();
    for _ in 0..1000 {
        assert_eq!(failure(store.lock(KEY, "a", TTL)).await, StoreErrorKind::Unavailable);
    }
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());

    server.start_again();
    until_back(&store).await;
    store.put(KEY, b"value".to_vec(), TTL).await.unwrap();
    assert_eq!(store.get(KEY).await, Ok(Some(b"value".to_vec())));
}

// E8
#[tokio::test(flavor = "multi_thread")]
async fn e8_a_redis_killed_and_restarted_under_load_never_hangs_and_is_used_again() {
    let mut server = RedisServer::start();
    let store = store(&server);
    store.put(KEY, b"value".to_vec(), TTL).await.unwrap();
    let ends = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let (store, ends) = (store.clone(), Arc::clone(&ends));
            tokio::spawn(async move {
                let (mut longest, mut failed) = (Duration::ZERO, 0);
                while !ends.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    failed += u32::from(store.get(KEY).await.is_err());
                    longest = longest.max(asked.elapsed());
                    sleep(Duration::from_millis(10)).await;
                }
                (longest, failed, store.get(KEY).await)
            })
        })
        .collect();
    sleep(Duration::from_millis(500)).await;
    server.kill();
    sleep(Duration::from_millis(500)).await;
    server.start_again();
    until_back(&store).await;
    sleep(Duration::from_secs(2)).await;
    ends.store(true, Ordering::Relaxed);
    for caller in callers {
        let (longest, failed, last) = caller.await.unwrap();
        assert!(longest < BOUND, "{longest:?}");
        assert!(failed > 0, "the outage was not noticed");
        assert_eq!(last, Ok(None), "the Redis came back empty");
    }
    assert_eq!(server.connections(), 1);
}

// E8
#[tokio::test]
async fn e8_a_restart_between_two_requests_fails_neither() {
    let mut server = RedisServer::start();
    let store = store(&server);
    store.put(KEY, b"value".to_vec(), TTL).await.unwrap();
    server.kill();
    server.start_again();
    // The connection's task has a moment to see the end of it.
    sleep(Duration::from_millis(50)).await;
    assert_eq!(store.get(KEY).await, Ok(None));
}

// E8
#[tokio::test]
async fn e8_a_redis_that_hangs_costs_the_timeout_once_and_then_nothing() {
    let server = RedisServer::start();
    let store = store(&server);
    store.put(KEY, b"value".to_vec(), TTL).await.unwrap();
    server.freeze();
    assert_eq!(failure(store.get(KEY)).await, StoreErrorKind::Timeout);
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(failure(store.get(KEY)).await, StoreErrorKind::Timeout);
    }
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());

    // A connection that hangs while it is made is no better.
    sleep(Duration::from_millis(150)).await;
    assert_eq!(failure(store.get(KEY)).await, StoreErrorKind::Timeout);

    server.thaw();
    until_back(&store).await;
    assert_eq!(store.get(KEY).await, Ok(Some(b"value".to_vec())));
}

// E8
#[tokio::test]
async fn e8_a_slow_redis_is_given_up_on_in_time() {
    let server = RedisServer::start();
    let store = store(&server);
    store.put(KEY, b"value".to_vec(), TTL).await.unwrap();
    server.cli(&["client", "pause", "4000", "all"]);
    let requests = (0..20).map(|_| failure(store.get(KEY)));
    for kind in futures_util::future::join_all(requests).await {
        assert_eq!(kind, StoreErrorKind::Timeout);
    }
    until_back(&store).await;
    assert_eq!(store.get(KEY).await, Ok(Some(b"value".to_vec())));
}

// E8
#[tokio::test]
async fn e8_a_full_redis_says_so_and_still_gives_and_removes() {
    let server = RedisServer::start();
    let store = store(&server);
    store.put(KEY, b"value".to_vec(), TTL).await.unwrap();
    assert_eq!(store.lock("lock", "a", TTL).await, Ok(true));
    server.cli(&["config", "set", "maxmemory", "1"]);
    assert_eq!(failure(store.put("more", b"value".to_vec(), TTL)).await, StoreErrorKind::Full);
    assert_eq!(failure(store.lock("more", "a", TTL)).await, StoreErrorKind::Full);
    assert_eq!(store.get(KEY).await, Ok(Some(b"value".to_vec())));
    store.remove(KEY, b"value").await.unwrap();
    store.unlock("lock", "a").await.unwrap();
    assert_eq!(server.cli(&["dbsize"]), "0");

    server.cli(&["config", "set", "maxmemory", "0"]);
    store.put("more", b"value".to_vec(), TTL).await.unwrap();
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_redis_busy_with_a_script_is_unavailable_until_it_is_done() {
    let server = RedisServer::start_with(&["--busy-reply-threshold", "10"]);
    let store = store(&server);
    store.put(KEY, b"value".to_vec(), TTL).await.unwrap();
    let port = server.port().to_string();
    let mut script = std::process::Command::new("redis-cli")
        .args(["-p", &port, "eval", "while true do end", "0"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while !server.cli(&["ping"]).contains("BUSY") {
        assert!(began.elapsed() < RECOVERY, "the script doesn't run");
    }
    assert_eq!(failure(store.get(KEY)).await, StoreErrorKind::Unavailable);
    server.cli(&["script", "kill"]);
    script.wait().unwrap();
    assert_eq!(store.get(KEY).await, Ok(Some(b"value".to_vec())));
}

#[tokio::test]
async fn a_primary_that_became_a_replica_is_left() {
    let server = RedisServer::start();
    let store = store(&server);
    store.put(KEY, b"value".to_vec(), TTL).await.unwrap();
    server.cli(&["replicaof", "127.0.0.1", "1"]);
    let write = store.put(KEY, b"new".to_vec(), TTL);
    assert_eq!(failure(write).await, StoreErrorKind::Unavailable);
    server.cli(&["replicaof", "no", "one"]);
    until_back(&store).await;
    store.put(KEY, b"new".to_vec(), TTL).await.unwrap();
}

#[tokio::test]
async fn a_redis_with_no_room_for_a_connection_is_unavailable_until_it_has() {
    let server = RedisServer::start_with(&["--maxclients", "2"]);
    let (one, two, three) = (store(&server), store(&server), store(&server));
    assert_eq!(one.get(KEY).await, Ok(None));
    assert_eq!(two.get(KEY).await, Ok(None));
    assert_eq!(failure(three.get(KEY)).await, StoreErrorKind::Unavailable);
    drop(one);
    until_back(&three).await;
    assert_eq!(two.get(KEY).await, Ok(None));
}

// L1
#[tokio::test]
async fn l1_names_and_passwords_are_checked_and_never_shown() {
    let password = "p%:+/ &=s@#?";
    let written = "p%25%3A%2B%2F%20%26%3Ds%40%23%3F";
    let server = RedisServer::start_with(&["--requirepass", password]);
    let address = format!("127.0.0.1:{}", server.port());
    let acl = ["-a", password, "--no-auth-warning", "acl", "setuser", "svc", "on"];
    let rules = [&format!(">{password}x"), "~tower-bearer:*"];
    let commands = ["+getrange", "+set", "+eval", "+get", "+del"];
    server.cli(&[&acl[..], &rules.map(|rule| rule), &commands[..]].concat());

    let store = |login: &str| {
        let store = RedisStore::new(format!("redis://{login}{address}")).unwrap();
        store.timeout(TIMEOUT)
    };
    for login in [format!(":{written}@"), format!("svc:{written}x@")] {
        let store = store(&login);
        store.put(KEY, b"value".to_vec(), TTL).await.unwrap();
        assert_eq!(store.get(KEY).await, Ok(Some(b"value".to_vec())), "{login}");
        assert_eq!(store.lock(&format!("{KEY}:lock"), "a", TTL).await, Ok(true));
        store.unlock(&format!("{KEY}:lock"), "a").await.unwrap();
        store.remove(KEY, b"value").await.unwrap();
        assert_eq!(store.get(KEY).await, Ok(None));
        let shown = format!("{store:?} {store:#?}");
        assert!(shown.contains(&address), "{shown}");
        assert!(!shown.contains("p%") && !shown.contains("svc"), "{shown}");
    }
    for login in [String::new(), format!(":{written}x@"), format!("svc:{written}@")] {
        let kind = failure(store(&login).get(KEY)).await;
        assert_eq!(kind, StoreErrorKind::Authentication, "{login}");
    }
    // What the user has no permission for.
    let store = store(&format!("svc:{written}x@"));
    assert_eq!(failure(store.get("another")).await, StoreErrorKind::Permission);
    assert_eq!(store.get(KEY).await, Ok(None));
}

// L1, L2
#[tokio::test]
async fn l1_l2_no_log_holds_a_password_a_key_or_a_value() {
    let log = Log::start();
    let mut server = RedisServer::start_with(&["--requirepass", "password-canary"]);
    let url = |password| format!("redis://:{password}@127.0.0.1:{}/0", server.port());
    let wrong = RedisStore::new(url("other-canary")).unwrap().timeout(TIMEOUT);
    let store = RedisStore::new(url("password-canary")).unwrap().timeout(TIMEOUT);
    assert_eq!(failure(wrong.get("key-canary")).await, StoreErrorKind::Authentication);
    store.put("key-canary", b"value-canary".to_vec(), TTL).await.unwrap();
    assert!(matches!(store.get("key-canary").await, Ok(Some(_))));
    assert_eq!(store.lock("lock-canary", "owner-canary", TTL).await, Ok(true));
    server.kill();
    let kind = failure(store.get("key-canary")).await;
    let shown = format!("{store:?} {kind:?} {}", StoreError::new(kind));
    let log = log.text();
    #[cfg(feature = "tracing")]
    assert!(log.contains("client_redis_connected") && log.contains("client_redis_lost"), "{log}");
    assert!(!shown.contains("canary") && !log.contains("canary"), "{shown} {log}");
}

#[tokio::test]
async fn a_password_that_is_changed_back_is_taken_again() {
    let server = RedisServer::start();
    let url = format!("redis://:secret@127.0.0.1:{}", server.port());
    let store = RedisStore::new(url).unwrap().timeout(TIMEOUT);
    server.cli(&["config", "set", "requirepass", "another"]);
    assert_eq!(failure(store.get(KEY)).await, StoreErrorKind::Authentication);
    server.cli(&["-a", "another", "--no-auth-warning", "config", "set", "requirepass", "secret"]);
    until_back(&store).await;
}

#[tokio::test]
async fn databases_are_apart_and_both_protocols_are_spoken() {
    let server = RedisServer::start();
    let store = |url: String| RedisStore::new(url).unwrap().timeout(TIMEOUT);
    let (zero, one) = (store(server.url()), store(server.url().replace("/0", "/1")));
    zero.put(KEY, b"zero".to_vec(), TTL).await.unwrap();
    assert_eq!(one.get(KEY).await, Ok(None));
    one.put(KEY, b"one".to_vec(), TTL).await.unwrap();

    let newer = store(format!("{}?protocol=resp3", server.url()));
    assert_eq!(newer.get(KEY).await, Ok(Some(b"zero".to_vec())));
    assert_eq!(newer.lock("lock", "a", TTL).await, Ok(true));
    assert_eq!(newer.lock("lock", "b", TTL).await, Ok(false));
    newer.unlock("lock", "a").await.unwrap();
    newer.put("more", vec![1], TTL).await.unwrap();
    assert_eq!(newer.get("none").await, Ok(None));
}

#[tokio::test]
async fn a_socket_in_the_file_system_will_do() {
    // Its path may be 107 bytes long.
    let socket = std::env::temp_dir().join(format!("tower-bearer-{}.sock", std::process::id()));
    let server = RedisServer::start_with(&["--unixsocket", socket.to_str().unwrap()]);
    let url = format!("redis+unix://{}?db=3", socket.display());
    let store = RedisStore::new(&url).unwrap().timeout(TIMEOUT);
    store.put(KEY, b"value".to_vec(), TTL).await.unwrap();
    assert_eq!(server.cli(&["-n", "3", "get", KEY]), "value");
    drop(server);
    assert_eq!(failure(store.get(KEY)).await, StoreErrorKind::Unavailable);
}

/// A Redis behind TLS, with a certificate from an authority of its own.
struct Guarded {
    server: RedisServer,
    authority: String,
}

impl Guarded {
    fn start(host: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();

        let files = ["ca.pem", "cert.pem", "key.pem"].map(process::scratch);
        let [ca, cert, private] = files.each_ref().map(|file| file.to_str().unwrap());
        fs::write(ca, authority.pem()).unwrap();
        fs::write(cert, certificate.pem()).unwrap();
        fs::write(private, key.serialize_pem()).unwrap();
        let server = RedisServer::start_with(&[
            "--tls-port",
            "{port}",
            "--tls-auth-clients",
            "no",
            "--tls-ca-cert-file",
            ca,
            "--tls-cert-file",
            cert,
            "--tls-key-file",
            private,
        ]);
        let gone = files.iter().all(|file| fs::remove_file(file).is_ok());
        assert!(gone, "the server has read them");
        Self { server, authority: authority.pem() }
    }

    fn redis(&self, host: &str) -> Redis {
        Redis::server(format!("rediss://{host}:{}/0", self.server.other_port()))
    }

    fn store(&self, redis: Redis) -> RedisStore {
        RedisStore::new(redis).unwrap().timeout(Duration::from_secs(2))
    }

    /// A store that trusts the authority.
    fn trusting(&self, host: &str) -> RedisStore {
        self.store(self.redis(host).root_certificates(&self.authority))
    }
}

#[tokio::test]
async fn tls_is_spoken_with_the_server_that_the_certificate_names() {
    let redis = Guarded::start("localhost");
    let store = redis.trusting("localhost");
    store.put(KEY, b"value".to_vec(), TTL).await.unwrap();
    assert_eq!(store.get(KEY).await, Ok(Some(b"value".to_vec())));
    assert_eq!(redis.server.cli(&["get", KEY]), "value");
}

#[tokio::test]
async fn tls_is_refused_with_any_other_server() {
    let redis = Guarded::start("localhost");
    // The authority isn't known to the system.
    assert_eq!(failure(redis.store(redis.redis("localhost")).get(KEY)).await, StoreErrorKind::Tls);
    // The certificate is for another name.
    let store = redis.trusting("127.0.0.1");
    assert_eq!(failure(store.get(KEY)).await, StoreErrorKind::Tls);
    // One end speaks TLS and the other doesn't.
    let plain = format!("redis://localhost:{}/0", redis.server.other_port());
    let plain = RedisStore::new(plain).unwrap().timeout(TIMEOUT);
    let kind = failure(plain.get(KEY)).await;
    assert!(matches!(kind, StoreErrorKind::Unavailable | StoreErrorKind::Other), "{kind:?}");
    let url = format!("rediss://localhost:{}/0", redis.server.port());
    let store = RedisStore::new(&url).unwrap().timeout(TIMEOUT);
    let kind = failure(store.get(KEY)).await;
    assert!(matches!(kind, StoreErrorKind::Tls | StoreErrorKind::Timeout), "{kind:?}");
}

/// Returns the error of a check at start as `main` prints it.
async fn complaint(store: &RedisStore) -> String {
    format!("{:?}", store.check().await.expect_err("the check fails"))
}

// FC8: each fault says what it is, and nothing of what was sent.
#[tokio::test]
async fn fc8_faults_of_a_redis_are_told_apart_in_words() {
    let server = RedisServer::start_with(&["--requirepass", "canary"]);
    let login = ["-a", "canary", "--no-auth-warning", "acl", "setuser"];
    let keyless = ["keyless", "on", ">canary", "~app:*", "+@all"];
    let weak = ["weak", "on", ">canary", "~*", "+get", "+set"];
    // Of these, the commands of the script are missing, and that which is sent for a database.
    let unread = ["unread", "on", ">canary", "~*", "+getrange", "+set", "+eval", "+del"];
    let kept = ["kept", "on", ">canary", "~*", "+getrange", "+set", "+eval", "+get"];
    for user in [&keyless[..], &weak, &unread, &kept] {
        server.cli(&[&login[..], user].concat());
    }
    let at = |login: &str| format!("redis://{login}127.0.0.1:{}", server.port());
    let nowhere = format!("redis://:canary@127.0.0.1:{}", free_port());
    let tls = format!("rediss://:canary@127.0.0.1:{}", server.port());
    for (url, why) in [
        (at(""), "wants a password"),
        (at(":canary2@"), "refuses the user name or password"),
        (at("nobody:canary@"), "refuses the user name or password"),
        (at("keyless:canary@"), "key_prefix"),
        (at("weak:canary@"), "must permit GETRANGE, SET, EVAL, GET and DEL"),
        (at("unread:canary@"), "must permit GETRANGE, SET, EVAL, GET and DEL"),
        (at("kept:canary@"), "must permit GETRANGE, SET, EVAL, GET and DEL"),
        (at(":canary@") + "/99", "database"),
        (at("kept:canary@") + "/1", "SELECT"),
        (nowhere, "its address and port is refused"),
        ("redis://:canary@nowhere.invalid".into(), "has no address"),
        ("redis+unix:///nowhere?pass=canary".into(), "no socket"),
        // It waits for the end of what it takes for a command.
        (tls, "took too long"),
    ] {
        let complaint = complaint(&RedisStore::new(&url).unwrap()).await;
        assert!(complaint.contains(why), "{why}: {complaint}");
        assert!(!complaint.contains("canary") && !complaint.contains("127.0.0.1"), "{complaint}");
    }
    // The good case.
    RedisStore::new(at(":canary@")).unwrap().check().await.unwrap();
}

// FC8
#[tokio::test]
async fn fc8_a_node_of_a_cluster_is_called_so() {
    let nodes = process::scratch("nodes.conf");
    let file = nodes.to_str().unwrap();
    let server =
        RedisServer::start_with(&["--cluster-enabled", "yes", "--cluster-config-file", file]);
    let store = store(&server);
    assert_eq!(failure(store.get(KEY)).await, StoreErrorKind::Cluster);
    assert!(complaint(&store).await.contains("cluster"));
    drop(server);
    let _gone_already = fs::remove_file(nodes);
}

// FC8
#[tokio::test]
async fn fc8_what_is_wrong_with_a_certificate_is_said() {
    let redis = Guarded::start("localhost");
    let untrusted = complaint(&redis.store(redis.redis("localhost"))).await;
    assert!(untrusted.contains("isn't from a trusted authority"), "{untrusted}");
    let named = redis.trusting("127.0.0.1");
    let named = complaint(&named).await;
    assert!(named.contains("for another host") && !named.contains("localhost"), "{named}");
    let plain = format!("redis://localhost:{}", redis.server.other_port());
    let plain = RedisStore::new(plain).unwrap();
    let plain = complaint(&plain).await;
    assert!(plain.contains("rediss://"), "{plain}");
    let good = redis.trusting("localhost");
    good.check().await.unwrap();
}

// FC16
#[tokio::test]
async fn fc16_the_prefix_of_keys_is_a_setting() {
    let server = RedisServer::start();
    server.cli(&["acl", "setuser", "svc", "on", ">secret", "~app:*", "+@all"]);
    let url = format!("redis://svc:secret@127.0.0.1:{}", server.port());
    let plain = RedisStore::new(&url).unwrap().timeout(TIMEOUT);
    assert_eq!(failure(plain.put(KEY, b"v".to_vec(), TTL)).await, StoreErrorKind::Permission);
    let store = RedisStore::new(Redis::server(&url).key_prefix("app:")).unwrap().timeout(TIMEOUT);
    store.check().await.unwrap();
    assert_eq!(server.cli(&["dbsize"]), "0", "a check leaves nothing behind");
    store.put(KEY, b"value".to_vec(), TTL).await.unwrap();
    assert_eq!(store.get(KEY).await, Ok(Some(b"value".to_vec())));
    assert_eq!(server.cli(&["get", &format!("app:{KEY}")]), "value");
    assert_eq!(store.lock("lock", "me", TTL).await, Ok(true));
    assert_eq!(store.lock("lock", "you", TTL).await, Ok(false));
    store.unlock("lock", "me").await.unwrap();
    store.remove(KEY, b"value").await.unwrap();
    assert_eq!(server.cli(&["dbsize"]), "0");
}
