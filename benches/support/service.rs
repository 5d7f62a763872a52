use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use http::header::{ACCEPT, AUTHORIZATION, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use tower::{Layer, Service};
use tower_bearer::jose::HmacAlgorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::{Secret, Validator, ValidatorBuilder};

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

/// What is protected.
pub fn router() -> Router {
    Router::new().route("/orders", get(|| async { "[]" }))
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

/// A request that can be made again and again, for little.
#[derive(Clone)]
pub struct Template {
    uri: Uri,
    headers: HeaderMap,
}

impl Template {
    pub fn bare() -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("orders.example.com"));
        headers.insert(USER_AGENT, HeaderValue::from_static("billing-worker/3.1"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        Self { uri: Uri::from_static("/orders"), headers }
    }

    pub fn with(token: &str) -> Self {
        let mut template = Self::bare();
        let field = format!("Bearer {token}").parse().unwrap();
        template.headers.insert(AUTHORIZATION, field);
        template
    }

    pub fn request(&self) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        request.uri_mut().clone_from(&self.uri);
        request.headers_mut().clone_from(&self.headers);
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
