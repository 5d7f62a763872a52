//! The method, URI and header fields of a refused request.

use std::fmt;

use http::{Extensions, HeaderMap, Method, Request, Uri};

use crate::answer::protocol::Protocol;

/// The parts of a request that its refusal may depend on.
#[derive(Clone, Copy)]
pub(crate) struct RequestHead<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    #[cfg_attr(
        not(all(feature = "axum", feature = "tracing")),
        allow(dead_code, reason = "only an event about an axum router's request reads them")
    )]
    pub(crate) extensions: &'a Extensions,
}

impl RequestHead<'_> {
    /// Returns the protocol that the request is answered by.
    pub(crate) fn protocol(&self) -> Protocol {
        Protocol::of(self.method, self.uri, self.headers)
    }
}

impl<'a, B> From<&'a Request<B>> for RequestHead<'a> {
    fn from(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }
}

impl<'a> From<&'a http::request::Parts> for RequestHead<'a> {
    fn from(parts: &'a http::request::Parts) -> Self {
        Self {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            extensions: &parts.extensions,
        }
    }
}

/// Omits fields and query: a token in them may not be marked as sensitive.
impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", self.method)
            .field("path", &self.uri.path())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The field may not have been marked as sensitive.
    #[test]
    fn a_request_is_printed_without_what_may_be_secret() {
        let request =
            Request::get("/a?access_token=secret").header("authorization", "Bearer secret");
        let request = request.body(()).unwrap();
        let printed = format!("{:?}", RequestHead::from(&request));
        assert!(printed.contains("/a") && !printed.contains("secret"), "{printed}");
    }
}
