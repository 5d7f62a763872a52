//! Callers make up issuers, each of them once: nothing is fetched for them, and nothing of them is kept beyond
//! a bound.
//!
//! `MADE_UP_ISSUERS=1000000 cargo test --all-features --test made_up_issuers` sends more.
#![cfg(all(feature = "test-util", target_os = "linux"))]
#![allow(clippy::arithmetic_side_effects, clippy::panic, clippy::unwrap_used)]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use tower_bearer::issuers::{Issuer, Tenants};
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport, TestKey};
use tower_bearer::{Refusal, RejectionKind, Validator};

const AUDIENCE: &str = "https://api.example";
/// The most that the process may grow while they come. The names alone have three times that, if 100 000 come.
const MAX_GROWTH: usize = 4 * 1_024 * 1_024;
/// So long that it shows if they are kept: as long as a placeholder matches.
const NAME: usize = 128;
const DIGITS: usize = 10;

fn count() -> usize {
    std::env::var("MADE_UP_ISSUERS").map_or(100_000, |count| count.parse().unwrap())
}

/// Returns how much of the process is in memory.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1_024
}

/// Tokens that nobody has signed, each of another issuer.
struct Tokens {
    /// All before the claims' last bytes, which differ.
    start: String,
}

impl Tokens {
    fn new() -> Self {
        let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let header = part(r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k"}"#);
        let filled = "x".repeat(NAME - DIGITS);
        let mut claims = format!(
            r#"{{"aud":"{AUDIENCE}","exp":32503680000,"iss":"https://login.example/realms/{filled}"#
        );
        // What comes next begins a group of base64.
        while claims.len() % 3 != 0 {
            claims.insert(1, ' ');
        }
        Self { start: format!("{header}.{}", part(&claims)) }
    }

    fn token(&self, number: usize) -> String {
        let end = BASE64_URL_SAFE_NO_PAD.encode(format!("{number:0>DIGITS$}\"}}"));
        [&self.start, &*end, ".AA"].concat()
    }
}

/// Sends a token of each, and returns by how much the process grew, but for the first tenth of them.
async fn flood(validator: &Validator) -> usize {
    let (count, tokens) = (count(), Tokens::new());
    let mut at_first = 0;
    for number in 0..count {
        if number == count / 10 {
            at_first = resident();
        }
        match validator.validate(&tokens.token(number)).await {
            Err(Refusal::Rejection(it)) if it.kind() == RejectionKind::WrongIssuer => {}
            other => panic!("{number}: {other:?}"),
        }
    }
    resident().saturating_sub(at_first)
}

fn serving(keys: &str) -> ScriptedTransport {
    let keys = keys.to_owned();
    ScriptedTransport::from_fn(move |_| ScriptedAnswer::json(keys.clone()))
}

/// One after the other, since they look at the process's memory.
#[tokio::test]
async fn made_up_issuers_are_refused_at_no_cost_in_memory_and_fetches() {
    let key = TestKey::generate(Algorithm::EdDSA).with_kid("k");
    let set = json!({ "keys": [key.public_jwk()] }).to_string();
    // By a list.
    let transport = serving(&set);
    let issuers = ["https://a.example", "https://b.example"].map(|name| {
        let keys = Jwks::url(name, format!("{name}/jwks")).transport(transport.clone());
        Issuer::new(name, AUDIENCE).keys(keys)
    });
    let validator = Validator::issuers(issuers).build().unwrap();
    for name in ["https://a.example", "https://b.example"] {
        validator.jwks_of(name).unwrap().refresh().await.unwrap();
    }
    let fetched = transport.request_count();
    let grown = flood(&validator).await;
    assert!(grown <= MAX_GROWTH, "by a list: {grown} bytes");
    assert_eq!(transport.request_count(), fetched);

    // By a pattern that all of them match, and a resolver that knows none.
    let (transport, asked) = (serving(&set), Arc::<AtomicUsize>::default());
    let resolver = {
        let asked = Arc::clone(&asked);
        move |_| {
            asked.fetch_add(1, Ordering::Relaxed);
            async { Ok(None) }
        }
    };
    let tenants = Tenants::new("https://login.example/realms/{realm}", resolver);
    let tenants = tenants.transport(transport.clone());
    let validator = Validator::issuers([]).tenants(tenants).build().unwrap();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let grown = flood(&validator).await;
    assert!(grown <= MAX_GROWTH, "by a pattern: {grown} bytes");
    assert_eq!((transport.request_count(), asked.load(Ordering::Relaxed)), (0, count()));
    tokio::task::yield_now().await;
    assert!(tasks() <= before + 1, "{} tasks", tasks() - before);
}
