//! The trait of a store that several processes share, and its errors.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::cause::{Cause, Report};

/// The future of a [`TokenStore`]'s methods.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A cache that several processes share.
///
/// Keys are opaque ASCII: a prefix and a hexadecimal SHA-256. Values are opaque bytes, encrypted
/// before they come here. The caller bounds the time of each call, and continues without the store
/// when a call fails: a store neither retries nor hides a failure.
///
/// Removing and releasing compare and delete atomically. A store that can't do that may do nothing
/// instead: the value or the lock then expires.
///
/// # Errors
///
/// Each method fails with a [`StoreError`] if the store couldn't do what was asked. A missing value, a
/// different value and another process's lock are no failures.
///
/// # Examples
///
/// A store on top of a client that can get, set and "add if there is none", and no more:
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use tower_bearer::client::{StoreError, StoreErrorKind, StoreFuture, TokenStore};
///
/// # type Io<T> = Result<T, std::io::Error>;
/// # #[derive(Debug)]
/// # struct Memcached;
/// # impl Memcached {
/// #     async fn get(&self, _: &str) -> Io<Option<Vec<u8>>> { Ok(None) }
/// #     async fn set(&self, _: &str, _: Vec<u8>, _: Duration) -> Io<()> { Ok(()) }
/// #     async fn add(&self, _: &str, _: Vec<u8>, _: Duration) -> Io<bool> { Ok(true) }
/// # }
/// struct Store(Arc<Memcached>);
///
/// fn failed(error: std::io::Error) -> StoreError {
///     StoreError::new(StoreErrorKind::Unavailable).with_source(error)
/// }
///
/// impl TokenStore for Store {
///     fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
///         Box::pin(async move { self.0.get(key).await.map_err(failed) })
///     }
///
///     fn put<'a>(&'a self, key: &'a str, value: Vec<u8>, ttl: Duration) -> StoreFuture<'a, ()> {
///         Box::pin(async move { self.0.set(key, value, ttl).await.map_err(failed) })
///     }
///
///     fn lock<'a>(&'a self, key: &'a str, owner: &'a str, ttl: Duration) -> StoreFuture<'a, bool> {
///         Box::pin(async move { self.0.add(key, owner.into(), ttl).await.map_err(failed) })
///     }
///
///     // This store can't compare and delete: locks and refused tokens expire.
///     fn remove<'a>(&'a self, _: &'a str, _: &'a [u8]) -> StoreFuture<'a, ()> {
///         Box::pin(async { Ok(()) })
///     }
///
///     fn unlock<'a>(&'a self, _: &'a str, _: &'a str) -> StoreFuture<'a, ()> {
///         Box::pin(async { Ok(()) })
///     }
/// }
/// ```
pub trait TokenStore: Send + Sync + 'static {
    /// Returns the value, if there is one.
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<Vec<u8>>>;

    /// Sets the value, which expires after `ttl`.
    fn put<'a>(&'a self, key: &'a str, value: Vec<u8>, ttl: Duration) -> StoreFuture<'a, ()>;

    /// Removes the value only if it is still this one (compare and delete).
    fn remove<'a>(&'a self, key: &'a str, value: &'a [u8]) -> StoreFuture<'a, ()>;

    /// Takes the lock for `ttl` unless another process has it, and returns whether it was taken.
    ///
    /// `owner` is a random value that identifies the taker.
    fn lock<'a>(&'a self, key: &'a str, owner: &'a str, ttl: Duration) -> StoreFuture<'a, bool>;

    /// Releases the lock if `owner` still has it.
    fn unlock<'a>(&'a self, key: &'a str, owner: &'a str) -> StoreFuture<'a, ()>;
}

impl<S: TokenStore + ?Sized> TokenStore for Arc<S> {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        (**self).get(key)
    }

    fn put<'a>(&'a self, key: &'a str, value: Vec<u8>, ttl: Duration) -> StoreFuture<'a, ()> {
        (**self).put(key, value, ttl)
    }

    fn remove<'a>(&'a self, key: &'a str, value: &'a [u8]) -> StoreFuture<'a, ()> {
        (**self).remove(key, value)
    }

    fn lock<'a>(&'a self, key: &'a str, owner: &'a str, ttl: Duration) -> StoreFuture<'a, bool> {
        (**self).lock(key, owner, ttl)
    }

    fn unlock<'a>(&'a self, key: &'a str, owner: &'a str) -> StoreFuture<'a, ()> {
        (**self).unlock(key, owner)
    }
}

/// The error of a call to a [`TokenStore`].
///
/// Its `Display` holds neither keys nor values; [`source`](std::error::Error::source) is the cause, if
/// it is known.
#[derive(Clone)]
pub struct StoreError {
    kind: StoreErrorKind,
    cause: Option<Cause>,
}

/// The reason why a call to a store failed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// It didn't answer in time.
    Timeout,
    /// There is no connection to it.
    Unavailable,
    /// It has no room for another value.
    Full,
    /// It refuses the user name or password, or requires one.
    Authentication,
    /// It doesn't permit this user the command, or a key of this name.
    Permission,
    /// No TLS session with it could be established.
    Tls,
    /// No server of its cluster answers for the key, or it is a server of a cluster and was configured as a
    /// single server.
    Cluster,
    /// Anything else, such as an answer that can't be understood.
    Other,
}

impl StoreError {
    /// Creates an error of this kind.
    pub const fn new(kind: StoreErrorKind) -> Self {
        Self { kind, cause: None }
    }

    /// Adds the cause, which is logged and printed along with this error: it must hold neither keys
    /// nor values.
    #[must_use]
    pub fn with_source(self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into().into()), ..self }
    }

    /// Returns the reason.
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

/// Two are equal if they are of the same kind.
impl PartialEq for StoreError {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Eq for StoreError {}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Timeout => "the token store didn't answer in time",
            StoreErrorKind::Unavailable => "the token store can't be reached",
            StoreErrorKind::Full => "the token store is full",
            StoreErrorKind::Authentication => "the token store refuses the user name or password",
            StoreErrorKind::Permission => "the token store doesn't permit this user to do that",
            StoreErrorKind::Tls => "no TLS session with the token store could be established",
            StoreErrorKind::Cluster => "no server of the token store's cluster answers for the key",
            StoreErrorKind::Other => "the token store failed",
        })
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Report(self))
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| &**cause as _)
    }
}
