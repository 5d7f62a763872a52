//! The token client: gets access tokens with the client-credentials grant, and keeps them.

#[cfg(feature = "aws-secrets-manager")]
mod aws_secrets_manager;
mod credentials;
mod file;
#[cfg(feature = "redis")]
mod redis;
mod store;

#[cfg(feature = "aws-secrets-manager")]
#[cfg_attr(docsrs, doc(cfg(feature = "aws-secrets-manager")))]
pub use self::aws_secrets_manager::AwsSecretsManager;
pub use self::credentials::{SecretError, SecretErrorKind, SecretFuture, SecretProvider};
pub use self::file::FileSecret;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::redis::RedisStore;
pub use self::store::{StoreError, StoreErrorKind, StoreFuture, TokenStore};
