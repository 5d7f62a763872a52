//! The cache that several processes share: encrypted tokens in a store.
//!
//! `cache` makes the calls to a `store`, such as the one in `redis`; `seal` encrypts the `stored` tokens and
//! names their keys. Without the feature `shared-cache`, no store can be set, and `absent` stands for `Seal`.

#[cfg(not(feature = "shared-cache"))]
mod absent;
#[cfg_attr(not(feature = "shared-cache"), allow(dead_code, reason = "no store is ever given"))]
pub(crate) mod cache;
#[cfg(feature = "redis")]
pub(crate) mod redis;
#[cfg(feature = "shared-cache")]
pub(crate) mod seal;
pub(crate) mod store;
#[cfg_attr(not(feature = "shared-cache"), allow(dead_code, reason = "no store is ever given"))]
pub(crate) mod stored;
