//! Decides by `exp`, `nbf` and `iat` whether a token is valid at a given time.

use std::time::Duration;

use crate::clock::UnixTime;
use crate::refusal::{Detail, Rejection, RejectionKind};

/// The claims that limit a token's validity.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub(crate) exp: Option<UnixTime>,
    pub(crate) nbf: Option<UnixTime>,
    pub(crate) iat: Option<UnixTime>,
}

/// How a token's times are compared with the clock.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct TimeRules {
    pub(crate) leeway: Duration,
    pub(crate) max_age: Option<Duration>,
    /// Whether an `iat` in the future is refused even without a maximum age.
    pub(crate) past_iat: bool,
}

impl TimeRules {
    /// Returns from when and until when a token with these times is valid: the times that
    /// [`check`](Self::check) accepts, the end excluded.
    pub(crate) fn term(self, times: Times) -> (UnixTime, UnixTime) {
        let begins = times.nbf.map_or(UnixTime::MIN, |nbf| nbf.minus(self.leeway));
        let expires = times.exp.unwrap_or(UnixTime::MIN).plus(self.leeway);
        let Some(iat) = times.iat.filter(|_| self.past_iat || self.max_age.is_some()) else {
            return (begins, expires);
        };
        let from = iat.minus(self.leeway).max(begins);
        let until = self.max_age.map(|max_age| iat.plus(max_age).plus(self.leeway).min(expires));
        (from, until.unwrap_or(expires))
    }

    /// Returns when a token with these times is no longer accepted; `None` if it always is.
    pub(crate) fn ends(self, times: Times) -> Option<UnixTime> {
        let expires = times.exp.map(|exp| exp.plus(self.leeway));
        let too_old = self.max_age.zip(times.iat);
        let too_old = too_old.map(|(max_age, iat)| iat.plus(max_age).plus(self.leeway));
        expires.into_iter().chain(too_old).min()
    }

    /// Returns when a token with these times is too old, if ever.
    #[cfg(feature = "introspection")]
    pub(crate) fn too_old_at(self, times: Times) -> UnixTime {
        let bound = self.max_age.zip(times.iat);
        let bound = bound.map(|(max_age, iat)| iat.plus(max_age).plus(self.leeway));
        bound.unwrap_or(UnixTime::from_secs(i64::MAX))
    }

    /// Compares a token's times with the clock: a token that was valid may have expired since.
    #[inline]
    pub(crate) fn check(self, times: Times, now: UnixTime) -> Result<(), Rejection> {
        let leeway = self.leeway;
        // RFC 7519 §4.1.4: not "on or after" that time.
        if let Some(exp) = times.exp
            && now >= exp.plus(self.leeway)
        {
            let detail = Detail::Time { claim: "exp", value: exp, now, leeway };
            return Err(Rejection::with(RejectionKind::Expired, detail));
        }
        if let Some(nbf) = times.nbf
            && now < nbf.minus(self.leeway)
        {
            let detail = Detail::Time { claim: "nbf", value: nbf, now, leeway };
            return Err(Rejection::with(RejectionKind::NotYetValid, detail));
        }
        // RFC 7519 §4.1.6 refuses none for this; but with a maximum age, such a token would never be
        // too old.
        if let Some(iat) = times.iat
            && (self.past_iat || self.max_age.is_some())
            && now < iat.minus(self.leeway)
        {
            let detail = Detail::Time { claim: "iat", value: iat, now, leeway };
            return Err(Rejection::with(RejectionKind::NotYetValid, detail));
        }
        if let Some(max_age) = self.max_age {
            let iat = times
                .iat
                .ok_or(Rejection::with(RejectionKind::MissingClaim, Detail::Claim("iat")))?;
            let detail = Detail::Time { claim: "iat", value: iat, now, leeway };
            if now > iat.plus(max_age).plus(self.leeway) {
                return Err(Rejection::with(RejectionKind::TooOld, detail));
            }
        }
        Ok(())
    }
}
