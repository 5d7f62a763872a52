//! Signatures: compact JWS, keys, algorithms. The only room that names a crypto crate.

mod alg;
mod backend;
#[cfg(feature = "test-util")]
pub(crate) mod bare;
mod compact;
mod ed25519;
mod error;
mod header;
mod hmac;
mod ignored;
mod jwk;
mod key;
mod material;
mod pem;
#[cfg(feature = "test-util")]
mod sign;

pub(crate) use self::alg::Algorithms;
pub use self::alg::{Algorithm, HmacAlgorithm};
pub use self::backend::choice::Backend;
#[cfg(feature = "test-util")]
pub(crate) use self::compact::decode_segment;
pub(crate) use self::compact::{Compact, Scratch, decode_into};
pub(crate) use self::error::JoseError;
pub(crate) use self::header::Header;
pub(crate) use self::hmac::HmacKey;
pub use self::ignored::IgnoredReason;
pub(crate) use self::jwk::{
    IgnoredKey, KeySetError, ParsedKeySet, Purpose, parse_jwk_set, parse_keys,
};
pub(crate) use self::key::{Identity, VerificationKey};
pub(crate) use self::pem::key_from_pem;
#[cfg(feature = "test-util")]
pub(crate) use self::sign::{SigningKey, hmac_sha256, random_id, signing_input};
