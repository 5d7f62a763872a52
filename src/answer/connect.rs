//! Renders refusals of Connect calls, unary and streaming (connectrpc.com/docs/protocol).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::answer::context::RefusalContext;
use crate::answer::grpc::details;
use crate::answer::plain::whole_seconds;
use crate::answer::protocol::echoed;
use crate::refusal::Refusal;

/// An error, as the body of a unary answer and in the last message of a stream.
#[derive(Serialize)]
struct Error {
    code: &'static str,
    message: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<Detail>,
}

#[derive(Serialize)]
struct Detail {
    #[serde(rename = "type")]
    name: &'static str,
    value: String,
}

#[derive(Serialize)]
struct EndOfStream {
    error: Error,
}

/// Renders a refusal of a unary call: the HTTP status of its code, and JSON.
pub(crate) fn render_unary(refusal: &Refusal, cx: &RefusalContext<'_>) -> Response<Bytes> {
    let (_, status) = code(cx.wire().grpc_code);
    let mut response = Response::new(json(&error(refusal, cx)));
    *response.status_mut() = status;
    *response.headers_mut() = fields(refusal, cx, HeaderValue::from_static("application/json"));
    response
}

/// Renders a refusal of a streaming call: the message that ends the stream.
pub(crate) fn render_streaming(refusal: &Refusal, cx: &RefusalContext<'_>) -> Response<Bytes> {
    /// The flag of the last message.
    const END_OF_STREAM: u8 = 2;
    let message = json(&EndOfStream { error: error(refusal, cx) });
    let mut frame = BytesMut::with_capacity(message.len().saturating_add(5));
    frame.put_u8(END_OF_STREAM);
    // It is made of a few sentences.
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(&message);
    let content_type = echoed(cx.headers())
        .unwrap_or_else(|| HeaderValue::from_static("application/connect+proto"));
    let mut response = Response::new(frame.freeze());
    *response.headers_mut() = fields(refusal, cx, content_type);
    response
}

fn fields(refusal: &Refusal, cx: &RefusalContext<'_>, content_type: HeaderValue) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(4);
    for challenge in cx.challenges() {
        fields.append(WWW_AUTHENTICATE, challenge);
    }
    fields.insert(CONTENT_TYPE, content_type);
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Refusal::Unavailable(unavailable) = refusal {
        fields.insert(RETRY_AFTER, whole_seconds(unavailable).into());
    }
    fields
}

fn error(refusal: &Refusal, cx: &RefusalContext<'_>) -> Error {
    let wire = cx.wire();
    let details = wire.grpc_reason.map(|reason| details(reason, Some(refusal))).unwrap_or_default();
    let detail = |(name, value)| Detail { name, value: STANDARD_NO_PAD.encode::<Vec<u8>>(value) };
    Error {
        code: code(wire.grpc_code).0,
        message: wire.description,
        details: details.into_iter().map(detail).collect(),
    }
}

fn json(value: &impl Serialize) -> Bytes {
    // Text and lists of it can always be written.
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// Returns a code by its name, and its HTTP status.
const fn code(grpc_code: u8) -> (&'static str, StatusCode) {
    match grpc_code {
        3 => ("invalid_argument", StatusCode::BAD_REQUEST),
        4 => ("deadline_exceeded", StatusCode::GATEWAY_TIMEOUT),
        5 => ("not_found", StatusCode::NOT_FOUND),
        7 => ("permission_denied", StatusCode::FORBIDDEN),
        8 => ("resource_exhausted", StatusCode::TOO_MANY_REQUESTS),
        12 => ("unimplemented", StatusCode::NOT_IMPLEMENTED),
        13 => ("internal", StatusCode::INTERNAL_SERVER_ERROR),
        14 => ("unavailable", StatusCode::SERVICE_UNAVAILABLE),
        16 => ("unauthenticated", StatusCode::UNAUTHORIZED),
        _ => ("unknown", StatusCode::INTERNAL_SERVER_ERROR),
    }
}
