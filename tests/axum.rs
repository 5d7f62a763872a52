//! The layer, the guard and the extractors in axum routers, in process and over a socket.
#![cfg(all(feature = "test-util", feature = "tracing", feature = "axum"))]

mod world;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse as _;
use axum::routing::{any, get, post};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower::Layer as _;
use tower_bearer::answer::{DefaultRenderer, RefusalContext, Renderer};
use tower_bearer::jwks::Jwks;
use tower_bearer::middleware::{AnyOf, TokenRejection, UnreadBodyLayer};
use tower_bearer::{
    Access, AccessToken, BearerAuthLayer, Refusal, RejectionKind, RequireScope, Requirement,
    RouteTable, ScopeGuardLayer, Validator,
};
use world::{AUDIENCE, Answer, ISSUER, Issuer, Logs, bearer, send};

tower_bearer::scopes! {
    /// Reading.
    pub(crate) Read = "read";
    Write = "write";
    Admin = "admin";
}

fn request(method: &str, path: &str, token: Option<&str>) -> Request {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", bearer(token));
    }
    request.body(Body::empty()).unwrap()
}

async fn ask(app: &Router, path: &str, token: Option<&str>) -> Answer {
    send(app, request("GET", path, token)).await
}

fn extractors() -> Router {
    Router::new()
        .route(
            "/token",
            get(|token: AccessToken| async move { token.subject().unwrap().to_owned() }),
        )
        .route(
            "/maybe",
            get(|token: Option<AccessToken>| async move {
                token.map_or_else(
                    || "nobody".to_owned(),
                    |token| token.subject().unwrap().to_owned(),
                )
            }),
        )
        .route(
            "/read",
            get(async |token: RequireScope<Read>| token.client_id().unwrap().to_owned()),
        )
        .route("/both", get(async |_: RequireScope<(Read, Write)>| "both"))
        .route("/either", get(async |_: RequireScope<AnyOf<(Write, Admin)>>| "either"))
        .route("/nested", get(async |_: RequireScope<(Read, AnyOf<(Write, Admin)>)>| "nested"))
}

#[tokio::test]
async fn the_path_in_a_refusals_event_is_the_whole_one() {
    let logs = Logs::capture();
    let inner = Router::new().route("/orders", get(async || "inner")).layer(Issuer::new().layer());
    let app = Router::new().nest("/api", inner);
    let request = request("GET", "/api/orders", None);
    assert_eq!(send(&app, request).await.status(), 401);
    let lines = logs.take();
    assert!(lines.len() == 1 && lines[0].contains(r#"path="/api/orders""#), "{lines:#?}");
}

#[tokio::test]
async fn extractors_admit_and_refuse() {
    let issuer = Issuer::new();
    let app = extractors().layer(issuer.layer());
    let insufficient = "Bearer realm=\"api\", error=\"insufficient_scope\", error_description=\"The request requires higher privileges than provided by the access token\", scope=";
    for (path, scope, expected) in [
        ("/token", "", Ok("alice")),
        ("/maybe", "", Ok("alice")),
        ("/read", "read", Ok("app")),
        ("/read", "write", Err("\"read\"")),
        ("/both", "write read", Ok("both")),
        ("/both", "read", Err("\"read write\"")),
        ("/either", "admin", Ok("either")),
        ("/either", "read", Err("\"write\"")),
        ("/nested", "admin read", Ok("nested")),
        ("/nested", "admin", Err("\"read admin\"")),
        ("/nested", "read", Err("\"read write\"")),
    ] {
        let answer = ask(&app, path, Some(&issuer.token(scope))).await;
        match expected {
            Ok(body) => assert_eq!((answer.status(), answer.body()), (200, body), "{path} {scope}"),
            Err(needed) => {
                assert_eq!(answer.status(), 403, "{path} {scope}");
                assert_eq!(answer.challenge(), format!("{insufficient}{needed}"));
                assert_eq!(answer.kind(), Some(RejectionKind::InsufficientScope));
            }
        }
    }
    for path in ["/token", "/maybe", "/read"] {
        assert_eq!(ask(&app, path, None).await.status(), 401);
        assert_eq!(ask(&app, path, Some("x")).await.status(), 401);
    }
}

#[tokio::test]
async fn an_optional_token_is_none_only_without_credentials() {
    let issuer = Issuer::new();
    let routes = RouteTable::builder()
        .any("/maybe", Access::optional())
        .subtree("/", Access::public())
        .build()
        .unwrap();
    let app = extractors().layer(issuer.layer().routes(routes));
    assert_eq!(ask(&app, "/maybe", None).await.body(), "nobody");
    assert_eq!(ask(&app, "/maybe", Some(&issuer.token(""))).await.body(), "alice");
    let bad = ask(&app, "/maybe", Some("x")).await;
    assert_eq!((bad.status(), bad.kind()), (401, Some(RejectionKind::MalformedToken)));
    // On a public route the token isn't looked at, so what needs one gets none.
    for token in [None, Some(issuer.token("read"))] {
        let answer = ask(&app, "/token", token.as_deref()).await;
        assert_eq!((answer.status(), answer.challenge()), (401, "Bearer realm=\"api\""));
        let answer = ask(&app, "/read", token.as_deref()).await;
        assert_eq!(
            (answer.status(), answer.challenge()),
            (401, "Bearer realm=\"api\", scope=\"read\"")
        );
    }
}

#[tokio::test]
async fn without_the_layer_extractors_answer_500_and_log_its_name() {
    let issuer = Issuer::new();
    let logs = Logs::capture();
    let app = extractors();
    for path in ["/token", "/maybe", "/read"] {
        let answer = ask(&app, path, Some(&issuer.token("read"))).await;
        assert_eq!(answer.status(), 500, "{path}");
        assert_eq!(
            answer.body(),
            r#"{"error":"server_error","error_description":"Internal server error"}"#
        );
        let lines = logs.take();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].contains("ERROR") && lines[0].contains("BearerAuthLayer"), "{}", lines[0]);
    }
}

