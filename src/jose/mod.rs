//! Signatures: compact JWS, keys, algorithms. The only room that names a crypto crate.

mod alg;
mod backend;
#[cfg(feature = "test-util")]
pub(crate) mod bare;
mod compact;
mod der;
mod ed25519;
#[cfg(feature = "dpop")]
mod embedded;
mod error;
#[cfg(feature = "test-util")]
mod generated;
mod header;
mod hmac;
mod ignored;
mod jwk;
mod key;
mod key_type;
mod material;
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
#[cfg(feature = "dpop")]
pub(crate) use self::embedded::KeyedHeader;
pub(crate) use self::error::JoseError;
#[cfg(feature = "test-util")]
pub(crate) use self::generated::{SigningKey, hmac_sha256, random_id, signing_input};
pub(crate) use self::header::Header;
pub(crate) use self::hmac::HmacKey;
pub use self::ignored::IgnoredReason;
pub(crate) use self::jwk::{
    IgnoredKey, KeySetError, ParsedKeySet, Purpose, parse_jwk_set, parse_keys,
};
pub(crate) use self::key::{Identity, VerificationKey};
#[cfg(any(feature = "client", feature = "introspection"))]
pub(crate) use self::key_type::KeyType;
#[cfg(any(feature = "client", feature = "introspection"))]
pub(crate) use self::private_key::PrivateKey;
#[cfg(any(feature = "client", feature = "introspection"))]
pub(crate) use self::serialize::serialize;
#[cfg(any(feature = "client", feature = "introspection"))]
pub(crate) use self::sign::Signer;
pub(crate) use self::spki::key_from_pem;
