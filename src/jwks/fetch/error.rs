//! Why an attempt to fetch keys failed, and what an operator can do about it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::cause::{Cause, Reason, Report};
use crate::issuer::FaultKind;
use crate::jose::KeySetError;
use crate::text::Excerpt;
use crate::transport::TransportErrorKind;

/// The error of an attempt to fetch an issuer's keys.
///
/// `Display` is a sentence without an address and without anything that was received;
/// [`source`](Error::source) is the cause, if it is known. It serializes as its
/// [code](Self::code), with the status if there was one. Two are equal if they are of the same kind.
#[derive(Clone)]
pub struct FetchError {
    kind: FetchErrorKind,
    cause: Option<Cause>,
}

/// The reason why an attempt failed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum FetchErrorKind {
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
    /// No address had metadata of an authorization server: what was found there is something else, or
    /// can't be read. (If nothing was found, it is `Status(404)`.)
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

impl FetchErrorKind {
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

impl FetchErrorKind {
    /// Returns what can be done about it: one sentence for the operator, in which "the address" is the one that
    /// was asked.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Timeout => {
                "check that a firewall lets the connection pass; JwksBuilder::timeout is how long an \
                 answer may take"
            }
            Self::UnknownHost => {
                "check the host of the address, and that this machine can resolve its name"
            }
            Self::Connect => {
                "check host and port of the address, and that a firewall lets the connection pass"
            }
            Self::Tls => {
                "trust the server's certificate authority (ReqwestTransport::builder().root_certificates), and \
                 use the host's name that the certificate has"
            }
            Self::BlockedAddress => {
                "the host must resolve to an allowed address; \
                 JwksBuilder::public_addresses_only allows public ones only"
            }
            Self::Credentials => "check where the transport's credentials are read from",
            Self::Exchange => {
                "check port and scheme of the address, that an HTTP server answers there, and any proxy in between"
            }
            Self::TooLarge => {
                "check the address; JwksBuilder::max_bytes is how long an answer may be"
            }
            Self::ContentEncoding => "have the server, or any proxy, send identity or gzip",
            Self::Status(_) => "check the address, path and all, and what the server logs",
            Self::Redirect => {
                "give the URL that it leads to as JWKS URL or metadata URL; JwksBuilder::redirects follows \
                 those within the same origin"
            }
            Self::NoMetadata => {
                "check the address, path and all; if the issuer has no metadata, give the key set's URL to \
                 Jwks::url"
            }
            Self::IssuerMismatch => {
                "give the issuer exactly as the metadata has it, trailing slash and all"
            }
            Self::UnacceptableJwksUri => {
                "have the metadata name an https address as jwks_uri, or give it to Jwks::url"
            }
            Self::NotAKeySet => "check the address: it must be that of the key set",
            Self::TooManyKeys => "raise JwksBuilder::max_keys",
            Self::NoUsableKey => {
                "have the issuer publish a supported signature key; Jwks::status says \
                 why each is ignored"
            }
            Self::Panic => "report it to the authors of the transport",
            Self::NoRuntime => "use the key source within a Tokio runtime",
            Self::ShutDown => "send no requests here any more: Jwks::shutdown was called",
        }
    }
}

impl FetchError {
    /// Returns the reason.
    pub const fn kind(&self) -> FetchErrorKind {
        self.kind
    }

