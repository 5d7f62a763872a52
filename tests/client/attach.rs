//! Tokens on outgoing requests: to whom, when, and when again.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody};
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::util::ServiceFn;
use tower::{BoxError, Layer, Service, ServiceExt as _, service_fn};
use tower_bearer::client::{AttachTokenLayer, ReplayBody, SendError, TokenErrorKind, TokenSource};
use tower_bearer::testing::ScriptedTransport;
use tower_bearer::transport::TransportErrorKind;

use crate::support::*;

const ORDERS: &str = "https://orders.test";

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq)]
struct Arrived {
    authorization: Vec<String>,
    body: String,
}

/// A server that answers what a function says, and remembers what arrived.
#[derive(Clone)]
struct Server {
    arrived: Arc<Mutex<Vec<Arrived>>>,
    answer: Arc<Answer>,
}

type Answer = dyn Fn(&Arrived) -> Response<String> + Send + Sync;

impl Server {
    fn new(answer: impl Fn(&Arrived) -> Response<String> + Send + Sync + 'static) -> Self {
        Self { arrived: Arc::default(), answer: Arc::new(answer) }
    }

    /// A server that refuses all tokens but this.
    fn accepting(token: &'static str, challenge: Option<&'static str>) -> Self {
        Self::new(move |arrived| {
            if arrived.authorization == [format!("Bearer {token}")] {
                Response::new("welcome".into())
            } else {
                answer(401, challenge)
            }
        })
    }

    async fn call<B>(
        self,
        layer: &AttachTokenLayer,
        request: Request<B>,
    ) -> Result<Response<String>, SendError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let service = service_fn(move |request: Request<ReplayBody<B>>| {
            let server = self.clone();
            async move {
                let (head, body) = request.into_parts();
                let authorization = head.headers.get_all(AUTHORIZATION).iter();
                let authorization =
                    authorization.map(|value| value.to_str().unwrap().to_owned()).collect();
                let body = body.collect().await?.to_bytes();
                let body = String::from_utf8(body.to_vec()).unwrap();
                let arrived = Arrived { authorization, body };
                let answer = (server.answer)(&arrived);
                server.arrived.lock().unwrap().push(arrived);
                Ok::<_, BoxError>(answer)
            }
        });
        layer.layer(service).oneshot(request).await
    }

    async fn get(&self, layer: &AttachTokenLayer, uri: &str) -> Result<u16, SendError> {
        let request = Request::get(uri).body(Full::new(Bytes::new())).unwrap();
        self.clone().call(layer, request).await.map(|answer| answer.status().as_u16())
    }

    fn tokens(&self) -> Vec<String> {
        let arrived = self.arrived.lock().unwrap();
        arrived.iter().map(|it| it.authorization.join("|").replace("Bearer ", "")).collect()
    }
}

fn answer(status: u16, challenge: Option<&str>) -> Response<String> {
    let mut response = Response::new(format!("status {status}"));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if let Some(challenge) = challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
    }
    response
}

fn layer(tokens: TokenSource) -> AttachTokenLayer {
    AttachTokenLayer::new(tokens, [ORDERS]).unwrap()
}

// E13
#[tokio::test(start_paused = true)]
async fn e13_a_token_goes_to_the_allowed_origins_only() {
    let server = Server::accepting("t1", None);
    let layer = layer(source(&counting(600)));
    assert_eq!(server.get(&layer, "https://orders.test/orders?x=y").await.unwrap(), 200);
    assert_eq!(server.get(&layer, "https://ORDERS.test:443/").await.unwrap(), 200);
    for other in [
        "http://orders.test/",
        "https://orders.test:8443/",
        "https://evil.test/",
        "https://orders.test.evil.test/",
        "https://orders.test@evil.test/",
        "/orders",
    ] {
        let error = server.get(&layer, other).await.unwrap_err();
        assert!(matches!(error, SendError::Origin(_)), "{other}");
    }
    assert_eq!(server.tokens(), ["t1", "t1"], "no other request was sent");

    // If they are to be sent, then without a token.
    let layer = layer.pass_other_origins();
    assert_eq!(server.get(&layer, "https://evil.test/").await.unwrap(), 401);
    assert_eq!(server.tokens(), ["t1", "t1", ""]);
}

