use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};

use crate::binding::dpop::claims::ProofClaims;
use crate::binding::dpop::nonce::{NonceKeys, Worth};
use crate::binding::dpop::proof::Proof;
use crate::binding::dpop::target::{Origins, Target};
use crate::binding::replay::memory::{Memory, Recorded};
use crate::binding::replay::store::ReplayStore;
use crate::clock::UnixTime;
use crate::digest::{Digest, constant_time_eq, hex, sha256};
use crate::jose::{Algorithm, Backend, Scratch};
use crate::progress::{Pending, Progress};
use crate::refusal::{Detail, Refusal, Rejection, RejectionKind, Unavailable, UnavailableReason};
use crate::telemetry::{count, event};

/// Which tokens are accepted, of those that are bound and those that aren't.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    Accept,
    Require,
}

/// Checks proofs (RFC 9449 §4.3).
pub(crate) struct Checker {
    pub(crate) mode: Mode,
    pub(crate) origins: Origins,
    pub(crate) algorithms: Box<[Algorithm]>,
    /// Their names, with spaces between.
    pub(crate) names: Box<str>,
    pub(crate) max_age: Duration,
    pub(crate) skew: Duration,
    pub(crate) nonces: Option<NonceKeys>,
    pub(crate) record: Record,
    pub(crate) backend: Backend,
}

/// Where used proofs are recorded.
pub(crate) enum Record {
    Memory(Memory),
    Store { store: Arc<dyn ReplayStore>, prefix: Box<str>, timeout: Duration, fail_open: bool },
    None,
}

/// A proof of which all is good.
struct Good {
    /// The thumbprint of its key.
    #[cfg_attr(not(feature = "test-util"), allow(dead_code, reason = "for token requests"))]
    jkt: String,
    /// By what it is remembered.
    key: Digest,
    /// How long.
    until: UnixTime,
}

/// What a token is bound to, and what a proof says of the token.
#[derive(Clone, Copy)]
pub(crate) struct Bound<'a> {
    /// The thumbprint of the client's key, as the token says it.
    pub(crate) jkt: &'a str,
    /// The hash of the token, in base64url.
    pub(crate) ath: &'a str,
}

impl Checker {
    /// Checks the proof of a request, and records it if all of it is good.
    ///
    /// What costs nothing comes first, and the signature after everything else that the proof says: so
    /// a wrong proof costs none. The record comes last, so that a bad proof never uses a `jti` up.
    pub(crate) fn check(
        self: &Arc<Self>,
        proof: &[u8],
        target: &Target<'_>,
        bound: Bound<'_>,
        now: UnixTime,
    ) -> Progress<()> {
        let Good { key, until, .. } = match self.check_proof(proof, target, Some(bound), now) {
            Ok(good) => good,
            Err(rejection) => return Progress::Ready(Err(rejection.into())),
        };
        match &self.record {
            Record::None => Progress::Ready(Ok(())),
            Record::Memory(memory) => Progress::Ready(record(memory, &key, until, now)),
            Record::Store { prefix, .. } => {
                let key = [prefix, &*hex(&key)].concat();
                let ttl = until.saturating_since(now);
                Progress::Pending(Pending::new(Arc::clone(self).record_in_store(key, ttl)))
            }
        }
    }

    /// Checks the proof of a token request (RFC 9449 §5), and returns the thumbprint of its key.
    #[cfg(feature = "test-util")]
    pub(crate) fn check_token_request(
        &self,
        proof: &[u8],
        target: &Target<'_>,
        now: UnixTime,
    ) -> Result<String, Refusal> {
        let Good { jkt, key, until } = self.check_proof(proof, target, None, now)?;
        match &self.record {
            Record::Memory(memory) => record(memory, &key, until, now).map(|()| jkt),
            Record::Store { .. } | Record::None => Ok(jkt),
        }
    }

    fn check_proof(
        &self,
        text: &[u8],
        target: &Target<'_>,
        bound: Option<Bound<'_>>,
        now: UnixTime,
    ) -> Result<Good, Rejection> {
        use RejectionKind as Kind;
        let malformed = |note| refused(Kind::DpopProofMalformed, note);
        let mismatch = |note| refused(Kind::DpopProofMismatch, note);
        // A longer one is refused unread.
        let mut scratch = Scratch::take(if Proof::fits(text) { text.len() } else { 0 });
        let Proof { header, claims, signing_input, signature } =
            Proof::parse(text, scratch.room()).map_err(malformed)?;
        let algorithm = header.algorithm;
        if !self.algorithms.contains(&algorithm) {
            return Err(malformed("alg isn't accepted"));
        }
        if claims.htm != target.method.as_str() {
            return Err(mismatch("htm is another method"));
        }
        self.origins.check(&claims.htu, target).map_err(mismatch)?;
        self.check_times(&claims, now)?;
        let jkt = BASE64_URL_SAFE_NO_PAD.encode(header.jwk.thumbprint());
        if let Some(bound) = bound {
            let ath = claims.ath.as_deref().ok_or(malformed("ath is absent"))?;
            if !constant_time_eq(bound.ath.as_bytes(), ath.as_bytes()) {
                return Err(mismatch("ath is another token's"));
            }
            if !constant_time_eq(jkt.as_bytes(), bound.jkt.as_bytes()) {
                return Err(Kind::DpopKeyMismatch.into());
            }
        }
        let key = header.jwk.key(algorithm, self.backend).map_err(malformed)?;
        if !key.verify(algorithm, signing_input, signature) {
            return Err(Kind::DpopProofBadSignature.into());
        }
        if let Some(nonces) = &self.nonces
            && nonces.worth(claims.nonce.as_deref(), now, self.backend) == Worth::None
        {
            return Err(Kind::DpopNonceRequired.into());
        }
        let key = sha256([jkt.as_bytes(), &[0], claims.jti.as_bytes()]);
        Ok(Good { jkt, key, until: self.remembered_until(claims.iat) })
    }

