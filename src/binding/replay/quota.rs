//! Counts the remembered proofs of each key in memory of a fixed size, and refuses those beyond its quota.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::UnixTime;
use crate::error::{ConfigError, within};

/// A key has a counter in each row, of which the smallest counts: it may share one with others, rarely all.
const ROWS: usize = 4;

/// Counters for each key that could fill its quota. A record that is full of many keys' proofs thus adds
/// an eighth of the quota to each counter.
const SPREAD: usize = 8;

const LEAST_WIDTH: usize = 1_024;

/// Proofs are counted by when they are forgotten, in quarters of the longest time. One period begins
/// and one ends meanwhile.
const PERIODS: usize = 6;

const LEAST: u32 = 64;
const MOST: u32 = 1_000_000;

/// How many proofs of each key are remembered, counted in memory of a fixed size.
///
/// The count of a key may be a little too high, never too low.
pub(crate) struct Quota {
    most: u32,
    /// In seconds.
    period: NonZeroU32,
    width: usize,
    hasher: RandomState,
    periods: Box<[Period]>,
}

struct Period {
    /// The number of the period since 1970.
    number: AtomicU32,
    counters: Box<[AtomicU32]>,
    changing: Mutex<()>,
}

/// The counters of a key.
pub(crate) struct Places([usize; ROWS]);

impl Quota {
    /// Counts up to `most` proofs of a key, each for `longest` at the most, in a record with room for this
    /// many.
    pub(crate) fn new(most: u32, longest: Duration, room: usize) -> Result<Self, ConfigError> {
        within("replay_quota", most, LEAST..=MOST)?;
        let longest = u32::try_from(longest.as_secs()).unwrap_or(u32::MAX);
        let keys = room.checked_div(most as usize).unwrap_or_default();
        let width = keys.saturating_mul(SPREAD).max(LEAST_WIDTH);
        let all = width.saturating_mul(ROWS);
        let counters = || std::iter::repeat_with(AtomicU32::default).take(all).collect();
        let period = || Period {
            number: AtomicU32::new(0),
            counters: counters(),
            changing: Mutex::default(),
        };
        Ok(Self {
            most,
            period: NonZeroU32::new(longest.div_ceil(4)).unwrap_or(NonZeroU32::MIN),
            width,
            hasher: RandomState::new(),
            periods: std::iter::repeat_with(period).take(PERIODS).collect(),
        })
    }

    /// Returns where a key's next proof is counted.
    ///
    /// # Errors
    ///
    /// If the key has reached its quota: the time until some of its proofs may be forgotten.
    pub(crate) fn admit(&self, jkt: &str, now: UnixTime) -> Result<Places, Duration> {
        let now = seconds(now);
        let mut row = 0_usize;
        // Where a key is counted can't be predicted, so that no client can use up the quota of a chosen one.
        let places = Places([(); ROWS].map(|()| {
            let hash = self.hasher.hash_one((row, jkt)) as usize;
            let place = hash.checked_rem(self.width).unwrap_or_default();
            let place = place.saturating_add(row.saturating_mul(self.width));
            row = row.saturating_add(1);
            place
        }));
        let this = now / self.period;
        let live = || self.periods.iter().filter(|it| it.number.load(Ordering::Relaxed) >= this);
        let count = |place: &usize| {
            let counters = live().filter_map(|it| it.counters.get(*place));
            counters.fold(0_u32, |sum, it| sum.saturating_add(it.load(Ordering::Relaxed)))
        };
        let count = places.0.iter().map(count).min().unwrap_or_default();
        if count < self.most {
            return Ok(places);
        }
        let passed = now % self.period;
        Err(Duration::from_secs(self.period.get().saturating_sub(passed).into()))
    }

    /// Counts a proof that is remembered until this time.
    pub(crate) fn add(&self, places: &Places, until: UnixTime) {
        let number = seconds(until) / self.period;
        let Some(period) = self.periods.get(number as usize % PERIODS) else { return };
        period.begin(number);
        for counter in places.0.iter().filter_map(|place| period.counters.get(*place)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Period {
    /// Clears the counts of the period before it in the same place, which has ended.
    fn begin(&self, number: u32) {
        if self.number.load(Ordering::Acquire) == number {
            return;
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.number.load(Ordering::Acquire) != number {
            self.counters.iter().for_each(|it| it.store(0, Ordering::Relaxed));
            self.number.store(number, Ordering::Release);
        }
    }
}

fn seconds(time: UnixTime) -> u32 {
    u32::try_from(time.as_secs().max(0)).unwrap_or(u32::MAX)
}

impl fmt::Debug for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quota").field("most", &self.most).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;
    const LONGEST: Duration = Duration::from_secs(76);

    fn at(seconds: i64) -> UnixTime {
        UnixTime::from_secs(NOW + seconds)
    }

    fn quota(most: u32) -> Quota {
        Quota::new(most, LONGEST, 1 << 20).unwrap()
    }

    fn use_one(quota: &Quota, jkt: &str, now: i64) -> bool {
        let places = quota.admit(jkt, at(now));
        places.map(|places| quota.add(&places, at(now + 71))).is_ok()
    }

    #[test]
    fn d59_a_key_has_its_quota_and_gets_it_back() {
        let quota = quota(100);
        for second in 0..100 {
            assert!(use_one(&quota, "a", second / 10), "{second}");
        }
        assert!(!use_one(&quota, "a", 9));
        assert!(use_one(&quota, "b", 9), "another key");
        let wait = quota.admit("a", at(9)).err().unwrap();
        assert!(wait >= Duration::from_secs(1) && wait <= Duration::from_secs(19), "{wait:?}");
        // Until the last one of a period is forgotten, and not for a period longer.
        assert!(!use_one(&quota, "a", 71));
        for second in 0..100 {
            assert!(use_one(&quota, "a", 99 + second / 10), "{second}");
        }
        assert!(!use_one(&quota, "a", 109));
    }

    #[test]
    fn d59_a_steady_caller_below_its_quota_is_never_refused() {
        let quota = quota(128);
        for second in 0..1_000 {
            assert!(use_one(&quota, "a", second), "{second}");
        }
    }

    #[test]
    fn d59_a_record_full_of_others_proofs_uses_up_nobodys_quota() {
        let quota = quota(1_000);
        let keys: Vec<_> = (0..10_000).map(|it| format!("key {it}")).collect();
        // A million proofs are as many as there is room for.
        for round in 0..100 {
            for key in &keys {
                assert!(use_one(&quota, key, 0), "{key} {round}");
            }
        }
        for _ in 0..600 {
            assert!(use_one(&quota, "a", 0));
        }
    }

    #[test]
    fn d59_the_memory_of_the_quota_is_fixed() {
        for (most, room) in [(64, 1 << 20), (1_000, 1 << 20), (1_000_000, 1 << 20), (64, 1_024)] {
            let quota = Quota::new(most, LONGEST, room).unwrap();
            let taken: usize = quota.periods.iter().map(|it| it.counters.len() * 4).sum();
            let bound = 48 * 16 * room / most as usize;
            assert!(taken <= bound.max(96 * 1_024), "{most} {taken} {bound}");
        }
        for most in [0, 63, 1_000_001] {
            assert!(Quota::new(most, LONGEST, 1 << 20).is_err(), "{most}");
        }
    }

    #[test]
    fn d59_a_clock_that_jumps_is_survived() {
        let quota = quota(64);
        for second in [0, 1_000_000, -1_000_000, i64::from(u32::MAX), -NOW, -NOW - 5, 0] {
            assert!(use_one(&quota, "a", second), "{second}");
        }
    }
}
