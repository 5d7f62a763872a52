//! The values that a rejection compared, for the operator.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::UnixTime;
use crate::scope::ScopeSet;
use crate::text::{Excerpt, Excerpts};

/// The values that a [`Rejection`](crate::Rejection) compared.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Detail {
    /// Nothing beyond the kind.
    None,
    /// A fixed note.
    #[non_exhaustive]
    Note(&'static str),
    /// Two strings that should have been the same.
    #[non_exhaustive]
    Compared {
        /// What is configured.
        expected: Arc<str>,
        /// The beginning of what the token says.
        presented: Excerpt,
    },
    /// The issuers.
    #[non_exhaustive]
    Issuer {
        /// The first few of those that are configured, printable.
        known: Arc<str>,
        /// The beginning of the token's `iss`.
        presented: Excerpt,
    },
    /// The clients.
    #[non_exhaustive]
    Client {
        /// The first few of those that are allowed, printable.
        allowed: Arc<str>,
        /// The beginning of the id of the token's client; `None` if it has none.
        presented: Option<Excerpt>,
    },
    /// The audiences.
    #[non_exhaustive]
    Audience {
        /// Those that are accepted.
        expected: Arc<[Arc<str>]>,
        /// Those of the token.
        presented: Excerpts,
    },
    /// The beginning of what the token says.
    #[non_exhaustive]
    Presented(Excerpt),
    /// The beginning of what a claim says.
    #[non_exhaustive]
    Value {
        /// The claim's name.
        claim: &'static str,
        /// The beginning of its value.
        presented: Excerpt,
    },
    /// The key that the token names, and those that there are.
    #[non_exhaustive]
    Key {
        /// The token's `kid`.
        kid: Option<Excerpt>,
        /// The token's `alg`.
        algorithm: &'static str,
        /// The first few keys of the issuer's set: the `kid` of each, cut and made printable, with its
        /// `alg`, or its `kty` if it has none.
        known: Arc<str>,
    },
    /// The application's own claims couldn't be deserialized.
    #[non_exhaustive]
    Unreadable {
        /// The message of their `Deserialize`, such as ``missing field `tenant_id` ``, at most 200
        /// bytes of printable ASCII. Values of the token are left out, as is what a message of the
        /// application quotes.
        reason: Arc<str>,
    },
    /// The name of the claim or header parameter in question.
    #[non_exhaustive]
    Claim(&'static str),
    /// A time that has passed, or hasn't come.
    #[non_exhaustive]
    Time {
        /// The claim's name.
        claim: &'static str,
        /// The claim's value.
        value: UnixTime,
        /// The time that it was compared with.
        now: UnixTime,
        /// By how much the clocks may differ.
        leeway: Duration,
    },
    /// The scopes that would have sufficed.
    #[non_exhaustive]
    Scopes {
        /// A smallest set of scopes with which the request would have passed.
        needed: Arc<ScopeSet>,
        /// The beginning of the token's scopes, as the validator's scope source reads them; `None`
        /// without a token.
        presented: Option<Excerpt>,
    },
    /// A claim that [`Conditions`](crate::middleware::Conditions) require.
    #[non_exhaustive]
    Refused {
        /// The claim's name.
        claim: Arc<str>,
        /// `true` if the token doesn't have the claim.
        absent: bool,
    },
    /// The login that would have sufficed.
    #[non_exhaustive]
    Login {
        /// The accepted values of `acr`, separated by spaces; empty if any is accepted.
        acr_values: Arc<str>,
        /// How long ago it may be.
        max_age: Option<Duration>,
        /// The scopes that the request also requires.
        scopes: Arc<ScopeSet>,
    },
    /// The route table has no entry for the request, and the layer's fallback accepts no token.
    #[non_exhaustive]
    NotListed {
        /// The beginning of the request's method and full path.
        request: Excerpt,
    },
}
