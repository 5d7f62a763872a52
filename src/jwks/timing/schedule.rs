//! When to fetch: a function of past events and of `now`. It neither sleeps nor fetches.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::doubled;

/// The settings about time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// How long a set is fresh when the answer doesn't say.
    pub(crate) ttl: Duration,
    /// The bounds for the lifetimes in answers.
    pub(crate) min_ttl: Duration,
    pub(crate) max_ttl: Duration,
    /// How long a set may be used after it was fresh.
    pub(crate) max_stale: Duration,
}

impl Timing {
    /// Returns how long a set is fresh whose answer gave it `remaining`.
    fn lifetime(&self, remaining: Option<Duration>) -> Duration {
        remaining.map_or(self.ttl, |remaining| remaining.max(self.min_ttl).min(self.max_ttl))
    }
}

/// How long the keys may be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Serving {
    pub(crate) fresh_until: Instant,
    pub(crate) stale_until: Instant,
}

/// The next attempt, and what led to it.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    timing: Timing,
    next: Option<Instant>,
    /// The end of the issuer's `Retry-After`.
    held_until: Option<Instant>,
    failures: u32,
    /// How long the last set was to be fresh, or would be if its answer doesn't say.
    lifetime: Duration,
    /// When the first attempt was due, until one has succeeded.
    cold_since: Option<Instant>,
}

impl Schedule {
    /// The part of its lifetime after which a set is refreshed.
    const REFRESH_AT: f64 = 0.8;
    /// How much earlier or later, as a fraction of that, so that many services don't fetch at once.
    const SPREAD: f64 = 0.1;
    const FIRST_BACKOFF: Duration = Duration::from_secs(1);
    const LAST_BACKOFF: Duration = Duration::from_secs(60);
    /// Full jitter may draw nearly nothing; this keeps attempts apart.
    const SHORTEST_BACKOFF: Duration = Duration::from_millis(100);
    /// An issuer that starts together with the service is asked often at first.
    const COLD: Duration = Duration::from_secs(60);
    const COLD_BACKOFF: Duration = Duration::from_secs(2);
    const SHORTEST_HOLD: Duration = Duration::from_secs(1);
    const LONGEST_HOLD: Duration = Duration::from_secs(300);

    /// Creates a schedule that plans nothing yet.
    pub(crate) const fn new(timing: Timing) -> Self {
        let lifetime = timing.ttl;
        Self { timing, next: None, held_until: None, failures: 0, lifetime, cold_since: None }
    }

    /// Plans an attempt for now, unless one is planned already. `cold` says whether no key was
    /// ever loaded.
    pub(crate) fn start(&mut self, now: Instant, cold: bool) {
        if self.next.is_none() {
            self.next = Some(now);
            self.cold_since = cold.then_some(now);
        }
    }

    /// Plans an attempt for now, whatever was planned.
    pub(crate) fn hasten(&mut self, now: Instant) {
        self.next = Some(self.next.map_or(now, |next| next.min(now)));
    }

    /// Records a success that gave the set `remaining`, and plans the refresh at four fifths of the
    /// time that it stays fresh, give or take a tenth of that. `jitter` is drawn evenly from 0 to 1.
    pub(crate) fn succeeded(
        &mut self,
        now: Instant,
        remaining: Option<Duration>,
        jitter: f64,
    ) -> Serving {
        self.lifetime = self.timing.lifetime(remaining);
        self.failures = 0;
        self.held_until = None;
        self.cold_since = None;
        self.next = Some(self.refresh(now, jitter));
        self.serving(after(now, self.lifetime))
    }

    /// Returns when a set that came now is refreshed.
    fn refresh(&self, now: Instant, jitter: f64) -> Instant {
        let spread = 1.0 - Self::SPREAD + 2.0 * Self::SPREAD * jitter;
        after(now, self.lifetime.mul_f64(Self::REFRESH_AT * spread))
    }

    /// Returns how long a set may be used that is fresh until then.
    pub(crate) fn serving(&self, fresh_until: Instant) -> Serving {
        Serving { fresh_until, stale_until: after(fresh_until, self.timing.max_stale) }
    }

