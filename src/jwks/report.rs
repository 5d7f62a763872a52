//! Writes the events and metrics of a key source. Labels come from closed lists, except for the issuer, whose
//! number is bounded; of addresses, only hosts are reported.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crate::clock::UnixTime;
use crate::jose::IgnoredKey;
use crate::jwks::failures::{Failed, Failures, listed};
use crate::jwks::fetch::error::FetchError;
use crate::jwks::fetch::flight::Fetched;
use crate::jwks::fetch::source::Fault;
use crate::jwks::health::State;
use crate::jwks::kept::key_set::{KeySet, Succession};
use crate::jwks::kept::store::Published;
use crate::jwks::keys_at::KeysAt;
use crate::jwks::timing::control::Control;
use crate::telemetry::{change, count, describe_metrics, event, gauge, issuer_label, observe};

/// Reports about the keys of one issuer.
///
/// Events under the key source's lock are queued, and reported once the lock is free: a subscriber
/// may use the key source, and one that blocks delays no request.
pub(crate) struct Reporter {
    issuer: Arc<str>,
    /// The issuer, if it has metrics of its own.
    label: Option<Arc<str>>,
    notes: Mutex<VecDeque<Note>>,
    /// Held by the thread that reports, so that events keep their order.
    telling: Mutex<()>,
    failures: Failures,
}

/// Stands for the issuers that have no label of their own.
const OTHERS: &str = "other";

