//! What the middleware's tests have in common: tokens, a service to protect, and a look at logs.
#![allow(dead_code, reason = "each test file uses a part of it")]

#[path = "../support/log.rs"]
pub(crate) mod log;

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Full};
use serde_json::{Value, json};
use tower::{Service, ServiceExt as _};
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::testing::TestKey;
use tower_bearer::{AccessToken, BearerAuthLayer, Refusal, RejectionKind, Validator};

use self::log::{LevelFilter, Log};

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const AUDIENCE: &str = "https://api.example";

/// An issuer without a network: one key, and tokens signed with it.
pub(crate) struct Issuer {
    pub(crate) key: TestKey,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        Self { key: TestKey::generate(Algorithm::EdDSA) }
    }

    pub(crate) fn jwks_json(&self) -> String {
        json!({ "keys": [self.key.public_jwk()] }).to_string()
    }

    pub(crate) fn validator(&self) -> Validator {
        let keys = Jwks::static_set(ISSUER, &self.jwks_json()).unwrap();
        Validator::builder(ISSUER, AUDIENCE).keys(keys).build().unwrap()
    }

    /// The layer that most tests are about: realm `api`, a valid token needed everywhere.
    pub(crate) fn layer(&self) -> BearerAuthLayer {
        BearerAuthLayer::new(self.validator()).realm("api").unwrap()
    }

    /// A valid token with these scopes.
    pub(crate) fn token(&self, scope: &str) -> String {
        self.token_with(json!({ "scope": scope }))
    }

    /// A token with these claims over those of a valid one; `null` takes one out.
    pub(crate) fn token_with(&self, changes: Value) -> String {
        sign(&self.key, changes)
    }
}

#[allow(clippy::disallowed_methods, reason = "tokens for a validator with the system's clock")]
pub(crate) fn sign(key: &TestKey, changes: Value) -> String {
    let now = now();
    let mut claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "client_id": "app",
        "exp": now + 600, "iat": now, "jti": "1", "scope": "",
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    let header = json!({ "alg": key.algorithm().name(), "typ": "at+jwt", "kid": key.kid() });
    key.sign(header.to_string(), claims.to_string())
}

/// Seconds since the epoch: the validator's clock is the system's.
#[allow(clippy::disallowed_methods, reason = "tokens are valid in real time")]
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A service that counts its calls, and shows what it saw.
#[derive(Clone, Default)]
pub(crate) struct Inner {
    pub(crate) calls: Arc<AtomicUsize>,
    pub(crate) last: Arc<Mutex<Option<http::request::Parts>>>,
}

impl Inner {
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// The headers of the last request that came through.
    pub(crate) fn headers(&self) -> http::HeaderMap {
        self.last.lock().unwrap().as_ref().expect("no call came through").headers.clone()
    }

    /// The subject of the last request's token.
    pub(crate) fn subject(&self) -> Option<String> {
        let last = self.last.lock().unwrap();
        let token: AccessToken =
            AccessToken::from_extensions(&last.as_ref().expect("no call came through").extensions)?;
        token.subject().map(str::to_owned)
    }
}

impl<B> Service<Request<B>> for Inner {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        *self.last.lock().unwrap() = Some(request.into_parts().0);
        std::future::ready(Ok(Response::new(Full::from("inner"))))
    }
}

/// Returns `true` if a file has a test function of this name.
pub(crate) fn has_test(source: &str, name: &str) -> bool {
    let Some((before, _)) = source.split_once(&format!("fn {name}(")) else { return false };
    // Between the attributes and the function there are only others, and a comment at most.
    let attributes = before.rsplit("\n}").next().unwrap();
    attributes.contains("#[test]") || attributes.contains("#[tokio::test")
}

/// `GET path`, with these fields.
pub(crate) fn get(path: &str, fields: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    request("GET", path, fields)
}

pub(crate) fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).unwrap()
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// What came back, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response<Bytes>,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn challenge(&self) -> &str {
        self.header("www-authenticate").unwrap_or("")
    }

    pub(crate) fn body(&self) -> &str {
        std::str::from_utf8(self.response.body()).unwrap()
    }

    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        self.response.extensions().get()
    }

    pub(crate) fn kind(&self) -> Option<RejectionKind> {
        match self.refusal() {
            Some(Refusal::Rejection(rejection)) => Some(rejection.kind()),
            _ => None,
        }
    }
}

pub(crate) async fn send<S, B, R>(service: &S, request: Request<B>) -> Answer
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: std::fmt::Debug,
    R: http_body::Body<Data = Bytes>,
    R::Error: std::fmt::Debug,
{
    let response = service.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { response: Response::from_parts(parts, body) }
}

/// The events of `tower_bearer` while it lives, on this thread.
pub(crate) struct Logs {
    log: Log,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Logs {
    pub(crate) fn capture() -> Self {
        let (log, guard) = Log::of_this_thread(LevelFilter::TRACE);
        Self { log, _guard: guard }
    }

    /// Returns the lines about requests so far, and forgets them.
    pub(crate) fn take(&self) -> Vec<String> {
        let of_requests = |line: &&str| {
            line.contains("tower_bearer")
                && !line.contains("jwks")
                && !line.contains("bearer: auth_")
        };
        self.log.take().lines().filter(of_requests).map(str::to_owned).collect()
    }
}