#[derive(serde::Deserialize)]
struct Tenant {
    tenant: String,
}

fn tenants(issuer: &Issuer) -> BearerAuthLayer<Tenant> {
    let keys = Jwks::static_set(ISSUER, &issuer.jwks_json()).unwrap();
    let validator = Validator::builder(ISSUER, AUDIENCE).claims::<Tenant>().keys(keys);
    BearerAuthLayer::new(validator.build().unwrap())
}

#[tokio::test]
async fn other_claims_than_the_validator_reads_are_500_and_both_types_are_logged() {
    let issuer = Issuer::new();
    let logs = Logs::capture();
    let app = Router::new()
        .route("/right", get(async |token: AccessToken<Tenant>| token.extra().tenant.clone()))
        .route("/wrong", get(async |_: AccessToken| ""))
        .route("/maybe", get(async |_: Option<AccessToken>| ""))
        .route(
            "/scope",
            get(async |token: RequireScope<Read>| {
                assert!(token.token::<tower_bearer::NoClaims>().is_none());
                token.token::<Tenant>().unwrap().extra().tenant.clone()
            }),
        )
        .layer(tenants(&issuer));
    let token = issuer.token_with(json!({ "tenant": "acme", "scope": "read" }));
    for path in ["/right", "/scope"] {
        assert_eq!(ask(&app, path, Some(&token)).await.body(), "acme");
    }
    assert_eq!(logs.take(), Vec::<String>::new());
    for path in ["/wrong", "/maybe"] {
        assert_eq!(ask(&app, path, Some(&token)).await.status(), 500);
        let lines = logs.take();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        for word in ["ERROR", "axum::Tenant", "NoClaims"] {
            assert!(lines[0].contains(word), "{word} in {}", lines[0]);
        }
    }
}

#[tokio::test]
async fn a_rejection_can_be_handled_by_the_handler() {
    let issuer = Issuer::new();
    let app = Router::new()
        .route(
            "/",
            get(async |token: Result<RequireScope<Read>, TokenRejection>| match token {
                Ok(_) => "may".into_response(),
                Err(rejection) => rejection.refusal().code().into_response(),
            }),
        )
        .layer(issuer.layer());
    assert_eq!(ask(&app, "/", Some(&issuer.token("read"))).await.body(), "may");
    assert_eq!(ask(&app, "/", Some(&issuer.token(""))).await.body(), "insufficient_scope");
}

