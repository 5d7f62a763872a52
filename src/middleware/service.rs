//! The service that the layer makes: decides about a request, then calls the inner service.

use std::fmt;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use http::{Request, Response};
use serde::de::DeserializeOwned;
use tower_service::Service;

use crate::middleware::authority::Authority;
use crate::middleware::body::ResponseBody;
use crate::middleware::context::Context;
use crate::middleware::future::ResponseFuture;
use crate::progress::Progress;
use crate::token::NoClaims;

/// The service that a [`BearerAuthLayer`](crate::BearerAuthLayer) makes.
///
/// A request that waits for keys, or is refused, holds nothing that the inner service reserved when it
/// became ready, such as the permit of a concurrency limit: the inner service is replaced by a clone, which
/// must not be ready, as tower requires. A limit *around* this service counts such requests: put it
/// within the layer, so that tokens with made-up keys can't use it up.
pub struct BearerAuth<S, C = NoClaims> {
    inner: S,
    authority: Arc<Authority<C>>,
}

impl<S, C> BearerAuth<S, C> {
    pub(crate) const fn new(inner: S, authority: Arc<Authority<C>>) -> Self {
        Self { inner, authority }
    }
}

impl<S: Clone, C> BearerAuth<S, C> {
    /// Drops the ready service if it won't be called. Kept, it would hold what it reserved, such as a
    /// permit, while the request waits, or until this service is called again.
    fn give_readiness_back(&mut self) {
        self.inner = self.inner.clone();
    }
}

impl<S, C, B, R> Service<Request<B>> for BearerAuth<S, C>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    C: DeserializeOwned + Send + Sync + 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, C, B>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        // Missing keys are an answer, not back-pressure.
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let counting = Context::counting(request.extensions());
        match self.authority.judge(&mut request) {
            Progress::Ready(Ok(token)) => {
                let additions = self.authority.additions(&request, token.as_ref());
                self.authority.hand_over(&mut request, token, counting.tally());
                match additions {
                    None => ResponseFuture::inner(self.inner.call(request), counting),
                    Some(additions) => {
                        ResponseFuture::adding(additions, self.inner.call(request), counting)
                    }
                }
            }
            Progress::Ready(Err(refused)) => {
                self.give_readiness_back();
                let response = self.authority.refuse(refused, &request, counting.tally());
                ResponseFuture::refused(response)
            }
            Progress::Pending(token) => {
                self.give_readiness_back();
                let (unready, authority) = (self.inner.clone(), Arc::clone(&self.authority));
                ResponseFuture::waiting(token, unready, request, authority, counting)
            }
        }
    }
}

impl<S: Clone, C> Clone for BearerAuth<S, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), authority: Arc::clone(&self.authority) }
    }
}

impl<S: fmt::Debug, C> fmt::Debug for BearerAuth<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerAuth").field("inner", &self.inner).finish_non_exhaustive()
    }
}
