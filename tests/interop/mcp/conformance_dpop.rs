//! A client for the scenarios of MCP's conformance tests about DPoP.
//!
//! They are for clients with a user, whose login is this file's part: it gets an authorization code, and puts
//! it into the token request that tower-bearer has made. The proofs, the nonces and the calls are tower-bearer's.

use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use reqwest::redirect::Policy;
use rmcp::transport::auth::AuthorizationMetadata;
use serde_json::json;
use tower_bearer::client::{AttachTokenLayer, ClientAuth, DpopKey, Grant, TokenClient};
use tower_bearer::transport::{Limits, ReqwestTransport, Transport, TransportFuture};
use url::{Url, form_urlencoded};

use crate::Failure;

const CLIENT: &str = "tower-bearer";
const REDIRECT: &str = "http://127.0.0.1:1/callback";

/// The pair of RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub(crate) async fn call(url: &str, server: &AuthorizationMetadata) -> Result<(), Failure> {
    let code = log_in(&server.authorization_endpoint, url).await?;
    let transport = WithCode { code, inner: ReqwestTransport::new()? };
    let client = TokenClient::builder().transport(transport).build()?;
    // The server has no clients with secrets, and looks at none.
    let grant = Grant::endpoint(&server.token_endpoint, ClientAuth::body(CLIENT, "unused"))
        .resource(url)
        .dpop(DpopKey::generate()?)
        .allow_loopback_http()
        .build()?;
    let layer = AttachTokenLayer::new(
        client.source(&grant),
        [Url::parse(url)?.origin().ascii_serialization()],
    )?;

    let http = reqwest::Client::new();
    let mut session = None;
    for message in [
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": { "name": CLIENT, "version": "0" },
        }}),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" }),
    ] {
        let mut request = http
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .body(message.to_string());
        if let Some(session) = &session {
            request = request.header("mcp-session-id", session);
        }
        let answer = layer.send(request).await?.error_for_status()?;
        session = answer.headers().get("mcp-session-id").cloned().or(session);
        answer.bytes().await?;
    }
    Ok(())
}

/// Returns the code that the server sends the user's browser back with.
async fn log_in(authorization_endpoint: &str, resource: &str) -> Result<String, Failure> {
    let mut url = Url::parse(authorization_endpoint)?;
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", CLIENT)
        .append_pair("redirect_uri", REDIRECT)
        .append_pair("code_challenge", CHALLENGE)
        .append_pair("code_challenge_method", "S256")
        .append_pair("resource", resource);
    let browser = reqwest::Client::builder().redirect(Policy::none()).build()?;
    let answer = browser.get(url).send().await?;
    let back = answer.headers().get(LOCATION).ok_or("the server doesn't send the user back")?;
    let back = Url::parse(back.to_str()?)?;
    let code = back.query_pairs().find(|(name, _)| name == "code");
    Ok(code.ok_or("there is no code")?.1.into_owned())
}

/// Sends what it is given, but for the grant of a token request, which becomes that of the code.
struct WithCode {
    code: String,
    inner: ReqwestTransport,
}

impl Transport for WithCode {
    fn send(&self, request: Request<Bytes>, limits: Limits) -> TransportFuture {
        let request = request.map(|body| {
            if body.is_empty() {
                return body;
            }
            let mut form = form_urlencoded::Serializer::new(String::new());
            let others = form_urlencoded::parse(&body).filter(|(name, _)| name != "grant_type");
            form.extend_pairs(others).append_pair("grant_type", "authorization_code");
            form.append_pair("code", &self.code).append_pair("code_verifier", VERIFIER);
            form.append_pair("redirect_uri", REDIRECT).finish().into()
        });
        self.inner.send(request, limits)
    }
}
