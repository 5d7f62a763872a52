//! The metrics, by the names that dashboards are made with.

#![cfg(all(feature = "metrics", feature = "reqwest", feature = "test-util"))]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::{Request, Response};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tower::{Layer, ServiceExt, service_fn};
use tower_bearer::jwks::Jwks;
use tower_bearer::testing::{Endpoint, Fault, TestIssuer};
use tower_bearer::{BearerAuthLayer, Validator};

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
        "auth_unavailable_total",
        "jwks_age_seconds",
        "jwks_fetch_seconds",
        "jwks_fetch_total",
        "jwks_keys",
        "jwks_kid_miss_total",
        "jwks_rate_limited_total",
        "jwks_refresh_waiters",
        "jwks_state",
        "token_total",
    ] {
        assert!(names.contains(name), "{name} isn't among {names:?}");
    }
    for (counter, at_least) in [
        ("jwks_kid_miss_total{issuer=ISSUER,result=resolved}", 1),
        ("jwks_kid_miss_total{issuer=ISSUER,result=tombstone}", 1),
        ("jwks_kid_miss_total{issuer=ISSUER,result=absent}", 1),
        ("jwks_kid_miss_total{issuer=ISSUER,result=negative_cached}", 1),
        ("jwks_kid_miss_total{issuer=ISSUER,result=rate_limited}", 1),
        ("jwks_rate_limited_total{issuer=ISSUER}", 1),
        ("token_total{result=unavailable,reason=rate_limited}", 1),
        ("token_total{result=unavailable,reason=refresh_failed}", 1),
        ("token_total{result=refused,reason=unknown_key}", 4),
        ("auth_unavailable_total{}", 1),
    ] {
        let counter = counter.replace("ISSUER", issuer.issuer());
        let count = counters.get(&counter).copied().unwrap_or_default();
        assert!(count >= at_least, "{counter} is {count}: {counters:#?}");
    }
}
