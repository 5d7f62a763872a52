//! What is measured: something that answers requests.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::Pin;

use aws_lc_rs::signature::ParsedPublicKey;
use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HOST, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::Service;

pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A contender. Its methods are called through a pointer once for a batch, not once for a request.
pub trait Subject {
    /// Answers this many requests, each of which must be a success.
    fn batch(&mut self, requests: usize) -> Pending<'_, ()>;

    /// Answers one request, where there is something to answer.
    fn status<'a>(&'a mut self, token: Option<&'a str>) -> Pending<'a, Option<StatusCode>>;

    /// Serves HTTP/1.1, if it can.
    fn serve(&self, listener: TcpListener);
}

fn request(authorization: Option<&HeaderValue>) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_static("/orders");
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("api.example.com"));
    headers.insert(USER_AGENT, HeaderValue::from_static("bench/1"));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    if let Some(value) = authorization {
        headers.insert(AUTHORIZATION, value.clone());
    }
    request
}

pub fn authorization(token: &str) -> HeaderValue {
    HeaderValue::try_from(format!("Bearer {token}")).expect("a header value")
}

/// A tower service, and the tokens that it gets in turn.
pub struct Served<S> {
    service: S,
    tokens: Vec<HeaderValue>,
    next: usize,
}

impl<S> Served<S> {
    pub fn new(service: S, tokens: &[String]) -> Self {
        let tokens = tokens.iter().map(|token| authorization(token)).collect();
        Self { service, tokens, next: 0 }
    }
}

impl<S, B> Subject for Served<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static,
{
    fn batch(&mut self, requests: usize) -> Pending<'_, ()> {
        Box::pin(async move {
            for _ in 0..requests {
                let request = request(Some(&self.tokens[self.next]));
                self.next = (self.next + 1) % self.tokens.len();
                let Ok(()) = poll_fn(|cx| self.service.poll_ready(cx)).await;
                let Ok(response) = self.service.call(request).await;
                assert_eq!(response.status(), StatusCode::OK);
                black_box(&response);
            }
        })
    }

    fn status<'a>(&'a mut self, token: Option<&'a str>) -> Pending<'a, Option<StatusCode>> {
        Box::pin(async move {
            let token = token.map(authorization);
            let Ok(()) = poll_fn(|cx| self.service.poll_ready(cx)).await;
            let Ok(response) = self.service.call(request(token.as_ref())).await;
            Some(response.status())
        })
    }

    fn serve(&self, listener: TcpListener) {
        use tower::ServiceExt;
        let service = self
            .service
            .clone()
            .map_request(|request: Request<hyper::body::Incoming>| request.map(Body::new));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                stream.set_nodelay(true).expect("TCP_NODELAY");
                let service = TowerToHyperService::new(service.clone());
                let connection = hyper::server::conn::http1::Builder::new()
                    .pipeline_flush(true)
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
    }
}

/// The check of the tokens' signatures alone, with a key that was parsed beforehand.
pub struct Raw {
    pub key: ParsedPublicKey,
    /// Messages and signatures.
    pub signed: Vec<(Vec<u8>, Vec<u8>)>,
    pub next: usize,
}

impl Subject for Raw {
    fn batch(&mut self, requests: usize) -> Pending<'_, ()> {
        Box::pin(async move {
            for _ in 0..requests {
                let (message, signature) = &self.signed[self.next];
                self.next = (self.next + 1) % self.signed.len();
                let checked = self.key.verify_sig(black_box(message), signature);
                checked.expect("a good signature");
            }
        })
    }

    fn status<'a>(&'a mut self, _: Option<&'a str>) -> Pending<'a, Option<StatusCode>> {
        Box::pin(async { None })
    }

    fn serve(&self, _: TcpListener) {}
}
