//! The `Authorization` fields of a request, one a line, through the layer.
#![no_main]

use std::convert::Infallible;
use std::sync::LazyLock;

use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use libfuzzer_sys::fuzz_target;
use tower::{Layer, ServiceExt, service_fn};
use tower_bearer::BearerAuthLayer;
use tower_bearer::jose::Backend;
use tower_bearer_fuzz::{Extra, at_once, validator};

static LAYER: LazyLock<BearerAuthLayer<Extra>> =
    LazyLock::new(|| BearerAuthLayer::new(validator(Backend::AwsLcRs)));

fuzz_target!(|data: &[u8]| {
    let mut request = Request::new(Empty::<&[u8]>::new());
    for field in data.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(field) else { return };
        request.headers_mut().append(AUTHORIZATION, value);
    }
    let several = request.headers().get_all(AUTHORIZATION).iter().count() > 1;
    let inner = service_fn(async |request: Request<Empty<&[u8]>>| {
        assert!(request.headers()[AUTHORIZATION].is_sensitive());
        Ok::<_, Infallible>(Response::new(Full::from(&b"through"[..])))
    });
    let response = at_once(LAYER.layer(inner).oneshot(request)).unwrap();

    let status = response.status();
    assert!(!several || status == StatusCode::BAD_REQUEST);
    if status == StatusCode::OK {
        return;
    }
    assert!(status == StatusCode::UNAUTHORIZED || status == StatusCode::BAD_REQUEST, "{status}");
    let challenge = response.headers()[WWW_AUTHENTICATE].to_str().unwrap().to_owned();
    assert!(challenge.starts_with("Bearer realm="));
    // The answer is one of a few that are rendered beforehand: nothing of the request is in it.
    let body = at_once(response.into_body().collect()).unwrap().to_bytes();
    assert!(body.len() < 200 && challenge.len() < 200, "{challenge} {body:?}");
});
