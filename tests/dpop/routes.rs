//! Routes that require more, layers within layers, routers within routers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Method;
use tower_bearer::dpop::{ReplayFuture, ReplayStore};
use tower_bearer::{
    Access, AccessToken, BearerAuthLayer, RequireScope, Requirement, RouteTable, ScopeGuardLayer,
};

use crate::service::{ORIGIN, World, accept, all, proved, verdict};
use crate::world::{Answer, bearer, request, send};

tower_bearer::scopes! { Read = "read"; }

const DPOP: &str = r#"DPoP realm="api", algs="ES256 EdDSA""#;

async fn ask(app: &Router, path: &str, fields: &[(&str, &str)]) -> Answer {
    send(app, request("GET", path, fields).map(Body::new)).await
}

async fn prove(world: &World, app: &Router, path: &str, token: &str) -> Answer {
    let proof = world.proof("GET", path, token).sign();
    send(app, proved("GET", path, token, &proof).map(Body::new)).await
}

#[tokio::test]
async fn d22_a_route_requires_more_than_the_layer() {
    let world = World::new();
    let routes = RouteTable::builder()
        .route(Method::GET, "/transfers", Access::scope("read").require_dpop())
        .route(Method::GET, "/public", Access::public().require_dpop())
        .route(Method::GET, "/optional", Access::optional().require_dpop())
        .build()
        .unwrap();
    let paths = ["/transfers", "/public", "/optional", "/guarded", "/other"];
    let app = paths.iter().fold(Router::new(), |app, path| {
        let route = get(async || "fine");
        let guard = ScopeGuardLayer::new(Requirement::none()).require_dpop();
        app.route(path, if *path == "/guarded" { route.route_layer(guard) } else { route })
    });
    let app = app.layer(world.layer(accept()).routes(routes));
    let (bound, unbound) = (world.bound("read"), world.unbound("read"));
    let plain = bearer(&unbound);
    for path in ["/transfers", "/optional", "/guarded"] {
        let refused = ask(&app, path, &[("authorization", &plain)]).await;
        assert_eq!((refused.status(), verdict(&refused)), (401, "token_not_bound"), "{path}");
        assert_eq!(
            all(&refused, "www-authenticate"),
            [
                r#"DPoP realm="api", error="invalid_token", error_description="The access token is invalid", algs="ES256 EdDSA""#
            ]
        );
        assert_eq!(verdict(&prove(&world, &app, path, &bound).await), "accepted", "{path}");
    }
    assert_eq!(ask(&app, "/other", &[("authorization", &plain)]).await.status(), 200);
    assert_eq!(ask(&app, "/public", &[("authorization", &plain)]).await.status(), 200);
    assert_eq!(ask(&app, "/optional", &[]).await.status(), 200);
    let nothing = ask(&app, "/transfers", &[]).await;
    assert_eq!(
        all(&nothing, "www-authenticate"),
        [r#"DPoP realm="api", scope="read", algs="ES256 EdDSA""#]
    );
    let nothing = ask(&app, "/other", &[]).await;
    assert_eq!(all(&nothing, "www-authenticate"), [r#"Bearer realm="api""#, DPOP]);
    // A bad bearer token learns as well that it should be another scheme's.
    let bad = ask(&app, "/transfers", &[("authorization", "Bearer x.y.z")]).await;
    assert!(matches!(&*all(&bad, "www-authenticate"), [one] if one.starts_with("DPoP ")));
}

/// What an answer shows, but for its date.
fn shown(answer: &Answer) -> String {
    format!("{} {:?} {:?}", answer.status(), answer.response.headers(), answer.body())
}

#[tokio::test]
async fn d22_a_hidden_route_stays_hidden_from_unbound_tokens() {
    let world = World::new();
    let routes = || {
        let hidden = Access::scope("read").require_dpop().hide_existence();
        RouteTable::builder().route(Method::GET, "/hidden", hidden).build().unwrap()
    };
    let around = |layer: BearerAuthLayer| {
        let inner = Router::new().route("/hidden", get(async || "fine"));
        Router::new().fallback_service(tower::Layer::layer(&layer.routes(routes()), inner))
    };
    let with_proofs = around(world.layer(accept()));
    // Here nobody can meet the rule: the log says so.
    let without = around(world.issuer.layer());
    for (app, token) in [
        (&with_proofs, world.unbound("read")),
        (&with_proofs, world.unbound("")),
        (&without, world.issuer.token("read")),
    ] {
        let field = bearer(&token);
        let fields = [("authorization", &*field)];
        let hidden = ask(app, "/hidden", &fields).await;
        assert_eq!(hidden.status(), 404);
        assert_eq!(shown(&hidden), shown(&ask(app, "/absent", &fields).await));
    }
    for fields in [&[][..], &[("authorization", "Bearer x.y.z")], &[("authorization", "DPoP x")]] {
        let (hidden, absent) = (
            ask(&with_proofs, "/hidden", fields).await,
            ask(&with_proofs, "/absent", fields).await,
        );
        assert_eq!(shown(&hidden), shown(&absent));
    }
    let bound = world.bound("read");
    assert_eq!(prove(&world, &with_proofs, "/hidden", &bound).await.status(), 200);
    let other = world.bound("other");
    let hidden = prove(&world, &with_proofs, "/hidden", &other).await;
    assert_eq!(shown(&hidden), shown(&prove(&world, &with_proofs, "/absent", &other).await));
}

#[tokio::test]
async fn a_route_that_requires_what_the_validator_does_not_know_is_a_mistake_of_ours() {
    let world = World::new();
    let layer = world.issuer.layer().fallback(Access::token().require_dpop()).unwrap();
    let app = Router::new().route("/", get(async || "fine")).layer(layer);
    let token = bearer(&world.issuer.token(""));
    assert_eq!(ask(&app, "/", &[("authorization", &token)]).await.status(), 500);
    assert_eq!(ask(&app, "/", &[]).await.status(), 401);
}

#[tokio::test]
async fn d78_a_missing_scope_is_answered_in_the_scheme_that_was_used() {
    let world = World::new();
    let app = Router::new()
        .route("/extractor", get(async |_: RequireScope<Read>| "fine"))
        .route(
            "/guard",
            get(async || "fine")
                .route_layer(ScopeGuardLayer::new(Requirement::scope("read").unwrap())),
        )
        .route("/table", get(async || "fine"));
    let routes = RouteTable::builder().route(Method::GET, "/table", Access::scope("read"));
    let app = app.layer(world.layer(accept()).routes(routes.build().unwrap()));
    let (bound, unbound) = (world.bound("other"), world.unbound("other"));
    for path in ["/extractor", "/guard", "/table"] {
        let refused = prove(&world, &app, path, &bound).await;
        assert_eq!(refused.status(), 403, "{path}");
        let [plain, dpop] = &*all(&refused, "www-authenticate") else { panic!("{path}") };
        assert_eq!(plain, r#"Bearer realm="api", scope="read""#);
        assert!(dpop.contains(r#"error="insufficient_scope""#) && dpop.contains(r#"scope="read""#));
        let refused = ask(&app, path, &[("authorization", &bearer(&unbound))]).await;
        let [plain, dpop] = &*all(&refused, "www-authenticate") else { panic!("{path}") };
        assert!(plain.contains(r#"error="insufficient_scope""#));
        assert_eq!(dpop, r#"DPoP realm="api", scope="read", algs="ES256 EdDSA""#);
        let good = world.bound("read");
        assert_eq!(prove(&world, &app, path, &good).await.status(), 200, "{path}");
    }
}

/// Counts how often a proof is recorded.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl ReplayStore for Counting {
    fn record<'a>(&'a self, _: &'a str, _: std::time::Duration) -> ReplayFuture<'a> {
        let first = self.0.fetch_add(1, Ordering::Relaxed) == 0;
        Box::pin(async move { Ok(first) })
    }
}

#[tokio::test]
async fn d56_a_layer_within_a_layer_checks_a_proof_once() {
    let world = World::new();
    let store = Counting::default();
    let validator = world.validator(accept().replay_store(store.clone()));
    let layer = || BearerAuthLayer::new(validator.clone()).realm("api").unwrap();
    let app = Router::new()
        .route(
            "/",
            get(async |token: AccessToken, _: RequireScope<Read>| {
                token.key_thumbprint().unwrap().to_owned()
            }),
        )
        .layer(layer())
        .layer(layer())
        .layer(layer());
    let token = world.bound("read");
    let answer = prove(&world, &app, "/", &token).await;
    assert_eq!(
        (answer.status(), answer.body()),
        (200, &*crate::service::thumbprint(&world.client))
    );
    assert_eq!(store.0.load(Ordering::Relaxed), 1);
    // Another proof of the same token is another one.
    assert_eq!(verdict(&prove(&world, &app, "/", &token).await), "dpop_proof_replayed");
    assert_eq!(store.0.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn d56_what_was_proved_is_no_proof_for_another_token_or_validator() {
    let world = World::new();
    let token = world.bound("read");
    let swapped = Arc::new(std::sync::Mutex::new(String::new()));
    let inner = Router::new().route("/", get(async || "fine"));
    let swap = {
        let swapped = Arc::clone(&swapped);
        move |mut request: axum::extract::Request, next: axum::middleware::Next| {
            let token = swapped.lock().unwrap().clone();
            if !token.is_empty() {
                let value = format!("DPoP {token}").parse().unwrap();
                request.headers_mut().insert("authorization", value);
            }
            next.run(request)
        }
    };
    let validator = world.validator(accept());
    let layer = || BearerAuthLayer::new(validator.clone()).realm("api").unwrap();
    let app = inner.layer(layer()).layer(axum::middleware::from_fn(swap)).layer(layer());
    assert_eq!(verdict(&prove(&world, &app, "/", &token).await), "accepted");
    *swapped.lock().unwrap() = world.bound("read other");
    assert_eq!(verdict(&prove(&world, &app, "/", &token).await), "dpop_proof_mismatch");
}

#[tokio::test]
async fn d42_under_nest_the_whole_path_counts() {
    let world = World::new();
    let inside = Router::new().route("/orders", get(async || "fine")).layer(world.layer(accept()));
    let app = Router::new().nest("/v1", inside);
    let token = world.bound("");
    assert_eq!(verdict(&prove(&world, &app, "/v1/orders", &token).await), "accepted");
    let proof = world.proof("GET", "/orders", &token).sign();
    let answer = send(&app, proved("GET", "/v1/orders", &token, &proof).map(Body::new)).await;
    assert_eq!(verdict(&answer), "dpop_proof_mismatch");
}

#[tokio::test]
async fn d42_a_prefix_that_a_proxy_takes_is_part_of_the_origin() {
    let world = World::new();
    let dpop = tower_bearer::dpop::Dpop::accept().public_origins([format!("{ORIGIN}/v1")]);
    let app = Router::new().route("/orders", get(async || "fine")).layer(world.layer(dpop));
    let token = world.bound("");
    let proof = world.proof("GET", "/v1/orders", &token).sign();
    let answer = send(&app, proved("GET", "/orders", &token, &proof).map(Body::new)).await;
    assert_eq!(verdict(&answer), "accepted");
    assert_eq!(verdict(&prove(&world, &app, "/orders", &token).await), "dpop_proof_mismatch");
}

#[tokio::test]
async fn d40_of_several_origins_the_one_that_host_names_counts() {
    let world = World::new();
    let origins = ["https://one.example", "https://two.example:8443"];
    let dpop = tower_bearer::dpop::Dpop::accept().public_origins(origins);
    let app = Router::new().route("/", get(async || "fine")).layer(world.layer(dpop));
    let token = world.bound("");
    let dpop = format!("DPoP {token}");
    for (host, htu, good) in [
        ("one.example", "https://one.example/", true),
        ("two.example:8443", "https://two.example:8443/", true),
        ("one.example", "https://two.example:8443/", false),
        ("evil.example", "https://evil.example/", false),
        ("evil.example", "https://one.example/", false),
    ] {
        let proof = world.proof("GET", "/", &token).uri(htu).sign();
        let fields = [("authorization", dpop.as_str()), ("dpop", &proof), ("host", host)];
        let expected = if good { "accepted" } else { "dpop_proof_mismatch" };
        assert_eq!(verdict(&ask(&app, "/", &fields).await), expected, "{host} {htu}");
    }
}
