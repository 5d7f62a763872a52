//! The metrics, by the names that dashboards are made with.

#![cfg(all(feature = "axum", feature = "metrics", feature = "reqwest", feature = "test-util"))]

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, Response};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tower::{Layer, ServiceExt, service_fn};
use tower_bearer::jwks::Jwks;
use tower_bearer::middleware::TokenRejection;
use tower_bearer::testing::{Endpoint, Fault, TestIssuer};
use tower_bearer::{
    Access, AccessToken, BearerAuthLayer, RequireScope, Requirement, RouteTable, ScopeGuardLayer,
    Validator,
};
use world::{Issuer, bearer};

async fn status(layer: &BearerAuthLayer, token: Option<&str>) -> u16 {
    let service = layer.layer(service_fn(|_: Request<String>| async {
        Ok::<_, std::convert::Infallible>(Response::new(String::new()))
    }));
    let mut request = Request::builder();
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(String::new()).unwrap();
    service.oneshot(request).await.unwrap().status().as_u16()
}

/// Counters by name and labels; the names of all metrics.
fn read(snapshotter: &Snapshotter) -> (BTreeMap<String, u64>, BTreeSet<String>) {
    let (mut counters, mut names) = (BTreeMap::new(), BTreeSet::new());
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let key = key.key();
        let labels: Vec<String> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        names.insert(key.name().to_owned());
        if let DebugValue::Counter(count) = value {
            *counters.entry(format!("{}{{{}}}", key.name(), labels.join(","))).or_default() +=
                count;
        }
    }
    (counters, names)
}

#[tokio::test]
async fn every_metric_has_its_name() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _metrics = metrics::set_default_local_recorder(&recorder);

    let issuer = TestIssuer::start().await.unwrap();
    let jwks = Jwks::discover(issuer.issuer()).cooldown(Duration::from_secs(30)).build().unwrap();
    jwks.ready(Duration::from_secs(10)).await.unwrap();
    let validator =
        Validator::builder(issuer.issuer(), issuer.audience()).keys(jwks.clone()).build().unwrap();
    let layer = BearerAuthLayer::new(validator);

    let valid = issuer.token().sign();
    assert_eq!(status(&layer, Some(&valid)).await, 200);
    assert_eq!(status(&layer, Some(&valid)).await, 200);
    assert_eq!(status(&layer, None).await, 401);
    assert_eq!(status(&layer, Some("garbage")).await, 401);
    let expired = issuer.token().expired_for(Duration::from_secs(3600)).sign();
    assert_eq!(status(&layer, Some(&expired)).await, 401);
    // A rotation, a key that was removed, and keys that were never there.
    let (_, before) = read(&snapshotter);
    issuer.rotate_hard();
    assert_eq!(status(&layer, Some(&issuer.token().sign())).await, 200);
    assert_eq!(status(&layer, Some(&valid)).await, 401);
    let unknown = |kid: &str| issuer.token().kid(kid).sign();
    assert_eq!(status(&layer, Some(&unknown("a"))).await, 401);
    assert_eq!(status(&layer, Some(&unknown("a"))).await, 401);
    assert_eq!(status(&layer, Some(&unknown("b"))).await, 401);
    issuer.inject(
        Endpoint::Jwks,
        Fault::status(http::StatusCode::TOO_MANY_REQUESTS).retry_after(Duration::from_secs(30)),
    );
    assert_eq!(status(&layer, Some(&unknown("c"))).await, 503);
    assert_eq!(status(&layer, Some(&unknown("d"))).await, 503);
    issuer.inject(Endpoint::Jwks, Fault::garbage());
    jwks.refresh().await.unwrap_err();
    // Cold, and an issuer that has nothing to say.
    let cold = Jwks::url(issuer.issuer(), issuer.jwks_uri()).build().unwrap();
    let cold = Validator::builder(issuer.issuer(), issuer.audience()).keys(cold).build().unwrap();
    cold.ready(Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(status(&BearerAuthLayer::new(cold), Some(&valid)).await, 503);

    let (counters, after) = read(&snapshotter);
    let names: BTreeSet<String> = before.union(&after).cloned().collect();
    for name in [
        "tower_bearer_jwks_fetched_timestamp_seconds",
        "tower_bearer_jwks_fetch_duration_seconds",
        "tower_bearer_jwks_fetches_total",
        "tower_bearer_jwks_keys",
        "tower_bearer_jwks_kid_misses_total",
        "tower_bearer_jwks_refresh_waiters",
        "tower_bearer_jwks_state",
        "tower_bearer_requests_total",
    ] {
        assert!(names.contains(name), "{name} isn't among {names:?}");
    }
    for (counter, at_least) in [
        ("tower_bearer_jwks_kid_misses_total{issuer=ISSUER,result=resolved}", 1),
        ("tower_bearer_jwks_kid_misses_total{issuer=ISSUER,result=tombstone}", 1),
        ("tower_bearer_jwks_kid_misses_total{issuer=ISSUER,result=absent}", 1),
        ("tower_bearer_jwks_kid_misses_total{issuer=ISSUER,result=negative_cached}", 1),
        ("tower_bearer_jwks_kid_misses_total{issuer=ISSUER,result=rate_limited}", 1),
        ("tower_bearer_requests_total{result=unavailable,reason=rate_limited}", 1),
        ("tower_bearer_requests_total{result=unavailable,reason=refresh_failed}", 1),
        ("tower_bearer_requests_total{result=refused,reason=unknown_key}", 4),
    ] {
        let counter = counter.replace("ISSUER", issuer.issuer());
        let count = counters.get(&counter).copied().unwrap_or_default();
        assert!(count >= at_least, "{counter} is {count}: {counters:#?}");
    }
}

