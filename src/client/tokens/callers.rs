//! What concerns all callers of one `OnBehalf`: a refusal that is about the client itself, and a server that
//! gives no answers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::client::grant::error::{TokenError, TokenErrorKind};
use crate::client::grant::on_behalf_error::is_about_all_callers;
use crate::client::tokens::failed::BRIEF;
use crate::clock::jitter;
use crate::issuer::{Circuit, Pass};
use crate::telemetry::Repeats;

/// The state that all callers share.
#[derive(Default)]
pub(crate) struct Callers {
    refusal: Mutex<Refusal>,
    silence: Mutex<Silence>,
    failed: Repeats<&'static str>,
}

/// How a server that gives no answers is asked by one call at a time.
#[derive(Default)]
struct Silence {
    circuit: Circuit,
    last: Option<TokenError>,
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

    /// Allows a request to the server. While that gives no answers, one a second is allowed; the error is that of
    /// the last, with the time until the next.
    pub(crate) fn enter(&self, now: Instant) -> Result<Pass, TokenError> {
        let mut silence = self.silence();
        silence.circuit.enter(now, jitter()).map_err(|wait| {
            let last = silence.last.clone();
            let last = last.unwrap_or_else(|| TokenError::new(TokenErrorKind::TimedOut));
            last.retrying_after(wait)
        })
    }

    /// Records how a request ended. One that wasn't sent, for want of a secret or an address, says nothing of the
    /// server.
    pub(crate) fn asked<T>(&self, result: &Result<T, TokenError>, now: Instant) {
        let mut silence = self.silence();
        match result.as_ref().map_err(|error| (error, error.kind())) {
            Err((_, TokenErrorKind::Credentials(_) | TokenErrorKind::Discovery(_))) => {}
            Err((error, _)) if error.is_silence() => {
                silence.circuit.failed(None, now, jitter());
                silence.last = Some(error.clone());
            }
            _ => *silence = Silence::default(),
        }
    }

    /// Returns how often fetches failed so since that was last logged; `None` if it isn't logged now.
    pub(crate) fn failed(&self, error: &TokenError, now: Instant) -> Option<u64> {
        self.failed.record(error.label(), now)
    }

    /// Discards the refusal, and asks a server again that gave no answers.
    pub(crate) fn reset(&self) {
        *self.silence() = Silence::default();
        let mut refusal = self.lock();
        refusal.standing = None;
        refusal.resets = refusal.resets.wrapping_add(1);
    }

    fn silence(&self) -> MutexGuard<'_, Silence> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Refusal> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
