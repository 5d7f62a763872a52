//! What concerns all callers of one `OnBehalf`: a refusal that is about the client itself.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::client::grant::error::TokenError;
use crate::client::grant::on_behalf_error::is_about_all_callers;
use crate::client::tokens::failed::BRIEF;

/// The state that all callers share.
#[derive(Default)]
pub(crate) struct Callers {
    refusal: Mutex<Refusal>,
}

#[derive(Default)]
struct Refusal {
    standing: Option<(TokenError, Instant)>,
    /// How often it was discarded.
    resets: u64,
}

/// When a fetch began: after how many resets.
#[derive(Clone, Copy)]
pub(crate) struct Begun(u64);

impl Callers {
    /// Begins a fetch for which a call has to wait; the refusal of this client, while it stands.
    pub(crate) fn begin(&self, now: Instant) -> Result<Begun, TokenError> {
        let mut refusal = self.lock();
        refusal.standing.take_if(|(_, until)| *until <= now);
        match &refusal.standing {
            Some((error, _)) => Err(error.clone()),
            None => Ok(Begun(refusal.resets)),
        }
    }

    /// Records why a fetch brought no token, if that is about this client, unless that was reset since it began:
    /// it may have used the secret that was wrong.
    pub(crate) fn note(&self, error: &TokenError, begun: Begun, now: Instant) {
        if !is_about_all_callers(error) {
            return;
        }
        let mut refusal = self.lock();
        if refusal.resets == begun.0 {
            refusal.standing = now.checked_add(BRIEF).map(|until| (error.clone(), until));
        }
    }

    /// Discards the refusal.
    pub(crate) fn reset(&self) {
        let mut refusal = self.lock();
        refusal.standing = None;
        refusal.resets = refusal.resets.wrapping_add(1);
    }

    fn lock(&self) -> MutexGuard<'_, Refusal> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
