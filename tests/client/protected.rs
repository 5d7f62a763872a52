//! The whole flow over loopback: the embedded issuer, a server behind `BearerAuthLayer`, and the
//! client, by hyper, by reqwest and by tonic.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::routing::{any, get};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use http::uri::PathAndQuery;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::server::{NamedService, UnaryService};
use tonic_prost::ProstCodec;
use tower::{Layer as _, Service, ServiceBuilder, ServiceExt as _};
use tower_bearer::client::{AttachTokenLayer, ReplayBody, SendError, TokenClient, TokenSource};
use tower_bearer::jwks::Jwks;
use tower_bearer::testing::{Endpoint, ScriptedTransport, TestIssuer};
use tower_bearer::{Access, AccessToken, BearerAuthLayer, RouteTable, Validator};

use crate::support::*;

async fn validator(issuer: &TestIssuer) -> Validator {
    let keys = Jwks::discover(issuer.issuer()).cooldown(SECOND);
    let validator = Validator::builder(issuer.issuer(), issuer.audience())
        .keys(keys)
        .leeway(std::time::Duration::ZERO);
    let validator = validator.build().unwrap();
    validator.ready(10 * SECOND).await.unwrap();
    validator
}

/// Serves a router on loopback.
async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

/// Service B: `/whoami` for any token, `/write` for those that may.
async fn service_b(issuer: &TestIssuer) -> String {
    let routes = RouteTable::builder()
        .route(Method::POST, "/write", Access::scope("orders:write"))
        .build()
        .unwrap();
    let layer = BearerAuthLayer::new(validator(issuer).await).routes(routes);
    let whoami = |token: AccessToken, body: String| async move {
        format!("{}: {body}", token.client_id().unwrap_or_default())
    };
    serve(Router::new().route("/whoami", any(whoami)).route("/write", any(whoami)).layer(layer))
        .await
}

fn tokens(issuer: &TestIssuer) -> TokenSource {
    let client = TokenClient::builder().build().unwrap();
    client.source(&grant_of(issuer).scope("orders:read").build().unwrap())
}

fn granted_by(issuer: &TestIssuer) -> u64 {
    issuer.counters().granted()
}

// The mission's sequence: request a token, call, expire, fetch again, be refused, retry.
#[tokio::test]
async fn e10_token_call_expiry_refusal_retry() {
    let issuer = TestIssuer::builder().token_lifetime(2 * SECOND).start().await.unwrap();
    let b = service_b(&issuer).await;
    let tokens = tokens(&issuer);
    let layer = AttachTokenLayer::new(tokens.clone(), [&b]).unwrap();
    let hyper = Client::builder(TokioExecutor::new()).build_http::<ReplayBody<Full<Bytes>>>();
    let mut a = layer.layer(hyper);
    let mut call = async |text: &'static str| {
        let request = Request::post(format!("{b}/whoami"));
        let request = request.body(Full::new(Bytes::from_static(text.as_bytes()))).unwrap();
        let answer = a.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, format!("test-client: {text}"));
    };
    for _ in 0..10 {
        call("hello").await;
    }
    assert_eq!(granted_by(&issuer), 1, "one token for ten calls");

    tokio::time::sleep(2 * SECOND).await;
    call("after expiry").await;
    assert_eq!(granted_by(&issuer), 2);

    // The issuer loses its keys: what it signed is good no more.
    issuer.rotate_hard();
    let before = issuer.counters().requests(Endpoint::Jwks);
    // The server has the old keys until somebody comes with a new one …
    let newer = issuer.token().scope("orders:read").sign();
    let plain = reqwest::Client::new();
    let answer = plain.get(format!("{b}/whoami")).bearer_auth(newer).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(issuer.counters().requests(Endpoint::Jwks), before + 1);
    // … so that now the kept token is refused, replaced, and the call succeeds.
    call("after a refusal").await;
    assert_eq!(granted_by(&issuer), 3);
}

