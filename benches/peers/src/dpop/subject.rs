//! What is measured: something that answers requests with proofs.

use std::convert::Infallible;
use std::future::poll_fn;
use std::hint::black_box;

use aws_lc_rs::signature::ParsedPublicKey;
use axum::body::Body;
use http::header::{ACCEPT, AUTHORIZATION, HOST, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use tower::Service;

use crate::dpop::client::{Client, PATH, Shown};
use crate::issuer::signed;
use crate::subject::Pending;

/// A contender. Its methods are called through a pointer once for a batch, not once for a request.
pub trait Subject {
    /// Makes ready for a request of each client, with a proof that was never used. Isn't timed.
    fn prepare(&mut self, clients: &[Client]);

    /// Answers what was made ready, each of which must be a success.
    fn batch(&mut self) -> Pending<'_, ()>;

    /// Answers one request, where there is something to answer.
    fn status(&mut self, shown: Shown) -> Pending<'_, Option<StatusCode>>;
}

fn request(shown: Shown) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_static(PATH);
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("api.example.com"));
    headers.insert(USER_AGENT, HeaderValue::from_static("bench/1"));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(AUTHORIZATION, shown.authorization);
    if let Some(proof) = shown.proof {
        headers.insert("dpop", proof);
    }
    request
}

/// A tower service.
pub struct Served<S> {
    service: S,
    ready: Vec<Shown>,
}

impl<S> Served<S> {
    pub fn new(service: S) -> Self {
        Self { service, ready: Vec::new() }
    }
}

impl<S, B> Subject for Served<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
{
    fn prepare(&mut self, clients: &[Client]) {
        self.ready.extend(clients.iter().map(Client::shown));
    }

    fn batch(&mut self) -> Pending<'_, ()> {
        Box::pin(async move {
            for shown in self.ready.drain(..) {
                let Ok(()) = poll_fn(|cx| self.service.poll_ready(cx)).await;
                let Ok(response) = self.service.call(request(shown)).await;
                assert_eq!(response.status(), StatusCode::OK);
                black_box(&response);
            }
        })
    }

    fn status(&mut self, shown: Shown) -> Pending<'_, Option<StatusCode>> {
        Box::pin(async move {
            let Ok(()) = poll_fn(|cx| self.service.poll_ready(cx)).await;
            let Ok(response) = self.service.call(request(shown)).await;
            Some(response.status())
        })
    }
}

/// What is signed, its signature, and the place of the client.
type Signed = (Vec<u8>, Vec<u8>, usize);

/// The checks of signatures alone, with keys that were parsed beforehand.
#[derive(Default)]
pub struct Raw {
    /// The clients'.
    keys: Vec<ParsedPublicKey>,
    /// The issuer's, if the tokens' signatures are checked too.
    issuer: Option<ParsedPublicKey>,
    proofs: Vec<Signed>,
    tokens: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Raw {
    /// Of the proofs.
    pub fn proofs(clients: &[Client]) -> Self {
        Self { keys: clients.iter().map(Client::public_key).collect(), ..Self::default() }
    }

    /// Of the tokens and of the proofs.
    pub fn both(clients: &[Client], issuer: ParsedPublicKey) -> Self {
        let tokens = clients.iter().map(|client| signed(client.token())).collect();
        Self { issuer: Some(issuer), tokens, ..Self::proofs(clients) }
    }
}

impl Subject for Raw {
    fn prepare(&mut self, clients: &[Client]) {
        let proofs = clients.iter().enumerate().map(|(place, client)| {
            let (message, signature) = signed(&client.proof());
            (message, signature, place)
        });
        self.proofs.extend(proofs);
    }

    fn batch(&mut self) -> Pending<'_, ()> {
        Box::pin(async move {
            for (message, signature, place) in self.proofs.drain(..) {
                if let Some(issuer) = &self.issuer {
                    let (message, signature) = &self.tokens[place];
                    let checked = issuer.verify_sig(black_box(message), signature);
                    checked.expect("a good signature");
                }
                let checked = self.keys[place].verify_sig(black_box(&message), &signature);
                checked.expect("a good signature");
            }
        })
    }

    fn status(&mut self, _: Shown) -> Pending<'_, Option<StatusCode>> {
        Box::pin(async { None })
    }
}
