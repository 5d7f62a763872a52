use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::client::backoff::Cause;
use crate::client::credentials::SecretErrorKind;
use crate::scope::ScopeSet;
use crate::transport::TransportErrorKind;

/// An access token that could not be had.
///
/// All who waited for the same token get the same error. It holds no secret, no token, and nothing
/// of the request; what it holds of the server's answer is cut to size and to printable ASCII.
///
/// ```
/// use http::StatusCode;
/// use tower_bearer::client::TokenError;
///
/// /// What a service answers whose own call needs a token.
/// fn answer(error: &TokenError) -> StatusCode {
///     if error.is_permanent() {
///         StatusCode::INTERNAL_SERVER_ERROR // somebody has to mend it
///     } else {
///         StatusCode::SERVICE_UNAVAILABLE // after `error.retry_after()`, or soon
///     }
/// }
/// ```
#[derive(Clone)]
pub struct TokenError(Arc<Failure>);

struct Failure {
    kind: TokenErrorKind,
    description: Option<Box<str>>,
    retry_after: Option<Duration>,
    /// The server's status said that it doesn't know the client.
    unauthenticated: bool,
}

/// Why a token could not be had.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TokenErrorKind {
    /// The server said no, and why (RFC 6749 §5.2).
    Refused(ErrorCode),
    /// The server answered with this status, and no reason.
    Status(StatusCode),
    /// The server's answer can't be used.
    Answer(AnswerFault),
    /// The server gave no answer.
    Transport(TransportErrorKind),
    /// The client's own secret or key could not be had.
    Credentials(SecretErrorKind),
    /// The token endpoint could not be found.
    Discovery(DiscoveryFault),
    /// The server granted less than was asked for, and all of it was required.
    MissingScopes(ScopeSet),
    /// It took too long.
    TimedOut,
    /// The runtime that fetched the token ended before it was there, or there was none: this crate
    /// works within a tokio runtime. A transport, store or provider that panics looks the same.
    NoRuntime,
}

/// The `error` of an error answer.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ErrorCode {
    /// `invalid_request`
    InvalidRequest,
    /// `invalid_client`: the secret is wrong, the client is unknown, or it may not authenticate in
    /// this way.
    InvalidClient,
    /// `invalid_grant`
    InvalidGrant,
    /// `unauthorized_client`: the client may not use the client-credentials grant.
    UnauthorizedClient,
    /// `unsupported_grant_type`
    UnsupportedGrantType,
    /// `invalid_scope`
    InvalidScope,
    /// `invalid_target` (RFC 8707 §2)
    InvalidTarget,
    /// `temporarily_unavailable`
    TemporarilyUnavailable,
    /// `server_error`
    ServerError,
    /// Any other, cut to 64 printable characters.
    Other(Box<str>),
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AnswerFault {
    /// It isn't a JSON object, or one of its members is of a wrong type: often a login page, or the
    /// page of a proxy.
    NotJson,
    /// It has no `access_token`.
    NoAccessToken,
    /// Its `access_token` has characters that can't be in a header (RFC 6750 §2.1).
    AccessTokenCharacters,
    /// It has no `token_type`.
    NoTokenType,
    /// Its `token_type` isn't `Bearer`.
    TokenType,
    /// It is a redirect, which isn't followed: it would carry the secret elsewhere.
    Redirect,
}

/// Why the token endpoint could not be found.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum DiscoveryFault {
    /// There is no metadata, neither of RFC 8414 nor of OpenID Connect.
    NoMetadata,
    /// What lies where the metadata should be can't be read.
    Unreadable,
    /// The metadata is that of another issuer.
    IssuerMismatch,
    /// The metadata names no token endpoint, or one that must not be used.
    TokenEndpoint,
    /// The server doesn't offer the chosen way of authentication, or its algorithm.
    AuthMethod,
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
        let unauthenticated = false;
        Self(Arc::new(Failure { kind, description, retry_after, unauthenticated }))
    }

    /// What a server said with this status.
    pub(crate) fn refused(
        code: ErrorCode,
        status: StatusCode,
        description: Option<Box<str>>,
        retry_after: Option<Duration>,
    ) -> Self {
        let unauthenticated = status == StatusCode::UNAUTHORIZED;
        let kind = TokenErrorKind::Refused(code);
        Self(Arc::new(Failure { kind, description, retry_after, unauthenticated }))
    }

    /// Returns what went wrong.
    pub fn kind(&self) -> &TokenErrorKind {
        &self.0.kind
    }

    /// Returns the server's own description, if it gave one that can be shown.
    pub fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }

    /// Returns when the server asked to come back, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Tells whether asking again won't help until somebody changes something: the secret, the
    /// registration of the client, the address. Everything else passes, or may pass, by itself.
    pub fn is_permanent(&self) -> bool {
        match &self.0.kind {
            TokenErrorKind::Refused(code) => {
                !matches!(code, ErrorCode::TemporarilyUnavailable | ErrorCode::ServerError)
            }
            TokenErrorKind::Status(status) => {
                // 408 Request Timeout, 425 Too Early, 429 Too Many Requests.
                !status.is_server_error() && !matches!(status.as_u16(), 408 | 425 | 429)
            }
            TokenErrorKind::Answer(fault) => !matches!(fault, AnswerFault::NotJson),
            TokenErrorKind::Discovery(_) | TokenErrorKind::MissingScopes(_) => true,
            TokenErrorKind::Credentials(kind) => matches!(kind, SecretErrorKind::Malformed),
            TokenErrorKind::Transport(_) | TokenErrorKind::TimedOut | TokenErrorKind::NoRuntime => {
                false
            }
        }
    }

    pub(crate) fn cause(&self) -> Cause {
        Cause { permanent: self.is_permanent(), retry_after: self.0.retry_after }
    }

    /// Tells whether another secret could help.
    pub(crate) fn blames_credentials(&self) -> bool {
        match &self.0.kind {
            TokenErrorKind::Credentials(_)
            | TokenErrorKind::Refused(ErrorCode::InvalidClient)
            // So Keycloak calls a wrong secret, with 400 or 401.
            | TokenErrorKind::Refused(ErrorCode::UnauthorizedClient) => true,
            // Others have codes of their own, such as `access_denied`.
            TokenErrorKind::Refused(_) => self.0.unauthenticated,
            // Some servers give no reason.
            TokenErrorKind::Status(status) => {
                matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            }
            _ => false,
        }
    }

    /// Tells whether the token endpoint may have moved.
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
            TokenErrorKind::Transport(_) => "transport",
            TokenErrorKind::Credentials(_) => "credentials",
            TokenErrorKind::Discovery(_) => "discovery",
            TokenErrorKind::MissingScopes(_) => "missing_scopes",
            TokenErrorKind::NoRuntime => "no_runtime",
        }
    }
}

