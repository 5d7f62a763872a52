//! A refusal by whose fault it is: the caller's, the issuer's or the operator's.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::cause::{Cause, Report};
use crate::refusal::kind::{RejectionKind, UnavailableReason};
use crate::refusal::rejection::Rejection;

/// The reason why a request was refused.
///
/// The layer puts it into the extensions of the response, for logs and tests, whatever the
/// [renderer](crate::answer::Renderer) does:
///
/// ```
/// use tower_bearer::{Refusal, RejectionKind};
///
/// fn was_expired<B>(response: &http::Response<B>) -> bool {
///     match response.extensions().get::<Refusal>() {
///         Some(Refusal::Rejection(rejection)) => rejection.kind() == RejectionKind::Expired,
///         _ => false,
///     }
/// }
/// # assert!(!was_expired(&http::Response::new(())));
/// ```
#[derive(Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The caller's fault: no token, a bad one, or one that isn't allowed this.
    #[error(transparent)]
    Rejection(#[from] Rejection),
    /// Ours or the authorization server's: the token can't be checked at the moment.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The operator's: the service is misconfigured.
    #[error(transparent)]
    Misconfigured(#[from] Misconfigured),
}

impl Refusal {
    /// Returns a stable, machine-readable code, for logs and metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Rejection(rejection) => rejection.kind().code(),
            Self::Unavailable(unavailable) => unavailable.reason().code(),
            Self::Misconfigured(_) => "misconfigured",
        }
    }
}

/// `main` prints the `Debug` of the error that it returns.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Report(self))
    }
}

impl From<RejectionKind> for Refusal {
    fn from(kind: RejectionKind) -> Self {
        Self::Rejection(kind.into())
    }
}

/// A refusal because the issuer's keys, or its answer about the token, are missing or came too late.
/// The token may be valid.
///
/// [`source`](Error::source) is the error of the last attempt to fetch them, if there is one. Callers
/// don't learn it; the log has it. Two are equal if they differ in nothing else.
///
/// ```
/// use std::error::Error;
/// use tower_bearer::Unavailable;
/// use tower_bearer::jwks::{FetchError, FetchErrorKind};
///
/// fn is_blocked(unavailable: &Unavailable) -> bool {
///     let cause = unavailable.source().and_then(|cause| cause.downcast_ref::<FetchError>());
///     cause.is_some_and(|error| error.kind() == FetchErrorKind::BlockedAddress)
/// }
/// ```
#[derive(Clone)]
pub struct Unavailable {
    reason: UnavailableReason,
    retry_after: Duration,
    cause: Option<Cause>,
}

impl Unavailable {
    pub(crate) const fn new(reason: UnavailableReason, retry_after: Duration) -> Self {
        Self { reason, retry_after, cause: None }
    }

    /// Adds the cause, if it is known.
    pub(crate) fn because(self, cause: Option<Cause>) -> Self {
        Self { cause, ..self }
    }

    /// Returns why the token can't be checked.
    pub const fn reason(&self) -> UnavailableReason {
        self.reason
    }

    /// Returns how long to wait before the next try.
    pub const fn retry_after(&self) -> Duration {
        self.retry_after
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.summary())
    }
}

impl fmt::Debug for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Report(self))
    }
}

impl Error for Unavailable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| &**cause as _)
    }
}

impl PartialEq for Unavailable {
    fn eq(&self, other: &Self) -> bool {
        (self.reason, self.retry_after) == (other.reason, other.retry_after)
    }
}

impl Eq for Unavailable {}

/// A refusal because the service is misconfigured. The caller learns only the status.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Misconfigured {
    what: &'static str,
    types: Option<(&'static str, &'static str)>,
}

impl Misconfigured {
    pub(crate) const fn new(what: &'static str) -> Self {
        Self { what, types: None }
    }

    /// Names two types that should be the same.
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

impl fmt::Debug for Misconfigured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for Misconfigured {}
