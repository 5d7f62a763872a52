//! What a validator tells operators about its keys.

use std::sync::Weak;
use std::time::Duration;

use crate::clock::monotonic;
use crate::jwks::handle::Jwks;
use crate::jwks::kept::store::KeysState;
use crate::jwks::not_ready::NotReady;
use crate::jwks::place::Place;
use crate::jwks::timing::awaited::reason;
use crate::jwks::watchers::Watcher;
use crate::refusal::Unavailable;

impl Jwks {
    /// Has a watcher called every half minute at least, while the task runs, and warns if the issuer's
    /// clock differs by more than this leeway.
    pub(crate) fn attend(&self, watcher: Weak<dyn Watcher>, leeway: Duration) {
        self.shared().watchers.add(watcher, leeway);
    }

    /// Returns by how many seconds the issuer's clock is ahead of this one, as far as is known.
    pub(crate) fn clock_offset(&self) -> Option<i64> {
        self.shared().control().log.clock_offset
    }

    /// Returns why tokens can't be checked now, for the log; `None` if they can.
    pub(crate) fn trouble(&self) -> Option<String> {
        let state = self.shared().store.load(monotonic()).state();
        if state == KeysState::Serving {
            return None;
        }
        let missing = NotReady::of(self.shared(), Unavailable::new(reason(state), Duration::ZERO));
        Some(missing.for_log())
    }

    /// Returns where the keys are, for the log.
    pub(crate) fn place(&self) -> Option<Place> {
        let shared = self.shared();
        let control = shared.control();
        Place::at(&shared.config, control.metadata.as_ref()).map(|place| place.for_log())
    }
}
