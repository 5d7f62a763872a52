//! The reasons why no token was obtained, and the sentences that `Display` prints for them.

use std::fmt;

use http::StatusCode;

use crate::credentials::provider::SecretErrorKind;
use crate::scope::ScopeSet;
use crate::transport::TransportErrorKind;

/// The reason why no token was obtained.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TokenErrorKind {
    /// The server refused with an error code (RFC 6749 §5.2).
    Refused(ErrorCode),
    /// The server answered with this status and no error code.
    Status(StatusCode),
    /// The server's answer can't be used.
    Answer(AnswerFault),
    /// The server gave no answer.
    Transport(TransportErrorKind),
    /// The client's secret or key could not be read.
    Credentials(SecretErrorKind),
    /// The token endpoint could not be found.
    Discovery(DiscoveryFault),
    /// The server granted less than was asked for, and all of it was required.
    MissingScopes(ScopeSet),
    /// The caller's own access token expired before a token was obtained on the caller's behalf.
    CallerExpired,
    /// The fetch timed out.
    TimedOut,
    /// The caller's deadline passed before there was a token: that of its request, of its gRPC call
    /// (`grpc-timeout`), or of [`AttachTokenLayer::token_timeout`](crate::client::AttachTokenLayer::token_timeout).
    /// The fetch continues, and the next call may find its token.
    Deadline,
    /// The runtime that fetched the token ended before the fetch did, or there was none: this crate
    /// needs a tokio runtime that has timers. A transport, store or provider that panics looks the same.
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
    /// `unauthorized_client`: the client may not use this grant.
    UnauthorizedClient,
    /// `unsupported_grant_type`
    UnsupportedGrantType,
    /// `invalid_scope`
    InvalidScope,
    /// `invalid_target` (RFC 8707 §2)
    InvalidTarget,
    /// `invalid_dpop_proof` (RFC 9449 §5): the server wants a proof, or another one.
    InvalidDpopProof,
    /// `use_dpop_nonce` (RFC 9449 §8): the server wants a nonce in the proof. A nonce in the same answer is
    /// used at once; this is the error if the server then wants another, or sent none.
    UseDpopNonce,
    /// `temporarily_unavailable`
    TemporarilyUnavailable,
    /// `server_error`
    ServerError,
    /// Any other, cut to 64 printable characters.
    Other(Box<str>),
}

/// The reason why a token endpoint's response is not accepted.
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
    /// Its `token_type` is neither `Bearer` nor another that the grant accepts.
    TokenType,
    /// Its `token_type` is that of a bearer token, though the grant binds its tokens to a key (RFC 9449
    /// §5).
    Downgraded,
    /// It answers an exchange and has no `issued_token_type` (RFC 8693 §2.2.1).
    NoIssuedTokenType,
    /// Its `issued_token_type` isn't the one that was asked for, or isn't a type that is sent to services.
    IssuedTokenType,
    /// Its `scope` has more than was asked for, though the token was obtained by an exchange or with an
    /// assertion.
    WiderScope,
    /// It is a token with status 201, which the grant doesn't accept.
    Created,
    /// It is a redirect, which isn't followed: it would carry the secret elsewhere.
    Redirect,
}

/// The reason why the token endpoint was not discovered.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum DiscoveryFault {
    /// There is no metadata, neither of RFC 8414 nor of OpenID Connect.
    NoMetadata,
    /// The document at the metadata's address can't be read.
    Unreadable,
    /// The metadata is that of another issuer.
    IssuerMismatch,
    /// The metadata names no token endpoint, or one that must not be used.
    TokenEndpoint,
    /// The server doesn't offer the chosen way of authentication, or its algorithm.
    AuthMethod,
    /// The server doesn't take DPoP proofs of the key's algorithm.
    DpopAlgorithm,
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
            "invalid_dpop_proof" => Self::InvalidDpopProof,
            "use_dpop_nonce" => Self::UseDpopNonce,
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

    /// Returns `true` if the code is one of OAuth's, or of the server's own, that is permanent. Errors of
    /// proxies and frameworks aren't: they repeat the words of their status, such as `Not Found`, are
    /// sentences, or say that they don't know the address.
    pub(crate) fn is_permanent(&self, status: Option<StatusCode>) -> bool {
        let letters = |text: &str| -> String {
            text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
        };
        match self {
            Self::TemporarilyUnavailable | Self::ServerError => false,
            Self::Other(code) => {
                let is_sentence = code.contains(' ');
                let code = letters(code);
                let reason = status.and_then(|status| status.canonical_reason()).map(letters);
                let not_theirs = status.is_some_and(|it| matches!(it.as_u16(), 404 | 405 | 410));
                !code.is_empty() && !is_sentence && !not_theirs && reason != Some(code)
            }
            _ => true,
        }
    }

    pub(crate) const fn label(&self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
            Self::Other(_) => "other",
        }
    }
}

impl fmt::Display for TokenErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(code) if code.as_str().is_empty() => {
                f.write_str("the server refused, and its error code can't be shown")
            }
            Self::Refused(code) => write!(f, "the server refused: {}", code.as_str()),
            Self::Status(status) => write!(f, "the server answered {}", status.as_u16()),
            Self::Answer(fault) => write!(f, "the server's answer can't be used: {fault}"),
            Self::Transport(kind) => write!(f, "{}", crate::transport::TransportError::new(*kind)),
            Self::Credentials(kind) => kind.fmt(f),
            Self::Discovery(fault) => write!(f, "{fault}"),
            Self::MissingScopes(scopes) => {
                write!(f, "the server didn't grant these scopes: {scopes}")
            }
            Self::CallerExpired => f.write_str("the caller's token has expired"),
            Self::TimedOut => f.write_str("the fetch timed out"),
            Self::Deadline => f.write_str("none was obtained before the caller's deadline"),
            Self::NoRuntime => f.write_str(
                "the fetch panicked, or its tokio runtime ended, or there is none with timers",
            ),
        }
    }
}

impl fmt::Display for AnswerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotJson => "it isn't a token response in JSON",
            Self::NoAccessToken => "it has no access_token",
            Self::AccessTokenCharacters => "its access_token has illegal characters",
            Self::NoTokenType => {
                "it has no token_type (GrantBuilder::accept_missing_token_type takes it as Bearer)"
            }
            Self::TokenType => {
                "its token_type isn't Bearer (GrantBuilder::accept_token_type names another)"
            }
            Self::Downgraded => "it is a bearer token, although the request had a DPoP proof",
            Self::NoIssuedTokenType => "it has no issued_token_type",
            Self::IssuedTokenType => "its issued_token_type isn't the one that was asked for",
            Self::WiderScope => {
                "its scope is wider than what was asked for \
                 (GrantBuilder::dangerous_accept_wider_scope takes it)"
            }
            Self::Created => "it has status 201 (GrantBuilder::accept_created takes it as 200)",
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
            Self::DpopAlgorithm => "the issuer doesn't accept DPoP proofs of the key's algorithm",
        })
    }
}
