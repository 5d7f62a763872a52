//! Refusals for rules that no token can meet, which are misconfigurations and not the caller's fault.

use crate::middleware::settings::Settings;
use crate::refusal::{Detail, Misconfigured, Refusal, Rejection, RejectionKind};
use crate::telemetry::event;
use crate::token::{Claims, Lookup};

const NO_PROOFS: &str = "a route requires bound tokens, but the validator accepts no proofs: give it a \
                         Dpop with ValidatorBuilder::dpop (or, where a certificate is enough, an Mtls \
                         with ValidatorBuilder::mtls)";

const NOT_KEPT: &str = "a condition or a handler asks for a claim that the validator doesn't keep: add it \
                        to ValidatorBuilder::keep_claims";

/// Returns the refusal for a rule that isn't met; `needs_key` says whether tokens must be bound to a key.
pub(crate) fn settle(
    rejection: Rejection,
    token: Option<&Claims>,
    settings: &Settings,
    needs_key: bool,
) -> Refusal {
    match (rejection.kind(), rejection.detail()) {
        (RejectionKind::TokenNotBound, _) => not_bound(settings, needs_key),
        (RejectionKind::ClaimRefused, Detail::Refused { claim, absent: true }) => {
            let misconfigured = token.and_then(|token| unkept(token, claim));
            misconfigured.map_or_else(|| rejection.into(), Refusal::from)
        }
        _ => rejection.into(),
    }
}

/// Refuses a token where only bound tokens are accepted; `needs_key` says whether a certificate isn't
/// enough.
pub(crate) fn not_bound(settings: &Settings, needs_key: bool) -> Refusal {
    if needs_key && settings.proofs.is_none() {
        Misconfigured::new(NO_PROOFS).into()
    } else {
        RejectionKind::TokenNotBound.into()
    }
}

/// Returns the fault, and logs it, if the validator that accepted a token doesn't keep a claim.
pub(crate) fn unkept(token: &Claims, claim: &str) -> Option<Misconfigured> {
    matches!(token.kept(claim), Lookup::NotKept).then(|| {
        event!(ERROR, code = "misconfigured", claim, "a rule asks for a claim that isn't kept");
        Misconfigured::new(NOT_KEPT)
    })
}
