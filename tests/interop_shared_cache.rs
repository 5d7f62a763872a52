//! Processes that share their tokens through a real Redis: what each of them asks the
//! authorization server for, and what becomes of their callers when the Redis is stopped, frozen,
//! full or never there.

#![allow(clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "processes live in real time")]

#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "support/process.rs"]
mod process;
#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "support/redis_server.rs"]
mod redis_server;

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead as _, stdin};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use process::Process;
use redis_server::RedisServer;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tower_bearer::Secret;
use tower_bearer::client::{
    ClientAuth, Grant, RedisStore, Token, TokenClient, TokenError, TokenSource,
};
use tower_bearer::testing::{Endpoint, Fault, TestClient, TestIssuer};

const CALLERS: usize = 200;
const SECRET: &str = "p%:+/ &=s";
const SHARED_KEY: [u8; 32] = [7; 32];

/// How long getting a token may take in the processes.
const TIMEOUT: Duration = Duration::from_secs(4);

/// What the callers of one process were given.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Given {
    calls: usize,
    failures: BTreeSet<String>,
    tokens: BTreeSet<String>,
    longest_ms: u128,
}

impl Given {
    fn note(&mut self, took: Duration, token: Result<Token, TokenError>) {
        self.calls += 1;
        self.longest_ms = self.longest_ms.max(took.as_millis());
        match token {
            Ok(token) => self.tokens.insert(token.expose_secret().to_owned()),
            Err(error) => self.failures.insert(error.to_string()),
        };
    }

    /// Asserts that there were calls, and that none failed or took longer than this.
    fn assert_all_served(&self, at_least: usize, within: Duration) {
        assert!(self.failures.is_empty(), "calls failed: {self:?}");
        assert!(self.calls >= at_least, "too few calls to tell: {self:?}");
        assert!(self.longest_ms < within.as_millis(), "a call took too long: {self:?}");
    }
}

/// A process that gets tokens.
struct Worker(Process);

impl Worker {
    fn start(issuer: &TestIssuer, redis: &RedisServer) -> Self {
        Self::started(Self::command(issuer, redis))
    }

    /// Starts one that is connected to the Redis before it says so: the first of its calls would
    /// otherwise have to connect within the short time that a call to the store may take.
    fn start_connected(issuer: &TestIssuer, redis: &RedisServer) -> Self {
        let mut command = Self::command(issuer, redis);
        command.env("WORKER_CONNECTS", "1");
        Self::started(command)
    }

    fn command(issuer: &TestIssuer, redis: &RedisServer) -> Command {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "worker", "--nocapture"]);
        command.env("WORKER_ENDPOINT", issuer.token_endpoint()).env("WORKER_REDIS", redis.url());
        command
    }

    fn started(command: Command) -> Self {
        let mut worker = Self(Process::spawn(command));
        assert_eq!(worker.answer(), "ready");
        worker
    }

    /// Lets 200 callers ask for a token at once; then, for so long, every 20 milliseconds.
    fn call(&mut self, seconds: u64) {
        self.0.tell(&seconds.to_string());
    }

    async fn given(&mut self) -> Given {
        // The issuer runs here, and has to go on.
        let answer = tokio::task::block_in_place(|| self.answer());
        serde_json::from_str(&answer).unwrap()
    }

    fn answer(&mut self) -> String {
        // The test harness has things to say as well.
        while let Some(line) = self.0.line(Duration::from_secs(60)) {
            if let Some(answer) = line.strip_prefix("worker: ") {
                return answer.to_owned();
            }
        }
        panic!("the worker has ended: {}", self.0.stderr())
    }
}

