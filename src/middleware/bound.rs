//! What a rule requires a token to be bound to.

use crate::token::Claims;

/// What tokens must be bound to.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Bound {
    #[default]
    Nothing,
    /// A key or a certificate.
    #[cfg_attr(not(any(feature = "dpop", feature = "mtls")), allow(dead_code))]
    Anything,
    #[cfg_attr(not(feature = "dpop"), allow(dead_code))]
    Key,
}

impl Bound {
    pub(crate) fn is_met_by(self, token: &Claims) -> bool {
        match self {
            Self::Nothing => true,
            Self::Anything => token.is_bound(),
            Self::Key => token.key_thumbprint().is_some(),
        }
    }

    /// Returns `true` if only a token that is bound to a key can meet it. `certificates` says whether tokens
    /// may be bound to a certificate instead.
    pub(crate) const fn needs_key(self, certificates: bool) -> bool {
        match self {
            Self::Nothing => false,
            Self::Anything => !certificates,
            Self::Key => true,
        }
    }
}
