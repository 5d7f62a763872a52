use std::fmt;

use crate::error::ConfigError;
use crate::jose::alg::Backend;
use crate::secret::Secret;

/// The HMAC algorithms (RFC 7518 §3.2), for a secret that is shared with the issuer.
///
/// They stand apart from [`Algorithm`](crate::jose::Algorithm): whoever can check such a token can
/// make one, and a key set never brings such a key.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum HmacAlgorithm {
    /// HMAC with SHA-256: a secret of at least 32 bytes.
    HS256,
    /// HMAC with SHA-384: a secret of at least 48 bytes.
    HS384,
    /// HMAC with SHA-512: a secret of at least 64 bytes.
    HS512,
}

impl HmacAlgorithm {
    /// Returns the name in the JOSE registry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
        }
    }

    const fn hash_bytes(self) -> usize {
        match self {
            Self::HS256 => 32,
            Self::HS384 => 48,
            Self::HS512 => 64,
        }
    }
}

/// A secret with the one algorithm that it is for.
pub(crate) struct HmacKey {
    algorithm: HmacAlgorithm,
    secret: Secret,
    backend: Backend,
}

impl HmacKey {
    pub(crate) fn new(
        algorithm: HmacAlgorithm,
        secret: Secret,
        backend: Backend,
    ) -> Result<Self, ConfigError> {
        let least = algorithm.hash_bytes();
        if secret.expose().len() < least {
            return Err(ConfigError::new(format!(
                "the shared secret is too short for {}: use at least {least} random bytes \
                 (RFC 7518 section 3.2)",
                algorithm.name()
            )));
        }
        Ok(Self { algorithm, secret, backend })
    }

    pub(crate) const fn algorithm(&self) -> HmacAlgorithm {
        self.algorithm
    }

    /// Tells whether the tag holds, in a time that doesn't depend on where it differs.
    #[allow(unused_variables, reason = "without a backend there is nothing to call")]
    pub(crate) fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        match self.backend {
            #[cfg(feature = "aws-lc-rs")]
            Backend::AwsLcRs => crate::jose::backend_aws_lc::hmac_verify(
                self.algorithm,
                self.secret.expose(),
                message,
                tag,
            ),
            #[cfg(feature = "rust-crypto")]
            Backend::RustCrypto => crate::jose::backend_rust_crypto::hmac_verify(
                self.algorithm,
                self.secret.expose(),
                message,
                tag,
            ),
        }
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HmacKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}
