//! A condition on how, and how long ago, the user logged in (RFC 9470).

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, ptr};

use crate::clock::UnixTime;
use crate::middleware::conditions::terms::Terms;
use crate::refusal::{Detail, Rejection, RejectionKind};
use crate::token::{Claims, Told};

/// Decides whether a value of `acr` is accepted.
pub(crate) type Accepts = dyn Fn(&str) -> bool + Send + Sync;

/// How, and how long ago, the user must have logged in (RFC 9470).
#[derive(Clone, Default)]
pub(crate) struct Login {
    /// In order of preference; empty if any is accepted.
    pub(crate) acr_values: Vec<String>,
    pub(crate) max_age: Option<Duration>,
    /// Decides about values that aren't listed.
    pub(crate) also: Option<Arc<Accepts>>,
}

impl Login {
    pub(crate) const fn is_any(&self) -> bool {
        self.acr_values.is_empty() && self.max_age.is_none()
    }

    /// Checks a token. `None` means that its user must log in again.
    pub(crate) fn check(&self, claims: &Claims, terms: &Terms) -> Result<Option<()>, Rejection> {
        let (acr, auth_time) = claims.login();
        let is_strong =
            self.acr_values.is_empty() || told(acr, "acr")?.is_some_and(|acr| self.is_strong(acr));
        let is_recent = match self.max_age {
            None => true,
            Some(max_age) => told(auth_time, "auth_time")?
                .is_some_and(|auth_time| is_recent(auth_time, max_age, terms)),
        };
        Ok((is_strong && is_recent).then_some(()))
    }

    /// Text equality: only the application knows which ways to log in are equivalent (RFC 9470 §3).
    fn is_strong(&self, acr: &str) -> bool {
        self.acr_values.iter().any(|wanted| wanted == acr)
            || self.also.as_ref().is_some_and(|also| also(acr))
    }
}

fn told<T>(told: Told<T>, claim: &'static str) -> Result<Option<T>, Rejection> {
    match told {
        Told::Absent => Ok(None),
        Told::Is(told) => Ok(Some(told)),
        Told::Malformed => {
            Err(Rejection::with(RejectionKind::MalformedClaim, Detail::Claim(claim)))
        }
    }
}

/// A login in the future isn't one.
fn is_recent(auth_time: UnixTime, max_age: Duration, terms: &Terms) -> bool {
    let now = terms.clock.now();
    auth_time.minus(terms.leeway) <= now && now <= auth_time.plus(max_age).plus(terms.leeway)
}

impl PartialEq for Login {
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.also, &other.also) {
            (None, None) => true,
            (Some(one), Some(other)) => ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other)),
            (None, Some(_)) | (Some(_), None) => false,
        };
        same && self.acr_values == other.acr_values && self.max_age == other.max_age
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("acr_values", &self.acr_values)
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}
