//! The layer around plain tower services: credentials, answers, routes, readiness.
#![cfg(all(feature = "test-util", feature = "tracing", feature = "metrics"))]

mod world;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{Empty, Full};
use serde_json::json;
use tower::{Layer, Service, ServiceBuilder, ServiceExt as _};
use tower_bearer::answer::{RefusalContext, Renderer};
use tower_bearer::middleware::BearerAuth;
use tower_bearer::{
    Access, AccessToken, BearerAuthLayer, Implications, Refusal, RejectionKind, Requirement,
    RouteTable, ScopeGuardLayer,
};
use world::{AUDIENCE, Inner, Issuer, Logs, bearer, get, request, send};

type Protected = BearerAuth<Inner>;

struct World {
    issuer: Issuer,
    inner: Inner,
}

impl World {
    fn new() -> Self {
        Self { issuer: Issuer::new(), inner: Inner::default() }
    }

    fn protect(&self, layer: &BearerAuthLayer) -> Protected {
        layer.layer(self.inner.clone())
    }

    fn service(&self) -> Protected {
        self.protect(&self.issuer.layer())
    }

    fn routes(&self, routes: RouteTable) -> Protected {
        self.protect(&self.issuer.layer().routes(routes))
    }

    /// `Bearer` and a valid token with these scopes.
    fn bearer(&self, scope: &str) -> String {
        bearer(&self.issuer.token(scope))
    }
}

const INVALID: &str =
    r#"Bearer realm="api", error="invalid_token", error_description="The access token is invalid""#;

// X1, X2, X3, and W32's twin: a valid token reaches the service within.
#[tokio::test]
async fn x1_x2_x3_a_valid_token_is_let_through() {
    let world = World::new();
    let token = world.issuer.token("a b");
    for scheme in ["Bearer ", "bearer ", "BEARER ", "bEaReR    "] {
        let field = format!("{scheme}{token}");
        let answer = send(&world.service(), get("/", &[("authorization", &field)])).await;
        assert_eq!((answer.status(), answer.body()), (200, "inner"), "{scheme}");
        assert_eq!(world.inner.subject().as_deref(), Some("alice"));
    }
    assert_eq!(world.inner.calls(), 4);
}

// X8, X16, X18: the one place where a token is looked for is the Authorization field.
#[tokio::test]
async fn x18_tokens_elsewhere_are_not_read() {
    let world = World::new();
    let token = world.issuer.token("a");
    let query = format!("/?access_token={token}");
    let cookie = format!("access_token={token}");
    let protocol = format!("bearer, {token}");
    for (path, name, value) in [
        (query.as_str(), "x-other", "a"),
        ("/", "cookie", &cookie),
        ("/", "sec-websocket-protocol", &protocol),
        ("/", "proxy-authorization", &world.bearer("a")),
        ("/", "x-access-token", &token),
    ] {
        let answer = send(&world.service(), get(path, &[(name, value)])).await;
        assert_eq!(answer.status(), 401, "{name}");
        assert_eq!(answer.kind(), Some(RejectionKind::NoCredentials), "{name}");
    }
    let field = world.bearer("a");
    let answer = send(&world.service(), get("/", &[("authorization", &field)])).await;
    assert_eq!(answer.status(), 200);
}

// X4, X5, X6, W6: a malformed request is 400 with a challenge, and never reaches the service.
#[tokio::test]
async fn x5_x6_w6_malformed_credentials_are_400_invalid_request() {
    let world = World::new();
    let valid = world.bearer("");
    let malformed = r#"Bearer realm="api", error="invalid_request", error_description="The Authorization header field is malformed""#;
    for field in
        ["Bearer", "Bearer ", "Bearer a b", "Bearer a,b", "Bearer \"x\"", "Bearer\tx", "Bearer =a"]
    {
        let answer = send(&world.service(), get("/", &[("authorization", field)])).await;
        assert_eq!((answer.status(), answer.challenge()), (400, malformed), "{field}");
        assert_eq!(answer.kind(), Some(RejectionKind::MalformedCredentials));
    }
    let mut request = get("/", &[]);
    request
        .headers_mut()
        .insert("authorization", http::HeaderValue::from_bytes(b"Bearer \xff").unwrap());
    assert_eq!(send(&world.service(), request).await.status(), 400);

    let twice = [("authorization", &*valid), ("authorization", &*valid)];
    let answer = send(&world.service(), get("/", &twice)).await;
    assert_eq!(answer.status(), 400);
    assert_eq!(
        answer.challenge(),
        r#"Bearer realm="api", error="invalid_request", error_description="More than one access token was sent""#
    );
    assert_eq!(answer.kind(), Some(RejectionKind::MultipleCredentials));
    assert_eq!(world.inner.calls(), 0);
    assert_eq!(send(&world.service(), get("/", &twice[..1])).await.status(), 200);
}

