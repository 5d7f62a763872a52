//! A gRPC server whose methods need different scopes.
//!
//! ```text
//! cargo run --example tonic_server --features tonic-server
//! ```
//!
//! It starts an issuer of its own, serves, calls itself with three tokens, and prints what a client
//! sees. Then it goes on serving until it is stopped.

use std::convert::Infallible;
use std::error::Error;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::Method;
use http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Iter, StreamExt};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, ServerStreamingService, UnaryService};
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Access, AccessToken, BearerAuthLayer, RouteTable, Validator};

const GET: &str = "/orders.Orders/Get";
const WATCH: &str = "/orders.Orders/Watch";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let issuer = TestIssuer::start().await?;
    let audience = "orders";
    let validator = Validator::builder(issuer.issuer(), audience).build()?;

    // Every method is a path.
    let routes = RouteTable::builder()
        .route(Method::POST, GET, Access::scope("orders:read"))
        .route(Method::POST, WATCH, Access::scope("orders:watch"))
        .build()?;

    // One that isn't listed is denied, whatever the token grants.
    let auth = BearerAuthLayer::new(validator).routes(routes).fallback(Access::denied())?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = Server::builder()
        .layer(auth)
        .add_service(Orders)
        .serve_with_incoming(TcpListenerStream::new(listener));
    let server = tokio::spawn(server);
    println!("listening on {address}");

    let channel = Channel::from_shared(format!("http://{address}"))?.connect().await?;
    let mint = |scope: &str| issuer.token().subject("demo").audience(audience).scope(scope).sign();
    for (what, token) in [
        ("no token", None),
        ("a token with orders:read", Some(mint("orders:read"))),
        ("a token with orders:read and orders:watch", Some(mint("orders:read orders:watch"))),
    ] {
        println!("{what}:");
        println!("  Get:   {}", outcome(get(channel.clone(), token.as_deref()).await));
        println!("  Watch: {}", outcome(watch(channel.clone(), token.as_deref()).await));
    }
    Ok(server.await??)
}

fn outcome(result: Result<String, Status>) -> String {
    result.unwrap_or_else(|status| format!("{:?}: {}", status.code(), status.message()))
}

/// `google.protobuf.StringValue`. A real service has its messages and its client generated.
#[derive(Clone, PartialEq, prost::Message)]
struct StringValue {
    #[prost(string, tag = "1")]
    value: String,
}

async fn get(channel: Channel, token: Option<&str>) -> Result<String, Status> {
    let mut grpc = ready(channel).await?;
    let codec = ProstCodec::<StringValue, StringValue>::default();
    let response = grpc.unary(request(token), PathAndQuery::from_static(GET), codec).await?;
    Ok(response.into_inner().value)
}

async fn watch(channel: Channel, token: Option<&str>) -> Result<String, Status> {
    let mut grpc = ready(channel).await?;
    let codec = ProstCodec::<StringValue, StringValue>::default();
    let response = grpc.server_streaming(request(token), PathAndQuery::from_static(WATCH), codec);
    let mut stream = response.await?.into_inner();
    let mut seen = Vec::new();
    while let Some(message) = stream.next().await {
        seen.push(message?.value);
    }
    Ok(seen.join(", "))
}

async fn ready(channel: Channel) -> Result<tonic::client::Grpc<Channel>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    Ok(grpc)
}

fn request(token: Option<&str>) -> Request<StringValue> {
    let mut request = Request::new(StringValue { value: "order 7".to_owned() });
    if let Some(value) = token.and_then(|token| format!("Bearer {token}").parse().ok()) {
        request.metadata_mut().insert("authorization", value);
    }
    request
}

/// What a code generator would have written.
#[derive(Clone, Debug)]
struct Orders;

impl NamedService for Orders {
    const NAME: &'static str = "orders.Orders";
}

impl tower::Service<http::Request<Body>> for Orders {
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
                GET => grpc.unary(GetMethod, request).await,
                WATCH => grpc.server_streaming(WatchMethod, request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

struct GetMethod;

impl UnaryService<StringValue> for GetMethod {
    type Response = StringValue;
    type Future = BoxFuture<'static, Result<Response<StringValue>, Status>>;

    fn call(&mut self, request: Request<StringValue>) -> Self::Future {
        Box::pin(async move {
            let caller: Option<AccessToken> = AccessToken::from_extensions(request.extensions());
            let caller = caller.as_ref().and_then(|token| token.subject()).unwrap_or("anonymous");
            let value = format!("{} for {caller}", request.get_ref().value);
            Ok(Response::new(StringValue { value }))
        })
    }
}

struct WatchMethod;

impl ServerStreamingService<StringValue> for WatchMethod {
    type Response = StringValue;
    type ResponseStream = Iter<std::vec::IntoIter<Result<StringValue, Status>>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<StringValue>) -> Self::Future {
        Box::pin(async move {
            let order = request.into_inner().value;
            let news = ["packed", "sent", "delivered"]
                .map(|news| Ok(StringValue { value: format!("{order} {news}") }));
            Ok(Response::new(tokio_stream::iter(news.to_vec())))
        })
    }
}
