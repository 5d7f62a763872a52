use std::convert::Infallible;
use std::future::{Future, Ready, poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use tower::{Layer, Service};
use tower_bearer::jose::HmacAlgorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::mcp::{McpGuardLayer, OperationTable};
use tower_bearer::mtls::Certificate;
use tower_bearer::{Access, AccessToken, Secret, Validator, ValidatorBuilder};

use crate::proofs::Prover;
use crate::tokens::{AUDIENCE, ISSUER, Signing, key_set, secret};

/// A validator that knows the issuer's keys.
pub fn validator(signing: Signing) -> Validator {
    builder(signing).build().unwrap()
}

/// The same, for which every token is new.
pub fn forgetful_validator(signing: Signing) -> Validator {
    builder(signing).cache_entries(0).build().unwrap()
}

pub fn builder(signing: Signing) -> ValidatorBuilder {
    let builder = Validator::builder(ISSUER, AUDIENCE);
    if signing == Signing::Hs256 {
        return builder.dangerous_shared_secret(HmacAlgorithm::HS256, Secret::new(secret()));
    }
    builder.keys(Jwks::static_set(ISSUER, &key_set().to_string()).unwrap())
}

/// Where the service is, as its clients know it, and what it answers.
pub const ORIGIN: &str = "https://orders.example.com";
pub const PATH: &str = "/orders";

/// What is protected.
pub fn router() -> Router {
    Router::new().route(PATH, get(|| async { "[]" }))
}

/// The same, with a handler that asks for the token.
pub fn asking_router() -> Router {
    Router::new().route(PATH, get(|_: AccessToken| async { "[]" }))
}

/// The same, with a handler that asks for what the control inserts.
pub fn control_asking_router() -> Router {
    Router::new().route(PATH, get(|_: Extension<Arc<ControlClaims>>| async { "[]" }))
}

/// What any layer costs that hands something over: it inserts the same claims into each request.
#[derive(Clone)]
pub struct Control<S> {
    inner: S,
    claims: Arc<ControlClaims>,
}

#[derive(Clone)]
pub struct ControlLayer(Arc<ControlClaims>);

pub struct ControlClaims {
    pub subject: String,
    pub scopes: Vec<String>,
}

impl Default for ControlLayer {
    fn default() -> Self {
        let scopes = crate::tokens::SCOPES.split(' ').map(str::to_owned).collect();
        Self(Arc::new(ControlClaims { subject: "service-account-billing-worker".into(), scopes }))
    }
}

impl<S> Layer<S> for ControlLayer {
    type Service = Control<S>;

    fn layer(&self, inner: S) -> Control<S> {
        Control { inner, claims: Arc::clone(&self.0) }
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Control<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.extensions_mut().insert(Arc::clone(&self.claims));
        self.inner.call(request)
    }
}

/// A server that reads what it is sent.
#[derive(Clone, Copy)]
pub struct Reading;

impl<B: http_body::Body<Data = Bytes> + Unpin> Service<Request<B>> for Reading {
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut body = request.into_body();
        let mut read = 0;
        while let Some(frame) = now(poll_fn(|cx| Pin::new(&mut body).poll_frame(cx))) {
            let Ok(frame) = frame else { panic!("the body broke off") };
            read += frame.data_ref().map_or(0, Bytes::len);
        }
        assert_eq!(read, MESSAGE);
        ready(Ok(Response::new(Body::empty())))
    }
}

/// How large a tool call is.
const MESSAGE: usize = 1_024;

/// An MCP guard whose table is as those of small servers.
pub fn guard() -> McpGuardLayer {
    let scope = crate::tokens::SCOPES.split(' ').next().unwrap();
    let operations = OperationTable::builder(Access::scope(scope))
        .tool("list_orders", Access::token())
        .tool("cancel_order", Access::scope("orders:cancel"))
        .other_tools(Access::denied())
        .method("initialize", Access::token())
        .method("notifications/*", Access::token());
    McpGuardLayer::new(operations.build().unwrap()).unwrap()
}

/// What whoever accepts connections says of one: the thumbprint was made once.
#[derive(Clone, Copy)]
pub struct Connection(pub Certificate);

/// A request that can be made again and again, for little.
#[derive(Clone)]
pub struct Template {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    connection: Option<Connection>,
    prover: Option<Arc<Prover>>,
}

impl Template {
    pub fn bare() -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("orders.example.com"));
        headers.insert(USER_AGENT, HeaderValue::from_static("billing-worker/3.1"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let (method, uri, body) = (Method::GET, Uri::from_static(PATH), Bytes::new());
        Self { method, uri, headers, body, connection: None, prover: None }
    }

    pub fn with(token: &str) -> Self {
        let mut template = Self::bare();
        let field = format!("Bearer {token}").parse().unwrap();
        template.headers.insert(AUTHORIZATION, field);
        template
    }

    /// The same over a connection.
    pub fn over(self, connection: Connection) -> Self {
        Self { connection: Some(connection), ..self }
    }

    /// A request whose token is bound to a key, with another proof each time.
    pub fn proved(prover: Prover) -> Self {
        let mut template = Self::bare();
        let field = format!("DPoP {}", prover.token()).parse().unwrap();
        template.headers.insert(AUTHORIZATION, field);
        template.prover = Some(Arc::new(prover));
        template
    }

    /// The same, with its next proof made already.
    pub fn ready(&self) -> Self {
        let mut template = self.clone();
        if let Some(prover) = template.prover.take() {
            template.headers.insert("dpop", prover.proof());
        }
        template
    }

    /// A message that calls a tool, as clients write it.
    pub fn tool_call(token: &str) -> Self {
        let message = |note: &str| {
            let arguments = format!(r#"{{"customer":"c-4711","open":true,"note":"{note}"}}"#);
            let params = format!(r#"{{"name":"list_orders","arguments":{arguments}}}"#);
            format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{params}}}"#)
        };
        let rest = MESSAGE - message("").len();
        let mut template = Self::with(token);
        template.method = Method::POST;
        template.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        template.headers.insert(CONTENT_LENGTH, MESSAGE.into());
        template.body = message(&"x".repeat(rest)).into();
        template
    }

    pub fn request(&self) -> Request<Body> {
        let body = if self.body.is_empty() { Body::empty() } else { self.body.clone().into() };
        let mut request = Request::new(body);
        request.method_mut().clone_from(&self.method);
        request.uri_mut().clone_from(&self.uri);
        request.headers_mut().clone_from(&self.headers);
        if let Some(prover) = &self.prover {
            request.headers_mut().insert("dpop", prover.proof());
        }
        if let Some(connection) = self.connection {
            request.extensions_mut().insert(connection);
        }
        request
    }
}

/// Sends a request and returns the status. Nothing in the benches may wait.
pub fn send<S, B>(service: &mut S, request: Request<Body>) -> StatusCode
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
{
    let Ok(()) = now(std::future::poll_fn(|cx| service.poll_ready(cx)));
    let Ok(response) = now(service.call(request));
    response.status()
}

/// The result of a future that is ready at once.
pub fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("something had to wait"),
    }
}
