//! How the token of one grant is doing, for readiness probes and dashboards.

use std::fmt;
use std::time::Duration;

use crate::client::grant::error::TokenError;

/// How one grant is doing, for a readiness probe or a dashboard: see
/// [`TokenSource::health`](crate::client::TokenSource::health).
#[derive(Clone)]
pub struct TokenHealth {
    pub(crate) serves_for: Option<Duration>,
    pub(crate) failure: Option<(TokenError, u32)>,
}

impl TokenHealth {
    /// Returns `true` if there is a usable token.
    pub const fn is_serving(&self) -> bool {
        self.serves_for.is_some()
    }

    /// Returns for how long the current token is still used.
    pub const fn serves_for(&self) -> Option<Duration> {
        self.serves_for
    }

    /// Returns why the last fetch failed, if it did. A token may be usable nevertheless.
    pub fn last_error(&self) -> Option<&TokenError> {
        self.failure.as_ref().map(|(error, _)| error)
    }

    /// Returns how many fetches have failed since the last success.
    pub fn failures(&self) -> u32 {
        self.failure.as_ref().map_or(0, |(_, count)| *count)
    }
}

impl fmt::Debug for TokenHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenHealth")
            .field("serves_for", &self.serves_for)
            .field("last_error", &self.last_error())
            .field("failures", &self.failures())
            .finish()
    }
}
