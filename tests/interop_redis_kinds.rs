//! Redis of every kind, for real: a cluster and Sentinels whose primary is killed while 200 callers need
//! tokens, client certificates, passwords that change. And peers that lead astray.

#![allow(clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic, clippy::unwrap_used)]
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "processes live in real time"
)]

#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "support/log.rs"]
mod log;
#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "support/process.rs"]
mod process;
#[path = "support/redis_kinds.rs"]
mod redis_kinds;
#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "support/redis_server.rs"]
mod redis_server;

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use log::Log;
use process::free_port;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use redis_kinds::{AGREEMENT, RedisCluster, Scripted, Watched, until};
use redis_server::RedisServer;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tower_bearer::Secret;
use tower_bearer::client::{
    ClientAuth, FileSecret, Grant, Redis, RedisStore, SecretFuture, SecretProvider, SecretSource,
    StoreError, StoreErrorKind, TokenClient, TokenSource, TokenStore,
};
use tower_bearer::dpop::{RedisReplay, ReplayStore};
use tower_bearer::testing::{Endpoint, TestClient, TestIssuer};

const TTL: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(2);
const CALLERS: usize = 200;

/// What a request may take at most: the timeout, and what a busy machine adds.
const BOUND: Duration = Duration::from_secs(10);

/// Two token clients, as two processes have them, and callers who go on asking both for tokens.
struct Service {
    issuer: TestIssuer,
    sources: [TokenSource; 2],
    given: [Arc<Mutex<BTreeSet<String>>>; 2],
    failures: Arc<Mutex<BTreeSet<String>>>,
    calls: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
    callers: Vec<JoinHandle<()>>,
}

impl Service {
    async fn start(redis: &Redis) -> Self {
        let issuer = TestIssuer::builder().client(TestClient::secret("svc", "secret"));
        let issuer = issuer.token_lifetime(Duration::from_secs(600)).start().await.unwrap();
        let grant = Grant::endpoint(&issuer.token_endpoint(), ClientAuth::basic("svc", "secret"));
        let grant = grant.scope("api:read").allow_loopback_http().build().unwrap();
        let mut sources = Vec::new();
        for _ in 0..2 {
            let store = RedisStore::new(redis.clone()).unwrap();
            // A call to the store that has to connect first may take too long for a token client.
            store.check().await.unwrap();
            let client = TokenClient::builder().shared(store, Secret::new([7; 32]));
            sources.push(client.build().unwrap().source(&grant));
        }
        let mut service = Self {
            issuer,
            sources: sources.try_into().expect("two"),
            given: Default::default(),
            failures: Arc::default(),
            calls: Arc::default(),
            ends: Arc::default(),
            callers: Vec::new(),
        };
        service.callers = (0..CALLERS).map(|number| service.caller(number % 2)).collect();
        service
    }

