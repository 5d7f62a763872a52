//! How key sets are fetched: `discovery` finds a `target`, `source` requests it, and `flight` is one whole
//! attempt.

pub(crate) mod discovery;
pub(crate) mod error;
pub(crate) mod flight;
pub(crate) mod source;
pub(crate) mod target;
