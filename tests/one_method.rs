//! A request has one way to carry its token, the `Authorization` field (RFC 6750 §2): neither its URI nor its
//! form is one, so that it never carries two, nothing waits for a body, and no body is taken from the handler.
#![cfg(all(feature = "test-util", feature = "tracing", feature = "metrics"))]

mod world;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::BodyExt as _;
use tower::{Layer as _, service_fn};
use tower_bearer::{AccessToken, RejectionKind};
use world::{Answer, Inner, Issuer, bearer, get, send};

/// A body in pieces that counts how often it was asked for one. Without an end, it waits after the last.
struct Pieces {
    left: Vec<Bytes>,
    asked: Arc<AtomicUsize>,
    ends: bool,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.left.is_empty() {
            return if self.ends { Poll::Ready(None) } else { Poll::Pending };
        }
        Poll::Ready(Some(Ok(Frame::data(self.left.remove(0)))))
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

fn post(
    fields: &[(&str, &str)],
    pieces: &[&str],
    ends: bool,
) -> (Request<Pieces>, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let left = pieces.iter().map(|piece| Bytes::copy_from_slice(piece.as_bytes())).collect();
    let mut request = Request::post("/");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    (request.body(Pieces { left, asked: asked.clone(), ends }).unwrap(), asked)
}

fn is_no_credential(answer: &Answer) {
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.kind(), Some(RejectionKind::NoCredentials));
    assert_eq!(answer.challenge(), r#"Bearer realm="api""#, "RFC 6750 §3.1: no error");
}

// X7: the field decides, whatever else there is; another token beside it is neither taken for it nor a second
// one. Two fields are two.
#[tokio::test]
async fn x7_a_token_elsewhere_is_no_second_one_and_never_the_first() {
    let issuer = Issuer::new();
    let inner = Inner::default();
    let service = issuer.layer().layer(inner.clone());
    let (mine, other) =
        (issuer.token_with(serde_json::json!({ "sub": "mine" })), issuer.token("read"));
    let good = bearer(&mine);
    for elsewhere in [&*other, "garbage", "", "%FF"] {
        let path = format!("/?access_token={elsewhere}");
        let answer = send(&service, get(&path, &[("authorization", &good)])).await;
        assert_eq!(answer.status(), 200, "{elsewhere}");
        assert_eq!(inner.subject().as_deref(), Some("mine"));
        let form = format!("access_token={elsewhere}");
        let fields = [("authorization", &*good), ("content-type", FORM)];
        let answer = send(&service, post(&fields, &[&form], true).0).await;
        assert_eq!(answer.status(), 200, "{elsewhere}");
        assert_eq!(inner.subject().as_deref(), Some("mine"));
    }
    // A good one elsewhere helps no bad one.
    let calls = inner.calls();
    let bad = bearer("garbage");
    let path = format!("/?access_token={other}");
    let answer = send(&service, get(&path, &[("authorization", &bad)])).await;
    assert_eq!((answer.status(), answer.kind().is_some()), (401, true));
    let form = format!("access_token={other}");
    let fields = [("authorization", &*bad), ("content-type", FORM)];
    assert_eq!(send(&service, post(&fields, &[&form], true).0).await.status(), 401);
    let twice = [("authorization", &*good), ("authorization", &*good)];
    assert_eq!(send(&service, get("/", &twice)).await.status(), 400);
    assert_eq!(inner.calls(), calls);
}

// X9: a parameter is no credential, once or twice, so that no answer needs to be kept from caches for it: what
// the service says about that stands.
#[tokio::test]
async fn x9_a_parameter_is_no_credential_once_or_twice() {
    let issuer = Issuer::new();
    let inner = Inner::default();
    let service = issuer.layer().layer(inner.clone());
    let token = issuer.token("");
    for path in [
        format!("/?access_token={token}"),
        format!("/?access_token={token}&access_token={token}"),
        format!("/?access_token={token}&access_token="),
        format!("/?a=b&access_token={token}"),
        format!("/?ACCESS_TOKEN={token}"),
    ] {
        is_no_credential(&send(&service, get(&path, &[])).await);
    }
    assert_eq!(inner.calls(), 0);
    let good = bearer(&token);
    let path = format!("/?access_token={token}&access_token={token}");
    let answer = send(&service, get(&path, &[("authorization", &good)])).await;
    assert_eq!((answer.status(), answer.header("cache-control")), (200, None));
    // The service still sees its own parameters.
    let last = inner.last.lock().unwrap().as_ref().unwrap().uri.query().unwrap().to_owned();
    assert_eq!(last, path[2..]);
}

// X10: not even a form that is all that RFC 6750 §2.2 asks of one; and none is read to see.
#[tokio::test]
async fn x10_a_form_is_no_credential_and_is_not_looked_into() {
    let issuer = Issuer::new();
    let inner = Inner::default();
    let service = issuer.layer().layer(inner.clone());
    let form = format!("access_token={}", issuer.token(""));
    for kind in [FORM, "application/x-www-form-urlencoded; charset=utf-8", "multipart/form-data"] {
        let (request, asked) = post(&[("content-type", kind)], &[&form], true);
        is_no_credential(&send(&service, request).await);
        assert_eq!(asked.load(Ordering::SeqCst), 0, "{kind}");
    }
    assert_eq!(inner.calls(), 0);
    let good = bearer(&issuer.token(""));
    let fields = [("authorization", &*good), ("content-type", FORM)];
    assert_eq!(send(&service, post(&fields, &["a=b"], true).0).await.status(), 200);
}

// X11: no time and no memory go into a body. A refusal doesn't wait for one that never ends, and a handler has
// all of its own, piece by piece.
#[tokio::test]
async fn x11_a_body_costs_nothing_and_reaches_the_handler_whole() {
    let issuer = Issuer::new();
    let refusing = issuer.layer().layer(Inner::default());
    let (request, asked) = post(&[("content-type", FORM)], &["access_token="], false);
    is_no_credential(&send(&refusing, request).await);
    assert_eq!(asked.load(Ordering::SeqCst), 0);

    let handler = service_fn(|request: Request<Pieces>| async {
        let (parts, mut body) = request.into_parts();
        assert_eq!(body.asked.load(Ordering::SeqCst), 0, "nobody has read any of it");
        let _: AccessToken = AccessToken::from_extensions(&parts.extensions).unwrap();
        let mut pieces = Vec::new();
        while let Some(frame) = body.frame().await {
            pieces.push(frame.unwrap().into_data().unwrap());
        }
        let whole = http_body_util::Full::from(pieces.join(&b'|').to_vec());
        Ok::<_, Infallible>(http::Response::new(whole))
    });
    let service = issuer.layer().layer(handler);
    let good = bearer(&issuer.token(""));
    let fields = [("authorization", &*good), ("content-type", FORM)];
    let (request, _) = post(&fields, &["access_to", "ken=x&b", "=c"], true);
    let answer = send(&service, request).await;
    assert_eq!((answer.status(), answer.body()), (200, "access_to|ken=x&b|=c"));
}
