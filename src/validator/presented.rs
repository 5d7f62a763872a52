/// What a request presents to be authenticated by.
#[derive(Clone, Copy)]
pub(crate) struct Presented<'a> {
    pub(crate) scheme: Scheme,
    pub(crate) token: &'a [u8],
}

/// How the token was sent, and so what else must be shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scheme {
    /// RFC 6750: any party in possession of the token may use it.
    Bearer,
}

impl<'a> Presented<'a> {
    pub(crate) const fn bearer(token: &'a [u8]) -> Self {
        Self { scheme: Scheme::Bearer, token }
    }
}
