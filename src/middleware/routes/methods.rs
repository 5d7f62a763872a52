use http::Method;

/// The methods that a request counts as: one, but for an extended CONNECT, which asks for what `GET`
/// does (RFC 8441 §4, RFC 9220 §3).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Methods<'a> {
    One(&'a Method),
    ExtendedConnect,
}

impl<'a> Methods<'a> {
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
