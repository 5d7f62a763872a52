//! The tokens that it mints.

pub(crate) mod key;
pub(crate) mod mint;
#[cfg(feature = "dpop")]
pub(crate) mod proof;
pub(crate) mod token;
