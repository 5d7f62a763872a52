//! The future of the layer's service: waits for the token's verdict, then for the inner service.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use pin_project_lite::pin_project;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

use crate::middleware::additions::Additions;
use crate::middleware::authority::{Authority, Refused};
use crate::middleware::body::{RefusalBody, ResponseBody};
use crate::middleware::grpc_timeout::longest_wait;
use crate::middleware::tally::Counting;
use crate::progress::Pending;
use crate::refusal::{Refusal, Unavailable, UnavailableReason};
use crate::token::AccessToken;

pin_project! {
    /// The future of a [`BearerAuth`](crate::middleware::BearerAuth).
    ///
    /// A refusal is ready when it is first polled. It waits only for a token whose key may still arrive;
    /// dropping it then doesn't cancel the fetch for others that wait.
    ///
    /// While it waits, it holds nothing of the inner service, such as the permit of a concurrency
    /// limit. Once the token is accepted, it waits until a clone of that service is ready: as long
    /// as that takes, but no longer than a gRPC call's deadline. If the service fails to become ready,
    /// this future returns its error.
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
            counting: Counting,
        },
        // Apart: where nothing is added, the future isn't moved once more when it was made, nor the response.
        Adding {
            #[pin]
            future: F,
            counting: Counting,
            additions: Option<Box<Additions>>,
        },
        Refused {
            response: Option<Response<RefusalBody>>,
        },
        // Rare enough to be boxed, which keeps the others small.
        Waiting {
            waiting: Option<Box<W>>,
        },
    }
}

struct Waiting<S, C, B> {
    stage: Stage<C>,
    /// The latest time at which a gRPC call is answered.
    deadline: Option<Pin<Box<Sleep>>>,
    /// A clone, which isn't polled before the token was accepted.
    service: S,
    request: Request<B>,
    authority: Arc<Authority<C>>,
    counting: Counting,
}

enum Stage<C> {
    /// Waits for the token's verdict.
    Token(Pending<AccessToken<C>>),
    /// The token was accepted; waits for the inner service.
    Service {
        token: AccessToken<C>,
        /// The inner service wasn't ready at once. The token may expire before it is.
        was_busy: bool,
    },
}

impl<S: Service<Request<B>>, C, B> ResponseFuture<S, C, B> {
    pub(crate) const fn inner(future: S::Future, counting: Counting) -> Self {
        Self { state: State::Inner { future, counting } }
    }

    /// `additions` are made to the response.
    pub(crate) const fn adding(
        additions: Box<Additions>,
        future: S::Future,
        counting: Counting,
    ) -> Self {
        Self { state: State::Adding { future, counting, additions: Some(additions) } }
    }

    pub(crate) const fn refused(response: Response<RefusalBody>) -> Self {
        Self { state: State::Refused { response: Some(response) } }
    }

    pub(crate) fn waiting(
        token: Pending<AccessToken<C>>,
        service: S,
        request: Request<B>,
        authority: Arc<Authority<C>>,
        counting: Counting,
    ) -> Self {
        // Without a timer, the wait itself fails at once.
        let deadline = longest_wait(request.headers())
            .filter(|_| Handle::try_current().is_ok())
            .map(|longest| Box::pin(sleep(longest)));
        let stage = Stage::Token(token);
        let waiting = Box::new(Waiting { stage, deadline, service, request, authority, counting });
        Self { state: State::Waiting { waiting: Some(waiting) } }
    }
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
                StateProj::Inner { future, counting } => {
                    let result = ready!(future.poll(cx));
                    counting.end();
                    return Poll::Ready(Ok(result?.map(ResponseBody::inner)));
                }
                StateProj::Adding { future, counting, additions } => {
                    let result = ready!(future.poll(cx));
                    counting.end();
                    let mut response = result?;
                    if let Some(additions) = additions.take() {
                        additions.add_to(&mut response);
                    }
                    return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                }
                StateProj::Refused { response } => {
                    // Polled again after it was ready, it never completes, which the contract allows.
                    let Some(response) = response.take() else { return Poll::Pending };
                    return Poll::Ready(Ok(response.map(ResponseBody::refusal)));
                }
                StateProj::Waiting { waiting } => ready!(Waiting::step(waiting, cx))?,
            };
            state.set(next);
        }
    }
}

