//! The digests of a grant by which caches keep tokens of different grants and tenants apart.

use crate::client::grant::builder::GrantBuilder;
use crate::client::grant::response::AnswerRules;
use crate::digest::{Digest, Parts};

impl GrantBuilder {
    /// Returns the digest of everything in this grant but its secret, and that of its tenant.
    pub(crate) fn digests(&self) -> (Digest, Digest) {
        let mut scopes = self.scopes.clone();
        scopes.sort_unstable();
        let server = |purpose| {
            let discover: &[u8] = if self.discover { b"issuer" } else { b"endpoint" };
            let parts = Parts::new(purpose).part(discover).part(&self.address);
            let parts = parts.part(self.issuer.as_deref().unwrap_or_default());
            self.auth.distinguish(parts)
        };
        let tenant = match &self.tenant {
            Some(name) => Parts::new("named tenant").part(name).finish(),
            None => server("tenant").part(self.auth.identity()).part(self.kind.identity()).finish(),
        };
        let AnswerRules { token_types, no_token_type, created, comma_separated, proved, .. } =
            &self.answers;
        // The key itself may change: its thumbprint is part of the name in a shared store.
        let bound = match (proved, self.answers.bearer_for_proof) {
            (false, _) => "",
            (true, false) => "DPoP",
            (true, true) => "DPoP, or bearer",
        };
        let bools = [
            self.all_scopes_required,
            self.bounded_by_jwt,
            self.certificate_bound,
            self.root_endpoint,
            *no_token_type,
            *created,
            *comma_separated,
            self.wider_scope,
        ];
        let distinction = self
            .kind
            .distinguish(server("distinction"))
            .part(self.tenant.as_deref().unwrap_or_default())
            .list(scopes.iter())
            .list(self.resources.iter())
            .list(self.audiences.iter())
            .list(self.parameters.iter().map(|(name, _)| name))
            .list(self.parameters.iter().map(|(_, value)| value.as_bytes()))
            .part(bools.map(u8::from))
            .list(token_types.iter())
            .part(self.default_lifetime.as_nanos().to_be_bytes())
            .part(bound)
            .finish();
        (distinction, tenant)
    }
}
