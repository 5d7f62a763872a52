//! The endpoints of the embedded issuer, and the counts of their requests.

use std::collections::HashMap;

/// The addresses at which the embedded issuer answers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Endpoint {
    /// The metadata of RFC 8414, with `/.well-known/oauth-authorization-server` inserted between
    /// the issuer's host and path.
    OAuthMetadata,
    /// The metadata of OpenID Connect Discovery, with `/.well-known/openid-configuration` appended
    /// to the issuer.
    OpenIdMetadata,
    /// The key set (RFC 7517).
    Jwks,
    /// The token endpoint (RFC 6749 §3.2).
    Token,
    /// The introspection endpoint (RFC 7662 §2).
    Introspection,
}

impl Endpoint {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::OAuthMetadata, Self::OpenIdMetadata, Self::Jwks, Self::Token, Self::Introspection];
}

/// The number of requests that the embedded issuer has had.
///
/// Requests that were answered by a [`Fault`](crate::testing::Fault) are counted as well.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    requests: HashMap<Endpoint, u64>,
    not_modified: u64,
    granted: u64,
}

impl Counters {
    /// Returns how many requests came to this endpoint.
    pub fn requests(&self, endpoint: Endpoint) -> u64 {
        self.requests.get(&endpoint).copied().unwrap_or_default()
    }

    /// Returns how many requests came to any endpoint.
    pub fn total(&self) -> u64 {
        self.requests.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Returns how many requests for the key set were answered with 304.
    pub fn not_modified(&self) -> u64 {
        self.not_modified
    }

    /// Returns how many tokens the token endpoint granted.
    pub fn granted(&self) -> u64 {
        self.granted
    }

    pub(crate) fn count(&mut self, endpoint: Endpoint) {
        let count = self.requests.entry(endpoint).or_default();
        *count = count.saturating_add(1);
    }

    pub(crate) fn count_not_modified(&mut self) {
        self.not_modified = self.not_modified.saturating_add(1);
    }

    pub(crate) fn count_granted(&mut self) {
        self.granted = self.granted.saturating_add(1);
    }
}
