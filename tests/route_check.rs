//! The check of all routes: an application that is as listed passes, and each kind of hole is found.
#![cfg(all(feature = "axum", feature = "test-util"))]

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse as _;
use axum::routing::{any, get, post};
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tower::{Layer as _, service_fn};
use tower_bearer::issuers::Issuer;
use tower_bearer::jwks::Jwks;
use tower_bearer::middleware::OpenApi;
use tower_bearer::testing::{RouteCheck, RouteReport, SentToken, TestIssuer};
use tower_bearer::{
    Access, BearerAuthLayer, Implications, RequireScope, Requirement, RouteTable, ScopeGuardLayer,
    Validator, scopes,
};
use tower_http::cors::CorsLayer;

scopes! {
    OrdersRead = "orders:read";
}

/// What an application may require of its tokens.
#[derive(serde::Deserialize)]
struct Tenant {
    #[expect(dead_code, reason = "that it is there is all")]
    tenant: String,
}

async fn setup() -> (TestIssuer, Validator) {
    let issuer = TestIssuer::start().await.unwrap();
    let keys = Jwks::discover(issuer.issuer()).transport(issuer.transport());
    let validator =
        Validator::builder(issuer.issuer(), issuer.audience()).keys(keys).build().unwrap();
    validator.ready(Duration::from_secs(5)).await.unwrap();
    (issuer, validator)
}

fn table() -> RouteTable {
    let admin = ["admin", "ops"].map(|scope| Requirement::scope(scope).unwrap());
    RouteTable::builder()
        .any("/health", Access::public())
        .route(Method::GET, "/orders", Access::scope("orders:read"))
        .route(Method::POST, "/orders", Access::scope("orders:write"))
        .route(Method::GET, "/orders/{id}", Access::optional())
        .route(Method::DELETE, "/orders/{id}", Access::requires(Requirement::any(admin).unwrap()))
        .subtree("/secret", Access::scope("secret").hide_existence())
        .route(Method::GET, "/never", Access::denied())
        .build()
        .unwrap()
}

fn routes() -> Router {
    Router::new()
        .route("/health", get(async || "well"))
        .route("/orders", get(async || "orders").post(async || StatusCode::CREATED))
        .route("/orders/{id}", get(async || "an order").delete(async || "gone"))
        .route("/secret", get(async || "secret"))
        .route("/secret/{*rest}", any(async || "secret, too"))
        .route("/never", get(async || "never"))
}

async fn check(issuer: &TestIssuer, app: Router) -> RouteReport {
    RouteCheck::new(issuer).routes(&table()).run::<Body>(app).await.unwrap()
}

/// Returns the problems that are of one method and path, without a token.
fn open(report: &RouteReport, method: &Method, path: &str) -> bool {
    report.problems().iter().any(|problem| {
        problem.method() == method
            && problem.path() == path
            && problem.token() == Some(&SentToken::None)
    })
}

#[tokio::test]
async fn cl6_an_application_as_listed_passes_within_a_router_and_around_it() {
    let (issuer, validator) = setup().await;
    let auth = BearerAuthLayer::new(validator).routes(table());
    let within = check(&issuer, routes().layer(auth.clone())).await;
    within.assert_holds();
    assert!(within.sent() > 250, "{within}");
    assert_eq!(within.unreached(), ["GET /secret/"], "{within}");

    let around = RouteCheck::new(&issuer).routes(&table());
    around.run::<Body>(auth.layer(routes())).await.unwrap().assert_holds();
    // A layer for CORS answers OPTIONS itself.
    check(&issuer, routes().layer(auth).layer(CorsLayer::permissive())).await.assert_holds();
}

#[tokio::test]
async fn cl6_guards_and_extractors_pass_as_a_table_does() {
    let (issuer, validator) = setup().await;
    let admin = ScopeGuardLayer::new(Requirement::scope("admin").unwrap());
    let app = || {
        Router::new()
            .route("/admin", get(async || "admin").route_layer(admin.clone()))
            .route("/orders", get(async |_: RequireScope<OrdersRead>| "orders"))
            .layer(BearerAuthLayer::new(validator.clone()))
    };
    let check = |orders: &str| {
        RouteCheck::new(&issuer).route(Method::GET, "/admin", Access::scope("admin")).route(
            Method::GET,
            "/orders",
            Access::scope(orders),
        )
    };
    check("orders:read").run::<Body>(app()).await.unwrap().assert_holds();
    let wrong = check("orders:list").run::<Body>(app()).await.unwrap();
    let wrong = wrong.to_string();
    assert!(
        wrong.contains(
            "GET /orders with a valid token of the scope \"orders:list\": should be let in, was \
             answered 403"
        ),
        "{wrong}"
    );
}

