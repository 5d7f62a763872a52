//! Panics for tests that ask for something impossible.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Panics, to end a test that asked for something impossible.
#[allow(clippy::panic, reason = "only tests call this, and a panic is how they fail")]
#[track_caller]
pub(crate) fn misuse(message: &str) -> ! {
    panic!("{message}")
}

/// Locks, and ignores poisoning: a panic, such as a failed assertion, leaves no state half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
