//! The list of a validator's authorization servers, which may be replaced at run time.

use std::sync::{Arc, Mutex, PoisonError};

/// The issuers of a validator at one time.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct KnownIssuers {
    /// Those that are known by name.
    pub(crate) names: Vec<String>,
    /// The templates and patterns of those that aren't.
    pub(crate) patterns: Vec<String>,
    /// Whether some of the names are those of a template's tenants.
    pub(crate) has_tenants: bool,
}

/// The authorization servers of a validator, which may be replaced while the service runs. Clones share
/// them.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuthorizationServers(Arc<Mutex<Arc<KnownIssuers>>>);

impl AuthorizationServers {
    pub(crate) fn new(issuers: KnownIssuers) -> Self {
        Self(Arc::new(Mutex::new(issuers.into())))
    }

    pub(crate) fn replace(&self, issuers: KnownIssuers) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = issuers.into();
    }

    /// Returns the current issuers, which are the same `Arc` until they are replaced.
    pub(crate) fn now(&self) -> Arc<KnownIssuers> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
