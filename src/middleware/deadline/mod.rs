//! The layer that ends responses whose token has expired.

pub(crate) mod body;
mod ending;
pub(crate) mod future;
pub(crate) mod layer;
mod wheel;
