//! The key and the nonces of one grant: makes proofs, and keeps what servers answer to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::DATE;
use http::{HeaderMap, HeaderValue};

use crate::client::dpop::key::DpopKey;
use crate::client::dpop::nonces::{Nonces, nonce_of};
use crate::client::dpop::proof;
use crate::client::dpop::side::{Side, Target};
use crate::clock::UnixTime;
use crate::credentials::provider::SecretError;
use crate::digest::Digest;
use crate::jose::OwnKey;
use crate::telemetry::event;
use crate::transport::{Origin, date, text};

/// A clock difference beyond this is logged.
const OFF: Duration = Duration::from_secs(30);

/// What binds the tokens of one grant: the key, and the nonces that servers want in its proofs.
pub(crate) struct Dpop {
    key: DpopKey,
    authorization: Nonces,
    resource: Nonces,
    /// Whether a clock difference was logged.
    clock_reported: AtomicBool,
}

impl Dpop {
    pub(crate) fn new(key: DpopKey) -> Self {
        Self {
            key,
            authorization: Nonces::default(),
            resource: Nonces::default(),
            clock_reported: AtomicBool::new(false),
        }
    }

    pub(crate) async fn current(&self, patience: Duration) -> Result<Arc<OwnKey>, SecretError> {
        self.key.current(patience).await
    }

    pub(crate) fn reset(&self) {
        self.key.reset();
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        self.key.algorithm()
    }

    pub(crate) fn look_again_after(&self) -> Option<Duration> {
        self.key.look_again_after()
    }

    pub(crate) fn is_of_this_process(&self) -> bool {
        self.key.is_of_this_process()
    }

    pub(crate) fn identity(&self) -> Digest {
        self.key.identity()
    }

    /// Makes a proof for one request, with the nonce that the server has last handed out.
    pub(crate) fn prove(
        &self,
        key: &OwnKey,
        side: Side,
        target: Target<'_>,
        ath: Option<&str>,
        now: UnixTime,
    ) -> Result<HeaderValue, SecretError> {
        let nonce = self.nonces(side).get(target.origin);
        proof::make(key, self.algorithm(), target, ath, nonce.as_deref(), now)
    }

    /// Keeps the nonce of an answer, whatever its status; returns `true` if it has one.
    pub(crate) fn note(&self, side: Side, origin: &Origin, headers: &HeaderMap) -> bool {
        let nonce = nonce_of(headers);
        if let Some(nonce) = nonce {
            self.nonces(side).set(origin, nonce);
        }
        nonce.is_some()
    }

    /// Logs once, if a proof was refused, that the clocks differ. Nothing is adjusted: a server that could set
    /// the time of proofs could have proofs for later made in advance.
    pub(crate) fn suspect_clock(&self, headers: &HeaderMap, now: UnixTime) {
        let theirs = text(headers, &DATE).and_then(date);
        let Some(theirs) = theirs else { return };
        let off = now.saturating_since(theirs).max(theirs.saturating_since(now));
        if off > OFF && !self.clock_reported.swap(true, Ordering::Relaxed) {
            event!(
                WARN,
                seconds = off.as_secs(),
                ahead = now > theirs,
                "client_dpop_clock: a proof was refused, and the server's clock differs from this one"
            );
        }
    }

    const fn nonces(&self, side: Side) -> &Nonces {
        match side {
            Side::Authorization => &self.authorization,
            Side::Resource => &self.resource,
        }
    }
}

/// Returns the hash of a token, which each proof for a call contains (`ath`).
pub(crate) fn token_hash(token: &[u8]) -> Option<Box<str>> {
    Some(crate::digest::sha256_base64url(token).into())
}
