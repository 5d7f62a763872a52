//! What a token is bound to, in words.

use crate::token::Confirmation;
#[cfg(feature = "introspection")]
use crate::token::Verified;

/// What a token is bound to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct BoundTo {
    pub(crate) key: bool,
    pub(crate) certificate: bool,
}

impl BoundTo {
    pub(crate) fn of(confirmation: &Confirmation<'_>) -> Option<Self> {
        match confirmation {
            Confirmation::None => Some(Self { key: false, certificate: false }),
            Confirmation::Bound(to) => {
                Some(Self { key: to.key.is_some(), certificate: to.certificate.is_some() })
            }
            Confirmation::Other => None,
        }
    }

    #[cfg(feature = "introspection")]
    pub(crate) fn of_verified<C>(verified: &Verified<C>) -> Self {
        let claims = &verified.claims;
        let (key, certificate) = (claims.key_thumbprint(), claims.certificate_thumbprint());
        Self { key: key.is_some(), certificate: certificate.is_some() }
    }

    /// Says what it is.
    pub(crate) const fn said(self) -> &'static str {
        match (self.key, self.certificate) {
            (false, false) => "not bound",
            (true, false) => "bound to a key; the proof is checked with each request",
            (false, true) => "bound to a certificate; it is checked with each request",
            (true, true) => "bound to a key and a certificate; both are checked with each request",
        }
    }
}
