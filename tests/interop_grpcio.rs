//! A gRPC client that isn't tonic sees the refusals as gRPC has them: grpcio, which is built on
//! gRPC's C core, against a tonic server behind the layer, with tokens of a real issuer.

#![allow(clippy::expect_used, clippy::panic)]

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Command;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Method;
use serde_json::{Value, json};
use support::authorization_server::AuthorizationServer;
use support::process;
use support::resource_server::validator_for;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, ServerStreamingService, UnaryService};
use tonic_prost::ProstCodec;
use tower::Service;
use tower_bearer::{Access, BearerAuthLayer, RouteTable, Validator};

const UNARY: &str = "/interop.Echo/Unary";
const STREAM: &str = "/interop.Echo/Stream";

/// `google.protobuf.StringValue`, which needs no generated code on either side.
#[derive(Clone, PartialEq, prost::Message)]
struct StringValue {
    #[prost(string, tag = "1")]
    value: String,
}

/// A service of two methods: one echoes its message, the other answers it three times.
#[derive(Clone, Debug)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "interop.Echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut grpc = Grpc::new(ProstCodec::default());
        Box::pin(async move {
            Ok(match request.uri().path() {
                UNARY => grpc.unary(EchoUnary, request).await,
                STREAM => grpc.server_streaming(EchoStream, request).await,
                _ => tonic::Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

struct EchoUnary;

impl UnaryService<StringValue> for EchoUnary {
    type Response = StringValue;
    type Future = std::future::Ready<Result<tonic::Response<StringValue>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<StringValue>) -> Self::Future {
        std::future::ready(Ok(tonic::Response::new(request.into_inner())))
    }
}

struct EchoStream;

impl ServerStreamingService<StringValue> for EchoStream {
    type Response = StringValue;
    type ResponseStream =
        tokio_stream::Iter<std::vec::IntoIter<Result<StringValue, tonic::Status>>>;
    type Future = std::future::Ready<Result<tonic::Response<Self::ResponseStream>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<StringValue>) -> Self::Future {
        let messages = vec![Ok(request.into_inner()); 3];
        std::future::ready(Ok(tonic::Response::new(tokio_stream::iter(messages))))
    }
}

/// The tonic server, closed on drop.
struct Api {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Api {
    async fn start(validator: Validator, verbose: bool) -> Self {
        let routes = RouteTable::builder()
            .route(Method::POST, UNARY, Access::scope("api:read"))
            .route(Method::POST, STREAM, Access::scope("api:admin"))
            .build()
            .expect("a route table");
        let layer = BearerAuthLayer::new(validator).realm("api").expect("a realm");
        let layer = layer.routes(routes).verbose_errors(verbose);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = tonic::transport::Server::builder().layer(layer).add_service(Echo);
        let server = tokio::spawn(async move {
            let connections = TcpListenerStream::new(listener);
            router.serve_with_incoming(connections).await.expect("the server runs");
        });
        Self { address, server }
    }

    /// Calls the method with grpcio, and returns what it saw.
    async fn call(&self, method: &str, tokens: &[&str]) -> Value {
        let mut command = Command::new(process::python());
        command.arg(process::interop("grpcio/client.py"));
        command.args(["--target", &self.address.to_string()]);
        command.args(["--method", method, "--message", "hello"]);
        if method == STREAM {
            command.arg("--stream");
        }
        for token in tokens {
            command.args(["--metadata", &format!("authorization=Bearer {token}")]);
        }
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.expect("the client ran").expect("Python starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn trailer<'a>(seen: &'a Value, name: &str) -> Option<&'a str> {
    // A trailers-only answer has all its metadata in the one block that grpcio calls trailers.
    let pairs = seen["trailers"].as_array().expect("trailers");
    pairs.iter().find(|pair| pair[0] == name).and_then(|pair| pair[1].as_str())
}

/// Asserts that the call was refused with this code and reason, in the status and in its details.
fn assert_refused(seen: &Value, code: &str, number: u8, reason: &str) {
    assert_eq!(seen["code"], code, "{seen}");
    let details = &seen["details"];
    assert_eq!(details["code"], number, "{seen}"); // G3
    assert_eq!(details["message"], seen["message"], "{seen}");
    assert_eq!(details["error_info"]["reason"], reason, "{seen}");
    assert_eq!(details["error_info"]["domain"], "tower-bearer", "{seen}");
    assert_eq!(details["unknown"], json!([]), "{seen}");
    assert_eq!(seen["messages"], json!([]), "{seen}");
    assert_eq!(seen["initial_metadata"], json!([]), "trailers only: {seen}"); // G1
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcio_sees_code_message_details_and_trailers() {
    let server = AuthorizationServer::oidc_provider();
    let validator = validator_for(&server).build().expect("a validator");
    validator.ready(Duration::from_secs(10)).await.expect("keys within ten seconds");
    let short = server.token("short", "api:read").await;
    let reader = server.token("ES256", "api:read").await;
    let admin = server.token("ES256", "api:read api:admin").await;
    let api = Api::start(validator.clone(), false).await;

    let seen = api.call(UNARY, &[&reader]).await;
    assert_eq!(seen["code"], "OK", "{seen}");
    assert_eq!(seen["messages"], json!(["hello"]));
    let seen = api.call(STREAM, &[&admin]).await;
    assert_eq!(seen["code"], "OK", "{seen}");
    assert_eq!(seen["messages"], json!(["hello", "hello", "hello"]));

    for (method, scope) in [(UNARY, "api:read"), (STREAM, "api:admin")] {
        let seen = api.call(method, &[]).await;
        assert_refused(&seen, "UNAUTHENTICATED", 16, "CREDENTIALS_MISSING");
        let challenge = format!(r#"Bearer realm="api", scope="{scope}""#); // W3, W4
        assert_eq!(trailer(&seen, "www-authenticate"), Some(&*challenge), "{seen}");
    }

    // Scopes by method, as the table has them.
    let seen = api.call(STREAM, &[&reader]).await; // G12
    assert_refused(&seen, "PERMISSION_DENIED", 7, "ACCESS_TOKEN_SCOPE_INSUFFICIENT");
    assert_eq!(seen["details"]["error_info"]["metadata"]["required_scope"], "api:admin", "{seen}");
    let challenge = trailer(&seen, "www-authenticate").expect("a challenge");
    assert!(challenge.contains(r#"scope="api:admin""#), "{challenge}");

    let seen = api.call(UNARY, &[&reader, &reader]).await; // G7
    assert_refused(&seen, "UNAUTHENTICATED", 16, "CREDENTIALS_MALFORMED");

    let seen = api.call(UNARY, &["not.a.token"]).await;
    assert_refused(&seen, "UNAUTHENTICATED", 16, "ACCESS_TOKEN_INVALID");

    // By now the short token's three seconds are over, or nearly so.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let seen = api.call(UNARY, &[&short]).await;
    assert_refused(&seen, "UNAUTHENTICATED", 16, "ACCESS_TOKEN_INVALID");
    let verbose = Api::start(validator, true).await;
    let seen = verbose.call(UNARY, &[&short]).await;
    assert_refused(&seen, "UNAUTHENTICATED", 16, "ACCESS_TOKEN_EXPIRED");
    assert_eq!(seen["message"], "The access token expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcio_sees_a_dead_issuer_as_unavailable() {
    let mut server = AuthorizationServer::oidc_provider();
    let token = server.token("ES256", "api:read").await;
    server.kill();
    let api = Api::start(validator_for(&server).build().expect("a validator"), false).await;
    let seen = api.call(UNARY, &[&token]).await; // W24
    assert_refused(&seen, "UNAVAILABLE", 14, "AUTH_UNAVAILABLE");
    let delay = &seen["details"]["retry_info"]["retry_delay"];
    assert!(delay.as_f64().is_some_and(|seconds| seconds > 0.0), "{seen}");
    assert_eq!(trailer(&seen, "www-authenticate"), None, "{seen}");
}