// E13
#[test]
fn e13_origins_must_be_named_and_safe() {
    let tokens = || source(&counting(600));
    let new = |origins: &[&str]| AttachTokenLayer::new(tokens(), origins).map(drop);
    assert!(new(&[]).unwrap_err().to_string().contains("at least one"));
    assert!(new(&["http://orders.test"]).unwrap_err().to_string().contains("https"));
    assert!(new(&["https://orders.test", "nonsense"]).is_err());
    assert!(new(&["https://orders.test", "http://127.0.0.1:80", "http://localhost:1"]).is_ok());
    assert!(AttachTokenLayer::for_channel(tokens(), "http://orders.test").is_err());
}

// E13: a service with one peer, whose requests name none.
#[tokio::test(start_paused = true)]
async fn e13_a_channel_needs_no_host_in_its_requests() {
    let server = Server::accepting("t1", None);
    let layer = AttachTokenLayer::for_channel(source(&counting(600)), ORDERS).unwrap();
    assert_eq!(server.get(&layer, "/orders.v1.Orders/List").await.unwrap(), 200);
    assert_eq!(server.get(&layer, "https://orders.test/x").await.unwrap(), 200);
    for other in ["https://evil.test/x", "evil.test:443", "orders.test:443"] {
        assert!(server.get(&layer, other).await.is_err(), "{other}");
    }
    assert_eq!(server.tokens().len(), 2);
}

// E14
#[tokio::test(start_paused = true)]
async fn e14_without_a_token_nothing_is_sent() {
    let server = Server::accepting("t1", None);
    let layer = layer(source(&ScriptedTransport::new()));
    match server.get(&layer, "https://orders.test/").await.unwrap_err() {
        SendError::Token(error) => {
            let expected = TokenErrorKind::Transport(TransportErrorKind::Connect);
            assert_eq!(*error.kind(), expected);
        }
        other => panic!("{other}"),
    }
    assert!(server.tokens().is_empty());
}

// E15
#[tokio::test(start_paused = true)]
async fn e15_there_is_one_authorization_field() {
    let transport = counting(600);
    let layer = layer(source(&transport));
    let send = async |layer: &AttachTokenLayer, fields: &[&str]| {
        let server = Server::new(|_| answer(401, None));
        let mut request =
            Request::get("https://orders.test/").body(Full::new(Bytes::new())).unwrap();
        for field in fields {
            request.headers_mut().append(AUTHORIZATION, field.parse().unwrap());
        }
        server.clone().call(layer, request).await.unwrap();
        let arrived = server.arrived.lock().unwrap()[0].clone();
        arrived.authorization
    };
    // Kept: it is the caller's affair, a refusal included.
    assert_eq!(send(&layer, &["Basic x"]).await, ["Basic x"]);
    assert_eq!(transport.request_count(), 0);
    // Replaced, all of them.
    let layer = layer.replace_existing();
    assert_eq!(send(&layer, &["Basic x"]).await, ["Bearer t1"]);
    assert_eq!(send(&layer, &["Basic x", "Bearer y"]).await, ["Bearer t2"]);
    assert_eq!(send(&layer, &[]).await, ["Bearer t2"]);
}

// E15: a proof for another token isn't sent along, be it of a request that is passed on.
#[tokio::test(start_paused = true)]
async fn e15_the_proof_of_another_token_is_removed() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let place = Arc::clone(&seen);
    let service = service_fn(move |request: Request<ReplayBody<Full<Bytes>>>| {
        place.lock().unwrap().push(request.headers().get_all("dpop").iter().count());
        std::future::ready(Ok::<_, Infallible>(Response::new(String::new())))
    });
    let layer = layer(source(&counting(600)));
    let incoming = |authorization: Option<&str>| {
        let request = Request::get("https://orders.test/").header("dpop", "a").header("dpop", "b");
        let request = match authorization {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        };
        request.body(Full::new(Bytes::new())).unwrap()
    };
    for (layer, authorization) in [
        (layer.clone().replace_existing(), Some("DPoP x")),
        (layer.clone().replace_existing(), None),
        (layer.clone(), None),
        // The twin: what isn't touched is sent as it is.
        (layer, Some("DPoP x")),
    ] {
        layer.layer(service.clone()).oneshot(incoming(authorization)).await.unwrap();
    }
    assert_eq!(*seen.lock().unwrap(), [0, 0, 0, 2]);
}

