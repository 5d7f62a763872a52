//! Which crypto backends are compiled in, and which one is used by default.

use crate::error::ConfigError;
use crate::jose::alg::Algorithm;
#[cfg(feature = "aws-lc-rs")]
use crate::jose::backend::aws_lc;
#[cfg(feature = "rust-crypto")]
use crate::jose::backend::rust_crypto;

/// The implementation that checks signatures.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Backend {
    /// AWS-LC, through `aws-lc-rs`.
    #[cfg(feature = "aws-lc-rs")]
    AwsLcRs,
    /// The RustCrypto crates, through `jsonwebtoken`.
    #[cfg(feature = "rust-crypto")]
    RustCrypto,
}

impl Backend {
    /// Returns the backend that is used where none is chosen: `aws-lc-rs` if that feature is on,
    /// else `rust-crypto`; `None` if neither is.
    #[allow(unreachable_code, reason = "which lines are reached depends on the features")]
    pub const fn preferred() -> Option<Self> {
        #[cfg(feature = "aws-lc-rs")]
        return Some(Self::AwsLcRs);
        #[cfg(feature = "rust-crypto")]
        return Some(Self::RustCrypto);
        None
    }

    /// Returns those that are on.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        vec![
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLcRs,
            #[cfg(feature = "rust-crypto")]
            Self::RustCrypto,
        ]
    }

    pub(crate) fn preferred_or_error() -> Result<Self, ConfigError> {
        Self::preferred().ok_or(ConfigError::new(
            "there is nothing to check signatures with: turn on the feature \"aws-lc-rs\" or \
             \"rust-crypto\" of tower-bearer",
        ))
    }

    /// Returns `true` if the backend has the algorithm.
    pub const fn supports(self, algorithm: Algorithm) -> bool {
        match self {
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLcRs => aws_lc::supports(algorithm),
            #[cfg(feature = "rust-crypto")]
            Self::RustCrypto => rust_crypto::supports(algorithm),
        }
    }
}

#[cfg(all(test, any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod tests {
    use super::*;
    use crate::jose::key::VerificationKey;
    use crate::jose::key_type::KeyType;
    use crate::jose::material::Material;
    use crate::jose::spki::key_from_pem;

    macro_rules! pem {
        ($name:literal) => {
            include_str!(concat!("../../../fixtures/keys/", $name, ".pub.pem"))
        };
    }

    #[test]
    fn a_backend_takes_the_keys_of_the_algorithms_that_it_has_and_no_others() {
        let backends = [
            #[cfg(feature = "aws-lc-rs")]
            Backend::AwsLcRs,
            #[cfg(feature = "rust-crypto")]
            Backend::RustCrypto,
        ];
        for backend in backends {
            for algorithm in Algorithm::ALL.iter().copied() {
                let of_pem = |pem| key_from_pem(pem, None, backend).is_ok();
                let takes = match KeyType::of(algorithm) {
                    KeyType::Rsa => of_pem(pem!("rsa2048")),
                    KeyType::P256 => of_pem(pem!("p256")),
                    KeyType::P384 => of_pem(pem!("p384")),
                    KeyType::P521 => of_pem(pem!("p521")),
                    KeyType::Ed25519 => of_pem(pem!("ed25519")),
                    set @ (KeyType::MlDsa44 | KeyType::MlDsa65 | KeyType::MlDsa87) => {
                        let public = vec![7; set.coordinate_bytes()].into();
                        let material = Material::MlDsa { set, public };
                        VerificationKey::new(None, None, material, backend).is_ok()
                    }
                };
                assert_eq!(takes, backend.supports(algorithm), "{backend:?} {algorithm}");
            }
        }
    }
}
