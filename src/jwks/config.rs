//! The checked settings of a key source.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use crate::clock::Clock;
use crate::issuer::Network;
use crate::jose::{Backend, Purpose};
use crate::jwks::fetch::discovery::Discovery;
use crate::jwks::timing::schedule::Timing;

/// The settings of a key source, checked.
#[derive(Debug)]
pub(crate) struct Config {
    /// For a SPIFFE bundle, the trust domain's SPIFFE ID.
    pub(crate) issuer: Arc<str>,
    pub(crate) purpose: Purpose,
    pub(crate) backend: Backend,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) timing: Timing,
    pub(crate) cooldown: Duration,
    pub(crate) request_wait: Duration,
    pub(crate) removed_key_grace: Duration,
    /// `None` if the keys are part of the configuration.
    pub(crate) fetching: Option<Fetching>,
}

impl Config {
    /// The settings of a source that never fetches.
    pub(crate) fn fixed(
        issuer: Arc<str>,
        purpose: Purpose,
        backend: Backend,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let never = Duration::ZERO;
        Self {
            issuer,
            purpose,
            backend,
            clock,
            timing: Timing { ttl: never, min_ttl: never, max_ttl: never, max_stale: never },
            cooldown: never,
            request_wait: never,
            removed_key_grace: never,
            fetching: None,
        }
    }
}

/// Where the keys are fetched from, and how.
#[derive(Debug)]
pub(crate) struct Fetching {
    pub(crate) target: KeyLocation,
    pub(crate) network: Network,
    pub(crate) max_keys: usize,
    pub(crate) purpose: Purpose,
    pub(crate) empty_set: EmptySet,
}

#[derive(Debug)]
pub(crate) enum KeyLocation {
    Url(Uri),
    Discovery(Discovery),
}

/// What an empty key set, `{"keys":[]}`, means.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum EmptySet {
    /// A mistake: the keys from before are kept until they expire.
    #[default]
    Keep,
    /// The issuer revokes all its keys: no token is accepted any longer.
    RevokeAll,
}