/// The token with which a request passes.
type Accepted<C> = Result<AccessToken<C>, Refused>;

/// What follows a wait.
type Next<S, C, B> = State<<S as Service<Request<B>>>::Future, Waiting<S, C, B>>;

impl<S, C, B> Waiting<S, C, B>
where
    S: Service<Request<B>>,
    C: DeserializeOwned + Send + Sync + 'static,
{
    /// Waits, and continues with the result.
    #[cold]
    fn step(
        waiting: &mut Option<Box<Self>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Next<S, C, B>, S::Error>> {
        let Some(waited) = waiting else { return Poll::Pending };
        let accepted = ready!(waited.poll(cx))?;
        let Some(waited) = waiting.take() else { return Poll::Pending };
        Poll::Ready(Ok(waited.proceed(accepted)))
    }

    /// Waits for the token's verdict and, if the request passes, until the inner service is
    /// ready.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Accepted<C>, S::Error>> {
        loop {
            match &mut self.stage {
                Stage::Token(verdict) => {
                    let Poll::Ready(verdict) = Pin::new(verdict).poll(cx) else {
                        return self.poll_deadline(UnavailableReason::RefreshTimedOut, cx);
                    };
                    // A forged token takes no place in the service's queue.
                    match self.admit(verdict) {
                        Ok(token) => self.stage = Stage::Service { token, was_busy: false },
                        refused => return Poll::Ready(Ok(refused)),
                    }
                }
                Stage::Service { token, was_busy } => {
                    if self.service.poll_ready(cx)?.is_pending() {
                        *was_busy = true;
                        return self.poll_deadline(UnavailableReason::ServiceNotReady, cx);
                    }
                    let validator = &self.authority.validator;
                    let still = if *was_busy { validator.check_again(token) } else { Ok(()) };
                    let accepted = still.map(|()| token.clone());
                    return Poll::Ready(Ok(accepted.map_err(|rejection| {
                        self.authority.refused_after_waiting(rejection, &mut self.request)
                    })));
                }
            }
        }
    }

    fn admit(&mut self, verdict: Result<AccessToken<C>, Refusal>) -> Accepted<C> {
        let authority = &self.authority;
        let token = verdict
            .map_err(|refusal| authority.refused_after_waiting(refusal, &mut self.request))?;
        self.authority.admit(&mut self.request, &token)?;
        Ok(token)
    }

    fn poll_deadline(
        &mut self,
        reason: UnavailableReason,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Accepted<C>, S::Error>> {
        let Some(deadline) = &mut self.deadline else { return Poll::Pending };
        deadline.as_mut().poll(cx).map(|()| Ok(Err(too_late(reason))))
    }

    /// Continues where [`BearerAuth`](crate::middleware::BearerAuth) stopped.
    fn proceed(mut self, accepted: Accepted<C>) -> Next<S, C, B> {
        match accepted {
            Ok(token) => {
                let additions = self.authority.additions(&self.request, Some(&token));
                self.authority.hand_over(&mut self.request, Some(token), self.counting.tally());
                let (future, counting) = (self.service.call(self.request), self.counting);
                match additions {
                    None => State::Inner { future, counting },
                    additions => State::Adding { future, counting, additions },
                }
            }
            Err(refused) => {
                let response = self.authority.refuse(refused, &self.request, self.counting.tally());
                State::Refused { response: Some(response) }
            }
        }
    }
}

fn too_late(reason: UnavailableReason) -> Refused {
    Unavailable::new(reason, Duration::from_secs(1)).into()
}

impl<S: Service<Request<B>>, C, B> fmt::Debug for ResponseFuture<S, C, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
