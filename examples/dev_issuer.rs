//! An issuer for developing a service against, and a token of it, in one command. **Never for production**:
//! it grants anything.
//!
//! ```text
//! AUDIENCE=https://api.example SCOPE="orders:read orders:write" cargo run --example dev_issuer
//! ```
//!
//! It prints what the service is to be started with, a token, and a `curl` line for more of them, and serves
//! until it is stopped.

use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use tower_bearer::testing::TestIssuer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let listen: SocketAddr = variable("LISTEN").as_deref().unwrap_or("127.0.0.1:9000").parse()?;
    let audience = variable("AUDIENCE").unwrap_or_else(|| TestIssuer::AUDIENCE.to_owned());
    let subject = variable("SUBJECT").unwrap_or_else(|| "dev".to_owned());
    let scope = variable("SCOPE").unwrap_or_default();

    let builder = TestIssuer::builder().listen(listen).audience(&audience);
    let issuer = builder.token_lifetime(Duration::from_secs(12 * 3_600)).start().await?;
    let token = issuer.token().subject(&subject).scope(&scope).sign();

    println!("# The service is started with:");
    println!("ISSUER={} AUDIENCE={audience}", issuer.issuer());
    println!("# A token for twelve hours:");
    println!("TOKEN={token}");
    println!("# More of them, as any client gets them:");
    println!(
        "curl -s -u {}:{} -d grant_type=client_credentials -d scope='{scope}' {}",
        TestIssuer::CLIENT_ID,
        TestIssuer::CLIENT_SECRET,
        issuer.token_endpoint()
    );
    tokio::signal::ctrl_c().await?;
    Ok(())
}
