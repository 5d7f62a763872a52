//! Signs with `aws-lc-rs`.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, RsaEncoding, RsaKeyPair,
};
#[cfg(any(all(feature = "client", feature = "dpop"), feature = "test-util"))]
use aws_lc_rs::{rsa::PublicKeyComponents, signature::KeyPair as _};

use crate::jose::alg::Algorithm;
use crate::jose::error::CryptoFailure;
use crate::jose::key_type::KeyType;
#[cfg(any(all(feature = "client", feature = "dpop"), feature = "test-util"))]
use crate::jose::material::Material;

/// A private key.
pub(crate) enum KeyPair {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    #[cfg(feature = "test-util")]
    MlDsa(signature::PqdsaKeyPair),
}

impl KeyPair {
    /// Takes a key of this type: PKCS #1 for RSA, PKCS #8 for the others.
    #[cfg(any(feature = "client", feature = "introspection"))]
    pub(crate) fn from_der(key_type: KeyType, der: &[u8]) -> Result<Self, CryptoFailure> {
        let pair = match key_type {
            KeyType::Rsa => RsaKeyPair::from_der(der).map(Self::Rsa),
            KeyType::P256 | KeyType::P384 | KeyType::P521 => {
                EcdsaKeyPair::from_private_key_der(ecdsa(key_type)?, der).map(Self::Ecdsa)
            }
            KeyType::Ed25519 => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Self::Ed25519),
            KeyType::MlDsa44 | KeyType::MlDsa65 | KeyType::MlDsa87 => return Err(CryptoFailure),
        };
        pair.map_err(|_| CryptoFailure)
    }

    /// Returns the public key, of the type that the pair was made for.
    #[cfg(any(all(feature = "client", feature = "dpop"), feature = "test-util"))]
    pub(crate) fn public(&self, key_type: KeyType) -> Result<Material, CryptoFailure> {
        Ok(match self {
            Self::Rsa(pair) => {
                let public = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                Material::Rsa { n: public.n.into(), e: public.e.into() }
            }
            Self::Ecdsa(pair) => {
                Material::Ec { curve: key_type, point: pair.public_key().as_ref().into() }
            }
            Self::Ed25519(pair) => {
                let x = pair.public_key().as_ref().try_into().map_err(|_| CryptoFailure)?;
                Material::Ed25519 { x }
            }
            #[cfg(feature = "test-util")]
            Self::MlDsa(pair) => {
                Material::MlDsa { set: key_type, public: pair.public_key().as_ref().into() }
            }
        })
    }

    /// Signs with an algorithm that the key supports.
    pub(crate) fn sign(
        &self,
        algorithm: Algorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, CryptoFailure> {
        let random = SystemRandom::new();
        let signature = match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                return pair
                    .sign(rsa(algorithm)?, &random, message, &mut signature)
                    .map(|()| signature)
                    .map_err(|_| CryptoFailure);
            }
            #[cfg(feature = "test-util")]
            Self::MlDsa(pair) => {
                let mut signature = vec![0; pair.algorithm().signature_len()];
                return pair
                    .sign(message, &mut signature)
                    .map(|_| signature)
                    .map_err(|_| CryptoFailure);
            }
            Self::Ecdsa(pair) => pair.sign(&random, message),
            Self::Ed25519(pair) => pair.try_sign(message),
        };
        signature.map(|signature| signature.as_ref().to_vec()).map_err(|_| CryptoFailure)
    }
}

fn rsa(algorithm: Algorithm) -> Result<&'static dyn RsaEncoding, CryptoFailure> {
    match algorithm {
        Algorithm::RS256 => Ok(&signature::RSA_PKCS1_SHA256),
        Algorithm::RS384 => Ok(&signature::RSA_PKCS1_SHA384),
        Algorithm::RS512 => Ok(&signature::RSA_PKCS1_SHA512),
        Algorithm::PS256 => Ok(&signature::RSA_PSS_SHA256),
        Algorithm::PS384 => Ok(&signature::RSA_PSS_SHA384),
        Algorithm::PS512 => Ok(&signature::RSA_PSS_SHA512),
        Algorithm::ES256
        | Algorithm::ES384
        | Algorithm::ES512
        | Algorithm::EdDSA
        | Algorithm::MlDsa44
        | Algorithm::MlDsa65
        | Algorithm::MlDsa87 => Err(CryptoFailure),
    }
}

pub(crate) fn ecdsa(curve: KeyType) -> Result<&'static EcdsaSigningAlgorithm, CryptoFailure> {
    match curve {
        KeyType::P256 => Ok(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        KeyType::P384 => Ok(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        KeyType::P521 => Ok(&signature::ECDSA_P521_SHA512_FIXED_SIGNING),
        KeyType::Rsa
        | KeyType::Ed25519
        | KeyType::MlDsa44
        | KeyType::MlDsa65
        | KeyType::MlDsa87 => Err(CryptoFailure),
    }
}

#[cfg(feature = "test-util")]
pub(crate) fn ml_dsa(
    set: KeyType,
) -> Result<&'static signature::PqdsaSigningAlgorithm, CryptoFailure> {
    match set {
        KeyType::MlDsa44 => Ok(&signature::ML_DSA_44_SIGNING),
        KeyType::MlDsa65 => Ok(&signature::ML_DSA_65_SIGNING),
        KeyType::MlDsa87 => Ok(&signature::ML_DSA_87_SIGNING),
        KeyType::Rsa | KeyType::P256 | KeyType::P384 | KeyType::P521 | KeyType::Ed25519 => {
            Err(CryptoFailure)
        }
    }
}
