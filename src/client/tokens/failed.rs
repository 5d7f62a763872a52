use std::time::Duration;

use tokio::time::Instant;

use crate::client::grant::error::TokenError;
use crate::client::tokens::backoff;
use crate::clock::jitter;
use crate::credentials::known::Known;

/// While the secret is refused, its provider is asked this often whether there is a new one.
const PROBE: Duration = Duration::from_secs(1);

/// A fetch that failed.
pub(crate) struct RefusedFetch {
    pub(crate) error: TokenError,
    /// The secrets that were refused.
    pub(crate) secrets: Vec<Known>,
}

/// A failure that stands for a while.
pub(crate) struct Failed {
    pub(crate) error: TokenError,
    /// The secrets that were refused.
    pub(crate) refused: Vec<Known>,
    /// How often in a row.
    count: u32,
    until: Instant,
    /// No caller noticed: a token served meanwhile.
    unnoticed: bool,
    probed: Instant,
}

impl Failed {
    /// Returns what stands after one more failure.
    pub(crate) fn after(
        before: Option<Self>,
        refused: RefusedFetch,
        unnoticed: bool,
        now: Instant,
    ) -> Self {
        let before = before.filter(|failed| failed.unnoticed == unnoticed);
        let count = before.map_or(1, |failed| failed.count.saturating_add(1));
        let rest = backoff::rest(refused.error.cause(), count, jitter());
        Self {
            error: refused.error,
            refused: refused.secrets,
            count,
            until: now.checked_add(rest).unwrap_or(now),
            unnoticed,
            probed: now,
        }
    }

    /// Returns `true` if the server may be asked again.
    pub(crate) fn is_over(&self, now: Instant, token_serves: bool) -> bool {
        // While a token served, there was time to wait; now a caller needs one. What the server
        // asked for is kept nevertheless.
        let urgent = self.unnoticed && !token_serves && self.error.retry_after().is_none();
        urgent || now >= self.until
    }

    /// Returns `true` while it is worth knowing, be it for how often there was one in a row.
    pub(crate) fn is_remembered(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.until) < backoff::LONGEST
    }

    /// Returns `true` if it is time to see whether there is another secret, and notes that it was.
    pub(crate) fn may_probe(&mut self, now: Instant) -> bool {
        let may =
            self.error.blames_credentials() && now.saturating_duration_since(self.probed) >= PROBE;
        if may {
            self.probed = now;
        }
        may
    }
}
