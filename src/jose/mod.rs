//! Signatures: the algorithms, the keys, and the backends that verify with them.

// A token passes `compact` (its three segments) and `header`; `jwk`, with `members`, reads the key set, `key`
// verifies, through `backend`. No other room makes or verifies a signature, and only `backend` names the
// crates that do. Other cryptography has places of its own, which `tests/layering` lists.
//
// Private keys:
// - `private_key` reads one that the operator gives, from PEM or a JWK.
// - `sign` signs with such a key, or with a shared secret, once: a client's assertion.
// - `own_key` keeps such a key, or makes one, to sign often and show its public half: DPoP proofs.
// - `generated` makes the keys of the embedded issuer, for tests.

#![deny(clippy::wildcard_enum_match_arm)]

mod alg;
mod backend;
#[cfg(feature = "test-util")]
pub(crate) mod bare;
mod compact;
mod der;
#[cfg(any(feature = "client", feature = "introspection"))]
mod ecdsa;
mod ed25519;
#[cfg(feature = "dpop")]
mod embedded;
mod error;
mod every;
#[cfg(feature = "test-util")]
mod generated;
mod header;
mod hmac;
mod ignored;
mod jwk;
mod key;
mod key_type;
mod material;
mod members;
#[cfg(all(feature = "client", feature = "dpop"))]
mod own_key;
mod pem;
#[cfg(any(feature = "client", feature = "introspection"))]
mod private_key;
#[cfg(any(feature = "client", feature = "introspection", feature = "test-util"))]
mod serialize;
#[cfg(any(feature = "client", feature = "introspection"))]
mod sign;
mod spki;

pub(crate) use self::alg::Algorithms;
#[cfg(any(feature = "client", feature = "dpop", feature = "introspection"))]
pub(crate) use self::alg::ED25519;
pub use self::alg::{Algorithm, HmacAlgorithm};
pub use self::backend::choice::Backend;
#[cfg(any(feature = "introspection", feature = "test-util"))]
pub(crate) use self::compact::decode_segment;
pub(crate) use self::compact::{Compact, Scratch, decode_into};
#[cfg(any(feature = "client", feature = "introspection", feature = "mtls"))]
pub(crate) use self::der::is_sequence;
#[cfg(any(feature = "client", feature = "introspection"))]
pub(crate) use self::ecdsa::jws_signature;
#[cfg(feature = "dpop")]
pub(crate) use self::embedded::KeyedHeader;
pub(crate) use self::error::JoseError;
#[cfg(any(feature = "client", feature = "introspection"))]
pub(crate) use self::every::every_variant;
#[cfg(feature = "test-util")]
pub(crate) use self::generated::{SigningKey, hmac_sha256, random_id, signing_input};
pub(crate) use self::header::Header;
pub(crate) use self::hmac::HmacKey;
pub use self::ignored::IgnoredReason;
pub(crate) use self::jwk::{
    IgnoredKey, KeySetError, ParsedKeySet, Purpose, parse_jwk_set, parse_keys,
};
#[cfg(all(test, feature = "dpop", feature = "test-util"))]
pub(crate) use self::key::VERIFIED;
pub(crate) use self::key::{Identity, VerificationKey};
#[cfg(any(feature = "client", feature = "introspection"))]
pub(crate) use self::key_type::KeyType;
#[cfg(all(feature = "client", feature = "dpop"))]
pub(crate) use self::own_key::OwnKey;
#[cfg(any(feature = "client", feature = "introspection"))]
pub(crate) use self::pem::blocks;
#[cfg(any(feature = "client", feature = "introspection", feature = "mtls"))]
pub(crate) use self::pem::decode as decode_pem;
#[cfg(any(feature = "client", feature = "introspection"))]
pub(crate) use self::private_key::PrivateKey;
#[cfg(any(feature = "client", feature = "introspection"))]
pub(crate) use self::serialize::{serialize, write_signing_input};
#[cfg(any(feature = "client", feature = "introspection"))]
pub(crate) use self::sign::Signer;
pub(crate) use self::spki::key_from_pem;
