//! The token client: gets access tokens with the client-credentials grant, and keeps them.

mod credentials;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
mod redis;
mod store;

pub use self::credentials::{SecretError, SecretErrorKind, SecretFuture, SecretProvider};
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::redis::RedisStore;
pub use self::store::{StoreError, StoreErrorKind, StoreFuture, TokenStore};
