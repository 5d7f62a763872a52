use std::fmt;

use serde::{Serialize, Serializer};

use crate::issuer::FaultKind;
use crate::transport::TransportErrorKind;

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
    /// The transport's own credentials for the host can't be read.
    Credentials,
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
    /// No address had metadata of an authorization server: what lies there is something else, or
    /// can't be read. (Where nothing lies, it is `Status(404)`.)
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
            Self::Credentials => "credentials",
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

impl FetchError {
    /// Returns what went wrong, as a part of a sentence.
    pub(crate) const fn summary(self) -> &'static str {
        match self {
            Self::Timeout => "the answer took too long",
            Self::UnknownHost => "the host's name has no address",
            Self::Connect => "no connection could be made",
            Self::Tls => "no TLS session could be made, or the certificate isn't trusted",
            Self::BlockedAddress => "the host's address must not be dialled",
            Self::Credentials => "the transport's credentials for the host can't be read",
            Self::Exchange => "the connection broke, or the answer wasn't HTTP",
            Self::TooLarge => "the answer was longer than allowed",
            Self::ContentEncoding => "the answer came in a content coding that wasn't asked for",
            Self::Status(_) => "the answer had another status than 200",
            Self::Redirect => "the answer was a redirect that isn't followed",
            Self::NoMetadata => {
                "no address had metadata of an authorization server that can be read"
            }
            Self::IssuerMismatch => "the metadata found is that of another issuer",
            Self::UnacceptableJwksUri => "the metadata names no jwks_uri that may be fetched from",
            Self::NotAKeySet => "the answer wasn't a JWK set",
            Self::TooManyKeys => "the set had more keys than allowed",
            Self::NoUsableKey => "the set had no usable key",
            Self::Panic => "the transport panicked",
            Self::NoRuntime => "there is no Tokio runtime to fetch in",
            Self::ShutDown => "the source was shut down",
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

impl FetchError {
    /// Translates what the issuer's room reports.
    pub(crate) const fn of(fault: &FaultKind) -> Self {
        match fault {
            FaultKind::Transport(error) => match error.kind() {
                TransportErrorKind::Timeout => Self::Timeout,
                TransportErrorKind::UnknownHost => Self::UnknownHost,
                TransportErrorKind::Connect => Self::Connect,
                TransportErrorKind::Tls => Self::Tls,
                TransportErrorKind::BlockedAddress => Self::BlockedAddress,
                TransportErrorKind::TooLarge => Self::TooLarge,
                TransportErrorKind::ContentEncoding => Self::ContentEncoding,
                TransportErrorKind::Credentials => Self::Credentials,
                TransportErrorKind::Other => Self::Exchange,
            },
            FaultKind::Status(status) => Self::Status(*status),
            FaultKind::Redirect => Self::Redirect,
            FaultKind::NotMetadata | FaultKind::Unreadable => Self::NoMetadata,
            FaultKind::Unacceptable => Self::UnacceptableJwksUri,
            FaultKind::IssuerMismatch(_) => Self::IssuerMismatch,
        }
    }
}

impl Serialize for FetchError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
