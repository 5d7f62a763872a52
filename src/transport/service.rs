//! A transport that sends requests through any tower service of HTTP requests.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use tower_service::Service;

use crate::cause::Reason;
use crate::transport::contract::{
    Limits, Transport, TransportError, TransportErrorKind, TransportFuture,
};

type BoxError = Box<dyn Error + Send + Sync>;

/// Sends requests through any tower [`Service`] of HTTP requests, such as hyper-util's client, with
/// whatever layers around it.
///
/// Each request is sent through a clone of the service, once that is ready. [`Limits::timeout`] and
/// [`Limits::max_bytes`] are enforced. The rest is up to the service: it must follow no redirect and
/// decode no content coding that it hasn't asked for. [`Limits::connect_timeout`] isn't applied; set
/// one on the connector.
///
/// Which addresses a service dials isn't known: a request that may be sent to public addresses only
/// ([`Limits::public_addresses_only`]) is refused with [`TransportErrorKind::BlockedAddress`].
///
/// ```
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use hyper_util::client::legacy::Client;
/// use hyper_util::rt::TokioExecutor;
/// use tower_bearer::jwks::Jwks;
/// use tower_bearer::transport::ServiceTransport;
///
/// # let connector = hyper_util::client::legacy::connect::HttpConnector::new();
/// // `connector` is one for TLS.
/// let client = Client::builder(TokioExecutor::new()).build(connector);
/// let keys = Jwks::discover("https://issuer.example")
///     .transport(ServiceTransport::new(client))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ServiceTransport<S> {
    service: S,
}

impl<S> ServiceTransport<S> {
    /// Creates a transport that sends through this service.
    pub const fn new(service: S) -> Self {
        Self { service }
    }
}

impl<S> fmt::Debug for ServiceTransport<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceTransport")
    }
}

impl<S, B> Transport for ServiceTransport<S>
where
    S: Service<Request<ServiceBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    fn send(&self, request: Request<Bytes>, limits: Limits) -> TransportFuture {
        if limits.public_addresses_only {
            return Box::pin(std::future::ready(Err(TransportErrorKind::BlockedAddress.into())));
        }
        let service = self.service.clone();
        Box::pin(async move {
            tokio::time::timeout(limits.timeout, exchange(service, request, limits.max_bytes))
                .await
                .unwrap_or(Err(TransportErrorKind::Timeout.into()))
        })
    }
}

async fn exchange<S, B>(
    mut service: S,
    request: Request<Bytes>,
    max_bytes: usize,
) -> Result<Response<Bytes>, TransportError>
where
    S: Service<Request<ServiceBody>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    let uri = request.uri().clone();
    let failed = |error: BoxError| failure(&*error, &uri);
    poll_fn(|cx| service.poll_ready(cx)).await.map_err(|error| failed(error.into()))?;
    let request = request.map(|bytes| ServiceBody { bytes: Some(bytes) });
    let response = service.call(request).await.map_err(|error| failed(error.into()))?;
    let (parts, body) = response.into_parts();
    let mut body = pin!(body);
    let mut bytes = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|error| failed(error.into()))?;
        let Ok(mut data) = frame.into_data() else { continue };
        if data.remaining() > max_bytes.saturating_sub(bytes.len()) {
            return Err(TransportErrorKind::TooLarge.into());
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            bytes.extend_from_slice(chunk);
            let length = chunk.len();
            data.advance(length);
        }
    }
    Ok(Response::from_parts(parts, bytes.freeze()))
}

/// Maps an error and keeps its last source, since those before may name the URL. If that source names a part
/// of the URL as well, it is left out.
fn failure(error: &(dyn Error + 'static), uri: &Uri) -> TransportError {
    let mut causes: Vec<&(dyn Error + 'static)> = vec![error];
    while let Some(next) = causes.last().and_then(|last| within(*last)) {
        causes.push(next);
    }
    let kind = causes
        .iter()
        .find_map(|cause| kind(cause.downcast_ref::<io::Error>()?.kind()))
        .unwrap_or(TransportErrorKind::Other);
    let failed = TransportError::new(kind);
    let Some(last) = causes.last() else { return failed };
    let legal = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    let text: String = last.to_string().chars().take(256).map(legal).collect();
    let names = |part: &str| part.len() > 1 && text.contains(part);
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if [authority, uri.host().unwrap_or_default(), uri.path(), uri.query().unwrap_or_default()]
        .into_iter()
        .any(names)
    {
        return failed;
    }
    failed.with_source(Reason(text.into()))
}

/// Returns the source of an error, also one within an `io::Error`.
fn within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(within) => Some(within as _),
        None => error.source(),
    }
}

const fn kind(kind: io::ErrorKind) -> Option<TransportErrorKind> {
    match kind {
        io::ErrorKind::AddrNotAvailable
        | io::ErrorKind::ConnectionRefused
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable => Some(TransportErrorKind::Connect),
        io::ErrorKind::TimedOut => Some(TransportErrorKind::Timeout),
        // `rustls` reports a failed handshake with this kind.
        io::ErrorKind::InvalidData => Some(TransportErrorKind::Tls),
        _ => None,
    }
}

/// The body of a request that a [`ServiceTransport`] sends.
pub struct ServiceBody {
    bytes: Option<Bytes>,
}

impl Body for ServiceBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = self.bytes.take().filter(|bytes| !bytes.is_empty());
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.bytes.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
    }
}

/// Leaves the bytes out, which may hold a secret.
impl fmt::Debug for ServiceBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceBody").finish_non_exhaustive()
    }
}
