//! The answers of servers that don't have a path, a service or a method, for refusals that hide the resource.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Response, StatusCode};

/// The answer that stands for something that doesn't exist.
///
/// Which one it is follows from the [`Access`](crate::Access), never from the request:
/// a server answers a path that it doesn't have in the same way whatever the request's content type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Absent {
    /// A path that an axum router has no route for: 404 without a body.
    Path,
    /// A gRPC service that a tonic server doesn't have: `UNIMPLEMENTED`.
    GrpcService,
    /// A method that a gRPC service of tonic's code generator doesn't have: `UNIMPLEMENTED`, with
    /// the header fields in that code's order.
    GrpcMethod,
}

impl Absent {
    /// Returns the answer, before the server adds what it adds to every answer.
    pub(crate) fn answer(self) -> Response<Bytes> {
        let content_type = (CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let unimplemented =
            (HeaderName::from_static("grpc-status"), HeaderValue::from_static("12"));
        // tonic's fallback is a handler of axum, which adds this.
        let length = (CONTENT_LENGTH, HeaderValue::from_static("0"));
        let mut response = Response::new(Bytes::new());
        match self {
            Self::Path => *response.status_mut() = StatusCode::NOT_FOUND,
            Self::GrpcService => {
                response.headers_mut().extend([content_type, unimplemented, length]);
            }
            Self::GrpcMethod => response.headers_mut().extend([unimplemented, content_type]),
        }
        response
    }
}
