//! Key pairs for tests.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::jose::{Algorithm, SigningKey};
use crate::testing::misuse::misuse;

/// A key pair for tests.
///
/// The embedded issuer signs with such keys; so does a client that authenticates with
/// `private_key_jwt`, and so does an attacker who has a key that the issuer never published.
///
/// ```
/// use tower_bearer::jose::Algorithm;
/// use tower_bearer::testing::TestKey;
///
/// let key = TestKey::generate(Algorithm::ES256).with_kid("mine");
/// assert_eq!(key.public_jwk()["kid"], "mine");
/// assert!(key.public_pem().starts_with("-----BEGIN PUBLIC KEY-----"));
/// ```
#[derive(Clone, Debug)]
pub struct TestKey {
    kid: Arc<str>,
    material: Arc<SigningKey>,
}

impl TestKey {
    /// Generates a key pair. RSA keys have 2048 bits and take about a tenth of a second.
    ///
    /// # Panics
    ///
    /// If the operating system has no memory or no random numbers left.
    pub fn generate(algorithm: Algorithm) -> Self {
        match SigningKey::generate(algorithm) {
            Ok(material) => Self { kid: "test-key".into(), material: Arc::new(material) },
            Err(_) => misuse("no key could be made: out of memory or of random numbers"),
        }
    }

    /// Returns the same key pair under another `kid`; the default is `test-key`.
    #[must_use]
    pub fn with_kid(self, kid: &str) -> Self {
        Self { kid: kid.into(), ..self }
    }

    /// Returns the key's `kid`.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Returns the one algorithm that the key signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.material.algorithm()
    }

    /// Returns the public key as a JWK (RFC 7517) with `kid`, `alg` and `use`.
    pub fn public_jwk(&self) -> Value {
        Value::Object(self.jwk())
    }

    pub(crate) fn jwk(&self) -> Map<String, Value> {
        let mut jwk = self.material.public_jwk();
        jwk.insert("kid".into(), Value::from(&*self.kid));
        jwk
    }

    /// Returns the public key as PEM, with the label `PUBLIC KEY`.
    ///
    /// # Panics
    ///
    /// If the operating system has no memory left.
    pub fn public_pem(&self) -> String {
        match self.material.public_pem() {
            Ok(pem) => pem,
            Err(_) => misuse("the key could not be written as PEM: out of memory"),
        }
    }

    /// Signs any two texts as the header and payload of a compact JWS (RFC 7515 §3.1).
    ///
    /// Neither is checked. For access tokens,
    /// [`TestIssuer::token`](crate::testing::TestIssuer::token) is more convenient; this is for
    /// other JWTs, such as the assertions of RFC 7523.
    ///
    /// # Panics
    ///
    /// If the operating system has no memory or no random numbers left.
    pub fn sign(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        match self.material.sign(header.as_ref(), payload.as_ref()) {
            Ok(jws) => jws,
            Err(_) => misuse("signing failed: out of memory or random numbers"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::jose::{Backend, Compact, decode_segment, key_from_pem, parse_jwk_set};

    // The public key, as a key set or as PEM, verifies what the key signs.
    #[test]
    fn published_keys_check_what_is_signed() {
        let other = TestKey::generate(Algorithm::ES256);
        for algorithm in Algorithm::ALL.iter().copied() {
            let key = TestKey::generate(algorithm).with_kid("k");
            let set = json!({ "keys": [key.public_jwk()] }).to_string();
            let set = parse_jwk_set(set.as_bytes(), 1, Backend::AwsLcRs).unwrap();
            assert_eq!((set.keys.len(), set.ignored.len()), (1, 0), "{algorithm}");
            let from_pem = key_from_pem(&key.public_pem(), Some("k"), Backend::AwsLcRs).unwrap();
            assert_eq!(set.keys[0].algorithm(), Some(algorithm));
            let verdicts = |token: &str| {
                let compact = Compact::split(token.as_bytes()).unwrap();
                let signature = decode_segment(compact.signature).unwrap();
                [&set.keys[0], &from_pem]
                    .map(|key| key.verify(algorithm, compact.signing_input, &signature))
            };
            assert_eq!(verdicts(&key.sign("{}", "{}")), [true, true], "{algorithm}");
            assert_eq!(verdicts(&other.sign("{}", "{}")), [false, false], "{algorithm}");
        }
    }
}
