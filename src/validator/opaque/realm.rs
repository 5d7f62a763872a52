//! What a realm knows about asking its issuer.

use crate::validator::opaque::asked::Asked;
use crate::validator::realm::Realm;
use crate::validator::trust::Trust;

impl Realm {
    /// Sets how the issuer is asked.
    pub(crate) fn asking(mut self, asked: Option<Asked>) -> Self {
        self.asked = asked;
        self
    }

    /// Returns `true` if the issuer is asked about every token, since it has no keys.
    pub(crate) const fn has_no_keys(&self) -> bool {
        matches!(self.trust, Trust::Introspection)
    }

    /// Returns `true` if the issuer is asked about its JWTs, too.
    pub(crate) fn asks_about_jwts(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.rules.jwts)
    }
}
