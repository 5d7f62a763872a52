//! Holds the current keys for lock-free readers, and the generation under which tokens are remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use http::HeaderValue;
use tokio::time::Instant;

use crate::clock::UnixTime;
use crate::jose::Algorithm;
use crate::jwks::health::State;
use crate::jwks::kept::key_set::{Candidates, KeySet};
use crate::jwks::timing::schedule::Serving;

/// Holds the current keys. Readers never lock, and see either one whole set or another.
#[derive(Debug)]
pub(crate) struct Store {
    published: ArcSwap<Published>,
    /// The generation that is serving, 0 while none is.
    generation: AtomicU64,
    /// When, by the wall clock, fresh keys should long have been refreshed, in milliseconds
    /// since 1970.
    overdue: AtomicI64,
}

/// By how much the wall clock may be ahead of the monotonic one without consequences.
const WALL_TOLERANCE: Duration = Duration::from_secs(60);

/// The current keys, and everything that is known about them.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    /// The number of the attempt that brought it.
    pub(crate) sequence: u64,
    pub(crate) keys: Arc<KeySet>,
    pub(crate) tenure: Tenure,
    pub(crate) origin: Option<Arc<KeySetAnswer>>,
}

/// How long keys may be used.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tenure {
    /// There are none yet.
    Cold,
    /// Forever: they are part of the configuration.
    Static,
    /// As long as this says.
    Serving(Serving),
    /// No longer: the source was shut down.
    Stopped,
}

/// The answer that a set was read from.
#[derive(Clone, Debug)]
pub(crate) struct KeySetAnswer {
    pub(crate) url: Box<str>,
    pub(crate) body: Bytes,
    pub(crate) etag: Option<HeaderValue>,
    pub(crate) last_modified: Option<HeaderValue>,
    /// The freshness lifetime in the answer.
    pub(crate) lifetime: Option<Duration>,
    /// When it was last known to be the issuer's set.
    pub(crate) fetched_at: UnixTime,
    pub(crate) fetched: Instant,
    /// Its age at that time: a snapshot's age.
    pub(crate) age_then: Duration,
}

impl KeySetAnswer {
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