// X8, X12, X13, X16, W1, W2, W3: what isn't a bearer credential is none, and none has no error code.
// W16: one field for the one challenge.
#[tokio::test]
async fn x12_x13_x16_w3_no_credentials_have_no_error_code() {
    let world = World::new();
    let token = world.issuer.token("");
    let proxy = bearer(&token);
    for (path, fields) in [
        ("/", vec![]),
        ("/", vec![("authorization", "Basic dXNlcjpwYXNz")]),
        ("/", vec![("authorization", "Negotiate abc")]),
        ("/", vec![("authorization", "DPoP abc")]),
        ("/", vec![("authorization", "")]),
        ("/", vec![("proxy-authorization", &*proxy)]),
        (&*format!("/?access_token={token}"), vec![]),
    ] {
        let answer = send(&world.service(), get(path, &fields)).await;
        assert_eq!(answer.status(), 401, "{fields:?}");
        assert_eq!(answer.challenge(), r#"Bearer realm="api""#);
        assert_eq!(answer.response.headers().get_all("www-authenticate").iter().count(), 1);
        assert_eq!(answer.kind(), Some(RejectionKind::NoCredentials));
        assert_eq!(
            answer.body(),
            r#"{"error":"unauthorized","error_description":"An access token is required"}"#
        );
    }
    assert_eq!(world.inner.calls(), 0);
}

// X14: refused by its length alone.
#[tokio::test]
async fn x14_a_token_that_is_too_long_is_401() {
    let world = World::new();
    let padded = |bytes: usize| world.issuer.token_with(json!({ "padding": "x".repeat(bytes) }));
    let answer =
        send(&world.service(), get("/", &[("authorization", &bearer(&padded(16 * 1024)))])).await;
    assert_eq!((answer.status(), answer.challenge()), (401, INVALID));
    assert_eq!(answer.kind(), Some(RejectionKind::TokenTooLong));
    let answer =
        send(&world.service(), get("/", &[("authorization", &bearer(&padded(10 * 1024)))])).await;
    assert_eq!(answer.status(), 200);
}

// X15: sensitive wherever it is passed on, and gone where it isn't.
#[tokio::test]
async fn x15_credentials_are_sensitive_or_removed() {
    let world = World::new();
    let table = RouteTable::builder().any("/public", Access::public()).build().unwrap();
    let layer = world.issuer.layer().routes(table);
    let field = world.bearer("");
    for path in ["/", "/public"] {
        let fields = [("authorization", &*field), ("x-other", "1")];
        send(&world.protect(&layer), get(path, &fields)).await;
        let seen = world.inner.headers();
        assert!(seen["authorization"].is_sensitive(), "{path}");
        assert_eq!(seen["authorization"], field);

        let layer = layer.clone().forward_credentials(false);
        send(&world.protect(&layer), get(path, &fields)).await;
        let seen = world.inner.headers();
        assert!(!seen.contains_key("authorization"), "{path}");
        assert_eq!(seen["x-other"], "1");
    }
    // A renderer of the user's own sees them too.
    let layer = world.issuer.layer().renderer(LookAtCredentials);
    let table = RouteTable::builder().build().unwrap();
    for layer in [layer.clone(), layer.routes(table)] {
        for path in ["/", "//"] {
            let one = ("authorization", "Bearer x");
            for fields in [&[one][..], &[one, one], &[one, ("accept", "a"), ("accept", "b")]] {
                let answer = send(&world.protect(&layer), get(path, fields)).await;
                assert_eq!(answer.body(), "true", "{path} {fields:?}");
            }
        }
    }
    // And so does the service behind, where a preflight request is let through.
    let layer = world.issuer.layer().allow_preflight();
    let fields = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "POST"),
        ("authorization", "Bearer x"),
        ("authorization", "Bearer y"),
    ];
    send(&world.protect(&layer), request("OPTIONS", "/", &fields)).await;
    let seen = world.inner.headers();
    assert!(seen.get_all("authorization").iter().all(http::HeaderValue::is_sensitive));
}

struct LookAtCredentials;

impl Renderer for LookAtCredentials {
    fn render(&self, _: &Refusal, cx: &RefusalContext<'_>) -> Response<Bytes> {
        let mut fields = cx.headers().get_all("authorization").iter();
        Response::new(fields.all(http::HeaderValue::is_sensitive).to_string().into())
    }
}

// X19: a preflight request passes only if that is wanted, and only if it is one.
#[tokio::test]
async fn x19_preflight_requests_pass_only_when_asked_for() {
    let world = World::new();
    let strict = world.service();
    let lenient = world.protect(&world.issuer.layer().allow_preflight());
    let origin = ("origin", "https://app.example");
    let asks = ("access-control-request-method", "POST");
    let preflight = || request("OPTIONS", "/", &[origin, asks]);
    assert_eq!(send(&strict, preflight()).await.status(), 401);
    assert_eq!(world.inner.calls(), 0);
    assert_eq!(send(&lenient, preflight()).await.status(), 200);
    assert_eq!(world.inner.subject(), None);
    for not_one in [
        request("OPTIONS", "/", &[]),
        request("OPTIONS", "/", &[origin]),
        request("OPTIONS", "/", &[asks]),
        request("GET", "/", &[origin, asks]),
        request("POST", "/", &[origin, asks]),
    ] {
        assert_eq!(send(&lenient, not_one).await.status(), 401);
    }
}

// W2: there is a realm though none was set.
#[tokio::test]
async fn w2_the_challenge_has_a_parameter_without_a_realm_set() {
    let world = World::new();
    let layer = BearerAuthLayer::new(world.issuer.validator());
    let answer = send(&world.protect(&layer), get("/", &[])).await;
    assert_eq!(answer.challenge(), format!("Bearer realm=\"{AUDIENCE}\""));
}

