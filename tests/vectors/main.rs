//! The attacks of `fixtures/`, row by row through the public API, with each crypto backend.
//!
//! A row names the rule that it is about; the last test sees to it that every rule is there, refused and
//! accepted.
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]

mod corpus;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::task::Poll;
use std::time::Duration;

use serde_json::{Map, Value};
use tower_bearer::jose::{Algorithm, Backend, HmacAlgorithm};
use tower_bearer::jwks::Jwks;
use tower_bearer::token::ScopeSource;
use tower_bearer::{
    AccessToken, Clock, ConfigError, Implications, Requirement, Scope, Secret, UnixTime, Validator,
};

use crate::corpus::{FieldsRow, Row, Text, read, rows};

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "https://api.example";
const NOW: i64 = 1_800_000_000;

#[derive(Debug)]
struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_secs(NOW)
    }
}

const BACKENDS: &[Backend] = &[
    #[cfg(feature = "aws-lc-rs")]
    Backend::AwsLcRs,
    #[cfg(feature = "rust-crypto")]
    Backend::RustCrypto,
];

fn validator(row: &Row, backend: Backend) -> Result<Validator<Map<String, Value>>, ConfigError> {
    let settings = &row.settings;
    let issuer = settings.issuer.as_deref().unwrap_or(ISSUER);
    let (first, more) = match &settings.audiences {
        Some(audiences) => audiences.split_first().map(|(one, more)| (one.as_str(), more)).unwrap(),
        None => (settings.audience.as_deref().unwrap_or(AUDIENCE), [].as_slice()),
    };
    let mut builder = Validator::builder(issuer, first).claims().clock(FixedClock);
    for audience in more {
        builder = builder.also_audience(audience);
    }
    builder = match &settings.shared_secret {
        Some(secret) => {
            let algorithm = match settings.shared_algorithm.as_deref().unwrap() {
                "HS256" => HmacAlgorithm::HS256,
                "HS384" => HmacAlgorithm::HS384,
                "HS512" => HmacAlgorithm::HS512,
                other => panic!("{other}"),
            };
            builder.dangerous_shared_secret(algorithm, Secret::new(secret.as_bytes()))
        }
        None => {
            let text = match &row.jwks {
                Text::Whole(file) => read(&format!("jwks/{file}")),
                parts @ Text::Parts(_) => parts.write_out(),
            };
            builder.keys(Jwks::static_set_with(issuer, &text, backend)?)
        }
    };
    if let Some(names) = &settings.algorithms {
        builder = builder.algorithms(names.iter().map(|name| Algorithm::from_name(name).unwrap()));
    }
    if let Some(secs) = settings.leeway {
        builder = builder.leeway(Duration::from_secs(secs));
    }
    if let Some(secs) = settings.max_age {
        builder = builder.max_age(Duration::from_secs(secs));
    }
    match settings.profile.as_deref() {
        None => {}
        Some("rfc9068") => builder = builder.rfc9068(),
        Some(other) => panic!("{other}"),
    }
    match settings.scope_source.as_deref() {
        None => {}
        Some("auth0") => builder = builder.scope_source(ScopeSource::auth0_permissions()),
        Some("entra") => builder = builder.scope_source(ScopeSource::entra()),
        Some("keycloak") => builder = builder.scope_source(ScopeSource::keycloak_realm_roles()),
        Some(other) => {
            builder =
                builder.scope_source(ScopeSource::claim(other.strip_prefix("claim:").unwrap())?);
        }
    }
    builder.build()
}

fn requirement(row: &Row) -> Requirement {
    let scopes = row.settings.requires.as_deref().unwrap_or_default();
    Requirement::all(scopes.split_whitespace().map(|scope| Scope::new(scope).unwrap()))
}

/// The verdict on a row: `accepted`, `invalid_config`, or the code of the refusal.
fn verdict(row: &Row, backend: Backend) -> &'static str {
    let Ok(validator) = validator(row, backend) else { return "invalid_config" };
    let token = row.token.write_out();
    // With keys at hand, every verdict is there at once: nothing waits.
    let checked = match tokio_test::task::spawn(validator.validate(&token)).poll() {
        Poll::Ready(checked) => checked,
        Poll::Pending => panic!("{} {}: waits", row.id, row.name),
    };
    match checked {
        Ok(token) => {
            check_claims(row, &token);
            if requirement(row).is_met_by(token.scopes(), &Implications::default()) {
                "accepted"
            } else {
                "insufficient_scope"
            }
        }
        Err(refusal) => refusal.code(),
    }
}