    fn caller(&self, side: usize) -> JoinHandle<()> {
        let (source, given) = (self.sources[side].clone(), Arc::clone(&self.given[side]));
        let (failures, calls) = (Arc::clone(&self.failures), Arc::clone(&self.calls));
        let ends = Arc::clone(&self.ends);
        tokio::spawn(async move {
            while !ends.load(Ordering::Relaxed) {
                match source.token().await {
                    Ok(token) => given.lock().unwrap().insert(token.expose_secret().into()),
                    Err(error) => failures.lock().unwrap().insert(error.to_string()),
                };
                calls.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(20)).await;
            }
        })
    }

    fn fetches(&self) -> u64 {
        self.issuer.counters().requests(Endpoint::Token)
    }

    /// Waits until each caller has had a token since.
    async fn all_called(&self) {
        let before = self.calls.load(Ordering::Relaxed);
        while self.calls.load(Ordering::Relaxed) < before + 3 * CALLERS {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Has both sides need another token, and returns how many were fetched.
    async fn renew(&self, origin: &str) -> u64 {
        let before = self.fetches();
        for source in &self.sources {
            let token = source.token().await.unwrap();
            source.renew(&token, origin).await.expect("another token");
        }
        self.all_called().await;
        self.fetches() - before
    }

    /// Waits until what one side fetches is had by the other.
    async fn until_shared(&self) {
        let began = Instant::now();
        for number in 0.. {
            self.sources[0].token().await.unwrap();
            if self.renew(&format!("https://later-{number}.example")).await <= 1 {
                return;
            }
            assert!(began.elapsed() < AGREEMENT, "nothing is shared again");
            sleep(Duration::from_millis(500)).await;
        }
    }

    async fn end(mut self) {
        self.ends.store(true, Ordering::Relaxed);
        for caller in self.callers.drain(..) {
            caller.await.unwrap();
        }
        let failures = self.failures.lock().unwrap();
        assert!(failures.is_empty(), "calls failed: {failures:?}");
    }
}

fn store(redis: impl Into<Redis>) -> RedisStore {
    RedisStore::new(redis).unwrap().timeout(TIMEOUT)
}

/// Does all that a token client does with this key.
async fn use_key(store: &RedisStore, key: &str) {
    assert_eq!(store.get(key).await, Ok(None), "{key}");
    assert_eq!(store.lock(&format!("{key}:lock"), "me", TTL).await, Ok(true), "{key}");
    assert_eq!(store.lock(&format!("{key}:lock"), "you", TTL).await, Ok(false), "{key}");
    store.put(key, key.as_bytes().to_vec(), TTL).await.unwrap();
    assert_eq!(store.get(key).await, Ok(Some(key.as_bytes().to_vec())), "{key}");
    store.remove(key, b"another").await.unwrap();
    assert_eq!(store.get(key).await, Ok(Some(key.as_bytes().to_vec())), "{key}");
    store.remove(key, key.as_bytes()).await.unwrap();
    store.unlock(&format!("{key}:lock"), "me").await.unwrap();
    assert_eq!(store.lock(&format!("{key}:lock"), "you", TTL).await, Ok(true), "{key}");
    store.unlock(&format!("{key}:lock"), "you").await.unwrap();
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

async fn complaint(store: &RedisStore) -> String {
    format!("{:?}", store.check().await.expect_err("the check fails"))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_of_a_cluster_are_where_their_slots_are_while_those_move() {
    let cluster = RedisCluster::start(0, &[]);
    let urls = cluster.urls();
    // Any of them does to begin with, also after one that isn't there.
    let nobody = format!("redis://127.0.0.1:{}", free_port());
    let user = |name, rules: &[&str]| {
        let user = ["acl", "setuser", name, "on", ">secret", "~app:*"];
        let commands = ["+getrange", "+set", "+eval", "+get", "+del"];
        for server in &cluster.servers {
            server.cli(&[&user[..], &commands, rules].concat());
        }
    };
    user("svc", &["+cluster|slots", "+asking"]);
    user("unasked", &["+cluster|slots"]);
    user("lost", &["+asking"]);
    for name in ["unasked", "lost"] {
        let weak = Redis::cluster(&urls).credentials(name, "secret").key_prefix("app:");
        let complaint = complaint(&store(weak)).await;
        assert!(complaint.contains("CLUSTER SLOTS and ASKING"), "{complaint}");
    }
    let redis = Redis::cluster([&nobody, &urls[0]]).key_prefix("app:");
    let redis = redis.credentials("svc", "secret");
    let store = store(redis.clone());
    store.check().await.unwrap();
    let [replay, second] = [(); 2].map(|()| RedisReplay::new(redis.clone()).unwrap());
    replay.check().await.unwrap();
    for number in 0..40 {
        use_key(&store, &format!("key-{number}")).await;
        assert!(matches!(replay.record(&format!("proof-{number}"), TTL).await, Ok(true)));
        assert!(matches!(replay.record(&format!("proof-{number}"), TTL).await, Ok(false)));
    }
    let newer = Redis::cluster([format!("{}?protocol=resp3", urls[0])]);
    let newer = self::store(newer.key_prefix("newer:"));
    newer.check().await.unwrap();
    use_key(&newer, "key-0").await;
    let kept = |server: &RedisServer| server.cli(&["dbsize"]).parse::<usize>().unwrap();
    assert!(cluster.servers.iter().all(|server| kept(server) > 0), "each has some");

    // One slot is on its way: what isn't with the old owner any more is with the new one.
    let (from, slot) = (
        cluster.owner("app:moving", 0),
        cluster.servers[0].cli(&["cluster", "keyslot", "app:moving"]),
    );
    let to = (from + 1) % 3;
    let state = |server: usize, state: &str, other: usize| {
        let id = cluster.id(other);
        assert_eq!(cluster.servers[server].cli(&["cluster", "setslot", &slot, state, &id]), "OK");
    };
    state(to, "importing", from);
    state(from, "migrating", to);
    use_key(&store, "moving").await;
    store.put("moving", b"moved".to_vec(), TTL).await.unwrap();
    assert_eq!(cluster.servers[to].cli(&["cluster", "countkeysinslot", &slot]), "1");
    // It has arrived: there is no map in which that is, yet.
    for server in [to, from, 3 - from - to] {
        state(server, "node", to);
    }
    assert_eq!(store.get("moving").await, Ok(Some(b"moved".to_vec())));

    // Many more move while they are in use.
    let (id, other) = (cluster.id(0), cluster.id(1));
    let place = format!("127.0.0.1:{}", cluster.servers[0].port());
    let moving = blocking(move || {
        let mut reshard = std::process::Command::new("redis-cli");
        reshard.args(["--cluster", "reshard", &place, "--cluster-from", &id, "--cluster-to"]);
        reshard.args([&other, "--cluster-slots", "400", "--cluster-yes"]);
        reshard.output().unwrap().status.success()
    });
    let moving = tokio::spawn(moving);
    let mut rounds = 0;
    while !moving.is_finished() || rounds < 2 {
        for number in 0..60 {
            use_key(&store, &format!("more-{number}")).await;
            // Of two processes, which know of the moves at different times, one has it first.
            let proof = format!("both-{rounds}-{number}");
            let (one, two) = tokio::join!(replay.record(&proof, TTL), second.record(&proof, TTL));
            assert_ne!(one.unwrap(), two.unwrap(), "{proof}");
        }
        rounds += 1;
    }
    assert!(moving.await.unwrap(), "the slots have moved");
    store.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_loses_a_primary_fails_no_call() {
    let log = Log::start();
    let mut cluster = blocking(|| RedisCluster::start(1, &[])).await;
    let redis = Redis::cluster(cluster.urls());
    let service = Service::start(&redis).await;
    service.all_called().await;
    assert_eq!(service.fetches(), 1, "the token is shared");
    let replay = RedisReplay::new(redis.clone()).unwrap();
    assert!(matches!(replay.record("proof", TTL).await, Ok(true)));

    // The one that has the token.
    let store = store(redis);
    let name = cluster.servers.iter().map(|server| server.cli(&["keys", "tower-bearer:token:*"]));
    let name = name.into_iter().find(|name| !name.is_empty()).unwrap();
    let lost = cluster.owner(name.trim(), 0);
    store.check().await.unwrap();
    let proof = format!("{{{}}}", name.trim());
    assert!(matches!(replay.record(&proof, TTL).await, Ok(true)));
    until("its replica has it, too", || {
        let has = |server: &&RedisServer| !server.cli(&["keys", &proof]).is_empty();
        cluster.servers.iter().filter(has).count() == 2
    });
    log.clear();
    cluster.servers[lost].kill();
    // Both at once, before a replica takes over.
    let (fetched, check) = tokio::join!(service.renew("https://meanwhile.example"), store.check());
    assert!(fetched <= 2, "{fetched} tokens fetched");
    assert!(check.is_err(), "a part of the cluster is missing");

    let began = Instant::now();
    while let Err(error) = store.check().await {
        let nodes = || cluster.servers[(lost + 1) % 6].cli(&["cluster", "nodes"]);
        assert!(began.elapsed() < AGREEMENT, "no replica takes over: {error:?} {}", nodes());
        sleep(Duration::from_millis(100)).await;
    }
    service.until_shared().await;
    assert_ne!(cluster.owner(name.trim(), (lost + 1) % 6), lost);
    let began = Instant::now();
    let is_first = loop {
        match replay.record(&proof, TTL).await {
            Ok(is_first) => break is_first,
            Err(error) => assert!(began.elapsed() < AGREEMENT, "not recorded again: {error:?}"),
        }
        sleep(Duration::from_millis(100)).await;
    };
    assert!(!is_first, "what was replicated is known");
    assert!(matches!(replay.record("another", TTL).await, Ok(true)));
    service.end().await;
    // The clients and the store have each said once that they lost it.
    let said = log.text().matches("client_redis_lost").count();
    assert!((1..=3).contains(&said), "{said} events: {}", log.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_primary_is_followed_that_the_sentinels_agree_on() {
    let log = Log::start();
    let mut watched = blocking(Watched::start).await;
    for server in [&watched.primary, &watched.replica] {
        let user = ["acl", "setuser", "svc", "on", ">secret", "~tower-bearer:*"];
        server.cli(&[&user[..], &["+getrange", "+set", "+eval", "+get", "+del"]].concat());
    }
    let redis = Redis::sentinel("mymaster", watched.urls()).credentials("svc", "secret");
    let newer = watched.urls().into_iter().map(|url| url + "?protocol=resp3");
    let newer = Redis::sentinel("mymaster", newer).credentials("svc", "secret");
    RedisStore::new(newer).unwrap().check().await.unwrap();
    let store = store(redis.clone());
    store.check().await.unwrap();
    let replay = RedisReplay::new(redis.clone()).unwrap();
    replay.check().await.unwrap();
    let service = Service::start(&redis).await;
    service.all_called().await;
    assert_eq!(service.fetches(), 1, "the token is shared");
    assert!(watched.primary.cli(&["dbsize"]) != "0");
    let proof = "tower-bearer:dpop:proof";
    assert!(matches!(replay.record(proof, TTL).await, Ok(true)));
    until("the replica has it, too", || watched.replica.cli(&["exists", proof]) == "1");
    log.clear();

    watched.primary.kill();
    // Both at once, before the replica takes over.
    let (fetched, recorded) = tokio::join!(
        service.renew("https://meanwhile.example"),
        replay.record("tower-bearer:dpop:meanwhile", TTL)
    );
    assert!(fetched <= 2, "{fetched} tokens fetched");
    assert!(recorded.is_err(), "it can't be recorded");
    let began = Instant::now();
    while store.check().await.is_err() {
        assert!(began.elapsed() < AGREEMENT, "the replica doesn't take over");
        sleep(Duration::from_millis(100)).await;
    }
    service.until_shared().await;
    replay.check().await.unwrap();
    assert!(matches!(replay.record(proof, TTL).await, Ok(false)), "what was replicated is known");
    assert!(watched.replica.cli(&["info", "replication"]).contains("role:master"));
    service.end().await;
    let said = log.text().matches("client_redis_lost").count();
    assert!((1..=3).contains(&said), "{said} events: {}", log.text());

    // What the Sentinels don't know.
    let unknown = Redis::sentinel("another", watched.urls());
    assert!(
        complaint(&RedisStore::new(unknown).unwrap()).await.contains("no primary of this name")
    );
}

/// A Redis that wants client certificates, and their authority.
struct Guarded {
    server: RedisServer,
    url: String,
    authority: Authority,
}

impl Guarded {
    fn start() -> Self {
        let authority = authority();
        let files = ["ca.pem", "cert.pem", "key.pem"].map(process::scratch);
        let [ca, cert, private] = files.each_ref().map(|file| file.to_str().unwrap());
        let (chain, key) = pair(&authority, "redis.internal");
        fs::write(ca, authority.pem()).unwrap();
        fs::write(cert, chain).unwrap();
        fs::write(private, key).unwrap();
        let server = RedisServer::start_with(&[
            "--tls-port",
            "{port}",
            "--tls-auth-clients",
            "yes",
            "--tls-ca-cert-file",
            ca,
            "--tls-cert-file",
            cert,
            "--tls-key-file",
            private,
        ]);
        files.iter().for_each(|file| fs::remove_file(file).unwrap());
        let url = format!("rediss://127.0.0.1:{}", server.other_port());
        Self { server, url, authority }
    }

    fn redis(&self) -> Redis {
        let redis = Redis::server(&self.url).server_name("redis.internal");
        redis.root_certificates(self.authority.pem())
    }
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // OpenSSL takes an issuer of the same name for the certificate itself.
    params.distinguished_name.push(DnType::CommonName, "authority");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Makes a certificate and its key.
fn pair(authority: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

#[tokio::test]
async fn a_client_certificate_is_presented_and_replaced() {
    let guarded = Guarded::start();
    let (chain, key) = pair(&guarded.authority, "client");
    let (no, with) = (store(guarded.redis()), Secret::new(format!("{key}{chain}")));
    assert!(matches!(
        failure(no.get("key")).await,
        StoreErrorKind::Tls | StoreErrorKind::Unavailable
    ));
    store(guarded.redis().client_certificate(&with)).check().await.unwrap();
    // The certificate is for a name, which isn't that of the address.
    let by_address = Redis::server(&guarded.url).root_certificates(guarded.authority.pem());
    let by_address = store(by_address.client_certificate(&with));
    assert!(complaint(&by_address).await.contains("another host"));

    // A pair in files, replaced while it is in use; half of it first. They are looked at once a second.
    let looks = Duration::from_millis(1_100);
    let files = ["tls.crt", "tls.key"].map(process::scratch);
    let write = |(chain, key): &(String, String)| {
        fs::write(&files[0], chain).unwrap();
        fs::write(&files[1], key).unwrap();
    };
    write(&(chain, key));
    let store = store(guarded.redis().client_certificate_files(&files[0], &files[1]));
    store.check().await.unwrap();
    let hang_up = || guarded.server.cli(&["client", "kill", "type", "normal", "skipme", "yes"]);
    fs::write(&files[0], "half").unwrap();
    hang_up();
    sleep(looks).await;
    store.check().await.unwrap();
    // Of another authority: it is the new one that is presented.
    write(&pair(&authority(), "client"));
    hang_up();
    sleep(looks).await;
    assert!(store.get("key").await.is_err());
    write(&pair(&guarded.authority, "client"));
    sleep(looks).await;
    store.check().await.unwrap();
    files.iter().for_each(|file| fs::remove_file(file).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_changes_under_load_fails_no_request() {
    let guarded = Guarded::start();
    let (chain, key) = pair(&guarded.authority, "client");
    let file = process::scratch("password");
    let user = |rules: &[&str]| {
        let user = ["acl", "setuser", "svc", "on", "~app:*", "+getrange", "+set", "+eval"];
        guarded.server.cli(&[&user[..], &["+get", "+del"], rules].concat());
    };
    user(&[">first"]);
    fs::write(&file, "first\n").unwrap();
    let redis = guarded.redis().client_certificate(&Secret::new(format!("{key}{chain}")));
    let source = SecretSource::from(FileSecret::new(&file));
    let redis = redis.credentials("svc", source).key_prefix("app:");
    let (store, replay) = (store(redis.clone()), RedisReplay::new(redis.clone()).unwrap());
    store.check().await.unwrap();
    replay.check().await.unwrap();
    let service = Service::start(&redis).await;
    for password in ["second", "third"] {
        // The new one is accepted, handed out, and then alone; connections with the old one end.
        user(&[&format!(">{password}")]);
        let swapped = file.with_extension("new");
        fs::write(&swapped, password).unwrap();
        fs::rename(&swapped, &file).unwrap();
        user(&["resetpass", &format!(">{password}")]);
        guarded.server.cli(&["client", "kill", "user", "svc"]);
        sleep(Duration::from_millis(500)).await;
        store.check().await.unwrap();
        replay.check().await.unwrap();
        service.all_called().await;
    }
    // A connection that ends in the middle of a question costs one fetch, and fails nothing.
    assert!((1..=3).contains(&service.fetches()), "{} fetches", service.fetches());
    service.end().await;

    // Nor is it the other way round: the file is swapped before the Redis knows.
    fs::write(&file, "fourth").unwrap();
    guarded.server.cli(&["client", "kill", "user", "svc"]);
    sleep(Duration::from_millis(500)).await;
    store.check().await.unwrap();
    // A password that is wrong is called so, and not shown.
    user(&["resetpass", ">fifth"]);
    guarded.server.cli(&["client", "kill", "user", "svc"]);
    sleep(Duration::from_millis(500)).await;
    let complaint = complaint(&store).await;
    assert!(complaint.contains("refuses the user name or password"), "{complaint}");
    assert!(!complaint.contains("fourth") && !complaint.contains("third"), "{complaint}");
    fs::remove_file(file).unwrap();
}

/// Says who has all slots of a cluster.
fn slots(port: u16) -> String {
    let place = format!("*2\r\n$9\r\n127.0.0.1\r\n:{port}\r\n");
    format!("*1\r\n*3\r\n:0\r\n:16383\r\n{place}")
}

#[tokio::test]
async fn servers_that_refer_to_each_other_for_ever_are_given_up_on() {
    for (word, what) in [("MOVED", "each to the other"), ("ASK", "each to the other")] {
        let other = Arc::new(AtomicUsize::new(0));
        let named = Arc::clone(&other);
        let first = Scripted::start(move |port, command| match command {
            "CLUSTER SLOTS" => slots(port),
            "ASKING" => "+OK\r\n".into(),
            _ => format!("-{word} 1 127.0.0.1:{}\r\n", named.load(Ordering::Relaxed)),
        });
        let back = first.port;
        let second = Scripted::start(move |_, command| match command {
            "ASKING" => "+OK\r\n".into(),
            _ => format!("-{word} 1 127.0.0.1:{back}\r\n"),
        });
        other.store(second.port.into(), Ordering::Relaxed);
        let store = store(Redis::cluster([first.url()]));
        for _ in 0..20 {
            assert_eq!(failure(store.get("key")).await, StoreErrorKind::Cluster, "{what}");
        }
        // One connection each, and those over which it was asked who has which slots.
        let connections = first.connections() + second.connections();
        assert!(connections < 40, "{word}: {connections}");
        let complaint = complaint(&store).await;
        assert!(complaint.contains("redirect a request in a circle"), "{word}: {complaint}");
    }
    // To itself, to nowhere, and to what is no address.
    for reference in [
        "MOVED 1 127.0.0.1:{port}",
        "MOVED 1 127.0.0.1:1",
        "MOVED 1 x y:1",
        "MOVED 99999 a:1",
        "MOVED",
    ] {
        let peer = Scripted::start(move |port, command| match command {
            "CLUSTER SLOTS" => slots(port),
            _ => format!("-{}\r\n", reference.replace("{port}", &port.to_string())),
        });
        let kind = failure(store(Redis::cluster([peer.url()])).get("key")).await;
        let expected = [StoreErrorKind::Cluster, StoreErrorKind::Unavailable];
        assert!(expected.contains(&kind), "{reference}: {kind:?}");
    }
    // The good case: one reference leads there.
    let target = Scripted::start(|_, _| "$5\r\nvalue\r\n".into());
    let there = target.port;
    let peer = Scripted::start(move |port, command| match command {
        "CLUSTER SLOTS" => slots(port),
        _ => format!("-MOVED 1 127.0.0.1:{there}\r\n"),
    });
    let value = store(Redis::cluster([peer.url()])).get("key").await;
    assert_eq!(value, Ok(Some(b"value".to_vec())));
}

#[tokio::test]
async fn what_doesnt_say_who_has_the_slots_is_no_cluster() {
    let alone = RedisServer::start();
    let alone = store(Redis::cluster([alone.url()]));
    assert!(matches!(failure(alone.get("key")).await, StoreErrorKind::Other));
    for answer in
        ["*0\r\n", "+OK\r\n", "*1\r\n*2\r\n:0\r\n:1\r\n", "*1\r\n*3\r\n:9\r\n:1\r\n*0\r\n"]
    {
        let peer = Scripted::start(move |_, _| answer.into());
        let kind = failure(store(Redis::cluster([peer.url()])).get("key")).await;
        assert_eq!(kind, StoreErrorKind::Cluster, "{answer}");
    }
    // A part of the slots is nobody's.
    let peer = Scripted::start(|port, command| match command {
        "CLUSTER SLOTS" => slots(port).replace(":16383", ":100"),
        _ => "$5\r\nvalue\r\n".into(),
    });
    let store = store(Redis::cluster([peer.url()]));
    assert_eq!(store.get("{3560}").await, Ok(Some(b"value".to_vec())));
    assert_eq!(failure(store.get("key")).await, StoreErrorKind::Cluster);
    assert!(complaint(&store).await.contains("no server of the cluster has"));
}

#[tokio::test]
async fn a_sentinel_that_names_a_stranger_is_not_followed() {
    let primary = RedisServer::start();
    let replica = {
        let port = primary.port().to_string();
        RedisServer::start_with(&["--replicaof", "127.0.0.1", &port])
    };
    let named = |host: &str, port: &str| {
        let (host, port) =
            (format!("${}\r\n{host}\r\n", host.len()), format!("${}\r\n{port}\r\n", port.len()));
        Scripted::start(move |_, command| match command.starts_with("SENTINEL") {
            true => format!("*2\r\n{host}{port}"),
            false => "-ERR unknown command\r\n".into(),
        })
    };
    let naming = |server: &RedisServer| named("127.0.0.1", &server.port().to_string());
    let (stranger, honest) = (naming(&replica), naming(&primary));
    let with = |sentinels: &[&Scripted]| {
        store(Redis::sentinel("mymaster", sentinels.iter().map(|sentinel| sentinel.url())))
    };
    assert_eq!(failure(with(&[&stranger]).get("key")).await, StoreErrorKind::Unavailable);
    assert!(complaint(&with(&[&stranger])).await.contains("is not a primary"));
    // A Sentinel, and one who says no to everything, are no primaries.
    let itself = named("127.0.0.1", &honest.port.to_string());
    assert!(failure(with(&[&itself]).get("key")).await != StoreErrorKind::Timeout);
    for (host, port) in [
        ("", "6379"),
        ("127.0.0.1", "0"),
        ("127.0.0.1", "x"),
        ("a b", "6379"),
        ("127.0.0.1", "99999"),
    ] {
        let kind = failure(with(&[&named(host, port)]).get("key")).await;
        assert_eq!(kind, StoreErrorKind::Other, "{host}:{port}");
    }
    let mute = Scripted::start(|_, _| String::new());
    // The good case: one of them knows better than those before it.
    let all = with(&[&mute, &stranger, &itself, &honest]);
    all.check().await.unwrap();
    assert_eq!(replica.connections(), 0, "it was left");
}

/// A Sentinel that names this port of this machine as the primary's.
fn sentinel_of(port: u16) -> Scripted {
    let port = port.to_string();
    Scripted::start(move |_, command| match command.starts_with("SENTINEL") {
        true => format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len()),
        false => "-ERR unknown command\r\n".into(),
    })
}

/// A server that lets those in who have the password, is a primary, or a whole cluster, and has one value.
fn whole(port: u16, command: &str) -> String {
    match command {
        "AUTH svc secret" | "ASKING" => "+OK\r\n".into(),
        "HELLO" => "*2\r\n$4\r\nrole\r\n$6\r\nmaster\r\n".into(),
        "CLUSTER SLOTS" => slots(port),
        command if command.starts_with("AUTH") => "-WRONGPASS no\r\n".into(),
        _ => "$5\r\nvalue\r\n".into(),
    }
}

/// Gives the password after a while, and from its second answer on maybe never.
struct Slow {
    takes: Duration,
    hangs: bool,
    asked: AtomicUsize,
}

impl Slow {
    fn new(takes: Duration, hangs: bool) -> Self {
        Self { takes, hangs, asked: AtomicUsize::new(0) }
    }
}

impl SecretProvider for Slow {
    fn secret(&self) -> SecretFuture<'_> {
        Box::pin(async {
            let is_first = self.asked.fetch_add(1, Ordering::Relaxed) == 0;
            sleep(self.takes).await;
            if self.hangs && !is_first {
                std::future::pending::<()>().await;
            }
            Ok(Secret::new("secret"))
        })
    }
}

#[tokio::test]
async fn a_provider_of_passwords_that_is_slow_or_hangs_keeps_no_kind_of_redis_away() {
    let value = Ok(Some(b"value".to_vec()));
    let slow = || Slow::new(Duration::from_millis(1200), false);
    let peer = Scripted::start(whole);
    let sentinel = sentinel_of(peer.port);
    let cluster = Redis::cluster([peer.url()]).credentials("svc", slow());
    assert_eq!(store(cluster).timeout(BOUND).get("key").await, value);
    let watched = Redis::sentinel("mymaster", [sentinel.url()]).credentials("svc", slow());
    assert_eq!(store(watched).timeout(BOUND).get("key").await, value);

    // One that hangs once it has answered: what it gave serves on.
    let calls = AtomicUsize::new(0);
    let flaky = Scripted::start(move |port, command| match command {
        // The connection is given up on.
        command
            if command.starts_with("GETRANGE") && calls.fetch_add(1, Ordering::Relaxed) == 0 =>
        {
            "-READONLY no\r\n".into()
        }
        command => whole(port, command),
    });
    let sentinel = sentinel_of(flaky.port);
    let source = SecretSource::from(Slow::new(Duration::ZERO, true)).max_age(Duration::ZERO);
    let watched = Redis::sentinel("mymaster", [sentinel.url()]).credentials("svc", source);
    let watched = store(watched).timeout(BOUND);
    assert_eq!(failure(watched.get("key")).await, StoreErrorKind::Unavailable);
    sleep(Duration::from_millis(150)).await;
    assert_eq!(watched.get("key").await, value);

    // One without the password is refused, by whichever kind.
    let wrong = Redis::cluster([peer.url()]).credentials("svc", "wrong");
    assert_eq!(failure(store(wrong).get("key")).await, StoreErrorKind::Authentication);
}

#[tokio::test]
async fn sentinels_that_never_answer_keep_nobody_from_the_next_ones() {
    let peer = Scripted::start(whole);
    let mute = || Scripted::start(|_, _| String::new());
    let (silent, honest) = ([(); 4].map(|()| mute()), sentinel_of(peer.port));
    let urls = silent.iter().chain([&honest]).map(Scripted::url);
    let store = store(Redis::sentinel("mymaster", urls)).timeout(BOUND);
    let began = Instant::now();
    while store.get("key").await.is_err() {
        assert!(began.elapsed() < AGREEMENT, "the one that answers is never asked");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn answers_larger_than_any_of_their_kind_are_not_kept() {
    let cluster = |size: usize| {
        Scripted::start(move |port, command| match command {
            "CLUSTER SLOTS" => {
                let place = format!("*3\r\n$9\r\n127.0.0.1\r\n:{port}\r\n");
                let id = format!("${size}\r\n{}\r\n", "x".repeat(size));
                format!("*1\r\n*3\r\n:0\r\n:16383\r\n{place}{id}")
            }
            command => whole(port, command),
        })
    };
    for (size, expected) in [(1 << 20, true), (5 << 20, false)] {
        let peer = cluster(size);
        let found = store(Redis::cluster([peer.url()])).timeout(BOUND).get("key").await;
        assert_eq!(found.is_ok(), expected, "{size}: {found:?}");
    }
    let peer = Scripted::start(whole);
    for (size, expected) in [(1 << 10, true), (1 << 20, false)] {
        // A port with zeros before it.
        let (named, primary) = (peer.port.to_string(), "127.0.0.1");
        let sentinel = Scripted::start(move |_, _| {
            let (length, zeros) = (size + named.len(), "0".repeat(size));
            format!("*2\r\n$9\r\n{primary}\r\n${length}\r\n{zeros}{named}\r\n")
        });
        let found = store(Redis::sentinel("mymaster", [sentinel.url()])).timeout(BOUND);
        let found = found.get("key").await;
        assert_eq!(found.is_ok(), expected, "{size}: {found:?}");
    }
}

#[tokio::test]
async fn servers_name_no_address_that_no_server_has() {
    // Linux takes `0.0.0.0` for this machine.
    for (host, expected) in [("127.0.0.1", true), ("0.0.0.0", false), ("0", false)] {
        let target = Scripted::start(whole);
        let (there, length) = (target.port, host.len());
        let port = there.to_string();
        let all = format!("${length}\r\n{host}\r\n:{there}\r\n");
        let all = format!("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n{all}");
        let moved = format!("-MOVED 1 {host}:{there}\r\n");
        let primary = format!("${length}\r\n{host}\r\n${}\r\n{port}\r\n", port.len());
        let naming = Scripted::start(move |port, command| match command {
            "CLUSTER SLOTS" => all.clone(),
            command => whole(port, command),
        });
        let moving = Scripted::start(move |port, command| match command {
            "CLUSTER SLOTS" => slots(port),
            _ => moved.clone(),
        });
        let sentinel = Scripted::start(move |_, command| match command.starts_with("SENTINEL") {
            true => format!("*2\r\n{primary}"),
            false => "-ERR unknown command\r\n".into(),
        });
        for redis in [
            Redis::cluster([naming.url()]),
            Redis::cluster([moving.url()]),
            Redis::sentinel("mymaster", [sentinel.url()]),
        ] {
            let found = store(redis.clone()).get("key").await;
            assert_eq!(found.is_ok(), expected, "{redis:?}, {host}: {found:?}");
        }
        assert_eq!(target.connections() > 0, expected, "{host}");
    }
}

#[tokio::test]
async fn a_check_meets_the_server_with_one_slot_too() {
    let small = Scripted::start(|_, _| "-NOPERM no\r\n".into());
    let there = small.port;
    let large = Scripted::start(move |port, command| match command {
        "CLUSTER SLOTS" => {
            let range = |first: u16, last: u16, port: u16| {
                let place = format!("*2\r\n$9\r\n127.0.0.1\r\n:{port}\r\n");
                format!("*3\r\n:{first}\r\n:{last}\r\n{place}")
            };
            format!("*2\r\n{}{}", range(0, 16_382, port), range(16_383, 16_383, there))
        }
        command => whole(port, command),
    });
    let complaint = complaint(&store(Redis::cluster([large.url()]))).await;
    assert!(complaint.contains("CLUSTER SLOTS and ASKING"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_costs_only_its_own_keys_and_those_a_bounded_time() {
    let log = Log::start();
    let mut cluster = RedisCluster::start(0, &["--cluster-require-full-coverage", "no"]);
    let store = RedisStore::new(Redis::cluster(cluster.urls())).unwrap();
    let store = store.timeout(Duration::from_secs(1));
    store.check().await.unwrap();
    let (mut hanging, mut others) = (Vec::new(), Vec::new());
    for number in 0..60 {
        let key = format!("key-{number}");
        if cluster.owner(&key, 0) == 0 { hanging.push(key) } else { others.push(key) }
    }
    cluster.servers[0].freeze();
    assert!(hanging.len() >= 5 && others.len() >= 10, "{hanging:?} {others:?}");
    for key in hanging.iter().take(5) {
        let kind = failure(store.get(key)).await;
        assert!(matches!(kind, StoreErrorKind::Timeout | StoreErrorKind::Unavailable), "{kind:?}");
        for key in others.iter().take(10) {
            assert_eq!(store.get(key).await, Ok(None), "{key}");
        }
    }
    cluster.servers[0].thaw();
    let began = Instant::now();
    while store.check().await.is_err() {
        assert!(began.elapsed() < AGREEMENT, "not back");
        sleep(Duration::from_millis(100)).await;
    }

    // There is one event for all that are lost together.
    log.clear();
    cluster.servers.iter_mut().for_each(RedisServer::kill);
    for key in hanging.iter().chain(&others) {
        assert!(store.get(key).await.is_err(), "{key}");
    }
    let said = log.text().matches("client_redis_lost").count();
    assert_eq!(said, 1, "{}", log.text());
}
