//! Signing: private keys, made here and never leaving.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use aws_lc_rs::{error, hmac, rand};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::{Map, Value, json};

use crate::jose::Algorithm;

/// AWS-LC could not make a key, a signature or a random number: in practice, out of memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct CryptoFailure;

impl From<error::Unspecified> for CryptoFailure {
    fn from(_: error::Unspecified) -> Self {
        Self
    }
}

/// A private key, for one algorithm.
pub(crate) struct SigningKey {
    algorithm: Algorithm,
    pair: Pair,
}

enum Pair {
    Rsa(Arc<RsaKeyPair>, &'static dyn RsaEncoding),
    Ecdsa(EcdsaKeyPair, &'static str),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    pub(crate) fn generate(algorithm: Algorithm) -> Result<Self, CryptoFailure> {
        let pair = match algorithm {
            Algorithm::RS256 => Pair::rsa(&RSA_PKCS1_SHA256)?,
            Algorithm::RS384 => Pair::rsa(&RSA_PKCS1_SHA384)?,
            Algorithm::RS512 => Pair::rsa(&RSA_PKCS1_SHA512)?,
            Algorithm::PS256 => Pair::rsa(&RSA_PSS_SHA256)?,
            Algorithm::PS384 => Pair::rsa(&RSA_PSS_SHA384)?,
            Algorithm::PS512 => Pair::rsa(&RSA_PSS_SHA512)?,
            Algorithm::ES256 => Pair::ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")?,
            Algorithm::ES384 => Pair::ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384")?,
            Algorithm::ES512 => Pair::ecdsa(&ECDSA_P521_SHA512_FIXED_SIGNING, "P-521")?,
            Algorithm::EdDSA => Pair::Ed25519(Ed25519KeyPair::generate()?),
        };
        Ok(Self { algorithm, pair })
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the compact serialization (RFC 7515 §3.1) of these bytes, which need not be JSON.
    pub(crate) fn sign(&self, header: &[u8], payload: &[u8]) -> Result<String, CryptoFailure> {
        let mut jws = signing_input(header, payload);
        let signature = self.pair.sign(jws.as_bytes())?;
        jws.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut jws);
        Ok(jws)
    }

    /// Returns the public key as a JWK (RFC 7517) with `alg` and `use`, without `kid`.
    pub(crate) fn public_jwk(&self) -> Map<String, Value> {
        let mut jwk = Map::new();
        let mut put = |name: &str, value: Value| jwk.insert(name.into(), value);
        put("alg", json!(self.algorithm.name()));
        put("use", json!("sig"));
        match &self.pair {
            Pair::Rsa(pair, _) => {
                let public = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                put("kty", json!("RSA"));
                put("n", base64url(&public.n));
                put("e", base64url(&public.e));
            }
            Pair::Ecdsa(pair, curve) => {
                // An uncompressed point: 0x04, then x and y of the same width (SEC 1 §2.3.3).
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at_checked(point.len() / 2).unwrap_or_default();
                put("kty", json!("EC"));
                put("crv", json!(curve));
                put("x", base64url(x));
                put("y", base64url(y));
            }
            Pair::Ed25519(pair) => {
                put("kty", json!("OKP"));
                put("crv", json!("Ed25519"));
                put("x", base64url(pair.public_key().as_ref()));
            }
        }
        jwk
    }

    /// Returns the public key as a PEM `PUBLIC KEY` (RFC 7468 §13).
    pub(crate) fn public_pem(&self) -> Result<String, CryptoFailure> {
        let der = match &self.pair {
            Pair::Rsa(pair, _) => pair.public_key().as_der()?,
            Pair::Ecdsa(pair, _) => pair.public_key().as_der()?,
            Pair::Ed25519(pair) => pair.public_key().as_der()?,
        };
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        for line in der.as_ref().chunks(48) {
            BASE64_STANDARD.encode_string(line, &mut pem);
            pem.push('\n');
        }
        pem.push_str("-----END PUBLIC KEY-----\n");
        Ok(pem)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Pair {
    fn rsa(encoding: &'static dyn RsaEncoding) -> Result<Self, CryptoFailure> {
        Ok(Self::Rsa(idle_rsa_key()?, encoding))
    }

    fn ecdsa(
        algorithm: &'static EcdsaSigningAlgorithm,
        curve: &'static str,
    ) -> Result<Self, CryptoFailure> {
        Ok(Self::Ecdsa(EcdsaKeyPair::generate(algorithm)?, curve))
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoFailure> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature)?;
                Ok(signature)
            }
            Self::Ecdsa(pair, _) => Ok(pair.sign(&random, message)?.as_ref().to_vec()),
            Self::Ed25519(pair) => Ok(pair.try_sign(message)?.as_ref().to_vec()),
        }
    }
}

/// The RSA keys of this process.
///
/// Making one takes a tenth of a second, so that what one holder has dropped is handed to the next.
/// A key has one holder at a time: no two living issuers share one.
static RSA_KEYS: Mutex<Vec<Arc<RsaKeyPair>>> = Mutex::new(Vec::new());

fn idle_rsa_key() -> Result<Arc<RsaKeyPair>, CryptoFailure> {
    let idle = |pair: &&Arc<RsaKeyPair>| Arc::strong_count(pair) == 1;
    // Found and cloned under one lock: nobody else can take the same.
    let found = RSA_KEYS.lock().unwrap_or_else(PoisonError::into_inner).iter().find(idle).cloned();
    if let Some(pair) = found {
        return Ok(pair);
    }
    let pair = Arc::new(RsaKeyPair::generate(KeySize::Rsa2048)?);
    RSA_KEYS.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&pair));
    Ok(pair)
}

pub(crate) fn base64url(bytes: &[u8]) -> Value {
    Value::String(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// Returns what a JWS signature is made over: `BASE64URL(header) "." BASE64URL(payload)`.
pub(crate) fn signing_input(header: &[u8], payload: &[u8]) -> String {
    let mut input = BASE64_URL_SAFE_NO_PAD.encode(header);
    input.push('.');
    BASE64_URL_SAFE_NO_PAD.encode_string(payload, &mut input);
    input
}

/// Returns an HMAC with SHA-256: what an attacker makes of a public key.
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

/// Returns 128 random bits in base64url.
pub(crate) fn random_id() -> Result<String, CryptoFailure> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
        RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
        UnparsedPublicKey, VerificationAlgorithm,
    };

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
