//! Invalidates an issuer's remembered tokens: when its keys change, or when it is removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::clock::UnixTime;
use crate::jwks;
use crate::token::Entry;
use crate::validator::quota::Quotas;

/// A shared secret is never replaced.
pub(crate) const ITS_ONLY_GENERATION: u64 = 1;

/// No token was ever verified under this generation.
const NO_GENERATION: u64 = 0;

/// Returns which keys tokens are currently verified with.
#[derive(Clone, Debug)]
pub(crate) enum Watch {
    Keys(jwks::Watch),
    SharedSecret,
}

impl Watch {
    /// Returns the generation of the current keys.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        match self {
            Self::Keys(keys) => keys.generation(),
            Self::SharedSecret => ITS_ONLY_GENERATION,
        }
    }

    /// The same, for a caller that knows the time.
    #[inline]
    pub(crate) fn generation_at(&self, now: UnixTime) -> u64 {
        match self {
            Self::Keys(keys) => keys.generation_at(now),
            Self::SharedSecret => ITS_ONLY_GENERATION,
        }
    }
}

/// The current state of one of several issuers. A remembered token holds it, and so learns that the
/// issuer was removed, without keeping its keys or their task.
#[derive(Debug)]
pub(crate) struct Standing {
    entry: Arc<Entry>,
    watch: Watch,
    /// Whether a remembered token was recalled since this was last read.
    used: AtomicBool,
    /// Its part of the memory that all share.
    pub(crate) quotas: Quotas,
}

impl Standing {
    pub(crate) fn new(entry: Arc<Entry>, watch: Watch) -> Self {
        Self { entry, watch, used: AtomicBool::new(false), quotas: Quotas::default() }
    }

    /// Notes that a remembered token was recalled. Usually that is noted already, and nothing is
    /// written.
    #[inline]
    pub(crate) fn use_again(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Returns `true` if a remembered token was recalled since the last call.
    pub(crate) fn was_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// Returns the generation of the issuer's current keys: that of no keys once it was removed.
    #[inline]
    pub(crate) fn generation_at(&self, now: UnixTime) -> u64 {
        if self.entry.has_ended() { NO_GENERATION } else { self.watch.generation_at(now) }
    }

    /// Returns `true` if what was verified under this generation is no longer valid.
    pub(crate) fn is_past(&self, generation: u64) -> bool {
        self.entry.has_ended() || self.watch.generation() != generation
    }
}
