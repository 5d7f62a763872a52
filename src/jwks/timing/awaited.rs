//! When a wait for keys ends, and with which result.

use std::time::Duration;

use crate::clock::monotonic;
use crate::jose::Algorithm;
use crate::jwks::kept::store::{KeysState, LoadedKeys};
use crate::jwks::refresher::SharedKeys;
use crate::jwks::timing::control::{Attempts, SHORTEST_WAIT};
use crate::refusal::UnavailableReason;

/// The keys to decide with, which are serving.
pub(crate) type Outcome = Result<LoadedKeys, UnavailableReason>;

/// What is waited for.
pub(crate) enum Awaited {
    /// Any keys, or the end of an attempt after this one.
    Keys { after: u64 },
    /// A set of another generation with a key for this `alg` and `kid`, or the end of the forced
    /// fetch of this number.
    Key {
        algorithm: Algorithm,
        kid: Box<str>,
        generation: u64,
        number: u64,
        /// The attempt after whose end that fetch is too far in the future to wait for.
        gives_up: Option<u64>,
        /// Whether the `kid` was asked for recently, for another token.
        again: bool,
        /// Whether that fetch may not begin at once.
        late: bool,
    },
}

impl Awaited {
    pub(crate) fn outcome(&self, shared: &SharedKeys, now: Attempts) -> Option<Outcome> {
        if now.closed {
            return Some(Err(UnavailableReason::ShutDown));
        }
        let loaded = shared.store.load(monotonic());
        match self {
            Self::Keys { after } => {
                let serves = loaded.state() == KeysState::Serving;
                let over = now.ended > *after;
                (serves || over).then(|| served(loaded))
            }
            Self::Key { generation, number, gives_up, .. } => {
                let settled = now.settled >= *number;
                match settled && now.settled_failed {
                    _ if self.is_resolved(&loaded, *generation) => Some(served(loaded)),
                    true => Some(Err(UnavailableReason::RefreshFailed)),
                    false if settled => Some(served(loaded)),
                    false => gives_up
                        .is_some_and(|sequence| now.ended >= sequence)
                        .then_some(Err(UnavailableReason::RateLimited)),
                }
            }
        }
    }

    fn is_resolved(&self, loaded: &LoadedKeys, before: u64) -> bool {
        match self {
            Self::Keys { .. } => false,
            Self::Key { algorithm, kid, .. } => {
                let keys = loaded.keys();
                keys.generation() != before && keys.has(*algorithm, kid)
            }
        }
    }

    /// Returns why the wait ended without a key: the issuer is slow only if it was being asked all the time.
    pub(crate) const fn timed_out(&self) -> UnavailableReason {
        match self {
            Self::Key { late: true, .. } => UnavailableReason::RateLimited,
            Self::Keys { .. } | Self::Key { .. } => UnavailableReason::RefreshTimedOut,
        }
    }

    pub(crate) fn retry_after(&self, shared: &SharedKeys) -> Duration {
        let now = monotonic();
        let control = shared.control();
        match self {
            Self::Keys { .. } => control.retry_after(now).min(shared.config.cooldown),
            Self::Key { .. } => control.retry_miss_after(now),
        }
        .max(SHORTEST_WAIT)
    }

    pub(crate) fn count(&self, shared: &SharedKeys, outcome: &Outcome) {
        let Self::Key { generation, again, .. } = self else { return };
        let result = match outcome {
            Ok(loaded) if self.is_resolved(loaded, *generation) => "resolved",
            Ok(_) if *again => "negative_cached",
            Ok(_) => "absent",
            Err(UnavailableReason::RateLimited) => "rate_limited",
            Err(_) => "fetch_failed",
        };
        shared.report.kid_miss(result);
    }
}

fn served(loaded: LoadedKeys) -> Outcome {
    match loaded.state() {
        KeysState::Serving => Ok(loaded),
        state => Err(reason(state)),
    }
}

/// Returns what is missing while the keys aren't serving.
pub(crate) fn reason(state: KeysState) -> UnavailableReason {
    match state {
        KeysState::Cold | KeysState::Serving => UnavailableReason::KeysNotLoaded,
        KeysState::Expired => UnavailableReason::KeysExpired,
        KeysState::ShutDown => UnavailableReason::ShutDown,
    }
}
