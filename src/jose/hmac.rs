//! A secret that is shared with the issuer: makes and verifies HMAC tags.

use std::fmt;

use crate::error::ConfigError;
use crate::jose::alg::HmacAlgorithm;
use crate::jose::backend::choice::Backend;
use crate::secret::Secret;

/// A secret and the one algorithm that it is used with.
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

    /// Returns the tag of a message; `None` if the backend can't make one.
    #[cfg(feature = "dpop")]
    pub(crate) fn tag(&self, message: &[u8]) -> Option<Vec<u8>> {
        match self.backend {
            #[cfg(feature = "aws-lc-rs")]
            Backend::AwsLcRs => Some(crate::jose::backend::aws_lc::hmac_sign(
                self.algorithm,
                self.secret.expose(),
                message,
            )),
            #[cfg(feature = "rust-crypto")]
            Backend::RustCrypto => crate::jose::backend::rust_crypto::hmac_sign(
                self.algorithm,
                self.secret.expose(),
                message,
            )
            .ok(),
        }
    }

    /// Returns `true` if the tag is valid, in a time that doesn't depend on where it differs.
    pub(crate) fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        match self.backend {
            #[cfg(feature = "aws-lc-rs")]
            Backend::AwsLcRs => crate::jose::backend::aws_lc::hmac_verify(
                self.algorithm,
                self.secret.expose(),
                message,
                tag,
            ),
            #[cfg(feature = "rust-crypto")]
            Backend::RustCrypto => crate::jose::backend::rust_crypto::hmac_verify(
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

#[cfg(all(test, any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod tests {
    use super::*;
    use crate::jose::compact::{Compact, decode_segment};

    /// RFC 7515 appendix A.1.
    const SECRET: &[u8] =
        b"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    const JWS: &[u8] = b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    // K20
    #[test]
    fn k20_the_vector_of_the_rfc_holds_and_no_other_tag_does() {
        let compact = Compact::split(JWS).unwrap_or_else(|kind| panic!("{kind:?}"));
        let tag = decode_segment(compact.signature).unwrap();
        for backend in Backend::all() {
            let secret = Secret::new(decode_segment(SECRET).unwrap());
            let key = HmacKey::new(HmacAlgorithm::HS256, secret.clone(), backend).unwrap();
            assert!(key.verify(compact.signing_input, &tag), "{backend:?}");
            for at in 0..tag.len() {
                let mut other = tag.clone();
                other[at] ^= 1;
                assert!(!key.verify(compact.signing_input, &other), "{backend:?} {at}");
            }
            assert!(!key.verify(compact.signing_input, &tag[..31]), "{backend:?}");
            assert!(!key.verify(compact.signing_input, &[]), "{backend:?}");
            assert!(!key.verify(b"else", &tag), "{backend:?}");
            let key = HmacKey::new(HmacAlgorithm::HS384, secret, backend).unwrap();
            assert!(!key.verify(compact.signing_input, &tag), "{backend:?}");
        }
    }

    // J14
    #[test]
    fn j14_a_secret_is_at_least_as_long_as_the_hash() {
        for (algorithm, least) in
            [(HmacAlgorithm::HS256, 32), (HmacAlgorithm::HS384, 48), (HmacAlgorithm::HS512, 64)]
        {
            for backend in Backend::all() {
                let key = |len: usize| HmacKey::new(algorithm, Secret::new(vec![7; len]), backend);
                assert!(key(least).is_ok());
                assert!(key(least - 1).unwrap_err().to_string().contains("too short"));
            }
        }
    }
}
