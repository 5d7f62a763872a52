//! The least that some of the goals' parts cost, whoever writes them: what stands in the way.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::body::Body;
use base64::Engine as _;
use base64::engine::Simd;
use base64::engine::general_purpose::NO_PAD;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use serde::Deserialize;
use tower::util::MapResponse;
use tower::{Layer, Service};

use crate::service::{Control, ControlLayer};
use crate::tokens::{Issuer, Signing};

/// The control, with a type of its own for bodies: as a layer for any stack of tower's must have
/// that says something itself and leaves the bodies of others alone.
#[derive(Clone, Default)]
pub struct WrappingLayer(ControlLayer);

type Wrap = fn(Response<Body>) -> Response<Wrapped>;

impl<S> Layer<S> for WrappingLayer {
    type Service = MapResponse<Control<S>, Wrap>;

    fn layer(&self, inner: S) -> Self::Service {
        MapResponse::new(self.0.layer(inner), |response| response.map(Wrapped))
    }
}

/// A body that is only passed on.
pub struct Wrapped(Body);

impl http_body::Body for Wrapped {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Refuses everybody without looking, with an answer that was made beforehand and axum's own type
/// of bodies. Why, it says in the extensions: that is another three allocations.
#[derive(Clone)]
pub struct RefusingLayer(Arc<HeaderMap>);

/// axum clones it for each request.
#[derive(Clone)]
pub struct Refusing(Arc<HeaderMap>);

#[derive(Clone)]
enum Reason {
    NoCredentials,
}

const BODY: &str = r#"{"error":"unauthorized","error_description":"An access token is required"}"#;

impl Default for RefusingLayer {
    fn default() -> Self {
        let fields = [
            (WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="orders""#)),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (CONTENT_LENGTH, BODY.len().into()),
        ];
        Self(Arc::new(fields.into_iter().collect()))
    }
}

impl<S> Layer<S> for RefusingLayer {
    type Service = Refusing;

    fn layer(&self, _: S) -> Refusing {
        Refusing(Arc::clone(&self.0))
    }
}

impl<B> Service<Request<B>> for Refusing {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let mut response = Response::new(Body::from(Bytes::from_static(BODY.as_bytes())));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        *response.headers_mut() = HeaderMap::clone(&self.0);
        response.extensions_mut().insert(Reason::NoCredentials);
        ready(Ok(response))
    }
}

/// The claims of the benches' tokens, as leniently read as `serde_json` does it by itself.
#[derive(Deserialize)]
#[expect(dead_code, reason = "they are read for the sake of reading")]
struct Claims<'a> {
    #[serde(borrow)]
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: &'a str,
    client_id: &'a str,
    scope: &'a str,
    exp: f64,
    iat: f64,
}

/// The control, which first decodes a token and checks its signature: as little as can be done with
/// `base64`, `serde_json` and `aws-lc-rs`. It looks for no token and no key, compares and keeps
/// nothing.
#[derive(Clone)]
pub struct CheckingLayer {
    control: ControlLayer,
    check: Check,
}

#[derive(Clone)]
pub struct Checking<S> {
    inner: Control<S>,
    check: Check,
}

type Check = Arc<Mutex<dyn FnMut() + Send>>;

impl CheckingLayer {
    pub fn new(signing: Signing) -> Self {
        let issuer = Issuer::new(signing);
        let token = issuer.token(0);
        let (floor, mut read) = (issuer.floor(&token), reading(&token));
        let check = move || {
            read();
            assert!(floor.check());
        };
        Self { control: ControlLayer::default(), check: Arc::new(Mutex::new(check)) }
    }
}

impl<S> Layer<S> for CheckingLayer {
    type Service = Checking<S>;

    fn layer(&self, inner: S) -> Checking<S> {
        Checking { inner: self.control.layer(inner), check: Arc::clone(&self.check) }
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Checking<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        (self.check.lock().unwrap())();
        self.inner.call(request)
    }
}

/// Decodes the payload and the signature of a token, and reads the claims, without any check and
/// without keeping them.
fn reading(token: &str) -> impl FnMut() + Send + use<> {
    let (engine, mut room) = (Simd::url_safe(NO_PAD), vec![0; token.len()]);
    let segments: Vec<String> = token.split('.').skip(1).map(str::to_owned).collect();
    move || {
        let [payload, signature] = black_box(&*segments) else { unreachable!() };
        let payload = engine.decode_slice(payload, &mut room).unwrap();
        let (payload, room) = room.split_at_mut(payload);
        engine.decode_slice(signature, room).unwrap();
        let claims: Claims<'_> = serde_json::from_slice(payload).unwrap();
        black_box(claims);
    }
}
