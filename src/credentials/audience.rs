//! The `aud` of an assertion, and the server that it is sent to.

/// The `aud` of an assertion.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum AssertionAudience {
    /// The issuer identifier, as the revision of RFC 7523 (draft-ietf-oauth-rfc7523bis) demands:
    /// an `aud` with the token endpoint's URL could name an attacker's server.
    #[default]
    Issuer,
    /// The URL of the token endpoint, for servers that accept nothing else.
    TokenEndpoint,
    /// Another value that the server requires.
    Other(String),
}

/// The server that an assertion is sent to.
#[derive(Clone, Copy)]
pub(crate) struct Recipient<'a> {
    pub(crate) issuer: Option<&'a str>,
    pub(crate) token_endpoint: &'a str,
}
