//! The reasons why an introspection gave no verdict, with their codes and sentences.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::issuer::FaultKind;
use crate::transport::TransportErrorKind;

macro_rules! errors {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $summary:literal;)+) => {
        /// The reason why an introspection gave no verdict. It holds nothing of what was received.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum IntrospectionError {
            $($(#[$doc])* $variant,)+
            /// The status of the response was not 200.
            Status(u16),
        }

        impl IntrospectionError {
            /// Returns a stable, machine-readable code, for logs and metrics.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ Self::Status(_) => "http_error" }
            }

            const fn summary(self) -> &'static str {
                match self {
                    $(Self::$variant => $summary,)+
                    Self::Status(_) => "the answer had another status than 200",
                }
            }
        }
    };
}

errors! {
    /// The response took too long.
    Timeout = "timeout", "the answer took too long";
    /// The host name has no address.
    UnknownHost = "dns", "the host's name has no address";
    /// No connection could be established.
    Connect = "connect", "no connection could be made";
    /// No TLS session: the certificate isn't trusted, isn't for this host or isn't valid now, or the peer
    /// doesn't speak TLS.
    Tls = "tls", "no TLS session could be made, or the certificate isn't trusted";
    /// The address of the host isn't allowed.
    BlockedAddress = "blocked_ip", "the host's address must not be dialled";
    /// The connection broke, or the response wasn't HTTP.
    Exchange = "exchange", "the connection broke, or the answer wasn't HTTP";
    /// The response was longer than allowed.
    TooLarge = "too_large", "the answer was longer than allowed";
    /// The response had a content coding that wasn't requested.
    ContentEncoding = "content_encoding", "the answer came in a content coding that wasn't asked for";
    /// The response was a redirect, which is never followed.
    Redirect = "redirect", "the answer was a redirect, which is never followed";
    /// The authorization server refuses this service's own credentials (RFC 7662 §2.3).
    CredentialsRefused = "credentials_refused", "the authorization server refuses this service's own credentials";
    /// This service's own secret or key couldn't be read, or can't be used.
    Credentials = "credentials", "this service's own secret or key can't be read or used";
    /// The authorization server doesn't introspect tokens of this type (`unsupported_token_type`).
    UnsupportedTokenType = "unsupported_token_type", "the authorization server doesn't introspect tokens of this type";
    /// No address had metadata of an authorization server that can be read.
    NoMetadata = "no_metadata", "no address had metadata of an authorization server that can be read";
    /// The metadata is that of another issuer (RFC 8414 §3.3).
    IssuerMismatch = "issuer_mismatch", "the metadata found is that of another issuer";
    /// No metadata has an `introspection_endpoint` that can be used: set it with
    /// [`Introspection::endpoint`](crate::introspection::Introspection::endpoint).
    NoEndpoint = "no_endpoint", "no metadata names an introspection_endpoint that may be used";
    /// The response wasn't one JSON object.
    NotJson = "parse", "the answer wasn't one JSON object";
    /// `active` is absent, or neither `true` nor `false` (RFC 7662 §2.2).
    NoVerdict = "no_verdict", "the answer's active is neither true nor false";
    /// A member of the response has the wrong type.
    MalformedMember = "malformed_member", "a member of the answer has the wrong type";
    /// A signed response was requested (RFC 9701), and an unsigned one received.
    NotSigned = "not_signed", "the answer isn't signed, though a signed one was asked for";
    /// The response is encrypted, which isn't supported: register this service without
    /// `introspection_encrypted_response_alg`.
    Encrypted = "encrypted", "the answer is encrypted, which isn't supported";
    /// The signed response isn't a JWT of the type `token-introspection+jwt` (RFC 9701 §5).
    WrongType = "wrong_type", "the signed answer isn't a JWT of the type token-introspection+jwt";
    /// The `alg` of the signed response isn't accepted.
    Algorithm = "algorithm", "the signed answer's alg isn't accepted";
    /// The signature of the signed response is invalid, or no key of the issuer matches it.
    Signature = "signature", "the signed answer's signature is invalid, or no key matches it";
    /// The issuer's keys, which verify signed responses, are unavailable.
    Keys = "keys", "the issuer's keys are unavailable";
    /// The signed response is from another issuer.
    WrongIssuer = "wrong_issuer", "the signed answer has another issuer";
    /// The signed response is for another resource server.
    WrongAudience = "wrong_audience", "the signed answer is for another resource server";
    /// The `iat` of the signed response is absent, more than 60 seconds ago, or in the future.
    NotFresh = "not_fresh", "the signed answer is too old, or has no valid iat";
    /// Too many introspections are in progress.
    Overloaded = "overloaded", "too many introspections are in progress";
    /// The circuit is open, since the authorization server has failed repeatedly.
    CircuitOpen = "circuit_open", "the authorization server has failed repeatedly";
    /// There is no Tokio runtime.
    NoRuntime = "no_runtime", "there is no Tokio runtime";
}

