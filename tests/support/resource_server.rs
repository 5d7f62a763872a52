//! A resource server: an axum router behind the layer, on a port of its own.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use http::Method;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower_bearer::jwks::Jwks;
use tower_bearer::{
    Access, AccessToken, BearerAuthLayer, Requirement, RouteTable, Validator, ValidatorBuilder,
};

use crate::support::authorization_server::{AUDIENCE, AuthorizationServer};

/// A resource server that is closed on drop.
#[derive(Debug)]
pub(crate) struct ResourceServer {
    validator: Validator,
    address: SocketAddr,
    http: reqwest::Client,
    server: JoinHandle<()>,
}

/// Returns a validator for the server's tokens, found by discovery, with windows short enough for
/// a test: a forced fetch is allowed every second.
pub(crate) fn validator_for(server: &AuthorizationServer) -> ValidatorBuilder {
    let keys = Jwks::discover(server.issuer()).cooldown(Duration::from_secs(1));
    Validator::builder(server.issuer(), AUDIENCE).keys(keys).leeway(Duration::ZERO)
}

impl ResourceServer {
    /// Starts a server behind the validator, without waiting for its keys.
    pub(crate) async fn start(validator: Validator) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.expect("a port"), validator)
    }

    /// Starts a server on a port that is known already.
    pub(crate) fn start_on(listener: TcpListener, validator: Validator) -> Self {
        let scope = |scope| Requirement::scope(scope).expect("a scope");
        let routes = RouteTable::builder()
            .route(Method::GET, "/public", Access::public())
            .route(Method::GET, "/whoami", Access::token())
            .route(Method::GET, "/read", Access::scope("api:read"))
            .route(
                Method::POST,
                "/write",
                Access::requires(Requirement::all([scope("api:read"), scope("api:write")])),
            )
            .build()
            .expect("a route table");
        let layer = BearerAuthLayer::new(validator.clone()).realm("api").expect("a realm");
        let router = Router::new()
            .route("/public", get(|| async {}))
            .route("/whoami", get(whoami))
            .route("/read", get(|| async {}))
            .route("/write", post(|| async {}))
            .layer(layer.routes(routes));
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("the server runs");
        });
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        Self { validator, address, http, server }
    }

    /// Starts a server behind the validator, and waits for its keys.
    pub(crate) async fn ready(validator: Validator) -> Self {
        validator.ready(Duration::from_secs(10)).await.expect("keys within ten seconds");
        Self::start(validator).await
    }

    /// Starts a server for the tokens of the authorization server, and waits for its keys.
    pub(crate) async fn trusting(server: &AuthorizationServer) -> Self {
        Self::ready(validator_for(server).build().expect("a validator")).await
    }

    /// Returns the keys that the server trusts.
    pub(crate) fn jwks(&self) -> &Jwks {
        self.validator.jwks().expect("its keys are not static")
    }

    /// Returns the address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends a request with the token.
    pub(crate) async fn send(&self, method: Method, path: &str, token: &str) -> Response {
        let request = self.http.request(method, self.url(path)).bearer_auth(token);
        request.send().await.expect("the resource server answers")
    }

    /// Returns the status of a GET with the token.
    pub(crate) async fn get(&self, path: &str, token: &str) -> u16 {
        self.send(Method::GET, path, token).await.status().as_u16()
    }
}

impl Drop for ResourceServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn whoami(token: AccessToken) -> axum::Json<Value> {
    axum::Json(json!({
        "issuer": token.issuer(),
        "subject": token.subject(),
        "scopes": token.scopes().to_string(),
    }))
}

/// Returns the challenge of a refusal.
pub(crate) fn challenge(response: &Response) -> &str {
    let value = response.headers().get("www-authenticate").expect("a challenge");
    value.to_str().expect("ASCII")
}
