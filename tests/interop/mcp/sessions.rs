//! `rmcp`'s server with sessions behind the guard: a session is its principal's, and what a tool finds missing
//! after its answer has begun stays an error of JSON-RPC.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ServerCapabilities,
    ServerConfig,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, ServerHandler};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower::util::BoxCloneSyncService;
use tower::{Layer as _, ServiceBuilder, ServiceExt as _};
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::mcp::{self, McpGuardLayer, OperationTable};
use tower_bearer::testing::TestKey;
use tower_bearer::{Access, BearerAuthLayer, Requirement, Validator};

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "https://api.example/mcp";
const VERSION: &str = "2025-06-18";
const WAIT: Duration = Duration::from_secs(30);

/// Its tool asks for `mcp:extra` when it is let go on.
#[derive(Clone)]
struct Tools(Arc<Semaphore>);

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn call_tool(
        &self,
        _: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.0.acquire().await.unwrap().forget();
        let parts: &Parts = context.extensions.get().unwrap();
        let extra = Requirement::scope("mcp:extra").unwrap();
        mcp::require(parts, &extra)
            .map_err(|shortfall| ErrorData::invalid_request(shortfall.to_string(), None))?;
        Ok(CallToolResult::success(vec![ContentBlock::text("told")]).into())
    }
}

type Body =
    http_body_util::combinators::UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

struct World {
    key: TestKey,
    service: BoxCloneSyncService<Request<Full<Bytes>>, Response<Body>, std::convert::Infallible>,
    go_on: Arc<Semaphore>,
}

impl World {
    fn new() -> Self {
        let key = TestKey::generate(Algorithm::EdDSA).with_kid("k");
        let set = json!({ "keys": [key.public_jwk()] }).to_string();
        let keys = Jwks::static_set(ISSUER, &set).unwrap();
        let validator = Validator::builder(ISSUER, AUDIENCE).keys(keys).build().unwrap();
        let operations = OperationTable::builder(Access::scope("mcp:use"))
            .tool("ask", Access::token())
            .other_tools(Access::denied())
            .build()
            .unwrap();
        let go_on = Arc::new(Semaphore::new(0));
        let tools = Tools(Arc::clone(&go_on));
        let config = StreamableHttpServerConfig::default().with_allowed_hosts(["api.example"]);
        let sessions = LocalSessionManager::default().into();
        let server = StreamableHttpService::new(move || Ok(tools.clone()), sessions, config);
        let auth = BearerAuthLayer::new(validator).fallback(Access::scope("mcp:use")).unwrap();
        let service = ServiceBuilder::new()
            .map_response(|response: Response<_>| {
                response
                    .map(|body| http_body_util::BodyExt::map_err(body, Into::into).boxed_unsync())
            })
            .service(auth.layer(McpGuardLayer::new(operations).unwrap().layer(server)));
        Self { key, service: BoxCloneSyncService::new(service), go_on }
    }

    fn token(&self, subject: &str, scope: &str) -> String {
        let header = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": "k" });
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "exp": 32_503_680_000_i64, "sub": subject, "scope": scope,
        });
        self.key.sign(header.to_string(), claims.to_string())
    }

    async fn send(
        &self,
        method: Method,
        token: &str,
        session: Option<&str>,
        body: Value,
    ) -> Response<Body> {
        let mut request = Request::builder()
            .method(method)
            .uri("https://api.example/mcp")
            .header("host", "api.example")
            .header("authorization", format!("Bearer {token}"))
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json");
        if let Some(session) = session {
            request =
                request.header("mcp-session-id", session).header("mcp-protocol-version", VERSION);
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = request.body(Full::from(body)).unwrap();
        timeout(WAIT, self.service.clone().oneshot(request)).await.unwrap().unwrap()
    }

    async fn resume(&self, token: &str, session: &str, event: &str) -> Response<Body> {
        let request = Request::get("https://api.example/mcp")
            .header("host", "api.example")
            .header("authorization", format!("Bearer {token}"))
            .header("accept", "text/event-stream")
            .header("mcp-session-id", session)
            .header("mcp-protocol-version", VERSION)
            .header("last-event-id", event);
        let request = request.body(Full::default()).unwrap();
        timeout(WAIT, self.service.clone().oneshot(request)).await.unwrap().unwrap()
    }

    /// Begins a session, and returns its id.
    async fn begin(&self, token: &str) -> String {
        let params = json!({
            "protocolVersion": VERSION, "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
        });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
        let response = self.send(Method::POST, token, None, body).await;
        assert_eq!(response.status(), StatusCode::OK);
        let session = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        assert!(message(response).await["result"].is_object());
        let body = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let response = self.send(Method::POST, token, Some(&session), body).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        session
    }

    async fn ask(&self, token: &str, session: &str) -> Response<Body> {
        let params = json!({ "name": "ask", "arguments": {} });
        let body = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params });
        self.send(Method::POST, token, Some(session), body).await
    }
}

