use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::UnixTime;
use crate::scope::ScopeSet;
use crate::text::{Excerpt, Excerpts};

/// Why a request was not let through.
///
/// The service puts it into the response's extensions, whatever the renderer made of it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The caller's fault: no token, a bad one, or one that isn't allowed this.
    #[error(transparent)]
    Rejection(#[from] Rejection),
    /// Ours or the authorization server's: nothing could be said about the token.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The operator's: the service is put together wrongly.
    #[error(transparent)]
    Misconfigured(#[from] Misconfigured),
}

impl Refusal {
    /// Returns a stable, machine-readable code, for logs and metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Rejection(rejection) => rejection.kind.code(),
            Self::Unavailable(unavailable) => unavailable.reason.code(),
            Self::Misconfigured(_) => "misconfigured",
        }
    }
}

impl From<RejectionKind> for Refusal {
    fn from(kind: RejectionKind) -> Self {
        Self::Rejection(kind.into())
    }
}

/// A refusal that is the caller's fault.
///
/// `Display` is for the operator: it tells what was compared when that failed, and never
/// the token. Callers are told no more than the closed list of descriptions in the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    kind: RejectionKind,
    detail: Detail,
}

impl Rejection {
    pub(crate) const fn new(kind: RejectionKind) -> Self {
        Self { kind, detail: Detail::None }
    }

    pub(crate) const fn with(kind: RejectionKind, detail: Detail) -> Self {
        Self { kind, detail }
    }

    /// Returns what kind of refusal this is.
    pub const fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// Returns what was compared.
    pub const fn detail(&self) -> &Detail {
        &self.detail
    }
}

impl From<RejectionKind> for Rejection {
    fn from(kind: RejectionKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.summary())?;
        match &self.detail {
            Detail::None => Ok(()),
            Detail::Note(note) => write!(f, ": {note}"),
            Detail::Compared { expected, presented } => {
                write!(f, ": expected {expected:?}, presented {presented}")
            }
            Detail::Audience { expected, presented } => {
                write!(f, ": expected ")?;
                for (at, audience) in expected.iter().enumerate() {
                    write!(f, "{}{audience:?}", if at == 0 { "" } else { " or " })?;
                }
                write!(f, ", presented {presented}")
            }
            Detail::Presented(presented) => write!(f, ": presented {presented}"),
            Detail::Value { claim, presented } => write!(f, ": {claim} is {presented}"),
            Detail::Key { kid, algorithm, known } => {
                match kid {
                    Some(kid) => write!(f, ": kid {kid}")?,
                    None => write!(f, ": no kid")?,
                }
                let known = if known.is_empty() { "none" } else { known };
                write!(f, " with alg {algorithm}, known keys: {known}")
            }
            Detail::Unreadable { reason } => {
                write!(f, ": the application's own claims can't be read: {reason}")
            }
            Detail::Claim(claim) => write!(f, ": {claim}"),
            Detail::Time { claim, value, now } => write!(f, ": {claim} {value}, now {now}"),
            Detail::Scopes { needed } => write!(f, ": needs \"{needed}\""),
            Detail::NotListed { request } => {
                write!(f, ": the route table has no entry for {request}")
            }
        }
    }
}

impl std::error::Error for Rejection {}

