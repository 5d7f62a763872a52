//! Signs with a private key of the application, or with a shared secret.

use crate::jose::alg::{Algorithm, HmacAlgorithm};
use crate::jose::backend::choice::Backend;
#[cfg(feature = "rust-crypto")]
use crate::jose::backend::rust_crypto;
#[cfg(feature = "aws-lc-rs")]
use crate::jose::backend::{aws_lc, aws_lc_sign::KeyPair};
use crate::jose::error::CryptoFailure;
#[cfg(feature = "aws-lc-rs")]
use crate::jose::key_type::KeyType;
use crate::jose::private_key::PrivateKey;

/// The key to sign with, and its algorithm.
pub(crate) enum Signer<'a> {
    Key(Algorithm, PrivateKey),
    Secret(HmacAlgorithm, &'a [u8]),
}

impl Signer<'_> {
    /// Signs with the preferred backend.
    ///
    /// # Errors
    ///
    /// If there is no backend, or it refuses the key.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoFailure> {
        self.sign_with(Backend::preferred().ok_or(CryptoFailure)?, message)
    }

    fn sign_with(&self, backend: Backend, message: &[u8]) -> Result<Vec<u8>, CryptoFailure> {
        match backend {
            #[cfg(feature = "aws-lc-rs")]
            Backend::AwsLcRs => match self {
                Self::Key(algorithm, key) => {
                    let pair = KeyPair::from_der(KeyType::of(*algorithm), &key.der)?;
                    pair.sign(*algorithm, message)
                }
                Self::Secret(algorithm, secret) => {
                    Ok(aws_lc::hmac_sign(*algorithm, secret, message))
                }
            },
            #[cfg(feature = "rust-crypto")]
            Backend::RustCrypto => match self {
                Self::Key(algorithm, key) => rust_crypto::sign(*algorithm, &key.der, message),
                Self::Secret(algorithm, secret) => {
                    rust_crypto::hmac_sign(*algorithm, secret, message)
                }
            },
        }
    }
}

#[cfg(all(test, any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod tests {
    use super::*;
    use crate::jose::hmac::HmacKey;
    use crate::jose::key_type::KeyType;
    use crate::jose::spki::key_from_pem;
    use crate::secret::Secret;

    macro_rules! key {
        ($name:literal) => {
            (
                include_bytes!(concat!("../../fixtures/keys/", $name, ".pem")).as_slice(),
                include_str!(concat!("../../fixtures/keys/", $name, ".pub.pem")),
            )
        };
    }

    #[test]
    fn what_one_backend_signs_all_verify() {
        for signing in Backend::all() {
            for algorithm in Algorithm::ALL.iter().copied() {
                let (private, public) = match KeyType::of(algorithm) {
                    KeyType::Rsa => key!("rsa2048"),
                    KeyType::P256 => key!("p256"),
                    KeyType::P384 => key!("p384"),
                    KeyType::P521 => key!("p521"),
                    KeyType::Ed25519 => key!("ed25519"),
                    // Such keys are made for tests only.
                    KeyType::MlDsa44 | KeyType::MlDsa65 | KeyType::MlDsa87 => continue,
                };
                let key = PrivateKey::read(private, KeyType::of(algorithm)).unwrap();
                let signature = Signer::Key(algorithm, key).sign_with(signing, b"message");
                assert_eq!(signature.is_ok(), signing.supports(algorithm), "{algorithm}");
                let Ok(signature) = signature else { continue };
                for backend in Backend::all().into_iter().filter(|it| it.supports(algorithm)) {
                    let key = key_from_pem(public, None, backend).unwrap();
                    assert!(key.verify(algorithm, b"message", &signature), "{algorithm}");
                    assert!(!key.verify(algorithm, b"other", &signature), "{algorithm}");
                }
            }
            for algorithm in [HmacAlgorithm::HS256, HmacAlgorithm::HS384, HmacAlgorithm::HS512] {
                let tag = Signer::Secret(algorithm, &[7; 64]).sign_with(signing, b"message");
                let tag = tag.unwrap();
                for backend in Backend::all() {
                    let key = HmacKey::new(algorithm, Secret::new([7; 64]), backend).unwrap();
                    assert!(key.verify(b"message", &tag));
                    assert!(!key.verify(b"other", &tag));
                }
            }
        }
    }

    #[test]
    fn a_key_of_another_kind_signs_nothing() {
        let (rsa, _) = key!("rsa2048");
        for backend in Backend::all() {
            let key = PrivateKey::read(rsa, KeyType::Rsa).unwrap();
            let signed = Signer::Key(Algorithm::ES256, key).sign_with(backend, b"message");
            assert_eq!(signed, Err(CryptoFailure));
        }
    }
}