    /// Returns a stable, machine-readable code, for logs and metrics.
    pub const fn code(&self) -> &'static str {
        self.kind.code()
    }

    /// Returns what can be done about it: one sentence for the operator.
    pub const fn remedy(&self) -> &'static str {
        self.kind.remedy()
    }

    /// Translates a fault of the room `issuer`.
    pub(crate) fn of(fault: &FaultKind) -> Self {
        let kind = match fault {
            FaultKind::Transport(error) => match error.kind() {
                TransportErrorKind::Timeout => FetchErrorKind::Timeout,
                TransportErrorKind::UnknownHost => FetchErrorKind::UnknownHost,
                TransportErrorKind::Connect => FetchErrorKind::Connect,
                TransportErrorKind::Tls => FetchErrorKind::Tls,
                TransportErrorKind::BlockedAddress => FetchErrorKind::BlockedAddress,
                TransportErrorKind::TooLarge => FetchErrorKind::TooLarge,
                TransportErrorKind::ContentEncoding => FetchErrorKind::ContentEncoding,
                TransportErrorKind::Credentials => FetchErrorKind::Credentials,
                TransportErrorKind::Other => FetchErrorKind::Exchange,
            },
            FaultKind::Status(status) => FetchErrorKind::Status(*status),
            FaultKind::Redirect => FetchErrorKind::Redirect,
            FaultKind::NotMetadata | FaultKind::Unreadable => FetchErrorKind::NoMetadata,
            FaultKind::Unacceptable => FetchErrorKind::UnacceptableJwksUri,
            FaultKind::IssuerMismatch(_) => FetchErrorKind::IssuerMismatch,
        };
        let cause: Option<Cause> = match fault {
            // The kind has the transport's own sentence.
            FaultKind::Transport(error) => error.cause(),
            FaultKind::IssuerMismatch(found) => {
                let found = Excerpt::new(found);
                Some(Arc::new(Reason(format!("its issuer is {found}").into())))
            }
            _ => None,
        };
        Self { kind, cause }
    }
}

impl From<FetchErrorKind> for FetchError {
    fn from(kind: FetchErrorKind) -> Self {
        Self { kind, cause: None }
    }
}

impl From<KeySetError> for FetchError {
    fn from(error: KeySetError) -> Self {
        match error {
            KeySetError::TooManyKeys => FetchErrorKind::TooManyKeys.into(),
            KeySetError::NotJson | KeySetError::NoKeysArray => {
                Self { kind: FetchErrorKind::NotAKeySet, cause: Some(Arc::new(error)) }
            }
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            FetchErrorKind::Status(status) => {
                return write!(f, "the answer had the status {status} instead of 200");
            }
            FetchErrorKind::Timeout => "the answer took too long",
            FetchErrorKind::UnknownHost => "the host's name has no address",
            FetchErrorKind::Connect => "no connection could be made",
            FetchErrorKind::Tls => "no TLS session could be made, or the certificate isn't trusted",
            FetchErrorKind::BlockedAddress => "the host's address must not be dialled",
            FetchErrorKind::Credentials => "the transport's credentials for the host can't be read",
            FetchErrorKind::Exchange => "the connection broke, or the answer wasn't HTTP",
            FetchErrorKind::TooLarge => "the answer was longer than allowed",
            FetchErrorKind::ContentEncoding => {
                "the answer came in a content coding that wasn't asked for"
            }
            FetchErrorKind::Redirect => "the answer was a redirect that isn't followed",
            FetchErrorKind::NoMetadata => {
                "no address had metadata of an authorization server that can be read"
            }
            FetchErrorKind::IssuerMismatch => "the metadata found is that of another issuer",
            FetchErrorKind::UnacceptableJwksUri => {
                "the metadata names no jwks_uri that may be fetched from"
            }
            FetchErrorKind::NotAKeySet => "the answer wasn't a JWK set",
            FetchErrorKind::TooManyKeys => "the set had more keys than allowed",
            FetchErrorKind::NoUsableKey => "the set had no usable key",
            FetchErrorKind::Panic => "the transport panicked",
            FetchErrorKind::NoRuntime => "there is no Tokio runtime to fetch in",
            FetchErrorKind::ShutDown => "the source was shut down",
        })
    }
}

/// `main` prints the `Debug` of the error that it returns.
impl fmt::Debug for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Report(self))
    }
}

impl Error for FetchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| &**cause as _)
    }
}

impl PartialEq for FetchError {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Eq for FetchError {}

impl Serialize for FetchError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.kind {
            FetchErrorKind::Status(status) => {
                serializer.collect_str(&format_args!("{} {status}", self.code()))
            }
            _ => serializer.serialize_str(self.code()),
        }
    }
}
