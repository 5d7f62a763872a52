//! Streams end with their token, as clients that nobody here wrote see it: curl, Python's websockets,
//! grpcio, tonic's own, and Chromium's EventSource.

#![allow(clippy::disallowed_methods, reason = "processes live in real time")]
#![allow(clippy::expect_used, clippy::panic)]

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Command;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::Request;
use axum::response::sse::{Event, Sse};
use axum::response::{Html, IntoResponse as _};
use axum::routing::{get, post};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use serde_json::{Value, json};
use support::browser::Browser;
use support::process::{self, Process};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{IntervalStream, TcpListenerStream};
use tokio_stream::{Pending, StreamExt as _};
use tonic::server::{NamedService, ServerStreamingService};
use tonic_prost::ProstCodec;
use tower::ServiceBuilder;
use tower_bearer::middleware::StreamDeadlineLayer;
use tower_bearer::testing::TestIssuer;
use tower_bearer::{AccessToken, BearerAuthLayer, Validator};

/// How late a stream may end, on a machine that does a lot besides.
const LATE: f64 = 5.0;

/// Asserts that a stream has ended when its token did, for which there is no leeway.
fn assert_ended_in_time(ended: f64, token: &str) {
    let claims = token.split('.').nth(1).expect("a JWT");
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).expect("base64url");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    let late = ended - claims["exp"].as_f64().expect("a time");
    assert!((0.0..LATE).contains(&late), "it ended {late} s after its token");
}

fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

/// The example, whose token lasts this many seconds.
struct Example {
    process: Process,
    /// The `curl` line.
    curl: String,
    token: String,
    socket: String,
}

impl Example {
    fn start(token_secs: u64) -> Self {
        let mut command = Command::new(process::example("streams"));
        command.env("TOKEN_SECS", token_secs.to_string());
        let process = Process::spawn(command);
        let line = |start: &str| loop {
            let line = process.line(Duration::from_secs(20)).expect("a line of the example");
            if line.starts_with(start) {
                break line;
            }
        };
        let curl = line("curl ");
        let token = curl.split("Bearer ").nth(1).and_then(|rest| rest.split('\'').next());
        let token = token.expect("a token in the line").to_owned();
        let socket = line("# A WebSocket");
        let socket = socket.split_whitespace().find(|word| word.starts_with("ws://"));
        let socket = socket.expect("an address").trim_end_matches(',').to_owned();
        Self { curl, token, socket, process }
    }
}

// ST3: curl sees a complete answer, and the 401 when it comes back.
#[test]
fn st3_an_event_stream_ends_cleanly_for_curl() {
    let mut example = Example::start(3);
    let output = Command::new("sh").args(["-c", &example.curl]).output().expect("a shell");
    let ended = unix_now();
    assert!(output.status.success(), "curl: {}", output.status);
    let events = String::from_utf8_lossy(&output.stdout);
    assert!(events.starts_with("data: tick\n\n"), "{events}");
    assert!(events.ends_with("event: token_expired\ndata:\n\n"), "{events}");
    let ticks = events.matches("tick").count();
    assert!((2..=4).contains(&ticks), "{events}");
    assert_ended_in_time(ended, &example.token);

    let again = example.curl.replacen("curl ", "curl --silent --write-out '%{http_code}' ", 1);
    let output = Command::new("sh").args(["-c", &again]).output().expect("a shell");
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("401"));
    example.process.kill();
}

// ST6: the code by which a client knows why.
#[test]
fn st6_a_websocket_is_closed_with_4401() {
    let mut example = Example::start(3);
    let mut command = Command::new(process::python());
    command.arg(process::interop("websocket/client.py")).args([&example.socket, &example.token]);
    let output = command.output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&seen["echo"], &seen["code"]), (&json!("hello"), &json!(4401)), "{seen}");
    assert_ended_in_time(seen["closed_at"].as_f64().expect("a time"), &example.token);
    example.process.kill();
}

/// `google.protobuf.StringValue`.
#[derive(Clone, PartialEq, prost::Message)]
struct StringValue {
    #[prost(string, tag = "1")]
    value: String,
}

/// A service whose streams give one message and then wait.
#[derive(Clone, Debug)]
struct Waits;

impl NamedService for Waits {
    const NAME: &'static str = "interop.Waits";
}

impl tower::Service<http::Request<tonic::body::Body>> for Waits {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let mut grpc = tonic::server::Grpc::new(ProstCodec::default());
        Box::pin(async move { Ok(grpc.server_streaming(Wait, request).await) })
    }
}

struct Wait;

impl ServerStreamingService<StringValue> for Wait {
    type Response = StringValue;
    type ResponseStream = futures_util::stream::Chain<
        tokio_stream::Once<Result<StringValue, tonic::Status>>,
        Pending<Result<StringValue, tonic::Status>>,
    >;
    type Future = std::future::Ready<Result<tonic::Response<Self::ResponseStream>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<StringValue>) -> Self::Future {
        let one = tokio_stream::once(Ok(request.into_inner()));
        let stream = futures_util::StreamExt::chain(one, tokio_stream::pending());
        std::future::ready(Ok(tonic::Response::new(stream)))
    }
}

async fn serve(issuer: &TestIssuer) -> SocketAddr {
    let validator = Validator::builder(issuer.issuer(), issuer.audience());
    let validator = validator.leeway(Duration::ZERO).build().expect("a validator");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tonic::transport::Server::builder()
        .layer(BearerAuthLayer::new(validator))
        .layer(StreamDeadlineLayer::new())
        .add_service(Waits)
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    address
}