#[test]
#[ignore = "it is a process of the other tests"]
fn worker() {
    let endpoint = env::var("WORKER_ENDPOINT").expect("the other tests start this one");
    let redis = RedisStore::new(env::var("WORKER_REDIS").unwrap()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let grant = Grant::endpoint(&endpoint, ClientAuth::basic("svc", SECRET));
    let grant = grant.scope("api:read").allow_loopback_http().build().unwrap();
    let client = TokenClient::builder().timeout(TIMEOUT);
    let client = client.shared(redis.clone(), Secret::new(SHARED_KEY));
    let source = client.build().unwrap().source(&grant);
    if env::var_os("WORKER_CONNECTS").is_some() {
        runtime.block_on(redis.check()).unwrap();
    }
    answer("ready");
    for line in stdin().lock().lines() {
        let duration = Duration::from_secs(line.unwrap().parse().unwrap());
        let given = runtime.block_on(calls(source.clone(), duration));
        answer(&serde_json::to_string(&given).unwrap());
    }
}

#[allow(clippy::print_stdout, reason = "it is what the process is started for")]
fn answer(text: &str) {
    println!("worker: {text}");
}

async fn calls(source: TokenSource, duration: Duration) -> Given {
    let given = Arc::new(Mutex::new(Given::default()));
    let end = Instant::now() + duration;
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (source, given) = (source.clone(), Arc::clone(&given));
            tokio::spawn(async move {
                loop {
                    let began = Instant::now();
                    let token = source.token().await;
                    given.lock().unwrap().note(began.elapsed(), token);
                    if Instant::now() >= end {
                        break;
                    }
                    sleep(Duration::from_millis(20)).await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    Arc::into_inner(given).unwrap().into_inner().unwrap()
}

async fn issuer(lifetime: Duration) -> TestIssuer {
    let issuer = TestIssuer::builder().client(TestClient::secret("svc", SECRET));
    issuer.token_lifetime(lifetime).start().await.unwrap()
}

fn fetches(issuer: &TestIssuer) -> u64 {
    issuer.counters().requests(Endpoint::Token)
}

// E9
#[tokio::test(flavor = "multi_thread")]
async fn e9_two_processes_of_200_callers_each_fetch_one_token_in_all() {
    let issuer = issuer(Duration::from_secs(600)).await;
    // Long enough for all to come while the token is being fetched.
    issuer.inject(Endpoint::Token, Fault::delay(Duration::from_millis(700)));
    let redis = RedisServer::start();
    let mut workers =
        [Worker::start_connected(&issuer, &redis), Worker::start_connected(&issuer, &redis)];
    for _ in 0..3 {
        workers.iter_mut().for_each(|worker| worker.call(0));
        let mut tokens = BTreeSet::new();
        for worker in &mut workers {
            let given = worker.given().await;
            given.assert_all_served(CALLERS, TIMEOUT);
            tokens.extend(given.tokens);
        }
        assert_eq!(tokens.len(), 1);
        assert_eq!(fetches(&issuer), 1);
    }

    // A process that comes later has it from the Redis, where it lies encrypted, without a lock.
    let mut late = Worker::start_connected(&issuer, &redis);
    late.call(0);
    let given = late.given().await;
    given.assert_all_served(CALLERS, TIMEOUT);
    assert_eq!(fetches(&issuer), 1);
    let key = redis.cli(&["keys", "*"]);
    assert!(key.starts_with("tower-bearer:token:"), "{key}");
    let stored = redis.cli(&["--no-raw", "get", &key]);
    let token = given.tokens.first().unwrap();
    assert!(stored.len() > token.len() && !stored.contains(&token[..20]), "{stored}");
    let life: i64 = redis.cli(&["ttl", &key]).parse().unwrap();
    assert!((400..600).contains(&life), "{life}");
}

// E9
#[tokio::test(flavor = "multi_thread")]
async fn e9_a_process_that_dies_while_it_fetches_holds_the_others_up_for_a_bounded_time() {
    let issuer = issuer(Duration::from_secs(600)).await;
    issuer.inject(Endpoint::Token, Fault::hang().times(1));
    let redis = RedisServer::start();
    let (mut dying, mut other) =
        (Worker::start_connected(&issuer, &redis), Worker::start_connected(&issuer, &redis));
    dying.call(0);
    issuer.wait_for_requests(Endpoint::Token, 1).await;
    other.call(0);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(fetches(&issuer), 1, "the other one waits");
    dying.0.kill();
    let given = other.given().await;
    given.assert_all_served(CALLERS, TIMEOUT);
    assert_eq!(fetches(&issuer), 2);
}

// E8
#[tokio::test(flavor = "multi_thread")]
async fn e8_a_redis_stopped_frozen_and_started_meanwhile_fails_no_call() {
    let issuer = issuer(Duration::from_secs(3)).await;
    let mut redis = RedisServer::start();
    let mut workers = [Worker::start(&issuer, &redis), Worker::start(&issuer, &redis)];
    workers.iter_mut().for_each(|worker| worker.call(14));

    sleep(Duration::from_secs(2)).await;
    redis.kill();
    sleep(Duration::from_secs(4)).await;
    redis.start_again();
    sleep(Duration::from_secs(3)).await;
    redis.freeze();
    sleep(Duration::from_secs(3)).await;
    redis.thaw();
    for worker in &mut workers {
        let given = worker.given().await;
        given.assert_all_served(50 * CALLERS, Duration::from_secs(2));
    }
    // Two processes that share nothing replace a token of three seconds every 2.1 at the earliest.
    let fetched = fetches(&issuer);
    assert!(fetched <= 2 * (14 * 10 / 21 + 2), "{fetched}");

    // They find together again.
    workers.iter_mut().for_each(|worker| worker.call(6));
    let [one, other] = &mut workers;
    let (one, other) = (one.given().await, other.given().await);
    one.assert_all_served(50 * CALLERS, Duration::from_secs(2));
    other.assert_all_served(50 * CALLERS, Duration::from_secs(2));
    assert!(one.tokens.intersection(&other.tokens).count() > 0, "nothing was shared");
}

// E8
#[tokio::test(flavor = "multi_thread")]
async fn e8_without_a_working_redis_each_process_fetches_for_itself() {
    let issuer = issuer(Duration::from_secs(600)).await;
    let mut gone = RedisServer::start();
    gone.kill();
    let frozen = RedisServer::start();
    frozen.freeze();
    let full = RedisServer::start_with(&["--maxmemory", "1"]);
    let locked = RedisServer::start_with(&["--requirepass", "another"]);
    for (count, redis) in (1..).zip([&gone, &frozen, &full, &locked]) {
        let mut worker = Worker::start(&issuer, redis);
        worker.call(0);
        worker.given().await.assert_all_served(CALLERS, Duration::from_secs(2));
        assert_eq!(fetches(&issuer), count);
    }
}