#[tokio::test]
async fn a_guard_is_a_route_layer() {
    let issuer = Issuer::new();
    let app = Router::new()
        .route("/guarded", get(async || "guarded"))
        .route_layer(ScopeGuardLayer::of::<(Read, Write)>())
        .route("/free", get(async || "free"))
        .layer(issuer.layer());
    let (with, without) = (issuer.token("read write"), issuer.token("read"));
    assert_eq!(ask(&app, "/guarded", Some(&with)).await.body(), "guarded");
    let answer = ask(&app, "/guarded", Some(&without)).await;
    assert_eq!(answer.status(), 403);
    assert!(answer.challenge().ends_with("scope=\"read write\""), "{}", answer.challenge());
    assert_eq!(ask(&app, "/free", Some(&without)).await.body(), "free");
    assert_eq!(ask(&app, "/nothing", Some(&without)).await.status(), 404);
    assert_eq!(ask(&app, "/nothing", None).await.status(), 401);
}

fn guarded() -> Requirement {
    Requirement::scope("read").unwrap()
}

/// One table, and the same router under it in every way that a layer can be put around.
#[tokio::test]
async fn a_table_holds_wherever_the_layer_lies() {
    let issuer = Issuer::new();
    let routes = || {
        RouteTable::builder()
            .route(Method::GET, "/api/users/{id}", Access::scope("user"))
            .subtree("/api/admin", Access::scope("admin"))
            .any("/api/public", Access::public())
            .build()
            .unwrap()
    };
    let handlers = || {
        Router::new()
            .route("/users/{user}", any(async || "user"))
            .route("/admin/users", any(async || "admin"))
            .route("/admin/{a}/{b}", any(async || "admin"))
            .route("/public", any(async || "public"))
    };
    let layer = || issuer.layer().routes(routes()).fallback(Access::denied()).unwrap();
    let around_routes = Router::new().nest("/api", handlers()).layer(layer());
    let within_nest = Router::new().nest("/api", handlers().layer(layer()));
    let as_route_layer = Router::new().nest("/api", handlers().route_layer(layer()));
    let in_nested_service = Router::new().nest_service("/api", handlers().layer(layer()));
    // Within a service that is nested, axum tells no `MatchedPath`.
    let around_nested = Router::new().nest_service("/api", layer().layer(handlers()));
    let around_router =
        Router::new().fallback_service(layer().layer(Router::new().nest("/api", handlers())));
    for (name, app) in [
        ("around routes", around_routes),
        ("within nest", within_nest),
        ("as route layer", as_route_layer),
        ("in nested service", in_nested_service),
        ("around nested service", around_nested),
        ("around router", around_router),
    ] {
        for (method, path, scope, status) in [
            ("GET", "/api/users/1", "user", 200),
            ("GET", "/api/users/1", "admin", 403),
            ("HEAD", "/api/users/1", "user", 200),
            ("POST", "/api/users/1", "user", 403),
            ("GET", "/api/admin/users", "admin", 200),
            ("GET", "/api/admin/users", "user", 403),
            ("DELETE", "/api/admin/x/y", "admin", 200),
            ("DELETE", "/api/admin/x/y", "user", 403),
            ("GET", "/api/public", "", 200),
        ] {
            let answer = send(&app, request(method, path, Some(&issuer.token(scope)))).await;
            assert_eq!(answer.status(), status, "{name}: {method} {path} {scope}");
        }
        assert_eq!(ask(&app, "/api/public", None).await.status(), 200, "{name}");
        assert_eq!(ask(&app, "/api/users/1", None).await.status(), 401, "{name}");
    }
}

