//! What `cache_bytes` promises holds for the memory that the process has, whatever a holder of valid
//! tokens can get into their claims, and whatever type the application reads them into.
#![cfg(all(feature = "test-util", target_os = "linux"))]
#![allow(dead_code, reason = "claims are only held")]

mod world;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tower_bearer::Validator;
use tower_bearer::jwks::Jwks;
use world::{AUDIENCE, ISSUER, Issuer, now};

const MIB: usize = 1_024 * 1_024;
/// The default of `cache_bytes`.
const CACHE_BYTES: usize = 32 * MIB;
/// The most that the process may grow by. Beside the cache that is the code, which comes into memory
/// when it is first used, the claims being read, and what the allocator can't give away again.
const ALLOWED: usize = 96 * MIB;

/// Returns how much of the process is in memory.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1_024
}

/// How many items a value counts for, at most: a token has 4 096.
fn items(value: &str) -> usize {
    1 + value.matches(['[', '{', ',']).count()
}

/// As much as fits into a token of 16 KiB.
fn list(element: &str) -> String {
    let count = (11_000 / (element.len() + 1)).min(4_000 / items(element));
    format!("[{}]", vec![element; count].join(","))
}

fn object(value: &str) -> String {
    let count = (11_000 / (value.len() + 7)).min(3_900 / items(value));
    let members: Vec<_> = (0..count).map(|at| format!("\"{at:03x}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

fn nested(open: &str, close: &str) -> String {
    format!("{}0{}", open.repeat(13), close.repeat(13))
}

/// Fills a cache with tokens whose claim `x` is this; returns how large the process became.
async fn fill<C: DeserializeOwned + Send + Sync + 'static>(
    issuer: &Issuer,
    x: &str,
    tokens: usize,
) -> usize {
    let keys = Jwks::static_set(ISSUER, &issuer.jwks_json()).unwrap();
    let builder = Validator::builder(ISSUER, AUDIENCE).claims::<C>().keys(keys);
    let validator = builder.cache_bytes(CACHE_BYTES).build().unwrap();
    let header = json!({ "alg": "EdDSA", "kid": issuer.key.kid() }).to_string();
    let mut most = 0;
    for jti in 0..tokens {
        let claims =
            json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": now() + 600, "jti": jti.to_string() });
        let claims = claims.to_string();
        let claims = format!("{},\"x\":{x}}}", claims.strip_suffix('}').unwrap());
        let token = issuer.key.sign(&header, claims);
        assert!(token.len() <= 16 * 1_024, "{} bytes of {x:.40}", token.len());
        validator.validate(&token).await.unwrap_or_else(|refusal| panic!("{refusal}: {x:.40}"));
        if jti % 32 == 31 {
            most = most.max(resident());
        }
    }
    most
}

#[derive(Deserialize)]
struct Of<T> {
    x: T,
}

/// A list as some languages have them: each element in an allocation of its own.
#[derive(Deserialize)]
struct Chain {
    a: Option<Box<Self>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Tree {
    Leaf(Box<Option<f64>>),
    Text(Box<str>),
    List(Vec<Self>),
    Object(BTreeMap<String, Self>),
}

/// Much larger than what it is read from.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wide {
    numbers: Option<[u64; 30]>,
    text: String,
}

#[derive(Deserialize)]
struct Flat {
    #[serde(flatten)]
    all: HashMap<String, Value>,
}

#[tokio::test]
async fn fa8_the_cache_stays_within_its_bytes_whatever_the_claims_are() {
    let issuer = Issuer::new();
    let start = resident();
    let check = |what: &str, most: usize| {
        let grown = most.saturating_sub(start);
        eprintln!("{what}: {} MiB more", grown / MIB);
        assert!(grown <= ALLOWED, "{what}: {} MiB more", grown / MIB);
    };
    let shapes = [
        ("tiny members", object("0")),
        ("empty arrays", list("[]")),
        ("empty objects", list("{}")),
        ("objects of one member", list("{\"\":0}")),
        ("members of one member", object("{\"\":0}")),
        ("nested arrays", list(&nested("[", "]"))),
        ("nested objects", list(&nested("{\"\":", "}"))),
        ("short texts", list("\"\"")),
        ("numbers", list("0")),
        ("a long text", format!("\"{}\"", "x".repeat(11_000))),
        ("escapes", format!("\"{}\"", "\\n".repeat(5_000))),
    ];
    for (what, x) in &shapes {
        check(what, fill::<Value>(&issuer, x, 60).await);
    }
    let nested_objects = shapes[6].1.as_str();
    check("a tree", fill::<Value>(&issuer, nested_objects, 200).await);
    check("a map", fill::<Map<String, Value>>(&issuer, nested_objects, 120).await);
    check("flattened", fill::<Flat>(&issuer, nested_objects, 60).await);
    check("untagged", fill::<Of<Tree>>(&issuer, nested_objects, 60).await);
    let lists = object("[0]");
    check("a map of lists", fill::<Of<HashMap<String, Vec<Value>>>>(&issuer, &lists, 60).await);
    let sets = object("[\"\"]");
    check("a map of sets", fill::<Of<BTreeMap<String, HashSet<String>>>>(&issuer, &sets, 60).await);
    check("sets", fill::<Of<Vec<BTreeSet<String>>>>(&issuer, &list("[\"\"]"), 60).await);
    let chains = list(&nested("{\"a\":", "}").replace('0', "null"));
    check("chains", fill::<Of<Vec<Chain>>>(&issuer, &chains, 60).await);
    check("boxes", fill::<Of<Vec<Box<u8>>>>(&issuer, &list("0"), 60).await);
    check("boxed slices", fill::<Of<Box<[Box<str>]>>>(&issuer, &list("\"\""), 60).await);
    check("wide elements", fill::<Of<Vec<Wide>>>(&issuer, &list("{}"), 60).await);
    check("wide options", fill::<Of<Vec<Vec<Wide>>>>(&issuer, &list("[{}]"), 60).await);
    check("raw texts", fill::<Of<Vec<Box<RawValue>>>>(&issuer, &list("0"), 60).await);
    check("tuples", fill::<Of<Vec<(Box<u8>, Vec<u8>)>>>(&issuer, &list("[0,[0]]"), 60).await);
}

#[tokio::test]
async fn fa8_audiences_count_too() {
    let issuer = Issuer::new();
    let keys = Jwks::static_set(ISSUER, &issuer.jwks_json()).unwrap();
    let header = json!({ "alg": "EdDSA", "kid": issuer.key.kid() }).to_string();
    let aud: Vec<&str> = vec![""; 3_000].into_iter().chain([AUDIENCE]).collect();
    let claims = json!({ "iss": ISSUER, "aud": aud, "exp": now() + 600 }).to_string();
    let token = issuer.key.sign(header, claims);
    // A place has eight bytes, and there may be twice as many as there are audiences.
    let enough = 2 * token.len() + 1_024;
    for (bytes, remembered) in [(enough, false), (enough + 16 * 3_001, true)] {
        let builder = Validator::builder(ISSUER, AUDIENCE).keys(keys.clone());
        let validator = builder.cache_bytes(bytes).build().unwrap();
        let first = validator.validate(&token).await.unwrap();
        let again = validator.validate(&token).await.unwrap();
        assert_eq!(std::ptr::eq(first.claims(), again.claims()), remembered, "{bytes}");
    }
}

/// What honest tokens cost stays near what they hold.
#[tokio::test]
async fn fa8_thousands_of_honest_tokens_are_remembered() {
    async fn remembered<C: DeserializeOwned + Send + Sync + 'static>(issuer: &Issuer) -> usize {
        let keys = Jwks::static_set(ISSUER, &issuer.jwks_json()).unwrap();
        let builder = Validator::builder(ISSUER, AUDIENCE).claims::<C>().keys(keys);
        let validator = builder.cache_bytes(CACHE_BYTES / 16).build().unwrap();
        let tokens: Vec<_> = (0..1_000)
            .map(|jti| {
                issuer.token_with(json!({
                    "jti": jti.to_string(), "scope": "orders:read orders:write", "acr": "1",
                    "tenant": "6f5f1e0c-2f0a-4f6e-9d0e-6c5f3d0c9b11", "azp": "web", "sid": "s",
                    "realm_access": { "roles": ["reader", "writer", "offline_access"] },
                    "name": "Alice Example", "email": "alice@example.com", "email_verified": true,
                }))
            })
            .collect();
        let mut first = Vec::new();
        for token in &tokens {
            first.push(validator.validate(token).await.unwrap());
        }
        let mut remembered = 0;
        for (token, first) in tokens.iter().zip(&first).rev() {
            let again = validator.validate(token).await.unwrap();
            remembered += usize::from(std::ptr::eq(first.claims(), again.claims()));
        }
        remembered
    }
    #[derive(Deserialize)]
    struct Tenant {
        tenant: String,
        realm_access: Roles,
    }
    #[derive(Deserialize)]
    struct Roles {
        roles: Vec<String>,
    }
    let issuer = Issuer::new();
    let own = remembered::<tower_bearer::NoClaims>(&issuer).await;
    let typed = remembered::<Tenant>(&issuer).await;
    let tree = remembered::<Value>(&issuer).await;
    eprintln!("of 1 000 tokens in 2 MiB: {own} without claims, {typed} with some, {tree} as trees");
    assert!(own > 800 && typed > own / 2 && tree > own / 8, "{own} {typed} {tree}");
}