    /// Holds the times against the clock, in whole seconds.
    fn check_times(&self, claims: &ProofClaims<'_>, now: UnixTime) -> Result<(), Rejection> {
        let out_of_time = |note| refused(RejectionKind::DpopProofOutOfTime, note);
        let ProofClaims { iat, exp, nbf, .. } = *claims;
        let (now, skew, max_age) = (now.as_secs(), whole(self.skew), whole(self.max_age));
        if iat > now.saturating_add(skew) {
            return Err(out_of_time("iat is in the future"));
        }
        if iat < now.saturating_sub(max_age).saturating_sub(skew) {
            return Err(out_of_time("iat is too long ago"));
        }
        // RFC 7519 §4.1.4: not "on or after" that time.
        if exp.is_some_and(|exp| now >= exp.saturating_add(skew)) {
            return Err(out_of_time("exp has passed"));
        }
        if nbf.is_some_and(|nbf| now < nbf.saturating_sub(skew)) {
            return Err(out_of_time("nbf hasn't come"));
        }
        Ok(())
    }

    /// A little longer than it would be accepted: clocks of instances differ, too.
    fn remembered_until(&self, iat: i64) -> UnixTime {
        let skew = whole(self.skew);
        let lasts = whole(self.max_age).saturating_add(skew).saturating_add(skew.max(1));
        UnixTime::from_secs(iat.saturating_add(lasts))
    }

    async fn record_in_store(self: Arc<Self>, key: String, ttl: Duration) -> Result<(), Refusal> {
        let Record::Store { store, timeout, fail_open, .. } = &self.record else { return Ok(()) };
        // A second more: it is in whole ones that a proof is too old.
        let ttl = ttl.saturating_add(Duration::from_secs(1));
        match tokio::time::timeout(*timeout, store.record(&key, ttl)).await {
            Ok(Ok(true)) => return Ok(()),
            Ok(Ok(false)) => return Err(RejectionKind::DpopProofReplayed.into()),
            Ok(Err(error)) => {
                count!("tower_bearer_dpop_replay_failures_total", "error" => "failed");
                event!(DEBUG, error = %crate::cause::Report(&error), "dpop_replay_failed");
                let _ = error;
            }
            Err(_) => {
                count!("tower_bearer_dpop_replay_failures_total", "error" => "timeout");
                event!(DEBUG, "dpop_replay_failed: no answer in time");
            }
        }
        if *fail_open { Ok(()) } else { Err(unavailable(UnavailableReason::ReplayStoreFailed)) }
    }

    /// Returns the nonce that a client is to use from now on.
    pub(crate) fn newest_nonce(&self, now: UnixTime) -> Option<Box<str>> {
        self.nonces.as_ref()?.newest(now, self.backend)
    }

    /// Returns a newer nonce than that of a proof which was accepted, if there is one.
    pub(crate) fn newer_nonce(&self, proof: &[u8], now: UnixTime) -> Option<Box<str>> {
        let nonces = self.nonces.as_ref()?;
        let mut scratch = Scratch::take(proof.len());
        let proof = Proof::parse(proof, scratch.room()).ok()?;
        match nonces.worth(proof.claims.nonce.as_deref(), now, self.backend) {
            Worth::Newest => None,
            Worth::Older | Worth::None => nonces.newest(now, self.backend),
        }
    }
}

fn record(memory: &Memory, key: &Digest, until: UnixTime, now: UnixTime) -> Result<(), Refusal> {
    match memory.record(key, until, now) {
        Recorded::Fresh => Ok(()),
        Recorded::Seen => Err(RejectionKind::DpopProofReplayed.into()),
        Recorded::Full => Err(unavailable(UnavailableReason::ReplayStoreFull)),
    }
}

fn whole(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn refused(kind: RejectionKind, note: &'static str) -> Rejection {
    Rejection::with(kind, Detail::Note(note))
}

fn unavailable(reason: UnavailableReason) -> Refusal {
    Unavailable::new(reason, Duration::from_secs(1)).into()
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker")
            .field("mode", &self.mode)
            .field("origins", &self.origins)
            .field("algorithms", &self.names)
            .field("nonces", &self.nonces.is_some())
            .finish_non_exhaustive()
    }
}