tower_bearer::scopes! {
    Admin = "admin";
}

/// Counts one request to a service.
async fn counted<S>(service: S, path: &str, token: Option<&str>) -> BTreeMap<String, u64>
where
    S: tower::Service<axum::extract::Request, Response: std::fmt::Debug, Error: std::fmt::Debug>,
{
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _metrics = metrics::set_default_local_recorder(&recorder);
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header("authorization", bearer(token));
    }
    service.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    read(&snapshotter).0
}

fn once(labels: &str) -> BTreeMap<String, u64> {
    [(format!("tower_bearer_requests_total{{{labels}}}"), 1)].into()
}

#[tokio::test]
async fn each_request_is_counted_once_by_what_was_decided_in_the_end() {
    let issuer = Issuer::new();
    let handlers = || {
        let guarded = ScopeGuardLayer::new(Requirement::scope("admin").unwrap());
        Router::new()
            .route("/guarded", get(async || "guarded").route_layer(guarded))
            .route("/extracted", get(async |_: RequireScope<Admin>| "extracted"))
            .route("/token", get(async |_: AccessToken| "token"))
            .route("/public", get(async || "public"))
            .route("/public/token", get(async |_: AccessToken| "token"))
            .route("/optional", get(async |_: Option<AccessToken>| "optional"))
            .route(
                "/caught",
                get(
                    async |it: Result<RequireScope<Admin>, TokenRejection>| {
                        if it.is_ok() { "an admin" } else { "another" }
                    },
                ),
            )
            .route(
                "/both",
                get(async |_: RequireScope<Admin>| "both")
                    .route_layer(ScopeGuardLayer::new(Requirement::scope("other").unwrap())),
            )
    };
    let routes = RouteTable::builder()
        .subtree("/public", Access::public())
        .any("/optional", Access::optional())
        .build()
        .unwrap();
    let app = handlers().layer(issuer.layer().routes(routes));
    let (admin, other) = (issuer.token("admin"), issuer.token("other"));
    for (path, token, labels) in [
        ("/token", Some(&*admin), "result=accepted,reason=none"),
        ("/token", None, "result=refused,reason=no_credentials"),
        ("/token", Some("x.y.z"), "result=refused,reason=malformed_token"),
        ("/guarded", Some(&admin), "result=accepted,reason=none"),
        ("/guarded", Some(&other), "result=refused,reason=insufficient_scope"),
        ("/extracted", Some(&admin), "result=accepted,reason=none"),
        ("/extracted", Some(&other), "result=refused,reason=insufficient_scope"),
        ("/caught", Some(&admin), "result=accepted,reason=none"),
        ("/caught", Some(&other), "result=refused,reason=insufficient_scope"),
        ("/both", Some(&admin), "result=refused,reason=insufficient_scope"),
        ("/both", Some(&other), "result=refused,reason=insufficient_scope"),
        ("/public", None, "result=anonymous,reason=none"),
        ("/public", Some("x.y.z"), "result=anonymous,reason=none"),
        ("/public/token", Some(&admin), "result=refused,reason=no_credentials"),
        ("/optional", None, "result=anonymous,reason=none"),
        ("/optional", Some(&admin), "result=accepted,reason=none"),
    ] {
        assert_eq!(counted(app.clone(), path, token).await, once(labels), "{path} {token:?}");
    }
    // Without a layer, and with a layer around another.
    let open = counted(handlers(), "/guarded", None).await;
    assert_eq!(open, once("result=misconfigured,reason=misconfigured"));
    let open = counted(handlers(), "/token", None).await;
    assert_eq!(open, once("result=misconfigured,reason=misconfigured"));
    let public = issuer.layer().fallback(Access::public()).unwrap();
    let twice = handlers().layer(issuer.layer()).layer(public);
    for (path, token, labels) in [
        ("/token", Some(&*admin), "result=accepted,reason=none"),
        ("/token", None, "result=refused,reason=no_credentials"),
        ("/guarded", Some(&other), "result=refused,reason=insufficient_scope"),
    ] {
        assert_eq!(counted(twice.clone(), path, token).await, once(labels), "{path} {token:?}");
    }
}

