//! Time: the wall clock, the monotonic clock, `UnixTime`, and the jitter and backoff of waits.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

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

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> UnixTime {
        (**self).now()
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> UnixTime {
        SystemTime::now().into()
    }
}

/// Returns the current monotonic time, which a test may have paused.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

/// Returns `true` if there is a runtime, and it has timers. The only way to find out is whether `tokio` panics.
pub(crate) fn has_timers() -> bool {
    Handle::try_current().is_ok() && catch_unwind(|| drop(sleep(Duration::ZERO))).is_ok()
}

/// Draws evenly from 0 to below 1: good enough to spread a fleet's requests over time.
pub(crate) fn jitter() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(random >> 32).unwrap_or_default()) / (f64::from(u32::MAX) + 1.0)
}

/// Returns `first`, doubled so many times, but `longest` at most: a wait that grows with failures.
pub(crate) fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    let factor = 1_u32.checked_shl(times).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest)
}

/// A point in time: seconds since 1970-01-01T00:00:00Z without leap seconds, to the millisecond.
///
/// This is the `NumericDate` of RFC 7519 §2. It is at most 2^53 seconds away from zero.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_bearer::UnixTime;
///
/// let expires = UnixTime::from_secs(1_700_000_000);
/// assert!(UnixTime::from(SystemTime::now()) > expires);
/// let system = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
/// assert_eq!(expires.to_system_time(), Some(system));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnixTime {
    millis: i64,
}

/// 2^53: up to here an `f64` holds every whole number.
const MAX_SECS: i64 = 1 << 53;
const PER_SEC: i64 = 1_000;

impl UnixTime {
    /// The earliest time.
    pub(crate) const MIN: Self = Self::from_secs(-MAX_SECS);
    /// The latest time.
    const MAX: Self = Self::from_secs(MAX_SECS);

    /// Creates a time from whole seconds, clamped to ±2^53.
    #[inline]
    pub const fn from_secs(secs: i64) -> Self {
        let secs = if secs > MAX_SECS {
            MAX_SECS
        } else if secs < -MAX_SECS {
            -MAX_SECS
        } else {
            secs
        };
        Self { millis: secs.saturating_mul(PER_SEC) }
    }

    /// Creates a time from seconds, to the nearest millisecond; `None` when not finite or beyond ±2^53.
    #[allow(clippy::cast_precision_loss, reason = "whole seconds within ±2^53 are exact")]
    pub const fn from_secs_f64(secs: f64) -> Option<Self> {
        const MAX: f64 = MAX_SECS as f64;
        if !(secs >= -MAX && secs <= MAX) {
            return None;
        }
        let whole = secs as i64;
        let rest = (secs - whole as f64) * 1e3;
        let rest = (if rest < 0.0 { rest - 0.5 } else { rest + 0.5 }) as i64;
        Some(Self { millis: whole.saturating_mul(PER_SEC).saturating_add(rest) })
    }

    /// Returns the seconds since the epoch.
    #[allow(clippy::cast_precision_loss, reason = "whole seconds within ±2^53 are exact")]
    pub const fn as_secs_f64(self) -> f64 {
        self.as_secs() as f64 + self.millis.rem_euclid(PER_SEC) as f64 / 1e3
    }

    /// Returns the whole seconds since the epoch, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.millis.div_euclid(PER_SEC)
    }

    /// Returns the milliseconds since the epoch.
    pub(crate) const fn as_millis(self) -> i64 {
        self.millis
    }

    /// Returns this as the time of the standard library; `None` if that can't hold it, which depends on
    /// the platform.
    pub fn to_system_time(self) -> Option<SystemTime> {
        let distance = Duration::from_millis(self.millis.unsigned_abs());
        if self.millis < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(distance)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(distance)
        }
    }

    /// Returns this time moved forward, clamped to 2^53 seconds. What is shorter than a millisecond is
    /// left out.
    #[must_use]
    #[inline]
    pub fn plus(self, duration: Duration) -> Self {
        Self { millis: self.millis.saturating_add(millis(duration)) }.min(Self::MAX)
    }

    /// Returns this time moved back, clamped to −2^53 seconds. What is shorter than a millisecond is left
    /// out.
    #[must_use]
    #[inline]
    pub fn minus(self, duration: Duration) -> Self {
        Self { millis: self.millis.saturating_sub(millis(duration)) }.max(Self::MIN)
    }

    /// Returns how much later this is than `earlier`; zero if it isn't.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        let millis = self.millis.saturating_sub(earlier.millis);
        Duration::from_millis(u64::try_from(millis).unwrap_or_default())
    }
}

/// Returns a duration in milliseconds, as far as one may be.
#[inline]
fn millis(duration: Duration) -> i64 {
    let secs = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    secs.saturating_mul(PER_SEC).saturating_add(duration.subsec_millis().into())
}

/// Rounded down to the millisecond, and clamped to ±2^53 seconds.
impl From<SystemTime> for UnixTime {
    #[inline]
    fn from(time: SystemTime) -> Self {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Self::default().plus(since),
            Err(before) => {
                let before = before.duration();
                let rounded = before.saturating_add(Duration::from_nanos(999_999));
                Self::default().minus(rounded)
            }
        }
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.as_secs_f64(), f)
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
        let max = MAX_SECS as f64;
        assert_eq!(UnixTime::from_secs_f64(max), Some(UnixTime::MAX));
        assert_eq!(UnixTime::from_secs_f64(-max), Some(UnixTime::MIN));
        assert!(UnixTime::from_secs_f64(max * 2.0).is_none());
        assert!(UnixTime::from_secs_f64(max + 2.0).is_none());
        assert_eq!(UnixTime::from_secs(i64::MAX).as_secs_f64(), max);
        assert_eq!(UnixTime::from_secs(i64::MAX).plus(Duration::MAX).as_secs_f64(), max);
        assert_eq!(UnixTime::from_secs(i64::MIN).minus(Duration::MAX).as_secs_f64(), -max);
        assert_eq!(UnixTime::MAX.saturating_since(UnixTime::MIN).as_secs(), 9_223_372_036_854_775);
    }
    #[test]
    fn fractions_are_kept_to_the_millisecond() {
        for (secs, millis, shown) in [
            (0.0, 0, "0"),
            (1.001, 1_001, "1.001"),
            (0.29, 290, "0.29"),
            (-0.25, -250, "-0.25"),
            (-1.5, -1_500, "-1.5"),
            (1_700_000_000.999_9, 1_700_000_001_000, "1700000001"),
            (9_007_199_254_740_991.0, 9_007_199_254_740_991_000, "9007199254740991"),
        ] {
            let time = UnixTime::from_secs_f64(secs).unwrap();
            assert_eq!((time.millis, &*time.to_string()), (millis, shown));
        }
        let (early, late) = (UnixTime::from_secs(1), UnixTime::from_secs_f64(1.001).unwrap());
        assert!(early < late && early.max(late) == late);
    }

    #[test]
    fn is_the_time_of_the_standard_library() {
        let epoch = SystemTime::UNIX_EPOCH;
        for (system, millis, back) in [
            (epoch + Duration::from_millis(1_500), 1_500, epoch + Duration::from_millis(1_500)),
            (epoch - Duration::from_millis(1_500), -1_500, epoch - Duration::from_millis(1_500)),
            (epoch + Duration::from_nanos(1_999_999), 1, epoch + Duration::from_millis(1)),
            (epoch - Duration::from_nanos(1), -1, epoch - Duration::from_millis(1)),
        ] {
            let time = UnixTime::from(system);
            assert_eq!((time.millis, time.to_system_time()), (millis, Some(back)));
        }
    }
}
