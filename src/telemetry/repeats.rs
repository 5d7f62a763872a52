//! Limits how often a warning that repeats is logged.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Keeps a warning that repeats from filling the log.
///
/// Each failure is logged the first three times, then once a minute with the number of times that it occurred.
/// Others are logged at once, but for a fifth while four were logged within the minute.
#[derive(Debug, Default)]
pub(crate) struct Repeats<T>(Mutex<Vec<Trouble<T>>>);

#[derive(Debug)]
struct Trouble<T> {
    what: T,
    /// How often it was logged.
    told: u32,
    /// How often it occurred since then.
    untold: u64,
    told_at: Instant,
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
    pub(crate) fn came(&self, what: T, now: Instant) -> Option<u64> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(it) = known.iter_mut().find(|it| it.what == what) else {
            if known.len() >= APART {
                // Otherwise failures that take turns would each be logged every time.
                let is_old = |it: &Trouble<T>| now.saturating_duration_since(it.told_at) >= PERIOD;
                let old = known.iter().position(is_old)?;
                known.remove(old);
            }
            known.push(Trouble { what, told: 1, untold: 0, told_at: now });
            return Some(1);
        };
        it.untold = it.untold.saturating_add(1);
        if it.told >= AT_ONCE && now.saturating_duration_since(it.told_at) < PERIOD {
            return None;
        }
        (it.told, it.told_at) = (it.told.saturating_add(1), now);
        Some(std::mem::take(&mut it.untold))
    }

    /// Forgets the failures: if one occurs again, it is logged at once.
    pub(crate) fn over(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    #[test]
    fn the_same_is_told_three_times_and_then_once_a_minute_with_how_often_it_came() {
        let repeats = Repeats::new();
        let start = monotonic();
        let told: Vec<(u64, u64)> = (0..100)
            .map(|n| n * 2)
            .filter_map(|at| Some((at, repeats.came("dns", start + Duration::from_secs(at))?)))
            .collect();
        assert_eq!(told, [(0, 1), (2, 1), (4, 1), (64, 30), (124, 30), (184, 30)]);
    }

    #[test]
    fn another_is_logged_at_once_and_many_that_take_turns_arent() {
        let repeats = Repeats::new();
        let now = monotonic();
        let told = |what| repeats.came(what, now).is_some();
        let all: Vec<bool> = (0..10).flat_map(|_| [told("dns"), told("timeout")]).collect();
        assert_eq!(all, [[true; 6].as_slice(), &[false; 14]].concat());
        assert!(told("tls") && told("connect"));
        for other in ["a", "b", "c", "d"].repeat(10) {
            assert!(!told(other), "{other}");
        }
        let later = |what| repeats.came(what, now + PERIOD);
        assert_eq!(later("a"), Some(1), "in place of the first that is a minute old");
        assert_eq!(later("timeout"), Some(8));
        repeats.over();
        assert!(told("d") && told("d") && told("d") && !told("d"));
    }
}