// ST2: tonic's client and gRPC's C core see the status and its reason, within a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn st2_grpc_clients_see_unauthenticated() {
    let issuer = TestIssuer::start().await.expect("an issuer");
    let address = serve(&issuer).await;
    let token = || issuer.token().expires_in(Duration::from_secs(3)).sign();

    let channel = tonic::transport::Channel::from_shared(format!("http://{address}"));
    let channel = channel.expect("an address").connect().await.expect("a connection");
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.expect("a ready channel");
    let mut request = tonic::Request::new(StringValue { value: "hello".to_owned() });
    let sent = token();
    let authorization = format!("Bearer {sent}").parse().expect("a field");
    request.metadata_mut().insert("authorization", authorization);
    let path = http::uri::PathAndQuery::from_static("/interop.Waits/Wait");
    let codec = ProstCodec::<StringValue, StringValue>::default();
    let stream = client.server_streaming(request, path, codec).await.expect("an accepted call");
    let mut stream = stream.into_inner();
    assert_eq!(stream.next().await.expect("a message").expect("a message").value, "hello");
    let status = stream.next().await.expect("an end").expect_err("a status");
    assert_ended_in_time(unix_now(), &sent);
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    assert!(String::from_utf8_lossy(status.details()).contains("ACCESS_TOKEN_EXPIRED"));

    let mut command = Command::new(process::python());
    command.arg(process::interop("grpcio/client.py"));
    command.args(["--stream", "--message", "hello", "--method", "/interop.Waits/Wait"]);
    command.args(["--target", &address.to_string()]);
    let sent = token();
    command.args(["--metadata", &format!("authorization=Bearer {sent}")]);
    let output = tokio::task::spawn_blocking(move || command.output().expect("Python runs"));
    let output = output.await.expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(seen["details"]["error_info"]["reason"], json!("ACCESS_TOKEN_EXPIRED"), "{seen}");
    assert_eq!(seen["details"]["code"], json!(16), "{seen}");
    assert_eq!(
        (&seen["code"], &seen["messages"]),
        (&json!("UNAUTHENTICATED"), &json!(["hello"])),
        "{seen}"
    );
    assert_ended_in_time(seen["ended_at"].as_f64().expect("a time"), &sent);
}

/// A browser is slow to start where it shares its processor with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// An event four times a second, which says how many milliseconds the token has expired for.
async fn ticks(
    token: AccessToken,
) -> Sse<impl tokio_stream::Stream<Item = Result<Event, Infallible>>> {
    let expires = i128::from(token.expires_at().expect("it expires").as_secs()) * 1_000;
    let ticks = IntervalStream::new(tokio::time::interval(Duration::from_millis(250)));
    Sse::new(ticks.map(move |_| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        Ok(Event::default().data((now as i128 - expires).to_string()))
    }))
}

/// As an application may that has the token in a cookie: `EventSource` can set no field.
fn from_cookie(mut request: Request) -> Request {
    let cookie = request.headers().get(COOKIE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let token = cookie.split("; ").find_map(|pair| pair.strip_prefix("token="));
    let field = token.and_then(|token| format!("Bearer {token}").parse().ok());
    if let Some(field) = field {
        request.headers_mut().insert(AUTHORIZATION, field);
    }
    request
}

// ST3: a browser's EventSource is cut within a second of its token's end, comes back by itself, and meets the
// 401, after which it gives up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn st3_an_event_source_is_cut_in_time_and_meets_the_401() {
    let issuer = std::sync::Arc::new(TestIssuer::start().await.expect("an issuer"));
    let validator = Validator::builder(issuer.issuer(), issuer.audience());
    let validator = validator.leeway(Duration::ZERO).build().expect("a validator");
    validator.ready(Duration::from_secs(10)).await.expect("keys");
    // The token begins when the page is loaded, however slowly the browser has started.
    let page = async move || {
        let token = issuer.token().expires_in(Duration::from_secs(4)).sign();
        let cookie = format!("token={token}; HttpOnly; SameSite=Lax");
        let page = include_str!("interop/browser/event-source.html");
        ([(SET_COOKIE, cookie)], Html(page)).into_response()
    };
    let (sender, mut results) = mpsc::channel::<String>(1);
    let around = ServiceBuilder::new()
        .map_request(from_cookie)
        .layer(BearerAuthLayer::new(validator))
        .layer(StreamDeadlineLayer::new().last_event("token_expired").expect("a name"));
    let app = Router::new()
        .route("/events", get(ticks).route_layer(around))
        .route("/", get(page))
        .route("/results", post(async move |body: String| sender.send(body).await.expect("one")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });

    let _browser = Browser::open(&format!("http://{address}/"));
    let seen = tokio::time::timeout(PATIENCE, results.recv()).await.expect("a report");
    let seen: Value = serde_json::from_str(&seen.expect("a report")).expect("JSON");
    assert_eq!((&seen["opened"], &seen["expired"]), (&json!(1), &json!(1)), "{seen}");
    assert_eq!(seen["errors"], json!([0, 2]), "{seen}");
    let last = seen["ticks"].as_array().and_then(|ticks| ticks.last()?.as_i64());
    assert!(last.is_some_and(|last| (-1_000..1_000).contains(&last)), "{seen}");
}