#[tokio::test]
async fn a_path_that_was_rewritten_before_routing_needs_what_its_route_needs() {
    let issuer = Issuer::new();
    let routes = RouteTable::builder()
        .any("/new/{id}", Access::scope("new"))
        .subtree("/old", Access::public())
        .build()
        .unwrap();
    let layer = issuer.layer().routes(routes);
    let inner = Router::new().route("/new/{thing}", any(async || "new"));
    let rewrite = |mut request: Request| {
        *request.uri_mut() = "/new/1".parse().unwrap();
        request
    };
    let rewrite = tower::util::MapRequestLayer::new(rewrite);
    // The outer router remembers the original path, which is public.
    macro_rules! apps {
        ($rewritten:expr) => {
            [
                Router::new().route_service("/old/{x}", $rewritten),
                Router::new().route_service("/old/{*x}", $rewritten),
                Router::new().nest_service("/old", $rewritten),
                Router::new().fallback_service($rewritten),
            ]
        };
    }
    let within = apps!(rewrite.layer(inner.clone().layer(layer.clone())));
    let around = apps!(rewrite.layer(layer.layer(inner.clone())));
    for app in within.into_iter().chain(around) {
        // Nor does it help to end as what is reached.
        let crafted = ask(&app, "/old/x/new/1", None).await.status();
        assert!([401, 404].contains(&crafted), "{crafted}");
        assert_eq!(ask(&app, "/old/1", None).await.status(), 401);
        assert_eq!(ask(&app, "/old/1", Some(&issuer.token(""))).await.status(), 403);
        assert_eq!(ask(&app, "/old/1", Some(&issuer.token("new"))).await.body(), "new");
    }
}

/// What is nested is reached by its own root, too, which isn't the whole app's.
#[tokio::test]
async fn the_root_of_something_nested_is_no_other_path() {
    let issuer = Issuer::new();
    let routes = RouteTable::builder()
        .any("/api", Access::scope("api"))
        .any("/api/", Access::scope("api"))
        .any("/", Access::scope("root"))
        .build()
        .unwrap();
    let layer = || issuer.layer().routes(routes.clone()).fallback(Access::denied()).unwrap();
    let inner = || Router::new().route("/", any(async || "in"));
    for (app, paths) in [
        (Router::new().nest_service("/api", layer().layer(inner())), &["/api", "/api/"][..]),
        (Router::new().nest("/api", inner().layer(layer())), &["/api"]),
    ] {
        for path in paths {
            assert_eq!(ask(&app, path, Some(&issuer.token("api"))).await.body(), "in", "{path}");
            assert_eq!(ask(&app, path, Some(&issuer.token("root"))).await.status(), 403, "{path}");
        }
    }
    // Where everything leads to the root, it is another one.
    let rewrite = tower::util::MapRequestLayer::new(|mut request: Request| {
        *request.uri_mut() = "/".parse().unwrap();
        request
    });
    let app = Router::new().route_service("/{*all}", rewrite.layer(layer().layer(inner())));
    assert_eq!(ask(&app, "/api", Some(&issuer.token("api"))).await.status(), 403);
    assert_eq!(ask(&app, "/api", Some(&issuer.token("api root"))).await.body(), "in");
}

/// What is nested in what is nested, and at parameters.
#[tokio::test]
async fn a_table_holds_in_the_depth() {
    let issuer = Issuer::new();
    let routes = RouteTable::builder()
        .any("/{tenant}/v1/users/{id}", Access::scope("user"))
        .any("/{tenant}/v1", Access::scope("root"))
        .build()
        .unwrap();
    let layer = || issuer.layer().routes(routes.clone()).fallback(Access::denied()).unwrap();
    let inner = || {
        Router::new().route("/users/{id}", any(async || "user")).route("/", any(async || "root"))
    };
    for (name, app) in [
        ("within", Router::new().nest("/v1", inner().layer(layer()))),
        ("around", Router::new().nest_service("/v1", layer().layer(inner()))),
    ] {
        let app = Router::new().nest("/{tenant}", app);
        for (path, scope) in [("/acme/v1/users/7", "user"), ("/acme/v1", "root")] {
            assert_eq!(ask(&app, path, Some(&issuer.token(scope))).await.body(), scope, "{name}");
            assert_eq!(ask(&app, path, Some(&issuer.token("other"))).await.status(), 403, "{name}");
        }
    }
}

