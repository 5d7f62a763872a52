use std::fmt;
use std::mem;
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

use crate::jwks::KeyWait;
use crate::middleware::body::{RefusalBody, ResponseBody};
use crate::middleware::grpc_timeout::longest_wait;
use crate::middleware::service::{Authority, Refused, Turn, Verdict};
use crate::refusal::{Unavailable, UnavailableReason};
use crate::token::AccessToken;

pin_project! {
    /// The future of a [`BearerAuth`](crate::middleware::BearerAuth).
    ///
    /// A refusal is ready when it is first polled. Only a token whose key may still come makes it
    /// wait; dropping it then leaves the fetch to the others who wait for it.
    ///
    /// While it waits, it holds nothing of the inner service, such as the permit of a concurrency
    /// limit. Once the token is accepted, it waits until a clone of that service is ready: as long
    /// as that takes, but no longer than a gRPC call's deadline. An error on the way to readiness is
    /// this future's.
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
            response: Option<Response<RefusalBody>>,
        },
        // So rare that it may be boxed, and keeps the others small.
        Waiting {
            waiting: Option<Box<W>>,
        },
    }
}

struct Waiting<S, C, B> {
    stage: Stage<C>,
    /// When a gRPC call is to be answered at the latest.
    deadline: Option<Pin<Box<Sleep>>>,
    /// A clone, which isn't polled before the token was accepted.
    service: S,
    request: Request<B>,
    authority: Arc<Authority<C>>,
}

enum Stage<C> {
    /// Waits for keys.
    Keys(KeyWait),
    /// The token was accepted; waits for the inner service.
    Service(Option<AccessToken<C>>),
    /// The inner service wasn't ready at once. The token may expire before it is.
    BusyService,
}

impl<S: Service<Request<B>>, C, B> ResponseFuture<S, C, B> {
    pub(crate) const fn inner(future: S::Future) -> Self {
        Self { state: State::Inner { future } }
    }

    pub(crate) const fn refused(response: Response<RefusalBody>) -> Self {
        Self { state: State::Refused { response: Some(response) } }
    }

    pub(crate) fn waiting(
        wait: KeyWait,
        service: S,
        request: Request<B>,
        authority: Arc<Authority<C>>,
    ) -> Self {
        // Where nothing can be timed, the wait says so by itself, at once.
        let deadline = longest_wait(request.headers())
            .filter(|_| Handle::try_current().is_ok())
            .map(|longest| Box::pin(sleep(longest)));
        let stage = Stage::Keys(wait);
        let waiting = Box::new(Waiting { stage, deadline, service, request, authority });
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
                    let decided = ready!(waited.poll(cx))?;
                    let Some(waited) = waiting.take() else { return Poll::Pending };
                    waited.proceed(decided)
                }
            };
            state.set(next);
        }
    }
}

/// The token that lets a request pass, if it needs one.
type Decided<C> = Result<Option<AccessToken<C>>, Refused>;

impl<S, C, B> Waiting<S, C, B>
where
    S: Service<Request<B>>,
    C: DeserializeOwned + Send + Sync + 'static,
{
    /// Waits for the keys and, if the token is accepted, until the inner service is ready.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Decided<C>, S::Error>> {
        if let Stage::Keys(wait) = &mut self.stage {
            match Pin::new(wait).poll(cx) {
                Poll::Ready(Ok(())) => match self.decide() {
                    Ok(token) => self.stage = Stage::Service(token),
                    // A forged token takes no place in the service's queue.
                    refused => return Poll::Ready(Ok(refused)),
                },
                Poll::Ready(Err(unavailable)) => return Poll::Ready(Ok(Err(unavailable.into()))),
                Poll::Pending => return self.poll_deadline(UnavailableReason::RefreshTimedOut, cx),
            }
        }
        let ready = self.service.poll_ready(cx)?;
        let stage = mem::replace(&mut self.stage, Stage::BusyService);
        if ready.is_pending() {
            return self.poll_deadline(UnavailableReason::ServiceNotReady, cx);
        }
        Poll::Ready(Ok(match stage {
            Stage::Service(token) => Ok(token),
            Stage::BusyService | Stage::Keys(_) => self.decide(),
        }))
    }

    fn decide(&mut self) -> Decided<C> {
        match self.authority.judge(&mut self.request, Turn::AfterWaiting) {
            Verdict::Pass(token) => Ok(token),
            Verdict::Refuse(refused) => Err(refused),
            Verdict::Wait(_) => Err(too_late(UnavailableReason::RefreshTimedOut)),
        }
    }

    fn poll_deadline(
        &mut self,
        reason: UnavailableReason,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Decided<C>, S::Error>> {
        let Some(deadline) = &mut self.deadline else { return Poll::Pending };
        deadline.as_mut().poll(cx).map(|()| Ok(Err(too_late(reason))))
    }

    /// Goes on where [`BearerAuth`](crate::middleware::BearerAuth) left off.
    fn proceed(mut self, decided: Decided<C>) -> State<S::Future, Self> {
        match decided {
            Ok(token) => {
                self.authority.hand_over(&mut self.request, token);
                State::Inner { future: self.service.call(self.request) }
            }
            Err(refused) => {
                let response = self.authority.refuse(refused, &self.request);
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