// W4: a route that needs scopes says so to those who have nothing yet.
#[tokio::test]
async fn w4_no_credentials_may_name_the_scopes_of_the_route() {
    let world = World::new();
    let routes = RouteTable::builder()
        .any("/one", Access::scope("a"))
        .any("/both", Access::requires(both("a", "b")))
        .any("/either", Access::requires(either("a", "b")))
        .any("/token", Access::token())
        .build()
        .unwrap();
    for (path, challenge) in [
        ("/one", r#"Bearer realm="api", scope="a""#),
        ("/both", r#"Bearer realm="api", scope="a b""#),
        ("/either", r#"Bearer realm="api", scope="a""#),
        ("/token", r#"Bearer realm="api""#),
        ("/unlisted", r#"Bearer realm="api""#),
    ] {
        let answer = send(&world.routes(routes.clone()), get(path, &[])).await;
        assert_eq!((answer.status(), answer.challenge()), (401, challenge), "{path}");
    }
}

fn both(a: &str, b: &str) -> Requirement {
    Requirement::all([Requirement::scope(a).unwrap(), Requirement::scope(b).unwrap()])
}

fn either(a: &str, b: &str) -> Requirement {
    Requirement::any([Requirement::scope(a).unwrap(), Requirement::scope(b).unwrap()]).unwrap()
}

// W5, W23, W30: whatever is wrong with a token, the caller learns that it is invalid.
#[tokio::test]
async fn w5_w23_a_token_that_fails_is_401_invalid_token() {
    let world = World::new();
    let now = world::now();
    let forged = Issuer::new().token("");
    for (token, kind) in [
        (world.issuer.token_with(json!({ "exp": now - 3600 })), RejectionKind::Expired),
        (world.issuer.token_with(json!({ "nbf": now + 3600 })), RejectionKind::NotYetValid),
        (
            world.issuer.token_with(json!({ "iss": "https://evil.example" })),
            RejectionKind::WrongIssuer,
        ),
        (
            world.issuer.token_with(json!({ "aud": "https://other.example" })),
            RejectionKind::WrongAudience,
        ),
        (world.issuer.token_with(json!({ "exp": null })), RejectionKind::MissingClaim),
        (world.issuer.token_with(json!({ "at_hash": "h" })), RejectionKind::IdToken),
        (
            world.issuer.token_with(json!({ "cnf": { "jkt": "x" } })),
            RejectionKind::SenderConstrained,
        ),
        (forged, RejectionKind::BadSignature),
        ("garbage".to_owned(), RejectionKind::MalformedToken),
        ("a.b.c".to_owned(), RejectionKind::MalformedToken),
    ] {
        let answer = send(&world.service(), get("/", &[("authorization", &bearer(&token))])).await;
        assert_eq!(answer.kind(), Some(kind), "{:?}", answer.refusal());
        assert_eq!((answer.status(), answer.challenge()), (401, INVALID), "{kind:?}");
        assert_eq!(
            answer.body(),
            r#"{"error":"invalid_token","error_description":"The access token is invalid"}"#
        );
    }
    assert_eq!(world.inner.calls(), 0);
    let answer = send(&world.service(), get("/", &[("authorization", &world.bearer(""))])).await;
    assert_eq!(answer.status(), 200);
}

// W30: told apart only when the operator wants it.
#[tokio::test]
async fn w30_verbose_errors_tell_that_a_token_expired() {
    let world = World::new();
    let expired = bearer(&world.issuer.token_with(json!({ "exp": 1_000_000_000 })));
    let foreign = bearer(&world.issuer.token_with(json!({ "aud": "other" })));
    let verbose = world.protect(&world.issuer.layer().verbose_errors(true));
    let answer = send(&verbose, get("/", &[("authorization", &expired)])).await;
    assert_eq!(
        answer.challenge(),
        r#"Bearer realm="api", error="invalid_token", error_description="The access token expired""#
    );
    let answer = send(&verbose, get("/", &[("authorization", &foreign)])).await;
    assert_eq!(answer.challenge(), INVALID);
    let answer = send(&world.service(), get("/", &[("authorization", &expired)])).await;
    assert_eq!(answer.challenge(), INVALID);
}

// W7, W22: a valid token without the scope is 403, with the scopes that would have sufficed.
#[tokio::test]
async fn w7_w22_missing_scopes_are_403_and_named() {
    let world = World::new();
    let routes = RouteTable::builder()
        .any("/both", Access::requires(both("a", "b")))
        .any("/either", Access::requires(either("a", "b")))
        .any(
            "/nested",
            Access::requires(Requirement::all([
                Requirement::scope("x").unwrap(),
                Requirement::any([both("a", "b"), Requirement::scope("c").unwrap()]).unwrap(),
            ])),
        )
        .build()
        .unwrap();
    let service = world.routes(routes);
    for (path, granted, named) in [
        ("/both", "a", Some("a b")),
        ("/both", "", Some("a b")),
        ("/both", "A B", Some("a b")),
        ("/both", "b a", None),
        ("/either", "c", Some("a")),
        ("/either", "b", None),
        ("/nested", "x a", Some("x a b")),
        ("/nested", "x", Some("x c")),
        ("/nested", "x c", None),
    ] {
        let answer = send(&service, get(path, &[("authorization", &world.bearer(granted))])).await;
        match named {
            None => assert_eq!(answer.status(), 200, "{path} {granted}"),
            Some(named) => {
                assert_eq!(answer.status(), 403, "{path} {granted}");
                assert_eq!(
                    answer.challenge(),
                    format!(
                        "Bearer realm=\"api\", error=\"insufficient_scope\", error_description=\"The request requires higher privileges than provided by the access token\", scope=\"{named}\""
                    )
                );
            }
        }
    }
    // Who isn't known gets a 401, not a 403.
    let expired = bearer(&world.issuer.token_with(json!({ "exp": 1, "scope": "" })));
    for fields in [vec![], vec![("authorization", &*expired)]] {
        assert_eq!(send(&service, get("/both", &fields)).await.status(), 401);
    }
}

#[tokio::test]
async fn implications_of_the_layer_count_for_table_and_guard() {
    let world = World::new();
    let implications = Implications::builder()
        .implies("orders:admin", ["orders:write"])
        .implies("orders:write", ["orders:read"])
        .build()
        .unwrap();
    let routes = RouteTable::builder().any("/table", Access::scope("orders:read")).build().unwrap();
    let layer = world.issuer.layer().routes(routes);
    let guard = ScopeGuardLayer::new(Requirement::scope("orders:read").unwrap());
    let stack = |layer| {
        ServiceBuilder::new().layer(layer).layer(guard.clone()).service(world.inner.clone())
    };
    let with = stack(layer.clone().implications(implications));
    let without = stack(layer);
    for path in ["/table", "/guard"] {
        for (scope, status) in [("orders:admin", 200), ("orders:read", 200), ("orders", 403)] {
            let answer = send(&with, get(path, &[("authorization", &world.bearer(scope))])).await;
            assert_eq!(answer.status(), status, "{path} {scope}");
        }
        let admin = world.bearer("orders:admin");
        assert_eq!(send(&without, get(path, &[("authorization", &admin)])).await.status(), 403);
    }
}

// W26, W27: JSON that isn't stored; and what is let through stays as it is.
#[tokio::test]
async fn w26_w27_refusals_are_json_and_not_stored() {
    let world = World::new();
    let routes = RouteTable::builder().any("/scope", Access::scope("a")).build().unwrap();
    let service = world.routes(routes);
    let valid = world.bearer("");
    for (path, fields, status) in [
        ("/", vec![], 401),
        ("/", vec![("authorization", "Bearer a b")], 400),
        ("/scope", vec![("authorization", &*valid)], 403),
    ] {
        let answer = send(&service, get(path, &fields)).await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let length = answer.body().len().to_string();
        assert_eq!(answer.header("content-length"), Some(&*length));
    }
    let answer = send(&service, get("/", &[("authorization", &valid)])).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.response.headers().is_empty());
    assert!(answer.refusal().is_none());
}

// W28: as for GET, without the body.
#[tokio::test]
async fn w28_head_is_refused_as_get_is_without_a_body() {
    let world = World::new();
    let of_get = send(&world.service(), get("/", &[])).await;
    let of_head = send(&world.service(), request("HEAD", "/", &[])).await;
    assert_eq!(of_head.status(), 401);
    assert_eq!(of_head.response.headers(), of_get.response.headers());
    assert_eq!(of_head.body(), "");
    assert_ne!(of_get.body(), "");
}

// W29: with a CORS layer around, scripts can read the challenge of a refusal.
#[tokio::test]
async fn w29_a_cors_layer_outside_exposes_the_challenge() {
    let world = World::new();
    let cors = tower_http::cors::CorsLayer::new()
        .allow_origin(tower_http::cors::Any)
        .expose_headers([http::header::WWW_AUTHENTICATE]);
    let service =
        ServiceBuilder::new().layer(cors).layer(world.issuer.layer()).service(world.inner.clone());
    let asks = ("access-control-request-method", "POST");
    let preflight = [("origin", "https://app.example"), asks];
    assert_eq!(send_default(&service, request("OPTIONS", "/", &preflight)).await.status(), 200);
    let answer = send_default(&service, get("/", &preflight[..1])).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()["access-control-expose-headers"], "www-authenticate");
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
}

async fn send_default<S, B, R>(service: &S, request: Request<B>) -> Response<R>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: std::fmt::Debug,
{
    service.clone().oneshot(request).await.unwrap()
}

// W31: 404 in place of 403, for those with a valid token; the others get a 401 as everywhere.
#[tokio::test]
async fn w31_hidden_routes_answer_404_for_403() {
    let world = World::new();
    let routes = RouteTable::builder()
        .any("/scope", Access::scope("a").hide_existence())
        .any("/denied", Access::denied().hide_existence())
        .any("/plain", Access::denied())
        .build()
        .unwrap();
    let service = world.routes(routes);
    let (without, with) = (world.bearer(""), world.bearer("a"));
    for (path, field, status) in [
        ("/scope", &without, 404),
        ("/scope", &with, 200),
        ("/denied", &with, 404),
        ("/plain", &with, 403),
    ] {
        let answer = send(&service, get(path, &[("authorization", field)])).await;
        assert_eq!(answer.status(), status, "{path}");
        if status == 404 {
            assert_eq!((answer.body(), answer.challenge()), ("", ""));
            assert_eq!(answer.header("cache-control"), None);
            assert!(answer.kind().is_some());
        }
    }
    for path in ["/denied", "/plain", "/nothing"] {
        let answer = send(&service, get(path, &[])).await;
        assert_eq!((answer.status(), answer.challenge()), (401, r#"Bearer realm="api""#), "{path}");
    }
}

// W32: the service within may refuse in its own way.
#[tokio::test]
async fn w32_refusals_of_the_service_within_are_left_alone() {
    let world = World::new();
    for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN] {
        let inner = tower::service_fn(move |_: Request<Empty<Bytes>>| async move {
            let mut response = Response::new(Full::<Bytes>::from("own"));
            *response.status_mut() = status;
            response.headers_mut().insert("www-authenticate", "Own".parse().unwrap());
            Ok::<_, Infallible>(response)
        });
        let service = world.issuer.layer().layer(inner);
        let answer = send(&service, get("/", &[("authorization", &world.bearer(""))])).await;
        assert_eq!((answer.response.status(), answer.body()), (status, "own"));
        assert_eq!(answer.challenge(), "Own");
        assert_eq!(answer.header("cache-control"), None);
        assert!(answer.refusal().is_none());
    }
}

/// A request body that tells whether it was polled.
#[derive(Clone)]
struct Watched(Arc<AtomicBool>);

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        self.0.store(true, Ordering::SeqCst);
        Poll::Ready(None)
    }
}

// W33: neither the service nor the body is touched.
#[tokio::test]
async fn w33_a_refused_request_is_not_passed_on_and_its_body_not_polled() {
    let world = World::new();
    for fields in
        [vec![], vec![("authorization", "Bearer x")], vec![("authorization", "Bearer a b")]]
    {
        let polled = Watched(Arc::default());
        let request = request("POST", "/", &fields).map(|_| polled.clone());
        assert!(send(&world.service(), request).await.status() >= 400);
        assert!(!polled.0.load(Ordering::SeqCst));
    }
    assert_eq!(world.inner.calls(), 0);
}

#[tokio::test]
async fn optional_access_lets_nobody_in_with_a_bad_token() {
    let world = World::new();
    let routes = RouteTable::builder().any("/", Access::optional()).build().unwrap();
    let everywhere = world.issuer.layer().fallback(Access::optional()).unwrap();
    for service in [world.routes(routes), world.protect(&everywhere)] {
        assert_eq!(send(&service, get("/", &[])).await.status(), 200);
        assert_eq!(world.inner.subject(), None);
        let basic = get("/", &[("authorization", "Basic dXNlcjpwYXNz")]);
        assert_eq!(send(&service, basic).await.status(), 200);
        let valid = get("/", &[("authorization", &world.bearer(""))]);
        assert_eq!(send(&service, valid).await.status(), 200);
        assert_eq!(world.inner.subject().as_deref(), Some("alice"));
        let bad = get("/", &[("authorization", "Bearer x")]);
        assert_eq!(send(&service, bad).await.status(), 401);
        let malformed = get("/", &[("authorization", "Bearer a b")]);
        assert_eq!(send(&service, malformed).await.status(), 400);
    }
}

#[tokio::test]
async fn public_routes_do_not_look_at_the_token() {
    let world = World::new();
    let routes = RouteTable::builder().any("/", Access::public()).build().unwrap();
    let service = world.routes(routes);
    let valid = world.bearer("");
    for fields in [
        vec![],
        vec![("authorization", "Bearer x")],
        vec![("authorization", "Bearer a b")],
        vec![("authorization", "Bearer x"), ("authorization", "Bearer x")],
        vec![("authorization", &*valid)],
    ] {
        assert_eq!(send(&service, get("/", &fields)).await.status(), 200, "{fields:?}");
        assert_eq!(world.inner.subject(), None);
    }
}

#[tokio::test]
async fn access_without_a_table_is_for_every_request() {
    let world = World::new();
    let layer = world.issuer.layer().fallback(Access::scope("a")).unwrap();
    let service = world.protect(&layer);
    let (with, without) = (world.bearer("a"), world.bearer("b"));
    assert_eq!(send(&service, get("/", &[("authorization", &with)])).await.status(), 200);
    assert_eq!(send(&service, get("/", &[("authorization", &without)])).await.status(), 403);
    assert!(world.issuer.layer().fallback(Access::scope("a b")).is_err());
    // Without a table no path is doubtful.
    assert_eq!(send(&service, get("//x", &[("authorization", &with)])).await.status(), 200);
    // It is for what a table doesn't list, whichever is set first.
    let table = RouteTable::builder().any("/t", Access::scope("t")).build().unwrap();
    let layer = || world.issuer.layer();
    for (layer, unlisted) in [
        (layer().routes(table.clone()), [401, 200, 200]),
        (layer().routes(table.clone()).fallback(Access::optional()).unwrap(), [200, 200, 200]),
        (layer().fallback(Access::optional()).unwrap().routes(table.clone()), [200, 200, 200]),
        (layer().routes(table.clone()).fallback(Access::scope("a")).unwrap(), [401, 403, 200]),
        (layer().fallback(Access::scope("a")).unwrap().routes(table.clone()), [401, 403, 200]),
        (layer().routes(table.clone()).fallback(Access::denied()).unwrap(), [401, 403, 403]),
    ] {
        let service = world.protect(&layer);
        let fields = [vec![], vec![("authorization", &*without)], vec![("authorization", &*with)]];
        for (fields, unlisted) in fields.into_iter().zip(unlisted) {
            assert_eq!(send(&service, get("/u", &fields)).await.status(), unlisted);
            let listed = if fields.is_empty() { 401 } else { 403 };
            assert_eq!(send(&service, get("/t", &fields)).await.status(), listed);
        }
        let listed = world.bearer("t");
        assert_eq!(send(&service, get("/t", &[("authorization", &listed)])).await.status(), 200);
    }
}

// G4: gRPC is POST. Whoever asks on behalf of another, with that one's fields, takes 200 for allowed.
#[tokio::test]
async fn g4_what_only_says_that_it_is_grpc_is_refused_with_a_status_of_http() {
    let service = World::new().service();
    for (method, status) in [("POST", 200), ("GET", 401), ("HEAD", 401), ("PUT", 401)] {
        let fields = [("content-type", "application/grpc")];
        let answer = send(&service, request(method, "/", &fields)).await;
        assert_eq!(answer.status(), status, "{method}");
        assert_eq!(answer.header("grpc-status").is_some(), status == 200, "{method}");
    }
}

/// The innermost layer decides what guards within it see.
#[tokio::test]
async fn an_outer_layers_token_does_not_pass_for_the_inner_ones() {
    let (outer, inner) = (World::new(), World::new());
    let token = outer.bearer("admin");
    for access in [Access::public(), Access::optional()] {
        let guard = ScopeGuardLayer::new(Requirement::scope("admin").unwrap());
        let service = inner.issuer.layer().fallback(access).unwrap();
        let service = service.layer(guard.layer(inner.inner.clone()));
        let service = outer.issuer.layer().forward_credentials(false).layer(service);
        let answer = send(&service, get("/", &[("authorization", &token)])).await;
        assert_eq!(answer.kind(), Some(RejectionKind::NoCredentials));
    }
    assert_eq!(inner.inner.calls(), 0);
}

#[tokio::test]
async fn a_table_refuses_ambiguous_paths_whoever_asks() {
    let world = World::new();
    let routes = RouteTable::builder()
        .subtree("/admin", Access::scope("admin"))
        .subtree("/public", Access::public())
        .build()
        .unwrap();
    let layer = world.issuer.layer().fallback(Access::public()).unwrap();
    let service = world.protect(&layer.routes(routes).allow_preflight());
    let valid = world.bearer("admin");
    for path in [
        "//admin/x",
        "/public/../admin/x",
        "/public/%2e%2e/admin/x",
        "/public%2fx",
        "/public/.%2e;x/admin/x",
        "/public\\..\\admin",
    ] {
        for fields in [vec![], vec![("authorization", &*valid)]] {
            let answer = send(&service, get(path, &fields)).await;
            assert_eq!(answer.status(), 400, "{path}");
            assert_eq!(answer.kind(), Some(RejectionKind::AmbiguousPath));
        }
    }
    assert_eq!(world.inner.calls(), 0);
    assert_eq!(send(&service, get("/public/x?a=//%2e%2e/", &[])).await.status(), 200);
    assert_eq!(send(&service, get("/admin/x", &[])).await.status(), 401);
    assert_eq!(send(&service, get("/%61dmin/x", &[])).await.status(), 401);
    assert_eq!(send(&service, get("/elsewhere", &[])).await.status(), 200);
}

// Habit 1: nothing but an unknown key waits.
#[tokio::test]
async fn every_answer_is_ready_on_the_first_poll() {
    let world = World::new();
    let routes = RouteTable::builder()
        .any("/public", Access::public())
        .any("/scope", Access::scope("a"))
        .any("/denied", Access::denied())
        .build()
        .unwrap();
    let mut service = world.routes(routes);
    let valid = world.bearer("");
    let unknown_kid = {
        let key = tower_bearer::testing::TestKey::generate(tower_bearer::jose::Algorithm::EdDSA);
        bearer(&world::sign(&key.with_kid("other"), json!({})))
    };
    for (path, fields) in [
        ("/public", vec![]),
        ("/", vec![]),
        ("/", vec![("authorization", &*valid)]),
        ("/scope", vec![("authorization", &*valid)]),
        ("/denied", vec![("authorization", &*valid)]),
        ("//", vec![]),
        ("/", vec![("authorization", "Bearer a b")]),
        ("/", vec![("authorization", "Bearer a.b.c")]),
        // The keys are static: no fetch could bring another.
        ("/", vec![("authorization", &*unknown_kid)]),
    ] {
        let response = service.call(get(path, &fields));
        let mut response = tokio_test::task::spawn(response);
        assert!(response.poll().is_ready(), "{path} {fields:?}");
    }
}

// Habit 3: readiness is the inner service's alone.
#[tokio::test]
async fn poll_ready_only_forwards() {
    let world = World::new();
    let (mock, mut handle) =
        tower_test::mock::pair::<Request<Empty<Bytes>>, Response<Full<Bytes>>>();
    let mut service = tokio_test::task::spawn(world.issuer.layer().layer(mock));
    handle.allow(0);
    assert!(service.enter(|cx, mut service| service.poll_ready(cx)).is_pending());
    handle.allow(1);
    assert!(service.enter(|cx, mut service| service.poll_ready(cx)).is_ready());
    handle.send_error("broken");
    let error = service.enter(|cx, mut service| service.poll_ready(cx));
    assert!(matches!(error, Poll::Ready(Err(error)) if error.to_string() == "broken"));
}

// Habit 4: refusals are responses, and the error is the inner service's own.
#[tokio::test]
async fn the_error_type_is_untouched() {
    fn infallible<S: Service<Request<Empty<Bytes>>, Error = Infallible>>(_: &S) {}
    let world = World::new();
    infallible(&world.service());

    #[derive(Debug, PartialEq)]
    struct Broken;
    let inner = tower::service_fn(|_: Request<Empty<Bytes>>| async {
        Err::<Response<Full<Bytes>>, _>(Broken)
    });
    let mut service = world.issuer.layer().layer(inner);
    let valid = get("/", &[("authorization", &world.bearer(""))]);
    assert_eq!(service.ready().await.unwrap().call(valid).await.unwrap_err(), Broken);
    let refused = service.ready().await.unwrap().call(get("/", &[])).await.unwrap();
    assert_eq!(refused.status(), 401);
}

// Habit 6: the typed reason is there, whatever the renderer does.
#[tokio::test]
async fn the_reason_is_in_the_extensions_of_a_custom_answer() {
    let blank = |_: &Refusal, _: &RefusalContext<'_>| Response::new("blank".into());
    let world = World::new();
    let layer = world.issuer.layer().renderer(blank);
    assert!(format!("{layer:?}").contains("{{closure}}"), "{layer:?}");
    let service = world.protect(&layer);
    let answer = send(&service, get("/", &[])).await;
    assert_eq!((answer.status(), answer.body()), (200, "blank"));
    assert_eq!(answer.kind(), Some(RejectionKind::NoCredentials));
    assert_eq!(send(&service, request("HEAD", "/", &[])).await.body(), "");
}

#[tokio::test]
async fn bodies_of_refusals_know_their_size() {
    let world = World::new();
    let response = world.service().oneshot(get("/", &[])).await.unwrap();
    let mut body = response.into_body();
    let exact = body.size_hint().exact().unwrap();
    assert!(exact > 0 && !body.is_end_stream());
    let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
    assert_eq!(frame.unwrap().unwrap().into_data().unwrap().len() as u64, exact);
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    let valid = get("/", &[("authorization", &world.bearer(""))]);
    let response = world.service().oneshot(valid).await.unwrap();
    assert_eq!(response.body().size_hint().exact(), Some("inner".len() as u64));
}

#[tokio::test]
async fn a_guard_without_a_layer_is_500_and_logs_what_is_missing() {
    let world = World::new();
    let logs = Logs::capture();
    let guard = ScopeGuardLayer::new(Requirement::scope("a").unwrap());
    let alone = guard.layer(world.inner.clone());
    // W25: the caller learns nothing.
    let answer = send(&alone, get("/", &[("authorization", &world.bearer("a"))])).await;
    assert_eq!(answer.status(), 500);
    assert_eq!(
        answer.body(),
        r#"{"error":"server_error","error_description":"Internal server error"}"#
    );
    assert!(matches!(answer.refusal(), Some(Refusal::Misconfigured(_))));
    let lines = logs.take();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("ERROR") && lines[0].contains("BearerAuthLayer"), "{}", lines[0]);

    let layered = world.issuer.layer().layer(alone);
    for (scope, status) in [("a", 200), ("b", 403)] {
        let answer = send(&layered, get("/", &[("authorization", &world.bearer(scope))])).await;
        assert_eq!(answer.status(), status);
    }
    let anonymous = world.issuer.layer().fallback(Access::optional()).unwrap();
    let anonymous = anonymous.layer(guard.layer(world.inner.clone()));
    let answer = send(&anonymous, get("/", &[])).await;
    assert_eq!((answer.status(), answer.challenge()), (401, r#"Bearer realm="api", scope="a""#));
}

#[tokio::test]
async fn each_refusal_is_one_event_with_both_sides_and_never_the_token() {
    let world = World::new();
    let logs = Logs::capture();
    let token = world.issuer.token_with(json!({ "aud": "https://other.example" }));
    let expired = world.issuer.token_with(json!({ "exp": 1_000_000_000 }));
    for (field, expected) in [
        (None, vec!["no_credentials"]),
        (Some(bearer(&token)), vec!["wrong_audience", AUDIENCE, "https://other.example"]),
        (Some(bearer(&expired)), vec!["expired", "1000000000", "days ago", "leeway 60 s"]),
        (Some("Bearer SENTINEL SENTINEL".to_owned()), vec!["malformed_credentials"]),
    ] {
        let fields: Vec<_> = field.iter().map(|field| ("authorization", &**field)).collect();
        send(&world.service(), get("/", &fields)).await;
        let lines = logs.take();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].contains("DEBUG"), "{}", lines[0]);
        for expected in expected {
            assert!(lines[0].contains(expected), "{expected} in {}", lines[0]);
        }
        for part in token.split('.').chain(expired.split('.')).chain(["SENTINEL"]) {
            assert!(!lines[0].contains(part), "{}", lines[0]);
        }
    }
    send(&world.service(), get("/", &[("authorization", &world.bearer(""))])).await;
    assert_eq!(logs.take(), Vec::<String>::new());
}

// Neither the method nor the path can forge a line, or hold the query.
#[tokio::test]
async fn a_refusals_event_has_the_requests_method_and_path() {
    let world = World::new();
    let logs = Logs::capture();
    let long = format!("/{}", "a".repeat(5_000));
    for (method, path, expected) in [
        ("GET", "/orders/7?access_token=SENTINEL", [r#"method="GET""#, r#"path="/orders/7""#]),
        ("M|~", "/a%0Ab", [r#"method="M|~""#, r#"path="/a%0Ab""#]),
        ("POST", "/\u{e9}\u{202e}", [r#"method="POST""#, r#"path="/?????""#]),
        ("POST", &long, [r#"method="POST""#, r#"aaaa"…"#]),
    ] {
        let sent = Request::builder().method(method).uri(path.as_bytes());
        send(&world.service(), sent.body(Empty::<Bytes>::new()).unwrap()).await;
        let lines = logs.take();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        for part in expected {
            assert!(lines[0].contains(part), "{part} in {}", lines[0]);
        }
        assert!(!lines[0].contains("SENTINEL") && lines[0].len() < 500, "{}", lines[0]);
    }
    // At ERROR, which is in every log, there is no path: it may be a secret by itself.
    let guard = ScopeGuardLayer::new(Requirement::scope("a").unwrap()).layer(Inner::default());
    assert_eq!(send(&guard, get("/reset/SENTINEL", &[])).await.status(), 500);
    let lines = logs.take().concat();
    assert!(lines.contains("misconfigured") && !lines.contains("SENTINEL"), "{lines}");
}

#[test]
fn tokens_are_counted_by_result_and_reason() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let world = World::new();
            let valid = world.bearer("");
            for field in [&*valid, &*valid, "Bearer x.y.z", "Basic x"] {
                send(&world.service(), get("/", &[("authorization", field)])).await;
            }
        });
    });
    let mut counted: Vec<(String, u64)> = Vec::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let key = key.key();
        let DebugValue::Counter(count) = value else { continue };
        if key.name() == "tower_bearer_requests_total" {
            let labels: Vec<_> =
                key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            counted.push((labels.join(","), count));
        }
    }
    counted.sort();
    assert_eq!(
        counted,
        [
            ("result=accepted,reason=none".to_owned(), 2),
            ("result=refused,reason=malformed_token".to_owned(), 1),
            ("result=refused,reason=no_credentials".to_owned(), 1),
        ]
    );
}

#[test]
fn nothing_that_is_printed_holds_the_settings_of_a_stranger() {
    let world = World::new();
    let layer = world.issuer.layer().renderer(LookAtCredentials);
    assert!(format!("{layer:?}").contains("LookAtCredentials"));
    let service = layer.layer(());
    assert!(format!("{service:?}").starts_with("BearerAuth"));
    assert!(BearerAuthLayer::new(world.issuer.validator()).realm("a\nb").is_err());
}

#[tokio::test]
async fn claims_of_the_users_own_type_come_through() {
    #[derive(serde::Deserialize)]
    struct Tenant {
        tenant: String,
    }
    let issuer = Issuer::new();
    let keys = tower_bearer::jwks::Jwks::static_set(world::ISSUER, &issuer.jwks_json()).unwrap();
    let validator = tower_bearer::Validator::builder(world::ISSUER, AUDIENCE)
        .claims::<Tenant>()
        .keys(keys)
        .build()
        .unwrap();
    let inner = tower::service_fn(|request: Request<Empty<Bytes>>| async move {
        let token: AccessToken<Tenant> =
            AccessToken::from_extensions(request.extensions()).unwrap();
        assert!(
            AccessToken::<tower_bearer::NoClaims>::from_extensions(request.extensions()).is_none()
        );
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(token.extra().tenant.clone())))
    });
    let service = BearerAuthLayer::new(validator).layer(inner);
    let token = bearer(&issuer.token_with(json!({ "tenant": "acme" })));
    assert_eq!(send(&service, get("/", &[("authorization", &token)])).await.body(), "acme");
    let without = bearer(&issuer.token(""));
    let answer = send(&service, get("/", &[("authorization", &without)])).await;
    assert_eq!(answer.kind(), Some(RejectionKind::MalformedClaim));
}

/// The method of a request decides about its entry.
#[tokio::test]
async fn methods_have_entries_of_their_own() {
    let world = World::new();
    let routes = RouteTable::builder()
        .route(Method::GET, "/orders/{id}", Access::scope("read"))
        .route(Method::DELETE, "/orders/{id}", Access::scope("write"))
        .build()
        .unwrap();
    let layer = world.issuer.layer().routes(routes).fallback(Access::denied()).unwrap();
    let service = world.protect(&layer);
    let (read, write) = (world.bearer("read"), world.bearer("write"));
    for (method, field, status) in [
        ("GET", &read, 200),
        ("HEAD", &read, 200),
        ("HEAD", &write, 403),
        ("DELETE", &read, 403),
        ("DELETE", &write, 200),
        ("POST", &write, 403),
    ] {
        let answer =
            send(&service, request(method, "/orders/7", &[("authorization", field)])).await;
        assert_eq!(answer.status(), status, "{method} {field}");
    }
}
