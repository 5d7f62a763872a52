//! The client's secret in Vault's key-value store, version 2.
//!
//! A `secret` takes a token from the `session`, which logs in or renews, and asks the `server`; `answer` reads
//! what it sends.

pub(crate) mod answer;
pub(crate) mod builder;
pub(crate) mod path;
pub(crate) mod secret;
pub(crate) mod server;
pub(crate) mod session;
