//! What ends the memory of an issuer's tokens before their time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    #[inline]
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
    entry: Arc<Entry>,
    watch: Watch,
    /// Whether a remembered token was recalled since somebody asked for that.
    used: AtomicBool,
}

impl Standing {
    pub(crate) const fn new(entry: Arc<Entry>, watch: Watch) -> Self {
        Self { entry, watch, used: AtomicBool::new(false) }
    }

    /// Notes that a remembered token was recalled. Most of the time that is known, and nothing is
    /// written.
    #[inline]
    pub(crate) fn use_again(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Returns `true` if a remembered token was recalled since this was last asked.
    pub(crate) fn was_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// Returns the generation of the issuer's current keys: that of no keys once it was removed.
    #[inline]
    pub(crate) fn generation_at(&self, now: UnixTime) -> u64 {
        if self.entry.has_ended() { NO_GENERATION } else { self.watch.generation_at(now) }
    }
}