#[tokio::test]
async fn cl6_a_route_that_was_added_after_the_layer_is_found() {
    let (issuer, validator) = setup().await;
    let auth = BearerAuthLayer::new(validator).routes(table());
    let app = Router::new().route("/never", get(async || "never")).layer(auth);
    let rest = Router::new().route("/orders", get(async || "orders").post(async || "made"));
    let found = check(&issuer, app.merge(rest)).await;
    assert!(open(&found, &Method::GET, "/orders"), "{found}");
    assert!(open(&found, &Method::POST, "/orders"), "{found}");
    assert!(!open(&found, &Method::GET, "/never"), "{found}");
}

#[tokio::test]
async fn cl6_a_handler_that_answers_404_without_a_layer_is_found() {
    let (issuer, _) = setup().await;
    let app = Router::new().route("/orders/{id}", get(async || StatusCode::NOT_FOUND));
    let check = RouteCheck::new(&issuer).route(Method::GET, "/orders/{id}", Access::token());
    let found = check.run::<Body>(app).await.unwrap();
    assert!(open(&found, &Method::GET, "/orders/1"), "{found}");
}

#[tokio::test]
async fn cl6_a_route_that_is_not_in_the_table_is_found() {
    let (issuer, validator) = setup().await;
    let app = routes().layer(BearerAuthLayer::new(validator).routes(table()));
    let check = |path| {
        RouteCheck::new(&issuer)
            .routes(&table())
            .served(Method::GET, "/orders/{id}")
            .served(Method::GET, path)
    };
    check("/secret/{*rest}").run::<Body>(app.clone()).await.unwrap().assert_holds();
    let found = check("/reports").run::<Body>(app.clone()).await.unwrap();
    assert_eq!(found.problems().len(), 1, "{found}");
    let unlisted = found.problems()[0].to_string();
    assert_eq!(unlisted, "GET /reports is served, but no entry is for it");
    assert_eq!(found.problems()[0].token(), None);
    // Listed for another method is not listed.
    let served = [(Method::PATCH, "/orders"), (Method::HEAD, "/orders"), (Method::GET, "/health")];
    assert_eq!(table().uncovered(served), [(Method::PATCH, "/orders")]);
}

#[tokio::test]
async fn cl6_a_wrong_scope_is_found_where_it_lets_in_and_where_it_refuses() {
    let (issuer, validator) = setup().await;
    let wrong = RouteTable::builder()
        .route(Method::GET, "/orders", Access::scope("orders:write"))
        .route(Method::POST, "/orders", Access::token())
        .build()
        .unwrap();
    let app = routes().layer(BearerAuthLayer::new(validator).routes(wrong));
    let check = RouteCheck::new(&issuer)
        .route(Method::GET, "/orders", Access::scope("orders:read"))
        .route(Method::POST, "/orders", Access::scope("orders:write"));
    let found = check.run::<Body>(app).await.unwrap().to_string();
    for line in [
        "GET /orders with a valid token of the scope \"orders:read\": should be let in, was answered 403",
        "GET /orders with a valid token of the scope \"orders:write\": should be refused with 403, was \
         answered 200",
        "POST /orders with a valid token without scopes: should be refused with 403, was answered 201",
    ] {
        assert!(found.contains(line), "{line}\n{found}");
    }
}

#[tokio::test]
async fn cl6_a_fallback_that_is_open_for_other_methods_is_found() {
    let (issuer, _) = setup().await;
    // Only GET is looked at; any other method reaches the handler.
    let naive = from_fn(async |request: Request, next: Next| {
        let refused =
            *request.method() == Method::GET && !request.headers().contains_key("authorization");
        if refused { StatusCode::UNAUTHORIZED.into_response() } else { next.run(request).await }
    });
    let app = Router::new().route("/orders", any(async || "orders")).layer(naive);
    let check = RouteCheck::new(&issuer).route(Method::GET, "/orders", Access::token());
    let found = check.run::<Body>(app).await.unwrap();
    for method in [Method::HEAD, Method::POST, Method::DELETE, Method::OPTIONS] {
        assert!(open(&found, &method, "/orders"), "{method} {found}");
    }
    // What looks at nothing but whether there is a token lets every bad one in.
    for token in [
        SentToken::Garbage,
        SentToken::Expired,
        SentToken::OtherIssuer,
        SentToken::OtherAudience,
        SentToken::Forged,
        SentToken::Unsecured,
    ] {
        assert!(found.problems().iter().any(|it| it.token() == Some(&token)), "{token} {found}");
    }
}

