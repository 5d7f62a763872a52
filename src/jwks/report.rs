//! What the logs and the metrics are told. Labels come from closed lists, but for the issuer, which
//! the operator has named; of addresses, only hosts.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use tokio::time::Instant;

use crate::jose::IgnoredKey;
use crate::jwks::fetch::error::FetchError;
use crate::jwks::fetch::flight::Fetched;
use crate::jwks::fetch::source::Fault;
use crate::jwks::health::State;
use crate::jwks::kept::key_set::{KeySet, Succession};
use crate::jwks::kept::store::Published;
use crate::jwks::timing::control::Control;
use crate::telemetry::{change, count, event, gauge, observe};

/// Tells about the keys of one issuer.
///
/// What happens under the key source's lock is noted, and told once the lock is free: a subscriber
/// may look at the key source, and one that blocks holds up no request.
pub(crate) struct Reporter {
    issuer: Arc<str>,
    notes: Mutex<VecDeque<Note>>,
    /// Held by whichever thread tells, so that things are told in their order.
    telling: Mutex<()>,
}

type Note = Box<dyn FnOnce(&Reporter) + Send>;

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Reporter {
    pub(crate) const fn new(issuer: Arc<str>) -> Self {
        Self { issuer, notes: Mutex::new(VecDeque::new()), telling: Mutex::new(()) }
    }

    fn issuer(&self) -> Arc<str> {
        Arc::clone(&self.issuer)
    }

    fn note(&self, note: impl FnOnce(&Self) + Send + 'static) {
        self.notes().push_back(Box::new(note));
    }

    fn notes(&self) -> MutexGuard<'_, VecDeque<Note>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what was noted. To be called without the key source's lock.
    pub(crate) fn tell(&self) {
        // Until there is nothing more, also since the last look.
        while !self.notes().is_empty() {
            let telling = match self.telling.try_lock() {
                Ok(telling) => telling,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // Another thread tells, or this one does, and its subscriber has led here: what
                // was noted is told there.
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
    pub(crate) fn take_off(&self, published: &Published, now: Instant) {
        if let Some(origin) = &published.origin {
            let age = origin.age(now).as_secs_f64();
            self.note(move |this| gauge!("jwks_age_seconds", age, "issuer" => this.issuer()));
        }
    }

    /// A fetch has ended.
    pub(crate) fn landing(
        &self,
        result: &Result<Fetched, Fault>,
        unusable: &[IgnoredKey],
        took: Duration,
    ) {
        let ended = match result {
            Ok(Fetched { parsed: None, .. }) => Ok("not_modified"),
            Ok(_) => Ok("ok"),
            Err(fault) => Err(fault.error),
        };
        let ignored = listed(unusable);
        self.note(move |this| this.tell_landing(ended, ignored.as_deref(), took));
    }

    fn tell_landing(
        &self,
        ended: Result<&'static str, FetchError>,
        _ignored: Option<&str>,
        took: Duration,
    ) {
        observe!("jwks_fetch_seconds", took.as_secs_f64(), "issuer" => self.issuer());
        let code = ended.unwrap_or_else(|error| error.code());
        count!("jwks_fetch_total", "issuer" => self.issuer(), "result" => code);
        match ended {
            Ok(_) => {
                gauge!("jwks_age_seconds", 0.0, "issuer" => self.issuer());
                event!(
                    DEBUG,
                    issuer = &*self.issuer,
                    result = code,
                    took_ms = took.as_millis(),
                    "jwks_fetched"
                );
            }
            Err(_error) => event!(
                WARN,
                issuer = &*self.issuer,
                error = %_error,
                ignored = _ignored,
                took_ms = took.as_millis(),
                "jwks_fetch_failed: the key set couldn't be fetched"
            ),
        }
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
                "jwks_state: the keys should have been refreshed; they serve on until they expire"
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
        for each in State::ALL {
            let is_so = f64::from(u8::from(each == state));
            gauge!("jwks_state", is_so, "issuer" => self.issuer(), "state" => each.name());
        }
    }

    /// A set was fetched.
    pub(crate) fn keys(&self, set: &Arc<KeySet>) {
        let set = Arc::clone(set);
        self.note(move |this| {
            for (kind, count) in [("usable", set.keys().count()), ("ignored", set.ignored().len())]
            {
                let count = u32::try_from(count).map_or(f64::MAX, f64::from);
                gauge!("jwks_keys", count, "issuer" => this.issuer(), "kind" => kind);
            }
        });
    }

    /// The keys became others.
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
        count!("jwks_kid_miss_total", "issuer" => self.issuer(), "result" => result);
    }

    /// A token's `kid` is unknown, and no refresh is allowed soon enough.
    pub(crate) fn rate_limited(&self) {
        count!("jwks_rate_limited_total", "issuer" => self.issuer());
    }

    /// A signature is checked with stale keys.
    pub(crate) fn stale_served(&self) {
        count!("jwks_stale_served_total", "issuer" => self.issuer());
    }

    /// A request waits for a refresh.
    pub(crate) fn waits(&self) {
        change!("jwks_refresh_waiters", 1.0, "issuer" => self.issuer());
    }

    /// It doesn't any longer.
    pub(crate) fn waits_no_longer(&self) {
        change!("jwks_refresh_waiters", -1.0, "issuer" => self.issuer());
    }
}

/// Returns why keys are ignored, with their `kid`s; `None` for no keys.
pub(crate) fn listed(keys: &[IgnoredKey]) -> Option<String> {
    let one = |key: &IgnoredKey| match &key.kid {
        Some(kid) => format!("{} ({kid})", key.reason),
        None => key.reason.to_string(),
    };
    (!keys.is_empty()).then(|| keys.iter().map(one).collect::<Vec<_>>().join(", "))
}
