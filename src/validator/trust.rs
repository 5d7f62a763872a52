//! What makes a signature valid: an issuer's keys, a shared secret, or its answer.

use crate::jose::{Algorithm, Header, HmacKey};
use crate::jwks::Jwks;
use crate::refusal::Rejection;
use crate::validator::policy::{Policy, unsupported_algorithm};
use crate::validator::standing::Watch;

/// What signatures are checked with.
#[derive(Debug)]
pub(crate) enum Trust {
    Jwks {
        keys: Jwks,
        /// Whether they were found by discovery, since no source was set.
        by_default: bool,
    },
    SharedSecret(HmacKey),
    /// No signature: the issuer is asked about every token.
    #[cfg(feature = "introspection")]
    Introspection,
}

impl Trust {
    /// Returns the accepted algorithm that the header names; `None` for the shared secret's.
    #[inline]
    pub(crate) fn check_algorithm(
        &self,
        policy: &Policy,
        header: &Header<'_>,
    ) -> Result<Option<Algorithm>, Rejection> {
        match self {
            Self::Jwks { .. } => Ok(Some(policy.check_algorithm(header)?)),
            Self::SharedSecret(key) if header.alg == key.algorithm().name() => Ok(None),
            Self::SharedSecret(_) => Err(unsupported_algorithm(header)),
            #[cfg(feature = "introspection")]
            Self::Introspection => Err(unsupported_algorithm(header)),
        }
    }

    /// Returns `true` if both use the same key source.
    pub(crate) fn is_of_the_same_keys(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Jwks { keys, .. }, Self::Jwks { keys: others, .. }) => keys.is_same(others),
            #[cfg(feature = "introspection")]
            (Self::Introspection, Self::Introspection) => true,
            _ => false,
        }
    }

    /// Returns the watch that tells which keys tokens are verified with.
    pub(crate) fn watch(&self) -> Watch {
        match self {
            Self::Jwks { keys, .. } => Watch::Keys(keys.watch()),
            Self::SharedSecret(_) => Watch::SharedSecret,
            #[cfg(feature = "introspection")]
            Self::Introspection => Watch::SharedSecret,
        }
    }
}
