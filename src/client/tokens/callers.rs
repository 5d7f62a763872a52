//! What concerns all callers of one `OnBehalf`: a refusal that is about the client itself.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::client::grant::error::TokenError;
use crate::client::grant::on_behalf_error::is_about_all_callers;
use crate::client::tokens::failed::BRIEF;

/// The state that all callers share.
#[derive(Default)]
pub(crate) struct Callers {
    refusal: Mutex<Option<(TokenError, Instant)>>,
}

impl Callers {
    /// Returns the refusal of this client, while it stands for whoever would have to wait for a fetch.
    pub(crate) fn refused(&self, now: Instant) -> Option<TokenError> {
        let mut refusal = self.lock();
        refusal.take_if(|(_, until)| *until <= now);
        refusal.as_ref().map(|(error, _)| error.clone())
    }

    /// Records why a call got no token, if that is about this client.
    pub(crate) fn note(&self, error: &TokenError, now: Instant) {
        if is_about_all_callers(error)
            && let Some(until) = now.checked_add(BRIEF)
        {
            *self.lock() = Some((error.clone(), until));
        }
    }

    /// Discards the refusal.
    pub(crate) fn reset(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<(TokenError, Instant)>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
