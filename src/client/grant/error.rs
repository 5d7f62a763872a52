//! The error of getting a token: what is shown of it, whether it is permanent, and what to blame.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{StatusCode, Uri};

use crate::cause::Report;
pub use crate::client::grant::error_kind::{
    AnswerFault, DiscoveryFault, ErrorCode, TokenErrorKind,
};
use crate::client::grant::party::Party;
use crate::client::tokens::backoff::Cause;
use crate::credentials::provider::{SecretError, SecretErrorKind};
use crate::transport::{TransportError, TransportErrorKind, printable};

/// The error of getting an access token.
///
/// All calls that waited for the same token get the same error. It names the client and the server. It
/// holds no secret, no token, and nothing else of the request; the part of the server's answer in it is
/// cut to size and to printable ASCII, and left out if a secret of the request may be in it.
///
/// `Display` is one sentence; [`source`](Error::source) is the cause, if it is known. `Debug`
/// is the sentence with its causes, as `main` prints it.
///
/// ```
/// use http::StatusCode;
/// use tower_bearer::client::TokenError;
///
/// /// Returns the status for a request that needed a call with a token.
/// fn answer(error: &TokenError) -> StatusCode {
///     if error.is_permanent() {
///         StatusCode::INTERNAL_SERVER_ERROR // needs operator action
///     } else {
///         StatusCode::SERVICE_UNAVAILABLE // after `error.retry_after()`, or soon
///     }
/// }
/// ```
#[derive(Clone)]
pub struct TokenError(Arc<Failure>);

#[derive(Clone)]
struct Failure {
    kind: TokenErrorKind,
    description: Option<Box<str>>,
    retry_after: Option<Duration>,
    /// The status of the server's refusal.
    status: Option<StatusCode>,
    /// The error that it was made from: its text is in the kind, and its source is this error's.
    origin: Option<Arc<dyn Error + Send + Sync>>,
    /// The client, tenant and server that the token was requested for.
    party: Option<Arc<Party>>,
    endpoint: Option<Box<str>>,
}

impl TokenError {
    pub(crate) fn new(kind: TokenErrorKind) -> Self {
        Self::with(kind, None, None)
    }

    pub(crate) fn with(
        kind: TokenErrorKind,
        description: Option<Box<str>>,
        retry_after: Option<Duration>,
    ) -> Self {
        Self(Arc::new(Failure {
            kind,
            description,
            retry_after,
            status: None,
            origin: None,
            party: None,
            endpoint: None,
        }))
    }

    /// The server refused with this status.
    pub(crate) fn refused(
        code: ErrorCode,
        status: StatusCode,
        description: Option<Box<str>>,
        retry_after: Option<Duration>,
    ) -> Self {
        Self::with(TokenErrorKind::Refused(code), description, retry_after)
            .change(|failure| failure.status = Some(status))
    }

    /// The client's secret or key could not be read, or can't be used.
    pub(crate) fn credentials(error: SecretError) -> Self {
        Self::new(TokenErrorKind::Credentials(error.kind()))
            .change(|failure| failure.origin = Some(Arc::new(error)))
    }

    /// The server gave no answer.
    pub(crate) fn transport(error: TransportError) -> Self {
        Self::new(TokenErrorKind::Transport(error.kind()))
            .change(|failure| failure.origin = Some(Arc::new(error)))
    }

    /// Adds the client, tenant and server, unless they are known already.
    pub(crate) fn about(self, party: &Arc<Party>) -> Self {
        if self.0.party.is_some() {
            return self;
        }
        self.change(|failure| failure.party = Some(Arc::clone(party)))
    }

    /// Adds a hint of this crate where the server gave no description.
    pub(crate) fn hinting(self, hint: &str) -> Self {
        self.change(|failure| {
            failure.description.get_or_insert_with(|| hint.into());
        })
    }

    /// Sets when to ask again.
    pub(crate) fn retrying_after(self, wait: Duration) -> Self {
        self.change(|failure| failure.retry_after = Some(wait))
    }

    /// Adds the token endpoint that was asked.
    pub(crate) fn at(self, endpoint: &Uri) -> Self {
        let endpoint = printable(&endpoint.to_string()).into();
        self.change(|failure| failure.endpoint = Some(endpoint))
    }

    fn change(mut self, change: impl FnOnce(&mut Failure)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Returns the reason.
    pub fn kind(&self) -> &TokenErrorKind {
        &self.0.kind
    }

    /// Returns the server's description, if it gave one that can be shown.
    pub fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }

    /// Returns the identifier of the client that the token was for.
    pub fn client_id(&self) -> Option<&str> {
        self.0.party.as_ref().map(|party| &*party.client_id)
    }

