//! The MCP client of `rmcp`, for tower-bearer's interop tests.
//!
//! It knows the URL of an MCP server, and a client's credentials, and finds the rest from challenges. Each
//! step is a line of JSON: the tool and what it answered, or the error.
//!
//! ```text
//! mcp_client URL ISSUER    calls add, wipe and ask, each of which needs more than the one before
//! mcp_client URL -         calls add with the token in TOKEN and nothing else
//! ```

use std::collections::BTreeSet;
use std::error::Error;

use rmcp::model::CallToolRequestParams;
use rmcp::service::{RoleClient, RunningService, ServiceExt as _};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::auth::{AuthorizationManager, ClientCredentialsConfig, WWWAuthenticateParams};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};

type Client = RunningService<RoleClient, ()>;
type Failure = Box<dyn Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if let Err(error) = run().await {
        println!("{}", json!({ "error": error.to_string() }));
    }
}

async fn run() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("URL is missing")?;
    let is_static = arguments.next().as_deref() == Some("-");
    let token = is_static.then(|| std::env::var("TOKEN")).transpose()?;
    let mut caller = Caller { url, token, scopes: BTreeSet::new(), may_ask: !is_static };
    let mut client = caller.connect().await?;

    let mut tools: Vec<_> =
        client.list_all_tools().await?.into_iter().map(|tool| tool.name).collect();
    tools.sort();
    println!("{}", json!({ "tools": tools }));
    for (tool, arguments) in
        [("add", json!({"a": 1, "b": 2})), ("wipe", json!({})), ("ask", json!({}))]
    {
        let answer = caller.call(&mut client, tool, arguments).await?;
        println!("{}", json!({ "tool": tool, "answer": answer }));
    }
    client.cancel().await?;
    Ok(())
}

struct Caller {
    url: String,
    token: Option<String>,
    /// All that challenges have named so far.
    scopes: BTreeSet<String>,
    may_ask: bool,
}

impl Caller {
    async fn connect(&mut self) -> Result<Client, Failure> {
        loop {
            let mut config = StreamableHttpClientTransportConfig::with_uri(self.url.clone());
            if let Some(token) = &self.token {
                config = config.auth_header(token.clone());
            }
            match ().serve(StreamableHttpClientTransport::from_config(config)).await {
                Ok(client) => return Ok(client),
                Err(error) => match error.auth_challenge() {
                    Some(challenge) if self.may_ask => self.authorize(challenge).await?,
                    _ => return Err(error.into()),
                },
            }
        }
    }

    async fn call(
        &mut self,
        client: &mut Client,
        tool: &'static str,
        arguments: Value,
    ) -> Result<String, Failure> {
        loop {
            let mut call = CallToolRequestParams::new(tool);
            call.arguments = arguments.as_object().cloned();
            match client.call_tool(call).await {
                Ok(result) => {
                    let text = result.content.first().and_then(|part| part.as_text());
                    return Ok(text.map(|text| text.text.clone()).unwrap_or_default());
                }
                Err(error) => match error.auth_challenge() {
                    Some(challenge) if self.may_ask => {
                        self.authorize(challenge).await?;
                        *client = self.connect().await?;
                    }
                    _ => return Err(error.into()),
                },
            }
        }
    }

    /// Gets a token with what the challenge names beside what was named before.
    async fn authorize(&mut self, challenge: &str) -> Result<(), Failure> {
        let mut manager = AuthorizationManager::new(&self.url).await?;
        let resolution = manager.resolve_metadata_from_challenge(Some(challenge)).await?;
        manager.set_metadata(resolution.metadata);
        let params = WWWAuthenticateParams::parse(challenge, &self.url.parse()?);
        let named = params.scope.unwrap_or_default();
        let before = self.scopes.len();
        self.scopes.extend(named.split_whitespace().map(str::to_owned));
        if self.token.is_some() && self.scopes.len() == before {
            return Err(format!("refused again: {challenge}").into());
        }
        let config = ClientCredentialsConfig::ClientSecret {
            client_id: "svc".into(),
            client_secret: "svc-secret".into(),
            scopes: self.scopes.iter().cloned().collect(),
            resource: Some(self.url.clone()),
        };
        manager.validate_client_credentials_metadata(&config)?;
        manager.configure_client_credentials(&config)?;
        manager.exchange_client_credentials(&config).await?;
        self.token = Some(manager.get_access_token().await?);
        println!("{}", json!({ "scopes": manager.get_current_scopes().await }));
        Ok(())
    }
}
