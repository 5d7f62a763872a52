//! Ends responses whose token has expired: `layer` wraps the `body`, `ending` says how it is cut, and `wheel`
//! wakes it in time.

pub(crate) mod body;
mod ending;
pub(crate) mod future;
pub(crate) mod layer;
mod wheel;