// The shortest way, with reqwest.
#[tokio::test]
async fn e10_reqwest_retries_as_well() {
    let issuer = TestIssuer::start().await.unwrap();
    let b = service_b(&issuer).await;
    let orders = AttachTokenLayer::new(tokens(&issuer), [&b]).unwrap();
    let http = reqwest::Client::new();
    let request = || http.post(format!("{b}/whoami")).body("hi");

    let answer = orders.send(request()).await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "test-client: hi");
    issuer.rotate_hard();
    let newer = issuer.token().sign();
    let answer = http.get(format!("{b}/whoami")).bearer_auth(newer).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer = orders.send(request()).await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "test-client: hi");
    assert_eq!(granted_by(&issuer), 2);

    // Never on 403.
    let answer = orders.send(http.post(format!("{b}/write"))).await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(granted_by(&issuer), 2);

    // A token of one's own is kept, another origin refused, and without a token nothing is sent.
    let answer = orders.send(request().bearer_auth("mine")).await.unwrap();
    assert_eq!(answer.status(), 401);
    let error = orders.send(http.get("https://evil.test/")).await.unwrap_err();
    assert!(matches!(error, SendError::Origin(_)));
    issuer.stop().await;
    let stopped = AttachTokenLayer::new(tokens(&issuer), [&b]).unwrap();
    assert!(matches!(stopped.send(request()).await.unwrap_err(), SendError::Token(_)));
}

// E10: a stream can't be sent twice by reqwest; the refusal is the answer, and the next is good.
#[tokio::test]
async fn e10_reqwest_sends_a_stream_once() {
    let issuer = TestIssuer::start().await.unwrap();
    let b = service_b(&issuer).await;
    let tokens = tokens(&issuer);
    let orders = AttachTokenLayer::new(tokens.clone(), [&b]).unwrap();
    let http = reqwest::Client::new();
    tokens.token().await.unwrap();
    issuer.rotate_hard();
    let newer = issuer.token().sign();
    http.get(format!("{b}/whoami")).bearer_auth(newer).send().await.unwrap();
    let stream = || reqwest::Body::wrap(Full::new(Bytes::from_static(b"hi")));
    let request = || http.post(format!("{b}/whoami")).body(stream());
    assert_eq!(orders.send(request()).await.unwrap().status(), 401);
    let refused = tokens.token().await.unwrap();
    assert!(tokens.renew(&refused, &b).await.is_some() || granted_by(&issuer) == 2);
    assert_eq!(orders.send(request()).await.unwrap().status(), 200);
    assert_eq!(granted_by(&issuer), 2);
}

// E10: the same token again is no other.
#[tokio::test]
async fn e10_reqwest_does_not_send_the_same_token_twice() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let refusing = Router::new().fallback(move || async move {
        counted.fetch_add(1, Ordering::Relaxed);
        StatusCode::UNAUTHORIZED
    });
    let b = serve(refusing).await;
    let transport = ScriptedTransport::from_fn(|_| granted("t", 600));
    let orders = AttachTokenLayer::new(source(&transport), [&b]).unwrap();
    assert_eq!(orders.send(reqwest::Client::new().get(&b)).await.unwrap().status(), 401);
    assert_eq!((calls.load(Ordering::Relaxed), transport.request_count()), (1, 2));
    // Its twin: with another token there is a second request.
    let orders = AttachTokenLayer::new(source(&counting(600)), [&b]).unwrap();
    assert_eq!(orders.send(reqwest::Client::new().get(&b)).await.unwrap().status(), 401);
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

// E13: on a redirect elsewhere, reqwest takes the token away.
#[tokio::test]
async fn e13_a_redirect_does_not_carry_the_token_elsewhere() {
    let issuer = TestIssuer::start().await.unwrap();
    let seen = |headers: http::HeaderMap| async move {
        if headers.contains_key("authorization") { "token" } else { "no token" }
    };
    let elsewhere = serve(Router::new().route("/", get(seen))).await;
    let to = elsewhere.clone();
    let here = Router::new()
        .route("/away", get(move || async move { axum::response::Redirect::temporary(&to) }))
        .route("/home", get(|| async { axum::response::Redirect::temporary("/") }))
        .route("/", get(seen));
    let b = serve(here).await;
    let layer = AttachTokenLayer::new(tokens(&issuer), [&b]).unwrap();
    let http = reqwest::Client::new();
    let text = async |path: &str| {
        layer.send(http.get(format!("{b}{path}"))).await.unwrap().text().await.unwrap()
    };
    assert_eq!(text("/").await, "token");
    assert_eq!(text("/home").await, "token");
    assert_eq!(text("/away").await, "no token");

    // A refusal from there isn't about the token.
    let refusing = serve(Router::new().fallback(|| async { StatusCode::UNAUTHORIZED })).await;
    let b = serve(
        Router::new()
            .fallback(move || async move { axum::response::Redirect::temporary(&refusing) }),
    )
    .await;
    let layer = AttachTokenLayer::new(tokens(&issuer), [&b]).unwrap();
    let before = granted_by(&issuer);
    assert_eq!(layer.send(http.get(&b)).await.unwrap().status(), 401);
    assert_eq!(granted_by(&issuer), before + 1);
}

