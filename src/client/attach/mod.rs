//! What is sent along: the token, to which origins, and what happens after a 401.

pub(crate) mod challenge;
pub(crate) mod error;
pub(crate) mod future;
pub(crate) mod layer;
pub(crate) mod policy;
pub(crate) mod replay;
#[cfg(feature = "reqwest-0_13")]
pub(crate) mod reqwest;
pub(crate) mod service;
