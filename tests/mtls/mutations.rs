//! Random changes to what proxies send: none of it is a panic, and none is taken for the certificate unless
//! it still says the same one.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::fields::{alb_pem, escaped_pem, preset};
use crate::service::{PROXY, Vector, World, behind, from, vectors, verdict};
use crate::world::send;

#[derive(Clone, Debug)]
enum Change {
    Character(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Remove(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Repeat(prop::sample::Index, prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    // What has a meaning somewhere, and whatever else a field may hold.
    let byte = || {
        prop_oneof![
            1 => 0x20..0x7f_u8,
            1 => prop::sample::select(b":;,=\"\\%+/- \tA0".to_vec()),
            1 => 0x80..=0xff_u8,
        ]
    };
    prop_oneof![
        4 => (at(), byte()).prop_map(|(at, to)| Change::Character(at, to)),
        1 => at().prop_map(Change::Cut),
        2 => at().prop_map(Change::Remove),
        2 => (at(), prop::collection::vec(byte(), 1..8)).prop_map(|(at, it)| Change::Insert(at, it)),
        1 => (at(), at()).prop_map(|(from, to)| Change::Repeat(from, to)),
    ]
}

fn apply(field: &[u8], change: &Change) -> Vec<u8> {
    let mut bytes = field.to_vec();
    match change {
        Change::Character(at, to) => {
            let at = at.index(bytes.len());
            bytes[at] = *to;
        }
        Change::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Change::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
        Change::Insert(at, more) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, more.iter().copied());
        }
        Change::Repeat(from, to) => {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            let part = bytes[from.min(to)..from.max(to)].to_vec();
            bytes.extend(part);
        }
    }
    bytes
}

/// What a certificate looks like in each format, without what may differ between proxies.
fn meant(preset: &str, field: &[u8]) -> Vec<u8> {
    let decoded: Vec<u8> = match preset {
        "nginx" | "alb" => percent_encoding::percent_decode(field).collect(),
        "envoy" => field.to_ascii_lowercase(),
        _ => field.to_vec(),
    };
    decoded.into_iter().filter(|byte| !byte.is_ascii_whitespace()).collect()
}

fn written(certificate: &Vector) -> [(&'static str, String); 6] {
    [
        ("rfc9440", format!(":{}:", certificate.der)),
        ("envoy", format!("Hash={}", certificate.sha256)),
        ("envoy", format!("Hash={};Cert=\"{}\"", certificate.sha256, escaped_pem(certificate))),
        ("nginx", escaped_pem(certificate)),
        ("alb", alb_pem(certificate)),
        ("base64_der", certificate.der.clone()),
    ]
}

#[test]
fn mt26_of_10_000_changed_fields_none_is_accepted_that_means_something_else() {
    let world = World::new();
    let [own, other] = vectors();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let config = Config { cases: 10_000, failure_persistence: None, ..Config::default() };
    let services: Vec<_> = written(&own)
        .into_iter()
        .zip(written(&other))
        .map(|((name, field), (_, of_other))| {
            let (header, header_name) = preset(name);
            (name, header_name, field, of_other, world.service(behind(header)))
        })
        .collect();
    let (token, not_its) = (world.bound(&own), world.bound(&other));
    let mut refused = 0_u32;
    let mut runner = TestRunner::new(config);
    let strategy = (0..services.len(), prop::collection::vec(change(), 1..4));
    let count = std::cell::Cell::new(0_u32);
    runner
        .run(&strategy, |(at, changes)| {
            let (name, header, field, ..) = &services[at];
            let changed = changes.iter().fold(field.clone().into_bytes(), |field, change| {
                if field.is_empty() { field } else { apply(&field, change) }
            });
            let Ok(value) = http::HeaderValue::from_bytes(&changed) else { return Ok(()) };
            let ask = |token: &str| {
                let mut request = from(PROXY, token, &[]);
                request.headers_mut().insert(*header, value.clone());
                runtime.block_on(send(&services[at].4, request))
            };
            let answer = ask(&token);
            if verdict(&answer) == "accepted" {
                // Case of hexadecimal, white space in PEM, and pairs that Envoy adds.
                let same = meant(name, &changed) == meant(name, field.as_bytes());
                let hash = format!("hash={}", own.sha256);
                let hash_stands = *name == "envoy"
                    && String::from_utf8_lossy(&changed).to_lowercase().contains(&hash);
                let cert_stands = *name == "envoy"
                    && percent_encoding::percent_decode(&changed)
                        .filter(|byte| !byte.is_ascii_whitespace())
                        .collect::<Vec<_>>()
                        .windows(own.der.len())
                        .any(|window| window == own.der.as_bytes());
                prop_assert!(same || hash_stands || cert_stands, "{name}: {value:?}");
            } else {
                prop_assert_eq!(answer.status(), 401);
                count.set(count.get() + 1);
            }
            // For another client's token, nothing of it is any good.
            prop_assert_eq!(ask(&not_its).status(), 401);
            Ok(())
        })
        .unwrap();
    refused += count.get();
    assert!(refused > 8_000, "{refused}");
    // The harmless twins.
    for (_, header, field, of_other, service) in &services {
        let ask = |token: &str, field: &str| {
            runtime.block_on(send(service, from(PROXY, token, &[(header, field)]))).status()
        };
        assert_eq!((ask(&token, field), ask(&not_its, of_other)), (200, 200), "{field}");
        assert_eq!((ask(&not_its, field), ask(&token, of_other)), (401, 401), "{field}");
    }
}