#[tokio::test]
async fn a_slash_that_a_router_takes_away_takes_no_rule_with_it() {
    let issuer = Issuer::new();
    let routes = RouteTable::builder().any("/read", Access::scope("read")).build().unwrap();
    let router = Router::new().route("/read", get(async || "read"));
    let trimming = tower::util::MapRequestLayer::new(|mut request: Request| {
        let trimmed = request.uri().path().trim_end_matches('/').parse().unwrap();
        *request.uri_mut() = trimmed;
        request
    });
    let app =
        Router::new().fallback_service(issuer.layer().routes(routes).layer(trimming.layer(router)));
    for path in ["/read", "/read/"] {
        assert_eq!(ask(&app, path, Some(&issuer.token("read"))).await.body(), "read", "{path}");
        assert_eq!(ask(&app, path, Some(&issuer.token("other"))).await.status(), 403, "{path}");
    }
    assert_eq!(ask(&app, "/read//", Some(&issuer.token("other"))).await.status(), 400);
}

// W28, W33 in axum: HEAD on a GET route, and a body that nobody reads.
#[tokio::test]
async fn w28_head_of_a_get_route_is_refused_as_get_is() {
    let issuer = Issuer::new();
    let app = Router::new().route("/", get(async |_: RequireScope<Read>| "")).layer(issuer.layer());
    for token in [None, Some(issuer.token(""))] {
        let of_get = send(&app, request("GET", "/", token.as_deref())).await;
        let of_head = send(&app, request("HEAD", "/", token.as_deref())).await;
        assert_eq!(of_head.status(), of_get.status());
        assert_eq!(of_head.response.headers(), of_get.response.headers());
        assert_eq!(of_head.body(), "");
    }
}

/// Serves and answers what comes back for these bytes, until the server closes or has nothing to say.
async fn exchange(app: Router, sent: &str, answers: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, app.into_make_service()).await });
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut received = String::new();
    while received.matches("HTTP/1.1 ").count() < answers || !received.ends_with(END) {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        if read == 0 {
            break;
        }
        received.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    server.abort();
    received
}

/// The end of the last answer.
const END: &str = "end";

// X17: whitespace around the value is the parser's to take away.
#[tokio::test]
async fn x17_whitespace_around_the_field_is_tolerated_on_the_wire() {
    let issuer = Issuer::new();
    let app = Router::new().route("/", get(async || END)).layer(issuer.layer());
    let token = issuer.token("");
    let sent = format!("GET / HTTP/1.1\r\nhost: x\r\nauthorization: \t Bearer {token} \t \r\n\r\n");
    let received = exchange(app, &sent, 1).await;
    assert!(received.starts_with("HTTP/1.1 200 "), "{received}");
}

// W33: after a refusal the connection serves the next request, though the body wasn't read.
#[tokio::test]
async fn w33_a_connection_outlives_a_refusal() {
    let issuer = Issuer::new();
    let app = Router::new().route("/", post(async |body: String| body)).layer(issuer.layer());
    let token = issuer.token("");
    let refused = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\n\r\nignored";
    let accepted = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: 3\r\n\r\n{END}"
    );
    let received = exchange(app, &format!("{refused}{accepted}"), 2).await;
    assert!(received.starts_with("HTTP/1.1 401 "), "{received}");
    assert!(received.contains("www-authenticate: Bearer realm=\"api\"\r\n"), "{received}");
    assert!(received.contains("HTTP/1.1 200 ") && received.ends_with(END), "{received}");
}

/// As the docs of `Renderer` show it: the fields of the default's answer, another body.
struct Problem;

