//! What the logs and the metrics are told. Labels come from closed lists; of addresses, only hosts.

use std::time::Duration;

use tokio::time::Instant;

use crate::jwks::control::Control;
use crate::jwks::flight::Fetched;
use crate::jwks::health::State;
use crate::jwks::key_set::{KeySet, Succession};
use crate::jwks::source::Fault;
use crate::jwks::store::Published;
use crate::telemetry::{count, event, gauge, observe};

/// A fetch begins.
pub(crate) fn take_off(published: &Published, now: Instant) {
    if let Some(origin) = &published.origin {
        gauge!("jwks_age_seconds", origin.age(now).as_secs_f64());
    }
}

/// A fetch has ended.
pub(crate) fn landing(result: &Result<Fetched, Fault>, took: Duration) {
    observe!("jwks_fetch_seconds", took.as_secs_f64());
    match result {
        Ok(fetched) => {
            let not_modified = fetched.parsed.is_none();
            gauge!("jwks_age_seconds", 0.0);
            let result = if not_modified { "not_modified" } else { "ok" };
            count!("jwks_fetch_total", "result" => result);
            event!(DEBUG, result, took_ms = took.as_millis(), "jwks_fetched");
        }
        Err(fault) => {
            count!("jwks_fetch_total", "result" => fault.error.code());
            event!(
                WARN,
                error = %fault.error,
                took_ms = took.as_millis(),
                "jwks_fetch_failed: the key set couldn't be fetched"
            );
        }
    }
}

/// The state may have changed.
pub(crate) fn state(control: &mut Control, state: State) {
    if control.reported == state {
        return;
    }
    for each in State::ALL {
        gauge!("jwks_state", f64::from(u8::from(each == state)), "state" => each.name());
    }
    match state {
        State::Cold | State::Fresh | State::Static | State::ShutDown => {
            event!(INFO, from = control.reported.name(), to = state.name(), "jwks_state");
        }
        State::Stale => event!(
            WARN,
            from = control.reported.name(),
            to = state.name(),
            "jwks_state: the keys should have been refreshed; they serve on until they expire"
        ),
        State::Expired => event!(
            ERROR,
            from = control.reported.name(),
            to = state.name(),
            "jwks_state: the keys have expired; no token can be checked"
        ),
    }
    control.reported = state;
}

/// A set was fetched.
pub(crate) fn keys(set: &KeySet) {
    gauge!("jwks_keys", number(set.keys().count()), "kind" => "usable");
    gauge!("jwks_keys", number(set.ignored().len()), "kind" => "ignored");
}

fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

/// The keys became others.
pub(crate) fn succession(succession: &Succession) {
    event!(
        INFO,
        generation = succession.set.generation(),
        keys = succession.set.keys().count(),
        ignored = succession.set.ignored().len(),
        removed = succession.removed.len(),
        "jwks_changed"
    );
    for _kid in &succession.reused {
        event!(
            WARN,
            kid = %crate::refusal::Excerpt::new(_kid),
            "kid_reused: a kid was given to another key"
        );
    }
    for _kid in succession.set.ambiguous_kids() {
        event!(
            WARN,
            kid = %crate::refusal::Excerpt::new(_kid),
            "kid_ambiguous: several keys have this kid"
        );
    }
    for _key in succession.set.ignored() {
        event!(WARN, reason = %_key.reason, "jwks_key_ignored: a key of the set can't be used");
    }
}
