//! The methods that a request counts as: an extended CONNECT counts as `GET` too.

use http::{Method, Request, Version};

/// The methods that a request counts as: one, except for an extended CONNECT, which requests what `GET`
/// does (RFC 8441 §4, RFC 9220 §3).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Methods<'a> {
    One(&'a Method),
    ExtendedConnect,
}

impl<'a> Methods<'a> {
    /// Returns the methods that a request counts as. `CONNECT` has a path only if it is extended, and only
    /// HTTP/2 and HTTP/3 extend it.
    pub(crate) fn of<B>(request: &'a Request<B>) -> Self {
        let extended = *request.method() == Method::CONNECT
            && matches!(request.version(), Version::HTTP_2 | Version::HTTP_3)
            && !request.uri().path().is_empty();
        if extended { Self::ExtendedConnect } else { Self::One(request.method()) }
    }

    pub(crate) const fn first(self) -> &'a Method {
        match self {
            Self::One(method) => method,
            Self::ExtendedConnect => &Method::GET,
        }
    }

    /// Returns the method whose entry must be met as well, if it is listed by name.
    pub(crate) const fn second(self) -> Option<&'a Method> {
        match self {
            Self::One(_) => None,
            Self::ExtendedConnect => Some(&Method::CONNECT),
        }
    }
}
