//! What is kept for several processes: encrypted tokens in a store.

pub(crate) mod cache;
#[cfg(feature = "redis")]
pub(crate) mod redis;
pub(crate) mod seal;
pub(crate) mod store;
