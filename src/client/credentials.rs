use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::secret::Secret;

/// The future of [`SecretProvider::secret`].
pub type SecretFuture<'a> = Pin<Box<dyn Future<Output = Result<Secret, SecretError>> + Send + 'a>>;

/// Where the client's secret comes from.
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
///                 Err(_) => Err(SecretError::new(SecretErrorKind::Unavailable)),
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

/// A secret that could not be had. It holds nothing of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SecretError {
    kind: SecretErrorKind,
}

/// Why a secret could not be had.
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
        Self { kind }
    }

    /// Returns what went wrong.
    pub const fn kind(&self) -> SecretErrorKind {
        self.kind
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            SecretErrorKind::NotFound => "the client's secret was not found",
            SecretErrorKind::Unavailable => "what keeps the client's secret can't be reached",
            SecretErrorKind::Malformed => "what was found can't be the client's secret",
            SecretErrorKind::Other => "the client's secret could not be read",
        })
    }
}

impl std::error::Error for SecretError {}
