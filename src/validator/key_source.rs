//! Where a validator gets its keys from: a key source, its builder, or introspection.

use std::sync::Arc;

use crate::error::ConfigError;
use crate::jose::HmacAlgorithm;
use crate::jwks::{Jwks, JwksBuilder};
use crate::secret::Secret;
use crate::transport::Transport;

/// Where a validator gets its keys: made from a [`Jwks`], which other validators may share, or
/// from a [`JwksBuilder`].
#[derive(Debug)]
pub struct KeySource(pub(crate) Source);

#[derive(Debug)]
pub(crate) enum Source {
    Jwks(Jwks),
    Builder(Box<JwksBuilder>),
    SharedSecret(HmacAlgorithm, Secret),
    #[cfg(feature = "introspection")]
    Introspection(Box<crate::introspection::Introspection>),
}

impl KeySource {
    pub(crate) const fn shared_secret(algorithm: HmacAlgorithm, secret: Secret) -> Self {
        Self(Source::SharedSecret(algorithm, secret))
    }

    pub(crate) const fn is_shared_secret(&self) -> bool {
        matches!(self.0, Source::SharedSecret(..))
    }

    /// Returns how the issuer is asked about every token, if it is.
    #[cfg(feature = "introspection")]
    pub(crate) fn introspection(&self) -> Option<&crate::introspection::Introspection> {
        match &self.0 {
            Source::Introspection(introspection) => Some(introspection),
            _ => None,
        }
    }

    /// Makes a source that isn't built yet safe for an address that any tenant may have chosen.
    ///
    /// # Errors
    ///
    /// If it is built, and may fetch from addresses from which tenants' keys may not be fetched.
    pub(crate) fn for_a_tenant(
        self,
        transport: Option<&Arc<dyn Transport>>,
        private_addresses: bool,
    ) -> Result<Self, ConfigError> {
        match self.0 {
            Source::Builder(builder) => {
                let builder = builder.for_a_tenant(transport, private_addresses);
                Ok(Self(Source::Builder(Box::new(builder))))
            }
            Source::Jwks(jwks) if !private_addresses && jwks.may_fetch_privately() => {
                Err(ConfigError::new(
                    "the resolver returned a Jwks that may fetch keys from private addresses: return its \
                     JwksBuilder without .build(), or call .public_addresses_only() on that before",
                ))
            }
            other => Ok(Self(other)),
        }
    }
}

/// The issuer is asked about every token, whatever its form.
#[cfg(feature = "introspection")]
#[cfg_attr(docsrs, doc(cfg(feature = "introspection")))]
impl From<crate::introspection::Introspection> for KeySource {
    fn from(introspection: crate::introspection::Introspection) -> Self {
        Self(Source::Introspection(Box::new(introspection)))
    }
}

impl From<Jwks> for KeySource {
    fn from(jwks: Jwks) -> Self {
        Self(Source::Jwks(jwks))
    }
}

impl From<JwksBuilder> for KeySource {
    fn from(builder: JwksBuilder) -> Self {
        Self(Source::Builder(Box::new(builder)))
    }
}
