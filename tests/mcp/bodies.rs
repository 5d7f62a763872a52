//! How a message is read: within bounds, in one way only, and handed on byte for byte.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use serde_json::json;
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer as _, Service, ServiceExt as _};
use tower_bearer::jwks::Jwks;
use tower_bearer::testing::ManualClock;
use tower_bearer::{BearerAuthLayer, Refusal, RejectionKind, UnixTime, Validator};

use crate::stub::{App, Frames, Server, app, call, guard, message, post};
use crate::world::{AUDIENCE, Answer, ISSUER, Issuer, send};

const ALL: &str = "mcp:use mcp:danger";

fn text(body: impl Into<Bytes>) -> Full<Bytes> {
    Full::new(body.into())
}

/// Sends bytes with a token for `add` only.
async fn ask(app: &App, issuer: &Issuer, body: impl Into<Bytes>) -> Answer {
    send(app, post(&issuer.token("mcp:use"), text(body))).await
}

// MC25: never a tool without its scope, never a 500.
#[tokio::test]
async fn mc25_bodies_that_two_readers_read_differently_are_refused() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let app = app(&issuer, guard(), &server);
    let (add, wipe) = (call("add"), call("wipe"));
    let double = |first: &str, second: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{first},{second}}}}}"#)
    };
    for body in [
        format!("[{add},{wipe}]"),
        format!("[{add}]"),
        double(r#""name":"add""#, r#""name":"wipe""#),
        double(r#""name":"wipe""#, r#""name":"add""#),
        double(r#""name":"add""#, r#""n\u0061me":"wipe""#),
        double(r#""name":"add""#, r#""NAME":"wipe""#),
        double(r#""name":["add"]"#, r#""x":1"#),
        double(r#""name":7"#, r#""x":1"#),
        add.replacen("\"id\":1", "\"method\":\"tools/list\"", 1),
        add.replacen("\"id\":1", "\"m\\u0065thod\":\"tools/list\"", 1),
        add.replacen("\"id\":1", "\"params\":{\"name\":\"wipe\"}", 1),
        format!("\u{feff}{add}"),
        format!("{add}{wipe}"),
        format!("{add}\0"),
        add.replace("\"2.0\"", "2"),
        String::new(),
        "{".into(),
        "null".into(),
    ] {
        let answer = ask(&app, &issuer, body.clone()).await;
        assert_eq!(answer.kind(), Some(RejectionKind::MalformedMessage), "{body:?}");
        assert_eq!(answer.status(), 400);
        assert!(!answer.body().contains("wipe"), "it isn't echoed");
    }
    let utf_16: Vec<u8> = wipe.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for body in [utf_16, add.replace("add", "\u{1}").into_bytes(), b"{\"\xff\":1}".to_vec()] {
        assert_eq!(ask(&app, &issuer, body).await.status(), 400);
    }
    let odd =
        [("content-type", "text/plain"), ("content-type", "application/json; charset=utf-16")];
    for (name, value) in odd.into_iter().chain([("content-encoding", "gzip")]) {
        let mut request = post(&issuer.token(ALL), text(add.clone()));
        request.headers_mut().insert(name, value.parse().unwrap());
        assert_eq!(send(&app, request).await.status(), 400, "{name}: {value}");
    }
    assert_eq!(server.count(), 0);
    assert_eq!(ask(&app, &issuer, add).await.status(), 200);
}

// MC21, MC22, MC23: whatever the fields say, the body decides, unless the server is said to check them
// and the protocol's version makes it.
#[tokio::test]
async fn mc21_mc22_mc23_fields_that_lie_give_nobody_a_tool() {
    let (issuer, server) = (Issuer::new(), Server::new());
    for version in [None, Some("2024-11-05"), Some("2025-11-25"), Some("2026-07-28"), Some("x")] {
        for trusts in [false, true] {
            let guard = if trusts { guard().dangerous_trust_headers() } else { guard() };
            let app = app(&issuer, guard, &server);
            let lie = |of: &str, is: &str| {
                let mut request = post(&issuer.token("mcp:use"), text(call(is)));
                let fields = request.headers_mut();
                fields.insert("mcp-method", "tools/call".parse().unwrap());
                fields.insert("mcp-name", of.parse().unwrap());
                if let Some(version) = version {
                    fields.insert("mcp-protocol-version", version.parse().unwrap());
                }
                request
            };
            let by_fields = trusts && version == Some("2026-07-28");
            let answer = send(&app, lie("add", "wipe")).await;
            // Then it is the server that refuses: it was said to.
            assert_eq!(answer.status(), if by_fields { 200 } else { 403 }, "{version:?} {trusts}");
            let answer = send(&app, lie("wipe", "add")).await;
            assert_eq!(answer.status(), if by_fields { 403 } else { 200 }, "{version:?} {trusts}");
            server.take();
        }
    }
}

// MC24
#[tokio::test]
async fn mc24_a_name_in_bad_base64_is_refused_and_a_body_isnt_read_for_a_good_one() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let app = app(&issuer, guard().dangerous_trust_headers(), &server);
    let ask = |name: &str, body: Frames| {
        let mut request = post(&issuer.token("mcp:use"), body);
        for (field, value) in [
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", name),
        ] {
            request.headers_mut().insert(field, value.parse().unwrap());
        }
        send(&app, request)
    };
    assert_eq!(ask("=?base64?YWRk?=", Frames::of([&b"whatever"[..]])).await.status(), 200);
    assert_eq!(server.take().unwrap().body, "whatever");
    assert_eq!(ask("=?base64?d2lwZQ==?=", Frames::of([])).await.status(), 403);
    for bad in ["=?base64?YWRk", "=?base64?Y!Rk?=", "=?BASE64?YWRk?="] {
        assert_eq!(ask(bad, Frames::of([])).await.status(), 400, "{bad}");
    }
    assert_eq!(server.count(), 0);
}

// MC22: the bytes that came are those that go on, with what came after them.
#[tokio::test]
async fn mc22_the_server_gets_the_exact_bytes_and_trailers() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let app = app(&issuer, guard(), &server);
    let body = format!(" \r\n\t{} \n", call("add").replace("add", "\\u0061dd"));
    let bytes = body.as_bytes();
    let trailers = || {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", "1".parse().unwrap());
        trailers
    };
    for cuts in [vec![], vec![5], vec![1, 2, 3], (1..bytes.len()).collect()] {
        let mut chunks = Vec::new();
        let mut from = 0;
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            chunks.push(&bytes[from..cut]);
            chunks.push(&[]);
            from = cut;
        }
        for with_trailers in [false, true] {
            let mut frames = Frames::of(chunks.clone());
            if with_trailers {
                frames = frames.and(Ok(Frame::trailers(trailers())));
            }
            let mut request = post(&issuer.token("mcp:use"), frames);
            request.headers_mut().insert("content-length", bytes.len().into());
            assert_eq!(send(&app, request).await.status(), 200);
            let seen = server.take().unwrap();
            assert_eq!(seen.body, body);
            assert_eq!(seen.trailers, with_trailers.then(trailers));
            assert_eq!(seen.parts.headers["content-length"], bytes.len().to_string());
        }
    }
    // What isn't read is handed on as well.
    let frames = Frames::of([&b"a"[..], b"b"]).and(Ok(Frame::trailers(trailers())));
    let mut request = post(&issuer.token("mcp:use"), frames);
    *request.method_mut() = http::Method::PUT;
    assert_eq!(send(&app, request).await.status(), 200);
    let seen = server.take().unwrap();
    assert_eq!((&seen.body[..], seen.trailers), (&b"ab"[..], Some(trailers())));
}

// MC22: as much as is allowed, and not one byte more.
#[tokio::test]
async fn mc22_a_message_is_at_most_1_mib() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let app = app(&issuer, guard(), &server);
    let sized = |bytes: usize| {
        let call = call("add");
        let padding = " ".repeat(bytes - call.len());
        call + &padding
    };
    let token = issuer.token("mcp:use");
    for (bytes, expected) in [(1 << 20, 200), ((1 << 20) + 1, 413)] {
        let body = sized(bytes);
        assert_eq!(ask(&app, &issuer, body.clone()).await.status(), expected);
        let chunks = body.as_bytes().chunks(10_000);
        assert_eq!(send(&app, post(&token, Frames::of(chunks))).await.status(), expected);
        let mut announced = post(&token, text(body));
        announced.headers_mut().insert("content-length", bytes.into());
        assert_eq!(send(&app, announced).await.status(), expected);
    }
    assert_eq!(server.count(), 3);
    let small = crate::stub::app(&issuer, guard().max_message_bytes(100).unwrap(), &server);
    assert_eq!(ask(&small, &issuer, sized(100)).await.status(), 200);
    let answer = ask(&small, &issuer, sized(101)).await;
    assert_eq!(answer.kind(), Some(RejectionKind::MessageTooLarge));
    assert!(answer.challenge().is_empty());
}

/// A body that goes on for ever, ready or not.
struct Endless {
    byte: &'static [u8],
    is_ready: bool,
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.is_ready {
            true => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(self.byte))))),
            false => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

