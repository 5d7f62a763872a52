//! A Vault, and one of its secrets as a provider.

use std::fmt;
use std::sync::Arc;

use http::Uri;

use crate::clock::monotonic;
use crate::credentials::provider::{SecretError, SecretErrorKind, SecretFuture, SecretProvider};
use crate::credentials::vault::answer;
use crate::credentials::vault::path::encoded;
use crate::credentials::vault::server::{Failure, TIMEOUT};
use crate::credentials::vault::session::{Session, denial};
use crate::error::ConfigError;
use crate::secret::Secret;

/// A HashiCorp Vault, or an OpenBao, from whose key-value store (version 2) secrets are read.
///
/// It authenticates by a token in a file, which another process gets and renews, such as Vault's agent
/// ([`VaultBuilder::token_file`](crate::client::VaultBuilder::token_file)); or it logs in with the token of
/// the pod's service account ([`VaultBuilder::kubernetes`](crate::client::VaultBuilder::kubernetes)) when
/// the first secret is requested, and renews that login or logs in again once two thirds of its lease are
/// over. Clones, and the secrets of one `Vault`, share one login.
///
/// While the old login is valid, a secret is read with it if a new login takes longer than a second or fails;
/// the next is tried after ten seconds. If Vault denies one secret, the login stays in use for the others.
///
/// Redirects aren't followed, since they would carry the token elsewhere. A login or renewal that was started
/// is finished in a task of at most ten seconds, also if the caller is dropped: nothing else runs in the
/// background.
///
/// # Examples
///
/// ```no_run
/// # #[cfg(all(feature = "reqwest", feature = "aws-lc-rs"))]
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_bearer::client::{ClientAuth, Vault};
/// use tower_bearer::transport::ReqwestTransport;
///
/// let transport = ReqwestTransport::builder()
///     .root_certificates(std::fs::read("/etc/vault/ca.crt")?)
///     .build()?;
/// let vault = Vault::builder("https://vault.internal:8200")
///     .kubernetes("billing") // the role
///     .transport(transport)
///     .build()?;
/// // As `vault kv put -mount=secret oauth/billing client_secret=…` writes it.
/// let secret = vault.kv2("secret", "oauth/billing")?.json_field("client_secret");
/// let auth = ClientAuth::basic("billing", secret);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Vault(Arc<Session>);

impl Vault {
    pub(crate) fn of(session: Session) -> Self {
        Self(Arc::new(session))
    }

    /// Returns a provider of the secret at this path of the key-value store at this mount, without a
    /// request. Both are given without `data/`, which is added.
    ///
    /// # Errors
    ///
    /// If the mount or the path is empty, or has an empty segment, a dot segment or a control character.
    pub fn kv2(&self, mount: &str, path: &str) -> Result<VaultSecret, ConfigError> {
        let (encoded_mount, encoded_path) = (encoded("mount", mount)?, encoded("path", path)?);
        let uri = self.0.server.uri(&format!("{encoded_mount}/data/{encoded_path}"))?;
        Ok(VaultSecret { session: Arc::clone(&self.0), uri, field: None })
    }
}

/// One field of a secret's newest version in the key-value store (version 2) of a [`Vault`].
///
/// The secret is fetched each time it is requested. A
/// [`SecretSource`](crate::client::SecretSource) made from this keeps it for a while, asks again when a
/// server refuses it, and continues to use it while Vault is sealed, slow or down; where several tenants share
/// one secret, clone the source.
///
/// # Errors
///
/// [`SecretProvider::secret`] fails with
///
/// * [`NotFound`](SecretErrorKind::NotFound) if there is no such secret, or its newest version is deleted;
/// * [`Malformed`](SecretErrorKind::Malformed) if the field is missing, empty or not a string, if no field
///   is named and there are several, if the answer is larger than 256 KiB, or if the store is of version 1;
/// * [`Unavailable`](SecretErrorKind::Unavailable) if there is no answer within 4 seconds, login included,
///   or one that can't be read; if Vault is sealed, overloaded or a standby; or if the file with its token
///   or the service account's can't be used;
/// * [`Other`](SecretErrorKind::Other) if Vault refuses. A token that is denied access is read again from its
///   file, or replaced by a new login if it is older than 30 seconds, and the secret is requested once
///   more.
#[derive(Clone)]
pub struct VaultSecret {
    session: Arc<Session>,
    uri: Uri,
    field: Option<String>,
}

impl VaultSecret {
    /// Takes the string in this field. By default the secret must have only one field.
    #[must_use]
    pub fn json_field(mut self, name: impl Into<String>) -> Self {
        self.field = Some(name.into());
        self
    }

    async fn fetch(&self) -> Result<Secret, SecretError> {
        let now = monotonic();
        let by = now.checked_add(TIMEOUT).unwrap_or(now);
        let Session { server, .. } = &*self.session;
        let mut token = self.session.token(None, by).await?;
        let mut answer = server.ask(&self.uri, None, Some(&token), by).await;
        if matches!(answer, Err(Failure::Denied)) {
            token = self.session.token(Some(&token), by).await?;
            answer = server.ask(&self.uri, None, Some(&token), by).await;
        }
        match answer {
            Ok(answer) => answer::secret(answer, self.field.as_deref()),
            Err(Failure::Missing) => Err(SecretError::new(SecretErrorKind::NotFound)),
            Err(Failure::Denied) => Err(denial()),
            Err(Failure::Error(error)) => Err(error),
        }
    }
}

impl SecretProvider for VaultSecret {
    fn secret(&self) -> SecretFuture<'_> {
        Box::pin(self.fetch())
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("address", &self.0.server.base).finish_non_exhaustive()
    }
}

impl fmt::Debug for VaultSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultSecret")
            .field("path", &self.uri.path())
            .field("json_field", &self.field)
            .finish_non_exhaustive()
    }
}
