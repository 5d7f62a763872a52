//! Waits until a token is no longer accepted.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::clock::{Clock, UnixTime};

/// The longest sleep between two reads of the wall clock, which may jump, or continue while the monotonic
/// one stands still.
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// When a token ends, and the clock that decides it.
#[derive(Clone, Debug)]
pub(crate) struct Lifetime {
    /// `None` if it never does.
    until: Option<UnixTime>,
    clock: Arc<dyn Clock>,
}

impl Lifetime {
    pub(crate) const fn new(until: Option<UnixTime>, clock: Arc<dyn Clock>) -> Self {
        Self { until, clock }
    }

    pub(crate) const fn until(&self) -> Option<UnixTime> {
        self.until
    }

    pub(crate) const fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    #[cfg(feature = "mcp")]
    pub(crate) fn has_ended(&self) -> bool {
        self.until.is_some_and(|until| until <= self.clock.now())
    }

    /// Waits until the token has ended, forever if it doesn't.
    pub(crate) async fn ended(&self) {
        let Some(until) = self.until else { return std::future::pending().await };
        loop {
            let left = until.saturating_since(self.clock.now());
            if left.is_zero() {
                return;
            }
            sleep(left.min(LONGEST_SLEEP)).await;
        }
    }
}
