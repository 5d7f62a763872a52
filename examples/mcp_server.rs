//! An MCP server whose tools need scopes, made with `rmcp`.
//!
//! With nothing set, it starts an authorization server of its own and prints `curl` lines to try:
//!
//! ```text
//! cargo run --example mcp_server
//! ```
//!
//! An MCP client that has the URL and the credentials which are printed finds its way by itself: from the
//! first 401 to the metadata of this resource, to the authorization server, to a token, to a tool.
//!
//! For a real authorization server, set `ISSUER` and `AUDIENCE`; the README beside this file lists the
//! other variables.

use std::env::{self, VarError};
use std::error::Error;
use std::io::IsTerminal as _;
use std::time::Duration;

use axum::Router;
use http::request::Parts;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, ContentBlock};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, ServerHandler, tool, tool_handler, tool_router};
use tokio::net::TcpListener;
use tower::Layer as _;
use tower_bearer::jwks::Jwks;
use tower_bearer::mcp::{self, McpGuardLayer, OperationTable};
use tower_bearer::metadata::ResourceMetadata;
use tower_bearer::testing::{TestClient, TestIssuer};
use tower_bearer::{Access, AccessToken, BearerAuthLayer, ConfigError, Requirement, Validator};
use tower_http::cors::{Any, CorsLayer};
use tracing_subscriber::EnvFilter;

#[derive(Clone)]
struct Tools {
    tool_router: ToolRouter<Self>,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Numbers {
    a: f64,
    b: f64,
}

#[tool_router]
impl Tools {
    fn new() -> Self {
        Self { tool_router: Self::tool_router() }
    }

    #[tool(description = "Adds two numbers")]
    async fn add(&self, Parameters(Numbers { a, b }): Parameters<Numbers>) -> String {
        (a + b).to_string()
    }

    #[tool(description = "Wipes the disk, or says so")]
    async fn wipe(&self) -> String {
        "wiped".to_owned()
    }

    /// Only here is it known that this call needs another scope: the layer turns the answer into a 403
    /// that names it.
    #[tool(description = "Answers who asks, to those who may know")]
    async fn ask(&self, Extension(parts): Extension<Parts>) -> Result<CallToolResult, ErrorData> {
        let extra = Requirement::scope("mcp:extra")
            .map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        mcp::require(&parts, &extra)
            .map_err(|shortfall| ErrorData::invalid_request(shortfall.to_string(), None))?;
        let token: Option<AccessToken> = AccessToken::from_extensions(&parts.extensions);
        let name = token.as_ref().and_then(|token| token.subject()).unwrap_or("somebody");
        Ok(CallToolResult::success(vec![ContentBlock::text(format!("{name} asks"))]))
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Tools {}

/// What each operation needs. Whatever isn't listed, `initialize` and the listings among it, needs
/// `mcp:use`; a tool that isn't listed can't be called.
fn operations() -> Result<OperationTable, ConfigError> {
    OperationTable::builder(Access::scope("mcp:use"))
        .tool("add", Access::token())
        .tool("wipe", Access::scope("mcp:danger"))
        .tool("ask", Access::token())
        .other_tools(Access::denied())
        .build()
}

fn app(keys: Jwks, audience: &str, resource: &str) -> Result<Router, Box<dyn Error>> {
    let operations = operations()?;
    let validator = Validator::builder(keys.issuer(), audience)
        .resource_audiences()
        .keys(keys.clone())
        .build()?;
    let metadata = ResourceMetadata::builder(resource)
        .name("The MCP example of tower-bearer")
        .scopes(operations.scopes().iter().chain(["mcp:extra"]))
        .build()?;
    let auth = BearerAuthLayer::new(validator)
        .realm("mcp")?
        .fallback(Access::scope("mcp:use"))?
        .metadata(metadata);

    // Without sessions and with answers in JSON, an answer begins when the tool is done, so that what a
    // tool finds missing can still become a 403.
    let host = http::Uri::try_from(resource)?.host().unwrap_or_default().to_owned();
    let config = StreamableHttpServerConfig::default()
        .with_allowed_hosts(["localhost".to_owned(), "127.0.0.1".into(), "::1".into(), host])
        .with_legacy_session_mode(false)
        .with_json_response(true);
    let tools = || Ok(Tools::new());
    let server = StreamableHttpService::new(tools, NeverSessionManager::default().into(), config);

    // Browsers ask before they send a token, so this is outermost.
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(mcp::cors_methods())
        .allow_headers(mcp::cors_request_headers())
        .expose_headers(mcp::cors_exposed_headers());
    Ok(Router::new()
        .route_service("/mcp", McpGuardLayer::new(operations)?.layer(server))
        .layer(auth)
        .layer(cors))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();

    let listen = variable("LISTEN")?.unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&listen).await?;
    let address = listener.local_addr()?;
    let resource = variable("RESOURCE")?.unwrap_or_else(|| format!("http://{address}/mcp"));
    let audience = variable("AUDIENCE")?.unwrap_or_else(|| resource.clone());

    // Without ISSUER, an issuer in this process takes its place. It is for trying out only.
    let (issuer, embedded) = match variable("ISSUER")? {
        Some(issuer) => (issuer, None),
        None => {
            let client = TestClient::secret("demo", "demo-secret").scopes([
                "mcp:use",
                "mcp:danger",
                "mcp:extra",
            ]);
            let embedded = TestIssuer::builder().audience(&audience).client(client).start().await?;
            // It has none, but MCP clients don't read metadata without one.
            let authorize = format!("{}/authorize", embedded.issuer());
            embedded.set_metadata("authorization_endpoint", authorize);
            (embedded.issuer().to_owned(), Some(embedded))
        }
    };
    let keys = match variable("JWKS_URI")? {
        Some(url) => Jwks::url(&issuer, &url),
        None => Jwks::discover(&issuer),
    };

    let app = app(keys.build()?, &audience, &resource)?;
    println!(
        "listening on http://{address}/mcp, for tokens of {issuer} with the audience {audience}"
    );
    if let Some(embedded) = &embedded {
        print_curl_lines(embedded, &audience, &format!("http://{address}/mcp"));
    }
    axum::serve(listener, app).with_graceful_shutdown(stop_signal()).await?;
    Ok(())
}

/// Prints lines to paste into a shell: a 401, a 200, a 403 by the table, and a 403 by a tool.
fn print_curl_lines(issuer: &TestIssuer, audience: &str, url: &str) {
    let claims = issuer.token().subject("demo").client_id("demo").audience(audience);
    let token = claims.scope("mcp:use").expires_in(Duration::from_secs(3_600)).sign();
    let call = |tool: &str, arguments: &str| {
        format!(
            r#"curl -i -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' -d '{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}' {url}"#
        )
    };
    println!("an MCP client gets tokens with the client id demo and the secret demo-secret");
    println!("\n# 401: no token; the challenge says where to find out how to get one");
    println!("curl -i -X POST {url}");
    println!("\n# 200: the token has the scope mcp:use");
    println!("{}", call("add", r#"{"a":1,"b":2}"#));
    println!("\n# 403: the token lacks the scope mcp:danger");
    println!("{}", call("wipe", "{}"));
    println!("\n# 403: the tool itself asks for the scope mcp:extra");
    println!("{}\n", call("ask", "{}"));
}

/// Returns the variable's value, if it is set and not empty.
fn variable(name: &str) -> Result<Option<String>, String> {
    match env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

/// Waits for SIGINT or SIGTERM.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be listened for");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
