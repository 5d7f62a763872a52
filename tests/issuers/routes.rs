//! Routes for the tokens of some issuers only.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Method, Request, Response};
use serde_json::json;
use tower::ServiceExt as _;
use tower_bearer::middleware::{Authorized, Conditions, IssuerName, RequireIssuer, TokenRejection};
use tower_bearer::{
    Access, BearerAuthLayer, Refusal, RejectionKind, Requirement, RouteTable, ScopeGuardLayer,
};

use crate::support::{A, B, two};

struct OfA;

impl IssuerName for OfA {
    fn issuer() -> &'static str {
        A
    }
}

async fn handler(token: RequireIssuer<OfA>) -> String {
    token.issuer().to_owned()
}

/// Learns only on the way whose token it needs.
async fn asks(token: Authorized) -> Result<&'static str, TokenRejection> {
    token.require_issuer(A)?;
    Ok("asked")
}

async fn send(app: &Router, path: &str, token: Option<&str>) -> Response<Body> {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer: Result<_, Infallible> =
        app.clone().oneshot(request.body(Body::empty()).unwrap()).await;
    answer.unwrap()
}

#[tokio::test(start_paused = true)]
async fn n8_a_table_a_guard_and_an_extractor_narrow_to_an_issuer() {
    let (a, b, validator) = two().await;
    let either = Conditions::builder().issuers([A, B]).build().unwrap();
    let routes = RouteTable::builder()
        .route(Method::GET, "/table", Access::token().require_issuer(A))
        .route(Method::GET, "/either", Access::token().conditions(&either))
        .route(Method::GET, "/neither", Access::token().require_issuer("https://c.test"))
        .route(Method::GET, "/scope", Access::scope("write").require_issuer(A))
        .route(Method::GET, "/optional", Access::optional().require_issuer(A))
        .route(Method::GET, "/hidden", Access::token().require_issuer(A).hide_existence())
        .build()
        .unwrap();
    let guard = ScopeGuardLayer::new(Requirement::none()).require_issuer(A);
    let app = Router::new()
        .route("/guard", get(async || "guard"))
        .route_layer(guard)
        .route("/extractor", get(handler))
        .route("/asked", get(asks))
        .fallback(async || "other")
        .layer(BearerAuthLayer::new(validator).routes(routes));
    let (of_a, of_b) = (a.token(), b.token());
    for path in ["/table", "/guard", "/extractor", "/asked"] {
        assert_eq!(send(&app, path, Some(&of_a)).await.status(), 200, "{path}");
        let refused = send(&app, path, Some(&of_b)).await;
        assert_eq!(refused.status(), 403, "{path}");
        assert!(refused.headers().get("www-authenticate").is_none(), "no scope would help");
        let Some(Refusal::Rejection(rejection)) = refused.extensions().get() else { panic!() };
        assert_eq!(rejection.kind(), RejectionKind::IssuerNotAllowed);
        assert_eq!(
            rejection.to_string(),
            "the token's issuer isn't accepted here: expected \"https://a.test\", presented \
             \"https://b.test\""
        );
        assert_eq!(send(&app, path, None).await.status(), 401, "{path}");
    }
    let write = a.token_with(json!({"scope": "write"}));
    let other_write = b.token_with(json!({"scope": "write"}));
    for (path, token, expected) in [
        ("/either", Some(&of_a), 200),
        ("/either", Some(&of_b), 200),
        ("/neither", Some(&of_a), 403),
        ("/scope", Some(&of_a), 403),
        ("/scope", Some(&write), 200),
        ("/scope", Some(&other_write), 403),
        ("/optional", None, 200),
        ("/optional", Some(&of_a), 200),
        ("/optional", Some(&of_b), 403),
        ("/hidden", Some(&of_a), 200),
        ("/hidden", Some(&of_b), 404),
        ("/hidden", None, 401),
    ] {
        let answer = send(&app, path, token.map(|token| &**token)).await;
        assert_eq!(answer.status(), expected, "{path}");
    }
}

#[test]
fn n8_a_public_route_can_require_no_issuer() {
    let table =
        RouteTable::builder().route(Method::GET, "/", Access::public().require_issuer(A)).build();
    assert!(table.unwrap_err().to_string().contains("optional()"));
}

#[test]
fn n8_a_list_of_no_issuers_is_a_configuration_error() {
    for names in [vec![], vec![""]] {
        let error = Conditions::builder().issuers(names).build().unwrap_err().to_string();
        assert!(error.contains("issuers names none"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn n9_the_metadata_names_the_issuers_of_now() {
    use http_body_util::BodyExt as _;

    const PATH: &str = "/.well-known/oauth-protected-resource";
    let (a, b, validator) = two().await;
    let layer = BearerAuthLayer::new(validator.clone()).resource("https://api.test").unwrap();
    let beside = Router::new().fallback_service(layer.metadata_service());
    let app = Router::new().route("/", get(handler)).layer(layer);
    let named = async |app: &Router| {
        let answer = send(app, PATH, None).await;
        assert_eq!(answer.status(), 200);
        let etag = answer.headers()["etag"].clone();
        let length: usize = answer.headers()["content-length"].to_str().unwrap().parse().unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len(), length);
        let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
        (document["authorization_servers"].clone(), etag)
    };
    let (all, first) = named(&app).await;
    assert_eq!(all, json!([A, B]));
    assert_eq!(send(&app, "/", None).await.headers().get_all("www-authenticate").iter().count(), 1);
    validator.set_issuers([b.entry()]).unwrap();
    for app in [&app, &beside] {
        let (now, etag) = named(app).await;
        assert_eq!(now, json!([B]));
        assert_ne!(etag, first, "who has the old one is sent the new one");
    }
    // A list that can't be used changes nothing; two entries of one issuer are named once.
    assert!(validator.set_issuers([a.entry(), a.entry()]).is_err());
    assert_eq!(named(&app).await.0, json!([B]));
    let other = tower_bearer::issuers::Issuer::new(A, "other").keys(a.jwks()).by_audience();
    validator.set_issuers([a.entry().by_audience(), other, b.entry()]).unwrap();
    let (now, etag) = named(&app).await;
    assert_eq!((now, etag), (json!([A, B]), first), "it is the first document again");
}
