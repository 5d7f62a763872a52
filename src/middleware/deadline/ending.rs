//! How a body ends when its token expires: with trailers, cleanly, or with an error.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

/// How a body ends whose token has expired before it was complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ending {
    /// With the trailers of gRPC.
    Grpc,
    /// As if it were complete, after an event if there is one and room for it.
    EventStream,
    /// With an error: what was sent must not look complete.
    Abort,
}

/// The configured endings of responses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endings {
    pub(crate) last_event: Option<Bytes>,
    pub(crate) abort_sized: bool,
    pub(crate) finish_unsized: bool,
}

impl Endings {
    /// Returns how such a response ends; `None` if it may be completed.
    pub(crate) fn of(&self, headers: &HeaderMap, is_sized: bool) -> Option<Ending> {
        if is_grpc(headers) {
            return Some(Ending::Grpc);
        }
        if is_sized {
            return self.abort_sized.then_some(Ending::Abort);
        }
        if has_type(headers, b"text/event-stream") {
            return Some(Ending::EventStream);
        }
        (!self.finish_unsized).then_some(Ending::Abort)
    }
}

/// Returns `true` for gRPC over HTTP/2. The trailers of gRPC-Web are a part of the body.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let is_grpc = |field: &HeaderValue| {
        let rest = field.as_bytes().strip_prefix(b"application/grpc");
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
    };
    headers.get(CONTENT_TYPE).is_some_and(is_grpc)
}

fn has_type(headers: &HeaderMap, expected: &[u8]) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|field| {
        let media_type = field.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        media_type.trim_ascii().eq_ignore_ascii_case(expected)
    })
}
