//! A private key of the application that signs often, and shows its public half.

use std::fmt;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};

use crate::digest::sha256_base64url;
use crate::jose::alg::Algorithm;
#[cfg(feature = "aws-lc-rs")]
use crate::jose::backend::aws_lc_sign::KeyPair;
use crate::jose::backend::choice::Backend;
#[cfg(feature = "rust-crypto")]
use crate::jose::backend::rust_crypto;
#[cfg(feature = "rust-crypto")]
use crate::jose::der::Wiped;
use crate::jose::error::CryptoFailure;
use crate::jose::key_type::KeyType;
use crate::jose::material::Material;
use crate::jose::private_key::PrivateKey;

/// A private key, read once, for one algorithm.
pub(crate) struct OwnKey {
    algorithm: Algorithm,
    pair: Pair,
    jwk: Box<str>,
    thumbprint: Box<str>,
}

enum Pair {
    #[cfg(feature = "aws-lc-rs")]
    AwsLcRs(KeyPair),
    #[cfg(feature = "rust-crypto")]
    RustCrypto(Wiped),
}

impl OwnKey {
    /// Makes a new key.
    ///
    /// # Errors
    ///
    /// If the preferred backend doesn't have the algorithm, if it is an RSA algorithm, or if there are no
    /// random numbers.
    pub(crate) fn generate(algorithm: Algorithm) -> Result<Self, CryptoFailure> {
        // A number outside of the curve's group, one in 2^32 tries, is refused.
        (0..3)
            .find_map(|_| Self::new(algorithm, PrivateKey::generate(KeyType::of(algorithm))?).ok())
            .ok_or(CryptoFailure)
    }

    /// Makes a key ready to sign with the preferred backend.
    ///
    /// # Errors
    ///
    /// If there is no backend, or it refuses the key.
    pub(crate) fn new(algorithm: Algorithm, key: PrivateKey) -> Result<Self, CryptoFailure> {
        let (pair, public) = match Backend::preferred().ok_or(CryptoFailure)? {
            #[cfg(feature = "aws-lc-rs")]
            Backend::AwsLcRs => {
                let pair = KeyPair::from_der(KeyType::of(algorithm), &key.der)?;
                let public = pair.public(KeyType::of(algorithm))?;
                (Pair::AwsLcRs(pair), public)
            }
            #[cfg(feature = "rust-crypto")]
            Backend::RustCrypto => {
                let public = rust_crypto::public(algorithm, &key.der)?;
                (Pair::RustCrypto(key.der), public)
            }
        };
        let jwk = required_members(&public);
        let thumbprint = sha256_base64url(jwk.as_bytes());
        let key = Self { algorithm, pair, jwk: jwk.into(), thumbprint: thumbprint.into() };
        key.sign(b"trial").map(|_| key)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoFailure> {
        // By place: without a backend there is no such pair.
        match self.pair {
            #[cfg(feature = "aws-lc-rs")]
            Pair::AwsLcRs(ref pair) => pair.sign(self.algorithm, message),
            #[cfg(feature = "rust-crypto")]
            Pair::RustCrypto(ref der) => rust_crypto::sign(self.algorithm, der, message),
        }
    }

    /// Returns the public key as a JWK with its required members.
    pub(crate) fn jwk(&self) -> &str {
        &self.jwk
    }

    /// Returns the SHA-256 thumbprint (RFC 7638 §3) in base64url.
    pub(crate) fn thumbprint(&self) -> &str {
        &self.thumbprint
    }
}

/// Writes the required members in the order of their names (RFC 7638 §3.2).
fn required_members(public: &Material) -> String {
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let key_type = public.key_type();
    let (kty, crv) = (key_type.kty(), key_type.crv().unwrap_or_default());
    match public {
        Material::Rsa { n, e } => {
            let (n, e) = (encode(n), encode(e));
            format!(r#"{{"e":"{e}","kty":"{kty}","n":"{n}"}}"#)
        }
        Material::Ec { point, .. } => {
            // After the 4 of an uncompressed point (SEC 1 §2.3.3), x and y of the same width.
            let point = point.get(1..).unwrap_or_default();
            let (x, y) = point.split_at_checked(point.len() / 2).unwrap_or_default();
            let (x, y) = (encode(x), encode(y));
            format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}","y":"{y}"}}"#)
        }
        Material::Ed25519 { x } => {
            let x = encode(x);
            format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}"}}"#)
        }
        // RFC 9964 §6
        Material::MlDsa { set, public } => {
            let (alg, public) = (set.parameter_set().unwrap_or_default(), encode(public));
            format!(r#"{{"alg":"{alg}","kty":"{kty}","pub":"{public}"}}"#)
        }
    }
}

impl fmt::Debug for OwnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

#[cfg(all(test, any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod tests {
    use super::*;
    use crate::jose::embedded::KeyedHeader;

