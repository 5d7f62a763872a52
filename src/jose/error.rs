//! Why a token can't be read as a JWS.

/// Why a token can't be read as a supported JWS (RFC 7515).
///
/// It is `Copy` and holds nothing of the token: an error that unauthenticated senders can cause at will
/// allocates nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum JoseError {
    /// Not three segments of base64url.
    Malformed,
    /// The header breaks this rule.
    MalformedHeader(&'static str),
    /// Encrypted (RFC 7516).
    Encrypted,
    /// The payload is itself a JWT (RFC 7519 §5.2).
    Nested,
    /// The header has this parameter, which changes how the token must be read.
    Critical(&'static str),
}

/// A backend refused a private key, or could not make a key, a signature or a random number.
#[cfg(any(feature = "client", feature = "dpop", feature = "introspection", feature = "test-util"))]
#[cfg_attr(
    not(any(feature = "client", feature = "introspection", feature = "test-util")),
    allow(dead_code, reason = "AWS-LC makes nonces without it")
)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct CryptoFailure;
