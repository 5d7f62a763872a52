//! When a token is replaced and when it is no longer used, as a pure function of its lifetime.

use std::time::Duration;

/// The longest lifetime: longer ones are cut.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The widest margin: a token is used until this long before it expires, or later.
const WIDEST_MARGIN: Duration = Duration::from_secs(60);

/// The ages at which a token is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ages {
    /// From this age on it is replaced in the background, and used meanwhile.
    pub(crate) soft: Duration,
    /// From this age on it is no longer used.
    pub(crate) hard: Duration,
}

/// Returns how long before its expiry a token of this lifetime is no longer used.
pub(crate) fn margin(lifetime: Duration) -> Duration {
    lifetime.checked_div(10).unwrap_or_default().min(WIDEST_MARGIN)
}

impl Ages {
    /// Returns the ages for a lifetime; `None` if there is none.
    ///
    /// The margin before expiry is a tenth of the lifetime, at most a minute: with a fixed one a
    /// short-lived token could never be used. Replacing starts one to two tenths of the lifetime
    /// before that, by `jitter` (0 to 1), so that processes don't all fetch at once.
    pub(crate) fn of(lifetime: Duration, jitter: f64) -> Option<Self> {
        let lifetime = lifetime.min(LONGEST);
        if lifetime.is_zero() {
            return None;
        }
        let tenth = lifetime.checked_div(10).unwrap_or_default();
        let hard = lifetime.saturating_sub(margin(lifetime));
        let ahead = tenth.saturating_add(tenth.mul_f64(jitter.clamp(0.0, 1.0)));
        Some(Self { soft: hard.saturating_sub(ahead), hard })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ages(lifetime: f64, jitter: f64) -> (f64, f64) {
        let ages = Ages::of(Duration::from_secs_f64(lifetime), jitter).unwrap();
        (ages.soft.as_secs_f64(), ages.hard.as_secs_f64())
    }

    // E1: min(60 s, 10 %) and jitter; E2: soft before hard.
    #[test]
    fn e1_e2_margins_suit_three_seconds_as_well_as_a_day() {
        assert_eq!(ages(3.0, 0.0), (2.4, 2.7));
        assert_eq!(ages(3.0, 1.0), (2.1, 2.7));
        assert_eq!(ages(45.0, 0.0), (36.0, 40.5));
        assert_eq!(ages(600.0, 0.0), (480.0, 540.0));
        assert_eq!(ages(3_600.0, 0.5), (3_000.0, 3_540.0));
        assert_eq!(ages(86_400.0, 0.0), (77_700.0, 86_340.0));
        assert_eq!(ages(86_400.0, 1.0), (69_060.0, 86_340.0));
    }

    // R6
    #[test]
    fn r6_nothing_lives_longer_than_a_year_and_nothing_is_cached_for_no_time() {
        assert_eq!(Ages::of(Duration::MAX, 0.0), Ages::of(LONGEST, 0.0));
        assert_eq!(Ages::of(Duration::ZERO, 0.0), None);
    }

    proptest! {
        #[test]
        fn e1_every_lifetime_leaves_time_to_serve(millis in 1_u64..100_000_000_000, jitter in 0.0..1.0) {
            let lifetime = Duration::from_millis(millis);
            let ages = Ages::of(lifetime, jitter).unwrap();
            let believed = lifetime.min(LONGEST);
            prop_assert!(ages.soft >= believed.mul_f64(0.699));
            prop_assert!(ages.soft < ages.hard);
            prop_assert!(ages.hard < believed);
            prop_assert!(believed - ages.hard <= WIDEST_MARGIN);
        }
    }
}
