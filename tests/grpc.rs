//! The layer in a tonic server: what is on the wire, and what a tonic client sees.
#![cfg(feature = "test-util")]

mod world;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::Body as _;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prost::Message as _;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::client::Grpc;
use tonic::server::{NamedService, ServerStreamingService, UnaryService};
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;
use tower_bearer::jwks::Jwks;
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport};
use tower_bearer::transport::TransportErrorKind;
use tower_bearer::{Access, AccessToken, BearerAuthLayer, RouteTable, Validator};
use world::{AUDIENCE, ISSUER, Issuer, bearer};

const SAY: &str = "/echo.Echo/Say";
const REPEAT: &str = "/echo.Echo/Repeat";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

#[derive(Clone, PartialEq, prost::Message)]
struct Text {
    #[prost(string, tag = "1")]
    text: String,
}

/// A service as a code generator would have made it; it has any name.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "echo.Echo";
}

#[derive(Clone)]
struct Health;

impl NamedService for Health {
    const NAME: &'static str = "grpc.health.v1.Health";
}

macro_rules! service {
    ($name:ident) => {
        impl tower::Service<http::Request<tonic::body::Body>> for $name {
            type Response = http::Response<tonic::body::Body>;
            type Error = Infallible;
            type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
                let mut grpc = tonic::server::Grpc::new(ProstCodec::default());
                Box::pin(async move {
                    Ok(match request.uri().path() {
                        SAY | HEALTH => grpc.unary(Say, request).await,
                        REPEAT => grpc.server_streaming(Repeat, request).await,
                        _ => Status::unimplemented("no such method").into_http(),
                    })
                })
            }
        }
    };
}

service!(Echo);
service!(Health);

struct Say;

impl UnaryService<Text> for Say {
    type Response = Text;
    type Future = BoxFuture<'static, Result<Response<Text>, Status>>;

    fn call(&mut self, request: Request<Text>) -> Self::Future {
        let token: Option<AccessToken> = AccessToken::from_extensions(request.extensions());
        let who = token.and_then(|token| token.subject().map(str::to_owned));
        let text = format!("{} from {}", request.get_ref().text, who.unwrap_or_default());
        Box::pin(async move { Ok(Response::new(Text { text })) })
    }
}

struct Repeat;

impl ServerStreamingService<Text> for Repeat {
    type Response = Text;
    type ResponseStream = tokio_stream::Iter<std::vec::IntoIter<Result<Text, Status>>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Text>) -> Self::Future {
        let texts = vec![Ok(request.into_inner()); 3];
        Box::pin(async move { Ok(Response::new(tokio_stream::iter(texts))) })
    }
}

fn routes() -> RouteTable {
    RouteTable::builder()
        .grpc_service("grpc.health.v1.Health", Access::public())
        .any(SAY, Access::scope("say"))
        .any(
            REPEAT,
            Access::requires(tower_bearer::Requirement::all([
                tower_bearer::Scope::new("say").unwrap(),
                tower_bearer::Scope::new("repeat").unwrap(),
            ])),
        )
        .build()
        .unwrap()
}

async fn serve(layer: BearerAuthLayer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder()
        .layer(layer.routes(routes()).fallback(Access::denied()).unwrap())
        .add_service(Echo)
        .add_service(Health)
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    address
}

async fn client(address: SocketAddr) -> Grpc<Channel> {
    let channel =
        Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    client
}

fn hello(token: Option<&str>) -> Request<Text> {
    let mut request = Request::new(Text { text: "hello".to_owned() });
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", bearer(token).parse().unwrap());
    }
    request
}

async fn unary(
    address: SocketAddr,
    path: &'static str,
    request: Request<Text>,
) -> Result<String, Status> {
    let codec = ProstCodec::<Text, Text>::default();
    let path = http::uri::PathAndQuery::from_static(path);
    Ok(client(address).await.unary(request, path, codec).await?.into_inner().text)
}

