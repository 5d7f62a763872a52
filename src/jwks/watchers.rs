//! Callbacks that the refresher's task makes regularly, so that they need no task of their own.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

/// What the task of a key source calls every half minute at least.
pub(crate) trait Watcher: fmt::Debug + Send + Sync {
    fn look(&self, now: Instant);
}

/// The watchers to call, as long as they exist.
#[derive(Debug)]
pub(crate) struct Watchers {
    all: Mutex<Vec<Weak<dyn Watcher>>>,
    /// The smallest leeway that a validator of these keys allows, in seconds.
    leeway: AtomicU64,
}

impl Watchers {
    /// Without a validator, the default leeway.
    const LEEWAY: u64 = 60;

    pub(crate) fn new() -> Self {
        Self { all: Mutex::default(), leeway: AtomicU64::new(u64::MAX) }
    }

    pub(crate) fn add(&self, watcher: Weak<dyn Watcher>, leeway: Duration) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|known| {
            known.strong_count() > 0 && !std::ptr::addr_eq(known.as_ptr(), watcher.as_ptr())
        });
        all.push(watcher);
        self.leeway.fetch_min(leeway.as_secs(), Ordering::Relaxed);
    }

    /// Calls them, without holding any lock.
    pub(crate) fn look(&self, now: Instant) {
        let all: Vec<Arc<dyn Watcher>> = {
            let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            all.iter().filter_map(Weak::upgrade).collect()
        };
        all.iter().for_each(|watcher| watcher.look(now));
    }

    /// Returns by how many seconds the issuer's clock may differ from this one.
    pub(crate) fn leeway(&self) -> u64 {
        match self.leeway.load(Ordering::Relaxed) {
            u64::MAX => Self::LEEWAY,
            leeway => leeway,
        }
    }
}
