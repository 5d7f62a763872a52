use std::sync::{Mutex, MutexGuard, PoisonError};

/// Ends the test that asked for something impossible.
#[allow(clippy::panic, reason = "nothing but tests gets here, and their authors want to know")]
#[track_caller]
pub(crate) fn misuse(message: &str) -> ! {
    panic!("{message}")
}

/// Locks; a panic elsewhere, such as a failed assertion of a test, leaves nothing half done here.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