// What is dropped is counted, too: before the verdict, and after it.
#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_waits_for_is_counted_once() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _metrics = metrics::set_default_local_recorder(&recorder);
    let silent = tower_bearer::testing::ScriptedTransport::from_fn(|_| {
        tower_bearer::testing::ScriptedAnswer::never()
    });
    let keys = Jwks::url(world::ISSUER, "https://issuer.example/jwks").transport(silent);
    let cold = Validator::builder(world::ISSUER, world::AUDIENCE)
        .keys(keys.build().unwrap())
        .build()
        .unwrap();
    let issuer = Issuer::new();
    let token = issuer.token("");
    for (layer, labels) in [
        (BearerAuthLayer::new(cold), "result=abandoned,reason=none"),
        (issuer.layer(), "result=accepted,reason=none"),
    ] {
        let service = layer.layer(service_fn(|_: Request<String>| {
            std::future::pending::<Result<Response<String>, std::convert::Infallible>>()
        }));
        let request = Request::builder().header("authorization", bearer(&token));
        let answer = service.oneshot(request.body(String::new()).unwrap());
        tokio::time::timeout(Duration::from_millis(100), answer).await.unwrap_err();
        let mut counters = read(&snapshotter).0;
        counters.retain(|name, count| name.starts_with("tower_bearer_requests") && *count > 0);
        assert_eq!(counters, once(labels));
    }
}

#[test]
fn every_metric_is_described() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answer = runtime.block_on(status(&Issuer::new().layer(), None));
        assert_eq!(answer, 401);
    });
    let all = snapshotter.snapshot().into_vec();
    assert!(all.len() >= 3, "{all:?}");
    for (key, unit, description, _) in all {
        assert!(unit.is_some() && description.is_some(), "{key:?}");
    }
}
