//! A private key in PEM or as a JWK, as an operator gives it to the token client: it is read when a grant is
//! built. The first byte chooses the algorithm.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_bearer::client::{Assertion, AssertionAlgorithm, ClientAuth, DpopKey, Grant};

const ALGORITHMS: [AssertionAlgorithm; 5] = [
    AssertionAlgorithm::ES256,
    AssertionAlgorithm::ES384,
    AssertionAlgorithm::EdDSA,
    AssertionAlgorithm::RS256,
    AssertionAlgorithm::PS256,
];

fuzz_target!(|data: &[u8]| {
    let Some((first, key)) = data.split_first() else { return };
    let algorithm = ALGORITHMS[usize::from(*first) % ALGORITHMS.len()];
    let grant = |auth| Grant::endpoint("https://as.example/token", auth);
    let secret = || tower_bearer::Secret::new(key);
    let bound = grant(ClientAuth::basic("me", "secret")).dpop(DpopKey::new(algorithm, secret()));
    let signed = grant(ClientAuth::private_key_jwt("me", Assertion::new(algorithm, secret())));
    let (bound, signed) = (bound.build(), signed.build());
    // Both read it alike.
    assert_eq!(bound.is_ok(), signed.is_ok());
    let text = String::from_utf8_lossy(key);
    match bound {
        Ok(grant) => {
            let holds =
                text.contains("-----BEGIN ") || text.trim_start().starts_with(['{', '\u{feff}']);
            assert!(holds, "{text}");
            assert!(!format!("{grant:?}").contains("PRIVATE"));
        }
        Err(error) => {
            let shown = format!("{error} {error:?}");
            // What may be a key's: none of our own sentences, which have spaces.
            let is_material = |line: &&str| line.len() > 30 && !line.contains(' ');
            let mut lines = text.lines().map(str::trim).filter(is_material);
            assert!(!lines.any(|line| shown.contains(line)), "{shown}");
        }
    }
});
