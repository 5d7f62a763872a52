//! Random changes to good proofs: none is accepted, and whether a proof's header is known from an earlier
//! one or isn't, it comes to the same.
//!
//! The suite tries some ten thousand fields. To search for longer, and from another start:
//!
//! ```text
//! DPOP_CASES=1000000 DPOP_SEED=7 cargo test --all-features --test dpop whatever_the_field -- --nocapture
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tower::Layer as _;
use tower_bearer::BearerAuthLayer;
use tower_bearer::jose::Algorithm;
use tower_bearer::testing::{TestKey, TestProof};

use crate::service::{Service, World, accept, proved, verdict};
use crate::world::{Answer, send};

#[derive(Clone, Debug)]
enum Change {
    /// One character of the text.
    Character(prop::sample::Index, u8),
    /// One byte of the header or the claims, which is signed by nobody.
    Byte(bool, prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Swap,
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        4 => (at(), 0x21..0x7f_u8).prop_map(|(at, to)| Change::Character(at, to)),
        4 => (any::<bool>(), at(), any::<u8>()).prop_map(|(it, at, to)| Change::Byte(it, at, to)),
        1 => at().prop_map(Change::Cut),
        1 => (at(), prop::collection::vec(0x21..0x7f_u8, 1..8)).prop_map(|(at, it)| Change::Insert(at, it)),
        1 => Just(Change::Swap),
    ]
}

fn apply(proof: &str, change: &Change) -> Vec<u8> {
    let mut bytes = proof.as_bytes().to_vec();
    match change {
        Change::Character(at, to) => {
            let at = at.index(bytes.len());
            bytes[at] = *to;
        }
        Change::Byte(in_header, at, to) => {
            let mut parts: Vec<_> = proof.split('.').map(str::to_owned).collect();
            let part = &mut parts[usize::from(!in_header)];
            let mut decoded = BASE64_URL_SAFE_NO_PAD.decode(&part).unwrap();
            let at = at.index(decoded.len());
            decoded[at] = *to;
            *part = BASE64_URL_SAFE_NO_PAD.encode(decoded);
            bytes = parts.join(".").into_bytes();
        }
        Change::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Change::Insert(at, more) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, more.iter().copied());
        }
        Change::Swap => {
            let parts: Vec<_> = proof.split('.').collect();
            bytes = [parts[1], parts[0], parts[2]].join(".").into_bytes();
        }
    }
    bytes
}

/// Two services: the first remembers no token, and so no header either; the second one knows the header of
/// the client's proofs.
fn unknown_and_known(
    world: &World,
    token: &str,
    runtime: &tokio::runtime::Runtime,
) -> [Service; 2] {
    let validator = |entries| world.builder(accept().replay_bytes(1 << 20)).cache_entries(entries);
    let services = [0, 16].map(|entries| {
        BearerAuthLayer::new(validator(entries).build().unwrap()).layer(world.inner.clone())
    });
    for service in &services {
        let proof = world.proof("GET", "/", token).sign();
        let answer = runtime.block_on(send(service, proved("GET", "/", token, &proof)));
        assert_eq!(verdict(&answer), "accepted");
    }
    services
}

/// What was decided, in all words.
fn decided(answer: &Answer) -> (u16, Option<String>) {
    (answer.status(), answer.refusal().map(ToString::to_string))
}

