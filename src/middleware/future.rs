use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tower_service::Service;

use crate::jwks::KeyWait;
use crate::middleware::body::ResponseBody;
use crate::middleware::grpc_timeout::longest_wait;
use crate::middleware::service::{Authority, Turn, Verdict};
use crate::refusal::{Unavailable, UnavailableReason};

pin_project! {
    /// The future of a [`BearerAuth`](crate::middleware::BearerAuth).
    ///
    /// A refusal is ready when it is first polled. Only a token whose key may still come makes it
    /// wait; dropping it then leaves the fetch to the others who wait for it.
    pub struct ResponseFuture<S, C, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S::Future, Waiting<S, C, B>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, W> {
        Inner {
            #[pin]
            future: F,
        },
        Refused {
            response: Option<Response<Bytes>>,
        },
        // So rare that it may be boxed, and keeps the others small.
        Waiting {
            waiting: Option<Box<W>>,
        },
    }
}

struct Waiting<S, C, B> {
    wait: Pin<Box<dyn Future<Output = Result<(), Unavailable>> + Send>>,
    ready: S,
    request: Request<B>,
    authority: Arc<Authority<C>>,
}

impl<S: Service<Request<B>>, C, B> ResponseFuture<S, C, B> {
    pub(crate) const fn inner(future: S::Future) -> Self {
        Self { state: State::Inner { future } }
    }

    pub(crate) const fn refused(response: Response<Bytes>) -> Self {
        Self { state: State::Refused { response: Some(response) } }
    }

    pub(crate) fn waiting(
        wait: KeyWait,
        ready: S,
        request: Request<B>,
        authority: Arc<Authority<C>>,
    ) -> Self {
        let wait: Pin<Box<dyn Future<Output = _> + Send>> = match longest_wait(request.headers()) {
            None => Box::pin(wait),
            Some(longest) => Box::pin(at_most(longest, wait)),
        };
        let waiting = Box::new(Waiting { wait, ready, request, authority });
        Self { state: State::Waiting { waiting: Some(waiting) } }
    }
}

async fn at_most(longest: Duration, wait: KeyWait) -> Result<(), Unavailable> {
    const RETRY_AFTER: Duration = Duration::from_secs(1);
    // Where nothing can be timed, the wait says so by itself, at once.
    if Handle::try_current().is_err() {
        return wait.await;
    }
    let timed_out = Unavailable::new(UnavailableReason::RefreshTimedOut, RETRY_AFTER);
    tokio::time::timeout(longest, wait).await.unwrap_or(Err(timed_out))
}

impl<S, C, B, R> Future for ResponseFuture<S, C, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    C: DeserializeOwned + Send + Sync + 'static,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Inner { future } => {
                    let response = ready!(future.poll(cx))?;
                    return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                }
                StateProj::Refused { response } => {
                    // Polled again after it was ready, it waits for ever, as it may.
                    let Some(response) = response.take() else { return Poll::Pending };
                    return Poll::Ready(Ok(response.map(ResponseBody::refusal)));
                }
                StateProj::Waiting { waiting } => {
                    let Some(waited) = waiting else { return Poll::Pending };
                    let outcome = ready!(waited.wait.as_mut().poll(cx));
                    let Some(waited) = waiting.take() else { return Poll::Pending };
                    waited.proceed(outcome)
                }
            };
            state.set(next);
        }
    }
}

impl<S, C, B> Waiting<S, C, B>
where
    S: Service<Request<B>>,
    C: DeserializeOwned + Send + Sync + 'static,
{
    /// Goes on where the service left off.
    fn proceed(mut self, outcome: Result<(), Unavailable>) -> State<S::Future, Self> {
        let refused = match outcome {
            Err(unavailable) => unavailable.into(),
            Ok(()) => match self.authority.judge(&mut self.request, Turn::AfterWaiting) {
                Verdict::Pass(token) => {
                    self.authority.hand_over(&mut self.request, token);
                    return State::Inner { future: self.ready.call(self.request) };
                }
                Verdict::Refuse(refused) => refused,
                Verdict::Wait(_) => {
                    let reason = UnavailableReason::RefreshTimedOut;
                    Unavailable::new(reason, Duration::from_secs(1)).into()
                }
            },
        };
        State::Refused { response: Some(self.authority.refuse(refused, &self.request)) }
    }
}

impl<S: Service<Request<B>>, C, B> fmt::Debug for ResponseFuture<S, C, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