// The issuer is down between soft and hard expiry: no call fails.
#[tokio::test]
async fn e2_the_issuer_may_stop_while_a_token_serves() {
    let issuer = TestIssuer::builder().token_lifetime(10 * SECOND).start().await.unwrap();
    let b = service_b(&issuer).await;
    let tokens = tokens(&issuer);
    let layer = AttachTokenLayer::new(tokens.clone(), [&b]).unwrap();
    let http = reqwest::Client::new();
    let call = async || {
        let answer = layer.send(http.get(format!("{b}/whoami"))).await;
        assert_eq!(answer.unwrap().status(), 200);
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    };
    let first = tokens.token().await.unwrap();
    // Soft expiry is at most two seconds before the end, hard expiry one.
    tokio::time::sleep(first.remaining() - 3 * SECOND).await;
    issuer.stop().await;
    let mut calls = 0;
    while first.remaining() > std::time::Duration::from_millis(1_600) {
        call().await;
        assert_eq!(token(&tokens).await, first.expose_secret());
        calls += 1;
    }
    assert!(calls > 2, "{calls}");
    issuer.restart().await.unwrap();
    while !first.remaining().is_zero() {
        call().await;
    }
    assert_ne!(token(&tokens).await, first.expose_secret());
}

/// `google.protobuf.StringValue`.
#[derive(Clone, PartialEq, prost::Message)]
struct StringValue {
    #[prost(string, tag = "1")]
    value: String,
}

#[derive(Clone)]
struct Greeter;

impl NamedService for Greeter {
    const NAME: &'static str = "greet.Greeter";
}

impl UnaryService<StringValue> for Greeter {
    type Response = StringValue;
    type Future = BoxFuture<'static, Result<tonic::Response<StringValue>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<StringValue>) -> Self::Future {
        let value = format!("hello, {}", request.into_inner().value);
        async { Ok(tonic::Response::new(StringValue { value })) }.boxed()
    }
}

impl Service<Request<Body>> for Greeter {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        async {
            let codec = ProstCodec::<StringValue, StringValue>::default();
            Ok(tonic::server::Grpc::new(codec).unary(Self, request).await)
        }
        .boxed()
    }
}

// tonic's channel: gRPC's UNAUTHENTICATED is answered with another token too.
#[tokio::test]
async fn e10_tonic_channels_retry_as_well() {
    let issuer = TestIssuer::start().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let server = tonic::transport::Server::builder()
        .layer(BearerAuthLayer::new(validator(&issuer).await))
        .add_service(Greeter)
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);

    let tokens = tokens(&issuer);
    let channel = tonic::transport::Channel::from_shared(origin.clone()).unwrap().connect_lazy();
    let channel = ServiceBuilder::new()
        .layer(AttachTokenLayer::for_channel(tokens.clone(), &origin).unwrap())
        .map_request(|request: Request<ReplayBody<Body>>| request.map(Body::new))
        .service(channel);
    let greet = async |name: &str| {
        let mut grpc = tonic::client::Grpc::new(channel.clone());
        grpc.ready().await.map_err(|error| tonic::Status::unknown(error.to_string()))?;
        let request = tonic::Request::new(StringValue { value: name.into() });
        let path = PathAndQuery::from_static("/greet.Greeter/Greet");
        let codec = ProstCodec::<StringValue, StringValue>::default();
        grpc.unary(request, path, codec).await.map(|answer| answer.into_inner().value)
    };
    assert_eq!(greet("world").await.unwrap(), "hello, world");
    assert_eq!(granted_by(&issuer), 1);

    issuer.rotate_hard();
    let newer = issuer.token().sign();
    let fetched = issuer.counters().requests(Endpoint::Jwks);
    // Another caller brings the new key.
    let mut plain = tonic::client::Grpc::new(
        tonic::transport::Channel::from_shared(origin.clone()).unwrap().connect_lazy(),
    );
    plain.ready().await.unwrap();
    let mut request = tonic::Request::new(StringValue { value: "x".into() });
    request.metadata_mut().insert("authorization", format!("Bearer {newer}").parse().unwrap());
    let path = PathAndQuery::from_static("/greet.Greeter/Greet");
    let codec = ProstCodec::<StringValue, StringValue>::default();
    plain.unary(request, path, codec).await.unwrap();
    assert_eq!(issuer.counters().requests(Endpoint::Jwks), fetched + 1);

    assert_eq!(greet("again").await.unwrap(), "hello, again");
    assert_eq!(granted_by(&issuer), 2);
}

