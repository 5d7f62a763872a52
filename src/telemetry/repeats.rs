//! Limits how often a warning that repeats is logged.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Keeps a warning that repeats from filling the log.
///
/// Each failure is logged the first three times, then once a minute with the number of times that it occurred. At most
/// four failures are tracked: a fifth isn't logged until one of them wasn't for a minute.
#[derive(Debug, Default)]
pub(crate) struct Repeats<T>(Mutex<Vec<Failure<T>>>);

#[derive(Debug)]
struct Failure<T> {
    what: T,
    /// How often it was logged.
    logged: u32,
    /// How often it occurred since then.
    suppressed: u64,
    logged_at: Instant,
}

/// How often the same failure is logged before the period applies.
const AT_ONCE: u32 = 3;

/// The least time between two lines from then on.
const PERIOD: Duration = Duration::from_secs(60);

/// How many failures are counted apart: a few may take turns in one outage.
const APART: usize = 4;

impl<T: PartialEq> Repeats<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Returns how often this occurred since it was last logged, this time included; `None` if it isn't logged
    /// now.
    pub(crate) fn record(&self, what: T, now: Instant) -> Option<u64> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(it) = known.iter_mut().find(|it| it.what == what) else {
            if known.len() >= APART {
                // Otherwise failures that take turns would each be logged every time.
                let is_old =
                    |it: &Failure<T>| now.saturating_duration_since(it.logged_at) >= PERIOD;
                let old = known.iter().position(is_old)?;
                known.remove(old);
            }
            known.push(Failure { what, logged: 1, suppressed: 0, logged_at: now });
            return Some(1);
        };
        it.suppressed = it.suppressed.saturating_add(1);
        if it.logged >= AT_ONCE && now.saturating_duration_since(it.logged_at) < PERIOD {
            return None;
        }
        (it.logged, it.logged_at) = (it.logged.saturating_add(1), now);
        Some(std::mem::take(&mut it.suppressed))
    }

    /// Forgets the failures: if one occurs again, it is logged at once.
    pub(crate) fn reset(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    #[test]
    fn the_same_is_logged_three_times_and_then_once_a_minute_with_how_often_it_occurred() {
        let repeats = Repeats::new();
        let start = monotonic();
        let logged: Vec<(u64, u64)> = (0..100)
            .map(|n| n * 2)
            .filter_map(|at| Some((at, repeats.record("dns", start + Duration::from_secs(at))?)))
            .collect();
        assert_eq!(logged, [(0, 1), (2, 1), (4, 1), (64, 30), (124, 30), (184, 30)]);
    }

    #[test]
    fn another_is_logged_at_once_and_many_that_take_turns_arent() {
        let repeats = Repeats::new();
        let now = monotonic();
        let logged = |what| repeats.record(what, now).is_some();
        let all: Vec<bool> = (0..10).flat_map(|_| [logged("dns"), logged("timeout")]).collect();
        assert_eq!(all, [[true; 6].as_slice(), &[false; 14]].concat());
        assert!(logged("tls") && logged("connect"));
        for other in ["a", "b", "c", "d"].repeat(10) {
            assert!(!logged(other), "{other}");
        }
        let later = |what| repeats.record(what, now + PERIOD);
        assert_eq!(later("a"), Some(1), "in place of the first that is a minute old");
        assert_eq!(later("timeout"), Some(8));
        repeats.reset();
        assert!(logged("d") && logged("d") && logged("d") && !logged("d"));
    }
}
