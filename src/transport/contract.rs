//! The `Transport` trait: what an implementation must do, its limits and its errors.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::cause::{Cause, Report};

/// The future of [`Transport::send`].
pub type TransportFuture =
    Pin<Box<dyn Future<Output = Result<http::Response<Bytes>, TransportError>> + Send>>;

/// The future of [`Transport::client_certificate_version`].
pub type VersionFuture<'a> = Pin<Box<dyn Future<Output = u64> + Send + 'a>>;

/// Sends one HTTP request and reads the whole answer, within limits.
///
/// An implementation must:
///
/// * follow no redirect (a 3xx is an answer like any other);
/// * end the whole exchange, connecting and reading included, within [`Limits::timeout`];
/// * stop reading, with [`TransportErrorKind::TooLarge`], once the body has more than
///   [`Limits::max_bytes`], counted after decompression;
/// * dial public addresses only if [`Limits::public_addresses_only`] is set, whatever the name resolves
///   to, or else refuse with [`TransportErrorKind::BlockedAddress`];
/// * send no cookies, and no credentials but those that the operator gave it for the request's origin.
pub trait Transport: Send + Sync + 'static {
    /// Sends `request`.
    fn send(&self, request: http::Request<Bytes>, limits: Limits) -> TransportFuture;

    /// Returns the version of the client certificate that new exchanges present: a number that changes
    /// with the certificate, or 0, the default, if it never changes while the process runs.
    ///
    /// The token client uses it to find out whether tokens that are bound to the certificate (RFC 8705
    /// §3) can still be used.
    fn client_certificate_version(&self) -> VersionFuture<'_> {
        Box::pin(std::future::ready(0))
    }
}

impl<T: Transport + ?Sized> Transport for Arc<T> {
    fn send(&self, request: http::Request<Bytes>, limits: Limits) -> TransportFuture {
        (**self).send(request, limits)
    }

    fn client_certificate_version(&self) -> VersionFuture<'_> {
        (**self).client_certificate_version()
    }
}

/// The default of how long connecting may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Bounds of one exchange.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// The most bytes that the body may have, after decompression.
    pub max_bytes: usize,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the whole exchange may take, connecting included.
    pub timeout: Duration,
    /// Whether only public addresses may be dialled, as for URLs that aren't from the operator's own
    /// configuration.
    pub public_addresses_only: bool,
}

impl Limits {
    /// Creates limits. Connecting may take the whole time, and all addresses are allowed except those
    /// that are always blocked.
    pub const fn new(max_bytes: usize, timeout: Duration) -> Self {
        Self { max_bytes, connect_timeout: timeout, timeout, public_addresses_only: false }
    }
}

/// The error of an exchange that yielded no usable response.
///
/// Its `Display` names neither the address nor anything that was received;
/// [`source`](Error::source) is the cause, if it is known. Two are equal if they are of the same kind.
#[derive(Clone)]
pub struct TransportError {
    kind: TransportErrorKind,
    cause: Option<Cause>,
}

/// The reason why an exchange yielded no usable answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// The exchange took longer than [`Limits::timeout`].
    Timeout,
    /// The host's name has no address, or the resolver failed.
    UnknownHost,
    /// No connection: refused, or unreachable.
    Connect,
    /// No TLS session: the server's certificate isn't trusted, isn't for this host or isn't valid
    /// now, or the peer doesn't speak TLS.
    Tls,
    /// Every address of the host is one that must not be dialled.
    BlockedAddress,
    /// The body was longer than [`Limits::max_bytes`].
    TooLarge,
    /// The answer came in a content coding that wasn't asked for.
    ContentEncoding,
    /// The transport's own credentials for the host can't be read.
    Credentials,
    /// Anything else, such as a connection that broke midway.
    Other,
}

impl TransportError {
    /// Creates an error of this kind.
    pub const fn new(kind: TransportErrorKind) -> Self {
        Self { kind, cause: None }
    }

    /// Adds the cause, which is logged and printed along with this error: it must not hold the
    /// address, nor anything of the request.
    #[must_use]
    pub fn with_source(self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into().into()), ..self }
    }

    /// Returns the reason.
    pub const fn kind(&self) -> TransportErrorKind {
        self.kind
    }

    pub(crate) fn cause(&self) -> Option<Cause> {
        self.cause.clone()
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TransportErrorKind::Timeout => "the exchange timed out",
            TransportErrorKind::UnknownHost => "the host's name has no address",
            TransportErrorKind::Connect => "no connection could be made",
            TransportErrorKind::Tls => {
                "no TLS session: the certificate isn't trusted, isn't for this host or isn't valid \
                 now, or the peer doesn't speak TLS"
            }
            TransportErrorKind::BlockedAddress => "the host's address must not be dialled",
            TransportErrorKind::TooLarge => "the answer is larger than allowed",
            TransportErrorKind::ContentEncoding => "the answer has a content coding not asked for",
            TransportErrorKind::Credentials => "the transport's credentials can't be read",
            TransportErrorKind::Other => "the exchange failed",
        })
    }
}

impl fmt::Debug for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Report(self))
    }
}

impl Error for TransportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| &**cause as _)
    }
}

impl PartialEq for TransportError {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Eq for TransportError {}

impl From<TransportErrorKind> for TransportError {
    fn from(kind: TransportErrorKind) -> Self {
        Self::new(kind)
    }
}