#[test]
fn d84_of_10_000_changed_proofs_none_is_accepted() {
    let world = World::new();
    let token = world.bound("");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let services = unknown_and_known(&world, &token, &runtime);
    let config = Config { cases: 10_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let proofs: Vec<_> = (0..20).map(|_| world.proof("GET", "/", &token).sign()).collect();
    let strategy = (prop::sample::select(proofs.clone()), change());
    runner
        .run(&strategy, |(proof, change)| {
            let changed = apply(&proof, &change);
            let Ok(value) = http::HeaderValue::from_bytes(&changed) else { return Ok(()) };
            prop_assume!(changed != proof.as_bytes());
            let [unknown, known] = services.each_ref().map(|service| {
                let mut request = proved("GET", "/", &token, "");
                request.headers_mut().insert("dpop", value.clone());
                runtime.block_on(send(service, request))
            });
            prop_assert_ne!(verdict(&known), "accepted");
            prop_assert_eq!(known.status(), 401);
            prop_assert_eq!(decided(&unknown), decided(&known));
            Ok(())
        })
        .unwrap();
    // The unchanged ones were used up by none of them.
    for (proof, service) in
        proofs.iter().flat_map(|proof| services.each_ref().map(|it| (proof, it)))
    {
        let answer = runtime.block_on(send(service, proved("GET", "/", &token, proof)));
        assert_eq!(verdict(&answer), "accepted");
    }
}

/// SplitMix64: the same cases for the same seed, on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n).unwrap()).unwrap()
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// Bytes that a field may have, of any length up to this.
    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let legal = |byte: &u8| matches!(byte, b'\t' | 0x20..=0x7e | 0x80..);
        let length = self.below(most + 1);
        std::iter::from_fn(|| Some(self.next().to_le_bytes()[0]))
            .filter(legal)
            .take(length)
            .collect()
    }

    /// An object of members that a proof has, or something that is none.
    fn json(&mut self, depth: usize) -> String {
        const NAMES: [&str; 22] = [
            "typ",
            "alg",
            "jwk",
            "kty",
            "crv",
            "x",
            "y",
            "n",
            "e",
            "pub",
            "d",
            "crit",
            "b64",
            "jti",
            "htm",
            "htu",
            "iat",
            "ath",
            "nonce",
            "exp",
            "nbf",
            "\\u0061lg",
        ];
        const VALUES: [&str; 24] = [
            "\"dpop+jwt\"",
            "\"ES256\"",
            "\"EdDSA\"",
            "\"EC\"",
            "\"OKP\"",
            "\"AKP\"",
            "\"P-256\"",
            "\"AQAB\"",
            "\"GET\"",
            "\"https://api.example/\"",
            "1800000000",
            "1e99",
            "-0",
            "1800000000.5",
            "null",
            "true",
            "[]",
            "{}",
            "\"\"",
            "\"\\ud800\"",
            "\"\\u0000\"",
            "18446744073709551616",
            "[[[[",
            "\"",
        ];
        let mut members = Vec::new();
        for _ in 0..self.below(12) {
            let value = match self.below(6) {
                0 if depth > 0 => self.json(depth - 1),
                _ => self.pick(&VALUES).to_owned(),
            };
            members.push(format!("\"{}\":{value}", self.pick(&NAMES)));
        }
        let end = if self.below(20) == 0 { "" } else { "}" };
        format!("{{{}{end}", members.join(","))
    }

    fn field(&mut self, good: &[String]) -> Vec<u8> {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let proof = good[self.below(good.len())].as_str();
        let mut parts: Vec<String> = proof.split('.').map(str::to_owned).collect();
        match self.below(5) {
            // Changes to a good one, one after the other.
            0 | 1 => {
                let mut bytes = proof.as_bytes().to_vec();
                for _ in 0..=self.below(4) {
                    let (from, to) = (self.below(bytes.len() + 1), self.below(bytes.len() + 1));
                    let (from, to) = (from.min(to), from.max(to));
                    let more = self.bytes(6);
                    match self.below(4) {
                        0 => bytes.truncate(to),
                        1 => drop(bytes.splice(from..to.min(from + 8), more)),
                        2 => drop(bytes.splice(from..from, more)),
                        _ => {
                            let copy = bytes[from..to].to_vec();
                            drop(bytes.splice(to..to, copy));
                        }
                    }
                }
                bytes
            }
            2 => self.bytes(300),
            // Three parts, of which some are those of a good one.
            kind => {
                for part in &mut parts {
                    *part = match (kind, self.below(4)) {
                        (_, 0) => continue,
                        (3, _) => encode(self.json(3).as_bytes()),
                        _ => encode(&self.bytes(200)),
                    };
                }
                parts.join(".").into_bytes()
            }
        }
    }
}

