//! The token client: gets access tokens with the client-credentials grant, and keeps them.

mod credentials;
mod store;

pub use self::credentials::{SecretError, SecretErrorKind, SecretFuture, SecretProvider};
pub use self::store::{StoreError, StoreErrorKind, StoreFuture, TokenStore};
