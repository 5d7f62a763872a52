//! Generates keys and random values with `aws-lc-rs`, for tests.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, PqdsaKeyPair, RsaKeyPair};

use crate::jose::backend::aws_lc_sign::{KeyPair, ecdsa, ml_dsa};
use crate::jose::error::CryptoFailure;
use crate::jose::key_type::KeyType;

impl KeyPair {
    /// Makes a new key; one for RSA has 2048 bits.
    pub(crate) fn generate(key_type: KeyType) -> Result<Self, CryptoFailure> {
        let pair = match key_type {
            KeyType::Rsa => RsaKeyPair::generate(KeySize::Rsa2048).map(Self::Rsa),
            KeyType::P256 | KeyType::P384 | KeyType::P521 => {
                EcdsaKeyPair::generate(ecdsa(key_type)?).map(Self::Ecdsa)
            }
            KeyType::Ed25519 => Ed25519KeyPair::generate().map(Self::Ed25519),
            KeyType::MlDsa44 | KeyType::MlDsa65 | KeyType::MlDsa87 => {
                PqdsaKeyPair::generate(ml_dsa(key_type)?).map(Self::MlDsa)
            }
        };
        pair.map_err(|_| CryptoFailure)
    }

    /// Returns the public key as a `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7).
    pub(crate) fn public_der(&self) -> Result<Vec<u8>, CryptoFailure> {
        let der = match self {
            Self::Rsa(pair) => pair.public_key().as_der(),
            Self::Ecdsa(pair) => pair.public_key().as_der(),
            Self::Ed25519(pair) => pair.public_key().as_der(),
            Self::MlDsa(pair) => pair.public_key().as_der(),
        };
        der.map(|der| der.as_ref().to_vec()).map_err(|_| CryptoFailure)
    }
}

/// Returns 16 random bytes.
pub(crate) fn random() -> Result<[u8; 16], CryptoFailure> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| CryptoFailure)?;
    Ok(bytes)
}