// G12: each method has its own scopes, and one that isn't listed is denied.
#[tokio::test]
async fn g12_methods_need_their_scopes() {
    let issuer = Issuer::new();
    let address = serve(issuer.layer()).await;
    let say = issuer.token("say");
    assert_eq!(unary(address, SAY, hello(Some(&say))).await.unwrap(), "hello from alice");

    let stream = |token: String| async move {
        let codec = ProstCodec::<Text, Text>::default();
        let path = http::uri::PathAndQuery::from_static(REPEAT);
        let mut client = client(address).await;
        let stream = client.server_streaming(hello(Some(&token)), path, codec).await?;
        Ok::<_, Status>(stream.into_inner().collect::<Vec<_>>().await.len())
    };
    assert_eq!(stream(issuer.token("say repeat")).await.unwrap(), 3);
    let refused = stream(say.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    let denied = unary(address, "/echo.Echo/Unlisted", hello(Some(&say))).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert_eq!(details(&denied).1.reason, "ACCESS_DENIED");
    let anonymous = unary(address, "/echo.Echo/Unlisted", hello(None)).await.unwrap_err();
    assert_eq!(anonymous.code(), Code::Unauthenticated);
}

// G10: health checks have no token.
#[tokio::test]
async fn g10_the_health_service_can_be_public() {
    let issuer = Issuer::new();
    let address = serve(issuer.layer()).await;
    assert_eq!(unary(address, HEALTH, hello(None)).await.unwrap(), "hello from ");
    assert_eq!(unary(address, SAY, hello(None)).await.unwrap_err().code(), Code::Unauthenticated);
}

// G3, and the mapping from refusals to statuses, as tonic reads it.
#[tokio::test]
async fn g3_a_client_sees_code_message_and_details() {
    let issuer = Issuer::new();
    let address = serve(issuer.layer().verbose_errors(true)).await;
    let expired = issuer.token_with(json!({ "exp": 1_000_000_000 }));
    let foreign = issuer.token_with(json!({ "aud": "https://other.example" }));
    let bound = issuer.token_with(json!({ "cnf": { "jkt": "x" } }));
    let insufficient = issuer.token("other");
    for (token, code, reason, message) in [
        (None, Code::Unauthenticated, "CREDENTIALS_MISSING", "An access token is required"),
        (
            Some("a b"),
            Code::Unauthenticated,
            "CREDENTIALS_MALFORMED",
            "The Authorization header field is malformed",
        ),
        (Some("x"), Code::Unauthenticated, "ACCESS_TOKEN_INVALID", "The access token is invalid"),
        (
            Some(&*foreign),
            Code::Unauthenticated,
            "ACCESS_TOKEN_INVALID",
            "The access token is invalid",
        ),
        (
            Some(&*expired),
            Code::Unauthenticated,
            "ACCESS_TOKEN_EXPIRED",
            "The access token expired",
        ),
        (
            Some(&*bound),
            Code::Unauthenticated,
            "ACCESS_TOKEN_TYPE_UNSUPPORTED",
            "The access token is invalid",
        ),
        (
            Some(&*insufficient),
            Code::PermissionDenied,
            "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
            "The request requires higher privileges than provided by the access token",
        ),
    ] {
        let status = unary(address, SAY, hello(token)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, message), "{token:?}");
        let (detailed, info) = details(&status);
        assert_eq!((detailed.code, &*detailed.message), (code as i32, message));
        assert_eq!((&*info.reason, &*info.domain), (reason, "tower-bearer"));
        let needed = info.metadata.get("required_scope").map(String::as_str);
        let names = matches!(reason, "CREDENTIALS_MISSING" | "ACCESS_TOKEN_SCOPE_INSUFFICIENT");
        assert_eq!(needed, names.then_some("say"), "{reason}");
        let challenge = status.metadata().get("www-authenticate").unwrap().to_str().unwrap();
        assert!(challenge.starts_with("Bearer realm=\"api\""), "{challenge}");
    }
}

// G7: metadata with several values.
#[tokio::test]
async fn g7_several_authorization_values_are_refused() {
    let issuer = Issuer::new();
    let address = serve(issuer.layer()).await;
    let token = issuer.token("say");
    let mut request = hello(Some(&token));
    request.metadata_mut().append("authorization", bearer(&token).parse().unwrap());
    let status = unary(address, SAY, request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.message(), "More than one access token was sent");
    assert_eq!(details(&status).1.reason, "CREDENTIALS_MALFORMED");
}

