//! A server that keeps what it was sent, and the guard around it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Full};
use tower::{Layer as _, Service};
use tower_bearer::Access;
use tower_bearer::BearerAuthLayer;
use tower_bearer::mcp::{McpGuard, McpGuardLayer, OperationTable, RequestBody};
use tower_bearer::middleware::BearerAuth;

use crate::world::{Issuer, bearer};

pub(crate) type App = BearerAuth<McpGuard<Server>>;

/// What came through.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) parts: Parts,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

type Answer = dyn Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync;

/// The MCP server.
#[derive(Clone)]
pub(crate) struct Server {
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: Arc<Answer>,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self::that_answers(|_| Response::new(Full::from("done")))
    }

    pub(crate) fn that_answers(
        answer: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self { seen: Arc::default(), answer: Arc::new(answer) }
    }

    pub(crate) fn take(&self) -> Option<Seen> {
        self.seen.lock().unwrap().pop()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

impl<B> Service<Request<RequestBody<B>>> for Server
where
    B: Body<Error: std::fmt::Debug> + Unpin + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody<B>>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let collected = body.collect().await.unwrap();
            let trailers = collected.trailers().cloned();
            let seen = Seen { parts, body: collected.to_bytes(), trailers };
            let answer = (server.answer)(&seen);
            server.seen.lock().unwrap().push(seen);
            Ok(answer)
        })
    }
}

/// The table that most tests are about: `add` needs the base, `wipe` more.
pub(crate) fn operations() -> OperationTable {
    OperationTable::builder(Access::scope("mcp:use"))
        .tool("add", Access::token())
        .tool("wipe", Access::scope("mcp:danger"))
        .other_tools(Access::denied())
        .prompt("secret", Access::scope("mcp:prompts"))
        .resource_prefix("file:///public", Access::token())
        .resource_prefix("file:///public/hr", Access::scope("hr"))
        .resource_prefix("db://", Access::scope("db"))
        .other_resources(Access::denied())
        .method("initialize", Access::token())
        .method("notifications/*", Access::token())
        .build()
        .unwrap()
}

pub(crate) fn guard() -> McpGuardLayer {
    McpGuardLayer::new(operations()).unwrap()
}

/// The guard around the server, behind a layer that asks for a valid token.
pub(crate) fn app(issuer: &Issuer, guard: McpGuardLayer, server: &Server) -> App {
    within(issuer.layer(), guard, server)
}

pub(crate) fn within(layer: BearerAuthLayer, guard: McpGuardLayer, server: &Server) -> App {
    layer.layer(guard.layer(server.clone()))
}

/// `POST /mcp` with a message, as a client sends it.
pub(crate) fn post<B>(token: &str, body: B) -> Request<B> {
    Request::post("/mcp")
        .header("authorization", bearer(token))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .body(body)
        .unwrap()
}

pub(crate) fn message(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

pub(crate) fn call(tool: &str) -> String {
    message("tools/call", &format!(r#"{{"name":"{tool}","arguments":{{}}}}"#))
}

/// A body of these frames.
pub(crate) struct Frames(pub(crate) VecDeque<Result<Frame<Bytes>, &'static str>>);

impl Frames {
    pub(crate) fn of<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self(chunks.into_iter().map(|it| Ok(Frame::data(Bytes::copy_from_slice(it)))).collect())
    }

    pub(crate) fn and(mut self, frame: Result<Frame<Bytes>, &'static str>) -> Self {
        self.0.push_back(frame);
        self
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(self.0.pop_front())
    }
}