// MC22
#[allow(clippy::disallowed_methods, reason = "tokio's time is paused, and advanced by the test")]
#[tokio::test(start_paused = true)]
async fn mc22_endless_and_slow_messages_end() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let app = app(&issuer, guard(), &server);
    let token = issuer.token(ALL);
    let ask = |byte: &'static [u8], is_ready| send(&app, post(&token, Endless { byte, is_ready }));
    assert_eq!(ask(&[b' '; 4_096], true).await.status(), 413);
    // Empty frames don't keep the thread, and don't reset the time.
    let started = tokio::time::Instant::now();
    let frames_without_data = async {
        tokio::select! {
            biased;
            answer = ask(b"", true) => answer.status(),
            () = tokio::time::sleep(Duration::from_secs(60)) => 0,
        }
    };
    assert_eq!(advancing(frames_without_data).await, 408);
    assert_eq!(ask(b"", false).await.status(), 408);
    assert!(started.elapsed() >= Duration::from_secs(5));
    let broken = Frames::of([&b"{"[..]]).and(Err("broken"));
    let answer = send(&app, post(&token, broken)).await;
    assert_eq!(answer.kind(), Some(RejectionKind::MalformedMessage));
    assert_eq!(server.count(), 0);

    let quick = guard().message_timeout(Duration::from_millis(10)).unwrap();
    let app = crate::stub::app(&issuer, quick, &server);
    let started = tokio::time::Instant::now();
    let answer = send(&app, post(&token, Endless { byte: b"", is_ready: false })).await;
    assert_eq!(answer.kind(), Some(RejectionKind::MessageTimedOut));
    assert!(started.elapsed() < Duration::from_secs(1));
}

