//! Tokens in outgoing requests: to which origins they are sent, and what happens after a 401.
//!
//! `layer` wraps a `service`, whose `future` asks `policy` where the token may go and whether to try again,
//! `challenge` what a 401 means, and `replay` for the body. `reqwest` and `calls` do the same for clients
//! that aren't tower services.

pub(crate) mod calls;
pub(crate) mod challenge;
pub(crate) mod error;
pub(crate) mod future;
pub(crate) mod layer;
pub(crate) mod policy;
pub(crate) mod replay;
#[cfg(feature = "reqwest-0_13")]
pub(crate) mod reqwest;
pub(crate) mod service;