/// What a [`Rejection`] compared: both sides, as far as there are two.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Detail {
    /// There is nothing more to say.
    None,
    /// A fixed remark.
    #[non_exhaustive]
    Note(&'static str),
    /// Two strings that should have been the same.
    #[non_exhaustive]
    Compared {
        /// What is configured.
        expected: Arc<str>,
        /// The beginning of what the token says.
        presented: Excerpt,
    },
    /// The audiences.
    #[non_exhaustive]
    Audience {
        /// Those that are accepted.
        expected: Arc<[Arc<str>]>,
        /// Those of the token.
        presented: Excerpts,
    },
    /// The beginning of what the token says.
    #[non_exhaustive]
    Presented(Excerpt),
    /// The beginning of what a claim says.
    #[non_exhaustive]
    Value {
        /// The claim's name.
        claim: &'static str,
        /// The beginning of its value.
        presented: Excerpt,
    },
    /// The key that the token names, and those that there are.
    #[non_exhaustive]
    Key {
        /// The token's `kid`.
        kid: Option<Excerpt>,
        /// The token's `alg`.
        algorithm: &'static str,
        /// The first few keys of the issuer's set: the `kid` of each, cut and made printable, with its
        /// `alg`, or its `kty` if it has none.
        known: Arc<str>,
    },
    /// What the application's own claims couldn't be read for.
    #[non_exhaustive]
    Unreadable {
        /// The message of their `Deserialize`, such as ``missing field `tenant_id` ``, at most 200
        /// bytes of printable ASCII. What the token says is left out of it; what a message of the
        /// application's own quotes is, too.
        reason: Arc<str>,
    },
    /// The name of the claim or header parameter in question.
    #[non_exhaustive]
    Claim(&'static str),
    /// A time that has passed, or hasn't come.
    #[non_exhaustive]
    Time {
        /// The claim's name.
        claim: &'static str,
        /// The claim's value.
        value: UnixTime,
        /// The time that it was held against.
        now: UnixTime,
    },
    /// The scopes that would have sufficed.
    #[non_exhaustive]
    Scopes {
        /// A smallest set of scopes with which the request would have passed.
        needed: Arc<ScopeSet>,
    },
    /// The route table has no entry for the request, and the layer's access lets no token in.
    #[non_exhaustive]
    NotListed {
        /// The beginning of the request's method and full path.
        request: Excerpt,
    },
}

macro_rules! codes {
    ($(#[$enum_doc:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $code:literal, $summary:literal;)+ }) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Returns a stable, machine-readable code, for logs and metrics.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            const fn summary(self) -> &'static str {
                match self { $(Self::$variant => $summary,)+ }
            }
        }
    };
}

codes! {
    /// The kinds of [`Rejection`].
    RejectionKind {
        /// No bearer token came with the request.
        NoCredentials = "no_credentials", "the request has no bearer token";
        /// The `Authorization` field of the Bearer scheme breaks its grammar (RFC 6750 §2.1).
        MalformedCredentials = "malformed_credentials", "the Authorization field is malformed";
        /// More than one `Authorization` field, or more than one way to send a token.
        MultipleCredentials = "multiple_credentials", "more than one Authorization field was sent";
        /// The path can be read in two ways, and a route table is set.
        AmbiguousPath = "ambiguous_path", "the path can be read in two ways";
        /// The token is longer than allowed.
        TokenTooLong = "token_too_long", "the token is longer than allowed";
        /// The token isn't a compact JWS of two JSON objects (RFC 7515 §7.1, RFC 7519 §7.2).
        MalformedToken = "malformed_token", "the token isn't a well-formed JWT";
        /// The token is encrypted (RFC 7516), or nested.
        EncryptedToken = "encrypted_token", "the token is encrypted or nested";
        /// `alg` isn't one that is accepted; `none` never is.
        UnsupportedAlgorithm = "unsupported_algorithm", "the token's alg isn't accepted";
        /// The header has a critical extension (RFC 7515 §4.1.11) or one that changes the signature.
        UnsupportedCritical = "unsupported_critical", "the token's header has a critical extension";
        /// The token says that it is no access token: by the header's `typ`, by a claim `typ` or
        /// `token_use`, or by the `events` of a security event (RFC 8417), such as a logout.
        WrongType = "wrong_type", "the token's type isn't accepted";
        /// The token is an ID token: it has a claim that only ID tokens have (`at_hash`, `c_hash`,
        /// `s_hash`), or one that says so (`typ`, `token_use`).
        IdToken = "id_token", "the token is an ID token";
        /// The token is bound to a key or certificate (`cnf`), and was sent as a mere bearer token.
        SenderConstrained = "sender_constrained", "the token is bound to a key that wasn't shown";
        /// No key of the issuer has the token's `kid`, for this `alg`.
        UnknownKey = "unknown_key", "no key of the issuer fits the token";
        /// The token has no `kid`, and too many keys would fit.
        AmbiguousKey = "ambiguous_key", "the token has no kid and too many keys fit";
        /// The signature doesn't hold.
        BadSignature = "bad_signature", "the token's signature doesn't hold";
        /// `iss` isn't the configured issuer.
        WrongIssuer = "wrong_issuer", "the token has another issuer";
        /// `aud` doesn't hold the configured audience.
        WrongAudience = "wrong_audience", "the token is for another audience";
        /// `exp` has passed.
        Expired = "expired", "the token has expired";
        /// `nbf` hasn't come; nor has `iat`, where there is a greatest age.
        NotYetValid = "not_yet_valid", "the token isn't valid yet";
        /// `iat` is longer ago than the configured maximum.
        TooOld = "too_old", "the token was issued too long ago";
        /// A required claim is absent.
        MissingClaim = "missing_claim", "the token lacks a required claim";
        /// A claim isn't of its type.
        MalformedClaim = "malformed_claim", "a claim of the token is malformed";
        /// The token is valid but lacks a required scope.
        InsufficientScope = "insufficient_scope", "the token lacks a required scope";
        /// The token is valid, but nothing is allowed here.
        Denied = "denied", "no token is allowed here";
    }
}

