//! The error of getting a token on a caller's behalf, as the status that the caller is answered with.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use crate::cause::Report;
use crate::client::grant::error::{ErrorCode, TokenError, TokenErrorKind};

/// The error of getting a token on a caller's behalf, sorted by the answer for the caller.
///
/// [`source`](std::error::Error::source) is the [`TokenError`], which is for the logs and not for the
/// caller. `Authorized::on_behalf` answers as the layer does (feature `axum`).
///
/// ```
/// use http::StatusCode;
/// use tower_bearer::client::OnBehalfError;
///
/// fn answer(error: &OnBehalfError) -> StatusCode {
///     match error {
///         OnBehalfError::CallerRefused(_) => StatusCode::UNAUTHORIZED,
///         OnBehalfError::Forbidden(_) => StatusCode::FORBIDDEN,
///         _ => StatusCode::SERVICE_UNAVAILABLE, // after `error.retry_after()`, or soon
///     }
/// }
/// ```
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum OnBehalfError {
    /// The authorization server doesn't, or no longer, accept the caller's token: `invalid_grant`, or
    /// `invalid_request`, as RFC 8693 §2.2.2 has it, which a server may also say of a request that is
    /// wrong for other reasons; or the token has expired meanwhile.
    #[error("the authorization server doesn't accept the caller's token")]
    CallerRefused(#[source] TokenError),
    /// The caller may not have such a token: `invalid_target`, `invalid_scope`, `access_denied`,
    /// `consent_required`, `interaction_required`, or fewer scopes than required.
    #[error("the caller may not have a token for this target")]
    Forbidden(#[source] TokenError),
    /// This service, its registration or the authorization server is at fault.
    #[error("no token could be obtained on the caller's behalf")]
    Unavailable(#[source] TokenError),
}

impl OnBehalfError {
    /// Returns the status for the caller: 401, 403 or 503.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::CallerRefused(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Returns what went wrong.
    pub const fn token_error(&self) -> &TokenError {
        match self {
            Self::CallerRefused(error) | Self::Forbidden(error) | Self::Unavailable(error) => error,
        }
    }

    /// Returns the authorization server's `Retry-After`, if it sent one, or the time until a server that gives no
    /// answers is asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.token_error().retry_after()
    }
}

/// `main` prints the `Debug` of the error that it returns.
impl fmt::Debug for OnBehalfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Report(self))
    }
}

impl From<TokenError> for OnBehalfError {
    fn from(error: TokenError) -> Self {
        const OF_THE_CALLER: [&str; 4] =
            ["access_denied", "consent_required", "interaction_required", "login_required"];
        if is_about_client(&error) {
            return Self::Unavailable(error);
        }
        match error.kind() {
            TokenErrorKind::CallerExpired
            | TokenErrorKind::Refused(ErrorCode::InvalidGrant | ErrorCode::InvalidRequest) => {
                Self::CallerRefused(error)
            }
            TokenErrorKind::MissingScopes(_)
            | TokenErrorKind::Refused(ErrorCode::InvalidTarget | ErrorCode::InvalidScope) => {
                Self::Forbidden(error)
            }
            TokenErrorKind::Refused(ErrorCode::Other(code)) if OF_THE_CALLER.contains(&&**code) => {
                Self::Forbidden(error)
            }
            _ => Self::Unavailable(error),
        }
    }
}

/// Returns `true` if the server refuses this client, and not the caller. The status doesn't say which: some
/// servers report faults of the caller's token with 401, too.
pub(crate) fn is_about_client(error: &TokenError) -> bool {
    matches!(
        error.kind(),
        TokenErrorKind::Credentials(_)
            | TokenErrorKind::Refused(ErrorCode::InvalidClient | ErrorCode::UnauthorizedClient)
    )
}

/// Returns `true` if the server refuses this client whoever the caller is. `unauthorized_client` may be about
/// one caller: of a multi-tenant client, it says that the caller's tenant doesn't have it.
pub(crate) fn is_about_all_callers(error: &TokenError) -> bool {
    is_about_client(error)
        && !matches!(error.kind(), TokenErrorKind::Refused(ErrorCode::UnauthorizedClient))
}
