//! Private keys that are generated for tests, and never leave the process.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::{Map, Value, json};

use crate::jose::alg::{Algorithm, HmacAlgorithm};
use crate::jose::backend::aws_lc::hmac_sign;
use crate::jose::backend::aws_lc_generate::random;
use crate::jose::backend::aws_lc_sign::KeyPair;
use crate::jose::error::CryptoFailure;
use crate::jose::key_type::KeyType;
use crate::jose::material::Material;
use crate::jose::pem;
use crate::jose::serialize::{serialize, write_signing_input};

/// A private key, for one algorithm.
pub(crate) struct SigningKey {
    algorithm: Algorithm,
    pair: Arc<KeyPair>,
    public: Material,
}

impl SigningKey {
    pub(crate) fn generate(algorithm: Algorithm) -> Result<Self, CryptoFailure> {
        let key_type = KeyType::of(algorithm);
        let pair = match key_type {
            KeyType::Rsa => idle_rsa_key()?,
            KeyType::P256
            | KeyType::P384
            | KeyType::P521
            | KeyType::Ed25519
            | KeyType::MlDsa44
            | KeyType::MlDsa65
            | KeyType::MlDsa87 => Arc::new(KeyPair::generate(key_type)?),
        };
        let public = pair.public(key_type)?;
        Ok(Self { algorithm, pair, public })
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the compact serialization (RFC 7515 §3.1) of these bytes, which need not be JSON.
    pub(crate) fn sign(&self, header: &[u8], payload: &[u8]) -> Result<String, CryptoFailure> {
        let jws = serialize(header, payload, |input| self.pair.sign(self.algorithm, input))?;
        Ok((*jws).clone())
    }

    /// Returns the public key as a JWK (RFC 7517) with `alg` and `use`, without `kid`.
    pub(crate) fn public_jwk(&self) -> Map<String, Value> {
        let mut jwk = Map::new();
        let mut put = |name: &str, value: Value| jwk.insert(name.into(), value);
        put("alg", json!(self.algorithm.name()));
        put("use", json!("sig"));
        let key_type = self.public.key_type();
        put("kty", json!(key_type.kty()));
        if let Some(curve) = key_type.crv() {
            put("crv", json!(curve));
        }
        match &self.public {
            Material::Rsa { n, e } => {
                put("n", base64url(n));
                put("e", base64url(e));
            }
            Material::Ec { point, .. } => {
                // An uncompressed point: 0x04, then x and y of the same width (SEC 1 §2.3.3).
                let point = point.get(1..).unwrap_or_default();
                let (x, y) = point.split_at_checked(point.len() / 2).unwrap_or_default();
                put("x", base64url(x));
                put("y", base64url(y));
            }
            Material::Ed25519 { x } => {
                put("x", base64url(x));
            }
            Material::MlDsa { public, .. } => {
                put("pub", base64url(public));
            }
        }
        jwk
    }

    /// Returns the public key as a PEM `PUBLIC KEY` (RFC 7468 §13).
    pub(crate) fn public_pem(&self) -> Result<String, CryptoFailure> {
        Ok(pem::encode("PUBLIC KEY", &self.pair.public_der()?))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// The RSA keys of this process.
///
/// Generating one takes a tenth of a second, so a key that one holder has dropped is reused for the next.
/// A key has one holder at a time: no two living issuers share one.
static RSA_KEYS: Mutex<Vec<Arc<KeyPair>>> = Mutex::new(Vec::new());

fn idle_rsa_key() -> Result<Arc<KeyPair>, CryptoFailure> {
    let idle = |pair: &&Arc<KeyPair>| Arc::strong_count(pair) == 1;
    // Found and cloned under one lock: no other thread can take the same key.
    let found = RSA_KEYS.lock().unwrap_or_else(PoisonError::into_inner).iter().find(idle).cloned();
    if let Some(pair) = found {
        return Ok(pair);
    }
    let pair = Arc::new(KeyPair::generate(KeyType::Rsa)?);
    RSA_KEYS.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&pair));
    Ok(pair)
}

fn base64url(bytes: &[u8]) -> Value {
    Value::String(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// Returns the input of a JWS signature: `BASE64URL(header) "." BASE64URL(payload)`.
pub(crate) fn signing_input(header: &[u8], payload: &[u8]) -> String {
    let mut input = String::new();
    write_signing_input(header, payload, &mut input);
    input
}

/// Returns an HMAC with SHA-256, keyed as an attacker would with a public key.
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac_sign(HmacAlgorithm::HS256, key, message)
}

/// Returns 128 random bits in base64url.
pub(crate) fn random_id() -> Result<String, CryptoFailure> {
    Ok(BASE64_URL_SAFE_NO_PAD.encode(random()?))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rsa::PublicKeyComponents;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
        ML_DSA_44, ML_DSA_65, ML_DSA_87, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
        RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
        RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
    };
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    fn decode(jwk: &Map<String, Value>, name: &str) -> Vec<u8> {
        BASE64_URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap()
    }

    /// Checks a signature with nothing but the published JWK.
    fn verifies(
        algorithm: Algorithm,
        jwk: &Map<String, Value>,
        message: &[u8],
        sig: &[u8],
    ) -> bool {
        let rsa = |params| {
            let public = PublicKeyComponents { n: decode(jwk, "n"), e: decode(jwk, "e") };
            public.verify(params, message, sig).is_ok()
        };
        let other = |how: &'static dyn VerificationAlgorithm, key: Vec<u8>| {
            UnparsedPublicKey::new(how, key).verify(message, sig).is_ok()
        };
        let point = || [&[4], &decode(jwk, "x")[..], &decode(jwk, "y")[..]].concat();
        match algorithm {
            Algorithm::RS256 => rsa(&RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => rsa(&RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => rsa(&RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => rsa(&RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => rsa(&RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => rsa(&RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => other(&ECDSA_P256_SHA256_FIXED, point()),
            Algorithm::ES384 => other(&ECDSA_P384_SHA384_FIXED, point()),
            Algorithm::ES512 => other(&ECDSA_P521_SHA512_FIXED, point()),
            Algorithm::EdDSA => other(&ED25519, decode(jwk, "x")),
            Algorithm::MlDsa44 => other(&ML_DSA_44, decode(jwk, "pub")),
            Algorithm::MlDsa65 => other(&ML_DSA_65, decode(jwk, "pub")),
            Algorithm::MlDsa87 => other(&ML_DSA_87, decode(jwk, "pub")),
        }
    }

    #[test]
    fn every_algorithm_signs_and_publishes_what_verifies_it() {
        let mut seen = Vec::new();
        for algorithm in Algorithm::ALL.iter().copied() {
            let key = SigningKey::generate(algorithm).unwrap();
            let jwk = key.public_jwk();
            assert_eq!(jwk["alg"], algorithm.name());
            let jws = key.sign(b"{}", b"{\"a\":1}").unwrap();
            let (message, signature) = jws.rsplit_once('.').unwrap();
            assert_eq!(message, "e30.eyJhIjoxfQ");
            let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
            assert!(verifies(algorithm, &jwk, message.as_bytes(), &signature), "{algorithm}");
            assert!(!verifies(algorithm, &jwk, b"other", &signature), "{algorithm}");
            seen.push(key);
        }
        // K5: coordinates have the full width of the field.
        for (key, width) in seen[6..9].iter().zip([32, 48, 66]) {
            assert_eq!(decode(&key.public_jwk(), "x").len(), width);
            assert_eq!(decode(&key.public_jwk(), "y").len(), width);
        }
    }

    #[test]
    fn an_rsa_key_has_one_holder_at_a_time() {
        let modulus = |key: &SigningKey| decode(&key.public_jwk(), "n");
        let first = SigningKey::generate(Algorithm::RS256).unwrap();
        let second = SigningKey::generate(Algorithm::RS256).unwrap();
        assert_ne!(modulus(&first), modulus(&second));
        let handed_on = modulus(&first);
        drop(first);
        let mut later = Vec::new();
        // Other tests may take it first, in a runner with one process for all.
        while later.len() < 3 {
            later.push(SigningKey::generate(Algorithm::PS256).unwrap());
        }
        assert!(later.iter().all(|key| modulus(key) != modulus(&second)));
        assert!(later.iter().filter(|key| modulus(key) == handed_on).count() <= 1);
    }

    #[test]
    fn the_pem_has_lines_of_64_characters() {
        let pem = SigningKey::generate(Algorithm::ES256).unwrap().public_pem().unwrap();
        let lines: Vec<_> = pem.lines().collect();
        assert_eq!(lines.first(), Some(&"-----BEGIN PUBLIC KEY-----"));
        assert_eq!(lines.last(), Some(&"-----END PUBLIC KEY-----"));
        assert_eq!(lines[1].len(), 64);
        let der = BASE64_STANDARD.decode(lines[1..lines.len() - 1].concat()).unwrap();
        // The SubjectPublicKeyInfo of a P-256 key has 91 bytes, the point last.
        assert_eq!((der.len(), der[26]), (91, 4));
    }

    #[test]
    fn l1_debug_shows_no_key_material() {
        let key = SigningKey::generate(Algorithm::EdDSA).unwrap();
        assert_eq!(format!("{key:?}"), "SigningKey { algorithm: EdDSA, .. }");
    }
}
