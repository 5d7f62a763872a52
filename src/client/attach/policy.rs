//! Decides which requests get a token, and whether a request is sent once more.

use std::fmt;
use std::time::Duration;

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::time::Instant;

use crate::client::attach::calls::write;
use crate::client::attach::challenge::{self, Objection};
use crate::client::attach::error::{HostRefused, OriginRefused, SendError};
use crate::client::dpop::Target;
use crate::client::tokens::source::TokenSource;
use crate::client::tokens::token::Token;
use crate::clock::monotonic;
use crate::telemetry::{count, event, observe};
use crate::transport::Origin;

/// The settings of the layer: which origins get a token, and how.
#[derive(Clone)]
pub(crate) struct Policy {
    pub(crate) tokens: TokenSource,
    pub(crate) replay_limit: usize,
    pub(crate) token_timeout: Option<Duration>,
    pub(crate) origins: Vec<Origin>,
    /// Whether a URL without a host belongs to the one origin.
    pub(crate) channel: bool,
    pub(crate) pass_others: bool,
    pub(crate) replace: bool,
}

/// The retries that one request has left: at most one of each kind.
#[derive(Clone, Copy)]
pub(crate) struct Tries {
    token: bool,
    nonce: bool,
}

/// Whether a request is to be sent once more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    Stop,
    /// Send it with another token.
    Token,
    /// Send it with the same token, and the nonce of the answer.
    Nonce,
}

impl Tries {
    pub(crate) const fn all() -> Self {
        Self { token: true, nonce: true }
    }

    /// Returns `true` if a request with this token may have to be sent once more.
    pub(crate) fn are_left(self, token: &Token) -> bool {
        self.token || (self.nonce && token.bound().is_some())
    }
}

/// What is done with a request.
#[derive(Debug)]
pub(crate) enum Verdict {
    Attach,
    Pass,
    Refuse(SendError),
}

impl Policy {
    pub(crate) fn judge(&self, uri: &Uri, headers: &HeaderMap) -> Verdict {
        if !self.replace && headers.contains_key(AUTHORIZATION) {
            return Verdict::Pass;
        }
        match self.origin(uri) {
            Some(origin) if is_named_by(origin, headers) => Verdict::Attach,
            Some(_) => Verdict::Refuse(SendError::Host(HostRefused)),
            None if self.pass_others => Verdict::Pass,
            None => Verdict::Refuse(SendError::Origin(self.refusal(uri))),
        }
    }

    /// Returns the configured origin that a URL belongs to.
    fn origin(&self, uri: &Uri) -> Option<&Origin> {
        let nowhere = uri.authority().is_none() && uri.scheme().is_none();
        if self.channel && nowhere {
            return self.origins.first();
        }
        self.origins.iter().find(|origin| origin.contains(uri))
    }

    /// Decides whether a request is to be sent once more, and records what the answer says about the token
    /// and nonces.
    pub(crate) fn next(
        &self,
        tries: &mut Tries,
        token: &Token,
        uri: &Uri,
        (status, headers): (StatusCode, &HeaderMap),
    ) -> Next {
        // Nearly every answer says nothing about a bearer token, which is cheap to see.
        let is_bound = token.bound().is_some();
        if !is_bound && challenge::read(status, headers, is_bound) == Objection::Nothing {
            return Next::Stop;
        }
        let Some(origin) = self.origin(uri) else { return Next::Stop };
        match self.tokens.prover().objection(token, origin, status, headers) {
            Objection::NonceWanted if tries.nonce => {
                tries.nonce = false;
                Next::Nonce
            }
            Objection::TokenRefused
                if tries.token && self.tokens.refuse(token, &origin.to_string()) =>
            {
                tries.token = false;
                Next::Token
            }
            _ => Next::Stop,
        }
    }

    /// Returns until when a request that has `timeout` in all, from `began` on, may wait for a token.
    pub(crate) fn deadline(&self, began: Instant, timeout: Option<Duration>) -> Option<Instant> {
        let wait = self.token_timeout.and_then(|timeout| monotonic().checked_add(timeout));
        let all = timeout.and_then(|timeout| began.checked_add(timeout));
        wait.into_iter().chain(all).min()
    }

    pub(crate) fn refusal(&self, uri: &Uri) -> OriginRefused {
        OriginRefused::new(uri, &self.origins)
    }

    /// Writes the token into a request: the one `Authorization` field that it has, and the proof of a
    /// token that is bound to a key.
    pub(crate) fn attach(
        &self,
        token: &Token,
        (method, uri): (&Method, &Uri),
        headers: &mut HeaderMap,
    ) -> Result<(), SendError> {
        observe!("tower_bearer_client_token_age_seconds", token.age().as_secs_f64());
        let proof = match token.bound().and_then(|bound| Some((bound, self.origin(uri)?))) {
            Some((bound, origin)) => {
                let target = Target { method, origin, path: uri.path() };
                self.tokens.prover().prove(bound, target).map_err(SendError::Token)?
            }
            None => None,
        };
        write(token, proof, headers);
        Ok(())
    }
}

pub(crate) fn resent_with_another_token() {
    count!("tower_bearer_client_retries_total");
    event!(DEBUG, "client_retry_401: the token was refused, sending another");
}

pub(crate) fn resent_for_nonce() {
    count!("tower_bearer_client_nonce_retries_total");
    event!(DEBUG, "client_retry_nonce: the server wants a nonce, sending another proof");
}

/// Returns `true` unless a `Host` field names another host: a server, or a proxy before it, may route by that
/// field (RFC 9110 §7.2).
fn is_named_by(origin: &Origin, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    hosts.all(|host| host.to_str().is_ok_and(|host| origin.is_at(host)))
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttachTokenLayer")
            .field("tokens", &self.tokens)
            .field("origins", &self.origins)
            .finish_non_exhaustive()
    }
}
