//! Verifies signatures with `aws-lc-rs`.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};

use crate::jose::alg::{Algorithm, HmacAlgorithm};
use crate::jose::ignored::IgnoredReason;
use crate::jose::key_type::KeyType;
use crate::jose::material::Material;

/// A key parsed once for each algorithm that it may be used with: six for an RSA key that names
/// none, else one.
pub(crate) struct AwsLcVerifier {
    parsed: Box<[(Algorithm, ParsedPublicKey)]>,
}

impl AwsLcVerifier {
    pub(crate) fn new(
        material: &Material,
        algorithms: &[Algorithm],
    ) -> Result<Self, IgnoredReason> {
        let parse = |algorithm: &Algorithm| {
            let parsed = match material {
                Material::Rsa { n, e } => rsa_parameters(*algorithm)
                    .and_then(|it| RsaPublicKeyComponents { n, e }.to_parsed_public_key(it).ok()),
                Material::Ec { curve, point } => ec_algorithm(*curve)
                    .and_then(|it| UnparsedPublicKey::new(it, point).parse().ok()),
                Material::Ed25519 { x } => {
                    UnparsedPublicKey::new(&signature::ED25519, x).parse().ok()
                }
                Material::MlDsa { set, public } => ml_dsa_algorithm(*set)
                    .and_then(|it| UnparsedPublicKey::new(it, public).parse().ok()),
            };
            parsed.map(|key| (*algorithm, key)).ok_or(IgnoredReason::InvalidKey)
        };
        Ok(Self { parsed: algorithms.iter().map(parse).collect::<Result<_, _>>()? })
    }

    pub(crate) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.parsed
            .iter()
            .find(|(fits, _)| *fits == algorithm)
            .is_some_and(|(_, key)| key.verify_sig(message, signature).is_ok())
    }
}

/// Returns `true` if signatures of this algorithm can be verified.
pub(crate) const fn supports(algorithm: Algorithm) -> bool {
    let key_type = KeyType::of(algorithm);
    match key_type {
        KeyType::Rsa => rsa_parameters(algorithm).is_some(),
        KeyType::P256 | KeyType::P384 | KeyType::P521 => ec_algorithm(key_type).is_some(),
        KeyType::Ed25519 => true,
        KeyType::MlDsa44 | KeyType::MlDsa65 | KeyType::MlDsa87 => {
            ml_dsa_algorithm(key_type).is_some()
        }
    }
}

const fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256
        | Algorithm::ES384
        | Algorithm::ES512
        | Algorithm::EdDSA
        | Algorithm::MlDsa44
        | Algorithm::MlDsa65
        | Algorithm::MlDsa87 => None,
    }
}

const fn ec_algorithm(curve: KeyType) -> Option<&'static signature::EcdsaVerificationAlgorithm> {
    match curve {
        KeyType::P256 => Some(&signature::ECDSA_P256_SHA256_FIXED),
        KeyType::P384 => Some(&signature::ECDSA_P384_SHA384_FIXED),
        KeyType::P521 => Some(&signature::ECDSA_P521_SHA512_FIXED),
        KeyType::Rsa
        | KeyType::Ed25519
        | KeyType::MlDsa44
        | KeyType::MlDsa65
        | KeyType::MlDsa87 => None,
    }
}

const fn ml_dsa_algorithm(set: KeyType) -> Option<&'static signature::PqdsaVerificationAlgorithm> {
    match set {
        KeyType::MlDsa44 => Some(&signature::ML_DSA_44),
        KeyType::MlDsa65 => Some(&signature::ML_DSA_65),
        KeyType::MlDsa87 => Some(&signature::ML_DSA_87),
        KeyType::Rsa | KeyType::P256 | KeyType::P384 | KeyType::P521 | KeyType::Ed25519 => None,
    }
}

pub(crate) fn hmac_verify(
    algorithm: HmacAlgorithm,
    secret: &[u8],
    message: &[u8],
    tag: &[u8],
) -> bool {
    hmac::verify(&hmac::Key::new(hmac_algorithm(algorithm), secret), message, tag).is_ok()
}

const fn hmac_algorithm(algorithm: HmacAlgorithm) -> hmac::Algorithm {
    match algorithm {
        HmacAlgorithm::HS256 => hmac::HMAC_SHA256,
        HmacAlgorithm::HS384 => hmac::HMAC_SHA384,
        HmacAlgorithm::HS512 => hmac::HMAC_SHA512,
    }
}

/// Returns the HMAC of a message.
#[cfg(any(feature = "client", feature = "dpop", feature = "introspection", feature = "test-util"))]
pub(crate) fn hmac_sign(algorithm: HmacAlgorithm, secret: &[u8], message: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac_algorithm(algorithm), secret);
    hmac::sign(&key, message).as_ref().to_vec()
}
