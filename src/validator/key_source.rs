use crate::jose::HmacAlgorithm;
use crate::jwks::{Jwks, JwksBuilder};
use crate::secret::Secret;

/// Where a validator gets its keys: made from a [`Jwks`], which other validators may share, or
/// from a [`JwksBuilder`].
#[derive(Debug)]
pub struct KeySource(pub(crate) Source);

#[derive(Debug)]
pub(crate) enum Source {
    Jwks(Jwks),
    Builder(Box<JwksBuilder>),
    SharedSecret(HmacAlgorithm, Secret),
}

impl KeySource {
    pub(crate) const fn shared_secret(algorithm: HmacAlgorithm, secret: Secret) -> Self {
        Self(Source::SharedSecret(algorithm, secret))
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
