//! What is kept: the set in force (`store`, `key_set`), and snapshots to start from (`snapshot`, `seed`).

pub(crate) mod key_set;
pub(crate) mod lru;
pub(crate) mod seed;
pub(crate) mod snapshot;
pub(crate) mod store;
