use std::fmt;
use std::time::Duration;

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Uri};
use tokio::time::Instant;

use crate::client::attach::error::{HostRefused, OriginRefused, SendError};
use crate::client::tokens::source::TokenSource;
use crate::client::tokens::token::Token;
use crate::clock::monotonic;
use crate::telemetry::observe;
use crate::transport::Origin;

/// What is sent where.
#[derive(Clone)]
pub(crate) struct Policy {
    pub(crate) tokens: TokenSource,
    pub(crate) replay_limit: usize,
    pub(crate) token_timeout: Option<Duration>,
    pub(crate) origins: Vec<Origin>,
    /// Whether an address without a host is that of the one origin.
    pub(crate) channel: bool,
    pub(crate) pass_others: bool,
    pub(crate) replace: bool,
}

/// What becomes of a request.
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

    /// Returns which of the origins an address is of.
    fn origin(&self, uri: &Uri) -> Option<&Origin> {
        let nowhere = uri.authority().is_none() && uri.scheme().is_none();
        if self.channel && nowhere {
            return self.origins.first();
        }
        self.origins.iter().find(|origin| origin.contains(uri))
    }

    /// Notes that the server at this address has refused the token; returns `true` if there is use
    /// in another.
    pub(crate) fn refuse(&self, token: &Token, uri: &Uri) -> bool {
        let origin = self.origin(uri).map(ToString::to_string).unwrap_or_default();
        self.tokens.refuse(token, &origin)
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

    /// Writes the token into a request: the one `Authorization` field that it has.
    pub(crate) fn attach(&self, headers: &mut HeaderMap, token: &Token) {
        observe!("tower_bearer_client_token_age_seconds", token.age().as_secs_f64());
        headers.insert(AUTHORIZATION, token.header_value());
    }
}

/// A server, or a proxy before it, may go by the `Host` field and not by where the request was sent
/// (RFC 9110 §7.2).
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
