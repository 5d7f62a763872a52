//! The reasons why an introspection gave no verdict, with their codes, sentences and remedies.

use crate::issuer::FaultKind;
use crate::transport::TransportErrorKind;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $summary:literal, $remedy:literal;)+) => {
        /// The reason why an introspection gave no verdict.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum IntrospectionErrorKind {
            $($(#[$doc])* $variant,)+
            /// The status of the response was not 200.
            Status(u16),
        }

        impl IntrospectionErrorKind {
            /// Returns a stable, machine-readable code, for logs and metrics.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ Self::Status(_) => "http_error" }
            }

            pub(crate) const fn summary(self) -> &'static str {
                match self {
                    $(Self::$variant => $summary,)+
                    Self::Status(_) => "the answer had another status than 200",
                }
            }

            /// Returns what can be done about it: one sentence for the operator, in which "the address" is
            /// the one that was asked.
            pub const fn remedy(self) -> &'static str {
                match self {
                    $(Self::$variant => $remedy,)+
                    Self::Status(_) => "check the address, path and all, and what the server logs",
                }
            }
        }
    };
}

kinds! {
    /// The response took too long.
    Timeout = "timeout", "the answer took too long",
        "check that a firewall lets the connection pass; Introspection::timeout is how long an \
         answer may take";
    /// The host name has no address.
    UnknownHost = "dns", "the host's name has no address",
        "check the host of the address, and that this machine can resolve its name";
    /// No connection could be established.
    Connect = "connect", "no connection could be made",
        "check host and port of the address, and that a firewall lets the connection pass";
    /// No TLS session: the certificate isn't trusted, isn't for this host or isn't valid now, or the peer
    /// doesn't speak TLS.
    Tls = "tls", "no TLS session could be made, or the certificate isn't trusted",
        "trust the server's certificate authority \
         (ReqwestTransport::builder().root_certificates, given to Introspection::transport), \
         and use the host's name that the certificate has";
    /// The address of the host isn't allowed.
    BlockedAddress = "blocked_ip", "the host's address must not be dialled",
        "the host of the address must resolve to an allowed address";
    /// The connection broke, or the response wasn't HTTP.
    Exchange = "exchange", "the connection broke, or the answer wasn't HTTP",
        "check port and scheme of the address, that an HTTP server answers there, and any \
         proxy in between";
    /// The response was longer than allowed.
    TooLarge = "too_large", "the answer was longer than allowed",
        "check the address; an answer may have 64 KiB: have the issuer put less into it";
    /// The response had a content coding that wasn't requested.
    ContentEncoding = "content_encoding", "the answer came in a content coding that wasn't asked for",
        "have the server, or any proxy, send identity or gzip";
    /// The response was a redirect, which is never followed.
    Redirect = "redirect", "the answer was a redirect, which is never followed",
        "give the URL that it leads to, to Introspection::endpoint";
    /// The authorization server refuses this service's own credentials (RFC 7662 §2.3).
    CredentialsRefused = "credentials_refused", "the authorization server refuses this service's own credentials",
        "have the issuer accept the client id and secret or key that Introspection has, by \
         that method of authentication, and let this client introspect";
    /// This service's own secret or key couldn't be read, or can't be used.
    Credentials = "credentials", "this service's own secret or key can't be read or used",
        "check where the secret or key given to Introspection is read from, and the \
         transport's own credentials";
    /// The authorization server doesn't introspect tokens of this type (`unsupported_token_type`).
    UnsupportedTokenType = "unsupported_token_type", "the authorization server doesn't introspect tokens of this type",
        "the server introspects opaque tokens only: check its JWTs by their signatures, and \
         leave introspect_jwts out";
    /// No address had metadata of an authorization server that can be read.
    NoMetadata = "no_metadata", "no address had metadata of an authorization server that can be read",
        "check the issuer, path and all; if it has no metadata, give the endpoint's URL to \
         Introspection::endpoint";
    /// The metadata is that of another issuer (RFC 8414 §3.3).
    IssuerMismatch = "issuer_mismatch", "the metadata found is that of another issuer",
        "give the issuer exactly as the metadata has it, trailing slash and all";
    /// No metadata has an `introspection_endpoint` that can be used: set it with
    /// [`Introspection::endpoint`](crate::introspection::Introspection::endpoint).
    NoEndpoint = "no_endpoint", "no metadata names an introspection_endpoint that may be used",
        "have the metadata name an https address as introspection_endpoint, or give it to \
         Introspection::endpoint";
    /// The response wasn't one JSON object.
    NotJson = "parse", "the answer wasn't one JSON object",
        "check the address: it must be that of the introspection endpoint, which answers in JSON";
    /// `active` is absent, or neither `true` nor `false` (RFC 7662 §2.2).
    NoVerdict = "no_verdict", "the answer's active is neither true nor false",
        "check the address: it must be that of the introspection endpoint (RFC 7662)";
    /// A member of the response has the wrong type.
    MalformedMember = "malformed_member", "a member of the answer has the wrong type",
        "have the issuer send each member in its standard form; the event introspection_failed names it";
    /// A signed response was requested (RFC 9701), and an unsigned one received.
    NotSigned = "not_signed", "the answer isn't signed, though a signed one was asked for",
        "have the issuer sign its answers to this client (RFC 9701), or leave Introspection::signed out";
    /// The response is encrypted, which isn't supported: register this service without
    /// `introspection_encrypted_response_alg`.
    Encrypted = "encrypted", "the answer is encrypted, which isn't supported",
        "register this service without introspection_encrypted_response_alg";
    /// The signed response isn't a JWT of the type `token-introspection+jwt` (RFC 9701 §5).
    WrongType = "wrong_type", "the signed answer isn't a JWT of the type token-introspection+jwt",
        "have the issuer send answers of the type token-introspection+jwt, or leave \
         Introspection::signed out";
    /// The `alg` of the signed response isn't accepted.
    Algorithm = "algorithm", "the signed answer's alg isn't accepted",
        "if the issuer signs answers with this algorithm, add it to Introspection::signed_algorithms";
    /// The signature of the signed response is invalid, or no key of the issuer matches it.
    Signature = "signature", "the signed answer's signature is invalid, or no key matches it",
        "have the issuer publish the key that it signs answers with; Jwks::status lists the keys";
    /// The issuer's keys, which verify signed responses, are unavailable.
    Keys = "keys", "the issuer's keys are unavailable",
        "make the issuer's keys reachable from here; the event jwks_fetch_failed has the cause";
    /// The signed response is from another issuer.
    WrongIssuer = "wrong_issuer", "the signed answer has another issuer",
        "give the issuer exactly as its signed answers have it as iss, trailing slash and all";
    /// The signed response is for another resource server.
    WrongAudience = "wrong_audience", "the signed answer is for another resource server",
        "give Introspection::signed_audience what the signed answers have as aud";
    /// The `iat` of the signed response is absent, more than 60 seconds ago, or in the future.
    NotFresh = "not_fresh", "the signed answer is too old, or has no valid iat",
        "synchronize the clock that is wrong: a signed answer may be 60 seconds old";
    /// Too many introspections are in progress.
    Overloaded = "overloaded", "too many introspections are in progress",
        "nothing, if callers make up tokens; else raise Introspection::concurrent or waiting, \
         or remember answers longer with ttl";
    /// The circuit is open, since the authorization server has failed repeatedly.
    CircuitOpen = "circuit_open", "the authorization server has failed repeatedly",
        "see the failures before: the endpoint is tried once a second until it answers";
    /// There is no Tokio runtime.
    NoRuntime = "no_runtime", "there is no Tokio runtime",
        "use the validator within a Tokio runtime";
}

impl IntrospectionErrorKind {
    /// Returns `true` if the server or the connection failed, and not the answer about one token: callers,
    /// who choose the token, must not be able to open the circuit.
    pub(crate) const fn blames_the_server(self) -> bool {
        match self {
            // The token makes the request too long, or is refused by a filter.
            Self::Status(status) => !matches!(status, 400 | 403 | 406 | 413 | 414 | 422 | 431),
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
            FaultKind::Transport(error) => Self::from(error.kind()).of_metadata(),
            FaultKind::Status(status) => Self::Status(*status).of_metadata(),
            FaultKind::Redirect => Self::Redirect,
            FaultKind::NotMetadata | FaultKind::Unreadable => Self::NoMetadata,
            FaultKind::Unacceptable => Self::NoEndpoint,
            FaultKind::IssuerMismatch(_) => Self::IssuerMismatch,
        }
    }
}

impl IntrospectionErrorKind {
    /// Of metadata, no fault is about a token.
    const fn of_metadata(self) -> Self {
        if self.blames_the_server() { self } else { Self::NoMetadata }
    }
}

impl From<TransportErrorKind> for IntrospectionErrorKind {
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
