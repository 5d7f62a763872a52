//! Responses end with their token.
#![cfg(feature = "test-util")]

mod world;

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty};
use serde_json::json;
use tokio::sync::mpsc;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_bearer::jwks::Jwks;
use tower_bearer::middleware::{DeadlineBody, DeadlineError, ResponseBody, StreamDeadlineLayer};
use tower_bearer::testing::ManualClock;
use tower_bearer::{AccessToken, BearerAuthLayer, Clock as _, UnixTime, Validator};
use world::{AUDIENCE, ISSUER, Issuer, bearer, now};

/// How long a token lasts, with the leeway.
const LASTS: Duration = Duration::from_secs(600 + 60);

/// An issuer, its validator, and the clock that it goes by.
struct World {
    issuer: Issuer,
    clock: ManualClock,
    layer: BearerAuthLayer,
}

impl World {
    /// The clock runs with tokio's, which is paused.
    fn new() -> Self {
        Self::at(ManualClock::running(UnixTime::from_secs(now().try_into().unwrap())))
    }

    fn at(clock: ManualClock) -> Self {
        let issuer = Issuer::new();
        let keys = Jwks::static_set(ISSUER, &issuer.jwks_json()).unwrap();
        let validator = Validator::builder(ISSUER, AUDIENCE).keys(keys).clock(clock.clone());
        let layer = BearerAuthLayer::new(validator.build().unwrap());
        Self { issuer, clock, layer }
    }

    /// A token that ends in [`LASTS`].
    fn token(&self) -> String {
        self.token_for(600)
    }

    fn token_for(&self, seconds: i64) -> String {
        let now = self.clock.now().as_secs();
        self.issuer.token_with(json!({ "exp": now + seconds, "iat": now }))
    }

    fn request(&self, content_type: &str) -> Request<Empty<Bytes>> {
        let request = Request::post("/").header("authorization", bearer(&self.token()));
        request.header("content-type", content_type).body(Empty::new()).unwrap()
    }

    /// The body of an answer that gives what is sent.
    async fn stream(
        &self,
        content_type: &'static str,
        deadline: StreamDeadlineLayer,
        length: Option<u64>,
    ) -> (mpsc::UnboundedSender<Bytes>, Answered) {
        let (sender, frames) = mpsc::unbounded_channel();
        let body = Source { frames, length };
        let body = Arc::new(Mutex::new(Some(body)));
        let inner = service_fn(move |_: Request<DeadlineBody<Empty<Bytes>>>| {
            let response = Response::builder().header("content-type", content_type);
            let body = body.lock().unwrap().take().unwrap();
            async move { Ok::<_, Infallible>(response.body(body).unwrap()) }
        });
        let service = self.layer.layer(deadline.layer(inner));
        let response = service.oneshot(self.request(content_type)).await.unwrap();
        assert_eq!(response.status(), 200);
        (sender, Box::pin(response.into_body()))
    }
}

/// A body that gives what is sent to it.
struct Source {
    frames: mpsc::UnboundedReceiver<Bytes>,
    length: Option<u64>,
}

impl Body for Source {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.frames.poll_recv(cx).map(|data| data.map(|data| Ok(Frame::data(data))))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// The body of an answer; failures are those of the deadline alone.
type Answered = Pin<Box<ResponseBody<DeadlineBody<Source>>>>;

/// What a body gave: data, trailers, an error or its end.
#[derive(Debug, PartialEq)]
enum Seen {
    Data(&'static str),
    Trailers { code: String, reason: String },
    Expired,
    End,
}

async fn next(body: &mut Answered) -> Seen {
    match body.frame().await {
        None => Seen::End,
        Some(Err(DeadlineError::Expired)) => Seen::Expired,
        Some(Err(error)) => panic!("{error}"),
        Some(Ok(frame)) => match frame.into_data() {
            Ok(data) => Seen::Data(String::from_utf8(data.to_vec()).unwrap().leak()),
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap();
                let code = trailers["grpc-status"].to_str().unwrap().to_owned();
                let details = trailers["grpc-status-details-bin"].as_bytes();
                let details = STANDARD_NO_PAD.decode(details).unwrap();
                let reason = String::from_utf8_lossy(&details);
                let reason = reason.contains("ACCESS_TOKEN_EXPIRED").then_some("expired");
                Seen::Trailers { code, reason: reason.unwrap_or("other").to_owned() }
            }
        },
    }
}

fn is_waiting(body: &mut Answered) -> bool {
    body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())).is_pending()
}

