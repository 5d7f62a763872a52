//! The part of a shared table that each of several issuers may fill.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What one issuer holds of a table, against its quota.
///
/// Each issuer whose tokens are remembered has an equal part of the places of each set and of the bytes.
/// It may use beyond that what others leave free, and only as long as they do: a flood of one issuer's
/// tokens evicts its own, and never those of an issuer that keeps to its part.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    entries: AtomicUsize,
    bytes: AtomicUsize,
}

/// The quotas of one issuer in all tables.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    pub(crate) accepted: Arc<Quota>,
    pub(crate) refused: Arc<Quota>,
    #[cfg(feature = "introspection")]
    pub(crate) answers: Arc<Quota>,
    #[cfg(feature = "introspection")]
    pub(crate) denials: Arc<Quota>,
}

impl Quota {
    /// Counts an entry. Returns `true` if it is the first.
    pub(crate) fn add(&self, bytes: usize) -> bool {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.entries.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// Removes an entry. Returns `true` if it was the last.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.entries.fetch_sub(1, Ordering::Relaxed) == 1
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}
