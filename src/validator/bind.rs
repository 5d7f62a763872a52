//! What is decided of a request, beyond its token: whether the sender may use it.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::binding::dpop::checker::{Bound, Checker, Mode};
use crate::progress::{Pending, Progress};
use crate::refusal::{Detail, Refusal, Rejection, RejectionKind};
use crate::telemetry::count;
use crate::token::{AccessToken, Verified};
use crate::validator::handle::Validator;
use crate::validator::presented::{Presented, Proof};

impl<C> Validator<C> {
    /// Returns what checks proofs, if tokens may be bound to a key.
    pub(crate) fn dpop(&self) -> Option<&Arc<Checker>> {
        self.inner.dpop.as_ref()
    }

    /// Returns the current time, as proofs are checked by it.
    pub(crate) fn now(&self) -> crate::clock::UnixTime {
        self.inner.clock.now()
    }

    /// Returns `true` if both are clones of one.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.inner).addr()
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Validator<C> {
    /// Decides whether a request is authenticated, where tokens may be bound to a key.
    pub(crate) fn authenticate_bound(
        &self,
        checker: &Arc<Checker>,
        presented: &Presented<'_>,
    ) -> Progress<AccessToken<C>> {
        if presented.proof.is_none() && checker.mode == Mode::Require {
            return Progress::Ready(Err(not_bound("only the scheme DPoP is accepted")));
        }
        let verified = match self.recall(presented.token) {
            Some(verified) => Progress::Ready(Ok(verified)),
            None => self.verify(presented.token),
        };
        match (verified, &presented.proof) {
            (Progress::Ready(Err(refusal)), _) => Progress::Ready(Err(refusal)),
            (Progress::Ready(Ok(verified)), None) => Progress::Ready(as_bearer(verified)),
            (Progress::Ready(Ok(verified)), Some(proof)) => self.prove(checker, verified, proof),
            (Progress::Pending(verified), None) => {
                Progress::Pending(Pending::new(async move { as_bearer(verified.await?) }))
            }
            (Progress::Pending(verified), Some(proof)) => {
                let (validator, checker) = (self.clone(), Arc::clone(checker));
                let (text, target) = (Box::<[u8]>::from(proof.text), proof.target.to_owned());
                Progress::Pending(Pending::new(async move {
                    let verified = verified.await?;
                    let proof = Proof { text: &text, target: target.borrow() };
                    match validator.prove(&checker, verified, &proof) {
                        Progress::Ready(decided) => decided,
                        Progress::Pending(decided) => decided.await,
                    }
                }))
            }
        }
    }

    /// Checks the proof of a request by its token, which is good.
    fn prove(
        &self,
        checker: &Arc<Checker>,
        verified: Arc<Verified<C>>,
        proof: &Proof<'_>,
    ) -> Progress<AccessToken<C>> {
        let bound = match (verified.claims.key_thumbprint(), &verified.ath) {
            (Some(jkt), Some(ath)) => Bound { jkt, ath },
            _ => return Progress::Ready(Err(not_bound("it was sent with the scheme DPoP"))),
        };
        match checker.check(proof.text, &proof.target, bound, self.now()) {
            Progress::Ready(decided) => {
                count_proof(&decided);
                Progress::Ready(decided.map(|()| AccessToken::new(verified)))
            }
            Progress::Pending(decided) => Progress::Pending(Pending::new(async move {
                let decided = decided.await;
                count_proof(&decided);
                decided.map(|()| AccessToken::new(verified))
            })),
        }
    }
}

/// Accepts a token that nothing else was shown with, unless it is bound to a key (RFC 9449 §7.2).
fn as_bearer<C>(verified: Arc<Verified<C>>) -> Result<AccessToken<C>, Refusal> {
    if verified.claims.key_thumbprint().is_some() {
        let detail = Detail::Note("it was sent as a bearer token, without a proof");
        return Err(Rejection::with(RejectionKind::SenderConstrained, detail).into());
    }
    Ok(AccessToken::new(verified))
}

fn not_bound(note: &'static str) -> Refusal {
    Rejection::with(RejectionKind::TokenNotBound, Detail::Note(note)).into()
}

fn count_proof(decided: &Result<(), Refusal>) {
    let result = match decided {
        Ok(()) => "accepted",
        Err(Refusal::Rejection(_)) => "refused",
        Err(Refusal::Unavailable(_) | Refusal::Misconfigured(_)) => "unavailable",
    };
    count!("tower_bearer_dpop_proofs_total", "result" => result);
}