impl Renderer for Problem {
    fn render(&self, refusal: &Refusal, cx: &RefusalContext<'_>) -> http::Response<Bytes> {
        let mut response = DefaultRenderer.render(refusal, cx);
        *response.body_mut() = format!(r#"{{"status":{}}}"#, cx.status().as_u16()).into();
        response
    }
}

// W26, W28: on the wire, the length is that of the body, whoever made it.
#[tokio::test]
async fn the_length_of_a_refusal_is_that_of_its_body() {
    let issuer = Issuer::new();
    let app = |layer: BearerAuthLayer| Router::new().route("/", get(async || END)).layer(layer);
    for (layer, length) in [(issuer.layer(), 74), (issuer.layer().renderer(Problem), 14)] {
        let accepted = format!(
            "GET / HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\n\r\n",
            bearer(&issuer.token(""))
        );
        for method in ["GET", "HEAD"] {
            let refused = format!("{method} / HTTP/1.1\r\nhost: x\r\n\r\n");
            let sent = format!("{refused}{refused}{accepted}");
            let received = exchange(app(layer.clone()), &sent, 3).await;
            assert_eq!(received.matches("HTTP/1.1 401 ").count(), 2, "{received}");
            assert_eq!(received.matches("HTTP/1.1 200 ").count(), 1, "{received}");
            let length = format!("\r\ncontent-length: {length}\r\n");
            assert_eq!(received.matches(&length).count(), 2, "{received}");
        }
    }
}

#[tokio::test]
async fn the_layer_may_lie_around_the_whole_app() {
    let issuer = Issuer::new();
    let routes = RouteTable::builder()
        .route(Method::GET, "/a/{x}", Access::requires(guarded()))
        .build()
        .unwrap();
    let app = issuer.layer().routes(routes).layer(Router::new().route("/a/{x}", get(async || END)));
    // `axum::serve` takes bodies of its own type only.
    let app = tower::ServiceExt::<Request>::map_response(app, |response| response.map(Body::new));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let make = axum::ServiceExt::<Request>::into_make_service(app);
    let server = tokio::spawn(async move { axum::serve(listener, make).await });
    let client = reqwest::Client::new();
    for (scope, status) in [("read", StatusCode::OK), ("write", StatusCode::FORBIDDEN)] {
        let request = client.get(format!("http://{address}/a/1")).bearer_auth(issuer.token(scope));
        assert_eq!(request.send().await.unwrap().status(), status);
    }
    server.abort();
}

// FB11: with `denied`, a route that a guard or an extractor protects must be listed, too.
#[tokio::test]
async fn fb11_denied_is_decided_before_a_guard_is_asked() {
    let issuer = Issuer::new();
    let token = issuer.token("reports:read");
    for (listed, expected) in [(false, 403), (true, 200)] {
        let mut routes = RouteTable::builder().any("/other", Access::token());
        if listed {
            routes = routes.any("/reports", Access::token());
        }
        let guard = ScopeGuardLayer::new(Requirement::scope("reports:read").unwrap());
        let app =
            Router::new().route("/reports", get(async || "reports").route_layer(guard)).layer(
                issuer.layer().routes(routes.build().unwrap()).fallback(Access::denied()).unwrap(),
            );
        let answer = ask(&app, "/reports", Some(&token)).await;
        assert_eq!(answer.status(), expected, "listed: {listed}");
    }
}

// Over HTTP/1.1 a client may still be writing when it is refused; without the layer, hyper then closes
// the connection.
#[tokio::test]
async fn a_client_that_writes_on_after_a_refusal_keeps_its_connection() {
    let issuer = Issuer::new();
    let plain = Router::new().route("/", post(async |_: Bytes| END)).layer(issuer.layer());
    let field = bearer(&issuer.token(""));
    for (app, size, is_kept) in [
        (plain.clone().layer(UnreadBodyLayer::new()), 100_000, true),
        (plain.clone().layer(UnreadBodyLayer::new()), 1 << 20, false),
        (plain, 100_000, false),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // All of the refusal comes before any of the body.
        let mut refusal = String::new();
        while !refusal.ends_with('}') {
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).await.unwrap();
            refusal.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
        assert!(refusal.starts_with("HTTP/1.1 401 "), "{refusal}");
        // Where the connection is closed, some of this fails.
        let _ = stream.write_all(&vec![b'x'; size]).await;
        let again = format!(
            "POST / HTTP/1.1\r\nhost: x\r\nauthorization: {field}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        let _ = stream.write_all(again.as_bytes()).await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert_eq!(rest.starts_with(b"HTTP/1.1 200 "), is_kept, "{size}");
        server.abort();
    }
}
