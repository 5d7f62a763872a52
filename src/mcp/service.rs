//! The service of the guard: decides from the header fields, or begins to read the body.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::mcp::body::{Reader, RequestBody};
use crate::mcp::event_ids::ResponseBody;
use crate::mcp::future::{McpGuardFuture, Watch};
use crate::mcp::operation::Operation;
use crate::mcp::settings::{Head, Settings};
use crate::middleware::refuse;
use crate::refusal::Refusal;

/// The service that an [`McpGuardLayer`](crate::mcp::McpGuardLayer) makes.
///
/// While a request's body arrives, it holds nothing that the inner service became ready with, such as
/// the permit of a concurrency limit.
#[derive(Clone, Debug)]
pub struct McpGuard<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> McpGuard<S> {
    pub(crate) const fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }
}

impl<S, B, R> Service<Request<B>> for McpGuard<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone,
    B: Body + Unpin,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = McpGuardFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        match self.settings.judge(&mut parts) {
            Err(refusal) => self.refuse(refusal, &parts),
            Ok(Head::Admitted(operation)) => {
                self.proceed(parts, RequestBody::untouched(body), operation)
            }
            Ok(Head::Undecided) => {
                let mut reader = Reader::new(body, self.settings.max_bytes);
                // Usually all of it has arrived. If not, the task that polls the future is woken.
                let Poll::Ready(body) = reader.poll(&mut TaskContext::from_waker(Waker::noop()))
                else {
                    self.inner = self.inner.clone();
                    let unready = self.inner.clone();
                    let settings = Arc::clone(&self.settings);
                    return McpGuardFuture::waiting(reader, parts, unready, settings);
                };
                match self.settings.judge_body(&parts, &body) {
                    Ok(operation) => {
                        let body = RequestBody::read(body.unwrap_or_default());
                        self.proceed(parts, body, operation)
                    }
                    Err(refusal) => self.refuse(refusal, &parts),
                }
            }
        }
    }
}

impl<S> McpGuard<S> {
    fn proceed<B>(
        &mut self,
        parts: Parts,
        body: RequestBody<B>,
        operation: Operation,
    ) -> McpGuardFuture<S, B>
    where
        S: Service<Request<RequestBody<B>>>,
    {
        let (request, watch) = Watch::begin(parts, body, operation, &self.settings);
        McpGuardFuture::inner(self.inner.call(request), watch)
    }

    fn refuse<B>(&mut self, refusal: Refusal, parts: &Parts) -> McpGuardFuture<S, B>
    where
        S: Service<Request<RequestBody<B>>> + Clone,
    {
        // It isn't called: the readiness that it reserved is released.
        self.inner = self.inner.clone();
        McpGuardFuture::refused(refuse(refusal, &parts.extensions, parts.into()))
    }
}
