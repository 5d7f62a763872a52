//! The trait of a source of secrets, and its errors.

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
/// when its last answer has become old.
///
/// # Errors
///
/// [`secret`](Self::secret) fails with a [`SecretError`]. If there was a secret before, that one stays
/// in use; else the call that needs a token fails with
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
    /// Returns the current secret.
    fn secret(&self) -> SecretFuture<'_>;
}

impl<P: SecretProvider + ?Sized> SecretProvider for Arc<P> {
    fn secret(&self) -> SecretFuture<'_> {
        (**self).secret()
    }
}

/// A [`SecretProvider`] made of a function.
///
/// ```
/// use tower_bearer::Secret;
/// use tower_bearer::client::{ClientAuth, SecretError, SecretErrorKind, SecretFn};
///
/// # async fn read(_: &str) -> Result<String, std::io::Error> { Ok(String::new()) }
/// let auth = ClientAuth::basic("billing", SecretFn::new(|| async {
///     match read("oauth/billing").await {
///         Ok(secret) => Ok(Secret::new(secret)),
///         Err(error) => Err(SecretError::new(SecretErrorKind::Unavailable).with_source(error)),
///     }
/// }));
/// ```
#[derive(Clone)]
pub struct SecretFn<F>(F);

impl<F, R> SecretFn<F>
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = Result<Secret, SecretError>> + Send + 'static,
{
    /// Creates a provider that calls this function each time it is asked.
    pub const fn new(secret: F) -> Self {
        Self(secret)
    }
}

impl<F, R> SecretProvider for SecretFn<F>
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = Result<Secret, SecretError>> + Send + 'static,
{
    fn secret(&self) -> SecretFuture<'_> {
        Box::pin((self.0)())
    }
}

impl<F> fmt::Debug for SecretFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretFn").finish_non_exhaustive()
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
    /// There is no secret of that name.
    NotFound,
    /// The service or file that has it can't be reached, or didn't answer in time.
    Unavailable,
    /// The value that was found isn't a valid secret.
    Malformed,
    /// It is a platform's token that has expired, and there is no newer one.
    Expired,
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

    /// Creates an error for a value that isn't a valid secret, with the reason.
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
            Self::Unavailable => "the source of the client's secret can't be reached",
            Self::Malformed => "the value found isn't a valid client secret",
            Self::Expired => "the workload's token has expired, and there is no newer one",
            Self::Other => "the client's secret could not be read",
        })
    }
}

impl Error for SecretError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| &**cause as _)
    }
}
