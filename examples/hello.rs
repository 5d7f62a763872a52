//! The least code that protects a route.
//!
//! ```text
//! ISSUER=https://issuer.example AUDIENCE=https://api.example cargo run --example hello
//! ```

use axum::{Router, routing::get};
use tower_bearer::{AccessToken, BearerAuthLayer, Validator};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let set =
        |name| std::env::var(name).map_err(|_| format!("{name} isn't set in the environment"));
    let validator = Validator::builder(set("ISSUER")?, set("AUDIENCE")?).build()?;
    let app = Router::new().route("/", get(hello)).layer(BearerAuthLayer::new(validator));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app).await?)
}

async fn hello(token: AccessToken) -> String {
    format!("Hello, {}!\n", token.subject().unwrap_or("anonymous"))
}
