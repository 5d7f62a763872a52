//! A cached token and its schedule: when it is checked, replaced, and no longer used.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::shared::cache::Sealed;
use crate::client::tokens::expiry::Ages;
use crate::client::tokens::token::Token;
use crate::clock::{UnixTime, jitter};

/// A token, and when it is due for replacement.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) token: Token,
    pub(crate) obtained: UnixTime,
    /// From this time on a fetch checks whether it has to be replaced. It is used meanwhile.
    pub(crate) soft: Instant,
    /// From this time on it is replaced in any case.
    pub(crate) due: Instant,
    /// From this time on it is no longer used.
    pub(crate) hard: Instant,
    /// The version of the client certificate that it was requested with.
    pub(crate) certificate: u64,
    /// Its value in the shared store.
    pub(crate) sealed: Option<Sealed>,
}

impl Held {
    /// Holds a token of this age; `None` if it is too old to be used.
    pub(crate) fn new(
        token: Token,
        age: Duration,
        lifetime: Duration,
        now: Instant,
        obtained: UnixTime,
        sealed: Option<Sealed>,
    ) -> Option<Self> {
        let ages = Ages::of(lifetime, jitter())?;
        let hard = ages.hard.checked_sub(age).filter(|left| !left.is_zero())?;
        let soft = ages.soft.saturating_sub(age);
        let (soft, hard) = (now.checked_add(soft)?, now.checked_add(hard)?);
        Some(Self { token, obtained, soft, due: soft, hard, certificate: 0, sealed })
    }

    pub(crate) fn serves_for(&self, now: Instant) -> Duration {
        self.hard.saturating_duration_since(now)
    }

    /// Returns the same, not replaced ahead of its end, since another would be valid no longer.
    pub(crate) fn until_the_end(self) -> Self {
        Self { soft: self.hard, due: self.hard, ..self }
    }

    /// Returns the same, to be replaced from `now` on at the latest.
    pub(crate) fn due(&self, now: Instant) -> Self {
        Self { soft: self.soft.min(now), due: self.due.min(now), ..self.clone() }
    }

    /// Returns the same, to be checked after a while even if it isn't due.
    pub(crate) fn looked_at(self, now: Instant, again_after: Option<Duration>) -> Self {
        let again = again_after.and_then(|after| now.checked_add(after));
        Self { soft: again.map_or(self.due, |again| self.due.min(again)), ..self }
    }
}
