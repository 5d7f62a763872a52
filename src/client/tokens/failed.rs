//! A failed fetch that is cached: for how long, and which secrets were refused.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::grant::error::TokenError;
use crate::client::tokens::backoff;
use crate::client::tokens::held::Held;
use crate::client::tokens::token::Token;
use crate::clock::jitter;
use crate::credentials::fingerprinted::FingerprintedSecret;

/// How often a provider is asked for a new secret while the server refuses the old one.
const PROBE: Duration = Duration::from_secs(1);

/// How long a permanent failure of one caller is cached: short, since the user may fix it at once.
pub(crate) const BRIEF: Duration = Duration::from_secs(5);

/// The outcome of a fetch: a token and, if it may be kept, its schedule.
pub(crate) type Fetch = Result<(Token, Option<Held>), RefusedFetch>;

/// A fetch that failed.
pub(crate) struct RefusedFetch {
    pub(crate) error: TokenError,
    /// The secrets that were refused.
    pub(crate) secrets: Vec<FingerprintedSecret>,
    /// Whether nothing was sent, since the server gives no answers to others.
    pub(crate) is_unsent: bool,
}

impl RefusedFetch {
    pub(crate) const fn new(error: TokenError, secrets: Vec<FingerprintedSecret>) -> Self {
        Self { error, secrets, is_unsent: false }
    }
}

/// A failure that is cached.
pub(crate) struct Failed {
    pub(crate) error: TokenError,
    /// The secrets that were refused.
    pub(crate) refused: Vec<FingerprintedSecret>,
    /// How many fetches failed in a row.
    count: u32,
    until: Instant,
    /// Whether no caller noticed, since a token was usable meanwhile.
    unnoticed: bool,
    probed: Instant,
}

impl Failed {
    /// Returns the cached failure after one more failed fetch.
    pub(crate) fn after(
        before: Option<Self>,
        refused: RefusedFetch,
        unnoticed: bool,
        brief: bool,
        now: Instant,
    ) -> Self {
        let before = before.filter(|failed| failed.unnoticed == unnoticed);
        let count = before.map_or(1, |failed| failed.count.saturating_add(1));
        let rest = match refused.error.cause().permanent {
            true if brief => BRIEF,
            _ => backoff::rest(refused.error.cause(), count, jitter()),
        };
        Self {
            error: refused.error,
            refused: refused.secrets,
            count,
            until: now.checked_add(rest).unwrap_or(now),
            unnoticed,
            probed: now,
        }
    }

    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    /// Returns `true` if the server may be asked again.
    pub(crate) fn is_over(&self, now: Instant, token_serves: bool) -> bool {
        // While a token was usable, there was time to wait; now a caller needs one. A `Retry-After` is
        // obeyed nevertheless.
        let urgent = self.unnoticed && !token_serves && self.error.retry_after().is_none();
        urgent || now >= self.until
    }

    /// Returns `true` while it has to be kept, be it for the number of failures in a row.
    pub(crate) fn is_remembered(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.until) < backoff::LONGEST
    }

    /// Returns `true` if it is time to look for another secret, and records the time.
    pub(crate) fn may_probe(&mut self, now: Instant) -> bool {
        let may =
            self.error.blames_credentials() && now.saturating_duration_since(self.probed) >= PROBE;
        if may {
            self.probed = now;
        }
        may
    }
}
