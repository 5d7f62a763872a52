//! The circuit breaker: when a failing authorization server is asked again, as a pure function of its failures.

use std::time::Duration;

use tokio::time::Instant;

/// How many consecutive failures open the circuit.
const FAILURES: u32 = 5;

/// The time between two requests while the circuit is open, plus or minus a quarter.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest time for which a `Retry-After` is obeyed.
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(crate) struct Circuit {
    failures: u32,
    /// When the next request is allowed; `None` while the circuit is closed.
    probe: Option<Instant>,
}

/// The state of the circuit in which a request was allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pass {
    Closed,
    Probe,
}

impl Circuit {
    /// Allows a request, or returns how long to wait for the next one.
    pub(crate) fn enter(&mut self, now: Instant, jitter: f64) -> Result<Pass, Duration> {
        let Some(probe) = self.probe else { return Ok(Pass::Closed) };
        if now < probe {
            return Err(probe.saturating_duration_since(now));
        }
        self.probe = Some(after(now, pause(jitter)));
        Ok(Pass::Probe)
    }

    /// Returns how long to wait for the next request, if none is allowed now.
    #[cfg(feature = "client")]
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        let probe = self.probe.filter(|probe| now < *probe)?;
        Some(probe.saturating_duration_since(now))
    }

    #[cfg(any(feature = "introspection", test))]
    pub(crate) const fn is_open(&self) -> bool {
        self.probe.is_some()
    }

    #[cfg(feature = "introspection")]
    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }

    #[cfg(any(feature = "introspection", test))]
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Records a failure. A server that sends `Retry-After` isn't asked before that time.
    pub(crate) fn failed(&mut self, retry_after: Option<Duration>, now: Instant, jitter: f64) {
        self.failures = self.failures.saturating_add(1);
        let asked = retry_after.map(|wait| after(now, wait.min(LONGEST)));
        let tired = self.failures >= FAILURES && self.probe.is_none();
        let own = tired.then(|| after(now, pause(jitter)));
        self.probe = [self.probe, asked, own].into_iter().flatten().max();
    }
}

fn pause(jitter: f64) -> Duration {
    PAUSE.mul_f64(0.75 + jitter / 2.0)
}

fn after(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    const MILLI: Duration = Duration::from_millis(1);

    fn failed(times: u32, now: Instant) -> Circuit {
        let mut circuit = Circuit::default();
        for _ in 0..times {
            assert_eq!(circuit.enter(now, 0.5), Ok(Pass::Closed));
            circuit.failed(None, now, 0.5);
        }
        circuit
    }

    #[test]
    fn i33_five_failures_in_a_row_open_it_and_one_question_a_second_goes_through() {
        let now = monotonic();
        assert!(!failed(4, now).is_open());
        let mut circuit = failed(5, now);
        assert_eq!(circuit.enter(now, 0.5), Err(1_000 * MILLI));
        assert_eq!(circuit.enter(now + 999 * MILLI, 0.5), Err(MILLI));
        let later = now + 1_000 * MILLI;
        assert_eq!(circuit.enter(later, 0.0), Ok(Pass::Probe));
        assert_eq!(circuit.enter(later, 0.0), Err(750 * MILLI), "one goes through");
        circuit.failed(None, later + MILLI, 0.5);
        assert_eq!(circuit.enter(later + MILLI, 0.0), Err(749 * MILLI), "not later for that");
        circuit.succeeded();
        assert_eq!(circuit.enter(later, 0.0), Ok(Pass::Closed));
    }

    #[test]
    fn i33_a_success_between_begins_the_count_anew() {
        let now = monotonic();
        let mut circuit = failed(4, now);
        circuit.succeeded();
        circuit.failed(None, now, 0.0);
        assert!(!circuit.is_open());
    }

    #[test]
    fn i33_the_pause_is_jittered() {
        for (jitter, millis) in [(0.0, 750), (0.5, 1_000), (0.999_999, 1_249)] {
            assert_eq!(pause(jitter).as_millis(), millis);
        }
    }

    #[test]
    fn i16_retry_after_is_obeyed_at_once_and_for_half_a_minute_at_most() {
        let now = monotonic();
        for (asked, obeyed) in [(7, 7), (3_600, 30), (0, 0)] {
            let mut circuit = Circuit::default();
            circuit.failed(Some(Duration::from_secs(asked)), now, 0.5);
            assert_eq!(circuit.enter(now + Duration::from_secs(obeyed), 0.5), Ok(Pass::Probe));
            if obeyed > 0 {
                let mut circuit = Circuit::default();
                circuit.failed(Some(Duration::from_secs(asked)), now, 0.5);
                assert_eq!(circuit.enter(now, 0.5), Err(Duration::from_secs(obeyed)));
            }
        }
    }
}
