//! Hidden against absent: what hides is the answer of a real server for what isn't there, byte for
//! byte.
#![cfg(all(feature = "test-util", feature = "axum"))]

mod world;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::routing::{any, get, put};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Status;
use tonic::server::NamedService;
use tower::{Layer as _, Service};
use tower_bearer::answer::{Absent, DefaultRenderer, RefusalContext, Renderer};
use tower_bearer::middleware::RouteTableBuilder;
use tower_bearer::{Access, BearerAuthLayer, Refusal, RouteTable};
use world::{Issuer, bearer, request, send};

const METHODS: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PURGE", "M-SEARCH"];

const CONTENT_TYPES: &[Option<&str>] = &[
    None,
    Some("application/json"),
    Some("application/grpc"),
    Some("application/grpc+proto"),
    Some("Application/GRPC;charset=utf-8"),
    Some("application/grpc-web"),
    Some("application/grpc-web-text+proto"),
    Some(""),
];

const GRPC: Option<&str> = Some("application/grpc");

/// One request, but for its path.
#[derive(Clone, Copy, Debug)]
struct Ask<'a> {
    method: &'a str,
    content_type: Option<&'a str>,
    token: Option<&'a str>,
}

impl<'a> Ask<'a> {
    fn all(token: Option<&'a str>) -> impl Iterator<Item = Ask<'a>> {
        let of = move |method| {
            CONTENT_TYPES.iter().map(move |content_type| Ask {
                method,
                content_type: *content_type,
                token,
            })
        };
        METHODS.iter().flat_map(move |method| of(*method))
    }

    /// For what differs in nothing but the route.
    fn few(token: Option<&'a str>) -> impl Iterator<Item = Ask<'a>> {
        Self::all(token).filter(|ask| ask.content_type.is_none() || ask.content_type == GRPC)
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![("te", "trailers".to_owned())];
        fields.extend(self.content_type.map(|value| ("content-type", value.to_owned())));
        fields.extend(self.token.map(|token| ("authorization", bearer(token))));
        fields
    }

    /// The bytes that come back over HTTP/1.1, but for the date.
    async fn http1(&self, address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut head =
            format!("{} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n", self.method);
        for (name, value) in self.fields().iter().filter(|(name, _)| *name != "te") {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        tokio::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let lines = answer.split_inclusive("\r\n").filter(|line| !line.starts_with("date: "));
        lines.collect()
    }

    /// The fields in their order, where the stream ends, and what follows, over HTTP/2.
    async fn http2(&self, address: SocketAddr, path: &str) -> String {
        let client =
            Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Empty<Bytes>>();
        let mut request =
            Request::builder().method(self.method).uri(format!("http://{address}{path}"));
        for (name, value) in self.fields() {
            request = request.header(name, value);
        }
        let request = client.request(request.body(Empty::new()).unwrap());
        let response =
            tokio::time::timeout(Duration::from_secs(20), request).await.unwrap().unwrap();
        let (mut head, body) = response.into_parts();
        head.headers.remove("date").unwrap();
        let ends = body.is_end_stream();
        let body = body.collect().await.unwrap();
        let (trailers, body) = (body.trailers().cloned(), body.to_bytes());
        format!("{} {:?} ends: {ends} {body:?} {trailers:?}", head.status, head.headers)
    }
}

/// The frames of the answer over HTTP/2: type, flags and, but for fields, length. So that it shows
/// where the stream ends, whatever a client makes of it.
async fn frames(ask: &Ask<'_>, address: SocketAddr, path: &str) -> Vec<(u8, u8, usize)> {
    const HEADERS: u8 = 1;
    const END: u8 = 1;
    let mut fields = vec![
        (":method", ask.method.to_owned()),
        (":scheme", "http".to_owned()),
        (":path", path.to_owned()),
        (":authority", "x".to_owned()),
    ];
    fields.extend(ask.fields());
    let mut block = Vec::new();
    for (name, value) in fields {
        // RFC 7541 §6.2.2, without Huffman coding.
        block.push(0);
        for text in [name, &value] {
            let length = text.len();
            if length < 127 {
                block.push(length as u8);
            } else {
                let (low, high) = ((length - 127) % 128, (length - 127) / 128);
                block.extend([127, low as u8 | 128, high as u8]);
            }
            block.extend(text.as_bytes());
        }
    }
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    bytes.extend(&(block.len() as u32).to_be_bytes()[1..]);
    // A body that nobody reads.
    let has_body = ask.method == "POST";
    bytes.extend([HEADERS, if has_body { 0x4 } else { 0x4 | END }, 0, 0, 0, 1]);
    bytes.extend(block);
    if has_body {
        bytes.extend(*b"\0\0\x05\0\x01\0\0\0\x01hello");
    }

    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let read = async {
        let mut frames = Vec::new();
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let [a, b, c, kind, flags, .., id] = head;
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            stream.read_exact(&mut vec![0; length]).await.unwrap();
            if id == 1 {
                frames.push((kind, flags, if kind == HEADERS { 0 } else { length }));
                if kind <= HEADERS && flags & END != 0 {
                    return frames;
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read).await.unwrap()
}

/// Holds what is hidden against what is absent: on the same server, and on those where nothing was
/// ever hidden. Returns what both answered at first.
async fn compare(
    asks: impl IntoIterator<Item = Ask<'_>>,
    (address, hidden): (SocketAddr, &str),
    absent: &[(SocketAddr, &str)],
) -> [String; 2] {
    let mut first = None;
    for ask in asks {
        let of_hidden = [ask.http1(address, hidden).await, ask.http2(address, hidden).await];
        let of_hidden_frames = frames(&ask, address, hidden).await;
        for (address, absent) in absent.iter().copied() {
            let of_absent = [ask.http1(address, absent).await, ask.http2(address, absent).await];
            assert_eq!(of_hidden, of_absent, "{ask:?} {hidden} {absent}");
            let of_absent_frames = frames(&ask, address, absent).await;
            assert_eq!(of_hidden_frames, of_absent_frames, "{ask:?} {hidden} {absent}");
        }
        first.get_or_insert(of_hidden);
    }
    first.unwrap()
}

async fn axum(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

fn hidden() -> Access {
    Access::scope("admin").hide_existence()
}

fn table(entries: impl IntoIterator<Item = (&'static str, Access)>) -> RouteTable {
    let builder = RouteTable::builder();
    let add = |table: RouteTableBuilder, (path, access)| table.any(path, access);
    entries.into_iter().fold(builder, add).build().unwrap()
}

fn app() -> Router {
    async fn ok() -> &'static str {
        "secret"
    }
    let inner = Router::new().route("/hidden", any(ok)).route("/get", get(ok));
    Router::new()
        .route("/any", any(ok))
        .route("/get", get(ok))
        .route("/put", put(ok))
        .route("/tenants/{id}", any(ok))
        .route_service("/service", tower::service_fn(async |_| Ok::<_, Infallible>(ok().await)))
        .nest("/nested", inner)
}

fn app_table() -> RouteTable {
    table([
        ("/any", hidden()),
        ("/get", hidden()),
        ("/put", Access::denied().hide_existence()),
        ("/tenants/{id}", hidden()),
        ("/service", hidden()),
        ("/nested", hidden()),
        ("/nested/{*rest}", hidden()),
    ])
}

const NOTHING_1: &str = "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const NOTHING_2: &str = "404 Not Found {} ends: true b\"\" None";

// FA6: around the router, nothing tells the two apart.
#[tokio::test]
async fn fa6_hidden_is_absent_around_an_axum_router() {
    let issuer = Issuer::new();
    let token = issuer.token("other");
    let layer = issuer.layer().routes(app_table());
    let address = axum(Router::new().fallback_service(layer.layer(app()))).await;
    let bare = axum(Router::new().route("/other", get(async || ""))).await;
    let absent = [(address, "/gone"), (bare, "/gone")];
    let answers = compare(Ask::all(Some(&token)), (address, "/any"), &absent).await;
    assert_eq!(answers, [NOTHING_1, NOTHING_2]);
    for path in ["/get", "/put", "/tenants/7", "/service", "/nested/hidden", "/nested/get"] {
        compare(Ask::few(Some(&token)), (address, path), &absent).await;
        // A stranger can't tell either.
        compare(Ask::few(None), (address, path), &absent[..1]).await;
    }
    // Callers with the scope, and what isn't hidden.
    let admin = issuer.token("admin");
    let ask = Ask { method: "GET", content_type: None, token: Some(&admin) };
    for path in ["/any", "/get", "/nested/get", "/service"] {
        assert!(ask.http1(address, path).await.ends_with("\r\n\r\nsecret"), "{path}");
    }
}

// FA6: a finished service with its layer, nested by another.
#[tokio::test]
async fn fa6_hidden_is_absent_in_a_nested_service() {
    let issuer = Issuer::new();
    let token = issuer.token("other");
    let table = table([("/api/any", hidden()), ("/api/get", hidden())]);
    let nested = issuer.layer().routes(table).layer(app());
    let address = axum(Router::new().nest_service("/api", nested)).await;
    for path in ["/api/any", "/api/get"] {
        let asks = Ask::few(Some(&token));
        let answers = compare(asks, (address, path), &[(address, "/api/gone")]).await;
        assert_eq!(answers, [NOTHING_1, NOTHING_2]);
    }
}

// FA6: as a layer of the router, for methods that the route has. For the others, axum adds `allow`
// to whatever a layer answers.
#[tokio::test]
async fn fa6_hidden_is_absent_as_a_layer_of_an_axum_router() {
    let issuer = Issuer::new();
    let token = issuer.token("other");
    let address = axum(app().layer(issuer.layer().routes(app_table()))).await;
    let bare = axum(Router::new()).await;
    let absent = [(address, "/gone"), (bare, "/gone")];
    let answers = compare(Ask::all(Some(&token)), (address, "/any"), &absent).await;
    assert_eq!(answers, [NOTHING_1, NOTHING_2]);
    for path in ["/tenants/7", "/service", "/nested/hidden"] {
        compare(Ask::few(Some(&token)), (address, path), &absent).await;
    }
    for (path, methods) in [("/get", &["GET", "HEAD"][..]), ("/put", &["PUT"])] {
        let asks = Ask::few(Some(&token)).filter(|ask| methods.contains(&ask.method));
        compare(asks, (address, path), &absent).await;
    }
    let post = Ask { method: "POST", content_type: None, token: Some(&token) };
    assert!(post.http1(address, "/get").await.contains("\r\nallow: GET,HEAD\r\n"));
}

// FA6: layers outside see the same, too.
#[tokio::test]
async fn fa6_layers_outside_see_no_difference() {
    let issuer = Issuer::new();
    let token = issuer.token("other");
    let cors = tower_http::cors::CorsLayer::permissive();
    let measure = tower::util::MapResponseLayer::new(|mut response: axum::response::Response| {
        let seen = format!("{:?} {}", response.body().size_hint(), response.body().is_end_stream());
        response.headers_mut().insert("x-seen", seen.parse().unwrap());
        response
    });
    let around = issuer.layer().routes(app_table()).layer(app());
    let app = Router::new().fallback_service(around).layer(measure).layer(cors);
    let address = axum(app).await;
    for path in ["/any", "/get", "/nested/get"] {
        for token in [None, Some(&*token)] {
            let asks = Ask::few(token);
            let [http1, _] = compare(asks, (address, path), &[(address, "/gone")]).await;
            assert!(http1.contains("x-seen: ") && http1.contains("access-control-"), "{http1}");
        }
    }
}

/// Renders what is absent as the application's fallback does.
struct AsTheFallback;

impl Renderer for AsTheFallback {
    fn render(&self, refusal: &Refusal, cx: &RefusalContext<'_>) -> Response<Bytes> {
        DefaultRenderer.render(refusal, cx)
    }

    fn render_absent(&self, _: Absent, _: &RefusalContext<'_>) -> Response<Bytes> {
        let mut response = fallback().map(Bytes::from);
        let length = response.body().len();
        response.headers_mut().insert("content-length", length.into());
        response
    }
}

fn fallback() -> Response<String> {
    let page = "no such page".to_owned();
    Response::builder().status(404).header("content-type", "text/plain").body(page).unwrap()
}

// FA6: with a fallback of the application's own, and a renderer for it.
#[tokio::test]
async fn fa6_hidden_is_an_own_fallback_with_a_renderer() {
    let issuer = Issuer::new();
    let token = issuer.token("other");
    let layer = issuer.layer().routes(app_table()).renderer(AsTheFallback);
    let app = app().fallback(async || fallback());
    let address = axum(Router::new().fallback_service(layer.layer(app))).await;
    for path in ["/any", "/get", "/service", "/nested/hidden"] {
        let asks = Ask::few(Some(&token));
        let [http1, _] = compare(asks, (address, path), &[(address, "/gone")]).await;
        assert!(http1.ends_with("\r\n\r\nno such page"), "{http1}");
    }
}

/// A service as tonic's code generator makes it, without methods that do anything.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "echo.Echo";
}

impl Service<Request<tonic::body::Body>> for Echo {
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let response = if request.uri().path() == "/echo.Echo/Say" {
            Status::ok("said").into_http()
        } else {
            // As it is generated.
            let mut response = Response::new(tonic::body::Body::default());
            let headers = response.headers_mut();
            headers.insert(Status::GRPC_STATUS, (tonic::Code::Unimplemented as i32).into());
            headers.insert("content-type", http::HeaderValue::from_static("application/grpc"));
            response
        };
        std::future::ready(Ok(response))
    }
}

#[derive(Clone)]
struct Secret;

impl NamedService for Secret {
    const NAME: &'static str = "secret.Secret";
}

impl Service<Request<tonic::body::Body>> for Secret {
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<tonic::body::Body>) -> Self::Future {
        std::future::ready(Ok(Status::ok("secret").into_http()))
    }
}

async fn tonic(layer: Option<BearerAuthLayer>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = TcpListenerStream::new(listener);
    let server = tonic::transport::Server::builder().accept_http1(true);
    match layer {
        Some(layer) => {
            let mut server = server.layer(layer);
            let server = server.add_service(Echo).add_service(Secret);
            tokio::spawn(server.serve_with_incoming(incoming));
        }
        None => {
            let mut server = server;
            tokio::spawn(server.add_service(Echo).serve_with_incoming(incoming));
        }
    }
    address
}

// FA6: a service that a tonic server doesn't have, and a method that a service doesn't have, for
// whatever the caller sends.
#[tokio::test]
async fn fa6_hidden_is_absent_in_a_tonic_server() {
    let issuer = Issuer::new();
    let token = issuer.token("other");
    let table = RouteTable::builder()
        .grpc_service("secret.Secret", hidden())
        .any("/echo.Echo/Say", Access::scope("admin").hide_existence_as(Absent::GrpcMethod))
        .build()
        .unwrap();
    let layer = issuer.layer().routes(table);
    let (address, bare) = (tonic(Some(layer.clone())).await, tonic(None).await);
    let absent = [(address, "/nothing.Nothing/Show"), (bare, "/secret.Secret/Show")];
    let asks = Ask::all(Some(&token));
    let [http1, http2] = compare(asks, (address, "/secret.Secret/Show"), &absent).await;
    assert!(http1.contains("\r\ncontent-type: application/grpc\r\ngrpc-status: 12\r\n"), "{http1}");
    assert!(http2.ends_with("\"content-length\": \"0\"} ends: true b\"\" None"), "{http2}");

    let absent = [(address, "/echo.Echo/Nil"), (bare, "/echo.Echo/Nil")];
    compare(Ask::all(Some(&token)), (address, "/echo.Echo/Say"), &absent).await;
    compare(Ask::few(None), (address, "/echo.Echo/Say"), &absent[..1]).await;
    compare(Ask::few(None), (address, "/secret.Secret/Show"), &absent[..1]).await;

    let admin = issuer.token("admin");
    for method in ["/echo.Echo/Say", "/secret.Secret/Show"] {
        let ask = Ask { method: "POST", content_type: GRPC, token: Some(&admin) };
        assert!(ask.http2(address, method).await.contains("\"grpc-status\": \"0\""));
    }

    // The same services within an axum router.
    let routes = tonic::service::Routes::new(Echo).add_service(Secret).into_axum_router();
    let address = axum(routes.layer(layer)).await;
    let absent = [(address, "/nothing.Nothing/Show")];
    compare(Ask::few(Some(&token)), (address, "/secret.Secret/Show"), &absent).await;
}

// FA6: what one rule hides, another doesn't show; and what hides for some lets others in.
#[tokio::test]
async fn fa6_the_layers_own_access_may_hide() {
    let issuer = Issuer::new();
    let token = issuer.token("other");
    for (access, expected) in [
        (hidden(), NOTHING_2.to_owned()),
        (
            Access::denied().hide_existence_as(Absent::GrpcService),
            format!("200 OK {:?} ends: true b\"\" None", {
                let mut fields = HeaderMap::new();
                fields.insert("content-type", "application/grpc".parse().unwrap());
                fields.insert("grpc-status", "12".parse().unwrap());
                fields.insert("content-length", "0".parse().unwrap());
                fields
            }),
        ),
    ] {
        let layer = issuer.layer().fallback(access).unwrap();
        let address = axum(Router::new().fallback_service(layer.layer(app()))).await;
        for ask in Ask::few(Some(&token)) {
            for path in ["/any", "/get", "/gone"] {
                assert_eq!(ask.http2(address, path).await, expected, "{ask:?} {path}");
            }
        }
    }
}

// FA6: who isn't admitted to what isn't there is refused in the same way where something hides.
#[tokio::test]
async fn fa6_hidden_is_refused_as_what_the_layer_refuses() {
    let issuer = Issuer::new();
    let (other, reader) = (bearer(&issuer.token("other")), bearer(&issuer.token("read")));
    let forged = bearer(&Issuer::new().token("admin"));
    let callers = [None, Some(&*other), Some(&*reader), Some(&*forged), Some("Bearer a b")];
    for (access, statuses) in [
        (Access::token(), [401, 404, 404, 401, 400]),
        (Access::scope("read"), [401, 403, 404, 401, 400]),
        (Access::scope("read").hide_existence(), [401, 404, 404, 401, 400]),
        (Access::denied(), [401, 403, 403, 401, 400]),
        (Access::denied().hide_existence(), [401, 404, 404, 401, 400]),
        (Access::optional(), [404, 404, 404, 401, 400]),
    ] {
        let layer = issuer.layer().routes(app_table()).fallback(access.clone()).unwrap();
        let service = layer.layer(app());
        for (caller, status) in callers.into_iter().zip(statuses) {
            let fields: Vec<_> =
                caller.map(|caller| ("authorization", caller)).into_iter().collect();
            let ask = async |path| send(&service, request("GET", path, &fields)).await;
            let (hidden, gone) = (ask("/any").await, ask("/gone").await);
            assert_eq!(hidden.status(), status, "{access:?} {caller:?}");
            assert_eq!(gone.status(), status, "{access:?} {caller:?}");
            assert_eq!(hidden.response.headers(), gone.response.headers());
            assert_eq!(hidden.body(), gone.body());
        }
        let admin = bearer(&issuer.token("admin"));
        let admitted = send(&service, request("GET", "/any", &[("authorization", &admin)])).await;
        assert_eq!((admitted.status(), admitted.body()), (200, "secret"));
    }
}