/// Runs a future that is always woken, while time goes on.
async fn advancing<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    loop {
        tokio::select! {
            biased;
            output = &mut future => return output,
            () = tokio::task::yield_now() => tokio::time::advance(Duration::from_millis(100)).await,
        }
    }
}

/// A body that comes when it is told to.
struct Later(tokio::sync::oneshot::Receiver<String>, bool);

impl Body for Later {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.1 {
            return Poll::Ready(None);
        }
        let Poll::Ready(body) = Pin::new(&mut self.0).poll(cx) else { return Poll::Pending };
        self.1 = true;
        Poll::Ready(Some(Ok(Frame::data(body.unwrap().into()))))
    }
}

// A request whose body is awaited holds nothing of the service within, and is decided when it came.
#[tokio::test]
async fn while_a_message_arrives_no_permit_is_held() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let limited = ConcurrencyLimitLayer::new(1).layer(server.clone());
    let app = issuer.layer().layer(guard().layer(limited));
    let token = issuer.token("mcp:use");
    for (body, expected) in [(call("add"), 200), (call("wipe"), 403), ("[]".into(), 400)] {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let mut waiting =
            tokio_test::task::spawn(app.clone().oneshot(post(&token, Later(receiver, false))));
        assert!(waiting.poll().is_pending());
        let mut other = app.clone();
        std::future::poll_fn(|cx| Service::<Request<Later>>::poll_ready(&mut other, cx))
            .await
            .unwrap();
        let get = {
            let mut request = post(&token, Later(tokio::sync::oneshot::channel().1, true));
            *request.method_mut() = http::Method::GET;
            request
        };
        assert_eq!(other.call(get).await.unwrap().status(), 200);
        server.take();
        sender.send(body.clone()).unwrap();
        let response: Response<_> = waiting.await.unwrap();
        assert_eq!(response.status(), expected, "{body}");
        assert_eq!(server.take().map(|seen| seen.body), (expected == 200).then(|| body.into()));
    }
}