type Note = Box<dyn FnOnce(&Reporter) + Send>;

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Reporter {
    pub(crate) fn new(issuer: Arc<str>) -> Self {
        describe_metrics();
        let label = issuer_label(&issuer);
        let (notes, telling) = (Mutex::new(VecDeque::new()), Mutex::new(()));
        Self { issuer, label, notes, telling, failures: Failures::new() }
    }

    /// The label for metrics that add up.
    fn label(&self) -> Arc<str> {
        self.label.clone().unwrap_or_else(|| OTHERS.into())
    }

    fn note(&self, note: impl FnOnce(&Self) + Send + 'static) {
        self.notes().push_back(Box::new(note));
    }

    fn notes(&self) -> MutexGuard<'_, VecDeque<Note>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports what was queued. Must be called without the key source's lock.
    pub(crate) fn tell(&self) {
        // Until nothing is left, including what was queued meanwhile.
        while !self.notes().is_empty() {
            let telling = match self.telling.try_lock() {
                Ok(telling) => telling,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // Another thread reports, or this one does, and its subscriber has led here: what
                // was queued is reported there.
                Err(TryLockError::WouldBlock) => return,
            };
            loop {
                let note = self.notes().pop_front();
                let Some(note) = note else { break };
                note(self);
            }
            drop(telling);
        }
    }

    /// A fetch begins.
    pub(crate) fn start(&self, published: &Published) {
        if let Some(origin) = &published.origin {
            let fetched_at = origin.fetched_at;
            self.note(move |this| this.tell_fetched(fetched_at));
        }
    }

    /// A fetch has ended.
    pub(crate) fn landing(
        &self,
        result: &Result<Fetched, Fault>,
        place: Option<KeysAt>,
        unusable: &[IgnoredKey],
        took: Duration,
    ) {
        let ended = match result {
            Ok(Fetched { parsed: None, origin, .. }) => Ok(("not_modified", origin.fetched_at)),
            Ok(Fetched { origin, .. }) => Ok(("ok", origin.fetched_at)),
            Err(fault) => Err(fault.error.clone()),
        };
        let failed = Failed { place, ignored: result.is_err().then(|| listed(unusable)).flatten() };
        self.note(move |this| this.tell_landing(ended, &failed, took));
    }

    fn tell_landing(
        &self,
        ended: Result<(&'static str, UnixTime), FetchError>,
        failed: &Failed,
        took: Duration,
    ) {
        observe!("tower_bearer_jwks_fetch_duration_seconds", took.as_secs_f64(), "issuer" => self.label());
        let code = ended.as_ref().map_or_else(FetchError::code, |(code, _)| *code);
        count!("tower_bearer_jwks_fetches_total", "issuer" => self.label(), "result" => code);
        match ended {
            Ok((_, fetched_at)) => {
                self.tell_fetched(fetched_at);
                self.failures.reset();
                event!(
                    DEBUG,
                    issuer = &*self.issuer,
                    result = code,
                    url = failed.place.as_ref().map(KeysAt::url),
                    took_ms = took.as_millis(),
                    "jwks_fetched"
                );
            }
            Err(error) => self.failures.tell(&self.issuer, &error, failed, took),
        }
    }

    /// Gauges don't add up: the issuers that share a label have none.
    fn tell_fetched(&self, at: UnixTime) {
        let Some(label) = &self.label else { return };
        gauge!(
            "tower_bearer_jwks_fetched_timestamp_seconds",
            at.as_secs_f64(),
            "issuer" => Arc::clone(label)
        );
    }

    /// The state may have changed.
    pub(crate) fn state(&self, control: &mut Control, state: State) {
        if control.reported == state {
            return;
        }
        let from = control.reported;
        control.reported = state;
        self.note(move |this| {
            this.tell_state(state);
            this.tell_change(from, state);
        });
    }

    fn tell_change(&self, _from: State, state: State) {
        match state {
            State::Cold | State::Fresh | State::Static | State::ShutDown => event!(
                INFO,
                issuer = &*self.issuer,
                from = _from.name(),
                to = state.name(),
                "jwks_state"
            ),
            State::Stale => event!(
                WARN,
                issuer = &*self.issuer,
                from = _from.name(),
                to = state.name(),
                "jwks_state: the keys should have been refreshed; they stay in use until they expire"
            ),
            State::Expired => event!(
                ERROR,
                issuer = &*self.issuer,
                from = _from.name(),
                to = state.name(),
                "jwks_state: the keys have expired; no token can be checked"
            ),
        }
    }

    /// The state, whether it has changed or not.
    pub(crate) fn state_now(&self, control: &Control) {
        let state = control.reported;
        self.note(move |this| this.tell_state(state));
    }

    fn tell_state(&self, state: State) {
        let Some(label) = &self.label else { return };
        for each in State::ALL {
            let is_so = f64::from(u8::from(each == state));
            let label = Arc::clone(label);
            gauge!("tower_bearer_jwks_state", is_so, "issuer" => label, "state" => each.name());
        }
    }

    /// A set was fetched.
    pub(crate) fn keys(&self, set: &Arc<KeySet>) {
        let Some(label) = self.label.clone() else { return };
        let counts = [("usable", set.keys().count()), ("ignored", set.ignored().len())];
        self.note(move |_| {
            for (kind, count) in counts {
                let count = u32::try_from(count).map_or(f64::MAX, f64::from);
                let label = Arc::clone(&label);
                gauge!("tower_bearer_jwks_keys", count, "issuer" => label, "kind" => kind);
            }
        });
    }

    /// An answer had the time of the issuer's clock.
    pub(crate) fn clock(&self, before: Option<i64>, offset: i64, leeway: u64) {
        self.note(move |this| this.tell_clock(before, offset, leeway));
    }

    fn tell_clock(&self, before: Option<i64>, offset: i64, leeway: u64) {
        if let Some(label) = &self.label {
            let label = Arc::clone(label);
            gauge!("tower_bearer_jwks_clock_offset_seconds", offset as f64, "issuer" => label);
        }
        let is_off = |offset: i64| offset.unsigned_abs() > leeway;
        match (before.filter(|before| is_off(*before)), is_off(offset)) {
            // It was reported.
            (Some(before), true) if before.abs_diff(offset) <= leeway => {}
            (_, true) => event!(
                WARN,
                issuer = &*self.issuer,
                ahead_s = offset,
                leeway_s = leeway,
                "jwks_clock: the issuer's clock is {} this one by more than the leeway; synchronize \
                 whichever is wrong (ValidatorBuilder::leeway allows up to 300 s)",
                if offset > 0 { "ahead of" } else { "behind" }
            ),
            (Some(_), false) => event!(
                INFO,
                issuer = &*self.issuer,
                ahead_s = offset,
                "jwks_clock: the issuer's clock agrees with this one again"
            ),
            (None, false) => {}
        }
    }

    /// The keys have changed.
    pub(crate) fn succession(&self, succession: &Succession) {
        let set = Arc::clone(&succession.set);
        let removed = succession.removed.len();
        let reused = succession.reused.clone();
        self.note(move |this| this.tell_succession(&set, removed, &reused));
    }

    fn tell_succession(&self, set: &KeySet, _removed: usize, reused: &[Box<str>]) {
        event!(
            INFO,
            issuer = &*self.issuer,
            generation = set.generation(),
            keys = set.keys().count(),
            ignored = set.ignored().len(),
            removed = _removed,
            "jwks_changed"
        );
        for _kid in reused {
            event!(
                WARN,
                issuer = &*self.issuer,
                kid = %crate::text::Excerpt::new(_kid),
                "kid_reused: a kid was given to another key"
            );
        }
        for _kid in set.ambiguous_kids() {
            event!(
                WARN,
                issuer = &*self.issuer,
                kid = %crate::text::Excerpt::new(_kid),
                "kid_ambiguous: several keys have this kid"
            );
        }
        for _key in set.ignored() {
            event!(
                WARN,
                issuer = &*self.issuer,
                kid = _key.kid.as_ref().map(crate::text::Excerpt::as_str),
                reason = %_key.reason,
                "jwks_key_ignored: a key of the set can't be used"
            );
        }
    }

    /// A token had an unknown `kid`.
    pub(crate) fn kid_miss(&self, result: &'static str) {
        count!("tower_bearer_jwks_kid_misses_total", "issuer" => self.label(), "result" => result);
    }

    /// A signature is checked with stale keys.
    pub(crate) fn stale_served(&self) {
        count!("tower_bearer_jwks_stale_served_total", "issuer" => self.label());
    }

    /// A request waits for a refresh.
    pub(crate) fn waits(&self) {
        change!("tower_bearer_jwks_refresh_waiters", 1.0, "issuer" => self.label());
    }

    /// The request no longer waits.
    pub(crate) fn waits_no_longer(&self) {
        change!("tower_bearer_jwks_refresh_waiters", -1.0, "issuer" => self.label());
    }
}
