//! What tells two grants apart.

use crate::client::grant::builder::GrantBuilder;
use crate::client::grant::response::AnswerRules;
use crate::digest::{Digest, Parts};

impl GrantBuilder {
    /// Returns what tells this grant, but for its secret, from all others, and its tenant.
    pub(crate) fn digests(&self) -> (Digest, Digest) {
        let mut scopes = self.scopes.clone();
        scopes.sort_unstable();
        let server = |purpose| {
            let discover: &[u8] = if self.discover { b"issuer" } else { b"endpoint" };
            let parts = Parts::new(purpose).part(discover).part(&self.address);
            let parts = parts.part(self.issuer.as_deref().unwrap_or_default());
            self.auth.distinguish(parts)
        };
        let secret = self.auth.source().map(|source| source.identity()).unwrap_or_default();
        let tenant = match &self.tenant {
            Some(name) => Parts::new("named tenant").part(name).finish(),
            None => server("tenant").part(secret).finish(),
        };
        let AnswerRules { token_types, no_token_type, created, comma_separated } = &self.answers;
        let bools = [
            self.all_scopes_required,
            self.bounded_by_jwt,
            self.certificate_bound,
            *no_token_type,
            *created,
            *comma_separated,
        ];
        let distinction = server("distinction")
            .part(self.tenant.as_deref().unwrap_or_default())
            .list(scopes.iter())
            .list(self.resources.iter())
            .list(self.audiences.iter())
            .list(self.parameters.iter().map(|(name, _)| name))
            .list(self.parameters.iter().map(|(_, value)| value.as_bytes()))
            .part(bools.map(u8::from))
            .list(token_types.iter())
            .part(self.default_lifetime.as_nanos().to_be_bytes())
            // The place of DPoP's key thumbprint.
            .part("")
            .finish();
        (distinction, tenant)
    }
}
