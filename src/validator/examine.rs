//! Decides about a token that comes alone, and adds the checks of what else its use depends on: for operators.

use std::any::TypeId;

use serde::de::DeserializeOwned;

use crate::refusal::Refusal;
use crate::token::NoClaims;
#[cfg(any(feature = "dpop", feature = "mtls"))]
use crate::validator::bind::NO_PROOF;
use crate::validator::bound_to::BoundTo;
use crate::validator::checks::{Check, Checks};
use crate::validator::handle::Validator;
use crate::validator::unreadable::read_extra;

impl<C: DeserializeOwned + Send + Sync + 'static> Validator<C> {
    /// Decides about a token as [`validate`](Self::validate) does, without counting it, and returns each
    /// check.
    pub(crate) async fn examine(&self, token: &[u8]) -> (Option<Refusal>, Vec<Check>) {
        let verified = match self.recall(token) {
            Some(verified) => Ok(verified),
            None => self.verify(token, None).settled().await,
        };
        #[cfg(any(feature = "dpop", feature = "mtls"))]
        let refusal = self.accept_alone(verified.clone()).await.err();
        #[cfg(not(any(feature = "dpop", feature = "mtls")))]
        let refusal = verified.as_ref().err().cloned();
        let checks = self.checks(token, verified.as_deref());
        (refusal, checks)
    }

    /// Adds the check of the application's own claims, which are read only from a token with a valid
    /// signature.
    pub(crate) fn add_own_claims(&self, payload: &[u8], is_genuine: bool, checks: &mut Checks) {
        const NAME: &str = "own claims";
        if TypeId::of::<C>() == TypeId::of::<NoClaims>() {
            return;
        }
        if !is_genuine {
            return checks.open(NAME, "they are read only if the signature is valid");
        }
        checks.add(NAME, read_extra::<C>(payload), |_| "the application can read them".to_owned());
    }

    /// Adds what a request must show beside the token, if this service checks such things. `_bound` is
    /// `None` if that isn't known, or nothing that can be shown.
    pub(crate) fn add_binding(&self, _bound: Option<BoundTo>, _checks: &mut Checks) {
        #[cfg(any(feature = "dpop", feature = "mtls"))]
        if self.binds() {
            const NAME: &str = "binding";
            let Some(BoundTo { key, certificate }) = _bound else {
                if self.needs_proof() {
                    _checks.open(NAME, NO_PROOF);
                }
                return;
            };
            let required = self.check_is_bound(key, key || certificate);
            if _checks.refuses(NAME, required) {
                return;
            }
            match (key, certificate) {
                (false, false) => _checks.passed(NAME, "not bound, and needn't be"),
                (true, false) => _checks.open(NAME, KEY),
                (false, true) => _checks.open(NAME, CERTIFICATE),
                (true, true) => _checks.open(NAME, BOTH),
            }
        }
    }
}

#[cfg(any(feature = "dpop", feature = "mtls"))]
const KEY: &str =
    "accepted only with the scheme DPoP and a proof by its key, new with each request";
#[cfg(any(feature = "dpop", feature = "mtls"))]
const CERTIFICATE: &str = "accepted only from a client that shows its certificate";
#[cfg(any(feature = "dpop", feature = "mtls"))]
const BOTH: &str = "accepted only with the scheme DPoP and a proof by its key, new with each request, and \
                    from a client that shows its certificate";
