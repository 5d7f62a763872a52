use std::sync::atomic::{AtomicU64, Ordering};
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

/// How far apart lines are at least.
const PERIOD: Duration = Duration::from_secs(60);

/// How many issuers a line names.
const ISSUERS: usize = 3;

/// Of more refusals with the same reason in a period, only every so many looks at the clock.
const LOOKS: u64 = 8;

/// Counts what becomes of requests, and tells the log once a period.
///
/// The first refusal is told at once. What follows within the period is told at its end, by the next
/// refused request, or by the key source's task, which looks every half minute: no task is needed for
/// it. Without refusals, there is no line.
#[derive(Debug)]
pub(crate) struct Summary {
    born: Instant,
    accepted: Spread,
    refused: Reasons,
    /// When the next line may come, in milliseconds since `born`.
    due: AtomicU64,
    told: Mutex<Told>,
    realms: Realms,
}

/// What was told, and until when.
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
            told: Mutex::new(Told { until: now, accepted: false }),
            realms,
        }
    }

    /// Has the tasks of the issuers' keys look after what is still to be told, and warn about clocks.
    pub(crate) fn attend(self: &Arc<Self>) {
        for realm in self.realms.all() {
            if let Some(jwks) = realm.jwks() {
                let this: Weak<dyn Watcher> = Arc::<Self>::downgrade(self);
                jwks.attend(this, realm.policy.times.leeway);
            }
        }
    }

    /// Counts a request that was let in with a token.
    #[inline]
    pub(crate) fn accepted(&self) {
        if is_heard() {
            self.accepted.add(1);
        }
    }

    /// Takes back that a request was let in: a guard within has refused it.
    pub(crate) fn not_accepted(&self) {
        if is_heard() {
            self.accepted.add(-1);
        }
    }

    /// Counts a request that wasn't let in.
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
            // Another thread tells.
            Err(TryLockError::WouldBlock) => return,
        };
        if !self.is_due(now) {
            return;
        }
        let refused = self.refused.take();
        if refused.is_empty() {
            return;
        }
        let accepted = self.accepted.take();
        told.accepted |= accepted > 0;
        let lasted = now.saturating_duration_since(told.until);
        let period = Period { refused, accepted, lasted, never_accepted: !told.accepted };
        told.until = now;
        self.due.store(self.millis(now).saturating_add(millis(PERIOD)), Ordering::Relaxed);
        // A subscriber may look at the validator.
        drop(told);
        let realms = self.realms.all();
        let sources: Vec<&Jwks> = realms.iter().filter_map(|realm| realm.jwks()).collect();
        let line = period.line(&sources);
        let issuer = listed(realms.iter().map(|realm| realm.policy.name()), ISSUERS);
        let (refused, accepted) = (period.refused(), period.accepted);
        let alarming = period.is_alarming();
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