codes! {
    /// Why nothing could be said about a token.
    UnavailableReason {
        /// No key of the issuer has ever been loaded.
        KeysNotLoaded = "keys_not_loaded", "no key of the issuer has been loaded yet";
        /// The keys are too old to be trusted, and couldn't be refreshed.
        KeysExpired = "keys_expired", "the issuer's keys are too old to be trusted";
        /// The token's key is unknown, and the refresh that may have brought it failed.
        RefreshFailed = "refresh_failed", "the issuer's keys couldn't be refreshed";
        /// The token's key is unknown, and the refresh took longer than a request may wait.
        RefreshTimedOut = "refresh_timed_out", "refreshing the issuer's keys takes too long";
        /// The token's key is unknown, and the issuer can't be asked again soon enough. Made-up
        /// `kid`s lead here, too: no reason for an alert.
        RateLimited = "rate_limited", "the issuer's keys can't be refreshed again yet";
        /// The token's key came, but the inner service wasn't ready before the gRPC call's deadline.
        ServiceNotReady = "service_not_ready", "the inner service isn't ready in time";
        /// The key source was shut down.
        ShutDown = "shut_down", "the key source was shut down";
    }
}

/// A refusal because the issuer's keys aren't there, or came too late. The token may well be valid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unavailable {
    reason: UnavailableReason,
    retry_after: Duration,
}

impl Unavailable {
    pub(crate) const fn new(reason: UnavailableReason, retry_after: Duration) -> Self {
        Self { reason, retry_after }
    }

    /// Returns what is missing.
    pub const fn reason(&self) -> UnavailableReason {
        self.reason
    }

    /// Returns when it is worth trying again.
    pub const fn retry_after(&self) -> Duration {
        self.retry_after
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.summary())
    }
}

impl std::error::Error for Unavailable {}

/// A refusal because the service is put together wrongly. The caller learns nothing of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Misconfigured {
    what: &'static str,
    types: Option<(&'static str, &'static str)>,
}

impl Misconfigured {
    pub(crate) const fn new(what: &'static str) -> Self {
        Self { what, types: None }
    }

    /// Tells of two types that should have been the same.
    #[cfg(feature = "axum")]
    pub(crate) const fn between(
        what: &'static str,
        one: &'static str,
        other: &'static str,
    ) -> Self {
        Self { what, types: Some((one, other)) }
    }
}

impl fmt::Display for Misconfigured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)?;
        match self.types {
            Some((one, other)) => write!(f, " ({one}, {other})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Misconfigured {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct() {
        let mut codes: Vec<_> = RejectionKind::ALL.iter().map(|kind| kind.code()).collect();
        codes.extend(UnavailableReason::ALL.iter().map(|reason| reason.code()));
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }
}