    /// Records that a planned attempt, begun at `begun`, failed, and plans the next: after 1 s, 2 s,
    /// 4 s … 60 s at most, with full jitter. It is never later than if a set as fresh as the last one
    /// had arrived now: a failure delays no refresh, except by a [`Retry-After`](Self::hold).
    ///
    /// In the first minute, while no key was ever loaded, attempts begin at most two seconds apart.
    pub(crate) fn failed(&mut self, begun: Instant, now: Instant, jitter: f64) {
        let most = doubled(Self::FIRST_BACKOFF, self.failures, Self::LAST_BACKOFF);
        self.failures = self.failures.saturating_add(1);
        let is_cold = self.cold_since.is_some_and(|since| now < after(since, Self::COLD));
        let next = if is_cold {
            after(begun, most.min(Self::COLD_BACKOFF).mul_f64(0.9 + 0.1 * jitter))
        } else {
            after(now, most.mul_f64(jitter))
        };
        let next = next.min(self.refresh(now, jitter));
        self.next = Some(next.max(after(now, Self::SHORTEST_BACKOFF)));
    }

    /// Records a `Retry-After` of this length.
    pub(crate) fn hold(&mut self, now: Instant, retry_after: Duration) {
        let hold = retry_after.clamp(Self::SHORTEST_HOLD, Self::LONGEST_HOLD);
        self.held_until = Some(after(now, hold));
    }

    /// Returns until when the issuer's `Retry-After` lasts.
    pub(crate) fn held(&self, now: Instant) -> Option<Instant> {
        self.held_until.filter(|until| now < *until)
    }

    /// Returns when the next attempt is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next.map(|next| self.held_until.map_or(next, |until| next.max(until)))
    }

    /// Returns how many planned attempts have failed in a row.
    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }
}

