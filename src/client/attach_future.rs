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
use tower_service::Service;

use crate::client::attach::Policy;
use crate::client::challenge::refuses_token;
use crate::client::error::TokenError;
use crate::client::replay::{Replay, ReplayBody};
use crate::client::send_error::{OriginRefused, SendError};
use crate::client::token::Token;
use crate::telemetry::{count, event};

type TokenFuture = Pin<Box<dyn Future<Output = Result<Token, TokenError>> + Send>>;

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
        Refused { refused: OriginRefused },
        /// Waits for a token.
        Token { token: TokenFuture, start: Option<Start<S, B>> },
        /// Waits for an answer; `again` is there if the request may be sent once more.
        Sent { #[pin] answer: F, again: Option<Again<S, B>> },
        /// Waits for another token.
        Renewal { token: TokenFuture, again: Option<Again<S, B>>, first: Option<Response<R>> },
        /// Waits until the service can take the second request.
        Ready { service: S, request: Option<Request<ReplayBody<B>>> },
    }
}

/// A request before it is sent.
struct Start<S, B> {
    service: S,
    policy: Arc<Policy>,
    request: Request<B>,
}

/// What a second request is made of.
struct Again<S, B> {
    service: S,
    policy: Arc<Policy>,
    head: Parts,
    replay: Replay<B>,
    token: Token,
}

impl<S, B, R> AttachFuture<S, B, R>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(crate) fn attach(service: S, policy: Arc<Policy>, request: Request<B>) -> Self {
        let token = policy.tokens.ready();
        let start = Start { service, policy, request };
        let state = match token {
            Some(token) => start.send(token),
            None => State::Token { token: fetch(&start.policy), start: Some(start) },
        };
        Self { state }
    }

    pub(crate) const fn pass(answer: S::Future) -> Self {
        Self { state: State::Sent { answer, again: None } }
    }

    pub(crate) fn refuse(refused: OriginRefused) -> Self {
        Self { state: State::Refused { refused } }
    }
}

fn fetch(policy: &Policy) -> TokenFuture {
    let tokens = policy.tokens.clone();
    Box::pin(async move { tokens.token().await })
}

impl<S, B> Start<S, B>
where
    S: Service<Request<ReplayBody<B>>> + Clone,
    B: Body,
{
    fn send<R>(self, token: Token) -> State<S, S::Future, B, R> {
        let Self { mut service, policy, request } = self;
        let (head, body) = request.into_parts();
        let (body, replay) = ReplayBody::new(body, policy.replay_limit);
        let mut request = Request::from_parts(head.clone(), body);
        policy.attach(request.headers_mut(), &token);
        let spare = service.clone();
        let answer = service.call(request);
        State::Sent { answer, again: Some(Again { service: spare, policy, head, replay, token }) }
    }
}

impl<S, B> Again<S, B> {
    /// Tells whether the first answer calls for another token, and the request can be sent again.
    fn wants_another<R>(&self, answer: &Response<R>) -> bool {
        refuses_token(answer.status(), answer.headers())
            && self.policy.tokens.invalidate(&self.token)
            && self.replay.is_possible()
    }

    /// Makes the second request; `None` if it would be no other than the first, or can't be made.
    fn request(self, token: &Token) -> Option<(S, Request<ReplayBody<B>>)> {
        if token.is_same(&self.token) {
            return None;
        }
        let mut request = Request::from_parts(self.head, self.replay.again()?);
        count!("client_retry_401_total");
        event!(DEBUG, "client_retry_401: the token was refused, sending another");
        self.policy.attach(request.headers_mut(), token);
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
                StateProjection::Refused { refused } => {
                    return Poll::Ready(Err(SendError::Origin(refused.clone())));
                }
                StateProjection::Token { token, start } => {
                    let token = ready!(token.as_mut().poll(cx)).map_err(SendError::Token)?;
                    let Some(start) = start.take() else { return Poll::Pending };
                    start.send(token)
                }
                StateProjection::Sent { answer, again } => {
                    let answer = ready!(answer.poll(cx)).map_err(SendError::service)?;
                    let again = again.take().filter(|again| again.wants_another(&answer));
                    let Some(again) = again else { return Poll::Ready(Ok(answer)) };
                    let token = fetch(&again.policy);
                    State::Renewal { token, again: Some(again), first: Some(answer) }
                }
                StateProjection::Renewal { token, again, first } => {
                    let token = ready!(token.as_mut().poll(cx));
                    let (Some(again), Some(first)) = (again.take(), first.take()) else {
                        return Poll::Pending;
                    };
                    // Without another token, the first answer stands.
                    match token.ok().and_then(|token| again.request(&token)) {
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
