//! The setters for introspection on both builders.

use crate::introspection::Introspection;
use crate::validator::builder::ValidatorBuilder;
use crate::validator::issuers::Issuer;

impl<C> ValidatorBuilder<C> {
    /// Asks the issuer about tokens that aren't JWTs (RFC 7662); see
    /// [`introspection`](crate::introspection).
    #[cfg_attr(docsrs, doc(cfg(feature = "introspection")))]
    #[must_use]
    pub fn introspection(mut self, asking: Introspection) -> Self {
        self.settings.introspection = Some(asking);
        self
    }
}

impl Issuer {
    /// Asks the issuer about tokens that aren't JWTs (RFC 7662); see
    /// [`introspection`](crate::introspection).
    #[cfg_attr(docsrs, doc(cfg(feature = "introspection")))]
    #[must_use]
    pub fn introspection(mut self, asking: Introspection) -> Self {
        self.settings.introspection = Some(asking);
        self
    }
}
