use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use http::HeaderValue;
use tokio::time::Instant;

use crate::clock::UnixTime;
use crate::jwks::health::State;
use crate::jwks::key_set::KeySet;
use crate::jwks::schedule::Serving;

/// Where the keys of now lie. Readers never lock, and see one whole set or another.
#[derive(Debug)]
pub(crate) struct Store {
    published: ArcSwap<Published>,
}

/// Everything about the keys of now.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    /// The number of the attempt that brought it.
    pub(crate) sequence: u64,
    pub(crate) keys: Arc<KeySet>,
    pub(crate) tenure: Tenure,
    pub(crate) origin: Option<Arc<Origin>>,
}

/// How long keys may be relied upon.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tenure {
    /// There are none yet.
    Cold,
    /// For ever: they are part of the configuration.
    Static,
    /// As long as this says.
    Serving(Serving),
    /// No longer: the source was shut down.
    Stopped,
}

/// The answer that a set was read from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) url: Box<str>,
    pub(crate) body: Bytes,
    pub(crate) etag: Option<HeaderValue>,
    pub(crate) last_modified: Option<HeaderValue>,
    /// What the answer said about its freshness.
    pub(crate) lifetime: Option<Duration>,
    /// When it was last known to be the issuer's set.
    pub(crate) fetched_at: UnixTime,
    pub(crate) fetched: Instant,
    /// How old it already was then: a snapshot's age.
    pub(crate) age_then: Duration,
}

impl Origin {
    /// Returns how long ago it was last known to be the issuer's set.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.age_then.saturating_add(now.saturating_duration_since(self.fetched))
    }
}

impl Published {
    /// Nothing yet.
    pub(crate) fn cold() -> Self {
        Self { sequence: 0, keys: Arc::default(), tenure: Tenure::Cold, origin: None }
    }

    pub(crate) fn state(&self, now: Instant) -> State {
        match self.tenure {
            Tenure::Cold => State::Cold,
            Tenure::Static => State::Static,
            Tenure::Serving(serving) if now < serving.fresh_until => State::Fresh,
            Tenure::Serving(serving) if now < serving.stale_until => State::Stale,
            Tenure::Serving(_) => State::Expired,
            Tenure::Stopped => State::ShutDown,
        }
    }
}

impl Store {
    pub(crate) fn new(published: Published) -> Self {
        Self { published: ArcSwap::from_pointee(published) }
    }

    /// Swaps the keys, unless those that are there came from a later attempt. Says whether it did.
    pub(crate) fn publish(&self, next: Published) -> bool {
        let next = Arc::new(next);
        let before = self.published.rcu(|current| {
            Arc::clone(if current.sequence <= next.sequence { &next } else { current })
        });
        before.sequence <= next.sequence
    }

    pub(crate) fn load(&self, now: Instant) -> LoadedKeys {
        let published = self.published.load();
        let state = published.state(now);
        LoadedKeys { published, state }
    }
}

/// The keys of now. Not to be held across an await.
#[derive(Debug)]
pub(crate) struct LoadedKeys {
    published: Guard<Arc<Published>>,
    state: State,
}

/// Whether keys may be relied upon.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum KeysState {
    /// Fresh, stale within bounds, or static.
    Serving,
    /// None has ever been loaded.
    Cold,
    /// Too old.
    Expired,
    /// The source was shut down.
    ShutDown,
}

impl LoadedKeys {
    pub(crate) const fn state(&self) -> KeysState {
        match self.state {
            State::Fresh | State::Stale | State::Static => KeysState::Serving,
            State::Cold => KeysState::Cold,
            State::Expired => KeysState::Expired,
            State::ShutDown => KeysState::ShutDown,
        }
    }

    pub(crate) const fn exact_state(&self) -> State {
        self.state
    }

    pub(crate) fn keys(&self) -> &KeySet {
        &self.published.keys
    }

    pub(crate) fn published(&self) -> &Arc<Published> {
        &self.published
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;
    use crate::jose::{Backend, ParsedKeySet, parse_jwk_set};

    const SET: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    fn keys() -> ParsedKeySet {
        parse_jwk_set(SET.as_bytes(), 9, Backend::preferred().unwrap()).unwrap()
    }

    fn set(sequence: u64, tenure: Tenure, keys: KeySet) -> Published {
        Published { sequence, keys: Arc::new(keys), tenure, origin: None }
    }

    fn serving(now: Instant) -> Tenure {
        let after = |secs| now + Duration::from_secs(secs);
        Tenure::Serving(Serving { fresh_until: after(10), stale_until: after(20) })
    }

    // LC16
    #[test]
    fn lc16_a_late_old_response_doesnt_overwrite_a_newer_one() {
        let now = monotonic();
        let store = Store::new(Published::cold());
        assert!(store.publish(set(2, serving(now), KeySet::first(keys()))));
        assert!(!store.publish(set(1, Tenure::Cold, KeySet::default())));
        let loaded = store.load(now);
        assert_eq!((loaded.published().sequence, loaded.state()), (2, KeysState::Serving));
        assert!(store.publish(set(2, Tenure::Cold, KeySet::default())), "its own successor");
        assert!(store.publish(set(3, serving(now), KeySet::first(keys()))));
        assert_eq!(store.load(now).keys().keys().count(), 1);
    }

    #[test]
    fn the_state_follows_the_clock() {
        let now = monotonic();
        let store = Store::new(set(1, serving(now), KeySet::first(keys())));
        for (secs, state, keys) in [
            (0, State::Fresh, KeysState::Serving),
            (9, State::Fresh, KeysState::Serving),
            (10, State::Stale, KeysState::Serving),
            (19, State::Stale, KeysState::Serving),
            (20, State::Expired, KeysState::Expired),
        ] {
            let loaded = store.load(now + Duration::from_secs(secs));
            assert_eq!((loaded.exact_state(), loaded.state()), (state, keys), "{secs}");
        }
    }
}
