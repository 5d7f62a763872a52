//! Ways around a route table, tried on routers that read paths in their own way.
#![cfg(all(feature = "test-util", feature = "axum"))]

mod world;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::{any, get as axum_get};
use http::{Method, Version};
use tower::Layer as _;
use tower::util::MapRequestLayer;
use tower_bearer::BearerAuthLayer;
use tower_bearer::middleware::RouteTableBuilder;
use tower_bearer::{Access, Refusal, RejectionKind, RouteTable};
use world::{Inner, Issuer, bearer, get, request, send};

fn layer(issuer: &Issuer, table: &[(&str, Access)]) -> BearerAuthLayer {
    let table = table.iter().fold(RouteTable::builder(), |table, (pattern, access)| {
        table.any(*pattern, access.clone())
    });
    issuer.layer().routes(table.build().unwrap()).fallback(Access::public()).unwrap()
}

// hyper and axum take a path in raw UTF-8, and a table can name it in percent-encoding only.
#[tokio::test]
async fn a_path_in_raw_utf_8_meets_the_rule_of_its_entry() {
    let issuer = Issuer::new();
    let layer = layer(
        &issuer,
        &[("/caf%C3%A9", Access::scope("cafe")), ("/caf%C3%A9/{id}", Access::scope("cafe"))],
    );
    let app = Router::new()
        .route("/caf\u{e9}", any(async || "in"))
        .route("/caf\u{e9}/{id}", any(async || "in"))
        .layer(layer.clone());
    let cafe = bearer(&issuer.token("cafe"));
    let other = bearer(&issuer.token(""));
    for path in ["/caf\u{e9}", "/caf\u{e9}/1"] {
        let request = |fields: &[_]| get(path, fields).map(|_| Body::empty());
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

fn built(builder: RouteTableBuilder) -> RouteTable {
    builder.build().unwrap()
}

/// The status of a request to an app, with a token of these scopes.
async fn ask(app: &Router, issuer: &Issuer, method: &str, path: &str, scope: &str) -> u16 {
    let field = bearer(&issuer.token(scope));
    let request = request(method, path, &[("authorization", &field)]);
    send(app, request.map(|_| Body::empty())).await.status()
}

fn rewrite(
    change: impl Fn(&str) -> String + Clone,
) -> MapRequestLayer<impl Fn(Request) -> Request + Clone> {
    MapRequestLayer::new(move |mut request: Request| {
        *request.uri_mut() = change(request.uri().path()).parse().unwrap();
        request
    })
}

// Field input 01, without a network: see tests/router_against_table.rs for a real connection.
#[tokio::test]
async fn fa1_an_extended_connect_counts_as_get() {
    let issuer = Issuer::new();
    let open = |builder: RouteTableBuilder| {
        let app = Router::new().route("/admin/live", any(async || "in"));
        app.layer(issuer.layer().routes(built(builder)))
    };
    let connect = async |app: &Router, version: Version, scope: &str| {
        let request = Request::builder().method(Method::CONNECT).uri("http://a.example/admin/live");
        let request =
            request.version(version).header("authorization", bearer(&issuer.token(scope)));
        send(app, request.body(Body::empty()).unwrap()).await.status()
    };
    let table = RouteTable::builder().route(Method::GET, "/admin/live", Access::scope("admin"));
    let app = open(table.clone());
    for version in [Version::HTTP_2, Version::HTTP_3, Version::HTTP_11] {
        assert_eq!(connect(&app, version, "").await, 403, "{version:?}");
        assert_eq!(connect(&app, version, "admin").await, 200, "{version:?}");
    }
    // With `POST` listed as well, only what isn't an extended CONNECT is a method that isn't listed.
    let both = table.clone().route(Method::POST, "/admin/live", Access::scope("post"));
    let app = open(both);
    for (version, scope, status) in [
        (Version::HTTP_2, "post", 403),
        (Version::HTTP_2, "admin", 200),
        (Version::HTTP_11, "admin", 403),
        (Version::HTTP_11, "admin post", 200),
    ] {
        assert_eq!(connect(&app, version, scope).await, status, "{version:?} {scope}");
    }
    // Listed by name, it must be met as well.
    let app = open(table.route(Method::CONNECT, "/admin/live", Access::scope("live")));
    for (scope, status) in [("admin", 403), ("live", 403), ("admin live", 200)] {
        assert_eq!(connect(&app, Version::HTTP_2, scope).await, status, "{scope}");
    }
    // What stands for `GET` is met all the same, whichever entry that is.
    let connect_only =
        || RouteTable::builder().route(Method::CONNECT, "/admin/live", Access::scope("live"));
    for table in [
        connect_only().any("/admin/live", Access::scope("admin")),
        connect_only().route(Method::GET, "/admin/{page}", Access::scope("admin")),
        connect_only()
            .any("/admin/live", Access::scope("admin"))
            .any("/admin/live/", Access::public()),
    ] {
        let app = open(table);
        for (scope, status) in [("admin", 403), ("live", 403), ("admin live", 200)] {
            assert_eq!(connect(&app, Version::HTTP_2, scope).await, status, "{scope}");
        }
    }
    let only = connect_only();
    let app = open(only);
    for (scope, status) in [("", 403), ("live", 200)] {
        assert_eq!(connect(&app, Version::HTTP_2, scope).await, status, "{scope}");
    }
}

#[tokio::test]
async fn fa1_a_method_that_is_not_listed_meets_every_entry_of_its_path() {
    let issuer = Issuer::new();
    let table = RouteTable::builder()
        .route(Method::GET, "/ws", Access::scope("read"))
        .route(Method::POST, "/ws", Access::scope("write"))
        .route(Method::GET, "/files/{id}", Access::scope("read"))
        .route(Method::GET, "/all/keys", Access::scope("keys"))
        .subtree("/all", Access::token())
        .route(Method::PUT, "/posts/{id}", Access::scope("put"))
        .route(Method::DELETE, "/posts/1", Access::scope("delete"));
    let app = |access: Access| {
        let routes = ["/ws", "/files/{id}", "/all/{*rest}", "/posts/{id}"];
        let routes =
            routes.into_iter().fold(Router::new(), |app, path| app.route(path, any(async || "in")));
        routes.layer(issuer.layer().routes(built(table.clone())).fallback(access).unwrap())
    };
    let open = app(Access::public());
    for (method, path, scope, status) in [
        ("GET", "/ws", "read", 200),
        ("HEAD", "/ws", "read", 200),
        ("HEAD", "/ws", "write", 403),
        ("POST", "/ws", "write", 200),
        ("PURGE", "/ws", "read", 403),
        ("PURGE", "/ws", "write", 403),
        ("PURGE", "/ws", "read write", 200),
        ("OPTIONS", "/ws", "read", 403),
        ("TRACE", "/ws/", "read", 403),
        ("PUT", "/files/1", "", 403),
        ("PUT", "/files/1", "read", 200),
        // A wider entry for all methods takes the layer's place, and nothing else.
        ("GET", "/all/keys", "keys", 200),
        ("PUT", "/all/keys", "", 403),
        ("PUT", "/all/keys", "keys", 200),
        ("PUT", "/all/other", "", 200),
        // A wider one for the method says what is meant.
        ("PUT", "/posts/1", "put", 200),
        ("PATCH", "/posts/1", "delete", 403),
        ("PATCH", "/posts/1", "put delete", 200),
        ("PUT", "/elsewhere", "", 404),
    ] {
        assert_eq!(
            ask(&open, &issuer, method, path, scope).await,
            status,
            "{method} {path} {scope}"
        );
    }
    // The layer's access is met, too.
    let scoped = app(Access::scope("default"));
    assert_eq!(ask(&scoped, &issuer, "PURGE", "/ws", "read write").await, 403);
    assert_eq!(ask(&scoped, &issuer, "PURGE", "/ws", "read write default").await, 200);
    assert_eq!(ask(&scoped, &issuer, "GET", "/ws", "read").await, 200);
    assert_eq!(ask(&app(Access::denied()), &issuer, "PUT", "/files/1", "read").await, 403);
}

#[tokio::test]
async fn fa2_a_rewrite_into_what_nests_meets_the_rules_of_where_it_leads() {
    let issuer = Issuer::new();
    let table = built(
        RouteTable::builder()
            .subtree("/latest", Access::public())
            .any("/v2/admin", Access::scope("admin"))
            .any("/{tenant}/keys", Access::scope("keys"))
            .any("/acme/keys", Access::scope("acme")),
    );
    let layer = || issuer.layer().routes(table.clone());
    let handlers = || {
        let routes = ["/admin", "/keys", "/open"];
        routes.into_iter().fold(Router::new(), |app, path| app.route(path, any(async || "in")))
    };
    type Nest<'a> = &'a dyn Fn(&str) -> Router;
    let nests: [(&str, Nest<'_>); 3] = [
        ("within", &|at| Router::new().nest(at, handlers().layer(layer()))),
        ("as a service", &|at| Router::new().nest_service(at, layer().layer(handlers()))),
        ("around", &|at| Router::new().nest(at, handlers()).layer(layer())),
    ];
    for (name, nest) in nests {
        let to = |path: &'static str| move |_: &str| path.to_owned();
        let apps = |at: &str, path| {
            let fallback = Router::new().fallback_service(rewrite(to(path)).layer(nest(at)));
            // A debug build of axum doesn't let a route lead to a nested service.
            let route = (name != "as a service").then(|| rewrite(to(path)).layer(nest(at)));
            let route = route.map(|inner| Router::new().route_service("/latest/{*x}", inner));
            std::iter::once(fallback).chain(route)
        };
        for app in apps("/v2", "/v2/admin") {
            assert_eq!(ask(&app, &issuer, "GET", "/latest/admin", "").await, 403, "{name}");
            assert_eq!(ask(&app, &issuer, "GET", "/latest/admin", "admin").await, 200, "{name}");
        }
        // A segment that was rewritten, and is a parameter of the nesting.
        for (path, scope) in [("/acme/keys", "acme"), ("/other/keys", "keys")] {
            for app in apps("/{tenant}", path) {
                assert_eq!(
                    ask(&app, &issuer, "GET", "/latest/keys", "").await,
                    403,
                    "{name} {path}"
                );
                assert_eq!(
                    ask(&app, &issuer, "GET", "/latest/keys", scope).await,
                    200,
                    "{name} {path}"
                );
            }
        }
        // What isn't rewritten meets its own entry only.
        for (path, scope, status) in [
            ("/acme/keys", "acme", 200),
            ("/acme/keys", "keys", 403),
            ("/other/keys", "keys", 200),
            ("/other/open", "", 200),
            ("/caf%C3%A9/keys", "keys", 200),
            ("/%40me/keys", "keys", 200),
        ] {
            let app = nest("/{tenant}");
            assert_eq!(
                ask(&app, &issuer, "GET", path, scope).await,
                status,
                "{name} {path} {scope}"
            );
        }
    }
    // The root of what is nested, where a rewrite leads, is the path without the slash as well.
    let roots = built(
        RouteTable::builder()
            .any("/app", Access::scope("bare"))
            .any("/app/", Access::scope("slash")),
    );
    for at in ["/app", "/{tenant}"] {
        let root = Router::new().route("/", any(async || "in"));
        let inner = Router::new().nest(at, root.layer(issuer.layer().routes(roots.clone())));
        let app = Router::new().fallback_service(rewrite(|_| "/app".to_owned()).layer(inner));
        for (scope, status) in [("slash", 403), ("bare", 403), ("bare slash", 200)] {
            assert_eq!(ask(&app, &issuer, "GET", "/x", scope).await, status, "{at} {scope}");
        }
    }
    // The catch-all of an outer route fits whatever follows it.
    let app = Router::new().route_service(
        "/latest/{*x}",
        rewrite(|_| "/v2/admin".to_owned())
            .layer(Router::new().route("/v2/{x}", any(async || "in")).layer(layer())),
    );
    assert_eq!(ask(&app, &issuer, "GET", "/latest/v2/admin", "").await, 403);
    // Rewritten again when it had been matched.
    let inner = Router::new().route("/v2/admin", any(async || "in")).layer(layer());
    let inner = inner.layer(rewrite(|_| "/latest/x".to_owned()));
    let app = Router::new().fallback_service(rewrite(|_| "/v2/admin".to_owned()).layer(inner));
    assert_eq!(ask(&app, &issuer, "GET", "/latest/x", "").await, 403);
    assert_eq!(ask(&app, &issuer, "GET", "/latest/x", "admin").await, 200);
}

#[tokio::test]
async fn fa2_a_prefix_that_axum_does_not_take_off_is_no_rewrite() {
    let issuer = Issuer::new();
    let table = built(
        RouteTable::builder()
            .any("/x_{id}/in", Access::scope("in"))
            .any("/v1/x_{id}/in", Access::scope("in"))
            .any("/{{a}}/in", Access::scope("in")),
    );
    let layer = || issuer.layer().routes(table.clone()).fallback(Access::denied()).unwrap();
    for (at, path) in [("/x_{id}", "/x_1/in"), ("/{{a}}", "/{a}/in")] {
        let app =
            Router::new().nest(at, Router::new().route("/in", any(async || "in")).layer(layer()));
        for (scope, status) in [("in", 200), ("", 403)] {
            assert_eq!(ask(&app, &issuer, "GET", path, scope).await, status, "{at} {scope}");
        }
    }
    let inner = Router::new().route("/in", any(async || "in")).layer(layer());
    let app = Router::new().nest("/v1", Router::new().nest("/x_{id}", inner));
    assert_eq!(ask(&app, &issuer, "GET", "/v1/x_1/in", "in").await, 200);
    assert_eq!(ask(&app, &issuer, "GET", "/v1/x_1/in", "").await, 403);
}

#[tokio::test]
async fn fa3_a_slash_that_is_appended_within_takes_no_rule_away() {
    let issuer = Issuer::new();
    let table = built(
        RouteTable::builder()
            .any("/admin/", Access::scope("admin"))
            .any("/users/{id}", Access::scope("user"))
            .any("/users/me/", Access::scope("me"))
            .any("/both", Access::scope("bare"))
            .any("/both/", Access::scope("slash"))
            .route(Method::GET, "/one", Access::token())
            .route(Method::HEAD, "/one/", Access::scope("head")),
    );
    let routes = ["/admin/", "/users/{id}/", "/both/", "/one/"];
    let router =
        routes.into_iter().fold(Router::new(), |app, path| app.route(path, any(async || "in")));
    let append = rewrite(|path| format!("{}/", path.trim_end_matches('/')));
    let layer = issuer.layer().routes(table);
    let app = Router::new().fallback_service(layer.layer(append.layer(router)));
    for (path, scope, status) in [
        ("/admin", "", 403),
        ("/admin", "admin", 200),
        ("/admin/", "admin", 200),
        ("/users/me", "user", 403),
        ("/users/me", "user me", 200),
        ("/users/1", "user", 200),
        // Both are listed, so each says what is meant.
        ("/both", "bare", 200),
        ("/both/", "slash", 200),
        ("/both/", "bare", 403),
        // With the slash, it is listed for another method only.
        ("/one", "", 403),
        ("/one", "head", 200),
    ] {
        assert_eq!(ask(&app, &issuer, "GET", path, scope).await, status, "{path} {scope}");
    }
}

#[tokio::test]
async fn fa3_fa14_a_subtree_is_the_path_the_slash_and_all_below() {
    let issuer = Issuer::new();
    for access in [Access::token(), Access::public(), Access::denied()] {
        let table = built(
            RouteTable::builder()
                .subtree("/admin", Access::scope("admin"))
                .subtree("/{tenant}/ops/", Access::scope("ops"))
                .route(Method::GET, "/admin/live", Access::public()),
        );
        let layer = || issuer.layer().routes(table.clone()).fallback(access.clone()).unwrap();
        let inner =
            || Router::new().route("/", any(async || "in")).route("/{*rest}", any(async || "in"));
        for app in [
            Router::new().nest("/admin", inner()).nest("/{tenant}/ops", inner()).layer(layer()),
            Router::new()
                .nest_service("/admin", inner())
                .nest_service("/{tenant}/ops", inner())
                .layer(layer()),
            Router::new()
                .nest_service("/admin", layer().layer(inner()))
                .nest_service("/{tenant}/ops", layer().layer(inner())),
        ] {
            for (path, scope) in [
                ("/admin", "admin"),
                ("/admin/x", "admin"),
                ("/admin/x/y/", "admin"),
                ("/acme/ops", "ops"),
                ("/acme/ops/x", "ops"),
            ] {
                assert_eq!(ask(&app, &issuer, "GET", path, "").await, 403, "{path}");
                assert_eq!(ask(&app, &issuer, "DELETE", path, scope).await, 200, "{path}");
            }
            for (path, scope) in [("/admin/", "admin"), ("/acme/ops/", "ops")] {
                let status = ask(&app, &issuer, "GET", path, "").await;
                assert_eq!(status, 403, "{path}");
                // Not every router has a route for it.
                let status = ask(&app, &issuer, "GET", path, scope).await;
                assert!([200, 404].contains(&status), "{path}: {status}");
            }
            assert_eq!(ask(&app, &issuer, "GET", "/admin/live", "").await, 200);
        }
    }
    let all = built(RouteTable::builder().subtree("/", Access::scope("all")));
    let service = issuer.layer().routes(all).layer(Inner::default());
    for path in ["/", "/a", "/a/", "/a/b"] {
        assert_eq!(
            send(&service, get(path, &[])).await.challenge(),
            r#"Bearer realm="api", scope="all""#
        );
    }
}

#[test]
fn fa14_a_catch_all_without_the_path_above_it_is_refused() {
    let error = |builder: RouteTableBuilder| builder.build().unwrap_err().to_string();
    let admin = || Access::scope("admin");
    for (pattern, base) in [
        ("/admin/{*rest}", "/admin"),
        ("/{tenant}/admin/{*rest}", "/{tenant}/admin"),
        ("/caf%C3%A9/{*rest}", "/caf%C3%A9"),
        ("/{*rest}", "/"),
    ] {
        for builder in [
            RouteTable::builder().any(pattern, admin()),
            RouteTable::builder().route(Method::GET, pattern, admin()),
            // What fits the path by chance isn't meant for it.
            RouteTable::builder().any(pattern, admin()).any("/x/{page}", Access::public()),
        ] {
            let error = error(builder);
            assert!(error.contains(&format!("subtree({base:?}, …)")), "{error}");
        }
        assert!(RouteTable::builder().any(pattern, admin()).any(base, admin()).build().is_ok());
        assert!(RouteTable::builder().subtree(base, admin()).build().is_ok());
    }
    assert!(
        RouteTable::builder().any("/{a}/x/{*rest}", admin()).any("/{b}/x", admin()).build().is_ok()
    );
    for path in ["/admin/{*rest}", "admin", ""] {
        assert!(RouteTable::builder().subtree(path, admin()).build().is_err(), "{path}");
    }
    let twice = RouteTable::builder().subtree("/admin", admin()).any("/admin/", Access::public());
    assert!(error(twice).contains("twice"));
}

// A finished app, and somebody else who nests it.
#[tokio::test]
async fn fa3_an_app_that_is_nested_keeps_its_table() {
    let issuer = Issuer::new();
    let handlers = || {
        let routes = ["/admin", "/open", "/list"];
        routes.into_iter().fold(Router::new(), |app, path| app.route(path, any(async || "in")))
    };
    for table in [
        RouteTable::builder().any("/admin", Access::scope("admin")).route(
            Method::GET,
            "/list",
            Access::scope("list"),
        ),
        RouteTable::builder()
            .subtree("/", Access::token())
            .any("/admin", Access::scope("admin"))
            .route(Method::GET, "/list", Access::scope("list")),
    ] {
        let app = || handlers().layer(issuer.layer().routes(built(table.clone())));
        let around = || issuer.layer().routes(built(table.clone())).layer(handlers());
        for nested in [
            Router::new().nest("/orders", app()),
            Router::new().nest_service("/orders", app()),
            Router::new().nest_service("/orders", around()),
            Router::new().nest("/v1", Router::new().nest("/{tenant}", app())),
            Router::new().nest("/v1", Router::new().nest_service("/{tenant}", around())),
        ] {
            for prefix in ["/orders", "/v1/acme"] {
                if ask(&nested, &issuer, "GET", &format!("{prefix}/open"), "").await == 404 {
                    continue;
                }
                for (path, scope, status) in [
                    ("/admin", "", 403),
                    ("/admin", "admin", 200),
                    ("/list", "", 403),
                    ("/list", "list", 200),
                    ("/open", "", 200),
                ] {
                    let path = format!("{prefix}{path}");
                    assert_eq!(
                        ask(&nested, &issuer, "GET", &path, scope).await,
                        status,
                        "{path} {scope}"
                    );
                }
                assert_eq!(
                    ask(&nested, &issuer, "PURGE", &format!("{prefix}/list"), "").await,
                    403
                );
            }
        }
    }
    // Where the table knows of the nesting, what is called alike within it is something else.
    let table = built(
        RouteTable::builder()
            .any("/orders/list", Access::scope("orders"))
            .any("/list", Access::scope("list")),
    );
    let app = Router::new().nest("/orders", handlers().layer(issuer.layer().routes(table)));
    assert_eq!(ask(&app, &issuer, "GET", "/orders/list", "orders").await, 200);
    assert_eq!(ask(&app, &issuer, "GET", "/orders/list", "list").await, 403);
}

// A pattern with a slash says nothing of a path that a more specific one has without it.
#[tokio::test]
async fn fa3_a_slash_that_is_taken_away_leads_to_the_most_specific_entry() {
    let issuer = Issuer::new();
    let table = RouteTable::builder()
        .any("/{page}", Access::token())
        .any("/{page}/", Access::token())
        .any("/admin", Access::scope("admin"));
    let handlers =
        Router::new().route("/admin", any(async || "in")).route("/open", any(async || "in"));
    let trimmed = rewrite(|path| path.trim_end_matches('/').to_owned()).layer(handlers);
    let app = Router::new().fallback_service(issuer.layer().routes(built(table)).layer(trimmed));
    for (path, scope, status) in [
        ("/admin/", "", 403),
        ("/admin/", "admin", 200),
        ("/admin", "", 403),
        ("/open/", "", 200),
        ("/open", "", 200),
    ] {
        assert_eq!(ask(&app, &issuer, "GET", path, scope).await, status, "{path} {scope}");
    }

    let table = RouteTable::builder()
        .subtree("/", Access::scope("all"))
        .any("/health/", Access::public())
        .route(Method::GET, "/items/", Access::token())
        .route(Method::POST, "/items", Access::scope("write"));
    let handlers =
        Router::new().route("/health", any(async || "in")).route("/items", any(async || "in"));
    let trimmed = rewrite(|path| path.trim_end_matches('/').to_owned()).layer(handlers);
    let app = Router::new().fallback_service(issuer.layer().routes(built(table)).layer(trimmed));
    for (path, scope, status) in [
        // A catch-all says nothing against what is listed with the slash.
        ("/health/", "", 200),
        ("/health", "", 403),
        // Without the slash, the path is listed for another method only.
        ("/items/", "", 403),
        ("/items/", "all write", 200),
    ] {
        assert_eq!(ask(&app, &issuer, "GET", path, scope).await, status, "{path} {scope}");
    }
}

// The first segment of an app's own pattern isn't the nesting that it doesn't know of.
#[tokio::test]
async fn fa3_parameters_of_an_app_that_is_nested_do_not_stand_for_the_nesting() {
    let issuer = Issuer::new();
    let handlers = || {
        let routes = ["/", "/{id}", "/{id}/lines"];
        routes.into_iter().fold(Router::new(), |app, path| app.route(path, any(async || "in")))
    };
    let layer = || {
        issuer.layer().routes(built(
            RouteTable::builder()
                .any("/", Access::scope("list"))
                .any("/{id}", Access::scope("read"))
                .any("/{id}/lines", Access::public()),
        ))
    };
    for nesting in ["/orders", "/{tenant}"] {
        for app in [
            Router::new().nest(nesting, handlers().layer(layer())),
            Router::new().nest_service(nesting, handlers().layer(layer())),
            Router::new().nest_service(nesting, layer().layer(handlers())),
        ] {
            for (path, scope, status) in [
                ("/orders", "read", 403),
                ("/orders", "list read", 200),
                ("/orders/lines", "", 403),
                ("/orders/lines", "read", 200),
                ("/orders/7", "", 403),
                ("/orders/7", "read", 200),
                ("/orders/7/lines", "", 200),
            ] {
                let said = ask(&app, &issuer, "GET", path, scope).await;
                assert_eq!(said, status, "{nesting} {path} {scope}");
            }
        }
    }
    // A table that knows of the nesting names it as the router does.
    let table = RouteTable::builder()
        .any("/{tenant}/{page}", Access::public())
        .any("/{page}", Access::scope("page"));
    let app =
        Router::new().nest("/{tenant}", handlers().layer(issuer.layer().routes(built(table))));
    assert_eq!(ask(&app, &issuer, "GET", "/orders/7", "").await, 200);
}

#[tokio::test]
async fn fa14_the_most_specific_pattern_decides_about_a_slash_that_is_appended() {
    let issuer = Issuer::new();
    let table = RouteTable::builder()
        .subtree("/users/{id}/keys", Access::scope("keys"))
        .subtree("/users/me", Access::token());
    let app = Router::new().route("/users/{id}/keys", any(async || "in"));
    let app = app.layer(issuer.layer().routes(built(table)));
    assert_eq!(ask(&app, &issuer, "GET", "/users/me/keys", "").await, 200);
    assert_eq!(ask(&app, &issuer, "GET", "/users/1/keys", "").await, 403);
    assert_eq!(ask(&app, &issuer, "GET", "/users/1/keys", "keys").await, 200);
}

// All suffixes of what was matched are read: 30 000 of them would take a second.
#[tokio::test]
async fn fa2_a_long_path_that_was_rewritten_after_it_was_matched_is_refused() {
    let issuer = Issuer::new();
    let table = RouteTable::builder().subtree("/", Access::public());
    let inner = Router::new()
        .route("/x/{*rest}", any(async || "in"))
        .layer(issuer.layer().routes(built(table)))
        .layer(rewrite(|path| format!("/y{path}")));
    let app = Router::new().fallback_service(rewrite(|path| format!("/x{path}")).layer(inner));
    for (segments, status) in [(1, 200), (60, 200), (70, 400), (30_000, 400)] {
        let path = "/a".repeat(segments);
        assert_eq!(ask(&app, &issuer, "GET", &path, "").await, status, "{segments}");
    }
}

#[test]
fn fa12_too_many_parameters_are_an_error() {
    let pattern = |count: usize| (0..count).map(|at| format!("/{{p{at}}}")).collect::<String>();
    assert!(RouteTable::builder().any(pattern(25), Access::token()).build().is_ok());
    assert!(RouteTable::builder().subtree(&pattern(25), Access::token()).build().is_ok());
    for count in [26, 27, 100] {
        for builder in [
            RouteTable::builder().any(pattern(count), Access::token()),
            RouteTable::builder().route(Method::PUT, pattern(count), Access::token()),
            RouteTable::builder().subtree(&pattern(count), Access::token()),
        ] {
            let error = builder.build().unwrap_err().to_string();
            assert!(error.contains("25 parameters"), "{error}");
        }
    }
}

// Field input 10.
#[tokio::test]
async fn fb5_a_needless_escape_is_another_spelling() {
    let issuer = Issuer::new();
    let table = built(
        RouteTable::builder()
            .route(Method::GET, "/users/{id}", Access::token())
            .route(Method::GET, "/public/{id}", Access::public())
            .subtree("/files", Access::token())
            .any("/users/~root", Access::scope("root")),
    );
    let app = Router::new()
        .route("/users/{id}", axum_get(async || "in"))
        .route("/public/{id}", axum_get(async || "in"))
        .route("/files/{*rest}", axum_get(async || "in"))
        .layer(issuer.layer().routes(table).allow_preflight());
    for path in ["/users/%7Ebob", "/users/a%2Db", "/users/%41", "/files/%41/%7e", "/users/a%2Eb"] {
        assert_eq!(ask(&app, &issuer, "GET", path, "").await, 200, "{path}");
        assert_eq!(send(&app, get(path, &[]).map(|_| Body::empty())).await.status(), 401, "{path}");
    }
    let public = get("/public/%7Ebob", &[]).map(|_| Body::empty());
    assert_eq!(send(&app, public).await.status(), 200);
    let fields = [("origin", "https://a.example"), ("access-control-request-method", "GET")];
    let preflight = request("OPTIONS", "/users/%7Ebob", &fields).map(|_| Body::empty());
    assert_eq!(send(&app, preflight).await.status(), 405);
    // However it is spelled, it is that user.
    for path in ["/users/%7Eroot", "/users/%7er%6Fot", "/users/~roo%74", "/users/~root"] {
        assert_eq!(ask(&app, &issuer, "GET", path, "").await, 403, "{path}");
        assert_eq!(ask(&app, &issuer, "GET", path, "root").await, 200, "{path}");
    }
    for path in [
        "/files/%2e%2e/users",
        "/files/%2E/x",
        "/files/..%3Bx/y",
        "/users/a%2Fb",
        "/users/a%5Cb",
        "/users/%00",
        "/users/%zz",
        "/public/%2e%2e",
    ] {
        assert_eq!(ask(&app, &issuer, "GET", path, "root").await, 400, "{path}");
    }
}

#[tokio::test]
async fn fb5_encoded_slashes_are_a_setting_and_both_readings_must_be_allowed() {
    let issuer = Issuer::new();
    let table = RouteTable::builder()
        .any("/users/{id}", Access::token())
        .any("/users/{id}/keys", Access::scope("keys"))
        .subtree("/files", Access::token())
        .subtree("/files/secret", Access::scope("secret"));
    let paths = ["/users/git%40github.com%3Aorg%2Fdash.git", "/files/%40scope%2Fpkg"];
    let app = |table| {
        Router::new()
            .route("/users/{id}", any(async || "in"))
            .route("/files/{*rest}", any(async || "in"))
            .layer(issuer.layer().routes(table))
    };
    let strict = app(built(table.clone()));
    for path in paths {
        assert_eq!(ask(&strict, &issuer, "GET", path, "").await, 400, "{path}");
    }
    let app = app(built(table.allow_encoded_slashes()));
    for (path, scope, status) in [
        ("/files/%40scope%2Fpkg", "", 200),
        ("/files/%40scope%2fpkg%2fx", "", 200),
        ("/files/a%2F", "", 200),
        ("/users/git%40github.com%3Aorg%2Fdash.git", "", 200),
        ("/users/1%2Fkeys", "", 403),
        ("/users/1%2Fkeys", "keys", 200),
        ("/users/1%2F%6Beys", "", 403),
        ("/users/1%2Fkeys%2F", "", 403),
        ("/users/1%2Fkeys;x", "", 403),
        ("/files/secret%2Fx", "", 403),
        ("/files/secret%2Fx", "secret", 200),
        ("/files%2Fsecret%2Fx", "", 403),
        ("/files/a%2F..%2Fsecret", "secret", 400),
        ("/files/a%2F%2Fb", "secret", 400),
        ("/files/a%2F%2e%2e%2Fb", "secret", 400),
        ("/files/a%5Cb", "secret", 400),
    ] {
        assert_eq!(ask(&app, &issuer, "GET", path, scope).await, status, "{path} {scope}");
    }
}

#[tokio::test]
async fn fb10_the_reason_names_the_request_that_is_not_listed() {
    let issuer = Issuer::new();
    let table = built(RouteTable::builder().any("/denied", Access::denied()).route(
        Method::GET,
        "/read",
        Access::token(),
    ));
    let layer = issuer.layer().routes(table).fallback(Access::denied()).unwrap();
    let app =
        Router::new().nest("/api", Router::new().fallback(async || "in").layer(layer.clone()));
    let reason = async |method: &str, path: &str| {
        let field = bearer(&issuer.token(""));
        let request = request(method, path, &[("authorization", &field)]);
        let answer = if path.starts_with("/api") {
            send(&app, request.map(|_| Body::empty())).await
        } else {
            send(&layer.layer(Inner::default()), request).await
        };
        assert_eq!(answer.kind(), Some(RejectionKind::Denied), "{method} {path}");
        assert!(!answer.body().contains("entry"), "{}", answer.body());
        assert!(!answer.challenge().contains("entry"), "{}", answer.challenge());
        answer.refusal().map(Refusal::to_string).unwrap()
    };
    let not_listed = |request: &str| {
        format!("no token is allowed here: the route table has no entry for \"{request}\"")
    };
    assert_eq!(reason("GET", "/x").await, not_listed("GET /x"));
    assert_eq!(reason("PURGE", "/read").await, not_listed("PURGE /read"));
    assert_eq!(reason("GET", "/api/x").await, not_listed("GET /api/x"));
    assert_eq!(reason("GET", "/denied").await, "no token is allowed here");
    let untabled = issuer.layer().fallback(Access::denied()).unwrap().layer(Inner::default());
    let field = bearer(&issuer.token(""));
    let answer = send(&untabled, get("/x", &[("authorization", &field)])).await;
    assert_eq!(answer.refusal().map(Refusal::to_string).unwrap(), "no token is allowed here");
}
