//! The kinds of tokens that a route check sends.

use std::fmt;

/// The kind of token that a request of a [`RouteCheck`](crate::testing::RouteCheck) has.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum SentToken {
    /// No token.
    None,
    /// The word `garbage` in place of a token.
    Garbage,
    /// A token that expired a day ago.
    Expired,
    /// A token of another issuer.
    OtherIssuer,
    /// A token for another audience.
    OtherAudience,
    /// A token that was signed by another key.
    Forged,
    /// A token with `alg` `none`.
    Unsecured,
    /// A valid token with these scopes, of which there may be none.
    Scopes(String),
}

impl fmt::Display for SentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "without a token",
            Self::Garbage => "with garbage in place of a token",
            Self::Expired => "with an expired token",
            Self::OtherIssuer => "with a token of another issuer",
            Self::OtherAudience => "with a token for another audience",
            Self::Forged => "with a token that was signed by another key",
            Self::Unsecured => "with an unsigned token",
            Self::Scopes(scopes) if scopes.is_empty() => "with a valid token without scopes",
            Self::Scopes(scopes) => return write!(f, "with a valid token of the scope {scopes:?}"),
        })
    }
}