impl IntrospectionError {
    /// Returns `true` if the server or the connection failed, and not the answer about one token: callers,
    /// who choose the token, must not be able to open the circuit.
    pub(crate) const fn blames_the_server(self) -> bool {
        match self {
            // The last four: the token makes the request too long, or is refused by a filter.
            Self::Status(status) => !matches!(status, 400 | 413 | 414 | 422 | 431),
            Self::UnsupportedTokenType
            | Self::NotJson
            | Self::NoVerdict
            | Self::MalformedMember
            | Self::TooLarge
            | Self::Overloaded
            | Self::CircuitOpen
            | Self::NoRuntime => false,
            _ => true,
        }
    }

    /// Returns `true` if the endpoint may have moved.
    pub(crate) const fn blames_the_address(self) -> bool {
        matches!(
            self,
            Self::Status(404 | 405 | 410) | Self::Redirect | Self::UnknownHost | Self::Connect
        )
    }

    /// Maps a fault of discovery.
    pub(crate) fn of(fault: &FaultKind) -> Self {
        match fault {
            FaultKind::Transport(error) => error.kind().into(),
            FaultKind::Status(status) => Self::Status(*status),
            FaultKind::Redirect => Self::Redirect,
            FaultKind::NotMetadata | FaultKind::Unreadable => Self::NoMetadata,
            FaultKind::Unacceptable => Self::NoEndpoint,
            FaultKind::IssuerMismatch(_) => Self::IssuerMismatch,
        }
    }
}

impl From<TransportErrorKind> for IntrospectionError {
    fn from(kind: TransportErrorKind) -> Self {
        match kind {
            TransportErrorKind::Timeout => Self::Timeout,
            TransportErrorKind::UnknownHost => Self::UnknownHost,
            TransportErrorKind::Connect => Self::Connect,
            TransportErrorKind::Tls => Self::Tls,
            TransportErrorKind::BlockedAddress => Self::BlockedAddress,
            TransportErrorKind::TooLarge => Self::TooLarge,
            TransportErrorKind::ContentEncoding => Self::ContentEncoding,
            TransportErrorKind::Credentials => Self::Credentials,
            TransportErrorKind::Other => Self::Exchange,
        }
    }
}

impl fmt::Display for IntrospectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{} ({status})", self.summary()),
            _ => f.write_str(self.summary()),
        }
    }
}

impl std::error::Error for IntrospectionError {}

impl Serialize for IntrospectionError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Status(status) => serializer.collect_str(&format_args!("http_error {status}")),
            _ => serializer.serialize_str(self.code()),
        }
    }
}

/// A failed introspection, with the delay before the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Trouble {
    pub(crate) error: IntrospectionError,
    /// The server's `Retry-After`, or how long the circuit stays open.
    pub(crate) retry_after: Option<Duration>,
}

impl From<IntrospectionError> for Trouble {
    fn from(error: IntrospectionError) -> Self {
        Self { error, retry_after: None }
    }
}