// ST1, ST2: the trailers of an expired token, at `exp` and the leeway, not sooner; what the handler
// holds is dropped.
#[tokio::test(start_paused = true)]
async fn st2_a_grpc_stream_ends_with_its_tokens_trailers() {
    let world = World::new();
    for content_type in ["application/grpc", "application/grpc+proto"] {
        let begun = world.clock.now();
        let (sender, mut body) = world.stream(content_type, StreamDeadlineLayer::new(), None).await;
        sender.send(Bytes::from("one")).unwrap();
        assert_eq!(next(&mut body).await, Seen::Data("one"));
        tokio::time::sleep(LASTS - Duration::from_secs(2)).await;
        sender.send(Bytes::from("two")).unwrap();
        assert_eq!(next(&mut body).await, Seen::Data("two"));
        assert!(!sender.is_closed());

        let trailers = Seen::Trailers { code: "16".to_owned(), reason: "expired".to_owned() };
        assert_eq!(next(&mut body).await, trailers);
        let lasted = world.clock.now().saturating_since(begun);
        assert!(lasted >= LASTS && lasted <= LASTS + Duration::from_secs(1), "{lasted:?}");
        assert!(sender.is_closed());
        assert_eq!(next(&mut body).await, Seen::End);
    }
}

// ST2: a handler that reads the request in a task of its own is told, by an error: the end of the
// body would look like the end of the call.
#[tokio::test(start_paused = true)]
async fn st2_a_grpc_requests_body_ends_with_an_error() {
    let world = World::new();
    for (content_type, expected) in
        [("application/grpc", Seen::Expired), ("application/json", Seen::Data("late"))]
    {
        let (sender, frames) = mpsc::unbounded_channel();
        let (tell, mut told) = mpsc::unbounded_channel();
        let inner = service_fn(move |request: Request<DeadlineBody<Source>>| {
            tell.send(request.into_body()).unwrap();
            async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
        });
        let service = world.layer.layer(StreamDeadlineLayer::new().layer(inner));
        let request = world.request(content_type).map(|_| Source { frames, length: None });
        let _response = service.oneshot(request).await.unwrap();
        let mut body = told.recv().await.unwrap();
        sender.send(Bytes::from("one")).unwrap();
        let one = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(one, "one");
        tokio::spawn(async move {
            tokio::time::sleep(LASTS + Duration::from_secs(1)).await;
            let _dropped = sender.send(Bytes::from("late"));
        });
        let seen = match body.frame().await.unwrap() {
            Ok(frame) => {
                assert_eq!(frame.into_data().unwrap(), "late");
                Seen::Data("late")
            }
            Err(DeadlineError::Expired) => Seen::Expired,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(seen, expected);
    }
}

// ST3: EventSource comes back after a clean end. The last event never cuts into another.
#[tokio::test(start_paused = true)]
async fn st3_an_event_stream_ends_cleanly() {
    let world = World::new();
    let with_event = || StreamDeadlineLayer::new().last_event("token_expired").unwrap();
    let last = Seen::Data("event: token_expired\ndata:\n\n");
    for (layer, sent, expected) in [
        (StreamDeadlineLayer::new(), "data: 1\n\n", Seen::End),
        (with_event(), "data: 1\n\n", last),
        (with_event(), "data: 1\n", Seen::End),
    ] {
        let content_type = "text/event-stream; charset=utf-8";
        let (sender, mut body) = world.stream(content_type, layer, None).await;
        sender.send(Bytes::from(sent)).unwrap();
        assert_eq!(next(&mut body).await, Seen::Data(sent));
        assert!(is_waiting(&mut body));
        assert_eq!(next(&mut body).await, expected);
        assert_eq!(next(&mut body).await, Seen::End);
        assert!(body.is_end_stream() && sender.is_closed());
    }
}

#[test]
fn the_name_of_the_last_event_is_one_line() {
    for name in ["", "a\nb", "a\rb", "a\0"] {
        let error = StreamDeadlineLayer::new().last_event(name).unwrap_err();
        assert!(error.to_string().contains("token_expired"), "{error}");
    }
    assert!(StreamDeadlineLayer::new().last_event("token_expired").is_ok());
}

// ST4: what must not look complete ends with an error; what has a length goes on.
#[tokio::test(start_paused = true)]
async fn st4_downloads_end_by_choice() {
    let world = World::new();
    let aborting = || StreamDeadlineLayer::new().abort_downloads();
    let finishing = || StreamDeadlineLayer::new().finish_streams();
    for (layer, length, expected) in [
        (StreamDeadlineLayer::new(), None, Seen::Expired),
        (StreamDeadlineLayer::new(), Some(6), Seen::Data("two")),
        (aborting(), Some(6), Seen::Expired),
        (finishing(), None, Seen::Data("two")),
        (finishing(), Some(6), Seen::Data("two")),
    ] {
        let what = format!("{layer:?} {length:?}");
        let (sender, mut body) = world.stream("application/octet-stream", layer, length).await;
        assert_eq!(body.size_hint().exact(), length);
        sender.send(Bytes::from("one")).unwrap();
        assert_eq!(next(&mut body).await, Seen::Data("one"));
        tokio::spawn(async move {
            tokio::time::sleep(LASTS + Duration::from_secs(1)).await;
            let _dropped = sender.send(Bytes::from("two"));
        });
        assert_eq!(next(&mut body).await, expected, "{what}");
        assert_eq!(next(&mut body).await, Seen::End, "{what}");
    }
}

// A body that is always ready, and never waits, ends as well.
#[tokio::test(start_paused = true)]
async fn st1_a_body_that_never_waits_is_cut() {
    let world = World::new();
    let (sender, mut body) =
        world.stream("application/grpc", StreamDeadlineLayer::new(), None).await;
    for _ in 0..4 {
        sender.send(Bytes::from("x")).unwrap();
    }
    assert_eq!(next(&mut body).await, Seen::Data("x"));
    tokio::time::sleep(LASTS + Duration::from_secs(1)).await;
    assert!(matches!(next(&mut body).await, Seen::Trailers { .. }));
    assert_eq!(next(&mut body).await, Seen::End);
}

// ST9: the wall clock decides, and is looked at every minute.
#[tokio::test(start_paused = true)]
async fn st9_a_clock_that_jumps_moves_the_end() {
    let world = World::new();
    let (_sender, mut body) =
        world.stream("text/event-stream", StreamDeadlineLayer::new(), None).await;
    assert!(is_waiting(&mut body));
    world.clock.set(world.clock.now().plus(LASTS));
    let seen = tokio::time::timeout(Duration::from_secs(61), next(&mut body)).await;
    assert_eq!(seen.unwrap(), Seen::End);

    let (_sender, mut body) =
        world.stream("text/event-stream", StreamDeadlineLayer::new(), None).await;
    assert!(is_waiting(&mut body));
    tokio::time::sleep(LASTS - Duration::from_secs(30)).await;
    world.clock.set(world.clock.now().minus(Duration::from_secs(300)));
    let seen = tokio::time::timeout(Duration::from_secs(320), next(&mut body)).await;
    seen.unwrap_err();
    let seen = tokio::time::timeout(Duration::from_secs(20), next(&mut body)).await;
    assert_eq!(seen.unwrap(), Seen::End);
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

// ST8, ST10: streams that wait are woken once, at their end, by one task, which ends with the last of
// them.
#[tokio::test(start_paused = true)]
async fn st8_idle_streams_are_not_woken() {
    let world = World::new();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let inner = service_fn(|_: Request<DeadlineBody<Empty<Bytes>>>| {
        let body = http_body_util::combinators::BoxBody::new(Endless);
        let response = Response::builder().header("content-type", "text/event-stream");
        std::future::ready(Ok::<_, Infallible>(response.body(body).unwrap()))
    });
    let service = world.layer.layer(StreamDeadlineLayer::new().layer(inner));
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut streams = Vec::new();
    for _ in 0..1_000 {
        let request = world.request("text/plain");
        let mut body = Box::pin(service.clone().oneshot(request).await.unwrap().into_body());
        assert!(body.as_mut().poll_frame(&mut Context::from_waker(&waker)).is_pending());
        streams.push(body);
    }
    assert_eq!(tasks(), before + 1);
    tokio::time::sleep(LASTS - Duration::from_secs(1)).await;
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    streams.truncate(900);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(count.0.load(Ordering::Relaxed), 900);
    for body in &mut streams {
        let end = body.as_mut().poll_frame(&mut Context::from_waker(&waker));
        assert!(matches!(end, Poll::Ready(None)));
    }
    assert_eq!(tasks(), before);

    // Another stream starts the task again; when it is dropped, the task ends at once.
    let mut body =
        Box::pin(service.oneshot(world.request("text/plain")).await.unwrap().into_body());
    assert!(body.as_mut().poll_frame(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(tasks(), before + 1);
    drop(body);
    tokio::task::yield_now().await;
    assert_eq!(tasks(), before);
}

/// Returns how much of the process is in memory.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1_024
}

// ST8: what an idle stream holds beyond its own body.
#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn st8_an_idle_stream_holds_at_most_200_bytes() {
    const STREAMS: usize = 100_000;
    let world = World::new();
    let inner = service_fn(|_: Request<DeadlineBody<Empty<Bytes>>>| {
        let response = Response::builder().header("content-type", "text/event-stream");
        std::future::ready(Ok::<_, Infallible>(response.body(Endless).unwrap()))
    });
    let service = world.layer.layer(StreamDeadlineLayer::new().layer(inner));
    let token = bearer(&world.token());
    let request = || world::get("/", &[("authorization", &token)]);
    let open = async || {
        let mut body = service.clone().oneshot(request()).await.unwrap().into_body();
        let mut pinned = Pin::new(&mut body);
        assert!(pinned.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())).is_pending());
        body
    };
    let mut streams = Vec::with_capacity(STREAMS);
    // What the first ones need, all need.
    for _ in 0..1_000 {
        streams.push(open().await);
    }
    let before = resident();
    while streams.len() < STREAMS {
        streams.push(open().await);
    }
    // The place in the list is the body itself, which isn't touched before.
    let each = (resident() - before) / (STREAMS - 1_000) - size_of::<ResponseBody<Endless>>();
    assert!(each <= 200, "{each} bytes");
}

struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

// Without the layer that checks tokens, nothing would ever end: the operator is told.
#[tokio::test]
async fn without_a_bearer_layer_it_is_a_fault() {
    let inner = world::Inner::default();
    let service = StreamDeadlineLayer::new().layer(inner.clone());
    let answer = world::send(&service, world::get("/", &[])).await;
    assert_eq!((answer.status(), inner.calls()), (500, 0));

    let world = World::new();
    let service = world.layer.layer(StreamDeadlineLayer::new().layer(inner.clone()));
    let request = world::get("/", &[("authorization", &bearer(&world.token()))]);
    let answer = world::send(&service, request).await;
    assert_eq!((answer.status(), answer.body(), inner.calls()), (200, "inner", 1));
}

// A route that needs no token has no deadline.
#[tokio::test(start_paused = true)]
async fn a_request_without_a_token_has_no_deadline() {
    let world = World::new();
    let layer = world.layer.clone().fallback(tower_bearer::Access::optional()).unwrap();
    let inner = service_fn(|_: Request<DeadlineBody<Empty<Bytes>>>| {
        std::future::ready(Ok::<_, Infallible>(Response::new(Endless)))
    });
    let service = layer.layer(StreamDeadlineLayer::new().layer(inner));
    let response = service.oneshot(world::get("/", &[])).await.unwrap();
    let read = pin!(response.into_body().collect());
    tokio::time::timeout(LASTS * 10, read).await.unwrap_err();
}

// ST6: what a WebSocket waits for.
#[tokio::test(start_paused = true)]
async fn st6_a_token_tells_when_it_has_expired() {
    let world = World::new();
    let keys = Jwks::static_set(ISSUER, &world.issuer.jwks_json()).unwrap();
    let builder = Validator::builder(ISSUER, AUDIENCE).keys(keys).clock(world.clock.clone());
    let validator = builder.build().unwrap();
    let begun = world.clock.now();
    let token: AccessToken = validator.validate(&world.token_for(100)).await.unwrap();
    tokio::time::timeout(Duration::from_secs(159), token.expired()).await.unwrap_err();
    token.expired().await;
    let lasted = world.clock.now().saturating_since(begun).as_secs();
    assert_eq!(lasted, 160);
    // And at once from then on.
    poll_fn(|cx| pin!(token.expired()).poll(cx)).await;
}
