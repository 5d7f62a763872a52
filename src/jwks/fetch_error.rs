use std::fmt;

use serde::{Serialize, Serializer};

use crate::transport::{TransportError, TransportErrorKind};

/// Why a fetch brought no keys, by class: never what was received.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum FetchError {
    /// The exchange took too long.
    Timeout,
    /// The host's name has no address.
    UnknownHost,
    /// No connection could be made.
    Connect,
    /// No TLS session: the certificate isn't trusted, isn't for this host or isn't valid now, or
    /// what answers doesn't speak TLS.
    Tls,
    /// The host's address is one that must not be dialled.
    BlockedAddress,
    /// The connection broke midway, or the answer wasn't HTTP.
    Exchange,
    /// The answer was longer than allowed.
    TooLarge,
    /// The answer came in a content coding that wasn't asked for.
    ContentEncoding,
    /// The answer had another status than 200.
    Status(u16),
    /// The answer was a redirect that isn't followed.
    Redirect,
    /// No address had metadata of an authorization server.
    NoMetadata,
    /// The metadata is that of another issuer (RFC 8414 §3.3).
    IssuerMismatch,
    /// The metadata names no `jwks_uri` that may be fetched from.
    UnacceptableJwksUri,
    /// The answer wasn't a JWK set.
    NotAKeySet,
    /// The set had more keys than allowed.
    TooManyKeys,
    /// The set had no usable key. [`Status::refused_keys`](crate::jwks::Status::refused_keys) and the
    /// event `jwks_fetch_failed` have the reasons.
    NoUsableKey,
    /// The transport panicked.
    Panic,
    /// There is no Tokio runtime to fetch in.
    NoRuntime,
    /// The source was shut down.
    ShutDown,
}

impl FetchError {
    /// Returns a stable, machine-readable code, for logs and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::UnknownHost => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::BlockedAddress => "blocked_ip",
            Self::Exchange => "exchange",
            Self::TooLarge => "too_large",
            Self::ContentEncoding => "content_encoding",
            Self::Status(_) => "http_error",
            Self::Redirect => "redirect",
            Self::NoMetadata => "no_metadata",
            Self::IssuerMismatch => "issuer_mismatch",
            Self::UnacceptableJwksUri => "jwks_uri",
            Self::NotAKeySet => "parse",
            Self::TooManyKeys => "too_many_keys",
            Self::NoUsableKey => "no_usable_key",
            Self::Panic => "panic",
            Self::NoRuntime => "no_runtime",
            Self::ShutDown => "shut_down",
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{} {status}", self.code()),
            _ => f.write_str(self.code()),
        }
    }
}

impl std::error::Error for FetchError {}

impl From<TransportError> for FetchError {
    fn from(error: TransportError) -> Self {
        match error.kind() {
            TransportErrorKind::Timeout => Self::Timeout,
            TransportErrorKind::UnknownHost => Self::UnknownHost,
            TransportErrorKind::Connect => Self::Connect,
            TransportErrorKind::Tls => Self::Tls,
            TransportErrorKind::BlockedAddress => Self::BlockedAddress,
            TransportErrorKind::TooLarge => Self::TooLarge,
            TransportErrorKind::ContentEncoding => Self::ContentEncoding,
            TransportErrorKind::Other => Self::Exchange,
        }
    }
}

impl Serialize for FetchError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
