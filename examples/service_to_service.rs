//! The whole flow in one process: an issuer, service B that checks tokens, and service A that gets
//! one and calls B.
//!
//! ```text
//! cargo run --example service_to_service --features service-to-service
//! ```
//!
//! Each line of its output is a step, what A saw, and the sums so far: the tokens that the issuer has
//! granted, the key sets that B has fetched from it, and the tokens that B has refused.

use std::error::Error;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use axum::middleware::map_response;
use axum::response::Response;
use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tower_bearer::client::{AttachTokenLayer, ClientAuth, Grant};
use tower_bearer::testing::{Endpoint, TestClient, TestIssuer};
use tower_bearer::{Access, AccessToken, BearerAuthLayer, RouteTable, Validator};

const AUDIENCE: &str = "https://orders.example";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The authorization server. Its tokens live for three seconds, so that one can see them expire.
    let issuer = TestIssuer::builder()
        .client(TestClient::secret("service-a", "s3cret").scopes(["orders:read"]))
        .audience(AUDIENCE)
        .token_lifetime(Duration::from_secs(3))
        .start()
        .await?;

    // Service B: orders need a token with `orders:read`.
    let validator = Validator::builder(issuer.issuer(), AUDIENCE).leeway(Duration::ZERO).build()?;
    validator.ready(Duration::from_secs(5)).await?;
    let refused = Arc::new(AtomicU64::new(0));
    let b = format!("http://{}", serve_b(validator.clone(), Arc::clone(&refused)).await?);

    // Service A: who it is, what it asks for, and to whom it sends its tokens.
    let tokens = Grant::discover(issuer.issuer(), ClientAuth::basic("service-a", "s3cret"))
        .scope("orders:read")
        .allow_loopback_http()
        .source()?;
    let orders = AttachTokenLayer::new(tokens.clone(), [&b])?;
    let http = reqwest::Client::new();
    let line = |step: &str, seen: &str| {
        let (counters, refused) = (issuer.counters(), refused.load(Ordering::Relaxed));
        let (granted, sets) = (counters.granted(), counters.requests(Endpoint::Jwks));
        println!("{step:<47} {seen:<25} granted {granted}, key sets {sets}, refused {refused}");
    };
    let call = async |step: &str| {
        let answer = orders.send(http.get(format!("{b}/orders"))).await?;
        let status = answer.status().as_u16();
        line(step, &format!("{status} {}", answer.text().await?));
        Ok::<_, Box<dyn Error>>(())
    };

    let status = http.get(format!("{b}/orders")).send().await?.status();
    line("without a token B refuses", &status.to_string());

    let token = tokens.token().await?;
    let (scopes, left) = (token.granted_scopes().cloned().unwrap_or_default(), token.remaining());
    line("A asks the issuer for a token", &format!("{scopes}, for {:.0} s", left.as_secs_f64()));

    call("A calls B").await?;
    call("A calls B again, with the same token").await?;

    tokio::time::sleep(left).await;
    call("the token has expired, A gets another").await?;

    // New keys: B has not seen them, and fetches them when the first token comes that needs them.
    issuer.rotate_overlapping();
    tokio::time::sleep(Duration::from_secs(3)).await;
    call("the issuer signs with a new key, B fetches it").await?;

    // The issuer withdraws its keys, and what they have signed. B learns of it …
    issuer.rotate_hard();
    if let Some(keys) = validator.jwks() {
        keys.refresh().await?;
    }
    // … refuses the token that A still has, and A comes again with another.
    call("A's token is revoked, B refuses it, A retries").await?;
    call("A calls B").await
}

async fn serve_b(
    validator: Validator,
    refused: Arc<AtomicU64>,
) -> Result<SocketAddr, Box<dyn Error>> {
    let routes = RouteTable::builder().any("/orders", Access::scope("orders:read")).build()?;
    let count = move |response: Response| {
        let is_refusal = response.status() == StatusCode::UNAUTHORIZED;
        refused.fetch_add(u64::from(is_refusal), Ordering::Relaxed);
        ready(response)
    };
    let app = Router::new()
        .route("/orders", get(list))
        .layer(BearerAuthLayer::new(validator).realm("orders")?.routes(routes))
        .layer(map_response(count));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

async fn list(token: AccessToken) -> String {
    format!("hello, {}", token.client_id().unwrap_or("an unnamed client"))
}