/// Adds without overflow; no setting is large enough to cause one.
pub(crate) fn after(instant: Instant, duration: Duration) -> Instant {
    instant.checked_add(duration).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing {
        ttl: Duration::from_secs(600),
        min_ttl: Duration::from_secs(60),
        max_ttl: Duration::from_secs(3_600),
        max_stale: Duration::from_secs(3_600),
    };

    fn now() -> Instant {
        crate::clock::monotonic()
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    // LC3
    #[test]
    fn lc3_the_lifetime_is_clamped_both_ways() {
        let now = now();
        for (remaining, expected) in [
            (None, 600),
            (Some(0), 60),
            (Some(59), 60),
            (Some(61), 61),
            (Some(3_599), 3_599),
            (Some(86_400), 3_600),
        ] {
            let mut schedule = Schedule::new(TIMING);
            let serving = schedule.succeeded(now, remaining.map(secs), 0.5);
            assert_eq!(serving.fresh_until - now, secs(expected), "{remaining:?}");
            assert_eq!(serving.stale_until - now, secs(expected + 3_600), "{remaining:?}");
        }
    }

    // LC1
    #[test]
    fn lc1_a_refresh_comes_at_four_fifths_of_the_lifetime() {
        let now = now();
        for (jitter, expected) in [(0.0, 432.0), (0.5, 480.0), (1.0, 528.0)] {
            let mut schedule = Schedule::new(TIMING);
            schedule.succeeded(now, None, jitter);
            let planned = schedule.next().unwrap() - now;
            assert!((planned.as_secs_f64() - expected).abs() < 0.001, "{planned:?}");
        }
    }

    // LC4
    #[test]
    fn lc4_backoff_doubles_to_a_cap_and_a_success_resets_it() {
        let now = now();
        let mut schedule = Schedule::new(TIMING);
        schedule.start(now, false);
        assert_eq!(schedule.next(), Some(now));
        for expected in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            schedule.failed(now, now, 1.0);
            assert_eq!(schedule.next(), Some(now + secs(expected)));
        }
        for _ in 0..100 {
            schedule.failed(now, now, 1.0);
        }
        assert_eq!(schedule.next(), Some(now + secs(60)));
        schedule.failed(now, now, 0.0);
        assert_eq!(schedule.next(), Some(now + Duration::from_millis(100)));
        schedule.failed(now, now, 0.5);
        assert_eq!(schedule.next(), Some(now + secs(30)));
        schedule.succeeded(now, None, 0.5);
        assert_eq!(schedule.failures(), 0);
        schedule.failed(now, now, 1.0);
        assert_eq!(schedule.next(), Some(now + secs(1)));
    }

    #[test]
    fn a_failure_plans_no_attempt_later_than_a_success_would() {
        let now = now();
        let planned = |schedule: &Schedule| (schedule.next().unwrap() - now).as_secs_f64();
        for (ttl, said, latest) in [
            (1, None, 0.88),
            (30, None, 26.4),
            (600, Some(60), 52.8),
            // The backoff of a longer lifetime stays as it is.
            (600, None, 60.0),
            (600, Some(3_600), 60.0),
        ] {
            for jitter in [0.0, 0.25, 0.5, 0.75, 1.0] {
                let mut schedule = Schedule::new(Timing { ttl: secs(ttl), ..TIMING });
                schedule.succeeded(now, said.map(secs), jitter);
                let after_success = planned(&schedule);
                for _ in 0..9 {
                    schedule.failed(now, now, jitter);
                    assert!(planned(&schedule) <= after_success, "{ttl} {said:?} {jitter}");
                    assert!(planned(&schedule) >= 0.1);
                }
                if jitter == 1.0 {
                    assert!((planned(&schedule) - latest).abs() < 0.001, "{ttl} {said:?}");
                }
            }
        }
        // Before any set came, its lifetime is the one that is set.
        let mut schedule = Schedule::new(Timing { ttl: secs(30), ..TIMING });
        for _ in 0..9 {
            schedule.failed(now, now, 1.0);
        }
        assert!((planned(&schedule) - 26.4).abs() < 0.001);
    }

    #[test]
    fn retry_after_is_obeyed_within_bounds() {
        let now = now();
        for (asked, held) in [(0, 1), (1, 1), (120, 120), (86_400, 300)] {
            let mut schedule = Schedule::new(TIMING);
            schedule.failed(now, now, 0.0);
            schedule.hold(now, secs(asked));
            assert_eq!(schedule.next(), Some(now + secs(held)), "{asked}");
            assert_eq!(schedule.held(now), Some(now + secs(held)));
            assert_eq!(schedule.held(now + secs(held)), None);
        }
        let mut schedule = Schedule::new(TIMING);
        for _ in 0..7 {
            schedule.failed(now, now, 1.0);
        }
        schedule.hold(now, secs(5));
        assert_eq!(schedule.next(), Some(now + secs(60)), "the later of the two");
        schedule.succeeded(now, None, 0.5);
        assert_eq!(schedule.held(now), None);
    }

    #[test]
    fn starting_twice_plans_once() {
        let now = now();
        let mut schedule = Schedule::new(TIMING);
        assert_eq!(schedule.next(), None);
        schedule.start(now, true);
        schedule.start(now + secs(1), true);
        assert_eq!(schedule.next(), Some(now));
    }

    #[test]
    fn fa15_attempts_are_at_most_two_seconds_apart_in_the_first_minute_without_keys() {
        for (takes, jitter) in [(0, 0.0), (0, 1.0), (500, 0.5), (1_900, 1.0), (5_000, 0.0)] {
            let takes = Duration::from_millis(takes);
            let start = now();
            let mut schedule = Schedule::new(TIMING);
            schedule.start(start, true);
            let mut begun = start;
            while begun + takes < start + secs(60) {
                schedule.failed(begun, begun + takes, jitter);
                let next = schedule.next().unwrap();
                assert!(next >= begun + takes + Duration::from_millis(100));
                assert!(next - begun <= secs(2).max(takes + Duration::from_millis(100)));
                begun = next;
            }
            schedule.failed(begun, begun + takes, 1.0);
            assert!(schedule.next().unwrap() - begun - takes > secs(30), "then as usual");
        }
        let start = now();
        let mut schedule = Schedule::new(TIMING);
        schedule.start(start, true);
        schedule.succeeded(start, None, 0.5);
        for _ in 0..3 {
            schedule.failed(start, start, 1.0);
        }
        assert_eq!(schedule.next(), Some(start + secs(4)), "there were keys");
    }
}
