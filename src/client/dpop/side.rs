//! What a proof is for: its method and URL, and whether it goes to the token endpoint or with a call.

use http::Method;

use crate::transport::Origin;

/// What a proof is for.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "dpop"), allow(dead_code, reason = "nothing is proved"))]
pub(crate) struct Target<'a> {
    pub(crate) method: &'a Method,
    pub(crate) origin: &'a Origin,
    pub(crate) path: &'a str,
}

/// The kind of server that gets a proof: nonces are kept apart by it, even within one origin (RFC 9449 §9).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    /// The token endpoint.
    Authorization,
    /// A service that is called with the token.
    Resource,
}
