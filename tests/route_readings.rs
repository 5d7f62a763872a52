//! Ways around a route table, tried on routers that read paths in their own way.
#![cfg(all(feature = "test-util", feature = "axum"))]

mod world;

use axum::Router;
use axum::routing::any;
use tower::Layer as _;
use tower_bearer::BearerAuthLayer;
use tower_bearer::middleware::{Access, RouteTable};
use world::{Inner, Issuer, bearer, get, send};

fn layer(issuer: &Issuer, table: &[(&str, Access)]) -> BearerAuthLayer {
    let table = table.iter().fold(RouteTable::builder(), |table, (pattern, access)| {
        table.any(*pattern, access.clone())
    });
    issuer.layer().routes(table.build().unwrap()).access(Access::public()).unwrap()
}

// hyper and axum take a path in raw UTF-8, and a table can name it in percent-encoding only.
#[tokio::test]
async fn a_path_in_raw_utf_8_meets_the_rule_of_its_entry() {
    let issuer = Issuer::new();
    let layer = layer(
        &issuer,
        &[("/caf%C3%A9", Access::scope("cafe")), ("/caf%C3%A9/{*rest}", Access::scope("cafe"))],
    );
    let app = Router::new()
        .route("/caf\u{e9}", any(async || "in"))
        .route("/caf\u{e9}/{id}", any(async || "in"))
        .layer(layer.clone());
    let cafe = bearer(&issuer.token("cafe"));
    let other = bearer(&issuer.token(""));
    for path in ["/caf\u{e9}", "/caf\u{e9}/1"] {
        let request = |fields: &[_]| get(path, fields).map(|_| axum::body::Body::empty());
        let anonymous = request(&[]);
        assert_eq!(send(&app, anonymous).await.status(), 401, "{path}");
        for (field, status) in [(&other, 403), (&cafe, 200)] {
            let request = request(&[("authorization", field.as_str())]);
            assert_eq!(send(&app, request).await.status(), status, "{path}");
        }
    }
    let inner = Inner::default();
    assert_eq!(send(&layer.layer(inner.clone()), get("/caf\u{e9}/", &[])).await.status(), 401);
    assert_eq!(inner.calls(), 0);
}

// A brace in an entry can be written in two ways, and so can one in a path.
#[tokio::test]
async fn a_brace_is_a_brace_however_it_is_written() {
    let issuer = Issuer::new();
    for pattern in ["/%7Bx%7D", "/{{x}}"] {
        let layer = layer(&issuer, &[(pattern, Access::token())]);
        for path in ["/%7Bx%7D", "/%7bx%7d", "/{x}"] {
            let answer = send(&layer.layer(Inner::default()), get(path, &[])).await;
            assert_eq!(answer.status(), 401, "{pattern} {path}");
        }
    }
}

// RFC 3986 §3.3: some servers take `;parameters` off a segment before they look for its route.
#[tokio::test]
async fn parameters_of_a_segment_hide_no_route() {
    let issuer = Issuer::new();
    let layer = layer(
        &issuer,
        &[
            ("/admin", Access::token()),
            ("/admin/keys", Access::token()),
            ("/open;v=1", Access::public()),
        ],
    );
    for (path, status) in [
        ("/admin;x", 401),
        ("/admin;x=1/keys;y", 401),
        ("/admin;x/", 401),
        ("/admin/;x/keys", 400),
        ("/;/admin", 400),
        ("/;x", 200),
        ("/open;v=1", 200),
        ("/other;v=1", 200),
    ] {
        let answer = send(&layer.layer(Inner::default()), get(path, &[])).await;
        assert_eq!(answer.status(), status, "{path}");
    }
}

// W31: 401 is the same everywhere, so that nobody learns from it that something is hidden.
#[tokio::test]
async fn w31_a_hidden_route_is_not_told_by_its_challenge() {
    let issuer = Issuer::new();
    let table = RouteTable::builder()
        .any("/hidden", Access::scope("admin").hide_existence())
        .any("/shown", Access::scope("read"))
        .build()
        .unwrap();
    let service = issuer.layer().routes(table).layer(Inner::default());
    let hidden = send(&service, get("/hidden", &[])).await;
    let nothing = send(&service, get("/nothing", &[])).await;
    assert_eq!(hidden.challenge(), r#"Bearer realm="api""#);
    assert_eq!(hidden.response.headers(), nothing.response.headers());
    assert_eq!(
        send(&service, get("/shown", &[])).await.challenge(),
        r#"Bearer realm="api", scope="read""#
    );
    // gRPC has a list of its own of the scopes that are needed.
    let fields = [("content-type", "application/grpc")];
    let hidden = send(&service, get("/hidden", &fields)).await;
    let nothing = send(&service, get("/nothing", &fields)).await;
    assert_eq!(hidden.response.headers(), nothing.response.headers());
}
