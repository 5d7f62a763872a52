//! The record of proofs that were used: each may be used once (RFC 9449 §11.1).

pub(crate) mod memory;
#[cfg(feature = "redis")]
pub(crate) mod redis;
pub(crate) mod store;
