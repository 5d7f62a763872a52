use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::clock::{Clock, UnixTime};

/// The longest sleep between two looks at the wall clock, which may jump or go on while the monotonic
/// one stands still.
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// When a token ends, and the clock by which it does.
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

    /// Waits until the token has ended, for ever if it doesn't.
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
