//! Whether a fetch is being polled, to tell a panic from a runtime that was shut down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a fetch is being polled. If its order is dropped meanwhile, the fetch has panicked.
#[derive(Clone, Default)]
pub(crate) struct Polled(Arc<AtomicBool>);

impl Polled {
    /// Sets the flag while `poll` runs.
    pub(crate) fn during<T>(&self, poll: impl FnOnce() -> T) -> T {
        self.0.store(true, Ordering::Relaxed);
        let polled = poll();
        self.0.store(false, Ordering::Relaxed);
        polled
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