fn check_claims(row: &Row, token: &AccessToken<Map<String, Value>>) {
    let what = format!("{} {}", row.id, row.name);
    if let Some(scopes) = &row.scopes {
        assert_eq!(token.scopes().to_string(), *scopes, "{what}");
    }
    for (name, value) in row.claims.iter().flatten() {
        match name.as_str() {
            "sub" => assert_eq!(token.subject(), value.as_str(), "{what}"),
            "client_id" => assert_eq!(token.client_id(), value.as_str(), "{what}"),
            _ => assert_eq!(token.extra().get(name), Some(value), "{what}: {name}"),
        }
    }
}

fn expected(row: &Row, backend: Backend) -> &str {
    #[cfg(feature = "rust-crypto")]
    if backend == Backend::RustCrypto {
        return row.expect_rust_crypto.as_deref().unwrap_or(&row.expect);
    }
    let _ = backend;
    &row.expect
}

fn run(group: &str) {
    let mut wrong = Vec::new();
    let rows: Vec<Row> = rows(group);
    for row in &rows {
        for backend in BACKENDS {
            let (verdict, expected) = (verdict(row, *backend), expected(row, *backend));
            if verdict != expected {
                wrong.push(format!(
                    "{} {} ({backend:?}): {verdict}, expected {expected}",
                    row.id, row.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), rows.len());
}

// J1 to J25
#[test]
fn j_tokens_are_read_strictly() {
    run("j_structure");
}

// K1 to K20
#[test]
fn k_keys_and_signatures_are_checked_strictly() {
    run("k_keys");
}

// C1 to C21
#[test]
fn c_claims_are_held_against_the_policy() {
    run("c_claims");
}

#[test]
fn defects_of_other_libraries_are_not_here() {
    run("peers");
}

const TOKEN_GROUPS: [&str; 4] = ["j_structure", "k_keys", "c_claims", "peers"];

/// The rules that have no row, or only one of an attack and its twin, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("K21", "the published vectors are run by tests/wycheproof.rs"),
    ("C22", "there is one issuer so far"),
    ("C23", "there is no hook for revocation so far"),
];

#[test]
fn every_line_is_there_as_attack_and_as_harmless_twin() {
    let mut seen: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    for group in TOKEN_GROUPS {
        for row in rows::<Row>(group) {
            seen.entry(row.id).or_default().insert(row.expect == "accepted");
        }
    }
    for row in rows::<FieldsRow>("x_credentials") {
        seen.entry(row.id).or_default().insert(row.expect == "accepted");
    }
    let lines = |letter, numbers: &[u8]| -> Vec<String> {
        numbers.iter().map(|number| format!("{letter}{number}")).collect()
    };
    let range = |last: u8| (1..=last).collect::<Vec<_>>();
    let expected = [
        lines("X", &[1, 2, 3, 4, 5, 6, 12, 13, 14, 16, 17]),
        lines("J", &range(25)),
        lines("K", &range(21)),
        lines("C", &range(23)),
        lines("PD", &range(18)),
    ]
    .concat();
    let mut wrong = Vec::new();
    for line in &expected {
        let whole = seen.get(line).is_some_and(|verdicts| verdicts.len() == 2);
        let excepted = EXCEPTIONS.iter().any(|(id, _)| id == line);
        if whole == excepted {
            wrong.push(line);
        }
    }
    assert!(wrong.is_empty(), "one-sided, absent, or needlessly excepted: {wrong:?}");
    let unknown: Vec<_> = seen.keys().filter(|id| !expected.contains(id)).collect();
    assert!(unknown.is_empty(), "no such line: {unknown:?}");
}

// The backends may differ only in what one of them doesn't have.
#[test]
fn the_backends_differ_in_es512_and_in_rsa_beyond_4096_bits_only() {
    let mut differing = 0;
    for group in TOKEN_GROUPS {
        for row in rows::<Row>(group) {
            if row.expect_rust_crypto.is_some() {
                differing += 1;
                let known = row.name.contains("ES512") || row.name.contains("8192 bits");
                assert!(known, "{} {}", row.id, row.name);
            }
        }
    }
    assert!(differing > 0);
}
