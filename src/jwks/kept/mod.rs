//! What is kept: the set in force, the one it replaced, and snapshots.

pub(crate) mod key_set;
pub(crate) mod lru;
pub(crate) mod seed;
pub(crate) mod snapshot;
pub(crate) mod store;
