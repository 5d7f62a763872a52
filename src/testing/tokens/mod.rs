//! The tokens that it mints.

pub(crate) mod key;
pub(crate) mod mint;
pub(crate) mod token;
