//! What ends the memory of an issuer's tokens before their time.

use std::sync::Arc;

use crate::clock::UnixTime;
use crate::jwks;
use crate::token::Entry;

/// A shared secret is never replaced.
pub(crate) const ITS_ONLY_GENERATION: u64 = 1;

/// No token was ever verified under this generation.
const NO_GENERATION: u64 = 0;

/// Tells with which keys tokens are verified now.
#[derive(Clone, Debug)]
pub(crate) enum Watch {
    Keys(jwks::Watch),
    SharedSecret,
}

impl Watch {
    /// Returns the generation of the current keys.
    pub(crate) fn generation(&self) -> u64 {
        match self {
            Self::Keys(keys) => keys.generation(),
            Self::SharedSecret => ITS_ONLY_GENERATION,
        }
    }

    /// The same, by a caller who knows the time.
    #[inline]
    pub(crate) fn generation_at(&self, now: UnixTime) -> u64 {
        match self {
            Self::Keys(keys) => keys.generation_at(now),
            Self::SharedSecret => ITS_ONLY_GENERATION,
        }
    }
}

/// How things stand with one of several issuers. A remembered token holds it, and so learns that the
/// issuer was taken off the list, without keeping its keys or their task.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) entry: Arc<Entry>,
    pub(crate) watch: Watch,
}

impl Standing {
    /// Returns the generation of the issuer's current keys: that of no keys once it was removed.
    #[inline]
    pub(crate) fn generation_at(&self, now: UnixTime) -> u64 {
        if self.entry.has_ended() { NO_GENERATION } else { self.watch.generation_at(now) }
    }
}
