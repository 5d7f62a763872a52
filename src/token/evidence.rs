//! What proves that the issuer issued a token: a signature, a shared secret, or introspection.

use crate::jose::{Algorithm, HmacAlgorithm};

/// The evidence that the issuer issued a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Evidence<'a> {
    /// A signature, which was checked with one of the issuer's public keys.
    Signature {
        /// The algorithm that the token is signed with.
        algorithm: Algorithm,
        /// The `kid` of the key, if the token names one.
        key_id: Option<&'a str>,
    },
    /// A code made with the secret that the validator shares with the issuer.
    SharedSecret {
        /// The secret's algorithm.
        algorithm: HmacAlgorithm,
    },
    /// The issuer was asked (RFC 7662), and called the token active.
    Introspection,
}
