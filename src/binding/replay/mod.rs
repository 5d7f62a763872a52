//! The record of used proofs, each of which is accepted once (RFC 9449 §11.1): `memory` for one process, a
//! `store` such as `redis` for several, and `quota` for what one key may take of the memory.

pub(crate) mod memory;
pub(crate) mod quota;
#[cfg(feature = "redis")]
pub(crate) mod redis;
pub(crate) mod store;
