//! The access rules that require bound tokens.

use crate::middleware::bound::Bound;
use crate::middleware::routes::access::Access;

impl Access {
    /// Requires tokens to be bound to a key of the client, and to come with a
    /// proof of it (RFC 9449): see [`dpop`](mod@crate::dpop).
    #[cfg(feature = "dpop")]
    #[cfg_attr(docsrs, doc(cfg(feature = "dpop")))]
    #[must_use]
    pub fn require_dpop(mut self) -> Self {
        if let Ok(rule) = &mut self.rule {
            rule.bound = rule.bound.max(Bound::Key);
        }
        self
    }

    /// Requires tokens to be bound to a key or a certificate of the client, which it must
    /// show: see [`ValidatorBuilder::require_bound`](crate::ValidatorBuilder::require_bound).
    #[cfg(any(feature = "dpop", feature = "mtls"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "dpop", feature = "mtls"))))]
    #[must_use]
    pub fn require_bound(mut self) -> Self {
        if let Ok(rule) = &mut self.rule {
            rule.bound = rule.bound.max(Bound::Anything);
        }
        self
    }
}