    fn header(algorithm: Algorithm, jwk: &str) -> String {
        format!(r#"{{"typ":"dpop+jwt","alg":"{algorithm}","jwk":{jwk}}}"#)
    }

    /// Signs, and checks that with what the key shows of itself.
    fn verifies(algorithm: Algorithm, key: &OwnKey) -> bool {
        let header = header(algorithm, key.jwk());
        let parsed = KeyedHeader::parse(header.as_bytes(), "dpop+jwt").unwrap();
        let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(parsed.jwk.thumbprint());
        assert_eq!(thumbprint, key.thumbprint(), "{algorithm}");
        let public = parsed.jwk.key(algorithm, Backend::preferred().unwrap()).unwrap();
        let signature = key.sign(b"message").unwrap();
        assert!(!public.verify(algorithm, b"other", &signature));
        public.verify(algorithm, b"message", &signature)
    }

    #[test]
    fn dc2_a_key_that_is_read_shows_the_public_half_that_checks_it() {
        for algorithm in Algorithm::ALL.iter().copied() {
            if !Backend::preferred().unwrap().supports(algorithm) {
                continue;
            }
            let texts: [&[u8]; 2] = match KeyType::of(algorithm) {
                KeyType::Rsa => [
                    include_bytes!("../../fixtures/keys/rsa2048.pem"),
                    include_bytes!("../../tests/client/keys/rsa2048.jwk.json"),
                ],
                KeyType::P256 => [
                    include_bytes!("../../fixtures/keys/p256.pem"),
                    include_bytes!("../../tests/client/keys/p256.jwk.json"),
                ],
                KeyType::P384 => [
                    include_bytes!("../../fixtures/keys/p384.pem"),
                    include_bytes!("../../tests/client/keys/p384.jwk.json"),
                ],
                KeyType::P521 => [
                    include_bytes!("../../fixtures/keys/p521.pem"),
                    include_bytes!("../../tests/client/keys/p521.jwk.json"),
                ],
                KeyType::Ed25519 => [
                    include_bytes!("../../fixtures/keys/ed25519.pem"),
                    include_bytes!("../../tests/client/keys/ed25519.jwk.json"),
                ],
                KeyType::MlDsa44 | KeyType::MlDsa65 | KeyType::MlDsa87 => continue,
            };
            for text in texts {
                let key = PrivateKey::read(text, KeyType::of(algorithm)).unwrap();
                assert!(verifies(algorithm, &OwnKey::new(algorithm, key).unwrap()), "{algorithm}");
            }
        }
    }

    #[test]
    fn dc2_a_key_is_made_for_every_curve_and_no_two_are_the_same() {
        for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512, Algorithm::EdDSA] {
            let made = OwnKey::generate(algorithm);
            assert_eq!(made.is_ok(), Backend::preferred().unwrap().supports(algorithm));
            let Ok(made) = made else { continue };
            assert!(verifies(algorithm, &made), "{algorithm}");
            let other = OwnKey::generate(algorithm).unwrap();
            assert_ne!(made.thumbprint(), other.thumbprint());
        }
        assert!(OwnKey::generate(Algorithm::RS256).is_err());
    }

    #[test]
    fn dc2_debug_shows_no_key() {
        let key = OwnKey::generate(Algorithm::ES256).unwrap();
        assert_eq!(format!("{key:?}"), "OwnKey { algorithm: ES256, .. }");
    }
}
