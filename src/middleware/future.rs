use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::CACHE_CONTROL;
use http::{HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

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
            counting: Counting,
        },
        // The client's nonce has grown old: it gets a newer one with the answer.
        Renewing {
            #[pin]
            future: F,
            counting: Counting,
            nonce: Option<HeaderValue>,
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
    /// `nonce` is for the client's next proof.
    pub(crate) fn inner(future: S::Future, counting: Counting, nonce: Option<HeaderValue>) -> Self {
        Self { state: State::running(future, counting, nonce) }
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
        // Where nothing can be timed, the wait says so by itself, at once.
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
                    let response = result?;
                    return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                }
                StateProj::Renewing { future, counting, nonce } => {
                    let result = ready!(future.poll(cx));
                    counting.end();
                    let response = renew(result?, nonce.take());
                    return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                }
                StateProj::Refused { response } => {
                    // Polled again after it was ready, it waits for ever, as it may.
                    let Some(response) = response.take() else { return Poll::Pending };
                    return Poll::Ready(Ok(response.map(ResponseBody::refusal)));
                }
                StateProj::Waiting { waiting } => {
                    let Some(waited) = waiting else { return Poll::Pending };
                    let accepted = ready!(waited.poll(cx))?;
                    let Some(waited) = waiting.take() else { return Poll::Pending };
                    waited.proceed(accepted)
                }
            };
            state.set(next);
        }
    }
}

impl<F, W> State<F, W> {
    fn running(future: F, counting: Counting, nonce: Option<HeaderValue>) -> Self {
        match nonce {
            None => Self::Inner { future, counting },
            nonce => Self::Renewing { future, counting, nonce },
        }
    }
}

/// RFC 9449 §8.2: the next request needs this nonce. A cache must not give it to others.
fn renew<B>(mut response: Response<B>, nonce: Option<HeaderValue>) -> Response<B> {
    if let Some(nonce) = nonce.filter(|_| response.status().is_success()) {
        response.headers_mut().insert(HeaderName::from_static("dpop-nonce"), nonce);
        let caching = response.headers_mut().entry(CACHE_CONTROL);
        caching.or_insert(HeaderValue::from_static("no-store"));
    }
    response
}

/// The token that lets a request pass.
type Accepted<C> = Result<AccessToken<C>, Refused>;

impl<S, C, B> Waiting<S, C, B>
where
    S: Service<Request<B>>,
    C: DeserializeOwned + Send + Sync + 'static,
{
    /// Waits for the token's verdict and, if it lets the request pass, until the inner service is
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

    /// Goes on where [`BearerAuth`](crate::middleware::BearerAuth) left off.
    fn proceed(mut self, accepted: Accepted<C>) -> State<S::Future, Self> {
        match accepted {
            Ok(token) => {
                #[cfg(feature = "dpop")]
                let nonce = self.authority.newer_nonce(&self.request, Some(&token));
                #[cfg(not(feature = "dpop"))]
                let nonce = None;
                self.authority.hand_over(&mut self.request, Some(token), self.counting.tally());
                State::running(self.service.call(self.request), self.counting, nonce)
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
