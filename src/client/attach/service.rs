//! The tower service that adds a token to each request.

use std::error::Error;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::client::attach::error::SendError;
use crate::client::attach::future::AttachFuture;
use crate::client::attach::policy::{Policy, Verdict};
use crate::client::attach::replay::ReplayBody;
use crate::clock::monotonic;

/// The service that an [`AttachTokenLayer`](crate::client::AttachTokenLayer) makes.
///
/// A request that waits for a token, or is refused, holds nothing that the inner service reserved when it
/// became ready, such as the permit of a concurrency limit: the inner service is replaced by a clone, which
/// must not be ready, as tower requires.
#[derive(Clone)]
pub struct AttachToken<S> {
    inner: S,
    policy: Arc<Policy>,
}

impl<S> AttachToken<S> {
    pub(crate) const fn new(inner: S, policy: Arc<Policy>) -> Self {
        Self { inner, policy }
    }
}

impl<S: Clone> AttachToken<S> {
    /// Returns the service that is ready, and leaves a clone in its place.
    fn take_ready(&mut self) -> S {
        let spare = self.inner.clone();
        mem::replace(&mut self.inner, spare)
    }
}

impl<S, B, R> Service<Request<B>> for AttachToken<S>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<R>;
    type Error = SendError;
    type Future = AttachFuture<S, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(SendError::service)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.policy.judge(request.uri(), request.headers()) {
            Verdict::Attach => {
                let (ready, policy, began) =
                    (self.take_ready(), Arc::clone(&self.policy), monotonic());
                match policy.tokens.cached(began) {
                    Some(token) => AttachFuture::attach(ready, policy, request, token, began),
                    None => {
                        // Kept, it would hold what it reserved while the token is fetched.
                        drop(ready);
                        AttachFuture::wait(self.inner.clone(), policy, request, began)
                    }
                }
            }
            Verdict::Pass => {
                let request = request.map(|body| ReplayBody::new(body, 0).0);
                AttachFuture::pass(self.inner.call(request))
            }
            Verdict::Refuse(error) => {
                drop(self.take_ready());
                AttachFuture::refuse(error)
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for AttachToken<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttachToken").field("inner", &self.inner).finish_non_exhaustive()
    }
}