/// Reads an event stream up to its first message, and returns that and the id of the last event before its end.
async fn read(response: Response<Body>) -> (Value, Option<String>) {
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let mut text = String::new();
    loop {
        let frame = timeout(WAIT, body.frame()).await.unwrap().expect("a message").unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        let all = |name: &'static str| text.lines().filter_map(move |line| line.strip_prefix(name));
        let mut messages = all("data:").filter_map(|data| serde_json::from_str::<Value>(data).ok());
        if let Some(message) = messages.next() {
            let id = all("id:").next_back().map(|id| id.trim().to_owned());
            return (message, id);
        }
    }
}

async fn message(response: Response<Body>) -> Value {
    read(response).await.0
}

async fn text(response: Response<Body>) -> String {
    let bytes = timeout(WAIT, response.into_body().collect()).await.unwrap().unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

// MC16
#[tokio::test]
async fn mc16_a_session_is_resumed_by_its_principal_and_by_nobody_else() {
    let world = World::new();
    let (alice, again) = (
        world.token("alice", "mcp:use mcp:extra"),
        world.token("alice", "mcp:use mcp:extra openid"),
    );
    let bob = world.token("bob", "mcp:use mcp:extra");
    let session = world.begin(&alice).await;
    world.go_on.add_permits(16);
    // A renewed token of the same principal.
    for token in [&alice, &again] {
        let told = message(world.ask(token, &session).await).await;
        assert_eq!(told["result"]["content"][0]["text"], "told", "{told}");
    }
    // A stream goes on after the event that came last.
    let (_, event) = read(world.ask(&alice, &session).await).await;
    let event = event.expect("an id");
    let (untagged, _) = event.rsplit_once('~').unwrap();
    for (token, event, expected) in
        [(&again, &*event, 200), (&bob, &*event, 404), (&alice, untagged, 404)]
    {
        assert_eq!(world.resume(token, &session, event).await.status(), expected, "{event}");
    }
    let listen = world.send(Method::GET, &again, Some(&session), Value::Null).await;
    assert_eq!(listen.status(), StatusCode::OK);
    assert_eq!(listen.headers()["content-type"], "text/event-stream");
    drop(listen);
    // Another's, whatever is tried with it; and without the tag, it is nobody's.
    let (untagged, _) = session.rsplit_once('~').unwrap();
    for (token, session) in [(&bob, &*session), (&alice, untagged), (&bob, untagged)] {
        for method in [Method::GET, Method::DELETE] {
            let refused = world.send(method.clone(), token, Some(session), Value::Null).await;
            assert_eq!(refused.status(), StatusCode::NOT_FOUND, "{method}");
            assert!(text(refused).await.contains("session_not_found"));
        }
        let refused = world.ask(token, session).await;
        assert_eq!(refused.status(), StatusCode::NOT_FOUND);
        assert!(text(refused).await.contains("session_not_found"));
    }
    // It wasn't ended by that, but by its own principal it is.
    assert_eq!(
        message(world.ask(&alice, &session).await).await["result"]["content"][0]["text"],
        "told"
    );
    let ended = world.send(Method::DELETE, &alice, Some(&session), Value::Null).await;
    assert!(ended.status().is_success(), "{}", ended.status());
    let gone = world.ask(&alice, &session).await;
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    assert!(!text(gone).await.contains("session_not_found"), "this answer is the server's own");
}

// MC27
#[tokio::test]
async fn mc27_a_shortfall_found_after_the_event_stream_began_stays_an_error_of_json_rpc() {
    let world = World::new();
    let (short, full) =
        (world.token("alice", "mcp:use"), world.token("alice", "mcp:use mcp:extra"));
    let session = world.begin(&short).await;
    for (token, told) in [(&short, false), (&full, true)] {
        let answer = world.ask(token, &session).await;
        // The tool hasn't begun to ask.
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers().get("www-authenticate"), None);
        world.go_on.add_permits(1);
        let message = message(answer).await;
        assert_eq!(message["id"], 2, "{message}");
        assert_eq!(message["result"].is_object(), told, "{message}");
        if !told {
            let error = message["error"]["message"].as_str().unwrap();
            assert!(error.contains("lacks a required scope"), "{message}");
        }
    }
}
