//! Renders refusals of gRPC and gRPC-Web calls: the status in the header fields, its details in protobuf.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response};

use crate::answer::context::RefusalContext;
use crate::answer::protocol::echoed;
use crate::answer::step_up::StepUp;
use crate::answer::wire::{EXPIRED, Wire};
use crate::refusal::{Detail, Refusal};

/// `domain` of the `ErrorInfo`: what defines the reasons.
const DOMAIN: &str = "tower-bearer";

/// Renders a refusal as a trailers-only response: the status lies in the only header block.
pub(crate) fn render(refusal: &Refusal, cx: &RefusalContext<'_>) -> Response<Bytes> {
    let mut headers = HeaderMap::with_capacity(5);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    write_status(&mut headers, cx.wire(), Some(refusal));
    for challenge in cx.challenges() {
        headers.append(WWW_AUTHENTICATE, challenge);
    }
    let mut response = Response::new(Bytes::new());
    *response.headers_mut() = headers;
    response
}

/// Renders the trailers that end a stream whose token has expired.
pub(crate) fn expired_trailers() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(3);
    write_status(&mut trailers, &EXPIRED, None);
    trailers
}

fn write_status(headers: &mut HeaderMap, wire: &Wire, refusal: Option<&Refusal>) {
    headers.insert(HeaderName::from_static("grpc-status"), u16::from(wire.grpc_code).into());
    if let Ok(message) = HeaderValue::try_from(percent_encode(wire.description))
        && !message.is_empty()
    {
        headers.insert(HeaderName::from_static("grpc-message"), message);
    }
    if let Some(reason) = wire.grpc_reason
        && let Ok(details) =
            HeaderValue::try_from(STANDARD_NO_PAD.encode(status(wire, reason, refusal)))
    {
        headers.insert(HeaderName::from_static("grpc-status-details-bin"), details);
    }
}

/// Renders a refusal for gRPC-Web, binary or text: as for gRPC, since a body that is empty is the same in both,
/// with the content type of the call.
pub(crate) fn render_for_web(refusal: &Refusal, cx: &RefusalContext<'_>) -> Response<Bytes> {
    let mut response = render(refusal, cx);
    let content_type = echoed(cx.headers())
        .unwrap_or_else(|| HeaderValue::from_static("application/grpc-web+proto"));
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

/// The gRPC protocol's `Percent-Encoded`: all but %x20-24 and %x26-7E.
fn percent_encode(message: &str) -> String {
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        if matches!(byte, 0x20..=0x24 | 0x26..=0x7e) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Encodes a `google.rpc.Status { code = 1, message = 2, details = 3 }`.
fn status(wire: &Wire, reason: &str, refusal: Option<&Refusal>) -> Vec<u8> {
    let mut status = Message::default();
    status.varint(1, u64::from(wire.grpc_code));
    status.bytes(2, wire.description.as_bytes());
    for (name, value) in details(reason, refusal) {
        status.bytes(3, &any(&format!("type.googleapis.com/{name}"), &value));
    }
    status.0
}

/// Encodes the details of a status, each with the name of its type.
pub(crate) fn details(reason: &str, refusal: Option<&Refusal>) -> Vec<(&'static str, Vec<u8>)> {
    // ErrorInfo { reason = 1, domain = 2, metadata = 3 }
    let mut info = Message::default();
    info.bytes(1, reason.as_bytes());
    info.bytes(2, DOMAIN.as_bytes());
    if let Some(Refusal::Rejection(rejection)) = refusal
        && let Detail::Scopes { needed, .. } | Detail::Login { scopes: needed, .. } =
            rejection.detail()
        && !needed.is_empty()
    {
        info.bytes(3, &entry("required_scope", needed.as_str()).0);
    }
    for (name, value) in refusal.and_then(StepUp::of).iter().flat_map(StepUp::parameters) {
        info.bytes(3, &entry(name, &value).0);
    }
    let mut details = vec![("google.rpc.ErrorInfo", info.0)];
    if let Some(Refusal::Unavailable(unavailable)) = refusal {
        // RetryInfo { retry_delay = 1 }
        let mut info = Message::default();
        info.bytes(1, &duration(unavailable.retry_after()).0);
        details.push(("google.rpc.RetryInfo", info.0));
    }
    details
}

/// Encodes an entry of a `map<string, string>`.
fn entry(name: &str, value: &str) -> Message {
    let mut entry = Message::default();
    entry.bytes(1, name.as_bytes());
    entry.bytes(2, value.as_bytes());
    entry
}

/// Encodes a `google.protobuf.Any { type_url = 1, value = 2 }`.
fn any(type_url: &str, value: &[u8]) -> Vec<u8> {
    let mut any = Message::default();
    any.bytes(1, type_url.as_bytes());
    any.bytes(2, value);
    any.0
}

/// Encodes a `google.protobuf.Duration { seconds = 1, nanos = 2 }`.
fn duration(duration: Duration) -> Message {
    /// The longest that the message may hold: some 10,000 years.
    const MAX_SECS: u64 = 315_576_000_000;
    let mut message = Message::default();
    message.varint(1, duration.as_secs().min(MAX_SECS));
    message.varint(2, u64::from(duration.subsec_nanos()));
    message
}

/// A protobuf message under construction: two of the wire types are enough here.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, field: u8, value: u64) {
        // A default value isn't sent.
        if value != 0 {
            self.0.push(field << 3);
            self.raw_varint(value);
        }
    }

    fn bytes(&mut self, field: u8, value: &[u8]) {
        self.0.push((field << 3) | 2);
        self.raw_varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // G2: everything outside %x20-24 and %x26-7E is escaped, the percent sign itself too.
    #[test]
    fn g2_messages_are_percent_encoded() {
        assert_eq!(percent_encode("no token"), "no token");
        assert_eq!(percent_encode("100% \r\n~\u{e9}\x7f"), "100%25 %0D%0A~%C3%A9%7F");
        assert_eq!(percent_encode(""), "");
    }

    #[test]
    fn varints_are_base_128_little_endian() {
        for (value, encoded) in [
            (1, &[0x08, 0x01][..]),
            (127, &[0x08, 0x7f]),
            (128, &[0x08, 0x80, 0x01]),
            (300, &[0x08, 0xac, 0x02]),
        ] {
            let mut message = Message::default();
            message.varint(1, value);
            assert_eq!(message.0, encoded);
        }
        let mut long = Message::default();
        long.bytes(2, &[7; 200]);
        assert_eq!(long.0.get(..3), Some(&[0x12, 0xc8, 0x01][..]));
        assert_eq!(long.0.len(), 203);
    }

    #[test]
    fn a_duration_beyond_the_legal_range_is_clamped() {
        let mut expected = Message::default();
        expected.varint(1, 315_576_000_000);
        expected.varint(2, 999_999_999);
        assert_eq!(duration(Duration::MAX).0, expected.0);
    }
}