// W24: a dead issuer is UNAVAILABLE, with the delay after which to try again.
#[tokio::test]
async fn w24_a_dead_issuer_is_unavailable_with_retry_info() {
    let issuer = Issuer::new();
    let dead = ScriptedTransport::from_fn(|_| ScriptedAnswer::error(TransportErrorKind::Connect));
    let jwks = Jwks::url(ISSUER, format!("{ISSUER}/jwks")).transport(dead).build().unwrap();
    let validator = Validator::builder(ISSUER, AUDIENCE).keys(jwks).build().unwrap();
    let address = serve(BearerAuthLayer::new(validator)).await;
    let status = unary(address, SAY, hello(Some(&issuer.token("say")))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let (detailed, info) = details(&status);
    assert_eq!(info.reason, "AUTH_UNAVAILABLE");
    assert_eq!(detailed.details[1].type_url, "type.googleapis.com/google.rpc.RetryInfo");
    let retry = RetryInfo::decode(&*detailed.details[1].value).unwrap().retry_delay.unwrap();
    assert!(retry.seconds > 0 || retry.nanos > 0, "{retry:?}");
    assert!(status.metadata().get("www-authenticate").is_none());
}

// G1, G2, G4, G6: one header block with END_STREAM for gRPC; plain HTTP for the rest, on one port.
#[tokio::test]
async fn g1_g6_the_answer_is_chosen_by_the_request_and_is_trailers_only() {
    let issuer = Issuer::new();
    let address = serve(issuer.layer()).await;
    let client =
        Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Empty<Bytes>>();
    let ask = async |content_type: &str| {
        let request = http::Request::post(format!("http://{address}{SAY}"))
            .header("content-type", content_type)
            .body(Empty::new())
            .unwrap();
        tokio::time::timeout(Duration::from_secs(10), client.request(request))
            .await
            .unwrap()
            .unwrap()
    };
    for content_type in ["application/grpc", "application/grpc+proto", "application/grpc;x=y"] {
        let response = ask(content_type).await;
        assert_eq!(response.version(), http::Version::HTTP_2);
        assert_eq!(response.status(), 200, "{content_type}");
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert_eq!(response.headers()["grpc-status"], "16");
        assert_eq!(response.headers()["grpc-message"], "An access token is required");
        assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"api\", scope=\"say\"");
        // The only header block ends the stream: no body, and no trailers after it.
        assert!(response.body().is_end_stream(), "{content_type}");
        let rest = response.into_body().collect().await.unwrap();
        assert!(rest.trailers().is_none());
    }
    // WB1, G5: the same for gRPC-Web, in its content type.
    for content_type in ["application/grpc-web", "application/grpc-web-text+proto"] {
        let response = ask(content_type).await;
        assert_eq!(response.status(), 200, "{content_type}");
        assert_eq!(response.headers()["content-type"], content_type);
        assert_eq!(response.headers()["grpc-status"], "16");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.is_empty(), "{body:?}");
    }
    for content_type in ["application/json", "application/grpc-webs"] {
        let response = ask(content_type).await;
        assert_eq!(response.status(), 401, "{content_type}");
        assert!(!response.headers().contains_key("grpc-status"));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.starts_with(b"{\"error\":\"unauthorized\""), "{body:?}");
    }
}

fn details(status: &Status) -> (RpcStatus, ErrorInfo) {
    let decoded = RpcStatus::decode(status.details()).unwrap();
    assert_eq!(decoded.details[0].type_url, "type.googleapis.com/google.rpc.ErrorInfo");
    let info = ErrorInfo::decode(&*decoded.details[0].value).unwrap();
    (decoded, info)
}

/// `google.rpc.Status`
#[derive(prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`
#[derive(prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.ErrorInfo`
#[derive(prost::Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: BTreeMap<String, String>,
}

/// `google.rpc.RetryInfo`
#[derive(prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`
#[derive(prost::Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}
