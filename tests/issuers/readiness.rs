//! When a service with several issuers is ready.

use std::time::Duration;

use tower_bearer::Validator;
use tower_bearer::issuers::Readiness;
use tower_bearer::jwks::Health;

use crate::support::{A, B, Issuer, clock};

const SOON: Duration = Duration::from_secs(2);

/// What is said while A is up and B is down: at once, after waiting, and the error's issuer.
async fn said(readiness: Option<Readiness>) -> (Health, Health, Option<String>) {
    let clock = clock();
    let (a, b) = (Issuer::new(A, &clock), Issuer::new(B, &clock));
    b.die();
    let mut builder = Validator::issuers([a.entry(), b.entry()]).clock(clock);
    if let Some(readiness) = readiness {
        builder = builder.readiness(readiness);
    }
    let validator = builder.build().unwrap();
    let before = validator.health();
    let waited = validator.ready(SOON).await;
    let issuer = waited.err().map(|error| error.issuer().to_owned());
    (before, validator.health(), issuer)
}

#[tokio::test(start_paused = true)]
async fn n6_readiness_is_any_all_or_named() {
    let (none, b) = (Health::NotReady, || Some(B.to_owned()));
    assert_eq!(said(None).await, (none, Health::Degraded, None));
    assert_eq!(said(Some(Readiness::any())).await, (none, Health::Degraded, None));
    assert_eq!(said(Some(Readiness::all())).await, (none, none, b()));
    assert_eq!(said(Some(Readiness::of([A]))).await, (none, Health::Degraded, None));
    assert_eq!(said(Some(Readiness::of([B]))).await, (none, none, b()));
    assert_eq!(said(Some(Readiness::of([A, B]))).await, (none, none, b()));
}

#[tokio::test(start_paused = true)]
async fn n6_with_all_issuers_up_every_policy_says_ready_and_none_waits_for_a_lost_one() {
    for readiness in [Readiness::any(), Readiness::all(), Readiness::of([A])] {
        let clock = clock();
        let (a, b) = (Issuer::new(A, &clock), Issuer::new(B, &clock));
        let builder = Validator::issuers([a.entry(), b.entry()]).clock(clock);
        let validator = builder.readiness(readiness.clone()).build().unwrap();
        validator.ready(SOON).await.unwrap();
        validator.jwks_of(A).unwrap().ready(SOON).await.unwrap();
        validator.jwks_of(B).unwrap().ready(SOON).await.unwrap();
        assert_eq!(validator.health(), Health::Ready, "{readiness:?}");
        validator.jwks_of(A).unwrap().shutdown().await;
        validator.jwks_of(B).unwrap().shutdown().await;
        assert_eq!(validator.health(), Health::NotReady, "{readiness:?}");
        assert!(validator.ready(SOON).await.is_err());
    }
}

#[test]
fn n6_a_readiness_that_can_never_be_is_a_configuration_error() {
    let build = |readiness| {
        let issuer = |name| tower_bearer::issuers::Issuer::new(name, "api");
        let built = Validator::issuers([issuer(A), issuer(B)]).readiness(readiness).build();
        built.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(build(Readiness::of([A])), Ok(()));
    assert!(build(Readiness::of(["https://c.test"])).unwrap_err().contains("isn't in the list"));
    assert!(build(Readiness::of(Vec::<String>::new())).unwrap_err().contains("names no issuer"));
}
