//! The layer and the service that end responses whose token has expired.

use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::error::ConfigError;
use crate::middleware::context::{Context, refuse};
use crate::middleware::deadline::body::{Deadline, DeadlineBody, Shared};
use crate::middleware::deadline::ending::{Ending, Endings, is_grpc};
use crate::middleware::deadline::future::DeadlineFuture;
use crate::middleware::deadline::wheel::Wheel;

/// Ends responses whose access token expires before they are complete.
///
/// A token is checked when a request begins. Streams continue for hours; this layer ends them when
/// the token would no longer be accepted: at `exp`, or at the validator's `max_age` if that is earlier,
/// plus the leeway.
///
/// | response | its end |
/// |---|---|
/// | `application/grpc` | the trailers `UNAUTHENTICATED` with the reason `ACCESS_TOKEN_EXPIRED`; the request's body ends with an error, which reaches a handler that reads it in a task of its own |
/// | `text/event-stream` | a clean end, after [`last_event`](Self::last_event) if that is set: `EventSource` reconnects, and gets the 401 |
/// | of a known length | none: it is completed, but see [`abort_downloads`](Self::abort_downloads) |
/// | any other | an error, which resets the stream or closes the connection, since a clean end would look like a complete response; but see [`finish_streams`](Self::finish_streams) |
///
/// What the handler holds for the response is dropped then. WebSockets aren't responses: see
/// [`AccessToken::expired`](crate::AccessToken::expired).
///
/// It belongs within a [`BearerAuthLayer`](crate::BearerAuthLayer), on the routes that stream, for
/// instance as an axum `route_layer`; without one it answers 500 and logs what is missing. Requests
/// without a token, where none is needed, pass unchanged.
///
/// One task keeps the deadlines of all streams: an idle stream is woken once, at its end. The wall clock
/// decides, and is read every minute, in case it was set or the machine slept. The inner service
/// takes requests with a [`DeadlineBody`], as axum's and tonic's routers do.
///
/// ```
/// # fn example(validator: tower_bearer::Validator) {
/// use axum::{Router, routing::get};
/// use tower_bearer::BearerAuthLayer;
/// use tower_bearer::middleware::StreamDeadlineLayer;
///
/// # async fn events() {}
/// let app: Router = Router::new()
///     .route("/events", get(events))
///     .route_layer(StreamDeadlineLayer::new())
///     .layer(BearerAuthLayer::new(validator));
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct StreamDeadlineLayer {
    endings: Endings,
}

impl StreamDeadlineLayer {
    /// Creates a layer with the endings of the table above.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends an event of this type, with empty data, before an event stream ends. It is left out if the
    /// stream is in the middle of an event.
    ///
    /// # Errors
    ///
    /// If the name is empty or contains a line end or NUL.
    pub fn last_event(mut self, name: &str) -> Result<Self, ConfigError> {
        if name.is_empty() || name.contains(['\r', '\n', '\0']) {
            return Err(ConfigError::new(
                "the name of the last event is empty or has a line end: use a word, such as \
                 token_expired",
            ));
        }
        self.endings.last_event = Some(Bytes::from(format!("event: {name}\ndata:\n\n")));
        Ok(self)
    }

    /// Aborts responses of a known length as well.
    #[must_use]
    pub fn abort_downloads(mut self) -> Self {
        self.endings.abort_sized = true;
        self
    }

    /// Completes responses of an unknown length that are neither gRPC nor event streams, even if their token
    /// expires meanwhile.
    #[must_use]
    pub fn finish_streams(mut self) -> Self {
        self.endings.finish_unsized = true;
        self
    }
}

impl<S> Layer<S> for StreamDeadlineLayer {
    type Service = StreamDeadline<S>;

    fn layer(&self, inner: S) -> StreamDeadline<S> {
        let common = Common { endings: self.endings.clone(), shared: OnceLock::new() };
        StreamDeadline { inner, common: Arc::new(common) }
    }
}

/// The service that a [`StreamDeadlineLayer`] makes.
#[derive(Clone, Debug)]
pub struct StreamDeadline<S> {
    inner: S,
    common: Arc<Common>,
}

#[derive(Debug)]
struct Common {
    endings: Endings,
    /// Created for the first token, since the clock is its validator's.
    shared: OnceLock<Arc<Shared>>,
}

impl<S, B, R> Service<Request<B>> for StreamDeadline<S>
where
    S: Service<Request<DeadlineBody<B>>, Response = Response<R>> + Clone,
    R: Body<Data = Bytes>,
{
    type Response = Response<DeadlineBody<R>>;
    type Error = S::Error;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let lifetime = match Context::find(request.extensions()) {
            Ok(context) => context.lifetime(),
            Err(refusal) => {
                // It isn't called: the readiness that it reserved is released.
                self.inner = self.inner.clone();
                let response = refuse(refusal, request.extensions(), (&request).into());
                return DeadlineFuture::refused(response);
            }
        };
        let until = lifetime.and_then(|lifetime| Some((lifetime.until()?, lifetime.clock())));
        let term = until.map(|(until, clock)| {
            let shared = self.common.shared.get_or_init(|| {
                let (endings, wheel) = (self.common.endings.clone(), Wheel::new(Arc::clone(clock)));
                Arc::new(Shared { endings, wheel: Arc::new(wheel) })
            });
            (until, Arc::clone(shared))
        });
        let deadline = term.clone().filter(|_| is_grpc(request.headers()));
        let deadline = deadline.map(|(until, shared)| Deadline::new(until, Ending::Abort, shared));
        let request = request.map(|body| DeadlineBody::new(body, deadline));
        DeadlineFuture::inner(self.inner.call(request), term)
    }
}
