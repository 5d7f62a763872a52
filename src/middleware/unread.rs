//! The layer that reads the rest of unread request bodies, so that HTTP/1.1 clients see refusals.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Buf as _;
use http::header::EXPECT;
use http::{Request, Version};
use http_body::{Body, Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tower_layer::Layer;
use tower_service::Service;

/// The most that is read of a body to keep its connection open.
const MAX_BYTES: usize = 256 * 1024;

/// How long the rest of a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads the rest of request bodies that were dropped unread, so that clients over HTTP/1.1 see why they
/// were refused.
///
/// A refusal doesn't wait for the request's body. Over HTTP/1.1, hyper then closes the connection once the
/// answer is sent, unless the whole body has already arrived: a client that is still writing finds the
/// connection broken, and some, such as those of Node, never read the answer.
///
/// With this layer around all others, the rest of such a body is read and discarded while the
/// answer is sent, and the connection can be used again. That ends after 256 KiB or 5 seconds, and the
/// connection is closed as it would be without. It doesn't matter whether this crate or a handler drops
/// the body.
///
/// Bodies over HTTP/2 and HTTP/3 are left alone, since there a stream ends without its connection; so are
/// those of clients that wait to be asked for them (`Expect: 100-continue`).
///
/// ```
/// # #[cfg(feature = "axum")]
/// # fn example(validator: tower_bearer::Validator) {
/// use axum::{Router, routing::post};
/// use tower_bearer::BearerAuthLayer;
/// use tower_bearer::middleware::UnreadBodyLayer;
///
/// let app: Router = Router::new()
///     .route("/upload", post(async |_: axum::body::Bytes| "done"))
///     .layer(BearerAuthLayer::new(validator))
///     .layer(UnreadBodyLayer::new()); // axum: the last is the outermost
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct UnreadBodyLayer;

impl UnreadBodyLayer {
    /// Creates the layer.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for UnreadBodyLayer {
    type Service = UnreadBodies<S>;

    fn layer(&self, inner: S) -> UnreadBodies<S> {
        UnreadBodies { inner }
    }
}

/// The service that an [`UnreadBodyLayer`] makes.
#[derive(Clone, Debug)]
pub struct UnreadBodies<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for UnreadBodies<S>
where
    S: Service<Request<UnreadBody<B>>>,
    B: Body + Send + Unpin + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        let is_read_on = request.version() <= Version::HTTP_11
            && !request.headers().contains_key(EXPECT)
            && !request.body().is_end_stream();
        self.inner.call(request.map(|body| UnreadBody { body: Some(body), is_read_on }))
    }
}

/// The body of a request that came through an [`UnreadBodyLayer`].
pub struct UnreadBody<B>
where
    B: Body + Send + Unpin + 'static,
{
    /// `None` only while it is dropped.
    body: Option<B>,
    is_read_on: bool,
}

impl<B> Body for UnreadBody<B>
where
    B: Body + Send + Unpin + 'static,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        // After its end, or an error, nothing follows.
        self.is_read_on &= matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl<B> Drop for UnreadBody<B>
where
    B: Body + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        let body = self.body.take().filter(|body| self.is_read_on && !body.is_end_stream());
        if let Some(body) = body
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(read_on(body));
        }
    }
}

impl<B> fmt::Debug for UnreadBody<B>
where
    B: Body + Send + Unpin + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnreadBody").finish_non_exhaustive()
    }
}

async fn read_on<B: Body + Unpin>(mut body: B) {
    let mut left = MAX_BYTES;
    let to_its_end = poll_fn(move |cx| {
        while let Some(Ok(frame)) = ready!(Pin::new(&mut body).poll_frame(cx)) {
            // An endless sequence of frames without data ends, too.
            let bytes = frame.data_ref().map_or(0, |data| data.remaining()).max(1);
            let Some(still) = left.checked_sub(bytes) else { break };
            left = still;
        }
        Poll::Ready(())
    });
    let _ = timeout(PATIENCE, to_its_end).await;
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the time is paused")]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use bytes::Bytes;
    use http::Response;
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    /// Comes in frames of this many bytes: so many of them, and then no end.
    struct Coming {
        size: usize,
        left: Arc<AtomicUsize>,
    }

    impl Body for Coming {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.left.load(SeqCst) {
                0 => Poll::Pending,
                left => {
                    self.left.store(left - 1, SeqCst);
                    Poll::Ready(Some(Ok(Frame::data(vec![0; self.size].into()))))
                }
            }
        }
    }

    /// Sends a body to a service that drops it, and returns how many frames were left when it was given
    /// up, and whether that took some time.
    async fn dropped(request: http::request::Builder, size: usize, frames: usize) -> (usize, bool) {
        let left = Arc::new(AtomicUsize::new(frames));
        let refusing = service_fn(async |_: Request<UnreadBody<Coming>>| {
            Ok::<_, Infallible>(Response::new(()))
        });
        let body = Coming { size, left: Arc::clone(&left) };
        let service = UnreadBodyLayer::new().layer(refusing);
        service.oneshot(request.body(body).unwrap()).await.unwrap();
        let began = tokio::time::Instant::now();
        while Arc::strong_count(&left) > 1 {
            assert!(began.elapsed() < Duration::from_secs(60), "it is kept");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        (left.load(SeqCst), began.elapsed() > Duration::from_secs(1))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_was_dropped_is_read_within_bounds() {
        let post = || Request::post("/");
        assert_eq!(dropped(post(), 1_000, 200).await, (0, true), "its end doesn't come");
        let frames = MAX_BYTES / 1_024;
        assert_eq!(dropped(post(), 1_024, frames).await, (0, true));
        assert_eq!(dropped(post(), 1_024, frames + 9).await, (8, false), "too much");
        let (left, _) = dropped(post(), 0, 2 * MAX_BYTES).await;
        assert_eq!(left, MAX_BYTES - 1, "empty frames count as well");
    }

    #[tokio::test(start_paused = true)]
    async fn what_needs_no_reading_is_left_alone() {
        for (request, frames) in [
            (Request::post("/").version(Version::HTTP_2), 9),
            (Request::post("/").version(Version::HTTP_3), 9),
            (Request::post("/").header("expect", "100-continue"), 9),
        ] {
            assert_eq!(dropped(request, 10, frames).await, (frames, false));
        }
    }
}