    /// Returns from which wall-clock time on the keys can't be fresh.
    fn overdue(&self, now: Instant) -> i64 {
        match (self.tenure, &self.origin) {
            (Tenure::Serving(serving), Some(origin)) if now < serving.fresh_until => {
                let fresh_for = serving.fresh_until.saturating_duration_since(origin.fetched);
                origin.fetched_at.plus(fresh_for).plus(WALL_TOLERANCE).as_millis()
            }
            _ => i64::MAX,
        }
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
    /// Creates a store that is not watched yet.
    pub(crate) fn new(published: Published) -> Self {
        Self {
            published: ArcSwap::from_pointee(published),
            generation: AtomicU64::new(0),
            overdue: AtomicI64::new(i64::MAX),
        }
    }

    /// Swaps the keys, unless the current ones came from a later attempt. Returns `true` if it did.
    ///
    /// [`watched`](Self::watched) must follow, unless these are the last.
    pub(crate) fn publish(&self, next: Published) -> bool {
        // First: no reader may see other keys, or none, and still find what was remembered with these.
        let stops = matches!(next.tenure, Tenure::Stopped);
        if stops || next.keys.generation() != self.generation() {
            self.unwatched();
        }
        let next = Arc::new(next);
        let before = self.published.rcu(|current| {
            Arc::clone(if current.sequence <= next.sequence { &next } else { current })
        });
        before.sequence <= next.sequence
    }

    /// Sets [`generation`](Self::generation) to the set that is serving now. The caller must repeat this as
    /// soon as that changes.
    pub(crate) fn watched(&self, now: Instant) {
        let published = self.published.load();
        self.overdue.store(published.overdue(now), Ordering::Relaxed);
        let serves = published.state(now).serves();
        let generation = if serves { published.keys.generation() } else { 0 };
        self.generation.store(generation, Ordering::Release);
    }

    /// Sets [`generation`](Self::generation) to 0: the keys are about to change, or no task would
    /// notice that they expire.
    pub(crate) fn unwatched(&self) {
        self.generation.store(0, Ordering::Release);
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns `true` if the keys are fresh by the monotonic clock but not by the wall clock: the
    /// machine was suspended, or restored from a snapshot, or the wall clock was
    /// set.
    pub(crate) fn is_overdue(&self, wall: UnixTime) -> bool {
        wall.as_millis() >= self.overdue.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn load(&self, now: Instant) -> LoadedKeys {
        let published = self.published.load();
        let state = published.state(now);
        LoadedKeys { published, state, at: now }
    }
}

/// The current keys. Must not be held across an await.
#[derive(Debug)]
pub(crate) struct LoadedKeys {
    published: Guard<Arc<Published>>,
    state: State,
    /// When they were loaded.
    at: Instant,
}

/// Whether keys may be used.
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

    /// Returns the keys for a token of this `alg` and `kid`.
    pub(crate) fn candidates(&self, algorithm: Algorithm, kid: Option<&str>) -> Candidates<'_> {
        self.keys().candidates(algorithm, kid, self.at)
    }

    /// Returns how much longer these keys serve as they are, if they aren't refreshed.
    #[inline]
    pub(crate) fn serve_for(&self) -> Option<Duration> {
        let stale_until = match self.published.tenure {
            Tenure::Serving(serving) => Some(serving.stale_until),
            Tenure::Cold | Tenure::Static | Tenure::Stopped => None,
        };
        let ends = [stale_until, self.keys().next_retirement()].into_iter().flatten().min();
        ends.map(|end| end.saturating_duration_since(self.at))
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

    // What was remembered of tokens with an algorithm that the key isn't for any longer must end.
    #[test]
    fn a_key_that_is_declared_for_another_algorithm_is_another_key() {
        let now = monotonic();
        let before = KeySet::first(keys());
        let declared = SET.replace("\"kid\"", "\"alg\":\"Ed25519\",\"kid\"");
        let backend = Backend::preferred().unwrap();
        let declared = parse_jwk_set(declared.as_bytes(), 9, backend).unwrap();
        assert_eq!(declared.keys.len(), 1);
        assert!(before.followed_by(declared, now, now).changed);
        assert!(!before.followed_by(keys(), now, now).changed);
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

    #[test]
    fn the_generation_is_there_only_while_the_store_is_watched_and_keys_serve() {
        let now = monotonic();
        let store = Store::new(set(1, serving(now), KeySet::first(keys())));
        assert_eq!(store.generation(), 0);
        store.watched(now);
        assert_eq!((store.generation(), store.load(now).keys().generation()), (1, 1));
        store.watched(now + Duration::from_secs(20));
        assert_eq!(store.generation(), 0, "expired");
        store.watched(now);
        store.unwatched();
        assert_eq!(store.generation(), 0);
    }

    #[test]
    fn keys_serve_until_they_are_too_old_or_one_of_them_retires() {
        let now = monotonic();
        let after = |secs| now + Duration::from_secs(secs);
        let first = KeySet::first(keys());
        let serves = |tenure, keys: Arc<KeySet>, at| {
            let published = Published { sequence: 1, keys, tenure, origin: None };
            Store::new(published).load(after(at)).serve_for().map(|it| it.as_secs())
        };
        let none = || ParsedKeySet { keys: Vec::new(), ignored: Vec::new() };
        let other = SET.replace("\"a\"", "\"b\"");
        let other = parse_jwk_set(other.as_bytes(), 9, Backend::preferred().unwrap()).unwrap();
        let retiring = first.followed_by(other, now, after(15)).set;
        let revoked = first.followed_by(none(), now, after(15)).set;
        let first = Arc::new(first);
        assert_eq!(serves(serving(now), Arc::clone(&first), 0), Some(20));
        assert_eq!(serves(serving(now), Arc::clone(&first), 12), Some(8));
        assert_eq!(serves(serving(now), Arc::clone(&first), 21), Some(0));
        assert_eq!(serves(serving(now), Arc::clone(&retiring), 12), Some(3));
        assert_eq!(serves(serving(now), revoked, 12), Some(8));
        assert_eq!(serves(Tenure::Static, first, 12), None);
        assert_eq!(serves(Tenure::Static, retiring, 12), Some(3));
    }

    /// No reader may see other keys, or their end, and yet find what was remembered with those before.
    #[test]
    fn the_generation_ends_before_other_keys_are_there_and_not_with_the_same_ones() {
        let now = monotonic();
        let store = Store::new(set(1, serving(now), KeySet::first(keys())));
        store.watched(now);
        let published = Arc::clone(store.load(now).published());
        store.publish(Published { sequence: 2, ..(*published).clone() });
        assert_eq!(store.generation(), 1, "the same keys");
        let none = ParsedKeySet { keys: Vec::new(), ignored: Vec::new() };
        let other = published.keys.followed_by(none, now, now).set;
        store.publish(Published { sequence: 3, keys: other, ..(*published).clone() });
        assert_eq!(store.generation(), 0, "other keys");
        store.watched(now);
        assert_eq!(store.generation(), 2);
        let last = Arc::clone(store.load(now).published());
        store.publish(Published { tenure: Tenure::Stopped, ..(*last).clone() });
        assert_eq!(store.generation(), 0, "no longer");
    }
}