#[tokio::test]
async fn cl6_spellings_that_a_router_within_takes_for_the_same_are_found() {
    let (issuer, _) = setup().await;
    // It refuses the very path, and serves what is like it.
    let app = service_fn(|request: http::Request<String>| async move {
        let path = request.uri().path().to_owned();
        let served = path.replace("//", "/").replace("%6F", "o").to_lowercase();
        let status = match (path.as_str(), served.trim_end_matches('/')) {
            ("/orders/1", _) => StatusCode::UNAUTHORIZED,
            (_, "/orders/1") => StatusCode::OK,
            _ => StatusCode::NOT_FOUND,
        };
        let mut response = Response::new(String::from("an order"));
        *response.status_mut() = status;
        Ok::<_, Infallible>(response)
    });
    let check = RouteCheck::new(&issuer).route(Method::GET, "/orders/{id}", Access::token());
    let found = check.run(app).await.unwrap();
    for path in ["/orders/1/", "/orders//1", "/%6Frders/1", "/Orders/1"] {
        assert!(open(&found, &Method::GET, path), "{path} {found}");
    }
}

#[tokio::test]
async fn cl6_a_hidden_route_that_shows_itself_is_found() {
    let (issuer, validator) = setup().await;
    let shown = RouteTable::builder().any("/secret", Access::scope("secret")).build().unwrap();
    let app = routes().layer(BearerAuthLayer::new(validator).routes(shown));
    let hidden = Access::scope("secret").hide_existence();
    let check = RouteCheck::new(&issuer).route(Method::GET, "/secret", hidden);
    // The layer refuses it all the same: that it is shown is left to the tests of the answers.
    check.run::<Body>(app).await.unwrap().assert_holds();

    // A handler's own 404 is no refusal.
    let (issuer, _) = setup().await;
    let app = Router::new().route("/secret", get(async || StatusCode::NOT_FOUND));
    let hidden = Access::scope("secret").hide_existence();
    let check = RouteCheck::new(&issuer).route(Method::GET, "/secret", hidden);
    assert!(!check.run::<Body>(app).await.unwrap().holds());
}

#[tokio::test]
async fn cl6_tokens_requests_and_implications_are_as_the_application_needs_them() {
    let (issuer, _) = setup().await;
    let keys = Jwks::discover(issuer.issuer()).transport(issuer.transport());
    let validator = Validator::builder(issuer.issuer(), issuer.audience())
        .keys(keys)
        .claims::<Tenant>()
        .build()
        .unwrap();
    validator.ready(Duration::from_secs(5)).await.unwrap();
    let implied = || {
        let implied = Implications::builder().implies("orders:write", ["orders:read"]);
        implied.build().unwrap()
    };
    let auth = BearerAuthLayer::new(validator).routes(table()).implications(implied());
    let tenant = from_fn(async |request: Request, next: Next| {
        if request.headers().contains_key("x-tenant") {
            next.run(request).await
        } else {
            StatusCode::FORBIDDEN.into_response()
        }
    });
    let app = routes().layer(auth).layer(tenant);
    let bare = check(&issuer, app.clone()).await;
    assert!(!bare.holds());
    let check = RouteCheck::new(&issuer)
        .routes(&table())
        .implications(implied())
        .tokens(|token| token.claim("tenant", "a"))
        .requests(|head| {
            head.headers.insert("x-tenant", "a".parse().unwrap());
        });
    check.run::<Body>(app).await.unwrap().assert_holds();
}

#[tokio::test]
async fn cl6_what_cannot_be_listed_is_an_error() {
    let (issuer, _) = setup().await;
    let app = || Router::new().route("/others", post(async || "made"));
    let twice = RouteCheck::new(&issuer).route(Method::GET, "/orders", Access::token()).route(
        Method::GET,
        "/orders",
        Access::public(),
    );
    assert!(twice.run::<Body>(app()).await.is_err());
    let malformed = RouteCheck::new(&issuer).route(Method::GET, "orders", Access::token());
    assert!(malformed.run::<Body>(app()).await.is_err());
    // Not served at all, and said so.
    let check = RouteCheck::new(&issuer).route(Method::GET, "/orders", Access::public());
    let report = check.run::<Body>(app()).await.unwrap();
    assert!(report.holds());
    assert_eq!(report.unreached(), ["GET /orders"]);
}

