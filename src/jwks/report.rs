//! What the logs and the metrics are told. Labels come from closed lists, but for the issuer, which
//! the operator has named; of addresses, only hosts.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::jwks::control::Control;
use crate::jwks::flight::Fetched;
use crate::jwks::health::State;
use crate::jwks::key_set::{KeySet, Succession};
use crate::jwks::source::Fault;
use crate::jwks::store::Published;
use crate::telemetry::{change, count, event, gauge, observe};

/// Tells about the keys of one issuer.
#[derive(Debug)]
pub(crate) struct Reporter {
    issuer: Arc<str>,
}

impl Reporter {
    pub(crate) const fn new(issuer: Arc<str>) -> Self {
        Self { issuer }
    }

    fn issuer(&self) -> Arc<str> {
        Arc::clone(&self.issuer)
    }

    /// A fetch begins.
    pub(crate) fn take_off(&self, published: &Published, now: Instant) {
        if let Some(origin) = &published.origin {
            let age = origin.age(now).as_secs_f64();
            gauge!("jwks_age_seconds", age, "issuer" => self.issuer());
        }
    }

    /// A fetch has ended.
    pub(crate) fn landing(&self, result: &Result<Fetched, Fault>, took: Duration) {
        observe!("jwks_fetch_seconds", took.as_secs_f64(), "issuer" => self.issuer());
        let code = match result {
            Ok(Fetched { parsed: None, .. }) => "not_modified",
            Ok(_) => "ok",
            Err(fault) => fault.error.code(),
        };
        count!("jwks_fetch_total", "issuer" => self.issuer(), "result" => code);
        match result {
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
            Err(_fault) => event!(
                WARN,
                issuer = &*self.issuer,
                error = %_fault.error,
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
        let _from = control.reported.name();
        control.reported = state;
        self.state_now(control);
        match state {
            State::Cold | State::Fresh | State::Static | State::ShutDown => {
                event!(INFO, issuer = &*self.issuer, from = _from, to = state.name(), "jwks_state")
            }
            State::Stale => event!(
                WARN,
                issuer = &*self.issuer,
                from = _from,
                to = state.name(),
                "jwks_state: the keys should have been refreshed; they serve on until they expire"
            ),
            State::Expired => event!(
                ERROR,
                issuer = &*self.issuer,
                from = _from,
                to = state.name(),
                "jwks_state: the keys have expired; no token can be checked"
            ),
        }
    }

    /// The state, whether it has changed or not.
    pub(crate) fn state_now(&self, control: &Control) {
        for each in State::ALL {
            let is_so = f64::from(u8::from(each == control.reported));
            gauge!("jwks_state", is_so, "issuer" => self.issuer(), "state" => each.name());
        }
    }

    /// A set was fetched.
    pub(crate) fn keys(&self, set: &KeySet) {
        for (kind, count) in [("usable", set.keys().count()), ("ignored", set.ignored().len())] {
            let count = u32::try_from(count).map_or(f64::MAX, f64::from);
            gauge!("jwks_keys", count, "issuer" => self.issuer(), "kind" => kind);
        }
    }

    /// The keys became others.
    pub(crate) fn succession(&self, succession: &Succession) {
        event!(
            INFO,
            issuer = &*self.issuer,
            generation = succession.set.generation(),
            keys = succession.set.keys().count(),
            ignored = succession.set.ignored().len(),
            removed = succession.removed.len(),
            "jwks_changed"
        );
        for _kid in &succession.reused {
            event!(
                WARN,
                issuer = &*self.issuer,
                kid = %crate::refusal::Excerpt::new(_kid),
                "kid_reused: a kid was given to another key"
            );
        }
        for _kid in succession.set.ambiguous_kids() {
            event!(
                WARN,
                issuer = &*self.issuer,
                kid = %crate::refusal::Excerpt::new(_kid),
                "kid_ambiguous: several keys have this kid"
            );
        }
        for _key in succession.set.ignored() {
            event!(
                WARN,
                issuer = &*self.issuer,
                reason = %_key.reason,
                "jwks_key_ignored: a key of the set can't be used"
            );
        }
    }

    /// A token had an unknown `kid`.
    pub(crate) fn kid_miss(&self, result: &'static str) {
        count!("jwks_kid_miss_total", "issuer" => self.issuer(), "result" => result);
    }

    /// A refresh was wanted that the cooldown doesn't allow.
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
