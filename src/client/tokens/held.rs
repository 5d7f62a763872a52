use std::time::Duration;

use tokio::time::Instant;

use crate::client::shared::cache::Sealed;
use crate::client::tokens::expiry::Ages;
use crate::client::tokens::token::Token;
use crate::clock::{UnixTime, jitter};

/// A token, and when it is due.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) token: Token,
    pub(crate) obtained: UnixTime,
    /// From here on it is replaced, and serves meanwhile.
    pub(crate) soft: Instant,
    /// From here on it serves no more.
    pub(crate) hard: Instant,
    /// How it lies in the shared store.
    pub(crate) sealed: Option<Sealed>,
}

impl Held {
    /// Holds a token of this age; `None` if it serves no more.
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
        Some(Self { token, obtained, soft, hard, sealed })
    }

    pub(crate) fn serves_for(&self, now: Instant) -> Duration {
        self.hard.saturating_duration_since(now)
    }

    /// Returns the same, to be replaced from `now` on at the latest.
    pub(crate) fn due(&self, now: Instant) -> Self {
        Self { soft: self.soft.min(now), ..self.clone() }
    }
}
