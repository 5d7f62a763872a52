//! The signature algorithms of client assertions, and the kind of key that each needs.

use std::fmt;

use crate::jose::{Algorithm, Backend, ED25519, HmacAlgorithm, every_variant};

/// The signature algorithms of client assertions, by their names in the JOSE registry.
///
/// Those with a private key are for [`ClientAuth::private_key_jwt`], the three with HMAC for
/// [`ClientAuth::client_secret_jwt`].
///
/// [`ClientAuth::private_key_jwt`]: crate::client::ClientAuth::private_key_jwt
/// [`ClientAuth::client_secret_jwt`]: crate::client::ClientAuth::client_secret_jwt
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AssertionAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3).
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256 (RFC 7518 §3.5).
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256 (RFC 7518 §3.4).
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// ECDSA on P-521 with SHA-512. The feature `rust-crypto` alone doesn't have it.
    ES512,
    /// Ed25519, under the name that all of EdDSA's curves share (RFC 8037 §3.1).
    EdDSA,
    /// Ed25519, under its own name (RFC 9864 §2.2), which newer servers demand.
    Ed25519,
    /// HMAC with SHA-256 (RFC 7518 §3.2).
    HS256,
    /// HMAC with SHA-384.
    HS384,
    /// HMAC with SHA-512.
    HS512,
}

/// The kind of key that signs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scheme {
    PrivateKey(Algorithm),
    Secret(HmacAlgorithm),
}

impl AssertionAlgorithm {
    every_variant! {
        /// All of them.
        pub const ALL = [
            RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519, HS256,
            HS384, HS512,
        ]
    }

    /// Returns the name in the JOSE registry.
    pub const fn name(self) -> &'static str {
        match (self, self.scheme()) {
            (Self::Ed25519, _) => ED25519,
            (_, Scheme::PrivateKey(algorithm)) => algorithm.name(),
            (_, Scheme::Secret(algorithm)) => algorithm.name(),
        }
    }

    pub(crate) const fn scheme(self) -> Scheme {
        match self {
            Self::RS256 => Scheme::PrivateKey(Algorithm::RS256),
            Self::RS384 => Scheme::PrivateKey(Algorithm::RS384),
            Self::RS512 => Scheme::PrivateKey(Algorithm::RS512),
            Self::PS256 => Scheme::PrivateKey(Algorithm::PS256),
            Self::PS384 => Scheme::PrivateKey(Algorithm::PS384),
            Self::PS512 => Scheme::PrivateKey(Algorithm::PS512),
            Self::ES256 => Scheme::PrivateKey(Algorithm::ES256),
            Self::ES384 => Scheme::PrivateKey(Algorithm::ES384),
            Self::ES512 => Scheme::PrivateKey(Algorithm::ES512),
            Self::EdDSA | Self::Ed25519 => Scheme::PrivateKey(Algorithm::EdDSA),
            Self::HS256 => Scheme::Secret(HmacAlgorithm::HS256),
            Self::HS384 => Scheme::Secret(HmacAlgorithm::HS384),
            Self::HS512 => Scheme::Secret(HmacAlgorithm::HS512),
        }
    }

    /// Returns `true` if a crypto backend can sign with it.
    pub(crate) fn is_supported(self) -> bool {
        Backend::preferred().is_some_and(|backend| match self.scheme() {
            Scheme::PrivateKey(algorithm) => backend.supports(algorithm),
            Scheme::Secret(_) => true,
        })
    }
}

impl fmt::Display for AssertionAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the assertion algorithm for keys that verify with this one.
    const fn assertion(algorithm: Algorithm) -> Option<AssertionAlgorithm> {
        match algorithm {
            Algorithm::RS256 => Some(AssertionAlgorithm::RS256),
            Algorithm::RS384 => Some(AssertionAlgorithm::RS384),
            Algorithm::RS512 => Some(AssertionAlgorithm::RS512),
            Algorithm::PS256 => Some(AssertionAlgorithm::PS256),
            Algorithm::PS384 => Some(AssertionAlgorithm::PS384),
            Algorithm::PS512 => Some(AssertionAlgorithm::PS512),
            Algorithm::ES256 => Some(AssertionAlgorithm::ES256),
            Algorithm::ES384 => Some(AssertionAlgorithm::ES384),
            Algorithm::ES512 => Some(AssertionAlgorithm::ES512),
            Algorithm::EdDSA => Some(AssertionAlgorithm::EdDSA),
            // Private keys of these are made for tests only.
            Algorithm::MlDsa44 | Algorithm::MlDsa65 | Algorithm::MlDsa87 => None,
        }
    }

    const fn assertion_with_secret(algorithm: HmacAlgorithm) -> AssertionAlgorithm {
        match algorithm {
            HmacAlgorithm::HS256 => AssertionAlgorithm::HS256,
            HmacAlgorithm::HS384 => AssertionAlgorithm::HS384,
            HmacAlgorithm::HS512 => AssertionAlgorithm::HS512,
        }
    }

    #[test]
    fn they_are_those_of_jose() {
        for algorithm in Algorithm::ALL.iter().copied() {
            let Some(assertion) = assertion(algorithm) else { continue };
            assert_eq!(assertion.scheme(), Scheme::PrivateKey(algorithm));
            assert_eq!(assertion.name(), algorithm.name());
        }
        for own in AssertionAlgorithm::ALL.iter().copied() {
            let (jose, found) = match own.scheme() {
                Scheme::PrivateKey(algorithm) => (algorithm.name(), assertion(algorithm)),
                Scheme::Secret(hmac) => (hmac.name(), Some(assertion_with_secret(hmac))),
            };
            // The one that has two names (RFC 9864 §2.2).
            if own == AssertionAlgorithm::Ed25519 {
                assert_eq!((own.name(), found), ("Ed25519", Some(AssertionAlgorithm::EdDSA)));
            } else {
                assert_eq!((own.name(), Some(own)), (jose, found));
            }
        }
    }
}
