use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// The generation that serves, 0 while none does.
    generation: AtomicU64,
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
    /// Creates a store of which nobody keeps watch yet.
    pub(crate) fn new(published: Published) -> Self {
        Self { published: ArcSwap::from_pointee(published), generation: AtomicU64::new(0) }
    }

    /// Swaps the keys, unless those that are there came from a later attempt. Says whether it did.
    ///
    /// [`watched`](Self::watched) is to follow.
    pub(crate) fn publish(&self, next: Published) -> bool {
        let next = Arc::new(next);
        let before = self.published.rcu(|current| {
            Arc::clone(if current.sequence <= next.sequence { &next } else { current })
        });
        before.sequence <= next.sequence
    }

    /// Sets [`generation`](Self::generation) to what serves now, by somebody who will do so again
    /// as soon as that changes.
    pub(crate) fn watched(&self, now: Instant) {
        let published = self.published.load();
        let serves = published.state(now).serves();
        let generation = if serves { published.keys.generation() } else { 0 };
        self.generation.store(generation, Ordering::Release);
    }

    /// Sets [`generation`](Self::generation) to 0: nobody would notice that keys expire.
    pub(crate) fn unwatched(&self) {
        self.generation.store(0, Ordering::Release);
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
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
