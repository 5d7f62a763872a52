//! A wall clock that tests set and advance.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{Clock, UnixTime, monotonic};
use crate::testing::misuse::lock;

/// A wall clock that is set by a test.
///
/// Clones share one time: give one to the validator, one to the embedded issuer, and keep one.
///
/// ```
/// use std::time::Duration;
///
/// use tower_bearer::testing::ManualClock;
/// use tower_bearer::{Clock, UnixTime};
///
/// let clock = ManualClock::new(UnixTime::from_secs(1_700_000_000));
/// clock.advance(Duration::from_secs(90));
/// assert_eq!(clock.now(), UnixTime::from_secs(1_700_000_090));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    time: UnixTime,
    /// The moment at which `time` was set, for a clock that runs.
    runs_since: Option<Instant>,
}

impl ManualClock {
    /// Creates a clock that is stopped until it is set or advanced.
    pub fn new(time: UnixTime) -> Self {
        Self { state: Arc::new(Mutex::new(State { time, runs_since: None })) }
    }

    /// Creates a clock that also runs with tokio's time, which a test may have paused.
    ///
    /// Under `#[tokio::test(start_paused = true)]`, `tokio::time::advance` then advances this
    /// clock together with all timers.
    pub fn running(time: UnixTime) -> Self {
        let runs_since = Some(monotonic());
        Self { state: Arc::new(Mutex::new(State { time, runs_since })) }
    }

    /// Sets the time, forward or back.
    pub fn set(&self, time: UnixTime) {
        let mut state = lock(&self.state);
        state.time = time;
        state.runs_since = state.runs_since.map(|_| monotonic());
    }

    /// Moves the time forward.
    pub fn advance(&self, duration: Duration) {
        let mut state = lock(&self.state);
        state.time = state.time.plus(duration);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixTime {
        let state = lock(&self.state);
        let ran = state.runs_since.map(|since| monotonic().saturating_duration_since(since));
        state.time.plus(ran.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stands_still_until_moved() {
        let clock = ManualClock::new(UnixTime::from_secs(100));
        let same = clock.clone();
        clock.advance(Duration::from_millis(1_500));
        assert_eq!(same.now().as_secs_f64(), 101.5);
        same.set(UnixTime::from_secs(7));
        assert_eq!(clock.now(), UnixTime::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn runs_with_paused_time() {
        let clock = ManualClock::running(UnixTime::from_secs(100));
        let still = ManualClock::new(UnixTime::from_secs(100));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.now(), UnixTime::from_secs(105));
        assert_eq!(still.now(), UnixTime::from_secs(100));
        clock.advance(Duration::from_secs(10));
        assert_eq!(clock.now(), UnixTime::from_secs(115));
        clock.set(UnixTime::from_secs(50));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(clock.now(), UnixTime::from_secs(51));
    }
}
