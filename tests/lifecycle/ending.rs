use bytes::Bytes;
use http::{Request, Response};
use tower_bearer::jwks::{FetchErrorKind, Health, Start, State};
use tower_bearer::refusal::UnavailableReason;
use tower_bearer::testing::ScriptedAnswer;
use tower_bearer::transport::{Limits, Transport, TransportFuture};

use crate::support::{Issuer, key, now, pass, secs, set, unavailable};

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_the_task_and_nothing_is_checked_afterwards() {
    let a = key("a");
    let issuer = Issuer::with(&[&a]);
    let (validator, jwks) = issuer.ready(issuer.jwks()).await;
    issuer.fail(ScriptedAnswer::never);
    issuer.transport.wait_for_requests(2).await;
    jwks.shutdown().await;
    assert_eq!(issuer.transport.cancelled(), 1);
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
    let (reason, _) = unavailable(validator.validate(&issuer.token(&a)).await);
    assert_eq!(reason, UnavailableReason::ShutDown);
    assert_eq!((jwks.health(), jwks.status().state), (Health::NotReady, State::ShutDown));
    assert_eq!(jwks.refresh().await, Err(FetchErrorKind::ShutDown.into()));
    assert_eq!(jwks.ready(secs(9)).await.unwrap_err().reason(), UnavailableReason::ShutDown);
    jwks.shutdown().await;
    pass(10_000.0).await;
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn shutdown_lets_waiting_requests_go() {
    let (a, b) = (key("a"), key("b"));
    let issuer = Issuer::with(&[&a]);
    let (validator, jwks) = issuer.ready(issuer.jwks()).await;
    issuer.fail(ScriptedAnswer::never);
    let token = issuer.token(&b);
    let request = tokio::spawn(async move { validator.validate(&token).await });
    issuer.transport.wait_for_requests(2).await;
    jwks.shutdown().await;
    assert_eq!(unavailable(request.await.unwrap()).0, UnavailableReason::ShutDown);
}

#[test]
fn a_source_that_never_ran_shuts_down_too() {
    let issuer = Issuer::with(&[&key("a")]);
    let (_validator, jwks) = issuer.validator(issuer.jwks().start(Start::Lazy));
    assert!(tokio_test::task::spawn(jwks.shutdown()).poll().is_ready());
}

/// Panics before and after it returned its future, in turns, until it is told not to.
#[derive(Clone)]
struct Panicking(Issuer);

impl Transport for Panicking {
    fn send(&self, request: Request<Bytes>, limits: Limits) -> TransportFuture {
        let answer = self.0.transport.send(request, limits);
        match self.0.requests() {
            1 | 4.. => answer,
            2 => panic!("in send"),
            _ => Box::pin(async { panic!("in the future") }),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_panics_is_a_failed_fetch() {
    let a = key("a");
    let issuer = Issuer::with(&[&a]);
    let (validator, jwks) = issuer.ready(issuer.jwks().transport(Panicking(issuer.clone()))).await;
    for _ in 0..2 {
        assert_eq!(jwks.refresh().await, Err(FetchErrorKind::Panic.into()));
        assert!(validator.validate(&issuer.token(&a)).await.is_ok());
    }
    jwks.refresh().await.unwrap();
    assert_eq!(jwks.health(), Health::Ready);
}

/// Keeps no limit.
struct Careless(String);

impl Transport for Careless {
    fn send(&self, request: Request<Bytes>, _: Limits) -> TransportFuture {
        let body = self.0.clone();
        Box::pin(async move {
            if request.uri().path() == "/hang" {
                return std::future::pending().await;
            }
            Ok(Response::new(body.into()))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn the_limits_hold_whatever_the_transport_does() {
    let a = key("a");
    let issuer = Issuer::with(&[]);
    let long = format!("{}{}", set(&[&a]), " ".repeat(256 * 1_024));
    let (_validator, jwks) = issuer.validator(issuer.jwks().transport(Careless(long)));
    assert_eq!(jwks.refresh().await, Err(FetchErrorKind::TooLarge.into()));

    let url = "https://issuer.test/hang";
    let builder = tower_bearer::jwks::Jwks::url(crate::support::ISSUER, url);
    let hanging = builder.transport(Careless(String::new())).build().unwrap();
    let begun = now();
    assert_eq!(hanging.refresh().await, Err(FetchErrorKind::Timeout.into()));
    assert!(begun.elapsed() < secs(11), "{:?}", begun.elapsed());
}