// D84: no panic, and nothing but a refusal.
#[test]
fn d84_whatever_the_field_holds_it_is_refused_and_nothing_panics() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |value| value.parse().unwrap())
    };
    let (cases, seed) = (number("DPOP_CASES", 10_000), number("DPOP_SEED", 1));
    let world = World::new();
    let token = world.bound("");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let services = unknown_and_known(&world, &token, &runtime);
    let good: Vec<_> = (0..20).map(|_| world.proof("GET", "/", &token).sign()).collect();
    let (mut random, mut kinds) = (Random(seed), BTreeMap::new());
    for case in 0..cases {
        let field = random.field(&good);
        if good.iter().any(|proof| proof.as_bytes() == field.trim_ascii()) {
            continue;
        }
        let value = http::HeaderValue::from_bytes(&field).unwrap();
        let [unknown, known] = services.each_ref().map(|service| {
            let mut request = proved("GET", "/", &token, "");
            request.headers_mut().insert("dpop", value.clone());
            runtime.block_on(send(service, request))
        });
        let what = || format!("seed {seed}, case {case}: {value:?}");
        assert_eq!(known.status(), 401, "{}", what());
        assert_eq!(decided(&unknown), decided(&known), "{}", what());
        *kinds.entry(verdict(&known)).or_insert(0_u64) += 1;
    }
    println!("{cases} fields from seed {seed}: {kinds:?}");
    // Some came past the parser, whatever the seed.
    for kind in ["dpop_proof_bad_signature", "dpop_proof_malformed", "dpop_proof_missing"] {
        assert!(kinds.contains_key(kind), "{kind}: {kinds:?}");
    }
}

type Fault = fn(TestProof, &TestKey) -> TestProof;

/// What a client may do wrong, and still sign.
const FAULTS: [Fault; 12] = [
    |proof, _| proof.method("POST"),
    |proof, _| proof.uri("https://api.example/other"),
    |proof, _| proof.token("another"),
    |proof, _| proof.issued_ago(Duration::from_secs(66)),
    |proof, _| proof.issued_in(Duration::from_secs(6)),
    |proof, _| proof.without_claim("jti"),
    |proof, _| proof.without_claim("ath"),
    |proof, _| proof.claim("exp", 1),
    |proof, _| proof.wrong_signature(),
    |proof, _| proof.typ("JWT"),
    |proof, _| proof.header("kid", "k"),
    |proof, other| proof.jwk_of(other),
];

#[test]
fn d53_what_a_proof_comes_to_depends_on_no_earlier_one_with_its_header() {
    let world = World::new();
    let token = world.bound("");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let services = unknown_and_known(&world, &token, &runtime);
    let other = TestKey::generate(Algorithm::ES256);
    let config = Config { cases: 600, failure_persistence: None, ..Config::default() };
    let faults = prop::collection::vec(prop::sample::select(&FAULTS[..]), 0..3);
    let kinds = RefCell::new(BTreeMap::new());
    TestRunner::new(config)
        .run(&(faults, 0..200_u32), |(faults, number)| {
            let proof = world.proof("GET", "/", &token).jti(&number.to_string());
            let proof = faults.iter().fold(proof, |proof, fault| fault(proof, &other)).sign();
            let [unknown, known] = services
                .each_ref()
                .map(|service| runtime.block_on(send(service, proved("GET", "/", &token, &proof))));
            prop_assert_eq!(decided(&unknown), decided(&known));
            *kinds.borrow_mut().entry(verdict(&known)).or_insert(0) += 1;
            Ok(())
        })
        .unwrap();
    let expected = [
        "accepted",
        "dpop_key_mismatch",
        "dpop_proof_bad_signature",
        "dpop_proof_malformed",
        "dpop_proof_mismatch",
        "dpop_proof_out_of_time",
        "dpop_proof_replayed",
    ];
    let kinds = kinds.into_inner();
    assert_eq!(kinds.keys().copied().collect::<Vec<_>>(), expected, "{kinds:?}");
}
