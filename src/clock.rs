use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A source of wall-clock time, against which `exp`, `nbf` and `iat` are checked.
///
/// [`SystemClock`] is the default; tests use their own.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> UnixTime;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "it is written out where it is used")]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> UnixTime {
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => UnixTime(since.as_secs_f64()),
            Err(before) => UnixTime(-before.duration().as_secs_f64()),
        }
    }
}

/// Returns the current monotonic time, which a test may have paused.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

/// Draws evenly from 0 to below 1: good enough to keep a fleet from asking all at once.
pub(crate) fn jitter() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(random >> 32).unwrap_or_default()) / (f64::from(u32::MAX) + 1.0)
}

/// Returns `first`, doubled so many times, but `longest` at most: a wait that grows with failures.
pub(crate) fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    let factor = 1_u32.checked_shl(times).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest)
}

/// A point in time: seconds since 1970-01-01T00:00:00Z without leap seconds, possibly fractional.
///
/// This is the `NumericDate` of RFC 7519 §2. It is always finite and at most 2^53 away from zero,
/// so that whole seconds are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct UnixTime(f64);

/// 2^53: up to here an `f64` holds every whole number.
const MAX_SECS: f64 = 9_007_199_254_740_992.0;

impl UnixTime {
    /// The earliest time.
    pub(crate) const MIN: Self = Self(-MAX_SECS);

    /// Creates a time from whole seconds, clamped to ±2^53.
    pub const fn from_secs(secs: i64) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "clamped to what an f64 holds exactly")]
        Self((secs as f64).clamp(-MAX_SECS, MAX_SECS))
    }

    /// Creates a time from seconds; `None` when not finite or beyond ±2^53.
    pub const fn from_secs_f64(secs: f64) -> Option<Self> {
        if secs.is_finite() && secs >= -MAX_SECS && secs <= MAX_SECS {
            Some(Self(secs))
        } else {
            None
        }
    }

    /// Returns the seconds since the epoch.
    pub const fn as_secs_f64(self) -> f64 {
        self.0
    }

    /// Returns the whole seconds since the epoch, rounded down.
    pub fn as_secs(self) -> i64 {
        self.0.floor() as i64
    }

    /// Returns this time moved forward, clamped to 2^53.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self((self.0 + duration.as_secs_f64()).min(MAX_SECS))
    }

    /// Returns this time moved back, clamped to −2^53.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self((self.0 - duration.as_secs_f64()).max(-MAX_SECS))
    }

    /// Returns the earlier of two times.
    pub(crate) const fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }

    /// Returns the later of two times.
    pub(crate) const fn max(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }

    /// Returns how much later this is than `earlier`; zero if it isn't.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::try_from_secs_f64(self.0 - earlier.0).unwrap_or_default()
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_and_compares() {
        let t = UnixTime::from_secs(100);
        assert_eq!(t.plus(Duration::from_millis(500)).as_secs_f64(), 100.5);
        assert_eq!(t.minus(Duration::from_secs(101)), UnixTime::from_secs(-1));
        assert_eq!(t.saturating_since(UnixTime::from_secs(90)), Duration::from_secs(10));
        assert_eq!(t.saturating_since(UnixTime::from_secs(110)), Duration::ZERO);
        assert_eq!(UnixTime::from_secs_f64(-0.5).unwrap().as_secs(), -1);
    }

    #[test]
    fn jitter_is_spread() {
        let drawn: Vec<f64> = (0..100).map(|_| jitter()).collect();
        assert!(drawn.iter().all(|x| (0.0..1.0).contains(x)));
        assert!(drawn.iter().any(|x| *x < 0.5) && drawn.iter().any(|x| *x >= 0.5));
    }

    #[test]
    fn waits_double_to_the_longest() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(60));
        for (times, expected) in
            [(0, 1), (1, 2), (5, 32), (6, 60), (31, 60), (32, 60), (u32::MAX, 60)]
        {
            assert_eq!(doubled(first, times, longest).as_secs(), expected, "{times}");
        }
        assert_eq!(doubled(Duration::ZERO, 9, longest), Duration::ZERO);
        assert_eq!(doubled(longest, 0, first), first);
    }

    #[test]
    fn never_leaves_the_exact_range() {
        assert!(UnixTime::from_secs_f64(f64::NAN).is_none());
        assert!(UnixTime::from_secs_f64(f64::INFINITY).is_none());
        assert!(UnixTime::from_secs_f64(MAX_SECS).is_some());
        assert!(UnixTime::from_secs_f64(MAX_SECS * 2.0).is_none());
        assert_eq!(UnixTime::from_secs(i64::MAX).as_secs_f64(), MAX_SECS);
        assert_eq!(UnixTime::from_secs(i64::MAX).plus(Duration::MAX).as_secs_f64(), MAX_SECS);
    }
}
