//! Signatures: compact JWS, keys, algorithms. The only room that names a crypto crate.

mod alg;
#[cfg(feature = "test-util")]
pub(crate) mod sign;

pub use self::alg::{Algorithm, Backend};
