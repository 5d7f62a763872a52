//! Which schemes a refusal's challenges name, where tokens may or must be bound.

use crate::answer::Schemes;
use crate::middleware::map::Proofs;
use crate::middleware::routes::access::{Rule, Rules};
use crate::middleware::settings::Settings;
use crate::refusal::{Refusal, RejectionKind};

impl Settings {
    /// Returns `true` if the only challenge is that of DPoP, whatever is wrong. For a hidden route, it is as
    /// for an absent path.
    pub(crate) fn needs_key(&self, rules: &Rules<'_>) -> bool {
        if rules.iter().any(Rule::hides) {
            self.otherwise.needs_key(self.certificates)
        } else {
            self.any_needs_key(rules)
        }
    }

    pub(crate) fn any_needs_key(&self, rules: &Rules<'_>) -> bool {
        rules.iter().any(|rule| rule.needs_key(self.certificates))
    }

    /// Returns which challenges a refusal is answered with. `proved` says whether the scheme DPoP was used,
    /// `needs_key` whether the route accepts no other.
    pub(crate) fn asked(&self, refusal: &Refusal, proved: bool, needs_key: bool) -> Schemes {
        let Some(Proofs { required, .. }) = self.proofs else { return Schemes::Bearer };
        let is_unbound = matches!(
            refusal,
            Refusal::Rejection(rejection) if rejection.kind() == RejectionKind::TokenNotBound
        );
        if required || needs_key || (is_unbound && !proved && !self.certificates) {
            Schemes::OnlyDpop
        } else if proved {
            Schemes::Dpop
        } else {
            Schemes::Bearer
        }
    }
}
