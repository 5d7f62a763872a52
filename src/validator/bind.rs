//! Decides whether a request's sender may use its token: by a proof, a certificate, or neither.

use std::sync::Arc;

use serde::de::DeserializeOwned;

#[cfg(feature = "dpop")]
use crate::binding::dpop::checker::{Checker, Mode};
#[cfg(feature = "dpop")]
use crate::binding::dpop::proof::Bound;
#[cfg(feature = "mtls")]
use crate::binding::mtls;
use crate::progress::{Pending, Progress};
use crate::refusal::{Detail, Refusal, Rejection, RejectionKind};
#[cfg(feature = "dpop")]
use crate::telemetry::count;
use crate::token::{AccessToken, Provable, Verified};
use crate::validator::handle::Validator;
#[cfg(feature = "dpop")]
use crate::validator::presented::Proof;
use crate::validator::presented::{OwnPresented, Presented};

pub(crate) const NO_PROOF: &str = "only the scheme DPoP is accepted";
const NOT_BOUND: &str = "only bound tokens are accepted";

impl<C> Validator<C> {
    /// Returns the checker of proofs, if tokens may be bound to a key.
    #[cfg(feature = "dpop")]
    pub(crate) fn dpop(&self) -> Option<&Arc<Checker>> {
        self.inner.dpop.as_ref()
    }

    /// Returns the checker of certificates, if tokens may be bound to one.
    #[cfg(feature = "mtls")]
    pub(crate) fn mtls(&self) -> Option<&mtls::checker::Checker> {
        self.inner.mtls.as_ref()
    }

    /// Returns the current time by the clock that proofs are checked with.
    #[cfg(feature = "dpop")]
    pub(crate) fn now(&self) -> crate::clock::UnixTime {
        self.inner.clock.now()
    }

    /// Returns `true` if each token must be sent with a proof.
    pub(crate) fn needs_proof(&self) -> bool {
        #[cfg(feature = "dpop")]
        return self.dpop().is_some_and(|it| it.mode == Mode::Require);
        #[cfg(not(feature = "dpop"))]
        false
    }

    /// Refuses a token that isn't bound to what this service requires, whatever a request shows.
    pub(crate) fn check_is_bound(&self, to_key: bool, at_all: bool) -> Result<(), Rejection> {
        if self.needs_proof() && !to_key {
            return Err(not_bound(NO_PROOF));
        }
        if self.inner.require_bound && !at_all { Err(not_bound(NOT_BOUND)) } else { Ok(()) }
    }

    /// Returns a value that is equal for clones of one validator, and different for others.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.inner).addr()
    }

    /// Returns `true` if tokens may be bound, so that a request needs more checks than its token's.
    pub(crate) fn binds(&self) -> bool {
        self.inner.common.provable != Provable::default()
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Validator<C> {
    /// Decides whether a request is authenticated, where tokens may be bound.
    pub(crate) fn authenticate_bound(&self, presented: &Presented<'_>) -> Progress<AccessToken<C>> {
        #[cfg(feature = "dpop")]
        if presented.proof.is_none() && self.needs_proof() {
            return Progress::Ready(Err(not_bound(NO_PROOF).into()));
        }
        let verified = match self.recall(presented.token) {
            Some(verified) => Progress::Ready(Ok(verified)),
            None => self.verify(presented.token, presented.issuer),
        };
        match verified {
            Progress::Ready(Err(refusal)) => Progress::Ready(Err(refusal)),
            Progress::Ready(Ok(verified)) => self.bind(verified, presented),
            Progress::Pending(verified) => {
                let validator = self.clone();
                let presented = OwnPresented::of(
                    presented,
                    #[cfg(feature = "mtls")]
                    self.mtls(),
                );
                Progress::Pending(Pending::new(async move {
                    let verified = verified.await?;
                    validator.bind(verified, &presented.borrow()).settled().await
                }))
            }
        }
    }

    /// Decides about a token that comes alone, as a bearer token.
    pub(crate) async fn accept_alone(
        &self,
        verified: Result<Arc<Verified<C>>, Refusal>,
    ) -> Result<AccessToken<C>, Refusal> {
        if !self.binds() {
            return verified.map(AccessToken::new);
        }
        if self.needs_proof() {
            return Err(not_bound(NO_PROOF).into());
        }
        self.bind(verified?, &Presented::bearer(&[])).settled().await
    }

    /// Compares what is shown with what the token is bound to: all of it must be shown. The certificate
    /// comes first, since that uses up no proof.
    fn bind(
        &self,
        verified: Arc<Verified<C>>,
        presented: &Presented<'_>,
    ) -> Progress<AccessToken<C>> {
        if let Some(thumbprint) = verified.claims.certificate_thumbprint()
            && let Err(refusal) = self.check_certificate(thumbprint, presented)
        {
            return Progress::Ready(Err(refusal));
        }
        #[cfg(feature = "dpop")]
        if let (Some(checker), Some(proof)) = (self.dpop(), &presented.proof) {
            return self.prove(checker, verified, proof);
        }
        Progress::Ready(self.accept(verified))
    }

    #[cfg(feature = "mtls")]
    fn check_certificate(
        &self,
        thumbprint: &str,
        presented: &Presented<'_>,
    ) -> Result<(), Refusal> {
        match self.mtls() {
            Some(checker) => checker.check(presented.certificate, thumbprint),
            None => Err(sender_constrained("it is bound to a certificate")),
        }
    }

    #[cfg(not(feature = "mtls"))]
    fn check_certificate(&self, _: &str, _: &Presented<'_>) -> Result<(), Refusal> {
        Err(sender_constrained("it is bound to a certificate"))
    }

    /// Accepts a token without a proof, unless it needs one (RFC 9449 §7.2), or isn't bound although it
    /// must be.
    fn accept(&self, verified: Arc<Verified<C>>) -> Result<AccessToken<C>, Refusal> {
        if verified.claims.key_thumbprint().is_some() {
            return Err(sender_constrained("it was sent as a bearer token, without a proof"));
        }
        if self.inner.require_bound && !verified.claims.is_bound() {
            return Err(not_bound(NOT_BOUND).into());
        }
        Ok(AccessToken::new(verified))
    }

    /// Checks the proof of a request whose token is valid.
    #[cfg(feature = "dpop")]
    fn prove(
        &self,
        checker: &Arc<Checker>,
        verified: Arc<Verified<C>>,
        proof: &Proof<'_>,
    ) -> Progress<AccessToken<C>> {
        let bound = match (verified.claims.key_thumbprint(), &verified.proving) {
            (Some(jkt), Some(proving)) => Bound { jkt, proving },
            _ => return Progress::Ready(Err(not_bound("it was sent with the scheme DPoP").into())),
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

fn sender_constrained(note: &'static str) -> Refusal {
    Rejection::with(RejectionKind::SenderConstrained, Detail::Note(note)).into()
}

fn not_bound(note: &'static str) -> Rejection {
    Rejection::with(RejectionKind::TokenNotBound, Detail::Note(note))
}

#[cfg(feature = "dpop")]
fn count_proof(decided: &Result<(), Refusal>) {
    let result = match decided {
        Ok(()) => "accepted",
        Err(Refusal::Rejection(_)) => "refused",
        Err(Refusal::Unavailable(_) | Refusal::Misconfigured(_)) => "unavailable",
    };
    count!("tower_bearer_dpop_proofs_total", "result" => result);
}