#[tokio::test]
async fn cl6_the_table_is_exported_as_openapi() {
    let (_, validator) = setup().await;
    let keys = |set: &str| Jwks::static_set("https://issuer.example/", set).unwrap();
    let key = tower_bearer::testing::TestKey::generate(tower_bearer::jose::Algorithm::EdDSA);
    let set = json!({ "keys": [key.public_jwk()] }).to_string();
    let public = Validator::builder("https://issuer.example/", "https://api.example")
        .keys(keys(&set))
        .build()
        .unwrap();
    let openapi: OpenApi = BearerAuthLayer::new(public).routes(table()).openapi();
    let document: Value = serde_json::to_value(&openapi).unwrap();
    assert_eq!(
        document["components"]["securitySchemes"],
        json!({ "access_token": {
            "type": "openIdConnect",
            "openIdConnectUrl": "https://issuer.example/.well-known/openid-configuration",
        }})
    );
    assert_eq!(document["security"], json!([{ "access_token": [] }]));
    let paths = &document["paths"];
    let security = |path: &str, method: &str| paths[path][method]["security"].clone();
    assert_eq!(security("/orders", "get"), json!([{ "access_token": ["orders:read"] }]));
    assert_eq!(security("/orders", "post"), json!([{ "access_token": ["orders:write"] }]));
    assert_eq!(security("/orders/{id}", "get"), json!([{}, { "access_token": [] }]));
    assert_eq!(
        security("/orders/{id}", "delete"),
        json!([{ "access_token": ["admin"] }, { "access_token": ["ops"] }])
    );
    assert_eq!(paths["/health"].as_object().unwrap().len(), 8);
    assert_eq!(security("/health", "trace"), json!([]));
    // What callers mustn't know of, and what nobody may do.
    let all: Vec<_> = paths.as_object().unwrap().keys().collect();
    assert_eq!(all, ["/health", "/orders", "/orders/{id}"]);
    assert_eq!(openapi.security(&Method::GET, "/secret/1"), None);
    assert_eq!(openapi.security(&Method::GET, "/never"), None);
    assert_eq!(openapi.security(&Method::GET, "/orders//1"), None);
    // A method that isn't listed must meet what the path's others need.
    let patch = openapi.security(&Method::PATCH, "/orders").unwrap();
    assert_eq!(json!(patch), json!([{ "access_token": ["orders:read", "orders:write"] }]));
    assert_eq!(document, serde_json::from_str::<Value>(&openapi.to_string()).unwrap());

    // An issuer over HTTP, as the embedded one, has no OpenID configuration that could be told.
    let plain = BearerAuthLayer::new(validator).openapi();
    let bearer = json!({ "type": "http", "scheme": "bearer", "bearerFormat": "JWT" });
    assert_eq!(json!(plain.security_schemes()), json!({ "access_token": bearer }));
    assert_eq!(json!(openapi.as_bearer().security_schemes()), json!({ "access_token": bearer }));

    // However many tenants there are, the document names none of them.
    let v2 = "https://login.microsoftonline.com/{tenantid}/v2.0";
    let tenants = Issuer::entra_v2("api").keys(Jwks::static_set(v2, &set).unwrap());
    let tenants = tenants.allow_tenants(["9188040d-6c67-4c5b-b112-36a304b66dad"]);
    let tenants = Validator::issuers([tenants]).build().unwrap();
    let openapi = BearerAuthLayer::new(tenants).openapi();
    assert_eq!(json!(openapi.security_schemes()), json!({ "access_token": bearer }));
    // Nor is an issuer named beside others that aren't known.
    let any = Issuer::entra_v2("api").keys(Jwks::static_set(v2, &set).unwrap());
    let named = Issuer::new("https://issuer.example/", "api").keys(keys(&set));
    let both = Validator::issuers([named, any.allow_tenants_where(|_| true)]).build().unwrap();
    let openapi = BearerAuthLayer::new(both).openapi();
    assert_eq!(json!(openapi.security_schemes()), json!({ "access_token": bearer }));
}
