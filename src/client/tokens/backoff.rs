//! How long a failure is cached before the server is asked again, as a pure function.

use std::time::Duration;

use crate::clock::doubled;

/// The longest wait, whatever `Retry-After` says: the server may recover sooner than it expected.
pub(crate) const LONGEST: Duration = Duration::from_secs(300);

/// The first wait after a permanent failure.
const FIRST_PERMANENT: Duration = Duration::from_secs(10);

/// The first wait after a temporary failure.
const FIRST_TRANSIENT: Duration = Duration::from_millis(500);
const LONGEST_TRANSIENT: Duration = Duration::from_secs(60);

/// What decides for how long a failure is cached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cause {
    pub(crate) permanent: bool,
    pub(crate) retry_after: Option<Duration>,
}

/// Returns for how long no call asks again after the `count`th failure in a row (from 1).
///
/// The wait doubles with each failure, up to the longest one. `jitter` (0 to 1) adds up to a half of
/// it, or a tenth of what the server asked for, which it has asked all its clients for.
pub(crate) fn rest(cause: Cause, count: u32, jitter: f64) -> Duration {
    let (first, longest) = if cause.permanent {
        (FIRST_PERMANENT, LONGEST)
    } else {
        (FIRST_TRANSIENT, LONGEST_TRANSIENT)
    };
    // The longest wait is spread, too, and includes the jitter.
    let doubled = doubled(first, count.saturating_sub(1), longest.mul_f64(2.0 / 3.0));
    let asked = cause.retry_after.unwrap_or_default().min(LONGEST);
    let spread = doubled.mul_f64(0.5).max(asked.mul_f64(0.1)).mul_f64(jitter.clamp(0.0, 1.0));
    doubled.max(asked).saturating_add(spread).min(LONGEST)
}

/// How many attempts one fetch makes.
pub(crate) const ATTEMPTS: u32 = 3;

/// The longest `Retry-After` that a fetch waits for between two attempts.
const PATIENCE: Duration = Duration::from_secs(2);

/// Returns how long one fetch waits after its `attempt`th attempt (from 1) before the next; `None` if it
/// gives up.
pub(crate) fn pause(cause: Cause, attempt: u32, jitter: f64) -> Option<Duration> {
    if cause.permanent || attempt >= ATTEMPTS {
        return None;
    }
    let own = Duration::from_millis(200).saturating_mul(attempt).mul_f64(0.5 + jitter.min(1.0));
    match cause.retry_after {
        Some(asked) if asked > PATIENCE => None,
        Some(asked) => Some(own.max(asked)),
        None => Some(own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PASSING: Cause = Cause { permanent: false, retry_after: None };
    const LASTING: Cause = Cause { permanent: true, retry_after: None };

    fn seconds(cause: Cause, count: u32) -> f64 {
        rest(cause, count, 0.0).as_secs_f64()
    }

    // R12
    #[test]
    fn r12_permanent_failures_rest_ten_seconds_to_five_minutes() {
        let rests: Vec<f64> = (1..=7).map(|count| seconds(LASTING, count)).collect();
        assert_eq!(rests, [10.0, 20.0, 40.0, 80.0, 160.0, 200.0, 200.0]);
        assert_eq!(rest(LASTING, u32::MAX, 1.0), LONGEST);
        assert_eq!(rest(LASTING, 1, 1.0), 15 * SECOND);
    }

    // R12
    #[test]
    fn r12_transient_failures_rest_half_a_second_to_a_minute() {
        let rests: Vec<f64> = (0..=9).map(|count| seconds(PASSING, count)).collect();
        assert_eq!(rests, [0.5, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 40.0, 40.0]);
    }

    #[test]
    fn fc14_no_wait_is_longer_than_a_minute_or_five_with_the_jitter() {
        for count in 1..100 {
            assert!(rest(PASSING, count, 1.0) <= 60 * SECOND, "{count}");
            assert!(rest(LASTING, count, 1.0) <= 300 * SECOND, "{count}");
        }
        assert_eq!(rest(PASSING, 40, 1.0), 60 * SECOND);
        assert_eq!(rest(LASTING, 40, 1.0), 300 * SECOND);
        assert!(rest(PASSING, 40, 0.1) < rest(PASSING, 40, 0.9), "the longest is spread as well");
    }

    // R12
    #[test]
    fn r12_retry_after_is_honoured_up_to_five_minutes() {
        let asked = |seconds| Cause { retry_after: Some(seconds * SECOND), ..PASSING };
        assert_eq!(rest(asked(120), 1, 0.0), 120 * SECOND);
        assert_eq!(rest(asked(0), 1, 0.0), SECOND / 2);
        assert_eq!(rest(asked(120), 1, 1.0), 132 * SECOND);
        assert_eq!(rest(asked(120), 7, 1.0), 136 * SECOND);
        assert_eq!(rest(asked(86_400), 1, 0.0), LONGEST);
    }

    // R12
    #[test]
    fn r12_one_fetch_tries_three_times_if_that_can_help() {
        let pauses: Vec<_> = (1..=3).map(|attempt| pause(PASSING, attempt, 0.5)).collect();
        let millis = |millis| Some(Duration::from_millis(millis));
        assert_eq!(pauses, [millis(200), millis(400), None]);
        assert_eq!(pause(LASTING, 1, 0.5), None);
        let asked = |seconds| Cause { retry_after: Some(seconds * SECOND), ..PASSING };
        assert_eq!(pause(asked(2), 1, 0.5), Some(2 * SECOND));
        assert_eq!(pause(asked(3), 1, 0.5), None);
    }
}
