//! Verifies and signs with the RustCrypto crates, through `jsonwebtoken`.

#[cfg(any(feature = "client", feature = "dpop", feature = "introspection"))]
use jsonwebtoken::EncodingKey;
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
#[cfg(all(feature = "client", feature = "dpop"))]
use jsonwebtoken::jwk::EllipticCurve;
use jsonwebtoken::{Algorithm as JwtAlgorithm, DecodingKey};

use crate::jose::alg::{Algorithm, HmacAlgorithm};
#[cfg(any(feature = "client", feature = "dpop", feature = "introspection"))]
use crate::jose::error::CryptoFailure;
use crate::jose::ignored::IgnoredReason;
use crate::jose::key_type::KeyType;
use crate::jose::material::Material;

/// `jsonwebtoken`'s own ceiling: the `rsa` crate takes no larger modulus by default.
const MAX_RSA_BYTES: usize = 4_096 / 8;

/// A key for `jsonwebtoken`, which parses it again at every verification.
///
/// The provider is named here, never looked up: the process-wide default panics when both of
/// `jsonwebtoken`'s crypto features are on somewhere in the tree.
pub(crate) struct RustCryptoVerifier {
    key: DecodingKey,
}

impl RustCryptoVerifier {
    pub(crate) fn new(material: &Material) -> Result<Self, IgnoredReason> {
        let key = match material {
            Material::Rsa { n, e } => {
                if n.len() > MAX_RSA_BYTES {
                    return Err(IgnoredReason::OversizedKey);
                }
                DecodingKey::from_rsa_raw_components(n, e)
            }
            Material::Ec { curve, point } => {
                let algorithm = match curve {
                    KeyType::P256 => JwtAlgorithm::ES256,
                    KeyType::P384 => JwtAlgorithm::ES384,
                    KeyType::P521
                    | KeyType::Rsa
                    | KeyType::Ed25519
                    | KeyType::MlDsa44
                    | KeyType::MlDsa65
                    | KeyType::MlDsa87 => return Err(IgnoredReason::UnsupportedAlgorithm),
                };
                let key = DecodingKey::from_ec_der(point);
                (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &key)
                    .map_err(|_| IgnoredReason::InvalidKey)?;
                key
            }
            Material::Ed25519 { x } => DecodingKey::from_ed_der(x),
            Material::MlDsa { .. } => return Err(IgnoredReason::UnsupportedAlgorithm),
        };
        Ok(Self { key })
    }

    pub(crate) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        jwt_algorithm(algorithm)
            .is_some_and(|algorithm| verify(algorithm, &self.key, message, signature))
    }
}

pub(crate) fn hmac_verify(
    algorithm: HmacAlgorithm,
    secret: &[u8],
    message: &[u8],
    tag: &[u8],
) -> bool {
    let algorithm = hmac_algorithm(algorithm);
    DecodingKey::from_secret(secret).is_ok_and(|key| verify(algorithm, &key, message, tag))
}

fn verify(algorithm: JwtAlgorithm, key: &DecodingKey, message: &[u8], signature: &[u8]) -> bool {
    (DEFAULT_PROVIDER.verifier_factory)(&algorithm, key)
        .is_ok_and(|verifier| verifier.verify(message, &signature.to_vec()).is_ok())
}

/// Signs with a private key: PKCS #1 for RSA, PKCS #8 for the others.
#[cfg(any(feature = "client", feature = "introspection"))]
pub(crate) fn sign(
    algorithm: Algorithm,
    der: &[u8],
    message: &[u8],
) -> Result<Vec<u8>, CryptoFailure> {
    let key = match KeyType::of(algorithm) {
        KeyType::Rsa => EncodingKey::from_rsa_der(der),
        KeyType::P256 | KeyType::P384 | KeyType::P521 => EncodingKey::from_ec_der(der),
        KeyType::Ed25519 => EncodingKey::from_ed_der(der),
        KeyType::MlDsa44 | KeyType::MlDsa65 | KeyType::MlDsa87 => return Err(CryptoFailure),
    };
    sign_with(jwt_algorithm(algorithm).ok_or(CryptoFailure)?, &key, message)
}

