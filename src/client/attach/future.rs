//! The future of the client's service: waits for a token, sends the request, and sends it once more if the
//! token is refused or a nonce is wanted.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use crate::client::attach::error::SendError;
use crate::client::attach::policy::{
    Next, Policy, Tries, resent_for_nonce, resent_with_another_token,
};
use crate::client::attach::replay::{Replay, ReplayBody};
use crate::client::grant::error::TokenError;
use crate::client::tokens::token::Token;
use crate::clock::monotonic;
use crate::transport::{grpc_timeout, shorten_grpc_timeout};

type TokenFuture = Pin<Box<dyn Future<Output = Result<Token, TokenError>> + Send>>;
type OtherFuture = Pin<Box<dyn Future<Output = Option<Token>> + Send>>;

pin_project! {
    /// The future of an [`AttachToken`](crate::client::AttachToken).
    pub struct AttachFuture<S, B, R>
    where
        S: Service<Request<ReplayBody<B>>>,
    {
        #[pin]
        state: State<S, S::Future, B, R>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, F, B, R> {
        Refused { error: Option<SendError> },
        /// Waits for a token; the service isn't ready meanwhile.
        Token { token: TokenFuture, start: Option<Start<S, B>> },
        /// Has a token, and waits until the service can take the request.
        Admission { token: Token, start: Option<Start<S, B>> },
        /// Waits for an answer; `again` is set if the request may be sent once more.
        Sent { #[pin] answer: F, again: Option<Again<S, B>> },
        /// Waits for another token.
        Renewal { token: OtherFuture, again: Option<Again<S, B>>, first: Option<Response<R>> },
        /// Waits until the service can take the next request.
        Ready { next: Option<Resent<S, B>>, service: S },
    }
}

/// A request before it is sent.
struct Start<S, B> {
    service: S,
    policy: Arc<Policy>,
    request: Request<B>,
    began: Instant,
}

/// Everything that a second request needs.
struct Again<S, B> {
    service: S,
    policy: Arc<Policy>,
    head: Parts,
    /// `None` after the last attempt.
    replay: Option<Replay<B>>,
    token: Token,
    began: Instant,
    tries: Tries,
}

/// A request that is sent once more, and what a further one needs.
struct Resent<S, B> {
    request: Request<ReplayBody<B>>,
    again: Option<Again<S, B>>,
}

impl<S, B, R> AttachFuture<S, B, R>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Sends a request with the cached token through a service that is ready.
    pub(crate) fn attach(
        ready: S,
        policy: Arc<Policy>,
        request: Request<B>,
        token: Token,
        began: Instant,
    ) -> Self {
        Self { state: Start { service: ready, policy, request, began }.send(token) }
    }

    /// Waits for a token, and then until the service is ready.
    pub(crate) fn wait(
        unready: S,
        policy: Arc<Policy>,
        request: Request<B>,
        began: Instant,
    ) -> Self {
        let start = Start { service: unready, policy, request, began };
        Self { state: State::Token { token: start.fetch(), start: Some(start) } }
    }

    pub(crate) const fn pass(answer: S::Future) -> Self {
        Self { state: State::Sent { answer, again: None } }
    }

    pub(crate) const fn refuse(error: SendError) -> Self {
        Self { state: State::Refused { error: Some(error) } }
    }
}

impl<S, B> Start<S, B>
where
    S: Service<Request<ReplayBody<B>>> + Clone,
    B: Body,
{
    fn fetch(&self) -> TokenFuture {
        let tokens = self.policy.tokens.clone();
        let deadline = self.policy.deadline(self.began, grpc_timeout(self.request.headers()));
        Box::pin(async move { tokens.token_until(deadline).await })
    }

    /// Sends a request that has waited for its token. Its proof is made only now.
    fn send_late<R>(mut self, token: Token) -> State<S, S::Future, B, R> {
        let elapsed = monotonic().saturating_duration_since(self.began);
        shorten_grpc_timeout(self.request.headers_mut(), elapsed);
        self.send(token)
    }

    fn send<R>(self, token: Token) -> State<S, S::Future, B, R> {
        let Self { mut service, policy, request, began } = self;
        let (head, body) = request.into_parts();
        let (body, replay) = ReplayBody::new(body, policy.replay_limit);
        let mut request = Request::from_parts(head.clone(), body);
        let sent_to = (&head.method, &head.uri);
        if let Err(error) = policy.attach(&token, sent_to, request.headers_mut()) {
            return State::Refused { error: Some(error) };
        }
        let spare = service.clone();
        let answer = service.call(request);
        let (replay, tries) = (Some(replay), Tries::all());
        let again = Again { service: spare, policy, head, replay, token, began, tries };
        State::Sent { answer, again: Some(again) }
    }
}

impl<S: Clone, B: Body> Again<S, B> {
    /// Returns whether the answer calls for another request, and it can be sent.
    fn next<R>(&mut self, answer: &Response<R>) -> Next {
        let said = (answer.status(), answer.headers());
        let next = self.policy.next(&mut self.tries, &self.token, &self.head.uri, said);
        if next == Next::Stop {
            return next;
        }
        let possible = self.replay.as_ref().is_some_and(Replay::is_possible);
        if next == Next::Token && !possible {
            // The next request needs another token.
            self.policy.tokens.renew_in_background();
        }
        if possible { next } else { Next::Stop }
    }

    fn fetch(&self) -> OtherFuture {
        let (tokens, refused) = (self.policy.tokens.clone(), self.token.clone());
        let deadline = self.policy.deadline(self.began, grpc_timeout(&self.head.headers));
        Box::pin(async move { tokens.other_than(&refused, deadline).await })
    }

    /// Makes the next request; `None` if it can't be made.
    fn resend(self, token: Token) -> Option<(S, Resent<S, B>)> {
        let Self { service, policy, head, replay, began, tries, .. } = self;
        // An answer to a request with a bound token may have a nonce, whatever else it says.
        let is_bound = token.bound().is_some();
        let (body, replay) = match replay? {
            replay if is_bound && tries.are_left(&token) => {
                let (body, replay) = replay.once_more()?;
                (body, Some(replay))
            }
            replay => (replay.again()?, None),
        };
        let mut headers = head.headers.clone();
        policy.attach(&token, (&head.method, &head.uri), &mut headers).ok()?;
        // The time that the first attempt took is deducted from a gRPC call's timeout.
        let elapsed = monotonic().saturating_duration_since(began);
        shorten_grpc_timeout(&mut headers, elapsed);
        let again = is_bound.then(|| {
            let (service, policy, head) = (service.clone(), Arc::clone(&policy), head.clone());
            Self { service, policy, head, replay, token, began, tries }
        });
        let mut request = Request::from_parts(head, body);
        *request.headers_mut() = headers;
        Some((service, Resent { request, again }))
    }
}

impl<S, B, R> Future for AttachFuture<S, B, R>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Result<Response<R>, SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjection::Refused { error } => {
                    let Some(error) = error.take() else { return Poll::Pending };
                    return Poll::Ready(Err(error));
                }
                StateProjection::Token { token, start } => {
                    let token = ready!(token.as_mut().poll(cx)).map_err(SendError::Token)?;
                    State::Admission { token, start: start.take() }
                }
                StateProjection::Admission { token, start } => {
                    let Some(waiting) = start else { return Poll::Pending };
                    ready!(waiting.service.poll_ready(cx)).map_err(SendError::service)?;
                    let Some(start) = start.take() else { return Poll::Pending };
                    start.send_late(token.clone())
                }
                StateProjection::Sent { answer, again } => {
                    let answer = ready!(answer.poll(cx)).map_err(SendError::service)?;
                    let Some(mut again) = again.take() else { return Poll::Ready(Ok(answer)) };
                    match again.next(&answer) {
                        Next::Stop => return Poll::Ready(Ok(answer)),
                        Next::Token => State::Renewal {
                            token: again.fetch(),
                            again: Some(again),
                            first: Some(answer),
                        },
                        Next::Nonce => {
                            let token = again.token.clone();
                            let Some((service, next)) = again.resend(token) else {
                                return Poll::Ready(Ok(answer));
                            };
                            resent_for_nonce();
                            State::Ready { next: Some(next), service }
                        }
                    }
                }
                StateProjection::Renewal { token, again, first } => {
                    let token = ready!(token.as_mut().poll(cx));
                    let (Some(again), Some(first)) = (again.take(), first.take()) else {
                        return Poll::Pending;
                    };
                    // Without another token, the first answer stands.
                    match token.and_then(|token| again.resend(token)) {
                        Some((service, next)) => {
                            resent_with_another_token();
                            State::Ready { next: Some(next), service }
                        }
                        None => return Poll::Ready(Ok(first)),
                    }
                }
                StateProjection::Ready { next, service } => {
                    ready!(service.poll_ready(cx)).map_err(SendError::service)?;
                    let Some(Resent { request, again }) = next.take() else {
                        return Poll::Pending;
                    };
                    State::Sent { answer: service.call(request), again }
                }
            };
            state.set(next);
        }
    }
}

impl<S, B, R> fmt::Debug for AttachFuture<S, B, R>
where
    S: Service<Request<ReplayBody<B>>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttachFuture").finish_non_exhaustive()
    }
}
