//! How key sets are fetched: discovery, the exchange, and what can go wrong.

pub(crate) mod discovery;
pub(crate) mod error;
pub(crate) mod flight;
pub(crate) mod source;
pub(crate) mod target;
