//! Builders of access tokens and DPoP proofs for tests, valid or invalid in one respect.

pub(crate) mod key;
pub(crate) mod mint;
#[cfg(feature = "dpop")]
pub(crate) mod proof;
pub(crate) mod token;
