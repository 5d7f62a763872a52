//! How long a DPoP proof is accepted, and how long it is remembered.

use std::time::Duration;

use crate::binding::dpop::claims::ProofClaims;
use crate::binding::dpop::nonce::NONCE_LASTS;
use crate::clock::UnixTime;

/// How long a proof is accepted, and remembered.
#[derive(Clone, Copy)]
pub(crate) struct Lifetime {
    pub(crate) max_age: Duration,
    pub(crate) skew: Duration,
    /// Whether the nonce shows the age of a proof, in place of `iat`.
    pub(crate) by_nonce: bool,
}

impl Lifetime {
    /// Compares the times of a proof with the clock, in whole seconds.
    ///
    /// # Errors
    ///
    /// The time that is wrong.
    pub(crate) fn check(
        &self,
        claims: &ProofClaims<'_>,
        now: UnixTime,
    ) -> Result<(), &'static str> {
        let ProofClaims { iat, exp, nbf, .. } = *claims;
        let (now, skew, max_age) = (now.as_secs(), whole(self.skew), whole(self.max_age));
        if !self.by_nonce && iat > now.saturating_add(skew) {
            return Err("iat is in the future");
        }
        if !self.by_nonce && iat < now.saturating_sub(max_age).saturating_sub(skew) {
            return Err("iat is too long ago");
        }
        // RFC 7519 §4.1.4: not "on or after" that time.
        if exp.is_some_and(|exp| now >= exp.saturating_add(skew)) {
            return Err("exp has passed");
        }
        if nbf.is_some_and(|nbf| now < nbf.saturating_sub(skew)) {
            return Err("nbf is in the future");
        }
        Ok(())
    }

    /// Returns until when a proof is remembered: a little longer than it would be accepted, since the
    /// clocks of instances differ, too.
    pub(crate) fn remembered_until(&self, iat: i64, now: UnixTime) -> UnixTime {
        let skew = whole(self.skew);
        let (from, lasts) = match self.by_nonce {
            true => (now.as_secs(), whole(NONCE_LASTS)),
            false => (iat, whole(self.max_age)),
        };
        let lasts = lasts.saturating_add(skew).saturating_add(skew.max(1));
        UnixTime::from_secs(from.saturating_add(lasts))
    }

    /// Returns for how long a proof may be remembered.
    pub(crate) fn longest(&self) -> Duration {
        let lasts = if self.by_nonce { NONCE_LASTS } else { self.max_age };
        lasts.saturating_add(self.skew.saturating_mul(3)).saturating_add(Duration::from_secs(1))
    }
}

fn whole(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
