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

use crate::client::attach::challenge::refuses_token;
use crate::client::attach::error::SendError;
use crate::client::attach::policy::Policy;
use crate::client::attach::replay::{Replay, ReplayBody};
use crate::client::grant::error::TokenError;
use crate::client::tokens::token::Token;
use crate::clock::monotonic;
use crate::telemetry::{count, event};
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
        /// Waits for a token.
        Token { token: TokenFuture, start: Option<Start<S, B>> },
        /// Waits for an answer; `again` is there if the request may be sent once more.
        Sent { #[pin] answer: F, again: Option<Again<S, B>> },
        /// Waits for another token.
        Renewal { token: OtherFuture, again: Option<Again<S, B>>, first: Option<Response<R>> },
        /// Waits until the service can take the second request.
        Ready { service: S, request: Option<Request<ReplayBody<B>>> },
    }
}

/// A request before it is sent.
struct Start<S, B> {
    service: S,
    policy: Arc<Policy>,
    request: Request<B>,
    began: Instant,
}

/// What a second request is made of.
struct Again<S, B> {
    service: S,
    policy: Arc<Policy>,
    head: Parts,
    replay: Replay<B>,
    token: Token,
    began: Instant,
}

impl<S, B, R> AttachFuture<S, B, R>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(crate) fn attach(service: S, policy: Arc<Policy>, request: Request<B>) -> Self {
        let began = monotonic();
        let token = policy.tokens.ready(began);
        let start = Start { service, policy, request, began };
        let state = match token {
            Some(token) => start.send(token),
            None => State::Token { token: start.fetch(), start: Some(start) },
        };
        Self { state }
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

    /// Sends what has waited for its token.
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
        policy.attach(request.headers_mut(), &token);
        let spare = service.clone();
        let answer = service.call(request);
        let again = Again { service: spare, policy, head, replay, token, began };
        State::Sent { answer, again: Some(again) }
    }
}

impl<S, B> Again<S, B> {
    /// Returns `true` if the first answer calls for another token, and the request can be sent again.
    fn wants_another<R>(&self, answer: &Response<R>) -> bool {
        let tokens = &self.policy.tokens;
        if !refuses_token(answer.status(), answer.headers())
            || !self.policy.refuse(&self.token, &self.head.uri)
        {
            return false;
        }
        let possible = self.replay.is_possible();
        if !possible {
            // The next request is to have another.
            tokens.renew_in_background();
        }
        possible
    }

    fn fetch(&self) -> OtherFuture {
        let (tokens, refused) = (self.policy.tokens.clone(), self.token.clone());
        let deadline = self.policy.deadline(self.began, grpc_timeout(&self.head.headers));
        Box::pin(async move { tokens.other_than(&refused, deadline).await })
    }

    /// Makes the second request; `None` if it can't be made.
    fn request(self, token: &Token) -> Option<(S, Request<ReplayBody<B>>)> {
        let mut request = Request::from_parts(self.head, self.replay.again()?);
        count!("tower_bearer_client_retries_total");
        event!(DEBUG, "client_retry_401: the token was refused, sending another");
        self.policy.attach(request.headers_mut(), token);
        // What the first has taken of a gRPC call's time, the second has less.
        let elapsed = monotonic().saturating_duration_since(self.began);
        shorten_grpc_timeout(request.headers_mut(), elapsed);
        Some((self.service, request))
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
                    let Some(start) = start.take() else { return Poll::Pending };
                    start.send_late(token)
                }
                StateProjection::Sent { answer, again } => {
                    let answer = ready!(answer.poll(cx)).map_err(SendError::service)?;
                    let again = again.take().filter(|again| again.wants_another(&answer));
                    let Some(again) = again else { return Poll::Ready(Ok(answer)) };
                    let token = again.fetch();
                    State::Renewal { token, again: Some(again), first: Some(answer) }
                }
                StateProjection::Renewal { token, again, first } => {
                    let token = ready!(token.as_mut().poll(cx));
                    let (Some(again), Some(first)) = (again.take(), first.take()) else {
                        return Poll::Pending;
                    };
                    // Without another token, the first answer stands.
                    match token.and_then(|token| again.request(&token)) {
                        Some((service, request)) => {
                            State::Ready { service, request: Some(request) }
                        }
                        None => return Poll::Ready(Ok(first)),
                    }
                }
                StateProjection::Ready { service, request } => {
                    ready!(service.poll_ready(cx)).map_err(SendError::service)?;
                    let Some(request) = request.take() else { return Poll::Pending };
                    State::Sent { answer: service.call(request), again: None }
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
