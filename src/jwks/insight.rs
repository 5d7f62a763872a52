//! What a validator reports to operators about its keys.

use std::sync::Weak;
use std::time::Duration;

use crate::clock::monotonic;
use crate::jwks::handle::Jwks;
use crate::jwks::kept::store::KeysState;
use crate::jwks::keys_at::KeysAt;
use crate::jwks::not_ready::NotReady;
use crate::jwks::timing::awaited::reason;
use crate::jwks::watchers::Watcher;
use crate::refusal::{Unavailable, UnavailableReason};

impl Jwks {
    /// Calls a watcher every half minute at least while the task runs, and warns if the issuer's
    /// clock differs by more than this leeway.
    pub(crate) fn attend(&self, watcher: Weak<dyn Watcher>, leeway: Duration) {
        self.shared().watchers.add(watcher, leeway);
    }

    /// Returns by how many seconds the issuer's clock is ahead of this one, if that is known.
    pub(crate) fn clock_offset(&self) -> Option<i64> {
        self.shared().control().log.clock_offset
    }

    /// Returns `true` if the issuer is asked for its keys, and so for what its clock shows.
    pub(crate) fn is_fetched(&self) -> bool {
        self.shared().config.fetching.is_some()
    }

    /// Returns why tokens can't be checked now, for a line of the log that may have given a reason already; `None` if
    /// they can.
    pub(crate) fn trouble(&self, said: Option<UnavailableReason>) -> Option<String> {
        let state = self.shared().store.load(monotonic()).state();
        if state == KeysState::Serving {
            return None;
        }
        let missing = NotReady::of(self.shared(), Unavailable::new(reason(state), Duration::ZERO));
        Some(missing.for_log(said))
    }

    /// Returns where the keys are, for the log.
    pub(crate) fn place(&self) -> Option<KeysAt> {
        let shared = self.shared();
        let control = shared.control();
        KeysAt::at(&shared.config, control.metadata.as_ref()).map(KeysAt::for_log)
    }
}