#[cfg(feature = "dpop")]
mod proved {
    use tower_bearer::client::DpopKey;
    use tower_bearer::dpop::{Dpop, NonceKeys};

    use super::*;

    /// An issuer that wants nonces, and what a service behind `origin` needs.
    async fn world(origin: &str) -> (TestIssuer, Validator, TokenSource) {
        let issuer = TestIssuer::builder().dpop_nonces().start().await.unwrap();
        let dpop = Dpop::require().public_origins([origin]).nonces(NonceKeys::random().unwrap());
        let keys = Jwks::discover(issuer.issuer());
        let validator =
            Validator::builder(issuer.issuer(), issuer.audience()).keys(keys).dpop(dpop);
        let validator = validator.build().unwrap();
        validator.ready(10 * SECOND).await.unwrap();
        let tokens = grant_of(&issuer).dpop(DpopKey::generate().unwrap()).source().unwrap();
        (issuer, validator, tokens)
    }

    async fn listen() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        (listener, origin)
    }

    // Token endpoint and service both want a nonce; every call has a new proof, which is checked.
    #[tokio::test]
    async fn dc5_dc9_dc10_bound_tokens_are_accepted_by_every_way_of_sending() {
        let (listener, b) = listen().await;
        let (issuer, validator, tokens) = world(&b).await;
        let whoami = |token: AccessToken, body: String| async move {
            format!("{}: {body}", token.claims().key_thumbprint().unwrap())
        };
        let router = Router::new().route("/a%20b/whoami", any(whoami));
        let router = router.layer(BearerAuthLayer::new(validator));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let url = format!("{b}/a%20b/whoami?q=1");
        let token = tokens.token().await.unwrap();
        let expected = format!("{}: hi", token.key_thumbprint().unwrap());
        assert_eq!(issuer.counters().requests(Endpoint::Token), 2, "one for the nonce");

        let layer = AttachTokenLayer::new(tokens.clone(), [&b]).unwrap();
        let hyper = Client::builder(TokioExecutor::new()).build_http::<ReplayBody<Full<Bytes>>>();
        let mut hyper = layer.layer(hyper);
        let http = reqwest::Client::new();
        for _ in 0..3 {
            let request = Request::post(&url).body(Full::new(Bytes::from_static(b"hi"))).unwrap();
            let answer = hyper.ready().await.unwrap().call(request).await.unwrap();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, expected);

            let answer = layer.send(http.put(&url).body("hi")).await.unwrap();
            assert_eq!(answer.text().await.unwrap(), expected);

            let mut headers = http::HeaderMap::new();
            let uri = url.parse().unwrap();
            tokens.authorize(&token, &Method::GET, &uri, &mut headers).unwrap();
            let answer = http.get(&url).headers(headers).body("hi").send().await.unwrap();
            assert!(!tokens.wants_nonce(&token, &uri, answer.status(), answer.headers()));
            assert_eq!(answer.text().await.unwrap(), expected);
        }
        // The token by itself is of no use.
        let stolen = token.expose_secret();
        let answer = http.get(&url).bearer_auth(stolen).send().await.unwrap();
        assert_eq!(answer.status(), 401);
        assert_eq!(granted_by(&issuer), 1);
    }

    #[tokio::test]
    async fn dc18_tonic_channels_send_proofs_and_nonces() {
        let (listener, origin) = listen().await;
        let (issuer, validator, tokens) = world(&origin).await;
        let server = tonic::transport::Server::builder()
            .layer(BearerAuthLayer::new(validator))
            .add_service(Greeter)
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        let channel = tonic::transport::Channel::from_shared(origin.clone()).unwrap();
        let channel = ServiceBuilder::new()
            .layer(AttachTokenLayer::for_channel(tokens, &origin).unwrap())
            .map_request(|request: Request<ReplayBody<Body>>| request.map(Body::new))
            .service(channel.connect_lazy());
        for name in ["one", "two"] {
            let mut grpc = tonic::client::Grpc::new(channel.clone());
            grpc.ready().await.unwrap();
            let request = tonic::Request::new(StringValue { value: name.into() });
            let path = PathAndQuery::from_static("/greet.Greeter/Greet");
            let codec = ProstCodec::<StringValue, StringValue>::default();
            let answer = grpc.unary(request, path, codec).await.unwrap();
            assert_eq!(answer.into_inner().value, format!("hello, {name}"));
        }
        assert_eq!(granted_by(&issuer), 1);
    }
}
