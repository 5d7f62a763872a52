//! A client for the scenarios of MCP's conformance tests that are for services: `rmcp` speaks MCP, and
//! tower-bearer gets the token.
//!
//! The scenario and what the client is given for it are in the environment; the URL is the argument.

mod conformance_dpop;

use std::error::Error;

use rmcp::service::ServiceExt as _;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::auth::AuthorizationManager;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::Value;
use tower_bearer::Secret;
use tower_bearer::client::{
    Assertion, AssertionAlgorithm, ClientAuth, Grant, GrantBuilder, WorkloadToken,
};

type Failure = Box<dyn Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let url = std::env::args().nth(1).ok_or("URL is missing")?;
    let scenario = std::env::var("MCP_CONFORMANCE_SCENARIO")?;
    let config = StreamableHttpClientTransportConfig::with_uri(url.clone());
    let transport = StreamableHttpClientTransport::from_config(config);
    let Err(refused) = ().serve(transport).await else {
        return Err("no token was wanted".into());
    };
    let challenge = refused.auth_challenge().ok_or("there is no challenge")?;
    let manager = AuthorizationManager::new(&url).await?;
    let found = manager.resolve_metadata_from_challenge(Some(challenge)).await?.metadata;
    if scenario.starts_with("auth/dpop") {
        return conformance_dpop::call(&url, &found).await;
    }
    let context: Value = serde_json::from_str(&std::env::var("MCP_CONFORMANCE_CONTEXT")?)?;
    let issuer = found.issuer.ok_or("the metadata names no issuer")?;
    let grant = grant(&scenario, &context, &issuer)?.resource(&url).allow_loopback_http();
    let token = grant.source()?.token().await?;

    let config = StreamableHttpClientTransportConfig::with_uri(url);
    let config = config.auth_header(token.expose_secret());
    let client = ().serve(StreamableHttpClientTransport::from_config(config)).await?;
    client.list_all_tools().await?;
    client.cancel().await?;
    Ok(())
}

fn grant(scenario: &str, context: &Value, issuer: &str) -> Result<GrantBuilder, Failure> {
    let text = |name: &str| context[name].as_str().ok_or_else(|| format!("there is no {name}"));
    let client = text("client_id")?;
    Ok(match scenario {
        "auth/client-credentials-basic" => {
            Grant::discover(issuer, ClientAuth::basic(client, text("client_secret")?))
        }
        "auth/client-credentials-jwt" => {
            let key = Secret::new(text("private_key_pem")?);
            let assertion = Assertion::new(AssertionAlgorithm::ES256, key).key_id("1");
            Grant::discover(issuer, ClientAuth::private_key_jwt(client, assertion))
        }
        "auth/wif-jwt-bearer" => {
            // The context has bad ones, too.
            let which = std::env::var("WORKLOAD_TOKEN").unwrap_or_else(|_| "valid_jwt".into());
            let scope = std::env::var("WORKLOAD_SCOPE").unwrap_or_default();
            let jwt = text(&which)?.to_owned();
            let token = WorkloadToken::from_fn(move || {
                let token = Secret::new(jwt.clone());
                async move { Ok(token) }
            });
            let grant = Grant::discover(issuer, ClientAuth::none(client)).jwt_bearer(token);
            if scope.is_empty() { grant } else { grant.scope(&scope) }
        }
        other => return Err(format!("there is no client for {other}").into()),
    })
}
