use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::cause::{Cause, Reason, Report};
use crate::secret::Secret;

/// The future of [`SecretProvider::secret`].
pub type SecretFuture<'a> = Pin<Box<dyn Future<Output = Result<Secret, SecretError>> + Send + 'a>>;

/// A source of the client's secret.
///
/// It is asked again after the authorization server has refused the secret (`invalid_client`), and
/// when what it gave before has become old.
///
/// # Errors
///
/// [`secret`](Self::secret) fails with a [`SecretError`]. If there was a secret before, that one is
/// used on; else the call that needs a token fails with
/// [`TokenErrorKind::Credentials`](crate::client::TokenErrorKind::Credentials).
///
/// # Examples
///
/// ```
/// use tower_bearer::Secret;
/// use tower_bearer::client::{
///     ClientAuth, SecretError, SecretErrorKind, SecretFuture, SecretProvider,
/// };
///
/// # struct Vault;
/// # impl Vault {
/// #     async fn read(&self, _: &str) -> Result<Option<Vec<u8>>, std::io::Error> { Ok(None) }
/// # }
/// struct FromVault(Vault);
///
/// impl SecretProvider for FromVault {
///     fn secret(&self) -> SecretFuture<'_> {
///         Box::pin(async {
///             match self.0.read("oauth/billing").await {
///                 Ok(Some(secret)) => Ok(Secret::new(secret)),
///                 Ok(None) => Err(SecretError::new(SecretErrorKind::NotFound)),
///                 Err(error) => Err(SecretError::new(SecretErrorKind::Unavailable).with_source(error)),
///             }
///         })
///     }
/// }
///
/// # fn example(vault: Vault) {
/// let auth = ClientAuth::basic("billing", FromVault(vault));
/// # }
/// ```
pub trait SecretProvider: Send + Sync + 'static {
    /// Returns the secret that is to be used from now on.
    fn secret(&self) -> SecretFuture<'_>;
}

impl<P: SecretProvider + ?Sized> SecretProvider for Arc<P> {
    fn secret(&self) -> SecretFuture<'_> {
        (**self).secret()
    }
}

/// The error of a [`SecretProvider`].
///
/// Its `Display` holds nothing of the secret; [`source`](std::error::Error::source) is the cause, if it
/// is known.
#[derive(Clone)]
pub struct SecretError {
    kind: SecretErrorKind,
    cause: Option<Cause>,
}

/// The reason why no secret was obtained.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SecretErrorKind {
    /// There is none by that name.
    NotFound,
    /// What keeps it can't be reached, or didn't answer in time.
    Unavailable,
    /// What was found can't be a secret.
    Malformed,
    /// Anything else, such as a permission that is missing.
    Other,
}

impl SecretError {
    /// Creates an error of this kind.
    pub const fn new(kind: SecretErrorKind) -> Self {
        Self { kind, cause: None }
    }

    /// Adds the cause, which is logged and printed along with this error: it must not hold the
    /// secret.
    #[must_use]
    pub fn with_source(self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into().into()), ..self }
    }

    /// What was found can't be the secret, for this reason.
    pub(crate) fn malformed(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(SecretErrorKind::Malformed).with_source(Reason(reason.into()))
    }

    /// Returns the reason.
    pub const fn kind(&self) -> SecretErrorKind {
        self.kind
    }
}

/// Two are equal if they are of the same kind.
impl PartialEq for SecretError {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Eq for SecretError {}

impl fmt::Debug for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Report(self))
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)
    }
}

impl fmt::Display for SecretErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "the client's secret was not found",
            Self::Unavailable => "what keeps the client's secret can't be reached",
            Self::Malformed => "what was found can't be the client's secret",
            Self::Other => "the client's secret could not be read",
        })
    }
}

impl Error for SecretError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| &**cause as _)
    }
}