// E10
#[tokio::test(start_paused = true)]
async fn e10_a_refused_token_is_replaced_once() {
    // FC12: the second is Microsoft Graph's.
    for challenge in [
        None,
        Some(r#"Bearer realm="", authorization_uri="https://login.test/authorize", client_id="1""#),
        Some("Bearer"),
        Some(r#"Bearer realm="a", error="invalid_token""#),
    ] {
        let server = Server::accepting("t2", challenge);
        let layer = layer(source(&counting(600)));
        let request = Request::post("https://orders.test/").header("x-a", "b");
        let request = request.body(Full::new(Bytes::from_static(b"{\"n\":1}"))).unwrap();
        let answer = server.clone().call(&layer, request).await.unwrap();
        assert_eq!(answer.body(), "welcome");
        let arrived = server.arrived.lock().unwrap().clone();
        let expected = |token: &str| Arrived {
            authorization: vec![format!("Bearer {token}")],
            body: "{\"n\":1}".into(),
        };
        assert_eq!(arrived, [expected("t1"), expected("t2")]);
        // From now on it is the new one.
        assert_eq!(server.get(&layer, "https://orders.test/").await.unwrap(), 200);
        assert_eq!(server.tokens(), ["t1", "t2", "t2"]);
    }
}

// E10: never on 403, never for what isn't the token's fault.
#[tokio::test(start_paused = true)]
async fn e10_other_refusals_are_passed_on() {
    for (status, challenge) in [
        (403, None),
        (403, Some(r#"Bearer error="invalid_token""#)),
        (401, Some(r#"Bearer error="insufficient_scope", scope="a""#)),
        (401, Some("Basic realm=\"a\"")),
        (400, Some(r#"Bearer error="invalid_request""#)),
        (407, None),
        (500, None),
        (503, None),
    ] {
        let transport = counting(600);
        let server = Server::new(move |_| answer(status, challenge));
        let layer = layer(source(&transport));
        assert_eq!(server.get(&layer, "https://orders.test/").await.unwrap(), status);
        assert_eq!(server.tokens(), ["t1"], "{status} {challenge:?}");
        assert_eq!(transport.request_count(), 1);
    }
}

// E11: the second answer is passed on, and a server that refuses every token doesn't double the
// load on the authorization server.
#[tokio::test(start_paused = true)]
async fn e11_a_second_refusal_is_the_answer_and_there_is_no_loop() {
    let transport = counting(6_000);
    let server = Server::new(|arrived| {
        answer(401, (arrived.authorization == ["Bearer t2"]).then_some("Bearer x=\"second\""))
    });
    let layer = layer(source(&transport));
    let request = Request::get("https://orders.test/").body(Full::new(Bytes::new())).unwrap();
    let second = server.clone().call(&layer, request).await.unwrap();
    assert_eq!(second.headers()[WWW_AUTHENTICATE], "Bearer x=\"second\"");
    for _ in 0..20 {
        assert_eq!(server.get(&layer, "https://orders.test/").await.unwrap(), 401);
    }
    assert_eq!(transport.request_count(), 2);
    let server = Server::new(|_| answer(401, None));
    for _ in 0..600 {
        server.get(&layer, "https://orders.test/").await.unwrap();
        tokio::time::advance(SECOND).await;
    }
    let count = transport.request_count();
    assert!((10..=23).contains(&count), "ten minutes: {count}");
}

// E10: if there is no other token, the refusal is the answer.
#[tokio::test(start_paused = true)]
async fn e10_without_another_token_the_first_answer_stands() {
    let transport = ScriptedTransport::new();
    transport.push(granted("t1", 600));
    let server = Server::accepting("t2", None);
    let layer = layer(source(&transport));
    assert_eq!(server.get(&layer, "https://orders.test/").await.unwrap(), 401);
    assert_eq!(server.tokens(), ["t1"]);
    // The same again is no other.
    let transport = ScriptedTransport::from_fn(|_| granted("t1", 600));
    let layer = self::layer(source(&transport));
    assert_eq!(server.get(&layer, "https://orders.test/").await.unwrap(), 401);
    assert_eq!(server.tokens(), ["t1", "t1"]);
    assert_eq!(transport.request_count(), 2);
}

// E10: a body that is too long to keep isn't sent again, but the next request has a new token.
#[tokio::test(start_paused = true)]
async fn e10_a_long_body_is_sent_once() {
    for (length, limit, status) in [(64, 64, 200), (65, 64, 401), (1, 0, 401), (0, 0, 200)] {
        let server = Server::accepting("t2", None);
        let layer = layer(source(&counting(600))).replay_up_to(limit);
        let request = Request::post("https://orders.test/");
        let request = request.body(Full::new(Bytes::from(vec![b'x'; length]))).unwrap();
        let answer = server.clone().call(&layer, request).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{length} of {limit}");
        assert_eq!(server.get(&layer, "https://orders.test/").await.unwrap(), 200);
        assert_eq!(server.tokens().last().unwrap(), "t2");
    }
}

// E10: where the request can't be sent again, nobody waits for another token.
#[tokio::test(start_paused = true)]
async fn e10_the_answer_to_a_long_body_does_not_wait_for_another_token() {
    for (limit, expected) in [(1, Some(401)), (2, None)] {
        let transport = ScriptedTransport::new();
        transport.push(granted("t1", 600));
        let (answer, _gate) = granted("t2", 600).gated();
        transport.push(answer);
        let server = Server::accepting("t2", None);
        let layer = layer(source(&transport)).replay_up_to(limit);
        let request = Request::post("https://orders.test/").body(Full::new(Bytes::from("xy")));
        let call = server.clone().call(&layer, request.unwrap());
        let answer = tokio::time::timeout(SECOND, call).await.ok();
        assert_eq!(answer.map(|answer| answer.unwrap().status().as_u16()), expected, "{limit}");
    }
}

// E10: a stream is sent again as far as it went, and then goes on.
#[tokio::test(start_paused = true)]
async fn e10_a_stream_that_was_refused_early_goes_on() {
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let body = StreamBody::new(stream);
    type Inner = StreamBody<
        tokio_stream::wrappers::ReceiverStream<Result<http_body::Frame<Bytes>, Infallible>>,
    >;
    // Answers the first request before its body is complete, as servers do that refuse by the head.
    let service = service_fn(|request: Request<ReplayBody<Inner>>| async move {
        if request.headers()[AUTHORIZATION] == "Bearer t1" {
            let mut body = request.into_body();
            body.frame().await.unwrap()?;
            return Ok::<_, BoxError>(answer(401, None));
        }
        let body = request.into_body().collect().await?.to_bytes();
        Ok(Response::new(String::from_utf8(body.to_vec())?))
    });
    let call = layer(source(&counting(600)))
        .layer(service)
        .oneshot(Request::post("https://orders.test/").body(body).unwrap());
    let call = tokio::spawn(call);
    let send = async |text: &'static str| {
        sender.send(Ok(http_body::Frame::data(Bytes::from_static(text.as_bytes())))).await.unwrap();
    };
    send("one ").await;
    settle().await;
    send("two ").await;
    send("three").await;
    drop(sender);
    assert_eq!(call.await.unwrap().unwrap().body(), "one two three");
}

/// Panics if it is called without having been ready, as many services do.
#[derive(Default)]
struct Fussy {
    ready: bool,
    polled: Arc<Mutex<u32>>,
}

impl Clone for Fussy {
    fn clone(&self) -> Self {
        Self { ready: false, polled: Arc::clone(&self.polled) }
    }
}

impl Service<Request<ReplayBody<Full<Bytes>>>> for Fussy {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        *self.polled.lock().unwrap() += 1;
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReplayBody<Full<Bytes>>>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "it wasn't ready");
        let good = request.headers()[AUTHORIZATION] == "Bearer t2";
        std::future::ready(Ok(answer(if good { 200 } else { 401 }, None)))
    }
}

// The service that was ready is the one that is called, for the second request too.
#[tokio::test(start_paused = true)]
async fn only_a_service_that_is_ready_is_called() {
    let inner = Fussy::default();
    let polled = Arc::clone(&inner.polled);
    let mut service = layer(source(&counting(600))).layer(inner);
    for _ in 0..2 {
        let request = Request::get("https://orders.test/").body(Full::new(Bytes::new())).unwrap();
        let answer = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    // The first request was sent twice, and first waited for its token.
    assert_eq!(*polled.lock().unwrap(), 4);
}

/// A limit of so many requests at a time, which all services within it share.
fn limited(permits: usize) -> GlobalConcurrencyLimitLayer {
    GlobalConcurrencyLimitLayer::new(permits)
}

type Answered = std::future::Ready<Result<Response<String>, Infallible>>;
type Welcome = ServiceFn<fn(Request<ReplayBody<Full<Bytes>>>) -> Answered>;

fn welcome() -> Welcome {
    service_fn(|_| std::future::ready(Ok(Response::new(String::new()))))
}

fn get(uri: &str) -> Request<Full<Bytes>> {
    Request::get(uri).body(Full::new(Bytes::new())).unwrap()
}

// What waits for a token holds no permit that another tenant's request needs.
#[tokio::test(start_paused = true)]
async fn e10_a_request_without_a_token_holds_nothing_of_the_service() {
    let transport = ScriptedTransport::new();
    let (answer, gate) = granted("a1", 600).gated();
    transport.push(answer);
    let limit = limited(2);
    let a = layer(source(&transport)).layer(limit.layer(welcome()));
    let tokens = source(&counting(600));
    token(&tokens).await;
    let b = layer(tokens).layer(limit.layer(welcome()));
    let waiting: Vec<_> =
        (0..10).map(|_| tokio::spawn(a.clone().oneshot(get("https://orders.test/")))).collect();
    settle().await;
    assert!(waiting.iter().all(|call| !call.is_finished()));
    for _ in 0..3 {
        let call = b.clone().oneshot(get("https://orders.test/"));
        let answer = tokio::time::timeout(SECOND, call).await.expect("it has a token");
        assert_eq!(answer.unwrap().status(), 200);
    }
    // The twin: with a token, all are sent, two at a time.
    gate.open();
    for call in waiting {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
}

// With its token, a request waits for a permit as any other does.
#[tokio::test(start_paused = true)]
async fn e10_a_request_that_has_its_token_waits_until_the_service_is_ready() {
    let transport = ScriptedTransport::new();
    let (answer, gate) = granted("t1", 600).gated();
    transport.push(answer);
    let limit = limited(1);
    let service = layer(source(&transport)).layer(limit.layer(welcome()));
    let mut call = tokio_test::task::spawn(service.oneshot(get("https://orders.test/")));
    assert!(call.poll().is_pending());
    let mut other = limit.layer(welcome());
    other.ready().await.unwrap();
    gate.open();
    for _ in 0..3 {
        settle().await;
        assert!(call.poll().is_pending());
    }
    drop(other);
    assert_eq!(call.await.unwrap().status(), 200);
}

// Nor does one that is refused: the service gives back what it reserved.
#[tokio::test(start_paused = true)]
async fn e13_a_refused_request_leaves_the_service_unready() {
    let limit = limited(1);
    let mut service = layer(source(&counting(600))).layer(limit.layer(welcome()));
    service.ready().await.unwrap();
    service.call(get("https://evil.test/")).await.unwrap_err();
    let mut other = limit.layer(welcome());
    tokio::time::timeout(SECOND, other.ready()).await.expect("the permit is free").unwrap();
}

// P8, and no await where none is needed.
#[tokio::test(start_paused = true)]
async fn with_a_kept_token_the_request_is_sent_at_once() {
    let tokens = source(&counting(600));
    token(&tokens).await;
    let service = service_fn(|request: Request<ReplayBody<Full<Bytes>>>| {
        assert!(request.headers()[AUTHORIZATION].is_sensitive());
        std::future::ready(Ok::<_, Infallible>(Response::new(String::new())))
    });
    let mut service = layer(tokens).layer(service);
    let request = Request::get("https://orders.test/").body(Full::new(Bytes::new())).unwrap();
    assert!(tokio_test::task::spawn(service.call(request)).poll().is_ready());
}

#[tokio::test(start_paused = true)]
async fn the_services_own_error_is_passed_on() {
    let service = service_fn(|_: Request<ReplayBody<Full<Bytes>>>| async {
        Err::<Response<String>, _>(std::io::Error::other("broken pipe"))
    });
    let service = layer(source(&counting(600))).layer(service);
    let request = Request::get("https://orders.test/").body(Full::new(Bytes::new())).unwrap();
    let error = service.oneshot(request).await.unwrap_err();
    assert!(matches!(&error, SendError::Service(error) if error.is::<std::io::Error>()));
    assert_eq!(error.to_string(), "broken pipe");
}

// As tower's own layers have them, and as whoever stacks layers on this one wants them.
#[tokio::test(start_paused = true)]
async fn boxed_errors_go_in_and_come_out() {
    let silent = service_fn(|_: Request<ReplayBody<Full<Bytes>>>| {
        std::future::pending::<Result<Response<String>, Infallible>>()
    });
    let service = tower::ServiceBuilder::new()
        .map_err(BoxError::from)
        .layer(layer(source(&counting(600))))
        .layer(tower::timeout::TimeoutLayer::new(SECOND))
        .service(silent);
    let request = Request::get("https://orders.test/").body(Full::new(Bytes::new())).unwrap();
    let error: BoxError = service.oneshot(request).await.unwrap_err();
    let Some(SendError::Service(cause)) = error.downcast_ref() else { panic!("{error}") };
    assert!(cause.is::<tower::timeout::error::Elapsed>());
}
