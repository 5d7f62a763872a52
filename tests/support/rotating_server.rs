//! A token endpoint whose client's secret changes while tokens are asked for.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Response, StatusCode};
use tokio::time::sleep;
use tower_bearer::client::{ClientAuth, Grant, SecretProvider, TokenClient, TokenSource};
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport};

/// Accepts the client `svc` with one secret, and gives tokens that serve once.
#[derive(Clone, Debug)]
pub(crate) struct RotatingServer {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    accepted: String,
    refusals: usize,
}

impl RotatingServer {
    /// Starts with this secret.
    pub(crate) fn new(secret: &str) -> Self {
        let state = State { accepted: secret.to_owned(), refusals: 0 };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Accepts this secret from now on, and no other.
    pub(crate) fn rotate(&self, secret: &str) {
        self.state.lock().expect("no panic").accepted = secret.to_owned();
    }

    /// Returns how many requests were refused.
    pub(crate) fn refusals(&self) -> usize {
        self.state.lock().expect("no panic").refusals
    }

    /// Returns a source whose client's secret the provider has.
    pub(crate) fn source(&self, provider: impl SecretProvider) -> TokenSource {
        let server = self.clone();
        let transport = ScriptedTransport::from_fn(move |request| server.answer(request.headers()));
        let grant = Grant::endpoint("https://issuer.example/token", auth(provider));
        let client = TokenClient::builder().transport(transport).build().expect("a client");
        client.source(&grant.build().expect("a grant"))
    }

    fn answer(&self, headers: &HeaderMap) -> ScriptedAnswer {
        let mut state = self.state.lock().expect("no panic");
        let expected = format!("Basic {}", STANDARD.encode(format!("svc:{}", state.accepted)));
        if headers.get(AUTHORIZATION).is_some_and(|given| given.as_bytes() == expected.as_bytes()) {
            let token = r#"{"access_token":"token","token_type":"Bearer","expires_in":0}"#;
            return ScriptedAnswer::json(token);
        }
        state.refusals += 1;
        let mut response = Response::new(Bytes::from(r#"{"error":"invalid_client"}"#));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        let json = "application/json".parse().expect("a header");
        response.headers_mut().insert(CONTENT_TYPE, json);
        ScriptedAnswer::new(response)
    }
}

fn auth(provider: impl SecretProvider) -> ClientAuth {
    ClientAuth::basic("svc", provider)
}

/// Asks for 400 tokens, with a pause before each, all of which must be had.
pub(crate) async fn no_call_fails(source: TokenSource, pause: Duration) {
    for _ in 0..400 {
        sleep(pause).await;
        source.token().await.expect("no call fails");
    }
}