    /// Returns the tenant that the grant names, if it does
    /// ([`GrantBuilder::tenant`](crate::client::GrantBuilder::tenant)).
    pub fn tenant(&self) -> Option<&str> {
        self.0.party.as_ref()?.tenant.as_deref()
    }

    /// Returns the issuer that the grant names, if it does.
    pub fn issuer(&self) -> Option<&str> {
        self.0.party.as_ref()?.issuer.as_deref()
    }

    /// Returns the token endpoint without its query, if it is known.
    pub fn token_endpoint(&self) -> Option<&str> {
        let named = self.0.party.as_ref().and_then(|party| party.endpoint.as_deref());
        self.0.endpoint.as_deref().or(named)
    }

    /// Returns the server's `Retry-After`, if it sent one; on a caller's behalf, also for how long a server that
    /// gives no answers isn't asked.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns `true` if a retry fails until an operator changes something: the secret, the
    /// registration of the client, the address. Other failures are temporary, or may be.
    ///
    /// Answers that a proxy may have given instead of the server are temporary: any status without an OAuth
    /// error, and any document in place of the metadata.
    pub fn is_permanent(&self) -> bool {
        match &self.0.kind {
            TokenErrorKind::Refused(code) => {
                // 408 Request Timeout, 425 Too Early, 429 Too Many Requests.
                let passes = self.0.status.is_some_and(|status| {
                    status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
                });
                !passes && code.is_permanent(self.0.status)
            }
            TokenErrorKind::Answer(fault) => !matches!(
                fault,
                AnswerFault::NotJson | AnswerFault::NoAccessToken | AnswerFault::Redirect
            ),
            TokenErrorKind::Discovery(fault) => {
                !matches!(fault, DiscoveryFault::NoMetadata | DiscoveryFault::Unreadable)
            }
            TokenErrorKind::MissingScopes(_) => true,
            TokenErrorKind::Credentials(kind) => matches!(kind, SecretErrorKind::Malformed),
            TokenErrorKind::Status(_)
            | TokenErrorKind::Transport(_)
            | TokenErrorKind::CallerExpired
            | TokenErrorKind::TimedOut
            | TokenErrorKind::Deadline
            | TokenErrorKind::NoRuntime => false,
        }
    }

    pub(crate) fn cause(&self) -> Cause {
        Cause { permanent: self.is_permanent(), retry_after: self.0.retry_after }
    }

    /// Returns `true` if another secret could help.
    pub(crate) fn blames_credentials(&self) -> bool {
        match &self.0.kind {
            TokenErrorKind::Credentials(_)
            | TokenErrorKind::Refused(ErrorCode::InvalidClient)
            // Keycloak reports a wrong secret with this code, with 400 or 401.
            | TokenErrorKind::Refused(ErrorCode::UnauthorizedClient) => true,
            TokenErrorKind::Refused(ErrorCode::InvalidDpopProof | ErrorCode::UseDpopNonce) => false,
            // Other servers have codes of their own, such as `access_denied`.
            TokenErrorKind::Refused(_) => self.0.status == Some(StatusCode::UNAUTHORIZED),
            // Some servers give no reason.
            TokenErrorKind::Status(status) => {
                matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            }
            _ => false,
        }
    }

    /// Returns `true` if the server gave no answer.
    pub(crate) fn is_silence(&self) -> bool {
        let TokenErrorKind::Transport(kind) = &self.0.kind else { return false };
        matches!(
            kind,
            TransportErrorKind::Timeout
                | TransportErrorKind::UnknownHost
                | TransportErrorKind::Connect
                | TransportErrorKind::Tls
                | TransportErrorKind::Other
        )
    }

    /// Returns `true` if the token endpoint may have moved.
    pub(crate) fn blames_address(&self) -> bool {
        match &self.0.kind {
            TokenErrorKind::Answer(AnswerFault::Redirect)
            | TokenErrorKind::Transport(
                TransportErrorKind::UnknownHost
                | TransportErrorKind::Connect
                | TransportErrorKind::Tls
                | TransportErrorKind::BlockedAddress,
            ) => true,
            TokenErrorKind::Status(status) => matches!(status.as_u16(), 404 | 405 | 410),
            _ => false,
        }
    }

