//! Any tower service of HTTP requests as a transport: hyper-util's client over loopback, and services
//! that fail.
#![cfg(all(feature = "reqwest", feature = "test-util"))]

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower::{ServiceBuilder, service_fn};
use tower_bearer::Validator;
use tower_bearer::jwks::Jwks;
use tower_bearer::testing::TestIssuer;
use tower_bearer::transport::{
    Limits, ServiceBody, ServiceTransport, Transport, TransportError, TransportErrorKind,
};

const LIMITS: Limits = Limits::new(64 * 1_024, Duration::from_secs(10));

fn client() -> Client<HttpConnector, ServiceBody> {
    Client::builder(TokioExecutor::new()).build_http()
}

async fn get(
    transport: &impl Transport,
    uri: &str,
    limits: Limits,
) -> Result<Response<Bytes>, TransportError> {
    transport.send(Request::get(uri).body(Bytes::new()).unwrap(), limits).await
}

#[tokio::test]
async fn keys_and_tokens_come_through_hyper_utils_client_and_layers_around_it() {
    let issuer = TestIssuer::start().await.unwrap();
    let service = ServiceBuilder::new().concurrency_limit(2).service(client());
    // An `Arc` of a transport is one.
    let transport: Arc<dyn Transport> = Arc::new(ServiceTransport::new(service));
    let keys = Jwks::discover(issuer.issuer()).transport(transport).build().unwrap();
    let validator =
        Validator::builder(issuer.issuer(), issuer.audience()).keys(keys).build().unwrap();
    validator.ready(Duration::from_secs(10)).await.unwrap();
    assert!(validator.validate(&issuer.token().sign()).await.is_ok());
    assert!(validator.validate(&issuer.token().wrong_signature().sign()).await.is_err());
}

#[tokio::test]
async fn a_body_is_sent_whole_with_its_length_and_the_answer_is_read_within_the_limits() {
    let seen = service_fn(async |request: Request<ServiceBody>| {
        let length = http_body::Body::size_hint(request.body()).exact().unwrap();
        let method = request.method().clone();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let text = format!("{method} {length} {}", String::from_utf8_lossy(&body));
        Ok::<_, io::Error>(
            Response::builder().header("x-seen", "1").body(Full::<Bytes>::from(text)).unwrap(),
        )
    });
    let transport = ServiceTransport::new(seen);
    let uri = "https://issuer.example/token";
    let request = Request::post(uri).body(Bytes::from_static(b"a=b")).unwrap();
    let answer = transport.send(request, Limits::new(10, LIMITS.timeout)).await.unwrap();
    assert_eq!(answer.body(), "POST 3 a=b");
    assert_eq!(answer.headers()["x-seen"], "1");
    let request = Request::builder().method(Method::POST).uri(uri).body("a=b".into()).unwrap();
    let answer = transport.send(request, Limits::new(9, LIMITS.timeout)).await;
    assert_eq!(answer.unwrap_err().kind(), TransportErrorKind::TooLarge);
    let answer = get(&transport, uri, Limits::new(6, LIMITS.timeout)).await.unwrap();
    assert_eq!(answer.body(), "GET 0 ");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_never_answers_or_is_never_ready_is_given_up_in_time() {
    type Answer = Result<Response<Full<Bytes>>, io::Error>;
    let silent = service_fn(|_: Request<ServiceBody>| std::future::pending::<Answer>());
    let error = get(&ServiceTransport::new(silent), "https://a.example/", LIMITS).await;
    assert_eq!(error.unwrap_err().kind(), TransportErrorKind::Timeout);
    let busy = ServiceBuilder::new().concurrency_limit(0).service(silent);
    let error = get(&ServiceTransport::new(busy), "https://a.example/", LIMITS).await;
    assert_eq!(error.unwrap_err().kind(), TransportErrorKind::Timeout);
}

#[tokio::test]
async fn what_may_go_to_public_addresses_only_is_not_sent() {
    let mut limits = LIMITS;
    limits.public_addresses_only = true;
    let never = service_fn(async |_: Request<ServiceBody>| -> io::Result<Response<Full<Bytes>>> {
        unreachable!("it is sent")
    });
    let error = get(&ServiceTransport::new(never), "https://a.example/", limits).await;
    assert_eq!(error.unwrap_err().kind(), TransportErrorKind::BlockedAddress);
}

#[tokio::test]
async fn an_error_is_of_its_kind_and_names_its_cause_without_the_address() {
    let transport = ServiceTransport::new(client());
    let error = get(&transport, "http://127.0.0.1:1/secret?canary", LIMITS).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Connect);
    let shown = format!("{error:?}");
    assert!(shown.contains("refused"), "{shown}");
    assert!(!shown.contains("canary") && !shown.contains("127.0.0.1"), "{shown}");

    let uri = "https://issuer.example/keys?canary";
    for (error, kind, cause) in [
        (io::Error::from(io::ErrorKind::TimedOut), TransportErrorKind::Timeout, Some("timed out")),
        (io::Error::other("broken"), TransportErrorKind::Other, Some("broken")),
        (io::Error::other("at issuer.example"), TransportErrorKind::Other, None),
        (io::Error::other(format!("at {uri}")), TransportErrorKind::Other, None),
        (io::Error::other("at ?canary"), TransportErrorKind::Other, None),
        (
            io::Error::new(io::ErrorKind::InvalidData, "the certificate has expired"),
            TransportErrorKind::Tls,
            Some("the certificate has expired"),
        ),
    ] {
        let error = Arc::new(std::sync::Mutex::new(Some(error)));
        let fails = service_fn(move |_: Request<ServiceBody>| {
            let error = error.lock().unwrap().take().unwrap();
            std::future::ready(Err::<Response<Full<Bytes>>, _>(error))
        });
        let error = get(&ServiceTransport::new(fails), uri, LIMITS).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(error.source().map(ToString::to_string).as_deref(), cause);
    }
}