impl ErrorCode {
    /// Takes an `error` that was made printable.
    pub(crate) fn from_text(code: &str) -> Self {
        match code {
            "invalid_request" => Self::InvalidRequest,
            "invalid_client" => Self::InvalidClient,
            "invalid_grant" => Self::InvalidGrant,
            "unauthorized_client" => Self::UnauthorizedClient,
            "unsupported_grant_type" => Self::UnsupportedGrantType,
            "invalid_scope" => Self::InvalidScope,
            "invalid_target" => Self::InvalidTarget,
            "temporarily_unavailable" => Self::TemporarilyUnavailable,
            "server_error" => Self::ServerError,
            other => Self::Other(other.into()),
        }
    }

    /// Returns the code as the server wrote it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(code) => code,
            known => known.label(),
        }
    }

    const fn label(&self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
            Self::Other(_) => "other",
        }
    }
}

impl fmt::Debug for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenError")
            .field("kind", &self.0.kind)
            .field("description", &self.0.description)
            .field("retry_after", &self.0.retry_after)
            .finish()
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no access token: {}", self.0.kind)?;
        match &self.0.description {
            Some(description) => write!(f, " ({description})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for TokenError {}

impl fmt::Display for TokenErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(code) => write!(f, "the server refused: {}", code.as_str()),
            Self::Status(status) => write!(f, "the server answered {}", status.as_u16()),
            Self::Answer(fault) => write!(f, "the server's answer can't be used: {fault}"),
            Self::Transport(kind) => write!(f, "{}", crate::transport::TransportError::new(*kind)),
            Self::Credentials(kind) => {
                write!(f, "{}", crate::client::credentials::SecretError::new(*kind))
            }
            Self::Discovery(fault) => write!(f, "{fault}"),
            Self::MissingScopes(scopes) => {
                write!(f, "the server didn't grant these scopes: {scopes}")
            }
            Self::TimedOut => f.write_str("it took too long"),
            Self::NoRuntime => {
                f.write_str("the fetch panicked, or its tokio runtime ended, or there is none")
            }
        }
    }
}

impl fmt::Display for AnswerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotJson => "it isn't the JSON of a token",
            Self::NoAccessToken => "it has no access_token",
            Self::AccessTokenCharacters => "its access_token has illegal characters",
            Self::NoTokenType => "it has no token_type",
            Self::TokenType => "its token_type isn't Bearer",
            Self::Redirect => "it is a redirect",
        })
    }
}

impl fmt::Display for DiscoveryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoMetadata => "the issuer's metadata wasn't found",
            Self::Unreadable => "the issuer's metadata can't be read",
            Self::IssuerMismatch => "the metadata found is that of another issuer",
            Self::TokenEndpoint => "the issuer's metadata names no usable token endpoint",
            Self::AuthMethod => "the issuer doesn't offer the chosen client authentication",
        })
    }
}

/// Makes a text of the server fit to be shown: printable ASCII without `"` and `\` (RFC 6749 §5.2),
/// no longer than `longest`.
pub(crate) fn printable(text: &str, longest: usize) -> Box<str> {
    let legal = |c: char| matches!(c, ' '..='!' | '#'..='[' | ']'..='~');
    text.chars().take(longest).map(|c| if legal(c) { c } else { '?' }).collect()
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
        for (status, permanent) in
            [(400, true), (401, true), (403, true), (404, true), (408, false), (429, false)]
        {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(error(TokenErrorKind::Status(status)).is_permanent(), permanent, "{status}");
        }
        for status in 500..=599 {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(!error(TokenErrorKind::Status(status)).is_permanent());
        }
        for kind in [TransportErrorKind::Timeout, TransportErrorKind::Connect] {
            assert!(!error(TokenErrorKind::Transport(kind)).is_permanent());
        }
    }

    // R11
    #[test]
    fn r11_what_the_server_says_is_made_printable() {
        assert_eq!(&*printable("all is well!", 256), "all is well!");
        assert_eq!(&*printable("a\r\nb\"c\\d\u{1b}[0mé\u{202e}", 256), "a??b?c?d?[0m??");
        assert_eq!(printable(&"x".repeat(1_000), 256).len(), 256);
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
