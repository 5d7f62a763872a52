//! Counts requests by their outcome, and logs a summary once per period.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, TryLockError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::monotonic;
use crate::jwks::{Jwks, Watcher};
use crate::refusal::Refusal;
use crate::telemetry::{event, is_heard};
use crate::text::listed;
use crate::validator::realms::Realms;
use crate::validator::summary::counts::{Reasons, Spread};
use crate::validator::summary::line::Period;

/// The shortest time between two lines.
const PERIOD: Duration = Duration::from_secs(60);

/// How many issuers a line names.
const ISSUERS: usize = 3;

/// Of further refusals with the same reason in a period, only every so many reads the clock.
const LOOKS: u64 = 8;

/// Counts requests by their outcome, and logs a summary once per period.
///
/// The first refusal is logged at once. Those that follow within the period are logged at its end, by the
/// next refused request, or by the key source's task, which checks every half minute, so that no other task
/// is needed. Without refusals, there is no line, except the one that ends an alarm: requests are accepted.
#[derive(Debug)]
pub(crate) struct Summary {
    born: Instant,
    accepted: Spread,
    refused: Reasons,
    /// When the next line is due, in milliseconds since `born`.
    due: AtomicU64,
    /// The log was told that nothing was accepted, and not yet that something is.
    alarmed: AtomicBool,
    told: Mutex<Told>,
    realms: Realms,
}

/// What was logged, and until when.
#[derive(Debug)]
struct Told {
    until: Instant,
    accepted: bool,
}

impl Summary {
    pub(crate) fn new(realms: Realms) -> Self {
        let now = monotonic();
        Self {
            born: now,
            accepted: Spread::default(),
            refused: Reasons::default(),
            due: AtomicU64::new(0),
            alarmed: AtomicBool::new(false),
            told: Mutex::new(Told { until: now, accepted: false }),
            realms,
        }
    }

    /// Lets the tasks of the issuers' keys log what is due, and warn about clocks.
    pub(crate) fn attend(self: &Arc<Self>) {
        for realm in self.realms.all() {
            if let Some(jwks) = realm.jwks() {
                let this: Weak<dyn Watcher> = Arc::<Self>::downgrade(self);
                jwks.attend(this, realm.policy.times.leeway);
            }
        }
    }

    /// Counts a request that was accepted with a token.
    #[inline]
    pub(crate) fn accepted(&self) {
        if is_heard() {
            if self.alarmed.load(Ordering::Relaxed) {
                // Before this one is counted, which a guard within may still refuse.
                self.look(monotonic());
            }
            self.accepted.add(1);
        }
    }

    /// Takes back that a request was accepted: an inner guard has refused it.
    pub(crate) fn not_accepted(&self) {
        if is_heard() {
            self.accepted.add(-1);
        }
    }

    /// Counts a request that wasn't accepted.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        if !is_heard() {
            return;
        }
        let Some(before) = self.refused.add(refusal) else { return };
        if before < LOOKS || before % LOOKS == 0 {
            self.look(monotonic());
        }
    }

    #[cold]
    fn tell(&self, now: Instant) {
        let mut told = match self.told.try_lock() {
            Ok(told) => told,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Another thread is logging.
            Err(TryLockError::WouldBlock) => return,
        };
        if !self.is_due(now) {
            return;
        }
        let refused = self.refused.take();
        let alarmed = self.alarmed.load(Ordering::Relaxed);
        if refused.is_empty() && !alarmed {
            return;
        }
        let accepted = self.accepted.take();
        if refused.is_empty() && accepted == 0 {
            return;
        }
        told.accepted |= accepted > 0;
        let lasted = now.saturating_duration_since(told.until);
        let never_accepted = !told.accepted;
        let period = Period { refused, accepted, lasted, never_accepted, alarmed };
        let alarming = period.is_alarming();
        self.alarmed.store(alarming || alarmed && accepted == 0, Ordering::Relaxed);
        told.until = now;
        self.due.store(self.millis(now).saturating_add(millis(PERIOD)), Ordering::Relaxed);
        // A subscriber may use the validator.
        drop(told);
        let realms = self.realms.all();
        let sources: Vec<&Jwks> = realms.iter().filter_map(|realm| realm.jwks()).collect();
        let line = period.line(&sources);
        let issuer = listed(realms.iter().map(|realm| realm.policy.name()), ISSUERS);
        let (refused, accepted) = (period.refused(), period.accepted);
        if alarming {
            event!(WARN, issuer, refused, accepted, "auth_summary: {line}");
        }
        if !alarming {
            event!(INFO, issuer, refused, accepted, "auth_summary: {line}");
        }
        #[cfg(not(feature = "tracing"))]
        let _ = (line, issuer, refused, accepted);
    }

    fn is_due(&self, now: Instant) -> bool {
        self.millis(now) >= self.due.load(Ordering::Relaxed)
    }

    fn millis(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.born))
    }
}

impl Watcher for Summary {
    fn look(&self, now: Instant) {
        if self.is_due(now) {
            self.tell(now);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