/// Returns the public half of a private key: PKCS #1 for RSA, PKCS #8 for the others.
#[cfg(all(feature = "client", feature = "dpop"))]
pub(crate) fn public(algorithm: Algorithm, der: &[u8]) -> Result<Material, CryptoFailure> {
    let utils = &DEFAULT_PROVIDER.key_utils;
    let curve = KeyType::of(algorithm);
    match curve {
        KeyType::Rsa => (utils.rsa_pub_components_from_private_key)(der)
            .map(|(n, e)| Material::Rsa { n: n.into(), e: e.into() }),
        KeyType::P256 | KeyType::P384 | KeyType::P521 => {
            let algorithm = jwt_algorithm(algorithm).ok_or(CryptoFailure)?;
            (utils.ec_pub_components_from_private_key)(der, algorithm)
                .map(|(_, x, y)| Material::Ec { curve, point: [&[4], &*x, &*y].concat().into() })
        }
        KeyType::Ed25519 => {
            let x = (utils.ed_pub_components_from_private_key)(der, &EllipticCurve::Ed25519);
            let x = x.map_err(|_| CryptoFailure)?;
            return Ok(Material::Ed25519 { x: x.try_into().map_err(|_| CryptoFailure)? });
        }
        KeyType::MlDsa44 | KeyType::MlDsa65 | KeyType::MlDsa87 => return Err(CryptoFailure),
    }
    .map_err(|_| CryptoFailure)
}

/// Returns the HMAC of a message.
#[cfg(any(feature = "client", feature = "dpop", feature = "introspection"))]
pub(crate) fn hmac_sign(
    algorithm: HmacAlgorithm,
    secret: &[u8],
    message: &[u8],
) -> Result<Vec<u8>, CryptoFailure> {
    let key = EncodingKey::from_secret(secret).map_err(|_| CryptoFailure)?;
    sign_with(hmac_algorithm(algorithm), &key, message)
}

#[cfg(any(feature = "client", feature = "dpop", feature = "introspection"))]
fn sign_with(
    algorithm: JwtAlgorithm,
    key: &EncodingKey,
    message: &[u8],
) -> Result<Vec<u8>, CryptoFailure> {
    (DEFAULT_PROVIDER.signer_factory)(&algorithm, key)
        .map_err(|_| CryptoFailure)?
        .try_sign(message)
        .map_err(|_| CryptoFailure)
}

/// Returns `true` if signatures of this algorithm can be verified and made.
pub(crate) const fn supports(algorithm: Algorithm) -> bool {
    jwt_algorithm(algorithm).is_some()
}

const fn jwt_algorithm(algorithm: Algorithm) -> Option<JwtAlgorithm> {
    match algorithm {
        Algorithm::RS256 => Some(JwtAlgorithm::RS256),
        Algorithm::RS384 => Some(JwtAlgorithm::RS384),
        Algorithm::RS512 => Some(JwtAlgorithm::RS512),
        Algorithm::PS256 => Some(JwtAlgorithm::PS256),
        Algorithm::PS384 => Some(JwtAlgorithm::PS384),
        Algorithm::PS512 => Some(JwtAlgorithm::PS512),
        Algorithm::ES256 => Some(JwtAlgorithm::ES256),
        Algorithm::ES384 => Some(JwtAlgorithm::ES384),
        Algorithm::ES512 | Algorithm::MlDsa44 | Algorithm::MlDsa65 | Algorithm::MlDsa87 => None,
        Algorithm::EdDSA => Some(JwtAlgorithm::EdDSA),
    }
}

const fn hmac_algorithm(algorithm: HmacAlgorithm) -> JwtAlgorithm {
    match algorithm {
        HmacAlgorithm::HS256 => JwtAlgorithm::HS256,
        HmacAlgorithm::HS384 => JwtAlgorithm::HS384,
        HmacAlgorithm::HS512 => JwtAlgorithm::HS512,
    }
}
