//! The token client: gets access tokens with the client-credentials grant, and keeps them.

mod algorithm;
mod assertion;
mod attach;
mod attach_future;
mod attach_service;
mod authentication;
#[cfg(feature = "aws-secrets-manager")]
mod aws_secrets_manager;
mod backoff;
mod cache;
mod challenge;
mod core;
mod credentials;
mod der;
mod digest;
mod discovery;
mod endpoint;
mod error;
mod exchange;
mod expiry;
mod file;
mod flight;
mod form;
mod grant;
mod grant_builder;
mod origin;
mod pool;
mod private_key;
#[cfg(feature = "redis")]
mod redis;
mod replay;
mod request;
#[cfg(feature = "reqwest")]
mod reqwest;
mod response;
mod seal;
mod secret_source;
mod send_error;
mod shared;
mod sign;
mod store;
mod token;
mod token_client;
mod token_source;

pub use self::algorithm::AssertionAlgorithm;
pub use self::assertion::{Assertion, AssertionAudience};
pub use self::attach::AttachTokenLayer;
pub use self::attach_future::AttachFuture;
pub use self::attach_service::AttachToken;
pub use self::authentication::{BasicEncoding, ClientAuth};
#[cfg(feature = "aws-secrets-manager")]
#[cfg_attr(docsrs, doc(cfg(feature = "aws-secrets-manager")))]
pub use self::aws_secrets_manager::AwsSecretsManager;
pub use self::credentials::{SecretError, SecretErrorKind, SecretFuture, SecretProvider};
pub use self::error::{AnswerFault, DiscoveryFault, ErrorCode, TokenError, TokenErrorKind};
pub use self::file::FileSecret;
pub use self::grant::Grant;
pub use self::grant_builder::GrantBuilder;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::redis::RedisStore;
pub use self::replay::ReplayBody;
pub use self::secret_source::SecretSource;
pub use self::send_error::{OriginRefused, SendError};
pub use self::store::{StoreError, StoreErrorKind, StoreFuture, TokenStore};
pub use self::token::Token;
pub use self::token_client::{TokenClient, TokenClientBuilder};
pub use self::token_source::TokenSource;
