//! Random changes to good proofs: none is accepted.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::service::{World, accept, proved, verdict};
use crate::world::send;

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

#[test]
fn d84_of_10_000_changed_proofs_none_is_accepted() {
    let world = World::new();
    let service = world.service(accept().replay_bytes(1 << 20));
    let token = world.bound("");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let config = Config { cases: 10_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let proofs: Vec<_> = (0..20).map(|_| world.proof("GET", "/", &token).sign()).collect();
    let strategy = (prop::sample::select(proofs.clone()), change());
    runner
        .run(&strategy, |(proof, change)| {
            let changed = apply(&proof, &change);
            let Ok(value) = http::HeaderValue::from_bytes(&changed) else { return Ok(()) };
            prop_assume!(changed != proof.as_bytes());
            let mut request = proved("GET", "/", &token, "");
            request.headers_mut().insert("dpop", value);
            let answer = runtime.block_on(send(&service, request));
            prop_assert_ne!(verdict(&answer), "accepted");
            prop_assert_eq!(answer.status(), 401);
            Ok(())
        })
        .unwrap();
    // The unchanged ones were used up by none of them.
    for proof in proofs {
        let answer = runtime.block_on(send(&service, proved("GET", "/", &token, &proof)));
        assert_eq!(verdict(&answer), "accepted");
    }
}
