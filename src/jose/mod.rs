//! Signatures: compact JWS, keys, algorithms. The only room that names a crypto crate.

mod alg;
#[cfg(feature = "aws-lc-rs")]
mod backend_aws_lc;
#[cfg(feature = "rust-crypto")]
mod backend_rust_crypto;
#[cfg(feature = "test-util")]
pub(crate) mod bare;
mod compact;
mod ed25519;
mod header;
mod hmac;
mod ignored;
mod jwk;
mod key;
mod pem;
#[cfg(feature = "test-util")]
mod sign;

pub(crate) use self::alg::Algorithms;
pub use self::alg::{Algorithm, Backend};
#[cfg(feature = "test-util")]
pub(crate) use self::compact::decode_segment;
pub(crate) use self::compact::{Compact, Scratch, decode_into};
pub(crate) use self::header::Header;
pub use self::hmac::HmacAlgorithm;
pub(crate) use self::hmac::HmacKey;
pub use self::ignored::IgnoredReason;
pub(crate) use self::jwk::{
    IgnoredKey, KeySetError, ParsedKeySet, Purpose, parse_jwk_set, parse_keys,
};
pub(crate) use self::key::{Identity, VerificationKey};
pub(crate) use self::pem::key_from_pem;
#[cfg(feature = "test-util")]
pub(crate) use self::sign::{SigningKey, hmac_sha256, random_id, signing_input};