// The token is looked at again when the message, or the server, took its time.
#[tokio::test(start_paused = true)]
async fn a_message_that_outlasts_its_token_is_refused() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let token = issuer.token_with(json!({ "scope": "mcp:use", "iat": 1_000, "exp": 1_060 }));
    for (seconds, status) in [(30, 200), (120, 401)] {
        for is_busy in [false, true] {
            let clock = ManualClock::new(UnixTime::from_secs(1_000));
            let keys = Jwks::static_set(ISSUER, &issuer.jwks_json()).unwrap();
            let validator = Validator::builder(ISSUER, AUDIENCE).keys(keys).clock(clock.clone());
            let limited = ConcurrencyLimitLayer::new(1).layer(server.clone());
            let layer = BearerAuthLayer::new(validator.build().unwrap());
            let app = layer.layer(guard().layer(limited));
            let (sender, receiver) = tokio::sync::oneshot::channel();
            let mut waiting =
                tokio_test::task::spawn(app.clone().oneshot(post(&token, Later(receiver, false))));
            assert!(waiting.poll().is_pending());
            let mut other = app.clone();
            if is_busy {
                std::future::poll_fn(|cx| Service::<Request<Later>>::poll_ready(&mut other, cx))
                    .await
                    .unwrap();
                sender.send(call("add")).unwrap();
                assert!(waiting.poll().is_pending());
                clock.advance(Duration::from_secs(seconds));
            } else {
                clock.advance(Duration::from_secs(seconds));
                sender.send(call("add")).unwrap();
            }
            drop(other);
            let response = waiting.await.unwrap();
            assert_eq!(response.status(), status, "{seconds} {is_busy}");
            assert_eq!(server.take().is_some(), status == 200);
            if status == 401 {
                let refusal = response.extensions().get::<Refusal>();
                let Some(Refusal::Rejection(rejection)) = refusal else { panic!("{refusal:?}") };
                assert_eq!(rejection.kind(), RejectionKind::Expired);
            }
        }
    }
}

#[tokio::test]
async fn params_may_come_first_and_hold_much() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let app = app(&issuer, guard(), &server);
    let arguments = format!(r#"{{"list":[{}0]}}"#, "{\"name\":\"wipe\"},".repeat(9_000));
    let body = format!(
        r#"{{"params":{{"_meta":{{"name":"wipe"}},"arguments":{arguments},"name":"add"}},"id":"x","method":"tools/call","jsonrpc":"2.0"}}"#
    );
    assert_eq!(ask(&app, &issuer, body.clone()).await.status(), 200);
    assert_eq!(server.take().unwrap().body, body);
    let other: Request<_> = post(&issuer.token("mcp:use"), text(message("x/y", "{\"name\":{}}")));
    assert_eq!(send(&app, other).await.status(), 200);
}
