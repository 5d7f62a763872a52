//! The trait of a record of used proofs that several instances share.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::cause::{Cause, Report};

/// The future of [`ReplayStore::record`].
pub type ReplayFuture<'a> = Pin<Box<dyn Future<Output = Result<bool, ReplayError>> + Send + 'a>>;

/// A record of used proofs that several instances of a service share.
///
/// A call that takes longer than 100 milliseconds ([`Dpop::replay_timeout`]) counts as failed, and a
/// request whose proof can't be recorded is answered with 503: see
/// [`Dpop::dangerous_replay_fail_open`]. A store neither retries nor hides a failure.
///
/// [`Dpop::replay_timeout`]: crate::dpop::Dpop::replay_timeout
/// [`Dpop::dangerous_replay_fail_open`]: crate::dpop::Dpop::dangerous_replay_fail_open
///
/// # Examples
///
/// A store on top of a client that can "add if there is none":
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use tower_bearer::dpop::{ReplayError, ReplayFuture, ReplayStore};
///
/// # #[derive(Debug)]
/// # struct Memcached;
/// # impl Memcached {
/// #     async fn add(&self, _: &str, _: &[u8], _: Duration) -> Result<bool, std::io::Error> { Ok(true) }
/// # }
/// struct Store(Arc<Memcached>);
///
/// impl ReplayStore for Store {
///     fn record<'a>(&'a self, key: &'a str, ttl: Duration) -> ReplayFuture<'a> {
///         Box::pin(async move { self.0.add(key, b"1", ttl).await.map_err(ReplayError::new) })
///     }
/// }
/// ```
pub trait ReplayStore: Send + Sync + 'static {
    /// Adds the key for `ttl` unless it exists, in one step, and returns whether it was
    /// added: of any number of concurrent calls with one key, exactly one returns `true`.
    ///
    /// A key begins with `tower-bearer:dpop:`, continues with the service's audience and a colon, and ends
    /// with a hexadecimal SHA-256.
    ///
    /// # Errors
    ///
    /// If the store couldn't do it.
    fn record<'a>(&'a self, key: &'a str, ttl: Duration) -> ReplayFuture<'a>;
}

/// A [`ReplayStore`] could not record a proof.
///
/// [`source`](Error::source) is the cause.
#[derive(Clone)]
pub struct ReplayError {
    cause: Cause,
}

impl ReplayError {
    /// Creates an error with its cause, which is logged: it must not hold the key.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: cause.into().into() }
    }
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the replay store failed")
    }
}

impl fmt::Debug for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Report(self))
    }
}

impl Error for ReplayError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}
