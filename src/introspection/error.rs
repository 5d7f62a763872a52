use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::issuer::FaultKind;
use crate::transport::TransportErrorKind;

macro_rules! errors {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $summary:literal;)+) => {
        /// Why an introspection yielded no verdict about a token, by class: never what was received.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum IntrospectionError {
            $($(#[$doc])* $variant,)+
            /// The answer had another status than 200.
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
    /// The answer took too long.
    Timeout = "timeout", "the answer took too long";
    /// The host's name has no address.
    UnknownHost = "dns", "the host's name has no address";
    /// No connection could be made.
    Connect = "connect", "no connection could be made";
    /// No TLS session: the certificate isn't trusted, isn't for this host or isn't valid now, or what
    /// answers doesn't speak TLS.
    Tls = "tls", "no TLS session could be made, or the certificate isn't trusted";
    /// The host's address is one that must not be dialled.
    BlockedAddress = "blocked_ip", "the host's address must not be dialled";
    /// The connection broke midway, or the answer wasn't HTTP.
    Exchange = "exchange", "the connection broke, or the answer wasn't HTTP";
    /// The answer was longer than allowed.
    TooLarge = "too_large", "the answer was longer than allowed";
    /// The answer came in a content coding that wasn't asked for.
    ContentEncoding = "content_encoding", "the answer came in a content coding that wasn't asked for";
    /// The answer was a redirect, which is never followed.
    Redirect = "redirect", "the answer was a redirect, which is never followed";
    /// The authorization server refuses this service's own credentials (RFC 7662 §2.3).
    CredentialsRefused = "credentials_refused", "the authorization server refuses this service's own credentials";
    /// This service's own secret or key couldn't be read, or can't be used.
    Credentials = "credentials", "this service's own secret or key can't be read or used";
    /// The authorization server introspects no such tokens (`unsupported_token_type`).
    UnsupportedTokenType = "unsupported_token_type", "the authorization server introspects no such tokens";
    /// No address had metadata of an authorization server that can be read.
    NoMetadata = "no_metadata", "no address had metadata of an authorization server that can be read";
    /// The metadata is that of another issuer (RFC 8414 §3.3).
    IssuerMismatch = "issuer_mismatch", "the metadata found is that of another issuer";
    /// No metadata names an `introspection_endpoint` that may be used: give it by hand, with
    /// [`Introspection::endpoint`](crate::introspection::Introspection::endpoint).
    NoEndpoint = "no_endpoint", "no metadata names an introspection_endpoint that may be used";
    /// The answer wasn't one JSON object.
    NotJson = "parse", "the answer wasn't one JSON object";
    /// `active` is absent, or neither `true` nor `false` (RFC 7662 §2.2).
    NoVerdict = "no_verdict", "the answer's active is neither true nor false";
    /// A member of the answer isn't of its type.
    MalformedMember = "malformed_member", "a member of the answer isn't of its type";
    /// A signed answer was asked for (RFC 9701), and another came.
    NotSigned = "not_signed", "the answer isn't signed, though a signed one was asked for";
    /// The answer is encrypted, which RFC 9701 leaves optional and isn't supported: register this
    /// service without `introspection_encrypted_response_alg`.
    Encrypted = "encrypted", "the answer is encrypted, which isn't supported";
    /// The signed answer isn't a JWT of the type `token-introspection+jwt` (RFC 9701 §5).
    WrongType = "wrong_type", "the signed answer isn't a JWT of the type token-introspection+jwt";
    /// The signed answer's `alg` isn't one that is accepted.
    Algorithm = "algorithm", "the signed answer's alg isn't accepted";
    /// The signed answer's signature doesn't hold, or no key of the issuer fits it.
    Signature = "signature", "the signed answer's signature doesn't hold, or no key fits it";
    /// The issuer's keys, with which signed answers are checked, can't be had.
    Keys = "keys", "the issuer's keys can't be had";
    /// The signed answer is another issuer's.
    WrongIssuer = "wrong_issuer", "the signed answer has another issuer";
    /// The signed answer is for another resource server.
    WrongAudience = "wrong_audience", "the signed answer is for another resource server";
    /// The signed answer's `iat` is absent, longer ago than 60 seconds, or in the future.
    NotFresh = "not_fresh", "the signed answer is too old, or doesn't say when it was made";
    /// Too many tokens are being asked about.
    Overloaded = "overloaded", "too many tokens are being asked about";
    /// The authorization server has failed again and again, and is given a rest.
    CircuitOpen = "circuit_open", "the authorization server has failed again and again";
    /// There is no Tokio runtime to ask in.
    NoRuntime = "no_runtime", "there is no Tokio runtime to ask in";
}

impl IntrospectionError {
    /// Returns `true` if the server, or the way to it, is what failed, and not its answer about one
    /// token: callers who choose the token must not be able to bring that about.
    pub(crate) const fn blames_the_server(self) -> bool {
        match self {
            Self::Status(status) => status != 400,
            Self::UnsupportedTokenType
            | Self::NoVerdict
            | Self::MalformedMember
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

    /// Translates what discovery reports.
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

/// Why there is no verdict.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Trouble {
    pub(crate) error: IntrospectionError,
    /// What the server's `Retry-After` says, or how long the circuit stays open.
    pub(crate) retry_after: Option<Duration>,
}

impl From<IntrospectionError> for Trouble {
    fn from(error: IntrospectionError) -> Self {
        Self { error, retry_after: None }
    }
}
