//! What the refresher, the misses and the status share, behind one lock that no request with a
//! known key ever takes.

use std::time::Duration;

use tokio::time::Instant;

use crate::jose::{Algorithm, IgnoredKey};
use crate::jwks::config::Config;
use crate::jwks::fetch::discovery::JwksMetadata;
use crate::jwks::fetch::error::FetchError;
use crate::jwks::fetch::flight::FetchCause;
use crate::jwks::health::State;
use crate::jwks::kept::key_set::KeySet;
use crate::jwks::timing::misses::Misses;
use crate::jwks::timing::schedule::Schedule;

/// The state of one key source, without its keys.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) schedule: Schedule,
    pub(crate) misses: Misses,
    pub(crate) metadata: Option<JwksMetadata>,
    pub(crate) log: Log,
    /// The first keys of the set that the last attempt fetched, if none of them is usable.
    pub(crate) unusable: Box<[IgnoredKey]>,
    /// The number of the latest attempt.
    pub(crate) sequence: u64,
    pub(crate) flying: Option<Flying>,
    /// Whether `refresh` was called.
    pub(crate) refresh: bool,
    /// The state that was last logged.
    pub(crate) reported: State,
    /// Whether there is a task.
    pub(crate) alive: bool,
    pub(crate) closed: bool,
}

/// The attempt under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flying {
    pub(crate) sequence: u64,
    pub(crate) purpose: FetchCause,
    pub(crate) begun: Instant,
}

/// The history of the attempts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) last_attempt: Option<Instant>,
    pub(crate) last_success: Option<Instant>,
    pub(crate) failures: u32,
    pub(crate) last_error: Option<FetchError>,
    /// By how many seconds the issuer's clock was ahead of this one, by the last answer that had a date.
    pub(crate) clock_offset: Option<i64>,
}

/// The progress of the attempts, which waiters watch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempts {
    /// The number of the latest attempt that has ended, and its error.
    pub(crate) ended: u64,
    pub(crate) error: Option<FetchError>,
    /// The number of the latest forced fetch that has ended, and whether it failed.
    pub(crate) settled: u64,
    pub(crate) settled_failed: bool,
    /// The source was shut down; its task has ended.
    pub(crate) closed: bool,
    pub(crate) stopped: bool,
}

/// The shortest `Retry-After`.
pub(crate) const SHORTEST_WAIT: Duration = Duration::from_secs(1);

impl Control {
    pub(crate) fn new(config: &Config, reported: State) -> Self {
        Self {
            schedule: Schedule::new(config.timing),
            misses: Misses::new(config.cooldown),
            metadata: None,
            log: Log::default(),
            unusable: Box::default(),
            sequence: 0,
            flying: None,
            refresh: false,
            reported,
            alive: false,
            closed: false,
        }
    }

    /// Chooses what to fetch for now, if anything, and records that it begins.
    pub(crate) fn start(&mut self, now: Instant) -> Option<Flying> {
        if self.flying.is_some() {
            return None;
        }
        let held = self.schedule.held(now);
        let purpose = if let Some(forced) = self.misses.begin(now, held) {
            FetchCause::Forced { number: forced.number, second: forced.second }
        } else if self.refresh {
            FetchCause::Manual
        } else if self.schedule.next().is_some_and(|next| next <= now) {
            FetchCause::Planned
        } else {
            return None;
        };
        if purpose != FetchCause::Planned {
            self.refresh = false;
        }
        self.sequence = self.sequence.saturating_add(1);
        self.log.last_attempt = Some(now);
        self.flying = Some(Flying { sequence: self.sequence, purpose, begun: now });
        self.flying
    }

    /// Records that the attempt under way ended with its runtime: it must be made again.
    pub(crate) fn abandon(&mut self) {
        let Some(flight) = self.flying.take() else { return };
        // A planned attempt is still due, and a forced one still demanded.
        self.refresh |= flight.purpose == FetchCause::Manual;
        self.misses.abandon();
    }

    /// Records that an attempt failed.
    pub(crate) fn failed(
        &mut self,
        flight: Flying,
        error: FetchError,
        retry_after: Option<Duration>,
        now: Instant,
        jitter: f64,
    ) {
        self.log.failures = self.log.failures.saturating_add(1);
        self.log.last_error = Some(error);
        // An attempt that a caller or operator asked for doesn't move the planned one: otherwise a flood of
        // unknown kids would have the fetches of a backoff in addition to its own.
        if flight.purpose == FetchCause::Planned {
            self.schedule.failed(flight.begun, now, jitter);
        }
        if let Some(retry_after) = retry_after {
            self.schedule.hold(now, retry_after);
        }
        if flight.purpose != FetchCause::Planned {
            self.misses.ended(flight.begun, false);
        }
        self.misses.settle(None::<fn(Algorithm, &str) -> bool>, now);
    }

    /// Records that an attempt succeeded, and has brought these keys.
    pub(crate) fn succeeded(&mut self, flight: Flying, keys: &KeySet, now: Instant) {
        let Log { last_attempt, clock_offset, .. } = self.log;
        let last_success = Some(now);
        self.log = Log { last_attempt, last_success, clock_offset, ..Log::default() };
        if flight.purpose != FetchCause::Planned {
            self.misses.ended(flight.begun, true);
        }
        let has = |algorithm: Algorithm, kid: &str| keys.has(algorithm, kid);
        self.misses.settle(Some(has), now);
        self.misses.arrived(has);
    }

    /// Returns when something must be fetched, if nothing is under way.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        if self.flying.is_some() {
            return None;
        }
        let forced = self.misses.due(now, self.schedule.held(now));
        [self.schedule.next(), forced].into_iter().flatten().min()
    }

    /// Returns how long to wait until the next forced fetch.
    pub(crate) fn retry_miss_after(&self, now: Instant) -> Duration {
        let place = self.misses.earliest_start(self.schedule.held(now));
        place.map_or(SHORTEST_WAIT, |place| wait_until(place, now))
    }

    /// Returns how long to wait until the next attempt.
    pub(crate) fn retry_after(&self, now: Instant) -> Duration {
        self.schedule.next().map_or(SHORTEST_WAIT, |next| wait_until(next, now))
    }
}

/// Returns how long to wait until then, at least a second.
pub(crate) fn wait_until(then: Instant, now: Instant) -> Duration {
    then.saturating_duration_since(now).max(SHORTEST_WAIT)
}
