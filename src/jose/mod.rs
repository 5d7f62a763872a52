//! Signatures: compact JWS, keys, algorithms. The only room that names a crypto crate.

mod alg;

pub use self::alg::{Algorithm, Backend};
