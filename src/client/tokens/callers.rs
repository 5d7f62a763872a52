//! What concerns all callers of one `OnBehalf`: a refusal that is about the client itself, and a server that
//! gives no answers.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::client::grant::error::{TokenError, TokenErrorKind};
use crate::client::grant::on_behalf_error::is_about_all_callers;
use crate::client::tokens::failed::BRIEF;
use crate::clock::{jitter, monotonic};
use crate::issuer::Circuit;
use crate::telemetry::Repeats;

/// The state that all callers share.
#[derive(Default)]
pub(crate) struct Callers {
    refusal: Mutex<Refusal>,
    silence: Mutex<Silence>,
    /// The failures that were logged: those of callers' tokens, and those that may concern all callers.
    failed: Repeats<&'static str>,
    unavailable: Repeats<&'static str>,
}

/// The circuit of a server that gives no answers.
#[derive(Default)]
struct Silence {
    circuit: Circuit,
    /// The error of the last request without an answer.
    last: Option<TokenError>,
    /// When a request was last answered.
    answered: Option<Instant>,
}

#[derive(Default)]
struct Refusal {
    standing: Option<(TokenError, Instant)>,
    /// How often it was discarded.
    resets: u64,
}

/// When a fetch began: after how many resets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun(u64);

impl Callers {
    /// Returns the refusal of this client, while it stands.
    pub(crate) fn refusal(&self, now: Instant) -> Option<TokenError> {
        let mut refusal = self.lock();
        refusal.standing.take_if(|(_, until)| *until <= now);
        refusal.standing.as_ref().map(|(error, _)| error.clone())
    }

    /// Begins a fetch.
    pub(crate) fn begin(&self) -> Begun {
        Begun(self.lock().resets)
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

    /// Returns an error if no request is allowed now, as [`enter`](Self::enter) does, which it doesn't replace.
    pub(crate) fn look(&self, now: Instant) -> Result<(), TokenError> {
        let silence = self.silence();
        silence.circuit.wait(now).map_or(Ok(()), |wait| Err(silence.error(wait)))
    }

    /// Allows a request that is sent at once. While the server gives no answers, one a second is allowed; the error
    /// is that of the last, with the time until the next.
    pub(crate) fn enter(&self, now: Instant) -> Result<(), TokenError> {
        let mut silence = self.silence();
        match silence.circuit.enter(now, jitter()) {
            Ok(_) => Ok(()),
            Err(wait) => Err(silence.error(wait)),
        }
    }

    /// Records how a request ended that was sent at that time. One that wasn't sent, for want of a secret or an
    /// address, says nothing of the server; nor does one that was sent before another was answered, which may
    /// hang for what it asks.
    pub(crate) fn asked<T>(&self, result: &Result<T, TokenError>, sent: Instant, now: Instant) {
        let mut silence = self.silence();
        match result.as_ref().map_err(|error| (error, error.kind())) {
            Err((_, TokenErrorKind::Credentials(_) | TokenErrorKind::Discovery(_))) => {}
            Err((error, _)) if error.is_silence() => {
                if silence.answered.is_none_or(|answered| answered <= sent) {
                    silence.circuit.failed(None, now, jitter());
                    silence.last = Some(error.clone());
                }
            }
            _ => *silence = Silence { answered: Some(now), ..Silence::default() },
        }
    }

    /// Returns how often fetches failed so since that was last logged; `None` if it isn't logged now.
    pub(crate) fn failed(&self, error: &TokenError, now: Instant) -> Option<u64> {
        let concerns_all = error.is_silence() || is_about_all_callers(error);
        let of_its_kind = if concerns_all { &self.unavailable } else { &self.failed };
        of_its_kind.record(error.label(), now)
    }

    /// Discards the refusal, and asks a server again that gave no answers.
    pub(crate) fn reset(&self) {
        // Requests from before it say nothing of the server as it is now.
        *self.silence() = Silence { answered: Some(monotonic()), ..Silence::default() };
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

impl Silence {
    fn error(&self, wait: Duration) -> TokenError {
        let last = self.last.clone();
        last.unwrap_or_else(|| TokenError::new(TokenErrorKind::TimedOut)).retrying_after(wait)
    }
}
