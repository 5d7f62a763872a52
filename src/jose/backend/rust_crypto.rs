use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;

use jsonwebtoken::{Algorithm as JwtAlgorithm, DecodingKey};

use crate::jose::alg::{Algorithm, HmacAlgorithm};
use crate::jose::ignored::IgnoredReason;
use crate::jose::material::{KeyType, Material};

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
                    KeyType::P521 | KeyType::Rsa | KeyType::Ed25519 => {
                        return Err(IgnoredReason::UnsupportedAlgorithm);
                    }
                };
                let key = DecodingKey::from_ec_der(point);
                (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &key)
                    .map_err(|_| IgnoredReason::InvalidKey)?;
                key
            }
            Material::Ed25519 { x } => DecodingKey::from_ed_der(x),
        };
        Ok(Self { key })
    }

    pub(crate) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let algorithm = match algorithm {
            Algorithm::RS256 => JwtAlgorithm::RS256,
            Algorithm::RS384 => JwtAlgorithm::RS384,
            Algorithm::RS512 => JwtAlgorithm::RS512,
            Algorithm::PS256 => JwtAlgorithm::PS256,
            Algorithm::PS384 => JwtAlgorithm::PS384,
            Algorithm::PS512 => JwtAlgorithm::PS512,
            Algorithm::ES256 => JwtAlgorithm::ES256,
            Algorithm::ES384 => JwtAlgorithm::ES384,
            Algorithm::ES512 => return false,
            Algorithm::EdDSA => JwtAlgorithm::EdDSA,
        };
        verify(algorithm, &self.key, message, signature)
    }
}

pub(crate) fn hmac_verify(
    algorithm: HmacAlgorithm,
    secret: &[u8],
    message: &[u8],
    tag: &[u8],
) -> bool {
    let algorithm = match algorithm {
        HmacAlgorithm::HS256 => JwtAlgorithm::HS256,
        HmacAlgorithm::HS384 => JwtAlgorithm::HS384,
        HmacAlgorithm::HS512 => JwtAlgorithm::HS512,
    };
    DecodingKey::from_secret(secret).is_ok_and(|key| verify(algorithm, &key, message, tag))
}

fn verify(algorithm: JwtAlgorithm, key: &DecodingKey, message: &[u8], signature: &[u8]) -> bool {
    (DEFAULT_PROVIDER.verifier_factory)(&algorithm, key)
        .is_ok_and(|verifier| verifier.verify(message, &signature.to_vec()).is_ok())
}
