//! The future of the guard: waits for the body, for the inner service and for its answer.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

use crate::mcp::body::{NotRead, ReadBody, Reader, RequestBody};
use crate::mcp::event_ids::{ResponseBody, bound};
use crate::mcp::operation::Operation;
use crate::mcp::session::SESSION_ID;
use crate::mcp::settings::Settings;
use crate::middleware::{self, Context as Found, refuse};
use crate::refusal::{Misconfigured, Refusal, RejectionKind};
use crate::token::ErasedToken;

pin_project! {
    /// The future of an [`McpGuard`](crate::mcp::McpGuard). A refusal is ready when it is first polled,
    /// unless the body must be read for it.
    pub struct McpGuardFuture<S, B>
    where
        S: Service<Request<RequestBody<B>>>,
    {
        #[pin]
        state: State<S::Future, Waiting<S, B>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, W> {
        Inner {
            #[pin]
            future: F,
            watch: Watch,
        },
        Refused {
            response: Option<Response<Bytes>>,
        },
        Waiting {
            waiting: Option<Box<W>>,
        },
    }
}

/// What is kept of a request until its response begins.
pub(crate) struct Watch {
    operation: Operation,
    settings: Arc<Settings>,
    token: Option<ErasedToken>,
}

impl Watch {
    pub(crate) fn begin<B>(
        mut parts: Parts,
        body: RequestBody<B>,
        operation: Operation,
        settings: &Arc<Settings>,
    ) -> (Request<RequestBody<B>>, Self) {
        let token = Found::find(&parts.extensions).ok().and_then(|found| found.erased().cloned());
        parts.extensions.insert(operation.clone());
        let watch = Self { operation, settings: Arc::clone(settings), token };
        (Request::from_parts(parts, body), watch)
    }

    fn end<R>(&self, mut response: Response<R>) -> Response<ResponseBody<R>> {
        if let Some(answer) = self.operation.take_answer() {
            return refused(answer);
        }
        if let Some(sessions) = &self.settings.sessions
            && response.headers().contains_key(SESSION_ID)
        {
            sessions.close(response.headers_mut(), self.token.as_ref().map(ErasedToken::claims));
        }
        bound(response, self.settings.sessions.as_ref(), self.token.as_ref())
    }
}

fn refused<R>(response: Response<Bytes>) -> Response<ResponseBody<R>> {
    response.map(|bytes| ResponseBody::refusal(middleware::ResponseBody::refusal(bytes.into())))
}

struct Waiting<S, B> {
    stage: Stage<B>,
    /// A clone, which isn't polled before the request was admitted.
    service: S,
    parts: Parts,
    settings: Arc<Settings>,
}

enum Stage<B> {
    Body {
        reader: Reader<B>,
        deadline: Option<Pin<Box<Sleep>>>,
    },
    Service {
        body: ReadBody,
        operation: Operation,
        /// The service wasn't ready at once. The token may expire before it is.
        was_busy: bool,
    },
}

const NO_TIMER: &str =
    "an MCP message is waited for outside of a tokio runtime, where nothing ends the wait";

impl<S: Service<Request<RequestBody<B>>>, B> McpGuardFuture<S, B> {
    pub(crate) const fn inner(future: S::Future, watch: Watch) -> Self {
        Self { state: State::Inner { future, watch } }
    }

    pub(crate) const fn refused(response: Response<Bytes>) -> Self {
        Self { state: State::Refused { response: Some(response) } }
    }

    pub(crate) fn waiting(
        reader: Reader<B>,
        parts: Parts,
        service: S,
        settings: Arc<Settings>,
    ) -> Self {
        let stage = Stage::Body { reader, deadline: None };
        let waiting = Box::new(Waiting { stage, service, parts, settings });
        Self { state: State::Waiting { waiting: Some(waiting) } }
    }
}

impl<S, B, R> Future for McpGuardFuture<S, B>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    B: Body + Unpin,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Inner { future, watch } => {
                    let response = ready!(future.poll(cx))?;
                    return Poll::Ready(Ok(watch.end(response)));
                }
                StateProj::Refused { response } => {
                    // Polled again after it was ready, it never completes, which the contract allows.
                    let Some(response) = response.take() else { return Poll::Pending };
                    return Poll::Ready(Ok(refused(response)));
                }
                StateProj::Waiting { waiting } => {
                    let Some(waited) = waiting else { return Poll::Pending };
                    let admitted = ready!(waited.poll(cx))?;
                    let Some(waited) = waiting.take() else { return Poll::Pending };
                    waited.proceed(admitted)
                }
            };
            state.set(next);
        }
    }
}

impl<S, B> Waiting<S, B>
where
    S: Service<Request<RequestBody<B>>>,
    B: Body + Unpin,
{
    /// Waits for the body and, if it lets the request pass, until the inner service is ready.
    #[allow(clippy::type_complexity, reason = "two results, of which one is the service's")]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Result<(), Refusal>, S::Error>> {
        loop {
            match &mut self.stage {
                Stage::Body { reader, deadline } => {
                    let Poll::Ready(body) = reader.poll(cx) else {
                        return poll_deadline(deadline, &self.settings, cx)
                            .map(|refusal| Ok(Err(refusal)));
                    };
                    match self.admit(body) {
                        Ok(stage) => self.stage = stage,
                        Err(refusal) => return Poll::Ready(Ok(Err(refusal))),
                    }
                }
                Stage::Service { was_busy, .. } => {
                    if self.service.poll_ready(cx)?.is_pending() {
                        *was_busy = true;
                        return Poll::Pending;
                    }
                    let still = if *was_busy { self.check_lifetime() } else { Ok(()) };
                    return Poll::Ready(Ok(still));
                }
            }
        }
    }

    fn admit(&self, body: Result<ReadBody, NotRead>) -> Result<Stage<B>, Refusal> {
        self.check_lifetime()?;
        let operation = self.settings.judge_body(&self.parts, &body)?;
        Ok(Stage::Service { body: body.unwrap_or_default(), operation, was_busy: false })
    }

    fn check_lifetime(&self) -> Result<(), Refusal> {
        Found::find(&self.parts.extensions)?.check_lifetime()
    }

    /// Continues where [`McpGuard`](crate::mcp::McpGuard) stopped.
    fn proceed(mut self, admitted: Result<(), Refusal>) -> State<S::Future, Self> {
        match (admitted, self.stage) {
            (Ok(()), Stage::Service { body, operation, .. }) => {
                let body = RequestBody::read(body);
                let (request, watch) = Watch::begin(self.parts, body, operation, &self.settings);
                State::Inner { future: self.service.call(request), watch }
            }
            (Err(refusal), _) => {
                let response = refuse(refusal, &self.parts.extensions, (&self.parts).into());
                State::Refused { response: Some(response) }
            }
            // Nothing is admitted before its body is read.
            (Ok(()), Stage::Body { .. }) => State::Refused { response: None },
        }
    }
}

fn poll_deadline(
    deadline: &mut Option<Pin<Box<Sleep>>>,
    settings: &Settings,
    cx: &mut Context<'_>,
) -> Poll<Refusal> {
    let deadline = match deadline {
        Some(deadline) => deadline,
        None if Handle::try_current().is_err() => {
            return Poll::Ready(Misconfigured::new(NO_TIMER).into());
        }
        none => none.insert(Box::pin(sleep(settings.timeout))),
    };
    deadline.as_mut().poll(cx).map(|()| RejectionKind::MessageTimedOut.into())
}

impl<S: Service<Request<RequestBody<B>>>, B> fmt::Debug for McpGuardFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpGuardFuture").finish_non_exhaustive()
    }
}
