//! What is kept: tokens, when they end, and who fetches the next one.

pub(crate) mod backoff;
pub(crate) mod cache;
pub(crate) mod client;
pub(crate) mod core;
pub(crate) mod expiry;
pub(crate) mod failed;
pub(crate) mod flight;
pub(crate) mod held;
pub(crate) mod pool;
pub(crate) mod refusals;
pub(crate) mod slots;
pub(crate) mod source;
pub(crate) mod token;
pub(crate) mod wait;
