//! The list of a validator's authorization servers, which may be replaced at run time.

use std::sync::{Arc, Mutex, PoisonError};

/// The authorization servers of a validator, which may be replaced while the service runs. Clones share
/// them.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuthorizationServers(Arc<Mutex<Arc<[String]>>>);

impl AuthorizationServers {
    pub(crate) fn new(names: Vec<String>) -> Self {
        Self(Arc::new(Mutex::new(names.into())))
    }

    pub(crate) fn replace(&self, names: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = names.into();
    }

    /// Returns the current list, which is the same `Arc` until it is replaced.
    pub(crate) fn now(&self) -> Arc<[String]> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
