//! A lock for work that others wait for, which a holder that makes no progress loses.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::clock::monotonic;

/// Work that takes this much longer than its timeout is on a runtime that isn't driven.
#[cfg(any(feature = "client", feature = "introspection"))]
const GRACE: Duration = Duration::from_secs(1);

/// Returns how long work with this timeout may take before it is passed over.
#[cfg(any(feature = "client", feature = "introspection"))]
pub(crate) const fn longest(timeout: Duration) -> Duration {
    timeout.saturating_add(GRACE)
}

/// A lock for one task at a time.
///
/// A task may be on a runtime that exists but is no longer driven. There is no queue, since such a task would keep
/// a turn that it is handed; and a turn ends after its time limit, since such a task may hold it.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    state: Mutex<State>,
    over: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the last turn.
    number: u64,
    /// When it began, until it is over.
    since: Option<Instant>,
}

/// Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Arc<Turns>,
    number: u64,
}

impl Turns {
    /// Waits for a turn. Another task's turn ends after `longest`; without that, only when it is dropped.
    pub(crate) async fn take(self: &Arc<Self>, longest: Option<Duration>) -> Turn {
        loop {
            // Created before the check, so that no end in between is missed.
            let over = self.over.notified();
            match self.begin(longest) {
                Ok(turn) => return turn,
                Err(Some(until)) => drop(timeout_at(until, over).await),
                Err(None) => over.await,
            }
        }
    }

    /// Begins a turn, or returns until when the current one may last.
    pub(crate) fn begin(
        self: &Arc<Self>,
        longest: Option<Duration>,
    ) -> Result<Turn, Option<Instant>> {
        let mut state = self.lock();
        if let Some(since) = state.since {
            let until = longest.and_then(|longest| since.checked_add(longest));
            if until.is_none_or(|until| monotonic() < until) {
                return Err(until);
            }
        }
        state.number = state.number.wrapping_add(1);
        state.since = Some(monotonic());
        Ok(Turn { turns: Arc::clone(self), number: state.number })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Returns `true` unless the turn was lost to another task: what it brings may then be outdated.
    #[cfg(any(feature = "client", feature = "introspection"))]
    pub(crate) fn is_current(&self) -> bool {
        self.turns.lock().number == self.number
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        if state.number == self.number {
            state.since = None;
            drop(state);
            self.turns.over.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::time::{advance, timeout};
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    const LONGEST: Option<Duration> = Some(Duration::from_secs(5));

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_has_a_turn_and_those_who_wait_get_it_when_it_ends() {
        let turns = Arc::<Turns>::default();
        let turn = turns.take(None).await;
        let mut waits = task::spawn(turns.take(None));
        let mut waits_too = task::spawn(turns.take(LONGEST));
        assert_pending!(waits.poll());
        assert_pending!(waits_too.poll());
        drop(turn);
        let turn = assert_ready!(waits_too.poll());
        assert_pending!(waits.poll());
        drop(turn);
        assert!(waits.is_woken());
        drop(assert_ready!(waits.poll()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_and_is_no_longer_polled_keeps_no_turn() {
        let turns = Arc::<Turns>::default();
        let turn = turns.take(None).await;
        let mut parked = pin!(turns.take(None));
        assert!(timeout(Duration::ZERO, parked.as_mut()).await.is_err());
        drop(turn);
        drop(turns.take(None).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_takes_too_long_is_lost_and_ends_no_later_one() {
        let turns = Arc::<Turns>::default();
        let lost = turns.take(LONGEST).await;
        let began = monotonic();
        let turn = turns.take(LONGEST).await;
        assert_eq!(Some(monotonic() - began), LONGEST);
        #[cfg(any(feature = "client", feature = "introspection"))]
        assert!(!lost.is_current() && turn.is_current());
        drop(lost);
        let mut waits = task::spawn(turns.take(LONGEST));
        assert_pending!(waits.poll());
        advance(Duration::from_secs(4)).await;
        assert_pending!(waits.poll());
        drop(turn);
        drop(assert_ready!(waits.poll()));
        // Without a limit, none is lost.
        let _turn = turns.take(None).await;
        assert!(timeout(Duration::from_secs(9_999), turns.take(None)).await.is_err());
    }
}
