//! The whole flow in one process: an issuer, service B that checks tokens, and service A that gets
//! one and calls B. At the end B calls service C on A's behalf, with a token that it gets for A's.
//!
//! ```text
//! cargo run --example service_to_service --features service-to-service
//! ```
//!
//! Each line of its output is a step, what A saw, and the sums so far: the tokens that the issuer has
//! granted, the key sets that B and C have fetched from it, and the tokens that B has refused.

use std::error::Error;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tower_bearer::client::{
    AttachTokenLayer, ClientAuth, Grant, OnBehalf, OnBehalfOf, TokenExchange,
};
use tower_bearer::middleware::Authorized;
use tower_bearer::testing::{Endpoint, TestClient, TestIssuer};
use tower_bearer::{Access, AccessToken, BearerAuthLayer, RouteTable, Validator};

const AUDIENCE: &str = "https://orders.example";
const STOCK: &str = "https://stock.example";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The authorization server. Its tokens live for three seconds, so that one can see them expire.
    let issuer = TestIssuer::builder()
        .client(TestClient::secret("service-a", "s3cret").scopes(["orders:read"]))
        .client(TestClient::secret("service-b", "s3cret-b"))
        .audience(AUDIENCE)
        .token_lifetime(Duration::from_secs(3))
        .start()
        .await?;

    // Service B: orders need a token with `orders:read`.
    let validator = Validator::builder(issuer.issuer(), AUDIENCE).leeway(Duration::ZERO).build()?;
    validator.ready(Duration::from_secs(5)).await?;
    let refused = Arc::new(AtomicU64::new(0));
    // Service C: it has tokens for itself only, so that B doesn't send A's on, and exchanges it.
    let of_c = Validator::builder(issuer.issuer(), STOCK).build()?;
    of_c.ready(Duration::from_secs(5)).await?;
    let c = format!("http://{}", serve_c(of_c).await?);
    let stock = Stock {
        // B is a client of its own, and asks for what C needs.
        tokens: Grant::discover(issuer.issuer(), ClientAuth::basic("service-b", "s3cret-b"))
            .audience(STOCK)
            .scope("stock:read")
            .allow_loopback_http()
            .on_behalf(OnBehalfOf::token_exchange(TokenExchange::new()))?,
        http: reqwest::Client::new(),
        url: format!("{c}/stock").parse()?,
    };
    let b = format!("http://{}", serve_b(validator.clone(), Arc::clone(&refused), stock).await?);

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
    let call_at = async |path: &str, step: &str| {
        let answer = orders.send(http.get(format!("{b}{path}"))).await?;
        let status = answer.status().as_u16();
        line(step, &format!("{status} {}", answer.text().await?));
        Ok::<_, Box<dyn Error>>(())
    };
    let call = async |step: &str| call_at("/orders", step).await;

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
    call("A calls B").await?;

    call_at("/stock", "A calls B, which calls C on A's behalf").await?;
    call_at("/stock", "the same, with the same tokens").await
}

/// How B calls C.
#[derive(Clone)]
struct Stock {
    tokens: OnBehalf,
    http: reqwest::Client,
    url: Uri,
}

async fn serve_b(
    validator: Validator,
    refused: Arc<AtomicU64>,
    stock: Stock,
) -> Result<SocketAddr, Box<dyn Error>> {
    let routes = RouteTable::builder()
        .any("/orders", Access::scope("orders:read"))
        .any("/stock", Access::scope("orders:read"))
        .build()?;
    let count = move |response: Response| {
        let is_refusal = response.status() == StatusCode::UNAUTHORIZED;
        refused.fetch_add(u64::from(is_refusal), Ordering::Relaxed);
        ready(response)
    };
    let app = Router::new()
        .route("/orders", get(list))
        .route("/stock", get(ask_c))
        .with_state(stock)
        .layer(BearerAuthLayer::new(validator).realm("orders")?.routes(routes).keep_for_exchange())
        .layer(map_response(count));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

async fn serve_c(validator: Validator) -> Result<SocketAddr, Box<dyn Error>> {
    let routes = RouteTable::builder().any("/stock", Access::scope("stock:read")).build()?;
    let app = Router::new()
        .route("/stock", get(stock))
        .layer(BearerAuthLayer::new(validator).realm("stock")?.routes(routes));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

async fn ask_c(State(stock): State<Stock>, caller: Authorized) -> Result<String, Response> {
    let token = caller.on_behalf(&stock.tokens).await.map_err(IntoResponse::into_response)?;
    let unsent = |_| StatusCode::BAD_GATEWAY.into_response();
    // For a grant with a DPoP key, this writes a proof as well.
    let mut headers = HeaderMap::new();
    stock.tokens.authorize(&token, &Method::GET, &stock.url, &mut headers).map_err(unsent)?;
    let request = stock.http.get(stock.url.to_string()).headers(headers);
    let answer = async { request.send().await?.error_for_status()?.text().await };
    answer.await.map_err(|_| StatusCode::BAD_GATEWAY.into_response())
}

async fn stock(token: AccessToken) -> String {
    let by = token.actor().and_then(|actor| actor.subject());
    format!("{} by {}", token.subject().unwrap_or_default(), by.unwrap_or("nobody"))
}

async fn list(token: AccessToken) -> String {
    format!("hello, {}", token.client_id().unwrap_or("an unnamed client"))
}
