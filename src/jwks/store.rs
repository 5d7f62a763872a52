use std::sync::Arc;

use arc_swap::Guard;

use crate::jwks::key_set::KeySet;

/// What [`Store`] publishes.
#[derive(Debug, Default)]
pub(crate) struct Published {
    keys: Arc<KeySet>,
}

/// The keys of now. Not to be held across an await.
#[derive(Debug)]
pub(crate) struct LoadedKeys {
    published: Guard<Arc<Published>>,
    state: KeysState,
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
        self.state
    }

    pub(crate) fn keys(&self) -> &KeySet {
        &self.published.keys
    }
}