    /// Returns a name for metrics and logs.
    pub(crate) fn label(&self) -> &'static str {
        match &self.0.kind {
            TokenErrorKind::Refused(code) => code.label(),
            TokenErrorKind::Status(_) => "status",
            TokenErrorKind::Answer(_) => "answer",
            TokenErrorKind::Transport(TransportErrorKind::Timeout) | TokenErrorKind::TimedOut => {
                "timeout"
            }
            TokenErrorKind::Deadline => "deadline",
            TokenErrorKind::CallerExpired => "caller_expired",
            TokenErrorKind::Transport(_) => "transport",
            TokenErrorKind::Credentials(_) => "credentials",
            TokenErrorKind::Discovery(_) => "discovery",
            TokenErrorKind::MissingScopes(_) => "missing_scopes",
            TokenErrorKind::NoRuntime => "no_runtime",
        }
    }
}

impl fmt::Debug for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Report(self))
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no access token")?;
        if let Some(client_id) = self.client_id() {
            write!(f, " for client {client_id:?}")?;
        }
        if let Some(tenant) = self.tenant() {
            write!(f, " of tenant {tenant:?}")?;
        }
        if let Some(server) = self.token_endpoint().or(self.issuer()) {
            write!(f, " from {server}")?;
        }
        write!(f, ": {}", self.0.kind)?;
        match &self.0.description {
            Some(description) => write!(f, " ({description})"),
            None => Ok(()),
        }
    }
}

impl Error for TokenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.origin.as_ref()?.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: TokenErrorKind) -> TokenError {
        TokenError::new(kind)
    }

    // R9, R12
    #[test]
    fn r9_r12_codes_are_typed_and_told_apart() {
        for (code, permanent) in [
            ("invalid_request", true),
            ("invalid_client", true),
            ("invalid_grant", true),
            ("unauthorized_client", true),
            ("unsupported_grant_type", true),
            ("invalid_scope", true),
            ("invalid_target", true),
            ("scope_invalid", true),
            ("temporarily_unavailable", false),
            ("server_error", false),
        ] {
            let parsed = ErrorCode::from_text(code);
            assert_eq!(parsed.as_str(), code);
            assert_eq!(matches!(parsed, ErrorCode::Other(_)), code == "scope_invalid");
            assert_eq!(error(TokenErrorKind::Refused(parsed)).is_permanent(), permanent, "{code}");
        }
        for status in 300..=599 {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(!error(TokenErrorKind::Status(status)).is_permanent());
        }
        for kind in [TransportErrorKind::Timeout, TransportErrorKind::Connect] {
            assert!(!error(TokenErrorKind::Transport(kind)).is_permanent());
        }
    }

    #[test]
    fn fc10_only_an_oauth_error_is_permanent() {
        let refused = |status: u16, code: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            TokenError::refused(ErrorCode::from_text(code), status, None, None).is_permanent()
        };
        for (status, code) in [
            (400, "invalid_client"),
            (401, "invalid_client"),
            (403, "access_denied"),
            (404, "invalid_client"),
            (400, "invalid_scope"),
            (200, "incorrect_client_credentials"),
            (401, "access_denied"),
        ] {
            assert!(refused(status, code), "{status} {code}");
        }
        for (status, code) in [
            (404, "Not Found"),
            (404, "not_found"),
            (404, "no_route"),
            (403, "request blocked by policy"),
            (403, "Forbidden"),
            (401, "Unauthorized"),
            (400, "Bad Request"),
            (405, "METHOD_NOT_ALLOWED"),
            (400, ""),
            (400, "temporarily_unavailable"),
            (429, "too_many_requests"),
            (429, "slow_down"),
            (429, "invalid_request"),
            (503, "invalid_client"),
            (500, "server_error"),
            (502, "bad_gateway"),
            (408, "request_timeout"),
        ] {
            assert!(!refused(status, code), "{status} {code}");
        }
        for fault in [AnswerFault::NotJson, AnswerFault::NoAccessToken, AnswerFault::Redirect] {
            assert!(!error(TokenErrorKind::Answer(fault)).is_permanent(), "{fault}");
        }
        assert!(error(TokenErrorKind::Answer(AnswerFault::TokenType)).is_permanent());
        let discovery = |fault| error(TokenErrorKind::Discovery(fault)).is_permanent();
        assert!(!discovery(DiscoveryFault::NoMetadata) && !discovery(DiscoveryFault::Unreadable));
        assert!(discovery(DiscoveryFault::IssuerMismatch));
        assert!(discovery(DiscoveryFault::AuthMethod));
    }

    #[test]
    fn an_error_says_what_and_why() {
        let refused = TokenErrorKind::Refused(ErrorCode::InvalidScope);
        let error = TokenError::with(refused, Some("no such scope".into()), None);
        assert_eq!(
            error.to_string(),
            "no access token: the server refused: invalid_scope (no such scope)"
        );
        assert_eq!(error.label(), "invalid_scope");
    }
}
