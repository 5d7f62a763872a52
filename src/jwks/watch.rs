//! Tells the validator whether tokens that were verified with the keys still are.

use std::sync::Arc;

use crate::clock::UnixTime;
use crate::jwks::refresher::SharedKeys;

/// Watches whether tokens that were verified with the keys still are.
#[derive(Clone, Debug)]
pub(crate) struct Watch(Arc<SharedKeys>);

impl Watch {
    pub(crate) const fn new(shared: Arc<SharedKeys>) -> Self {
        Self(shared)
    }

    /// Returns the generation of the keys that are serving, 0 while none are (cold, expired, shut
    /// down, or not watched). A verified token may be remembered under its set's
    /// `generation`, and accepted only while this is the same. One atomic load.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.0.store.generation()
    }

    /// The same, and notices if the keys should long have been refreshed by then. Two atomic loads.
    #[inline]
    pub(crate) fn generation_at(&self, wall: UnixTime) -> u64 {
        if self.0.store.is_overdue(wall) {
            self.0.suspect();
        }
        self.0.store.generation()
    }
}
